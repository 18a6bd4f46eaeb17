"""PSPNet: pyramid scene parsing network.

Zhao, Shi, Qi, Wang, Jia, CVPR 2017, arXiv:1612.01105. Layer names are the keys of the first author's
PyTorch release. The network is a ResNet whose 7x7 convolution became three 3x3 ones, dilated by 2 and 4
in its last two stages so that features stay at 1/8 of the image's size; the pyramid pooling module; and a
3x3 convolution before the classes. Interpolation is bilinear and aligns corners.

Parameters: 65,707,475 with ResNet-101 and the 19 classes of Cityscapes, where the comparison has 65.7 M.
The head of the auxiliary loss (section 3.3) serves training only: with it they are 68.1 M, and with
ResNet-50 46.7 M, so the published count is ResNet-101's without it.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

from zoo.graph import AdaptiveAvgPool, Dropout, GraphBuilder
from zoo.lowering import Family, Stage, Tensors
from zoo.models.resnet import conv_bn, stage
from zoo.specs import Count, Spec

BINS = (1, 2, 3, 6)
"""Sizes to which the pyramid pools (section 3.2)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PSPNetSpec(Spec):
    """One PSPNet.

    depth: of the ResNet. width: of its first stage. auxiliary: a second output, from the third stage, for
    the auxiliary loss in training.
    """

    family: ClassVar[str] = "pspnet"

    depth: Literal[50, 101, 152] = 101
    width: Count = 64
    auxiliary: bool = False
    classes: Count = 19


def stem(g: GraphBuilder, s: PSPNetSpec, t: Tensors) -> None:
    """Three 3x3 convolutions, the first of stride 2, and 3x3 max pooling."""
    x = t["image"]
    for i, (width, stride) in enumerate(((s.width, 2), (s.width, 1), (2 * s.width, 1))):
        x = conv_bn(g, x, f"layer0.{3 * i}", f"layer0.{3 * i + 1}", width, kernel=3, stride=stride)
        x = g.act(x, f"layer0.{3 * i + 2}", "relu")
    t["x"] = g.max_pool(x, "layer0.9", kernel=3, stride=2, padding=1)


def stages(g: GraphBuilder, s: PSPNetSpec, t: Tensors) -> None:
    """Four stages; the third and the fourth are dilated by 2 and 4 instead of strided."""
    x = t["x"]
    for level, stride, dilation in ((1, 1, 1), (2, 2, 1), (3, 1, 2), (4, 1, 4)):
        x = t[f"level{level}"] = stage(g, x, level, depth=s.depth, width=s.width, stride=stride, dilation=dilation)
    t["x"] = x


def pyramid_pooling(g: GraphBuilder, s: PSPNetSpec, t: Tensors) -> None:
    """Pool to each size, reduce to a quarter of the channels, interpolate, concatenate with the features."""
    x = t["x"]
    pyramid = [x]
    for i, bins in enumerate(BINS):
        path = f"ppm.features.{i}"
        y = g.append(AdaptiveAvgPool((bins, bins)), (x,), f"{path}.0")
        y = conv_bn(g, y, f"{path}.1", f"{path}.2", g.channels(x) // len(BINS), kernel=1)
        y = g.act(y, f"{path}.3", "relu")
        pyramid.append(g.resize(y, f"{path}.resize", like=x, align_corners=True))
    t["x"] = g.concat(tuple(pyramid), "ppm.cat")


def predict(g: GraphBuilder, x: str, image: str, path: str, width: int, classes: int) -> str:
    """3x3 convolution, dropout, 1x1 convolution to the classes, at the image's size."""
    x = g.act(conv_bn(g, x, f"{path}.0", f"{path}.1", width, kernel=3), f"{path}.2", "relu")
    x = g.append(Dropout(0.1, channelwise=True), (x,), f"{path}.3")
    x = g.conv(x, f"{path}.4", classes, bias=True)
    return g.resize(x, f"{path}.resize", like=image, align_corners=True)


def head(g: GraphBuilder, s: PSPNetSpec, t: Tensors) -> None:
    """The prediction and, where asked for, the auxiliary one."""
    t["logits"] = predict(g, t["x"], t["image"], "cls", 8 * s.width, s.classes)
    if s.auxiliary:
        t["auxiliary"] = predict(g, t["level3"], t["image"], "aux", 4 * s.width, s.classes)


def _outputs(s: PSPNetSpec) -> tuple[str, ...]:
    return ("logits", "auxiliary") if s.auxiliary else ("logits",)


FAMILY = Family(
    spec=PSPNetSpec,
    stages=(Stage(stem), Stage(stages), Stage(pyramid_pooling), Stage(head)),
    outputs=_outputs,
)
