"""MobileNetV2 and MNASNet: inverted residuals.

Sandler et al., CVPR 2018, arXiv:1801.04381, and Tan et al., CVPR 2019, arXiv:1807.11626, whose networks are of the
same blocks with other kernels, expansions and repetitions. Widths and names of parameters follow torchvision. A
reference network: devices are calibrated on its published times. Parameters (torchvision's documentation):
MobileNetV2 3,504,872; MNASNet, by scale, 0.5: 2,218,512; 0.75: 3,170,208; 1.0: 4,383,312; 1.3: 6,282,256.
"""

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from annotated_types import Interval

from zoo.graph import AdaptiveAvgPool, Dropout, GraphBuilder, Linear
from zoo.lowering import Family, Stage, Tensors
from zoo.specs import Count, Spec

MOBILENETV2 = (
    (1, 3, 16, 1, 1),
    (6, 3, 24, 2, 2),
    (6, 3, 32, 3, 2),
    (6, 3, 64, 4, 2),
    (6, 3, 96, 3, 1),
    (6, 3, 160, 3, 2),
    (6, 3, 320, 1, 1),
)
"""Expansion, kernel, channels, repetitions and first stride of each stage (MobileNetV2, table 2)."""

MNASNET = (
    (1, 3, 16, 1, 1),
    (3, 3, 24, 3, 2),
    (3, 5, 40, 3, 2),
    (6, 5, 80, 3, 2),
    (6, 3, 96, 2, 1),
    (6, 5, 192, 4, 2),
    (6, 3, 320, 1, 1),
)
"""The same for MNASNet (figure 7), as torchvision builds it."""

STAGES = {"mobilenetv2": MOBILENETV2, "mnasnet": MNASNET}


@dataclass(frozen=True, slots=True, kw_only=True)
class MobileNetV2Spec(Spec):
    """One network of inverted residuals. scale: of all widths but the last convolution's."""

    family: ClassVar[str] = "mobilenetv2"

    stages: Literal["mobilenetv2", "mnasnet"] = "mobilenetv2"
    scale: Annotated[float, Interval(ge=0.1, le=4)] = 1.0
    classes: Count = 1000


def divisible(width: float) -> int:
    """The multiple of 8 nearest to a width, the next one up where that loses too much.

    >>> divisible(36), divisible(12)
    (40, 16)
    """
    rounded = max(8, int(width + 4) // 8 * 8)
    return rounded if rounded >= 0.9 * width else rounded + 8


def conv_bn_act(
    g: GraphBuilder,
    x: str,
    path: str,
    width: int,
    *,
    kernel: int = 1,
    stride: int = 1,
    groups: int = 1,
    activation: str | None,
) -> str:
    """Convolution, BN and, where one is named, an activation."""
    x = g.bn(g.conv(x, f"{path}.0", width, kernel=kernel, stride=stride, groups=groups), f"{path}.1")
    return g.act(x, f"{path}.2", activation) if activation else x


def inverted_residual(
    g: GraphBuilder, x: str, path: str, width: int, *, expansion: int, kernel: int, stride: int, activation: str
) -> str:
    """1x1 expansion, depth-wise convolution, linear 1x1; a sum where nothing changes the shape (figure 3b)."""
    entry, wide = x, g.channels(x) * expansion
    if expansion > 1:
        x = conv_bn_act(g, x, f"{path}.expand", wide, activation=activation)
    x = conv_bn_act(g, x, f"{path}.depthwise", wide, kernel=kernel, stride=stride, groups=wide, activation=activation)
    x = conv_bn_act(g, x, f"{path}.project", width, activation=None)
    return g.add((entry, x), f"{path}.sum") if stride == 1 and g.channels(entry) == width else x


def features(g: GraphBuilder, s: MobileNetV2Spec, t: Tensors) -> None:
    """The strided convolution, the stages, and a wide 1x1 convolution."""
    original = s.stages == "mobilenetv2"
    activation = "relu6" if original else "relu"
    x = conv_bn_act(g, t["image"], "stem", divisible(32 * s.scale), kernel=3, stride=2, activation=activation)
    for level, (expansion, kernel, width, count, stride) in enumerate(STAGES[s.stages]):
        for i in range(count):
            x = inverted_residual(
                g,
                x,
                f"stage{level}.{i}",
                divisible(width * s.scale),
                expansion=expansion,
                kernel=kernel,
                stride=stride if i == 0 else 1,
                activation=activation,
            )
    last = divisible(1280 * max(1.0, s.scale)) if original else 1280
    t["x"] = conv_bn_act(g, x, "last", last, activation=activation)


def classifier(g: GraphBuilder, s: MobileNetV2Spec, t: Tensors) -> None:
    """Average over the image, dropout, and a linear layer to the classes."""
    x = g.append(AdaptiveAvgPool((1, 1)), (t["x"],), "avgpool")
    t["logits"] = g.append(Linear(s.classes), (g.append(Dropout(0.2), (x,), "dropout"),), "classifier")


FAMILY = Family(spec=MobileNetV2Spec, stages=(Stage(features), Stage(classifier)))
