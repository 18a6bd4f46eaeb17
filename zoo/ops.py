"""The operations of a network: immutable records that say the shape, the parameters and the MACs of what they compute.

An op knows its own fields alone; the shapes of its inputs are given to it. Only the standard library is imported here.

Conventions. One MAC is one multiply and one add, of convolutions, transposed convolutions and linear
layers; nothing else counts. Weights and activations are 32-bit floats. Shapes leave out the batch.

>>> conv, image = Conv(16, kernel=(3, 3), stride=(2, 2), padding=(1, 1)), Shape(3, 512, 1024)
>>> str(conv.shape(image)), conv.params(image), conv.macs(image)
('16x256x512', 432, 56623104)
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

BYTES_PER_VALUE = 4
"""Bytes of one 32-bit float."""

Pair = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Shape:
    """Channels, height and width of one tensor at batch 1.

    >>> Shape(3, 512, 1024).elements
    1572864
    """

    channels: int
    height: int
    width: int

    @property
    def elements(self) -> int:
        """Number of values."""
        return self.channels * self.height * self.width

    @property
    def bytes(self) -> int:
        """Size in bytes as 32-bit floats."""
        return BYTES_PER_VALUE * self.elements

    def __str__(self) -> str:
        return f"{self.channels}x{self.height}x{self.width}"


@runtime_checkable
class Op(Protocol):
    """What a layer computes: shapes in, shape and counts out."""

    def shape(self, *inputs: Shape) -> Shape:
        """Shape of the output; raises ValueError where the inputs do not fit."""

    def params(self, *inputs: Shape) -> int:
        """Number of trainable parameters."""

    def macs(self, *inputs: Shape) -> int:
        """Multiply-accumulate operations at batch 1."""


class _Free:
    """An op without parameters and without MACs."""

    __slots__ = ()

    def params(self, *inputs: Shape) -> int:
        return 0

    def macs(self, *inputs: Shape) -> int:
        return 0


class _SameShape(_Free):
    """An element-wise op of one input."""

    __slots__ = ()

    def shape(self, *inputs: Shape) -> Shape:
        return inputs[0]


def _window(size: int, kernel: int, stride: int, padding: int, dilation: int = 1) -> int:
    span = size + 2 * padding - dilation * (kernel - 1) - 1
    if span < 0:
        raise ValueError(f"a window of {dilation * (kernel - 1) + 1} does not fit into {size} + 2*{padding}")
    return span // stride + 1


@dataclass(frozen=True, slots=True)
class Input(_Free):
    """The image, or the entry of a piece of a network."""

    entry: Shape

    def shape(self, *inputs: Shape) -> Shape:
        return self.entry


@dataclass(frozen=True, slots=True)
class Conv:
    """2-D convolution; all pairs are (height, width)."""

    out_channels: int
    kernel: Pair
    stride: Pair = (1, 1)
    padding: Pair = (0, 0)
    dilation: Pair = (1, 1)
    groups: int = 1
    bias: bool = False

    def shape(self, *inputs: Shape) -> Shape:
        (x,) = inputs
        if self.out_channels < 1:
            raise ValueError(f"{self.out_channels} output channels; at least 1 is needed")
        if x.channels % self.groups or self.out_channels % self.groups:
            raise ValueError(f"{self.groups} groups do not divide {x.channels} -> {self.out_channels} channels")
        return Shape(
            self.out_channels,
            _window(x.height, self.kernel[0], self.stride[0], self.padding[0], self.dilation[0]),
            _window(x.width, self.kernel[1], self.stride[1], self.padding[1], self.dilation[1]),
        )

    def params(self, *inputs: Shape) -> int:
        weights = self.out_channels * (inputs[0].channels // self.groups) * math.prod(self.kernel)
        return weights + self.bias * self.out_channels

    def macs(self, *inputs: Shape) -> int:
        fan_in = (inputs[0].channels // self.groups) * math.prod(self.kernel)
        return self.shape(*inputs).elements * fan_in


@dataclass(frozen=True, slots=True)
class ConvTranspose:
    """2-D transposed convolution; all pairs are (height, width)."""

    out_channels: int
    kernel: Pair
    stride: Pair = (1, 1)
    padding: Pair = (0, 0)
    output_padding: Pair = (0, 0)
    groups: int = 1
    bias: bool = False

    def shape(self, *inputs: Shape) -> Shape:
        (x,) = inputs
        if x.channels % self.groups or self.out_channels % self.groups:
            raise ValueError(f"{self.groups} groups do not divide {x.channels} -> {self.out_channels} channels")
        height, width = (
            (size - 1) * self.stride[i] - 2 * self.padding[i] + self.kernel[i] + self.output_padding[i]
            for i, size in enumerate((x.height, x.width))
        )
        return Shape(self.out_channels, height, width)

    def params(self, *inputs: Shape) -> int:
        weights = inputs[0].channels * (self.out_channels // self.groups) * math.prod(self.kernel)
        return weights + self.bias * self.out_channels

    def macs(self, *inputs: Shape) -> int:
        # Each input value meets each weight of its group once, whatever the stride.
        return inputs[0].elements * (self.out_channels // self.groups) * math.prod(self.kernel)


@dataclass(frozen=True, slots=True)
class Linear:
    """Fully connected layer on the flattened input."""

    out_channels: int
    bias: bool = True

    def shape(self, *inputs: Shape) -> Shape:
        return Shape(self.out_channels, 1, 1)

    def params(self, *inputs: Shape) -> int:
        return self.out_channels * (inputs[0].elements + self.bias)

    def macs(self, *inputs: Shape) -> int:
        return self.out_channels * inputs[0].elements


@dataclass(frozen=True, slots=True)
class BatchNorm(_SameShape):
    """Batch normalisation with scale and shift; its running mean and variance are not parameters."""

    eps: float = 1e-5

    def params(self, *inputs: Shape) -> int:
        return 2 * inputs[0].channels


@dataclass(frozen=True, slots=True)
class PReLU(_SameShape):
    """Parametric ReLU with one slope a channel."""

    def params(self, *inputs: Shape) -> int:
        return inputs[0].channels


@dataclass(frozen=True, slots=True)
class Scale(_SameShape):
    """Multiplication by one factor a channel."""

    def params(self, *inputs: Shape) -> int:
        return inputs[0].channels


@dataclass(frozen=True, slots=True)
class ReLU(_SameShape):
    """max(x, 0)."""


@dataclass(frozen=True, slots=True)
class ELU(_SameShape):
    """x where positive, exp(x) - 1 elsewhere."""


@dataclass(frozen=True, slots=True)
class Sigmoid(_SameShape):
    """1 / (1 + exp(-x))."""


@dataclass(frozen=True, slots=True)
class ReLU6(_SameShape):
    """min(max(x, 0), 6)."""


@dataclass(frozen=True, slots=True)
class HardSigmoid(_SameShape):
    """min(max(x + 3, 0), 6) / 6."""


@dataclass(frozen=True, slots=True)
class HardSwish(_SameShape):
    """x times its hard sigmoid."""


@dataclass(frozen=True, slots=True)
class SiLU(_SameShape):
    """x times its sigmoid, also called swish."""


@dataclass(frozen=True, slots=True)
class Complement(_SameShape):
    """1 - x: what a gate keeps back."""


@dataclass(frozen=True, slots=True)
class Dropout(_SameShape):
    """Dropout with probability `p` in training; the identity in evaluation."""

    p: float
    channelwise: bool = False


@dataclass(frozen=True, slots=True)
class Add(_Free):
    """Element-wise sum of equal shapes."""

    def shape(self, *inputs: Shape) -> Shape:
        if len(set(inputs)) != 1:
            raise ValueError(f"cannot add {' and '.join(map(str, inputs))}")
        return inputs[0]


@dataclass(frozen=True, slots=True)
class Maximum(_Free):
    """Element-wise maximum of two equal shapes."""

    def shape(self, *inputs: Shape) -> Shape:
        first, second = inputs
        if first != second:
            raise ValueError(f"cannot take the maximum of {first} and {second}")
        return first


@dataclass(frozen=True, slots=True)
class Multiply(_Free):
    """Element-wise product; a second input of 1x1 pixels, or of one channel, is broadcast."""

    def shape(self, *inputs: Shape) -> Shape:
        x, factor = inputs
        if factor not in (x, Shape(x.channels, 1, 1), Shape(1, x.height, x.width)):
            raise ValueError(f"cannot multiply {x} by {factor}")
        return x


@dataclass(frozen=True, slots=True)
class Concat(_Free):
    """Concatenation along the channels."""

    def shape(self, *inputs: Shape) -> Shape:
        if len({(x.height, x.width) for x in inputs}) != 1:
            raise ValueError(f"cannot concatenate {' and '.join(map(str, inputs))}: heights and widths differ")
        return Shape(sum(x.channels for x in inputs), inputs[0].height, inputs[0].width)


@dataclass(frozen=True, slots=True)
class PadChannels(_Free):
    """Zero channels appended until there are `out_channels`."""

    out_channels: int

    def shape(self, *inputs: Shape) -> Shape:
        (x,) = inputs
        if self.out_channels < x.channels:
            raise ValueError(f"cannot pad {x.channels} channels to {self.out_channels}")
        return Shape(self.out_channels, x.height, x.width)


@dataclass(frozen=True, slots=True)
class SelectChannels(_Free):
    """Copy of some channels, in the order of `channels`."""

    channels: tuple[int, ...]

    def shape(self, *inputs: Shape) -> Shape:
        (x,) = inputs
        if not self.channels or not all(0 <= channel < x.channels for channel in self.channels):
            raise ValueError(f"cannot select channels {self.channels} of {x.channels}")
        return Shape(len(self.channels), x.height, x.width)


@dataclass(frozen=True, slots=True)
class SliceChannels(_Free):
    """The channels from `start` up to, and without, `stop`."""

    start: int
    stop: int

    def shape(self, *inputs: Shape) -> Shape:
        (x,) = inputs
        if not 0 <= self.start < self.stop <= x.channels:
            raise ValueError(f"cannot take channels {self.start} to {self.stop} of {x}")
        return Shape(self.stop - self.start, x.height, x.width)


@dataclass(frozen=True, slots=True)
class ReduceChannels(_Free):
    """Mean or sum over the channels, which leaves one."""

    mode: Literal["mean", "sum"] = "mean"

    def shape(self, *inputs: Shape) -> Shape:
        (x,) = inputs
        return Shape(1, x.height, x.width)


@dataclass(frozen=True, slots=True)
class ChannelShuffle(_SameShape):
    """Channels (groups, n) transposed to (n, groups)."""

    groups: int

    def shape(self, *inputs: Shape) -> Shape:
        if inputs[0].channels % self.groups:
            raise ValueError(f"{self.groups} groups do not divide {inputs[0].channels} channels")
        return inputs[0]


@dataclass(frozen=True, slots=True)
class SpaceToDepth(_Free):
    """Each 2x2 block of pixels as four times the channels: top left, bottom left, top right, bottom right."""

    def shape(self, *inputs: Shape) -> Shape:
        (x,) = inputs
        if x.height % 2 or x.width % 2:
            raise ValueError(f"height and width must be even, but are {x.height} and {x.width}")
        return Shape(4 * x.channels, x.height // 2, x.width // 2)


@dataclass(frozen=True, slots=True)
class AvgPool(_Free):
    """Average pooling; padding counts as zeros (torch's count_include_pad)."""

    kernel: Pair
    stride: Pair
    padding: Pair = (0, 0)

    def shape(self, *inputs: Shape) -> Shape:
        (x,) = inputs
        height, width = (
            _window(size, self.kernel[i], self.stride[i], self.padding[i]) for i, size in enumerate((x.height, x.width))
        )
        return Shape(x.channels, height, width)


@dataclass(frozen=True, slots=True)
class MaxPool(_Free):
    """Max pooling; `ceil` rounds the output size up as torch's ceil_mode does."""

    kernel: Pair
    stride: Pair
    padding: Pair = (0, 0)
    ceil: bool = False

    def shape(self, *inputs: Shape) -> Shape:
        (x,) = inputs
        return Shape(x.channels, self._size(x.height, 0), self._size(x.width, 1))

    def _size(self, size: int, i: int) -> int:
        kernel, stride, padding = self.kernel[i], self.stride[i], self.padding[i]
        if not self.ceil:
            return _window(size, kernel, stride, padding)
        out = -(-(size + 2 * padding - kernel) // stride) + 1
        # torch drops a last window that would start beyond the input and its left padding.
        return out - 1 if (out - 1) * stride >= size + padding else out


@dataclass(frozen=True, slots=True)
class MaxUnpool(_Free):
    """Values put back where a max pooling took them from.

    Inputs: the values, the output of the MaxPool layer whose positions are used, and that pooling's
    own input, which gives the size.
    """

    kernel: Pair
    stride: Pair

    def shape(self, *inputs: Shape) -> Shape:
        x, pooled, source = inputs
        if x != pooled:
            raise ValueError(f"cannot unpool {x} with the positions of {pooled}")
        return source


@dataclass(frozen=True, slots=True)
class AdaptiveAvgPool(_Free):
    """Average pooling to the second input's height and width or, without one, to `size` or `scale` times the size.

    The scaled size is rounded up and at least `minimum`.
    """

    size: Pair | None = None
    scale: float = 1.0
    minimum: int = 1

    def shape(self, *inputs: Shape) -> Shape:
        x = inputs[0]
        if len(inputs) == 2:
            return Shape(x.channels, inputs[1].height, inputs[1].width)
        if self.size is not None:
            return Shape(x.channels, *self.size)
        return Shape(x.channels, scaled(x.height, self), scaled(x.width, self))


@dataclass(frozen=True, slots=True)
class Resize(_Free):
    """Interpolation to the second input's height and width or, without one, to `scale` times the size.

    The scaled size is rounded up and at least `minimum`.
    """

    mode: Literal["bilinear", "nearest"] = "bilinear"
    align_corners: bool = False
    scale: float = 1.0
    minimum: int = 1

    def shape(self, *inputs: Shape) -> Shape:
        x = inputs[0]
        if len(inputs) == 2:
            return Shape(x.channels, inputs[1].height, inputs[1].width)
        return Shape(x.channels, scaled(x.height, self), scaled(x.width, self))


@dataclass(frozen=True, slots=True)
class Crop(_Free):
    """The first input cut to the second input's height and width, starting at (`top`, `left`)."""

    top: int
    left: int

    def shape(self, *inputs: Shape) -> Shape:
        x, like = inputs
        if x.height < self.top + like.height or x.width < self.left + like.width:
            raise ValueError(f"cannot crop {like} at ({self.top}, {self.left}) out of {x}")
        return Shape(x.channels, like.height, like.width)


def scaled(size: int, op: AdaptiveAvgPool | Resize) -> int:
    """Size of one dimension after a relative resize.

    >>> scaled(64, Resize(scale=0.1, minimum=5))
    7
    """
    return max(math.ceil(size * op.scale), op.minimum)


ACTIVATIONS: Mapping[str, Op] = {
    "prelu": PReLU(),
    "relu": ReLU(),
    "elu": ELU(),
    "sigmoid": Sigmoid(),
    "relu6": ReLU6(),
    "hard-sigmoid": HardSigmoid(),
    "hard-swish": HardSwish(),
    "silu": SiLU(),
}
