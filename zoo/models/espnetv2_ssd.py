"""ESPNetv2 for detection: the encoder to level 5, three more levels, pyramids on the way back, and SSD's heads.

Mehta, Rastegari, Shapiro, Hajishirzi, CVPR 2019, arXiv:1811.11431, section 4.3; the single-shot detector is
Liu et al., ECCV 2016, arXiv:1512.02325. The paper does not describe its head; this is the one of the
authors' public repository (sacmehta/EdgeNets, `model/detection`, June 2019), and layers have its names.
"""

from dataclasses import dataclass
from typing import Annotated, ClassVar

from annotated_types import Interval

from zoo.graph import AdaptiveAvgPool, GraphBuilder
from zoo.lowering import Family, Stage, Tensors
from zoo.models.espnetv2 import NUMBERED, pyramid
from zoo.models.espnetv2_classifier import LEVEL5_ENCODER, Level5Encoder
from zoo.models.espnetv2_encoder import cbr

BOXES = 6
"""Anchors at each position: two squares, and the aspect ratios 2, 1/2, 3 and 1/3."""

LEVELS = ("level3", "level4", "level5", "level6", "level7", "level8")
"""Maps that the heads read, from 1/8 of the image's size down to a single position."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ESPNetv2SSDSpec(Level5Encoder):
    """One ESPNetv2 detector; `Encoder` and `Level5Encoder` explain the fields of its encoder.

    classes: with the background, which is class 0: 21 for PASCAL VOC, 81 for COCO. For each of six maps the
    network returns class scores (6 x classes channels) and, after all of those, box offsets (6 x 4
    channels); `zoo.inference.detection` turns them into boxes. The same parameters serve every image size.

    Counts at scale 2 beside the published ones:

    ======= ========== ========= ======== ============= =========
    classes parameters published size     MACs          published
    ======= ========== ========= ======== ============= =========
    81      5,806,676  5.81 M    300x300  1,164,307,647 1.1 G
    81      5,806,676            512x512  3,216,774,144 3.2 G
    21      4,744,676  4.75 M    300x300  913,125,567   0.9 G
    21      4,744,676            512x512  2,519,261,184 2.5 G
    ======= ========== ========= ======== ============= =========

    The published parameters include the 6,202 of the encoder that are never executed. What the authors
    count as 1.1 G is not known; all four numbers are this count cut off after the first decimal. Later
    revisions of their repository have other heads and other counts; no released detection weights were read.
    """

    family: ClassVar[str] = "espnetv2-ssd"

    classes: Annotated[int, Interval(ge=2, le=682)] = 21

    @property
    def root(self) -> str:
        """Path under which the encoder"s layers live."""
        return "base_net.basenet."


def extra(g: GraphBuilder, x: str, path: str, out_channels: int) -> str:
    """Depth-wise 3x3 convolution with stride 2, then a 1x1 convolution."""
    wide = g.channels(x)
    y = cbr(g, x, f"{path}.layer.0.cbr", wide, kernel=3, stride=2, groups=wide, names=NUMBERED)
    return cbr(g, y, f"{path}.layer.1.cbr", out_channels, names=NUMBERED)


def extra_levels(g: GraphBuilder, s: ESPNetv2SSDSpec, t: Tensors) -> None:
    """Levels 6 and 7, and level 8, which is a single position."""
    t["level6"] = extra(g, t["level5"], "base_net.extra_level6", 512)
    t["level7"] = extra(g, t["level6"], "base_net.extra_level7", 256)
    pooled = g.append(AdaptiveAvgPool((1, 1)), (t["level7"],), "base_net.extra_level8.0")
    t["level8"] = g.act(g.conv(pooled, "base_net.extra_level8.1", 128), "base_net.extra_level8.2", "relu")


def back(g: GraphBuilder, t: Tensors, source: str, target: str, path: str, scales: tuple[float, ...]) -> None:
    """A level's map interpolated to the one before it, beside that one, through a pyramid."""
    x = g.resize(t[source], f"{path}.up", like=t[target], align_corners=True)
    y = g.concat((x, t[target]), f"{path}.both")
    wide = g.channels(t[target])
    t[target] = pyramid(g, y, path, wide, proj=wide // 5, scales=scales)


def pyramids(g: GraphBuilder, s: ESPNetv2SSDSpec, t: Tensors) -> None:
    """From level 7 back to level 3; the layers are named after the maps' sides at 300x300."""
    back(g, t, "level7", "level6", "base_net.bu_3x3_5x5", (2.0, 1.0))
    back(g, t, "level6", "level5", "base_net.bu_5x5_10x10", (2.0, 1.0, 0.5))
    back(g, t, "level5", "level4", "base_net.bu_10x10_19x19", (2.0, 1.0, 0.5, 0.25))
    back(g, t, "level4", "level3", "base_net.bu_19x19_38x38", (2.0, 1.0, 0.5, 0.25))


def heads(g: GraphBuilder, s: ESPNetv2SSDSpec, t: Tensors) -> None:
    """1x1 convolutions to class scores and box offsets."""
    for i, level in enumerate(LEVELS):
        t[f"classes{i}"] = g.conv(t[level], f"cls_layers.{i}", BOXES * s.classes, bias=True)
        t[f"boxes{i}"] = g.conv(t[level], f"loc_layers.{i}", BOXES * 4, bias=True)


def outputs(s: ESPNetv2SSDSpec) -> tuple[str, ...]:
    """Class scores of the six maps, then their box offsets."""
    return tuple(f"{kind}{i}" for kind in ("classes", "boxes") for i in range(len(LEVELS)))


FAMILY = Family(
    spec=ESPNetv2SSDSpec,
    stages=(*LEVEL5_ENCODER, Stage(extra_levels), Stage(pyramids), Stage(heads)),
    outputs=outputs,
)
