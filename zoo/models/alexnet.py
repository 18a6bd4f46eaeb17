"""AlexNet in the form of Krizhevsky's "One weird trick", arXiv:1404.5997, as torchvision has it.

Layer names are those of torchvision's checkpoints. A reference network: devices are calibrated on its
published times. Parameters: 61,100,840 (torchvision's documentation).
"""

from dataclasses import dataclass
from typing import ClassVar

from zoo.graph import AdaptiveAvgPool, Dropout, GraphBuilder, Linear
from zoo.lowering import Family, Stage, Tensors
from zoo.specs import Count, Spec

Widths = tuple[Count, Count, Count, Count, Count]

KERNELS = (11, 5, 3, 3, 3)
POOLED = (0, 1, 4)
"""Convolutions that a 3x3 max pooling of stride 2 follows."""
PLACES = (0, 3, 6, 8, 10)
"""Numbers of the convolutions in torchvision's list of modules."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AlexNetSpec(Spec):
    """One AlexNet. widths: channels of the five convolutions. hidden: of the two hidden linear layers."""

    family: ClassVar[str] = "alexnet"

    widths: Widths = (64, 192, 384, 256, 256)
    hidden: Count = 4096
    classes: Count = 1000


def features(g: GraphBuilder, s: AlexNetSpec, t: Tensors) -> None:
    """Five convolutions with bias and ReLU, three of them followed by max pooling."""
    x = t["image"]
    for i, (width, kernel, place) in enumerate(zip(s.widths, KERNELS, PLACES, strict=True)):
        stride, padding = (4, 2) if i == 0 else (1, kernel // 2)
        x = g.conv(x, f"features.{place}", width, kernel=kernel, stride=stride, padding=padding, bias=True)
        x = g.act(x, f"features.{place + 1}", "relu")
        if i in POOLED:
            x = g.max_pool(x, f"features.{place + 2}", kernel=3, stride=2)
    t["x"] = x


def classifier(g: GraphBuilder, s: AlexNetSpec, t: Tensors) -> None:
    """Average pooling to 6x6, two hidden linear layers with dropout, and the one to the classes."""
    x = g.append(AdaptiveAvgPool((6, 6)), (t["x"],), "avgpool")
    for place in (1, 4):
        x = g.append(Dropout(0.5), (x,), f"classifier.{place - 1}")
        x = g.append(Linear(s.hidden), (x,), f"classifier.{place}")
        x = g.act(x, f"classifier.{place + 1}", "relu")
    t["logits"] = g.append(Linear(s.classes), (x,), "classifier.6")


FAMILY = Family(spec=AlexNetSpec, stages=(Stage(features), Stage(classifier)))
