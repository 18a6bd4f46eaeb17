"""VGG: very deep convolutional networks for large-scale image recognition.

Simonyan, Zisserman, ICLR 2015, arXiv:1409.1556. Layer names are those of the authors' Caffe files
(`conv3_2`, `fc6`). All convolutions and linear layers have a bias. SegNet and FCN begin with its
convolutions.

Parameters: 132,863,336 with 11 layers, 133,047,848 with 13, 138,357,544 with 16 and 143,667,240 with 19, the
paper's 133, 133, 138 and 144 M (table 2).
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

from zoo.graph import AdaptiveAvgPool, Dropout, GraphBuilder, Linear
from zoo.lowering import Family, Stage, Tensors
from zoo.specs import Count, Spec

Widths = tuple[Count, Count, Count, Count, Count]

CONVOLUTIONS = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}
"""3x3 convolutions of each of the five blocks, by depth (table 1, A, B, D and E)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VGGSpec(Spec):
    """One VGG. bn: BN after each convolution. widths: channels of the five blocks. hidden: of the two linear layers.

    As in today's libraries, the last features are average-pooled to 7x7, which they are already at 224x224.
    """

    family: ClassVar[str] = "vgg"

    depth: Literal[11, 13, 16, 19] = 16
    bn: bool = False
    widths: Widths = (64, 128, 256, 512, 512)
    hidden: Count = 4096
    classes: Count = 1000


def block(
    g: GraphBuilder, x: str, level: int, width: int, count: int, *, bn: bool = False, first_padding: int = 1
) -> str:
    """`count` 3x3 convolutions, each with BN where asked for and ReLU."""
    for i in range(1, count + 1):
        name = f"{level}_{i}"
        x = g.conv(x, f"conv{name}", width, kernel=3, padding=first_padding if i == 1 else 1, bias=True)
        if bn:
            x = g.bn(x, f"conv{name}_bn")
        x = g.act(x, f"relu{name}", "relu")
    return x


def features(g: GraphBuilder, s: VGGSpec, t: Tensors) -> None:
    """Five blocks, each followed by max pooling."""
    x = t["image"]
    for level, (width, count) in enumerate(zip(s.widths, CONVOLUTIONS[s.depth], strict=True), start=1):
        x = g.max_pool(block(g, x, level, width, count, bn=s.bn), f"pool{level}", kernel=2, stride=2)
    t["x"] = x


def classifier(g: GraphBuilder, s: VGGSpec, t: Tensors) -> None:
    """Two hidden linear layers with dropout, and the one to the classes."""
    x = g.append(AdaptiveAvgPool((7, 7)), (t["x"],), "pool")
    for i in (6, 7):
        x = g.act(g.append(Linear(s.hidden), (x,), f"fc{i}"), f"relu{i}", "relu")
        x = g.append(Dropout(0.5), (x,), f"drop{i}")
    t["logits"] = g.append(Linear(s.classes), (x,), "fc8")


FAMILY = Family(spec=VGGSpec, stages=(Stage(features), Stage(classifier)))
