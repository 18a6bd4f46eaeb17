"""FPENet: feature pyramid encoding network for real-time semantic segmentation.

Liu, Yin, BMVC 2019, arXiv:1909.08599. The authors released no weights, so layer names are ours. No
convolution has a bias but the last, each is followed by BN but those of the attentions, and activations are
ReLUs; interpolation is bilinear and aligns corners.

Parameters: 364,341 with the 19 classes of Cityscapes. Published are 0.4 M (abstract), which this meets as far
as it is printed; a later comparison of real-time networks quotes the paper with 0.38 M, 4 % more than this.
The difference lies in what two public re-implementations read differently as well: the expansion t is taken
here of a block's output channels, in every block of stages 2 and 3 (with t in their first blocks only, as
one of them has it, 115,125 would remain), and there is no squeeze-and-excitation in the blocks, which would
add 5,755.
"""

from dataclasses import dataclass
from typing import Annotated, ClassVar

from annotated_types import Interval

from zoo.graph import AdaptiveAvgPool, GraphBuilder, ReduceChannels, SliceChannels
from zoo.lowering import Family, Stage, Tensors
from zoo.specs import Count, Rule, Spec

Depth = Annotated[int, Interval(ge=1, le=32)]


def _scales_divide(s: "FPENetSpec") -> str | None:
    first, second, third = s.widths
    split = (first, second * s.expansion, third * s.expansion)
    if not any(width % s.scales for width in split):
        return None
    return (
        f"scales must divide the channels that a block expands to, but is {s.scales} and they are "
        f"{', '.join(map(str, split))}; change scales, widths or expansion"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class FPENetSpec(Spec):
    """One FPENet.

    widths: channels at 1/2, 1/4 and 1/8 of the image's size. depth2, depth3: FPE blocks of stages 2 and 3,
    the paper's p and q. expansion: t of the blocks in these stages. scales: branches of a block. growth: the
    dilation of branch i, counted from 0, is growth to the power of i.
    """

    family: ClassVar[str] = "fpenet"
    rules: ClassVar[tuple[Rule, ...]] = (_scales_divide,)

    widths: tuple[Count, Count, Count] = (16, 32, 64)
    depth2: Depth = 3
    depth3: Depth = 9
    expansion: Annotated[int, Interval(ge=1, le=8)] = 4
    scales: Annotated[int, Interval(ge=1, le=8)] = 4
    growth: Annotated[int, Interval(ge=1, le=4)] = 2
    classes: Count = 19

    @property
    def units2(self) -> int:
        """Blocks of stage 2 after the strided one."""
        return self.depth2 - 1

    @property
    def units3(self) -> int:
        """Blocks of stage 3 after the strided one."""
        return self.depth3 - 1


def conv_bn(g: GraphBuilder, x: str, path: str, width: int, *, kernel: int = 1, stride: int = 1) -> str:
    """Convolution and BN."""
    return g.bn(g.conv(x, f"{path}.conv", width, kernel=kernel, stride=stride), f"{path}.bn")


def pyramid(g: GraphBuilder, x: str, path: str, s: FPENetSpec) -> str:
    """Split the channels; convolve each part depth-wise, dilated more and more, after adding the part before."""
    width = g.channels(x) // s.scales
    encoded: list[str] = []
    for i in range(s.scales):
        branch = f"{path}.scale{i}"
        y = g.append(SliceChannels(i * width, (i + 1) * width), (x,), f"{branch}.split")
        if encoded:
            y = g.add((y, encoded[-1]), f"{branch}.sum")
        y = g.conv(y, f"{branch}.conv", width, kernel=3, dilation=s.growth**i, groups=width)
        encoded.append(g.act(g.bn(y, f"{branch}.bn"), f"{branch}.act", "relu"))
    return g.concat(tuple(encoded), f"{path}.cat")


def fpe_block(g: GraphBuilder, x: str, path: str, width: int, s: FPENetSpec, *, expansion: int, stride: int = 1) -> str:
    """Feature pyramid encoding block (section 3.1): expand by 1x1, encode the pyramid, project, shortcut."""
    y = g.act(conv_bn(g, x, f"{path}.expand", expansion * width, stride=stride), f"{path}.expand.act", "relu")
    y = conv_bn(g, pyramid(g, y, path, s), f"{path}.project", width)
    if stride > 1 or g.channels(x) != width:
        x = conv_bn(g, x, f"{path}.shortcut", width, stride=stride)
    return g.act(g.add((y, x), f"{path}.residual"), f"{path}.act", "relu")


def meu(g: GraphBuilder, low: str, high: str, path: str, width: int) -> str:
    """Mutual embedding upsample module (section 3.2): each level's features are weighted by the other's attention."""
    low = conv_bn(g, low, f"{path}.low", width)
    high = conv_bn(g, high, f"{path}.high", width)
    mean = g.append(ReduceChannels("mean"), (low,), f"{path}.spatial.mean")
    spatial = g.act(g.conv(mean, f"{path}.spatial.conv", 1), f"{path}.spatial.act", "sigmoid")
    pooled = g.append(AdaptiveAvgPool((1, 1)), (high,), f"{path}.channel.pool")
    channel = g.act(g.conv(pooled, f"{path}.channel.conv", width), f"{path}.channel.act", "sigmoid")
    high = g.resize(high, f"{path}.resize", like=low, align_corners=True)
    high = g.multiply(high, spatial, f"{path}.spatial.weighted")
    low = g.multiply(low, channel, f"{path}.channel.weighted")
    return g.add((low, high), f"{path}.sum")


def stage1(g: GraphBuilder, s: FPENetSpec, t: Tensors) -> None:
    """3x3 convolution of stride 2 and one block that does not expand."""
    x = g.act(conv_bn(g, t["image"], "stage1.0", s.widths[0], kernel=3, stride=2), "stage1.0.act", "relu")
    t["stage1"] = fpe_block(g, x, "stage1.1", s.widths[0], s, expansion=1)


def stage2_down(g: GraphBuilder, s: FPENetSpec, t: Tensors) -> None:
    """Strided block to 1/4 of the size."""
    x = fpe_block(g, t["stage1"], "stage2.0", s.widths[1], s, expansion=s.expansion, stride=2)
    t["first"] = t["x"] = x


def stage2_unit(g: GraphBuilder, s: FPENetSpec, t: Tensors, index: int) -> None:
    """One of the p - 1 other blocks."""
    t["x"] = fpe_block(g, t["x"], f"stage2.{1 + index}", s.widths[1], s, expansion=s.expansion)


def stage3_down(g: GraphBuilder, s: FPENetSpec, t: Tensors) -> None:
    """The first and the last block of stage 2, summed, and the strided block to 1/8."""
    t["stage2"] = g.add((t["first"], t["x"]), "stage2.sum") if s.units2 else t["x"]
    x = fpe_block(g, t["stage2"], "stage3.0", s.widths[2], s, expansion=s.expansion, stride=2)
    t["first"] = t["x"] = x


def stage3_unit(g: GraphBuilder, s: FPENetSpec, t: Tensors, index: int) -> None:
    """One of the q - 1 other blocks."""
    t["x"] = fpe_block(g, t["x"], f"stage3.{1 + index}", s.widths[2], s, expansion=s.expansion)


def decoder(g: GraphBuilder, s: FPENetSpec, t: Tensors) -> None:
    """Two mutual embedding upsample modules, the classes, and the image's size."""
    x = g.add((t["first"], t["x"]), "stage3.sum") if s.units3 else t["x"]
    x = meu(g, t["stage2"], x, "meu2", s.widths[2])
    x = meu(g, t["stage1"], x, "meu1", s.widths[1])
    x = g.conv(x, "classifier", s.classes, bias=True)
    t["logits"] = g.resize(x, "resize", like=t["image"], align_corners=True)


FAMILY = Family(
    spec=FPENetSpec,
    stages=(
        Stage(stage1),
        Stage(stage2_down),
        Stage(stage2_unit, repeat="units2"),
        Stage(stage3_down),
        Stage(stage3_unit, repeat="units3"),
        Stage(decoder),
    ),
)
