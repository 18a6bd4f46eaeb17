"""MobileNetV3: searching for MobileNetV3.

Howard et al., ICCV 2019, arXiv:1905.02244, in torchvision's form. A reference network: devices are calibrated on
its published times. Parameters (torchvision's documentation): small 2,542,856, large 5,483,032.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

from zoo.graph import AdaptiveAvgPool, Dropout, GraphBuilder, Linear
from zoo.lowering import Family, Stage, Tensors
from zoo.models.mobilenetv2 import conv_bn_act, divisible
from zoo.specs import Count, Spec

R, H = "relu", "hard-swish"

LARGE = (
    (3, 16, 16, False, R, 1),
    (3, 64, 24, False, R, 2),
    (3, 72, 24, False, R, 1),
    (5, 72, 40, True, R, 2),
    (5, 120, 40, True, R, 1),
    (5, 120, 40, True, R, 1),
    (3, 240, 80, False, H, 2),
    (3, 200, 80, False, H, 1),
    (3, 184, 80, False, H, 1),
    (3, 184, 80, False, H, 1),
    (3, 480, 112, True, H, 1),
    (3, 672, 112, True, H, 1),
    (5, 672, 160, True, H, 2),
    (5, 960, 160, True, H, 1),
    (5, 960, 160, True, H, 1),
)
"""Kernel, expanded channels, channels, squeeze and excitation, activation, stride of each unit (table 1)."""

SMALL = (
    (3, 16, 16, True, R, 2),
    (3, 72, 24, False, R, 2),
    (3, 88, 24, False, R, 1),
    (5, 96, 40, True, H, 2),
    (5, 240, 40, True, H, 1),
    (5, 240, 40, True, H, 1),
    (5, 120, 48, True, H, 1),
    (5, 144, 48, True, H, 1),
    (5, 288, 96, True, H, 2),
    (5, 576, 96, True, H, 1),
    (5, 576, 96, True, H, 1),
)
"""The same of the small network (table 2)."""

UNITS = {"large": (LARGE, 1280), "small": (SMALL, 1024)}
"""Units, and channels of the hidden linear layer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MobileNetV3Spec(Spec):
    """One MobileNetV3."""

    family: ClassVar[str] = "mobilenetv3"

    variant: Literal["small", "large"] = "small"
    classes: Count = 1000


def squeeze_excite(g: GraphBuilder, x: str, path: str, squeezed: int, *, inner: str, gate: str) -> str:
    """Channels weighed by what the whole image says (Squeeze-and-Excitation, arXiv:1709.01507)."""
    y = g.append(AdaptiveAvgPool((1, 1)), (x,), f"{path}.avgpool")
    y = g.act(g.conv(y, f"{path}.fc1", squeezed, bias=True), f"{path}.activation", inner)
    y = g.act(g.conv(y, f"{path}.fc2", g.channels(x), bias=True), f"{path}.gate", gate)
    return g.multiply(x, y, f"{path}.scale")


def unit(
    g: GraphBuilder, x: str, path: str, kernel: int, wide: int, width: int, excite: bool, activation: str, stride: int
) -> str:
    """MobileNetV2's inverted residual with squeeze and excitation after the depth-wise convolution (figure 4)."""
    entry = x
    if wide != g.channels(x):
        x = conv_bn_act(g, x, f"{path}.expand", wide, activation=activation)
    x = conv_bn_act(g, x, f"{path}.depthwise", wide, kernel=kernel, stride=stride, groups=wide, activation=activation)
    if excite:
        x = squeeze_excite(g, x, f"{path}.se", divisible(wide / 4), inner="relu", gate="hard-sigmoid")
    x = conv_bn_act(g, x, f"{path}.project", width, activation=None)
    return g.add((entry, x), f"{path}.sum") if stride == 1 and g.channels(entry) == width else x


def features(g: GraphBuilder, s: MobileNetV3Spec, t: Tensors) -> None:
    """The strided convolution, the units, and a 1x1 convolution to six times the last unit's channels."""
    x = conv_bn_act(g, t["image"], "stem", 16, kernel=3, stride=2, activation=H)
    units, _ = UNITS[s.variant]
    for i, fields in enumerate(units):
        x = unit(g, x, f"unit{i}", *fields)
    t["x"] = conv_bn_act(g, x, "last", 6 * g.channels(x), activation=H)


def classifier(g: GraphBuilder, s: MobileNetV3Spec, t: Tensors) -> None:
    """Average over the image, a hidden linear layer, and the one to the classes."""
    x = g.append(AdaptiveAvgPool((1, 1)), (t["x"],), "avgpool")
    x = g.act(g.append(Linear(UNITS[s.variant][1]), (x,), "classifier.0"), "classifier.1", H)
    t["logits"] = g.append(Linear(s.classes), (g.append(Dropout(0.2), (x,), "classifier.2"),), "classifier.3")


FAMILY = Family(spec=MobileNetV3Spec, stages=(Stage(features), Stage(classifier)), bn_eps=1e-3)
