"""FDDWNet: a lightweight convolutional neural network for real-time semantic segmentation.

Liu, Zhou, Qiang, Kang, Wu, Zheng, ICASSP 2020, arXiv:1911.00632. Layer names follow the numbers of the paper's
table 1. Every convolution has a bias; BN is BatchNorm with eps 1e-3. Down- and upsampling units are ERFNet's,
and like there activations are plain ReLUs, which the authors' code clips at 6.

Parameters: 807,951 with the 19 classes of Cityscapes, where the paper has 0.80 M.
"""

from dataclasses import dataclass
from typing import Annotated, ClassVar

from annotated_types import Interval

from zoo.graph import Dropout, GraphBuilder
from zoo.lowering import Family, Stage, Tensors, off_grid
from zoo.models.erfnet import downsampler, upsampler
from zoo.specs import Count, Rule, Spec

Depth = Annotated[int, Interval(ge=0, le=16)]

NEAR = (1, 2, 5, 9)
"""Dilations of one round of layers 9 to 16."""
FAR = (2, 5, 9, 17)
"""Dilations of one round of layers 17 to 24."""


def _widths_grow(s: "FDDWNetSpec") -> str | None:
    first, second, third = s.widths
    if 3 < first < second < third:
        return None
    return f"a downsampling unit adds channels to those it pools, so widths must grow from above 3, not {s.widths}"


@dataclass(frozen=True, slots=True, kw_only=True)
class FDDWNetSpec(Spec):
    """One FDDWNet.

    widths: channels at 1/2, 1/4 and 1/8 of the image's size. depth: EERM units at 1/4. rounds: how often the four
    dilations of layers 9 to 16, and those of layers 17 to 24, are run.
    """

    family: ClassVar[str] = "fddwnet"
    rules: ClassVar[tuple[Rule, ...]] = (_widths_grow,)

    widths: tuple[Count, Count, Count] = (16, 64, 128)
    depth: Depth = 5
    rounds: Depth = 2
    classes: Count = 19


def factorised(g: GraphBuilder, x: str, path: str, dilation: int) -> str:
    """Factorised depth-wise separable convolution: 3x1 and 1x3 depth-wise, then 1x1, each with BN."""
    width = g.channels(x)
    x = g.conv(x, f"{path}.column", width, kernel=(3, 1), dilation=(dilation, 1), groups=width, bias=True)
    x = g.bn(x, f"{path}.column.bn")
    x = g.conv(x, f"{path}.row", width, kernel=(1, 3), dilation=(1, dilation), groups=width, bias=True)
    x = g.bn(x, f"{path}.row.bn")
    return g.bn(g.conv(x, f"{path}.point", width, bias=True), f"{path}.point.bn")


def eerm(g: GraphBuilder, x: str, path: str, *, dilation: int = 1, dropout: float = 0.0) -> str:
    """Extremely efficient residual module (figure 2c): two factorised convolutions, the second dilated, and a sum."""
    y = g.act(factorised(g, x, f"{path}.first", 1), f"{path}.first.relu", "relu")
    y = factorised(g, y, f"{path}.second", dilation)
    if dropout:
        y = g.append(Dropout(dropout, channelwise=True), (y,), f"{path}.dropout")
    return g.act(g.add((y, x), f"{path}.sum"), f"{path}.relu", "relu")


def down2(g: GraphBuilder, s: FDDWNetSpec, t: Tensors) -> None:
    """Layers 1 and 2, to 1/4."""
    t["x"] = downsampler(g, downsampler(g, t["image"], "layer1", s.widths[0]), "layer2", s.widths[1])


def level2(g: GraphBuilder, s: FDDWNetSpec, t: Tensors, index: int) -> None:
    """Layers 3 to 7."""
    t["x"] = eerm(g, t["x"], f"layer{3 + index}", dropout=0.03)


def down3(g: GraphBuilder, s: FDDWNetSpec, t: Tensors) -> None:
    """Layer 8, to 1/8."""
    t["detail"] = t["x"]
    t["x"] = downsampler(g, t["x"], f"layer{3 + s.depth}", s.widths[2])


def near(g: GraphBuilder, s: FDDWNetSpec, t: Tensors, index: int) -> None:
    """Layers 9 to 12, and again as 13 to 16."""
    start = 4 + s.depth + index * len(NEAR)
    for i, dilation in enumerate(NEAR):
        t["x"] = eerm(g, t["x"], f"layer{start + i}", dilation=dilation, dropout=0.3)


def far(g: GraphBuilder, s: FDDWNetSpec, t: Tensors, index: int) -> None:
    """Layers 17 to 20, and again as 21 to 24."""
    start = 4 + s.depth + s.rounds * len(NEAR) + index * len(FAR)
    for i, dilation in enumerate(FAR):
        t["x"] = eerm(g, t["x"], f"layer{start + i}", dilation=dilation, dropout=0.3)


def decoder(g: GraphBuilder, s: FDDWNetSpec, t: Tensors) -> None:
    """Layers 25 to 31: upsampling units, each joined by a branch from the features at 1/4, and two EERM units."""
    start = 4 + s.depth + s.rounds * (len(NEAR) + len(FAR))
    branch2 = eerm(g, t["detail"], "branch2.eerm")
    branch1 = eerm(g, upsampler(g, t["detail"], "branch1.up", s.widths[0]), "branch1.eerm")
    x = t["x"]
    for first, width, branch in ((start, s.widths[1], branch2), (start + 3, s.widths[0], branch1)):
        x = g.add((upsampler(g, x, f"layer{first}", width), branch), f"layer{first}.sum")
        x = g.act(x, f"layer{first}.sum.relu", "relu")
        x = eerm(g, eerm(g, x, f"layer{first + 1}"), f"layer{first + 2}")
    t["logits"] = g.deconv(x, f"layer{start + 6}", s.classes, bias=True)


def _size_fits(s: FDDWNetSpec, height: int, width: int) -> str | None:
    return off_grid(f"layer{3 + s.depth}.cat", 8, height, width)


FAMILY = Family(
    spec=FDDWNetSpec,
    stages=(
        Stage(down2),
        Stage(level2, repeat="depth"),
        Stage(down3),
        Stage(near, repeat="rounds"),
        Stage(far, repeat="rounds"),
        Stage(decoder),
    ),
    bn_eps=1e-3,
    check_size=_size_fits,
)
