"""DenseNet: densely connected convolutional networks.

Huang, Liu, van der Maaten, Weinberger, CVPR 2017, arXiv:1608.06993. Layer names are those of torchvision's
checkpoints. A reference network: devices are calibrated on its published times. Parameters, by depth
(torchvision's documentation): 121: 7,978,856; 161: 28,681,000; 169: 14,149,480; 201: 20,013,928.
"""

from dataclasses import dataclass
from typing import Annotated, ClassVar

from annotated_types import Interval

from zoo.graph import AdaptiveAvgPool, GraphBuilder, Linear
from zoo.lowering import Family, Stage, Tensors
from zoo.specs import Count, Spec

Units = Annotated[int, Interval(ge=1, le=64)]

BOTTLENECK = 4
"""Channels of a layer's 1x1 convolution over the growth rate."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DenseNetSpec(Spec):
    """One DenseNet; the defaults are DenseNet-121. width: of the first convolution. growth: channels a layer adds."""

    family: ClassVar[str] = "densenet"

    width: Count = 64
    growth: Count = 32
    units: tuple[Units, Units, Units, Units] = (6, 12, 24, 16)
    classes: Count = 1000


def _bn_relu_conv(g: GraphBuilder, x: str, path: str, norm: str, relu: str, conv: str, width: int, kernel: int) -> str:
    x = g.act(g.bn(x, f"{path}.{norm}"), f"{path}.{relu}", "relu")
    return g.conv(x, f"{path}.{conv}", width, kernel=kernel)


def dense_layer(g: GraphBuilder, inputs: tuple[str, ...], path: str, growth: int) -> str:
    """All features before, concatenated; BN, ReLU, 1x1; BN, ReLU, 3x3 (section 3, "bottleneck layers")."""
    x = g.concat(inputs, f"{path}.cat") if len(inputs) > 1 else inputs[0]
    x = _bn_relu_conv(g, x, path, "norm1", "relu1", "conv1", BOTTLENECK * growth, 1)
    return _bn_relu_conv(g, x, path, "norm2", "relu2", "conv2", growth, 3)


def dense_block(g: GraphBuilder, x: str, path: str, units: int, growth: int) -> str:
    """`units` layers, each of which sees the block's input and all layers before."""
    values: tuple[str, ...] = (x,)
    for i in range(1, units + 1):
        values = (*values, dense_layer(g, values, f"{path}.denselayer{i}", growth))
    return g.concat(values, f"{path}.cat")


def features(g: GraphBuilder, s: DenseNetSpec, t: Tensors) -> None:
    """The stem and four dense blocks, with a halving transition after each but the last."""
    x = g.bn(g.conv(t["image"], "features.conv0", s.width, kernel=7, stride=2), "features.norm0")
    x = g.max_pool(g.act(x, "features.relu0", "relu"), "features.pool0", kernel=3, stride=2, padding=1)
    for level, units in enumerate(s.units, start=1):
        x = dense_block(g, x, f"features.denseblock{level}", units, s.growth)
        if level < len(s.units):
            path = f"features.transition{level}"
            x = _bn_relu_conv(g, x, path, "norm", "relu", "conv", max(1, g.channels(x) // 2), 1)
            x = g.avg_pool(x, f"{path}.pool", kernel=2, stride=2)
    t["x"] = g.act(g.bn(x, "features.norm5"), "features.relu5", "relu")


def classifier(g: GraphBuilder, s: DenseNetSpec, t: Tensors) -> None:
    """Average over the image, and a linear layer to the classes."""
    x = g.append(AdaptiveAvgPool((1, 1)), (t["x"],), "avgpool")
    t["logits"] = g.append(Linear(s.classes), (x,), "classifier")


FAMILY = Family(spec=DenseNetSpec, stages=(Stage(features), Stage(classifier)))
