"""ERFNet: efficient residual factorized ConvNet for real-time semantic segmentation.

Romera, Alvarez, Bergasa, Arroyo, IEEE Transactions on Intelligent Transportation Systems 19(1), 2018.
Layer names are the keys of the authors' released PyTorch checkpoints, which carry a `module.` prefix and,
under `encoder.output_conv`, the head of the encoder's own training. Every convolution has a bias; BN is
BatchNorm with eps 1e-3.

Parameters: 2,064,256 with 20 classes, those of the released weights. Published are 2.06 M, 2.07 M and
2.1 M; this meets the first. With the encoder's head, which no prediction uses, it is 2,066,836: the second.
"""

from dataclasses import dataclass
from typing import Annotated, ClassVar

from annotated_types import Interval

from zoo.graph import Dropout, GraphBuilder
from zoo.lowering import Family, Stage, Tensors, off_grid
from zoo.specs import Count, Rule, Spec

Depth = Annotated[int, Interval(ge=0, le=16)]

DILATIONS = (2, 4, 8, 16)
"""Dilations of one round of the deepest level."""


def _widths_grow(s: "ERFNetSpec") -> str | None:
    first, second, third = s.widths
    if 3 < first < second < third:
        return None
    return f"a downsampler adds channels to those it pools, so widths must grow from above 3, but are {s.widths}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ERFNetSpec(Spec):
    """One ERFNet.

    widths: channels at 1/2, 1/4 and 1/8 of the image's size. depth: Non-bottleneck-1D layers at 1/4.
    rounds: how often the four dilated ones at 1/8 are run.
    """

    family: ClassVar[str] = "erfnet"
    rules: ClassVar[tuple[Rule, ...]] = (_widths_grow,)

    widths: tuple[Count, Count, Count] = (16, 64, 128)
    depth: Depth = 5
    rounds: Depth = 2
    classes: Count = 20


def factorised(g: GraphBuilder, x: str, path: str, index: int, dilation: int = 1) -> str:
    """3x1 convolution, ReLU, 1x3 convolution, BN: a 3x3 convolution in two steps."""
    width = g.channels(x)
    x = g.conv(x, f"{path}.conv3x1_{index}", width, kernel=(3, 1), dilation=(dilation, 1), bias=True)
    x = g.act(x, f"{path}.relu3x1_{index}", "relu")
    x = g.conv(x, f"{path}.conv1x3_{index}", width, kernel=(1, 3), dilation=(1, dilation), bias=True)
    return g.bn(x, f"{path}.bn{index}")


def non_bottleneck_1d(g: GraphBuilder, x: str, path: str, *, dilation: int = 1, dropout: float = 0.0) -> str:
    """Non-bottleneck-1D (figure 2c): two factorised convolutions, the second dilated, and a skip connection."""
    y = g.act(factorised(g, x, path, 1), f"{path}.relu1", "relu")
    y = factorised(g, y, path, 2, dilation)
    if dropout:
        y = g.append(Dropout(dropout, channelwise=True), (y,), f"{path}.dropout")
    return g.act(g.add((y, x), f"{path}.sum"), f"{path}.relu2", "relu")


def downsampler(g: GraphBuilder, x: str, path: str, out_channels: int) -> str:
    """Downsampler: 3x3 convolution of stride 2 beside max pooling, concatenated, BN, ReLU."""
    conv = g.conv(x, f"{path}.conv", out_channels - g.channels(x), kernel=3, stride=2, bias=True)
    pool = g.max_pool(x, f"{path}.pool", kernel=2, stride=2)
    x = g.concat((conv, pool), f"{path}.cat")
    return g.act(g.bn(x, f"{path}.bn"), f"{path}.relu", "relu")


def upsampler(g: GraphBuilder, x: str, path: str, out_channels: int) -> str:
    """Upsampler: 3x3 transposed convolution that doubles the size, BN, ReLU."""
    x = g.deconv(x, f"{path}.conv", out_channels, kernel=3, padding=1, output_padding=1, bias=True)
    return g.act(g.bn(x, f"{path}.bn"), f"{path}.relu", "relu")


def level1(g: GraphBuilder, s: ERFNetSpec, t: Tensors) -> None:
    """Layer 1 of table 1."""
    t["x"] = downsampler(g, t["image"], "encoder.initial_block", s.widths[0])


def level2_down(g: GraphBuilder, s: ERFNetSpec, t: Tensors) -> None:
    """Layer 2."""
    t["x"] = downsampler(g, t["x"], "encoder.layers.0", s.widths[1])


def level2_unit(g: GraphBuilder, s: ERFNetSpec, t: Tensors, index: int) -> None:
    """Layers 3 to 7."""
    t["x"] = non_bottleneck_1d(g, t["x"], f"encoder.layers.{1 + index}", dropout=0.03)


def level3_down(g: GraphBuilder, s: ERFNetSpec, t: Tensors) -> None:
    """Layer 8."""
    t["x"] = downsampler(g, t["x"], f"encoder.layers.{1 + s.depth}", s.widths[2])


def level3_round(g: GraphBuilder, s: ERFNetSpec, t: Tensors, index: int) -> None:
    """Layers 9 to 12, and again as 13 to 16."""
    start = 2 + s.depth + index * len(DILATIONS)
    for i, dilation in enumerate(DILATIONS):
        t["x"] = non_bottleneck_1d(g, t["x"], f"encoder.layers.{start + i}", dilation=dilation, dropout=0.3)


def decoder(g: GraphBuilder, s: ERFNetSpec, t: Tensors) -> None:
    """Layers 17 to 23: twice an upsampler and two undilated layers, then a 2x2 transposed convolution."""
    x = t["x"]
    for start, width in ((0, s.widths[1]), (3, s.widths[0])):
        x = upsampler(g, x, f"decoder.layers.{start}", width)
        for i in (1, 2):
            x = non_bottleneck_1d(g, x, f"decoder.layers.{start + i}")
    t["logits"] = g.deconv(x, "decoder.output_conv", s.classes, bias=True)


def _size_fits(s: ERFNetSpec, height: int, width: int) -> str | None:
    return off_grid(f"encoder.layers.{1 + s.depth}.cat", 8, height, width)


FAMILY = Family(
    spec=ERFNetSpec,
    stages=(
        Stage(level1),
        Stage(level2_down),
        Stage(level2_unit, repeat="depth"),
        Stage(level3_down),
        Stage(level3_round, repeat="rounds"),
        Stage(decoder),
    ),
    bn_eps=1e-3,
    check_size=_size_fits,
)
