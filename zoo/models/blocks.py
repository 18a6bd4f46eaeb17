"""The convolutional units that can stand in ESPNet's place of the ESP unit.

ESPNet compares its unit with those of other networks (Mehta et al., ECCV 2018, arXiv:1803.06815, figure 4
and section 4.2). Each splits and merges as its own paper says; a convolution has no bias, and the
activation is the spec's. M and N are the channels before and after, K the branches, d = N / K their width;
where K does not divide N, the first branch takes the remainder, as in ESP.
"""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from zoo.graph import ChannelShuffle, GraphBuilder

SHUFFLE_GROUPS = 4
"""Groups g of ShuffleNet's 1x1 convolutions."""


class Style(Protocol):
    """What a unit reads of a spec."""

    @property
    def k(self) -> int: ...
    @property
    def activation(self) -> str: ...
    @property
    def residual(self) -> bool: ...
    @property
    def hff(self) -> bool: ...
    @property
    def reduce(self) -> str: ...
    @property
    def pyramid(self) -> str: ...


def bn_act(g: GraphBuilder, x: str, path: str, s: Style) -> str:
    """BN and activation."""
    return g.act(g.bn(x, f"{path}.bn"), f"{path}.act", s.activation)


def conv_bn(
    g: GraphBuilder, x: str, path: str, out_channels: int, *, kernel: int = 1, stride: int = 1, groups: int = 1
) -> str:
    """Convolution and BN."""
    return g.bn(g.conv(x, f"{path}.conv", out_channels, kernel=kernel, stride=stride, groups=groups), f"{path}.bn")


def conv_bn_act(
    g: GraphBuilder,
    x: str,
    path: str,
    out_channels: int,
    s: Style,
    *,
    kernel: int = 1,
    stride: int = 1,
    groups: int = 1,
) -> str:
    """Convolution, BN, activation."""
    y = conv_bn(g, x, path, out_channels, kernel=kernel, stride=stride, groups=groups)
    return g.act(y, f"{path}.act", s.activation)


def branch_widths(out_channels: int, k: int) -> list[int]:
    """Channels of K branches that make N together.

    >>> branch_widths(64, 5)
    [16, 12, 12, 12, 12]
    """
    width = out_channels // k
    return [out_channels - (k - 1) * width] + [width] * (k - 1)


def pyramid(
    g: GraphBuilder, x: str, path: str, out_channels: int, s: Style, *, k: int, reduce: int, stride: int
) -> str:
    """ESP's reduce, split, transform, merge by concatenation (section 3.1, figure 1)."""
    reduced = g.conv(x, f"{path}.c1.conv", out_channels // k, kernel=reduce, stride=stride)
    branches = [
        g.conv(reduced, f"{path}.d{2**i}.conv", width, kernel=3, dilation=2**i if s.pyramid == "dilated" else 1)
        for i, width in enumerate(branch_widths(out_channels, k))
    ]
    if s.hff:
        # Summing neighbours removes the gridding of large dilations; the d=1 branch differs in width.
        for i in range(2, k):
            branches[i] = g.add((branches[i - 1], branches[i]), f"{path}.hff{2**i}")
    return g.concat(tuple(branches), f"{path}.cat")


def esp_unit(g: GraphBuilder, x: str, path: str, out_channels: int, s: Style, *, k: int, residual: bool) -> str:
    """ESP unit: the pyramid, the skip connection, BN, activation."""
    y = pyramid(g, x, path, out_channels, s, k=k, reduce=1 if s.reduce == "pointwise" else 3, stride=1)
    if residual and g.channels(x) == out_channels:
        y = g.add((x, y), f"{path}.residual")
    return bn_act(g, y, f"{path}.bn", s)


def esp(g: GraphBuilder, x: str, path: str, out_channels: int, s: Style) -> str:
    """ESP unit as the spec says."""
    return esp_unit(g, x, path, out_channels, s, k=s.k, residual=s.residual)


def mobilenet(g: GraphBuilder, x: str, path: str, out_channels: int, s: Style) -> str:
    """Depth-wise separable convolution (MobileNet, arXiv:1704.04861, figure 3): 3x3 depth-wise, then 1x1."""
    wide = g.channels(x)
    y = conv_bn_act(g, x, f"{path}.depthwise", wide, s, kernel=3, groups=wide)
    return conv_bn_act(g, y, f"{path}.pointwise", out_channels, s)


def shufflenet(g: GraphBuilder, x: str, path: str, out_channels: int, s: Style) -> str:
    """ShuffleNet unit (arXiv:1707.01083, figure 2b): grouped 1x1, shuffle, 3x3 depth-wise, grouped 1x1, sum."""
    width = out_channels // s.k
    y = conv_bn_act(g, x, f"{path}.reduce", width, s, groups=SHUFFLE_GROUPS)
    y = g.append(ChannelShuffle(SHUFFLE_GROUPS), (y,), f"{path}.shuffle")
    y = conv_bn(g, y, f"{path}.depthwise", width, kernel=3, groups=width)
    y = conv_bn(g, y, f"{path}.expand", out_channels, groups=SHUFFLE_GROUPS)
    return g.act(g.add((x, y), f"{path}.residual"), f"{path}.act", s.activation)


def inception(g: GraphBuilder, x: str, path: str, out_channels: int, s: Style) -> str:
    """Inception module (arXiv:1409.4842, figure 2b): K times 1x1 and 3x3, concatenated."""
    branches = []
    for i, width in enumerate(branch_widths(out_channels, s.k)):
        reduced = conv_bn_act(g, x, f"{path}.branch{i}.reduce", out_channels // s.k, s)
        branches.append(conv_bn_act(g, reduced, f"{path}.branch{i}.transform", width, s, kernel=3))
    return g.concat(tuple(branches), f"{path}.cat")


def resnext(g: GraphBuilder, x: str, path: str, out_channels: int, s: Style) -> str:
    """ResNeXt block (arXiv:1611.05431, figure 3a): K times 1x1, 3x3 and 1x1, summed; BN; the skip connection."""
    branches = []
    for i, width in enumerate(branch_widths(out_channels, s.k)):
        y = conv_bn_act(g, x, f"{path}.branch{i}.reduce", width, s)
        y = conv_bn_act(g, y, f"{path}.branch{i}.transform", width, s, kernel=3)
        branches.append(g.conv(y, f"{path}.branch{i}.expand.conv", out_channels))
    merged = g.bn(g.add(tuple(branches), f"{path}.sum"), f"{path}.bn")
    return g.act(g.add((x, merged), f"{path}.residual"), f"{path}.act", s.activation)


def resnet(g: GraphBuilder, x: str, path: str, out_channels: int, s: Style) -> str:
    """ResNet's basic block (arXiv:1512.03385, figure 5 left): two 3x3 and the skip connection."""
    y = conv_bn_act(g, x, f"{path}.first", out_channels, s, kernel=3)
    y = conv_bn(g, y, f"{path}.second", out_channels, kernel=3)
    return g.act(g.add((x, y), f"{path}.residual"), f"{path}.act", s.activation)


def asp(g: GraphBuilder, x: str, path: str, out_channels: int, s: Style) -> str:
    """Atrous spatial pyramid (DeepLab, arXiv:1606.00915, figure 4): K full 3x3 of dilation 1, 2, 4, …, summed."""
    branches = tuple(g.conv(x, f"{path}.d{2**i}.conv", out_channels, kernel=3, dilation=2**i) for i in range(s.k))
    return bn_act(g, g.add(branches, f"{path}.sum"), path, s)


def groups_fit(s: Any) -> str | None:
    """Say what keeps ShuffleNet's groups from dividing an ESPNet's channels, or None: a rule of its spec."""
    if s.block != "shufflenet":
        return None
    for depth, width in ((s.alpha2, s.widths[1]), (s.alpha3, s.widths[2])):
        if depth and (width % SHUFFLE_GROUPS or width // s.k % SHUFFLE_GROUPS):
            return (
                f"block=shufflenet needs widths, and widths divided by k, that are multiples of {SHUFFLE_GROUPS}, "
                f"but k is {s.k} and a width is {width}; change k or widths"
            )
    return None


UNITS: Mapping[str, Callable[[GraphBuilder, str, str, int, Style], str]] = {
    "esp": esp,
    "mobilenet": mobilenet,
    "shufflenet": shufflenet,
    "inception": inception,
    "resnext": resnext,
    "resnet": resnet,
    "asp": asp,
}
"""The units by the names that `ESPNetSpec.block` has for them."""
