"""ShuffleNetV2: practical guidelines for efficient CNN architecture design.

Ma, Zhang, Zheng, Sun, ECCV 2018, arXiv:1807.11164. A reference network: devices are calibrated on its published
times. Parameters, by scale (torchvision's documentation): 0.5: 1,366,792; 1.0: 2,278,604; 1.5: 3,503,624;
2.0: 7,393,996.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

from zoo.graph import AdaptiveAvgPool, ChannelShuffle, GraphBuilder, Linear, SliceChannels
from zoo.lowering import Family, Stage, Tensors
from zoo.models.mobilenetv2 import conv_bn_act
from zoo.specs import Count, Spec

WIDTHS = {
    "0.5": (48, 96, 192, 1024),
    "1.0": (116, 232, 464, 1024),
    "1.5": (176, 352, 704, 1024),
    "2.0": (244, 488, 976, 2048),
}
"""Channels of the three stages and of the last convolution, by scale (table 5)."""

UNITS = (4, 8, 4)


@dataclass(frozen=True, slots=True, kw_only=True)
class ShuffleNetV2Spec(Spec):
    """One ShuffleNetV2."""

    family: ClassVar[str] = "shufflenetv2"

    scale: Literal["0.5", "1.0", "1.5", "2.0"] = "1.0"
    classes: Count = 1000


def branch(g: GraphBuilder, x: str, path: str, width: int, stride: int) -> str:
    """1x1, 3x3 depth-wise and 1x1 convolution."""
    x = conv_bn_act(g, x, f"{path}.reduce", width, activation="relu")
    x = conv_bn_act(g, x, f"{path}.depthwise", width, kernel=3, stride=stride, groups=width, activation=None)
    return conv_bn_act(g, x, f"{path}.expand", width, activation="relu")


def unit(g: GraphBuilder, x: str, path: str, width: int, stride: int) -> str:
    """Basic unit (figure 3c), or the one for down-sampling (3d)."""
    half, wide = width // 2, g.channels(x)
    if stride == 1:
        identity = g.append(SliceChannels(0, half), (x,), f"{path}.kept")
        left, right = (
            identity,
            branch(g, g.append(SliceChannels(half, width), (x,), f"{path}.used"), f"{path}.right", half, 1),
        )
    else:
        left = conv_bn_act(g, x, f"{path}.left.depthwise", wide, kernel=3, stride=2, groups=wide, activation=None)
        left = conv_bn_act(g, left, f"{path}.left.project", half, activation="relu")
        right = branch(g, x, f"{path}.right", half, 2)
    return g.append(ChannelShuffle(2), (g.concat((left, right), f"{path}.cat"),), f"{path}.shuffle")


def features(g: GraphBuilder, s: ShuffleNetV2Spec, t: Tensors) -> None:
    """The stem, three stages, and a 1x1 convolution."""
    *widths, last = WIDTHS[s.scale]
    x = conv_bn_act(g, t["image"], "conv1", 24, kernel=3, stride=2, activation="relu")
    x = g.max_pool(x, "maxpool", kernel=3, stride=2, padding=1)
    for level, (width, count) in enumerate(zip(widths, UNITS, strict=True), start=2):
        for i in range(count):
            x = unit(g, x, f"stage{level}.{i}", width, 2 if i == 0 else 1)
    t["x"] = conv_bn_act(g, x, "conv5", last, activation="relu")


def classifier(g: GraphBuilder, s: ShuffleNetV2Spec, t: Tensors) -> None:
    """Average over the image, and a linear layer to the classes."""
    x = g.append(AdaptiveAvgPool((1, 1)), (t["x"],), "avgpool")
    t["logits"] = g.append(Linear(s.classes), (x,), "fc")


FAMILY = Family(spec=ShuffleNetV2Spec, stages=(Stage(features), Stage(classifier)))
