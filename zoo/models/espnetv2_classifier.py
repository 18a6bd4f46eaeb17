"""ESPNetv2 for classification: the encoder, level 5, and a linear layer.

Mehta, Rastegari, Shapiro, Hajishirzi, CVPR 2019, arXiv:1811.11431, table 1. Layer names are the keys of the
authors' ImageNet checkpoints. Level 5 does not see the image; its shortcut is in those files but never executed.
"""

from dataclasses import dataclass
from typing import ClassVar

from zoo.graph import AdaptiveAvgPool, Dropout, GraphBuilder, Linear
from zoo.lowering import Family, Stage, Tensors
from zoo.models.espnetv2_encoder import ENCODER, Encoder, Kernel, SomeDepth, cbr, down, eesp, widths
from zoo.specs import Count, Rule


def last_width(s: "Level5Encoder") -> int:
    """Channels after level 5: 1024, and 1280 beyond scale 1.5."""
    return 1024 if s.scale <= 1.5 else 1280


def _groups_fit(s: "Level5Encoder") -> str | None:
    if last_width(s) % s.k == 0:
        return None
    return f"k must divide the {last_width(s)} channels after level 5, but is {s.k}; use k=4"


@dataclass(frozen=True, slots=True, kw_only=True)
class Level5Encoder(Encoder):
    """An encoder that goes on to level 5.

    widths: channels at levels 1 to 5. r_lim: limits for units that read levels 1 to 5. depth5: EESP units
    at level 5 after the strided one.
    """

    rules: ClassVar[tuple[Rule, ...]] = (*Encoder.rules, _groups_fit)

    widths: tuple[Count, Count, Count, Count, Count] | None = None
    r_lim: tuple[Kernel, Kernel, Kernel, Kernel, Kernel] = (9, 9, 9, 7, 5)
    depth5: SomeDepth = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class ESPNetv2ClassifierSpec(Level5Encoder):
    """One ESPNetv2 for classification; `Encoder` and `Level5Encoder` explain its fields.

    Counts at 224x224 beside the published ones (table 1), which leave the linear layer's MACs out:

    ===== =========== ========= ============ =============== =========
    scale parameters  published MACs         without linear  published
    ===== =========== ========= ============ =============== =========
    0.5   1,239,722   1.24 M    29,399,508   28,375,508      28.4 M
    1.0   1,666,942   1.67 M    86,744,404   85,720,404      85.7 M
    1.25  1,961,542   1.96 M    124,423,444  123,399,444     123.4 M
    1.5   2,310,190   2.31 M    169,628,884  168,604,884     168.6 M
    2.0   3,491,934   3.49 M    286,086,228  284,806,228     284.8 M
    ===== =========== ========= ============ =============== =========

    The released files also hold parameters that are never executed, such as 1,610 at scale 0.5: the
    strided units' `eesp.module_act` and level 5's `inp_reinf`.
    """

    family: ClassVar[str] = "espnetv2-classifier"

    classes: Count = 1000


def level5_down(g: GraphBuilder, s: Level5Encoder, t: Tensors) -> None:
    """Strided EESP to level 5, without the image."""
    t["level5"] = down(g, t["level4"], f"{s.root}level5_0", widths(s)[4], k=s.k, r_lim=s.r_lim[3])


def level5_unit(g: GraphBuilder, s: Level5Encoder, t: Tensors, index: int) -> None:
    """One of depth5 EESP units."""
    t["level5"] = eesp(g, t["level5"], f"{s.root}level5.{index}", widths(s)[4], k=s.k, r_lim=s.r_lim[4])


def level5_last(g: GraphBuilder, s: Level5Encoder, t: Tensors) -> None:
    """Depth-wise 3x3 convolution and grouped 1x1 convolution."""
    wide = widths(s)[4]
    x = cbr(g, t["level5"], f"{s.root}level5.{s.depth5}", wide, kernel=3, groups=wide)
    t["level5"] = cbr(g, x, f"{s.root}level5.{s.depth5 + 1}", last_width(s), groups=s.k)


def head(g: GraphBuilder, s: ESPNetv2ClassifierSpec, t: Tensors) -> None:
    """Global average, dropout, linear layer."""
    pooled = g.append(AdaptiveAvgPool((1, 1)), (t["level5"],), "pool")
    dropped = g.append(Dropout(0.2), (pooled,), "dropout")
    t["logits"] = g.append(Linear(s.classes), (dropped,), "classifier")


LEVEL5_ENCODER = (*ENCODER, Stage(level5_down), Stage(level5_unit, repeat="depth5"), Stage(level5_last))
"""Levels 1 to 5."""

FAMILY = Family(spec=ESPNetv2ClassifierSpec, stages=(*LEVEL5_ENCODER, Stage(head)))
