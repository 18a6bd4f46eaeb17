"""GoogLeNet: going deeper with convolutions.

Szegedy et al., CVPR 2015, arXiv:1409.4842, as the authors' Caffe port has it for inference: without the two
auxiliary classifiers, and here without the two local response normalisations. All convolutions have a bias. A
reference network: devices are calibrated on its published times. Parameters: 6,998,552 (table 1 adds up to 6.8 M
in rounded figures).
"""

from dataclasses import dataclass
from typing import ClassVar

from zoo.graph import AdaptiveAvgPool, Dropout, GraphBuilder, Linear
from zoo.lowering import Family, Stage, Tensors
from zoo.specs import Count, Spec

MODULES = {
    "3a": (64, 96, 128, 16, 32, 32),
    "3b": (128, 128, 192, 32, 96, 64),
    "4a": (192, 96, 208, 16, 48, 64),
    "4b": (160, 112, 224, 24, 64, 64),
    "4c": (128, 128, 256, 24, 64, 64),
    "4d": (112, 144, 288, 32, 64, 64),
    "4e": (256, 160, 320, 32, 128, 128),
    "5a": (256, 160, 320, 32, 128, 128),
    "5b": (384, 192, 384, 48, 128, 128),
}
"""Channels of each Inception module (table 1): 1x1; 3x3 reduction, 3x3; 5x5 reduction, 5x5; pooling's 1x1."""

POOLED = ("3b", "4e")
"""Modules that a max pooling follows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GoogLeNetSpec(Spec):
    """One GoogLeNet."""

    family: ClassVar[str] = "googlenet"

    classes: Count = 1000


def _conv_relu(g: GraphBuilder, x: str, path: str, width: int, kernel: int = 1, stride: int = 1) -> str:
    return g.act(g.conv(x, path, width, kernel=kernel, stride=stride, bias=True), f"{path}_relu", "relu")


def _pool(g: GraphBuilder, x: str, path: str) -> str:
    return g.max_pool(x, path, kernel=3, stride=2, ceil=True)


def inception(g: GraphBuilder, x: str, path: str, widths: tuple[int, ...]) -> str:
    """Inception module with dimension reductions (figure 2b)."""
    width1, reduce3, three, reduce5, five, pooled = widths
    branches = (
        _conv_relu(g, x, f"{path}.1x1", width1),
        _conv_relu(g, _conv_relu(g, x, f"{path}.3x3_reduce", reduce3), f"{path}.3x3", three, 3),
        _conv_relu(g, _conv_relu(g, x, f"{path}.5x5_reduce", reduce5), f"{path}.5x5", five, 5),
        _conv_relu(g, g.max_pool(x, f"{path}.pool", kernel=3, stride=1, padding=1), f"{path}.pool_proj", pooled),
    )
    return g.concat(branches, f"{path}.output")


def features(g: GraphBuilder, s: GoogLeNetSpec, t: Tensors) -> None:
    """The stem and nine Inception modules."""
    x = _pool(g, _conv_relu(g, t["image"], "conv1.7x7_s2", 64, 7, 2), "pool1.3x3_s2")
    x = _conv_relu(g, _conv_relu(g, x, "conv2.3x3_reduce", 64), "conv2.3x3", 192, 3)
    x = _pool(g, x, "pool2.3x3_s2")
    for name, widths in MODULES.items():
        x = inception(g, x, f"inception_{name}", widths)
        if name in POOLED:
            x = _pool(g, x, f"pool{int(name[0])}.3x3_s2")
    t["x"] = x


def classifier(g: GraphBuilder, s: GoogLeNetSpec, t: Tensors) -> None:
    """Average over the image, dropout, and a linear layer to the classes."""
    x = g.append(AdaptiveAvgPool((1, 1)), (t["x"],), "pool5")
    t["logits"] = g.append(Linear(s.classes), (g.append(Dropout(0.4), (x,), "drop"),), "loss3.classifier")


FAMILY = Family(spec=GoogLeNetSpec, stages=(Stage(features), Stage(classifier)))
