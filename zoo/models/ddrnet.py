"""DDRNet: deep dual-resolution networks for real-time and accurate semantic segmentation of road scenes.

Hong, Pan, Sun, Jia, arXiv:2101.06085; IEEE Transactions on Intelligent Transportation Systems 24(3), 2023. Layer
names are the keys of the authors' released checkpoints. The first two convolutions and the last one have a bias;
activations are ReLUs and interpolation is bilinear.

Parameters: 5,695,987 of DDRNet-23-slim with the 19 classes of Cityscapes, where the paper has 5.7 M.
The head of the auxiliary loss serves training only and is left out.
"""

from dataclasses import dataclass
from typing import ClassVar

from zoo.graph import AdaptiveAvgPool, GraphBuilder
from zoo.lowering import Family, Stage, Tensors
from zoo.models.resnet import conv_bn
from zoo.specs import Count, Spec

POOLS = ((5, 2), (9, 4), (17, 8))
"""Windows and strides to which the pyramid pools; its last scale is the whole image (figure 5)."""

EXPANSION = 2
"""Output channels of a bottleneck over its width."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DDRNetSpec(Spec):
    """One DDRNet of 23 layers.

    width: channels of the first stages; 32 is DDRNet-23-slim, 64 DDRNet-23. pyramid: channels of a scale in the
    DAPPM. head: channels of the segmentation head.
    """

    family: ClassVar[str] = "ddrnet"

    width: Count = 32
    pyramid: Count = 128
    head: Count = 64
    classes: Count = 19


def relu(g: GraphBuilder, x: str, path: str) -> str:
    """ReLU."""
    return g.act(x, path, "relu")


def shortcut(g: GraphBuilder, x: str, path: str, width: int, stride: int) -> str:
    """The input or, where shapes change, a 1x1 convolution of it with BN."""
    if stride == 1 and g.channels(x) == width:
        return x
    return conv_bn(g, x, f"{path}.downsample.0", f"{path}.downsample.1", width, kernel=1, stride=stride)


def basic(g: GraphBuilder, x: str, path: str, width: int, *, stride: int = 1) -> str:
    """Residual basic block: two 3x3 convolutions and the shortcut, without the last ReLU."""
    y = relu(g, conv_bn(g, x, f"{path}.conv1", f"{path}.bn1", width, kernel=3, stride=stride), f"{path}.relu1")
    y = conv_bn(g, y, f"{path}.conv2", f"{path}.bn2", width, kernel=3)
    return g.add((y, shortcut(g, x, path, width, stride)), f"{path}.sum")


def bottleneck(g: GraphBuilder, x: str, path: str, width: int, *, stride: int = 1) -> str:
    """Residual bottleneck block: 1x1, 3x3, 1x1 to twice the width, and the shortcut, without the last ReLU."""
    out = EXPANSION * width
    y = relu(g, conv_bn(g, x, f"{path}.conv1", f"{path}.bn1", width, kernel=1), f"{path}.relu1")
    y = relu(g, conv_bn(g, y, f"{path}.conv2", f"{path}.bn2", width, kernel=3, stride=stride), f"{path}.relu2")
    y = conv_bn(g, y, f"{path}.conv3", f"{path}.bn3", out, kernel=1)
    return g.add((y, shortcut(g, x, path, out, stride)), f"{path}.sum")


def basics(g: GraphBuilder, x: str, path: str, width: int, blocks: int, *, stride: int = 1) -> str:
    """Basic blocks one after the other, with ReLUs in between."""
    for i in range(blocks):
        x = basic(g, relu(g, x, f"{path}.{i - 1}.relu") if i else x, f"{path}.{i}", width, stride=1 if i else stride)
    return x


def stem(g: GraphBuilder, image: str, width: int) -> str:
    """Two 3x3 convolutions of stride 2."""
    x = image
    for i in (0, 3):
        x = g.bn(g.conv(x, f"conv1.{i}", width, kernel=3, stride=2, bias=True), f"conv1.{i + 1}")
        x = relu(g, x, f"conv1.{i + 2}")
    return x


def bn_relu_conv(
    g: GraphBuilder, x: str, path: str, width: int, *, start: int = 0, kernel: int = 1, groups: int = 1
) -> str:
    """BN, ReLU, convolution: submodules `start` and following of `path`."""
    x = relu(g, g.bn(x, f"{path}.{start}"), f"{path}.{start + 1}")
    return g.conv(x, f"{path}.{start + 2}", width, kernel=kernel, groups=groups)


def scales(g: GraphBuilder, x: str, path: str, width: int) -> tuple[str, list[str]]:
    """The pyramid: the features themselves, and pooled ever more coarsely, each interpolated to the features' size."""
    own = bn_relu_conv(g, x, f"{path}.scale0", width)
    coarse = []
    for number in range(1, len(POOLS) + 2):
        scale = f"{path}.scale{number}"
        if number <= len(POOLS):
            kernel, stride = POOLS[number - 1]
            y = g.avg_pool(x, f"{scale}.0", kernel=kernel, stride=stride, padding=kernel // 2)
        else:
            y = g.append(AdaptiveAvgPool((1, 1)), (x,), f"{scale}.0")
        coarse.append(g.resize(bn_relu_conv(g, y, scale, width, start=1), f"{scale}.resize", like=x))
    return own, coarse


def dappm(g: GraphBuilder, x: str, path: str, width: int, out: int) -> str:
    """Deep aggregation pyramid pooling module (section 3.3): each scale is added to the finer one's and convolved."""
    own, coarse = scales(g, x, path, width)
    processed = [own]
    for number, scale in enumerate(coarse, start=1):
        y = g.add((scale, processed[-1]), f"{path}.sum{number}")
        processed.append(bn_relu_conv(g, y, f"{path}.process{number}", width, kernel=3))
    y = bn_relu_conv(g, g.concat(tuple(processed), f"{path}.cat"), f"{path}.compression", out)
    return g.add((y, bn_relu_conv(g, x, f"{path}.shortcut", out)), f"{path}.sum")


def head(g: GraphBuilder, x: str, path: str, width: int, classes: int) -> str:
    """Segmentation head: BN, ReLU, 3x3 convolution, BN, ReLU, 1x1 convolution to the classes."""
    x = g.conv(relu(g, g.bn(x, f"{path}.bn1"), f"{path}.relu1"), f"{path}.conv1", width, kernel=3)
    return g.conv(relu(g, g.bn(x, f"{path}.bn2"), f"{path}.relu2"), f"{path}.conv2", classes, bias=True)


def trunk(g: GraphBuilder, s: DDRNetSpec, t: Tensors) -> None:
    """The stem and two stages, to 1/8 of the image's size."""
    x = relu(g, basics(g, stem(g, t["image"], s.width), "layer1", s.width, 2), "layer1.relu")
    t["x"] = relu(g, basics(g, x, "layer2", 2 * s.width, 2, stride=2), "layer2.relu")


def stage3(g: GraphBuilder, s: DDRNetSpec, t: Tensors) -> None:
    """The branches at 1/16 and at 1/8, and their first bilateral fusion (figure 3)."""
    low = basics(g, t["x"], "layer3", 4 * s.width, 2, stride=2)
    high = basics(g, t["x"], "layer3_", 2 * s.width, 2)
    down = conv_bn(g, relu(g, high, "layer3_.relu"), "down3.0", "down3.1", 4 * s.width, kernel=3, stride=2)
    up = conv_bn(g, relu(g, low, "layer3.relu"), "compression3.0", "compression3.1", 2 * s.width, kernel=1)
    up = g.resize(up, "compression3.resize", like=high)
    t["low"] = relu(g, g.add((low, down), "low3.sum"), "low3.relu")
    t["high"] = relu(g, g.add((high, up), "high3.sum"), "high3.relu")


def stage4(g: GraphBuilder, s: DDRNetSpec, t: Tensors) -> None:
    """The branches at 1/32 and at 1/8, and their second bilateral fusion."""
    low = basics(g, t["low"], "layer4", 8 * s.width, 2, stride=2)
    high = basics(g, t["high"], "layer4_", 2 * s.width, 2)
    down = conv_bn(g, relu(g, high, "layer4_.relu"), "down4.0", "down4.1", 4 * s.width, kernel=3, stride=2)
    down = conv_bn(g, relu(g, down, "down4.2"), "down4.3", "down4.4", 8 * s.width, kernel=3, stride=2)
    up = conv_bn(g, relu(g, low, "layer4.relu"), "compression4.0", "compression4.1", 2 * s.width, kernel=1)
    up = g.resize(up, "compression4.resize", like=high)
    t["low"] = relu(g, g.add((low, down), "low4.sum"), "low4.relu")
    t["high"] = relu(g, g.add((high, up), "high4.sum"), "high4.relu")


def stage5(g: GraphBuilder, s: DDRNetSpec, t: Tensors) -> None:
    """A bottleneck in each branch, the pyramid at 1/64, the sum, and the head."""
    high = bottleneck(g, t["high"], "layer5_.0", 2 * s.width)
    low = bottleneck(g, t["low"], "layer5.0", 8 * s.width, stride=2)
    low = g.resize(dappm(g, low, "spp", s.pyramid, 4 * s.width), "spp.resize", like=high)
    x = head(g, g.add((low, high), "fusion"), "final_layer", s.head, s.classes)
    t["logits"] = g.resize(x, "resize", like=t["image"])


FAMILY = Family(spec=DDRNetSpec, stages=(Stage(trunk), Stage(stage3), Stage(stage4), Stage(stage5)))
