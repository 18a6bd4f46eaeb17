"""ENet: a deep neural network architecture for real-time semantic segmentation.

Paszke, Chaurasia, Kim, Culurciello, 2016, arXiv:1606.02147. Layer names follow the paper's table 1
(`bottleneck2.3`). No convolution has a bias; BN is BatchNorm with eps 1e-3; a PReLU has one slope a
channel in the encoder, and the decoder has plain ReLUs.

Parameters: 363,599 with the 19 classes of Cityscapes. Published are 0.36 M (the ESPNet comparison, which
also says "as many as ESPNet", 0.364 M) and 0.37 M (the paper's table 2); this meets the first. Biases in
the 3x3 convolutions or PReLUs in the decoder would add 700 or 340, one more class 64.
"""

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from annotated_types import Interval

from zoo.graph import Dropout, GraphBuilder, MaxUnpool, PadChannels
from zoo.lowering import Family, Stage, Tensors, off_grid
from zoo.specs import Count, Rule, Spec

Depth = Annotated[int, Interval(ge=0, le=16)]
Kind = Literal["regular", "dilated", "asymmetric"]

CONTEXT: tuple[tuple[Kind, int], ...] = (
    ("regular", 1),
    ("dilated", 2),
    ("asymmetric", 5),
    ("dilated", 4),
    ("regular", 1),
    ("dilated", 8),
    ("asymmetric", 5),
    ("dilated", 16),
)
"""Bottlenecks 1 to 8 of sections 2 and 3: kind, and dilation or length of the asymmetric kernel."""


def _initial_fits(s: "ENetSpec") -> str | None:
    if s.widths[0] > 3:
        return None
    return f"widths: the initial block keeps the image's 3 channels, so the first must be above 3, but is {s.widths[0]}"


def _widths_grow(s: "ENetSpec") -> str | None:
    first, second, third = s.widths
    if first <= second <= third and not any(width % 4 for width in s.widths):
        return None
    return f"widths must not fall and be multiples of 4, which a bottleneck divides them by, but are {s.widths}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ENetSpec(Spec):
    """One ENet.

    widths: channels at 1/2, 1/4 and 1/8 of the image's size. depth: bottlenecks of section 1. sections:
    how often the eight bottlenecks of section 2 are run; the paper's section 3 is the second time.
    """

    family: ClassVar[str] = "enet"
    rules: ClassVar[tuple[Rule, ...]] = (_initial_fits, _widths_grow)

    widths: tuple[Count, Count, Count] = (16, 64, 128)
    depth: Depth = 4
    sections: Annotated[int, Interval(ge=0, le=2)] = 2
    classes: Count = 19


def bn_act(g: GraphBuilder, x: str, path: str, kind: str) -> str:
    """BN and activation."""
    return g.act(g.bn(x, f"{path}.bn"), f"{path}.act", kind)


def project(g: GraphBuilder, x: str, path: str, width: int, *, act: str, stride: int = 1) -> str:
    """Reduce the channels with a 1x1 convolution, or a 2x2 one of stride 2; BN, activation."""
    x = g.conv(x, f"{path}.project.conv", width, kernel=stride, stride=stride, padding=0)
    return bn_act(g, x, f"{path}.project", act)


def transform(g: GraphBuilder, x: str, path: str, *, act: str, kind: Kind = "regular", size: int = 1) -> str:
    """Convolve by 3x3, by 3x3 dilated by `size`, or by `size`x1 and then 1x`size`; BN, activation."""
    width = g.channels(x)
    if kind == "asymmetric":
        x = g.conv(x, f"{path}.transform.column", width, kernel=(size, 1))
        x = g.conv(x, f"{path}.transform.row", width, kernel=(1, size))
    else:
        x = g.conv(x, f"{path}.transform.conv", width, kernel=3, dilation=size)
    return bn_act(g, x, f"{path}.transform", act)


def expand(g: GraphBuilder, x: str, path: str, out_channels: int, dropout: float) -> str:
    """Raise the channels again with a 1x1 convolution; BN, and the regulariser."""
    x = g.bn(g.conv(x, f"{path}.expand.conv", out_channels), f"{path}.expand.bn")
    return g.append(Dropout(dropout, channelwise=True), (x,), f"{path}.expand.dropout")


def bottleneck(
    g: GraphBuilder,
    x: str,
    path: str,
    *,
    kind: Kind = "regular",
    size: int = 1,
    act: str = "prelu",
    dropout: float = 0.1,
) -> str:
    """Bottleneck (figure 2b): project to a quarter, transform, expand, add, activate."""
    width = g.channels(x)
    y = project(g, x, path, width // 4, act=act)
    y = transform(g, y, path, act=act, kind=kind, size=size)
    y = expand(g, y, path, width, dropout)
    return g.act(g.add((x, y), f"{path}.sum"), f"{path}.act", act)


def down(g: GraphBuilder, x: str, path: str, out_channels: int, *, dropout: float) -> tuple[str, str]:
    """Bottleneck that halves the size: max pooling and zero channels beside a 2x2 projection of stride 2.

    Returns the output, and the pooling whose positions the decoder uses.
    """
    pool = g.max_pool(x, f"{path}.pool", kernel=2, stride=2)
    main = g.append(PadChannels(out_channels), (pool,), f"{path}.pad")
    y = project(g, x, path, out_channels // 4, act="prelu", stride=2)
    y = transform(g, y, path, act="prelu")
    y = expand(g, y, path, out_channels, dropout)
    return g.act(g.add((main, y), f"{path}.sum"), f"{path}.act", "prelu"), pool


def up(g: GraphBuilder, x: str, path: str, pool: str, unpooled: str) -> str:
    """Bottleneck that doubles the size: 1x1 convolution and max unpooling beside a 3x3 transposed one."""
    width = g.channels(pool)
    main = g.bn(g.conv(x, f"{path}.main.conv", width), f"{path}.main.bn")
    main = g.append(MaxUnpool((2, 2), (2, 2)), (main, pool, unpooled), f"{path}.unpool")
    y = project(g, x, path, width // 4, act="relu")
    y = g.deconv(y, f"{path}.transform.conv", width // 4, kernel=3, padding=1, output_padding=1)
    y = expand(g, bn_act(g, y, f"{path}.transform", "relu"), path, width, 0.1)
    return g.act(g.add((main, y), f"{path}.sum"), f"{path}.act", "relu")


def initial(g: GraphBuilder, s: ENetSpec, t: Tensors) -> None:
    """Concatenate a 3x3 convolution of stride 2 and max pooling: the initial block (figure 2a)."""
    conv = g.conv(t["image"], "initial.conv", s.widths[0] - 3, kernel=3, stride=2)
    pool = g.max_pool(t["image"], "initial.pool", kernel=2, stride=2)
    t["x"] = bn_act(g, g.concat((conv, pool), "initial.cat"), "initial", "prelu")


def section1_down(g: GraphBuilder, s: ENetSpec, t: Tensors) -> None:
    """Bottleneck 1.0, to 1/4 of the size."""
    t["unpooled1"] = t["x"]
    t["x"], t["pool1"] = down(g, t["x"], "bottleneck1.0", s.widths[1], dropout=0.01)


def section1(g: GraphBuilder, s: ENetSpec, t: Tensors, index: int) -> None:
    """Bottlenecks 1.1 to 1.4."""
    t["x"] = bottleneck(g, t["x"], f"bottleneck1.{index + 1}", dropout=0.01)


def section2_down(g: GraphBuilder, s: ENetSpec, t: Tensors) -> None:
    """Bottleneck 2.0, to 1/8 of the size."""
    t["unpooled2"] = t["x"]
    t["x"], t["pool2"] = down(g, t["x"], "bottleneck2.0", s.widths[2], dropout=0.1)


def section2(g: GraphBuilder, s: ENetSpec, t: Tensors, index: int) -> None:
    """Bottlenecks 2.1 to 2.8, and again as section 3."""
    for i, (kind, size) in enumerate(CONTEXT, start=1):
        t["x"] = bottleneck(g, t["x"], f"bottleneck{index + 2}.{i}", kind=kind, size=size)


def section4(g: GraphBuilder, s: ENetSpec, t: Tensors) -> None:
    """Bottlenecks 4.0, to 1/4 of the size, 4.1 and 4.2: the decoder."""
    x = up(g, t["x"], "bottleneck4.0", t["pool2"], t["unpooled2"])
    for i in (1, 2):
        x = bottleneck(g, x, f"bottleneck4.{i}", act="relu")
    t["x"] = x


def section5(g: GraphBuilder, s: ENetSpec, t: Tensors) -> None:
    """Bottlenecks 5.0, to 1/2 of the size, and 5.1, and the bare transposed convolution."""
    x = up(g, t["x"], "bottleneck5.0", t["pool1"], t["unpooled1"])
    x = bottleneck(g, x, "bottleneck5.1", act="relu")
    t["logits"] = g.deconv(x, "fullconv", s.classes)


def _size_fits(s: ENetSpec, height: int, width: int) -> str | None:
    return off_grid("bottleneck4.0.sum", 8, height, width)


FAMILY = Family(
    spec=ENetSpec,
    stages=(
        Stage(initial),
        Stage(section1_down),
        Stage(section1, repeat="depth"),
        Stage(section2_down),
        Stage(section2, repeat="sections"),
        Stage(section4),
        Stage(section5),
    ),
    bn_eps=1e-3,
    check_size=_size_fits,
)
