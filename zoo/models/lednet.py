"""LEDNet: a lightweight encoder-decoder network for real-time semantic segmentation.

Wang, Zhou, Liu, Xiong, Gao, Wu, Latecki, ICIP 2019, arXiv:1905.02423. Layer names are the keys of the authors' code.
Every convolution has a bias; BN is BatchNorm with eps 1e-3, activations are ReLUs, and interpolation is bilinear
and aligns corners. The downsampling unit is ERFNet's.

Parameters: 922,821 with the 19 classes of Cityscapes, 1.8 % less than the paper's 0.94 M. The encoder's own head,
which only its training needs, is left out: 2,451.
"""

from dataclasses import dataclass
from typing import Annotated, ClassVar

from annotated_types import Interval

from zoo.graph import AdaptiveAvgPool, ChannelShuffle, Dropout, GraphBuilder, SliceChannels
from zoo.lowering import Family, Stage, Tensors, off_grid
from zoo.models.erfnet import downsampler
from zoo.specs import Count, Rule, Spec

Depth = Annotated[int, Interval(ge=0, le=16)]

DILATIONS = (1, 2, 5, 9, 2, 5, 9, 17)
"""Dilations of the units at 1/8 of the image's size (table 1)."""


def _widths_grow(s: "LEDNetSpec") -> str | None:
    first, second, third = s.widths
    if 3 < first < second < third and not any(width % 2 for width in s.widths):
        return None
    return (
        f"widths must be even, because a unit splits them, and grow from above 3, because a downsampling unit adds "
        f"channels to those it pools, but they are {s.widths}"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class LEDNetSpec(Spec):
    """One LEDNet. widths: channels at 1/2, 1/4 and 1/8 of the image's size. depth1, depth2: units at 1/2 and 1/4."""

    family: ClassVar[str] = "lednet"
    rules: ClassVar[tuple[Rule, ...]] = (_widths_grow,)

    widths: tuple[Count, Count, Count] = (32, 64, 128)
    depth1: Depth = 3
    depth2: Depth = 2
    classes: Count = 19


def branch(g: GraphBuilder, x: str, path: str, side: str, dilation: int) -> str:
    """3x1 and 1x3 convolution twice, the second time dilated; the right branch has 1x3 first."""
    width = g.channels(x)
    for which, rate in ((1, 1), (2, dilation)):
        first, second = (("3x1", "1x3"), ("1x3", "3x1"))[side == "r"]
        for name in (first, second):
            kernel, dilations = ((3, 1), (rate, 1)) if name == "3x1" else ((1, 3), (1, rate))
            layer = f"{path}.conv{name}_{which}_{side}"
            x = g.conv(x, layer, width, kernel=kernel, dilation=dilations, bias=True)
            x = g.act(x, f"{layer}.relu", "relu") if name == first else g.bn(x, f"{path}.bn{which}_{side}")
        if which == 1:
            x = g.act(x, f"{path}.relu_{side}", "relu")
    return x


def ss_nbt(g: GraphBuilder, x: str, path: str, *, dilation: int = 1, dropout: float) -> str:
    """Split-shuffle non-bottleneck unit (figure 2d): split, two branches, concatenate, sum, ReLU, shuffle."""
    half = g.channels(x) // 2
    branches = []
    for side, start in (("l", 0), ("r", half)):
        y = g.append(SliceChannels(start, start + half), (x,), f"{path}.split_{side}")
        y = branch(g, y, path, side, dilation)
        branches.append(g.append(Dropout(dropout, channelwise=True), (y,), f"{path}.dropout_{side}"))
    y = g.add((x, g.concat(tuple(branches), f"{path}.cat")), f"{path}.sum")
    return g.append(ChannelShuffle(2), (g.act(y, f"{path}.relu", "relu"),), f"{path}.shuffle")


def conv_bn_relu(g: GraphBuilder, x: str, path: str, width: int, *, kernel: int = 1, stride: int = 1) -> str:
    """Convolution, BN, ReLU."""
    x = g.conv(x, f"{path}.conv.0", width, kernel=kernel, stride=stride, bias=True)
    return g.act(g.bn(x, f"{path}.conv.1"), f"{path}.conv.2", "relu")


def level1_down(g: GraphBuilder, s: LEDNetSpec, t: Tensors) -> None:
    """To 1/2."""
    t["x"] = downsampler(g, t["image"], "encoder.initial_block", s.widths[0])


def level1_unit(g: GraphBuilder, s: LEDNetSpec, t: Tensors, index: int) -> None:
    """Units at 1/2."""
    t["x"] = ss_nbt(g, t["x"], f"encoder.layers.{index}", dropout=0.03)


def level2_down(g: GraphBuilder, s: LEDNetSpec, t: Tensors) -> None:
    """To 1/4."""
    t["x"] = downsampler(g, t["x"], f"encoder.layers.{s.depth1}", s.widths[1])


def level2_unit(g: GraphBuilder, s: LEDNetSpec, t: Tensors, index: int) -> None:
    """Units at 1/4."""
    t["x"] = ss_nbt(g, t["x"], f"encoder.layers.{1 + s.depth1 + index}", dropout=0.03)


def level3(g: GraphBuilder, s: LEDNetSpec, t: Tensors) -> None:
    """To 1/8, and the dilated units there."""
    start = 1 + s.depth1 + s.depth2
    x = downsampler(g, t["x"], f"encoder.layers.{start}", s.widths[2])
    for i, dilation in enumerate(DILATIONS, start=1):
        x = ss_nbt(g, x, f"encoder.layers.{start + i}", dilation=dilation, dropout=0.3)
    t["x"] = x


def attention_pyramid(g: GraphBuilder, s: LEDNetSpec, t: Tensors) -> None:
    """Attention pyramid network (section 2.3): a pyramid of one channel weighs the classes; global context is added."""
    x, path = t["x"], "decoder.apn"
    pooled = g.append(AdaptiveAvgPool((1, 1)), (x,), f"{path}.branch1.0")
    pooled = conv_bn_relu(g, pooled, f"{path}.branch1.1", s.classes)
    middle = conv_bn_relu(g, x, f"{path}.mid.0", s.classes)
    down1 = conv_bn_relu(g, x, f"{path}.down1", 1, kernel=7, stride=2)
    down2 = conv_bn_relu(g, down1, f"{path}.down2", 1, kernel=5, stride=2)
    y = conv_bn_relu(g, down2, f"{path}.down3.0", 1, kernel=3, stride=2)
    y = conv_bn_relu(g, y, f"{path}.down3.1", 1, kernel=3)
    for name, down, kernel in (("conv2", down2, 5), ("conv1", down1, 7)):
        level = conv_bn_relu(g, down, f"{path}.{name}", 1, kernel=kernel)
        y = g.add((g.resize(y, f"{path}.{name}.resize", like=level, align_corners=True), level), f"{path}.{name}.sum")
    attention = g.resize(y, f"{path}.attention", like=x, align_corners=True)
    weighted = g.multiply(middle, attention, f"{path}.weighted")
    y = g.add((weighted, g.resize(pooled, f"{path}.branch1.resize", like=x, align_corners=True)), f"{path}.sum")
    t["logits"] = g.resize(y, "decoder.resize", like=t["image"], align_corners=True)


def _size_fits(s: LEDNetSpec, height: int, width: int) -> str | None:
    return off_grid(f"encoder.layers.{1 + s.depth1 + s.depth2}.cat", 8, height, width)


FAMILY = Family(
    spec=LEDNetSpec,
    stages=(
        Stage(level1_down),
        Stage(level1_unit, repeat="depth1"),
        Stage(level2_down),
        Stage(level2_unit, repeat="depth2"),
        Stage(level3),
        Stage(attention_pyramid),
    ),
    bn_eps=1e-3,
    check_size=_size_fits,
)
