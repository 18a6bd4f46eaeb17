"""ResNet: deep residual learning for image recognition.

He, Zhang, Ren, Sun, CVPR 2016, arXiv:1512.03385. Layer names are those of torchvision's checkpoints.
PSPNet and DeepLab-v2 begin with its convolutions, dilated instead of strided in the last two stages.

Parameters, by depth, as counted from torchvision's models: 18: 11,689,512; 34: 21,797,672;
50: 25,557,032; 101: 44,549,160; 152: 60,192,808. The paper gives none.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

from zoo.graph import AdaptiveAvgPool, GraphBuilder, Linear
from zoo.lowering import Family, Stage, Tensors
from zoo.specs import Count, Spec

UNITS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}
"""Units of each of the four stages, by depth (table 1)."""

EXPANSION = {18: 1, 34: 1, 50: 4, 101: 4, 152: 4}
"""Output channels of a unit over its width, by depth: 1 for two 3x3 convolutions, 4 for a bottleneck."""

Depth = Literal[18, 34, 50, 101, 152]
Where = Literal["1x1", "3x3"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ResNetSpec(Spec):
    """One ResNet. width: of the first stage; each stage doubles it. stride_in: which convolution strides.

    The paper's bottleneck strides in its first 1x1 convolution, torchvision's in its 3x3.
    """

    family: ClassVar[str] = "resnet"

    depth: Depth = 50
    width: Count = 64
    stride_in: Where = "3x3"
    classes: Count = 1000


def conv_bn(
    g: GraphBuilder, x: str, conv: str, bn: str, width: int, *, kernel: int, stride: int = 1, dilation: int = 1
) -> str:
    """Convolution and BN."""
    return g.bn(g.conv(x, conv, width, kernel=kernel, stride=stride, dilation=dilation), bn)


def unit(
    g: GraphBuilder, x: str, path: str, width: int, *, expansion: int, stride: int, dilation: int, stride_in: Where
) -> str:
    """Residual unit (figure 5): two 3x3 convolutions, or 1x1, 3x3 and 1x1; shortcut B where shapes change."""
    out = width * expansion
    if expansion == 1:
        plan = [(width, 3, stride), (width, 3, 1)]
    else:
        strides = (stride, 1) if stride_in == "1x1" else (1, stride)
        plan = [(width, 1, strides[0]), (width, 3, strides[1]), (out, 1, 1)]
    y = x
    for i, (channels, kernel, step) in enumerate(plan, start=1):
        dilated = dilation if kernel == 3 else 1
        y = conv_bn(g, y, f"{path}.conv{i}", f"{path}.bn{i}", channels, kernel=kernel, stride=step, dilation=dilated)
        if i < len(plan):
            y = g.act(y, f"{path}.relu{i}", "relu")
    if stride > 1 or g.channels(x) != out:
        x = conv_bn(g, x, f"{path}.downsample.0", f"{path}.downsample.1", out, kernel=1, stride=stride)
    return g.act(g.add((y, x), f"{path}.sum"), f"{path}.relu", "relu")


def stage(
    g: GraphBuilder,
    x: str,
    level: int,
    *,
    depth: int,
    width: int,
    stride: int | None = None,
    dilation: int = 1,
    stride_in: Where = "3x3",
) -> str:
    """Stage `level` from 1 to 4 of a network whose first stage has `width`; all but the first have stride 2."""
    stride = stride or (1 if level == 1 else 2)
    for i in range(UNITS[depth][level - 1]):
        x = unit(
            g,
            x,
            f"layer{level}.{i}",
            width * 2 ** (level - 1),
            expansion=EXPANSION[depth],
            stride=stride if i == 0 else 1,
            dilation=dilation,
            stride_in=stride_in,
        )
    return x


def stem(g: GraphBuilder, x: str, width: int, *, ceil: bool = False) -> str:
    """7x7 convolution and 3x3 max pooling, both with stride 2."""
    x = g.act(conv_bn(g, x, "conv1", "bn1", width, kernel=7, stride=2), "relu", "relu")
    return g.max_pool(x, "maxpool", kernel=3, stride=2, padding=1, ceil=ceil)


def features(g: GraphBuilder, s: ResNetSpec, t: Tensors) -> None:
    """The stem and the four stages."""
    x = stem(g, t["image"], s.width)
    for level in (1, 2, 3, 4):
        x = stage(g, x, level, depth=s.depth, width=s.width, stride_in=s.stride_in)
    t["x"] = x


def classifier(g: GraphBuilder, s: ResNetSpec, t: Tensors) -> None:
    """Average over the image, and a linear layer to the classes."""
    x = g.append(AdaptiveAvgPool((1, 1)), (t["x"],), "avgpool")
    t["logits"] = g.append(Linear(s.classes), (x,), "fc")


FAMILY = Family(spec=ResNetSpec, stages=(Stage(features), Stage(classifier)))
