"""SqueezeNet: AlexNet-level accuracy with 50x fewer parameters.

Iandola et al., 2016, arXiv:1602.07360. Layer names are those of torchvision's checkpoints. A reference network:
devices are calibrated on its published times. Parameters: version 1.0 1,248,424, version 1.1 1,235,496
(torchvision's documentation).
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

from zoo.graph import AdaptiveAvgPool, Dropout, GraphBuilder
from zoo.lowering import Family, Stage, Tensors
from zoo.specs import Count, Spec

PLANS = {"1.0": (7, 96, (3, 4, 5, 7, 8, 9, 10, 12), (2, 6, 11)), "1.1": (3, 64, (3, 4, 6, 7, 9, 10, 11, 12), (2, 5, 8))}
"""By version: kernel and channels of the first convolution, places of the fire modules and of the poolings."""

SQUEEZED = (16, 16, 32, 32, 48, 48, 64, 64)
"""Channels of the eight squeeze convolutions (table 1); each expands to four times as many, twice."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SqueezeNetSpec(Spec):
    """One SqueezeNet."""

    family: ClassVar[str] = "squeezenet"

    version: Literal["1.0", "1.1"] = "1.1"
    classes: Count = 1000


def _conv_relu(g: GraphBuilder, x: str, path: str, width: int, kernel: int) -> str:
    return g.act(g.conv(x, path, width, kernel=kernel, bias=True), f"{path}_activation", "relu")


def fire(g: GraphBuilder, x: str, path: str, squeezed: int) -> str:
    """Fire module (figure 1): 1x1 squeeze, then 1x1 and 3x3 expansions side by side."""
    x = _conv_relu(g, x, f"{path}.squeeze", squeezed, 1)
    wide = tuple(_conv_relu(g, x, f"{path}.expand{k}x{k}", 4 * squeezed, k) for k in (1, 3))
    return g.concat(wide, f"{path}.cat")


def features(g: GraphBuilder, s: SqueezeNetSpec, t: Tensors) -> None:
    """A strided convolution and eight fire modules, with three max poolings between them."""
    kernel, width, fires, pools = PLANS[s.version]
    x = g.conv(t["image"], "features.0", width, kernel=kernel, stride=2, padding=0, bias=True)
    x = g.act(x, "features.1", "relu")
    for place in sorted(fires + pools):
        if place in pools:
            x = g.max_pool(x, f"features.{place}", kernel=3, stride=2, ceil=True)
        else:
            x = fire(g, x, f"features.{place}", SQUEEZED[fires.index(place)])
    t["x"] = x


def classifier(g: GraphBuilder, s: SqueezeNetSpec, t: Tensors) -> None:
    """A 1x1 convolution to the classes and the average over the image."""
    x = g.append(Dropout(0.5), (t["x"],), "classifier.0")
    x = g.act(g.conv(x, "classifier.1", s.classes, bias=True), "classifier.2", "relu")
    t["logits"] = g.append(AdaptiveAvgPool((1, 1)), (x,), "classifier.3")


FAMILY = Family(spec=SqueezeNetSpec, stages=(Stage(features), Stage(classifier)))
