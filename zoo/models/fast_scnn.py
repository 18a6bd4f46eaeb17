"""Fast-SCNN: fast semantic segmentation network.

Poudel, Liwicki, Cipolla, BMVC 2019, arXiv:1902.04502. The authors released no weights, so layer names are ours. A
depth-wise separable convolution has no activation between its two convolutions. Interpolation is bilinear and aligns
corners. The two 1x1 convolutions of the feature fusion and the last one have a bias, the others have none.

Parameters: 1,138,051 with the 19 classes of Cityscapes, 2.5 % more than the paper's 1.11 M. The paper says of the
pyramid pooling only that it leaves 128 channels; here a 1x1 convolution brings the concatenation there, as public
re-implementations have it. Without its 33,024 parameters it would be 1,105,027.
"""

from dataclasses import dataclass
from typing import Annotated, ClassVar

from annotated_types import Interval

from zoo.graph import AdaptiveAvgPool, Dropout, GraphBuilder
from zoo.lowering import Family, Stage, Tensors
from zoo.specs import Count, Rule, Spec

BINS = (1, 2, 3, 6)
"""Sizes to which the pyramid pools, PSPNet's."""


def _pyramid_divides(s: "FastSCNNSpec") -> str | None:
    if s.bottlenecks[2] % len(BINS) == 0:
        return None
    return (
        f"bottlenecks: the pyramid pooling divides the last by {len(BINS)}, so it must be a multiple of {len(BINS)}, "
        f"but is {s.bottlenecks[2]}"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class FastSCNNSpec(Spec):
    """One Fast-SCNN.

    widths: channels of the learning to downsample module at 1/2, 1/4 and 1/8. bottlenecks: channels of the three
    groups of inverted residual blocks. depth: blocks in a group. expansion: t of a block. head: channels of the
    feature fusion and the classifier.
    """

    family: ClassVar[str] = "fast-scnn"
    rules: ClassVar[tuple[Rule, ...]] = (_pyramid_divides,)

    widths: tuple[Count, Count, Count] = (32, 48, 64)
    bottlenecks: tuple[Count, Count, Count] = (64, 96, 128)
    depth: Annotated[int, Interval(ge=1, le=16)] = 3
    expansion: Annotated[int, Interval(ge=1, le=8)] = 6
    head: Count = 128
    classes: Count = 19


def conv_bn(
    g: GraphBuilder,
    x: str,
    path: str,
    width: int,
    *,
    kernel: int = 1,
    stride: int = 1,
    dilation: int = 1,
    groups: int = 1,
) -> str:
    """Convolution and BN."""
    y = g.conv(x, f"{path}.conv", width, kernel=kernel, stride=stride, dilation=dilation, groups=groups)
    return g.bn(y, f"{path}.bn")


def depthwise(g: GraphBuilder, x: str, path: str, *, stride: int = 1, dilation: int = 1) -> str:
    """3x3 depth-wise convolution and BN."""
    return conv_bn(g, x, path, g.channels(x), kernel=3, stride=stride, dilation=dilation, groups=g.channels(x))


def relu(g: GraphBuilder, x: str, path: str) -> str:
    """ReLU."""
    return g.act(x, f"{path}.relu", "relu")


def ds_conv(g: GraphBuilder, x: str, path: str, width: int, *, stride: int = 1) -> str:
    """DSConv: depth-wise separable convolution, ReLU."""
    x = depthwise(g, x, f"{path}.depthwise", stride=stride)
    return relu(g, conv_bn(g, x, f"{path}.pointwise", width), path)


def bottleneck(g: GraphBuilder, x: str, path: str, width: int, *, expansion: int, stride: int) -> str:
    """Inverted residual block: expand by t, convolve depth-wise, project; residual where shapes agree."""
    y = relu(g, conv_bn(g, x, f"{path}.expand", expansion * g.channels(x)), f"{path}.expand")
    y = relu(g, depthwise(g, y, f"{path}.depthwise", stride=stride), f"{path}.depthwise")
    y = conv_bn(g, y, f"{path}.project", width)
    return g.add((x, y), f"{path}.sum") if stride == 1 and g.channels(x) == width else y


def learning_to_downsample(g: GraphBuilder, s: FastSCNNSpec, t: Tensors) -> None:
    """A 3x3 convolution and two DSConvs, all of stride 2: features that both branches share."""
    first, second, third = s.widths
    x = relu(g, conv_bn(g, t["image"], "downsample.0", first, kernel=3, stride=2), "downsample.0")
    x = ds_conv(g, x, "downsample.1", second, stride=2)
    t["x"] = t["shared"] = ds_conv(g, x, "downsample.2", third, stride=2)


def group(index: int, stride: int) -> tuple[Stage, Stage]:
    """One group of bottlenecks of the global feature extractor; the first of them has the stride."""

    def first(g: GraphBuilder, s: FastSCNNSpec, t: Tensors) -> None:
        path, width = f"extractor.{index}.0", s.bottlenecks[index]
        t["x"] = bottleneck(g, t["x"], path, width, expansion=s.expansion, stride=stride)

    def others(g: GraphBuilder, s: FastSCNNSpec, t: Tensors) -> None:
        for i in range(1, s.depth):
            path, width = f"extractor.{index}.{i}", s.bottlenecks[index]
            t["x"] = bottleneck(g, t["x"], path, width, expansion=s.expansion, stride=1)

    return Stage(first), Stage(others)


def pyramid_pooling(g: GraphBuilder, s: FastSCNNSpec, t: Tensors) -> None:
    """Pyramid pooling module: pool to each size, reduce to a quarter, interpolate, concatenate, 1x1."""
    x = t["x"]
    pyramid = [x]
    for bins in BINS:
        path = f"pyramid.bins{bins}"
        y = g.append(AdaptiveAvgPool((bins, bins)), (x,), f"{path}.pool")
        y = relu(g, conv_bn(g, y, path, g.channels(x) // len(BINS)), path)
        pyramid.append(g.resize(y, f"{path}.resize", like=x, align_corners=True))
    t["x"] = relu(g, conv_bn(g, g.concat(tuple(pyramid), "pyramid.cat"), "pyramid", s.head), "pyramid")


def feature_fusion(g: GraphBuilder, s: FastSCNNSpec, t: Tensors) -> None:
    """Feature fusion module: the global features, interpolated and convolved, plus the shared ones."""
    x = g.resize(t["x"], "fusion.resize", like=t["shared"], align_corners=True)
    x = relu(g, depthwise(g, x, "fusion.depthwise", dilation=4), "fusion.depthwise")
    low = g.bn(g.conv(x, "fusion.low.conv", s.head, bias=True), "fusion.low.bn")
    high = g.bn(g.conv(t["shared"], "fusion.high.conv", s.head, bias=True), "fusion.high.bn")
    t["x"] = relu(g, g.add((low, high), "fusion.sum"), "fusion")


def classifier(g: GraphBuilder, s: FastSCNNSpec, t: Tensors) -> None:
    """Two DSConvs, dropout, the classes, and the image's size."""
    x = t["x"]
    for i in range(2):
        x = ds_conv(g, x, f"classifier.{i}", s.head)
    x = g.conv(g.append(Dropout(0.1), (x,), "classifier.dropout"), "classifier.conv", s.classes, bias=True)
    t["logits"] = g.resize(x, "resize", like=t["image"], align_corners=True)


FAMILY = Family(
    spec=FastSCNNSpec,
    stages=(
        Stage(learning_to_downsample),
        *group(0, stride=2),
        *group(1, stride=2),
        *group(2, stride=1),
        Stage(pyramid_pooling),
        Stage(feature_fusion),
        Stage(classifier),
    ),
)
