"""MixNet: mixed depth-wise convolutional kernels.

Tan, Le, BMVC 2019, arXiv:1907.09595, in the form of timm. A reference network: devices are calibrated on its
published times. Parameters, as timm counts them: small 4,134,606, medium 5,014,382, large 7,329,252; the paper's
table 2 says 4.1, 5.0 and 7.3 M.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

from zoo.graph import AdaptiveAvgPool, GraphBuilder, Linear, SliceChannels
from zoo.lowering import Family, Stage, Tensors
from zoo.models.mobilenetv2 import divisible
from zoo.models.mobilenetv3 import squeeze_excite
from zoo.specs import Count, Spec

Unit = tuple[int, int, int, int, int, int, int, float, str]

SMALL: tuple[Unit, ...] = (
    (1, 1, 1, 1, 1, 1, 16, 0.0, "relu"),
    (1, 2, 2, 2, 6, 1, 24, 0.0, "relu"),
    (1, 2, 2, 1, 3, 1, 24, 0.0, "relu"),
    (3, 1, 1, 2, 6, 1, 40, 0.5, "silu"),
    (2, 2, 2, 1, 6, 3, 40, 0.5, "silu"),
    (3, 1, 2, 2, 6, 1, 80, 0.25, "silu"),
    (2, 1, 2, 1, 6, 2, 80, 0.25, "silu"),
    (3, 2, 2, 1, 6, 1, 120, 0.5, "silu"),
    (4, 2, 2, 1, 3, 2, 120, 0.5, "silu"),
    (5, 1, 1, 2, 6, 1, 200, 0.5, "silu"),
    (4, 1, 2, 1, 6, 2, 200, 0.5, "silu"),
)
"""Depth-wise kernels (3x3 and the next ones), groups of the expansion and of the projection, first stride, expansion,
units, channels, squeeze ratio and activation of each stage (figure 5)."""

MEDIUM: tuple[Unit, ...] = (
    (1, 1, 1, 1, 1, 1, 24, 0.0, "relu"),
    (3, 2, 2, 2, 6, 1, 32, 0.0, "relu"),
    (1, 2, 2, 1, 3, 1, 32, 0.0, "relu"),
    (4, 1, 1, 2, 6, 1, 40, 0.5, "silu"),
    (2, 2, 2, 1, 6, 3, 40, 0.5, "silu"),
    (3, 1, 1, 2, 6, 1, 80, 0.25, "silu"),
    (4, 2, 2, 1, 6, 3, 80, 0.25, "silu"),
    (1, 1, 1, 1, 6, 1, 120, 0.5, "silu"),
    (4, 2, 2, 1, 3, 3, 120, 0.5, "silu"),
    (4, 1, 1, 2, 6, 1, 200, 0.5, "silu"),
    (4, 1, 2, 1, 6, 3, 200, 0.5, "silu"),
)

PLANS = {"small": (SMALL, 1.0, 16), "medium": (MEDIUM, 1.0, 24), "large": (MEDIUM, 1.3, 24)}
"""Stages, scale of all widths, and channels of the stem."""

HEAD = 1536


@dataclass(frozen=True, slots=True, kw_only=True)
class MixNetSpec(Spec):
    """One MixNet."""

    family: ClassVar[str] = "mixnet"

    variant: Literal["small", "medium", "large"] = "small"
    classes: Count = 1000


def split(channels: int, parts: int) -> list[int]:
    """Channels of each part: equal, and the first takes the remainder.

    >>> split(88, 3)
    [30, 29, 29]
    """
    return [channels - channels // parts * (parts - 1)] + [channels // parts] * (parts - 1)


def mixed_conv(
    g: GraphBuilder, x: str, path: str, widths: list[int], *, kernels: list[int], stride: int = 1, depthwise: bool
) -> str:
    """Channels split among convolutions with kernels of their own (MixConv, figure 2), or 1x1 ones in groups."""
    entries = split(g.channels(x), len(widths))
    parts, start = [], 0
    for i, (entry, width, kernel) in enumerate(zip(entries, widths, kernels, strict=True)):
        part = x if len(widths) == 1 else g.append(SliceChannels(start, start + entry), (x,), f"{path}.slice{i}")
        groups = entry if depthwise else 1
        parts.append(g.conv(part, f"{path}.{i}", width, kernel=kernel, stride=stride, groups=groups))
        start += entry
    return parts[0] if len(parts) == 1 else g.concat(tuple(parts), f"{path}.cat")


def unit(g: GraphBuilder, x: str, path: str, stage: Unit, stride: int, width: int) -> str:
    """Inverted residual with grouped 1x1 convolutions, mixed depth-wise kernels, squeeze and excitation."""
    kernels, expand, project, _, expansion, _, _, ratio, activation = stage
    entry, wide = x, g.channels(x) * expansion
    if expansion > 1:
        x = mixed_conv(g, x, f"{path}.expand", split(wide, expand), kernels=[1] * expand, depthwise=False)
        x = g.act(g.bn(x, f"{path}.bn1"), f"{path}.act1", activation)
    sizes = [3 + 2 * i for i in range(kernels)]
    x = mixed_conv(g, x, f"{path}.depthwise", split(wide, kernels), kernels=sizes, stride=stride, depthwise=True)
    x = g.act(g.bn(x, f"{path}.bn2"), f"{path}.act2", activation)
    if ratio:
        x = squeeze_excite(g, x, f"{path}.se", int(g.channels(entry) * ratio), inner=activation, gate="sigmoid")
    x = mixed_conv(g, x, f"{path}.project", split(width, project), kernels=[1] * project, depthwise=False)
    x = g.bn(x, f"{path}.bn3")
    return g.add((entry, x), f"{path}.sum") if stride == 1 and g.channels(entry) == width else x


def features(g: GraphBuilder, s: MixNetSpec, t: Tensors) -> None:
    """The strided convolution, the stages, and a wide 1x1 convolution."""
    stages, scale, stem = PLANS[s.variant]
    x = g.bn(g.conv(t["image"], "conv_stem", divisible(stem * scale), kernel=3, stride=2), "bn1")
    x = g.act(x, "act1", "relu")
    for level, stage in enumerate(stages):
        for i in range(stage[5]):
            x = unit(g, x, f"stage{level}.{i}", stage, stage[3] if i == 0 else 1, divisible(stage[6] * scale))
    t["x"] = g.act(g.bn(g.conv(x, "conv_head", HEAD), "bn2"), "act2", "relu")


def classifier(g: GraphBuilder, s: MixNetSpec, t: Tensors) -> None:
    """Average over the image, and a linear layer to the classes."""
    x = g.append(AdaptiveAvgPool((1, 1)), (t["x"],), "global_pool")
    t["logits"] = g.append(Linear(s.classes), (x,), "classifier")


FAMILY = Family(spec=MixNetSpec, stages=(Stage(features), Stage(classifier)))
