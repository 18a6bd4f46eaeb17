"""DeepLab-v2: semantic image segmentation with deep convolutional nets, atrous convolution, and fully connected CRFs.

Chen, Papandreou, Kokkinos, Murphy, Yuille, IEEE Transactions on Pattern Analysis and Machine Intelligence
40(4), 2018, arXiv:1606.00915. As compared in the ESPNet paper: ResNet-101, one scale, without the CRF.
Layer names are torchvision's for the ResNet and the authors' (`fc1_c0`) for the atrous pyramid.

The bottleneck strides in its first 1x1 convolution, as He et al. do, and the max pooling rounds up. The
last two stages are dilated by 2 and 4 instead of strided, so that features stay at 1/8.

Parameters: 43,901,068 with the 19 classes of Cityscapes and 44,048,532 with the 21 of PASCAL VOC. The
comparison's 44.1 M was read from a figure (+- 0.4 M), and both are within 1 % of it.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

from zoo.graph import GraphBuilder
from zoo.lowering import Family, Stage, Tensors
from zoo.models.resnet import stage, stem
from zoo.specs import Count, Spec

Dilation = Count


@dataclass(frozen=True, slots=True, kw_only=True)
class DeepLabSpec(Spec):
    """One DeepLab-v2.

    depth: of the ResNet. width: of its first stage. dilations: of the atrous spatial pyramid; ASPP-L has
    (6, 12, 18, 24) and ASPP-S (2, 4, 8, 12).
    """

    family: ClassVar[str] = "deeplab"

    depth: Literal[50, 101, 152] = 101
    width: Count = 64
    dilations: tuple[Dilation, Dilation, Dilation, Dilation] = (6, 12, 18, 24)
    classes: Count = 19


def features(g: GraphBuilder, s: DeepLabSpec, t: Tensors) -> None:
    """ResNet with atrous convolution in its last two stages (section 3.1)."""
    x = stem(g, t["image"], s.width, ceil=True)
    for level, stride, dilation in ((1, 1, 1), (2, 2, 1), (3, 1, 2), (4, 1, 4)):
        x = stage(g, x, level, depth=s.depth, width=s.width, stride=stride, dilation=dilation, stride_in="1x1")
    t["x"] = x


def atrous_pyramid(g: GraphBuilder, s: DeepLabSpec, t: Tensors) -> None:
    """Atrous spatial pyramid pooling (section 3.2): the sum of four dilated 3x3 convolutions to the classes."""
    branches = tuple(
        g.conv(t["x"], f"fc1_c{i}", s.classes, kernel=3, dilation=dilation, bias=True)
        for i, dilation in enumerate(s.dilations)
    )
    t["scores"] = g.add(branches, "fc1")


def upsample(g: GraphBuilder, s: DeepLabSpec, t: Tensors) -> None:
    """Interpolate to the image's size."""
    t["logits"] = g.resize(t["scores"], "fc1_interp", like=t["image"], align_corners=True)


FAMILY = Family(spec=DeepLabSpec, stages=(Stage(features), Stage(atrous_pyramid), Stage(upsample)))
