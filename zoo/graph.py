"""The graph: a tuple of immutable layer records with resolved shapes.

A spec is lowered to a graph once; parameters, MACs, memory, the torch module, the layer table and the
predicted cost are functions of it. Only the standard library is imported here.

Conventions. One MAC is one multiply and one add, of convolutions, transposed convolutions and linear
layers; nothing else counts. Weights and activations are 32-bit floats. Shapes leave out the batch.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, Protocol, runtime_checkable

from zoo.errors import SpecError

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


@dataclass(frozen=True, slots=True)
class Layer:
    """One step of a network: an op, where it reads from, and its shapes.

    `name` is the dotted path of the module in the authors' released checkpoints where they have one.
    """

    name: str
    op: Op
    inputs: tuple[str, ...]
    in_shapes: tuple[Shape, ...]
    out_shape: Shape

    @property
    def kind(self) -> str:
        """The op's name, such as `Conv`."""
        return type(self.op).__name__

    @property
    def params(self) -> int:
        """Trainable parameters."""
        return self.op.params(*self.in_shapes)

    @property
    def macs(self) -> int:
        """Multiply-accumulate operations at batch 1."""
        return self.op.macs(*self.in_shapes)


@dataclass(frozen=True)
class Graph:
    """A lowered network: layers in the order of execution, the first ones being its inputs."""

    layers: tuple[Layer, ...]
    outputs: tuple[str, ...]

    def __str__(self) -> str:
        from zoo.graph_table import graph_table

        return graph_table(self)

    @cached_property
    def by_name(self) -> Mapping[str, Layer]:
        """Layers by their names."""
        return {layer.name: layer for layer in self.layers}

    @cached_property
    def params(self) -> int:
        """Trainable parameters."""
        return sum(layer.params for layer in self.layers)

    @cached_property
    def macs(self) -> int:
        """Multiply-accumulate operations of convolutions and linear layers at batch 1."""
        return sum(layer.macs for layer in self.layers)

    @property
    def weight_bytes(self) -> int:
        """Bytes of the trainable parameters as 32-bit floats."""
        return BYTES_PER_VALUE * self.params

    @cached_property
    def peak_activation_bytes(self) -> int:
        """Largest sum of live tensors while running at batch 1: nothing in place, each freed after its last use."""
        return peak_bytes(self.layers, self.outputs)

    @property
    def input_shape(self) -> Shape:
        """Shape of the image."""
        return self.layers[0].out_shape

    @property
    def output_shapes(self) -> tuple[Shape, ...]:
        """Shapes of the outputs, in order."""
        return tuple(self.by_name[name].out_shape for name in self.outputs)


def peak_bytes(layers: Iterable[Layer], kept: Iterable[str]) -> int:
    """Largest number of bytes alive at once while `layers` run; `kept` tensors are never freed.

    While a layer runs, its inputs, its output and every tensor that is still to be read are alive. All
    `Input` layers are alive from the start.
    """
    layers = tuple(layers)
    last_use = {name: step for step, layer in enumerate(layers) for name in layer.inputs}
    last_use |= dict.fromkeys(kept, len(layers))
    live = sum(x.out_shape.bytes for x in layers if isinstance(x.op, Input))
    peak = live
    for step, layer in enumerate(layers):
        if not isinstance(layer.op, Input):
            live += layer.out_shape.bytes
            peak = max(peak, live)
        done = {name for name in layer.inputs if last_use[name] == step}
        if layer.name not in last_use:
            done.add(layer.name)
        sizes = dict(zip(layer.inputs, layer.in_shapes, strict=True)) | {layer.name: layer.out_shape}
        live -= sum(sizes[name].bytes for name in done)
    return peak


def pair(value: int | Pair) -> Pair:
    """An int for both dimensions, or (height, width)."""
    return (value, value) if isinstance(value, int) else value


class GraphBuilder:
    """Appends layers and resolves their shapes; every method returns the new layer's name.

    `path` arguments are the dotted names under which the parameters live. Raises SpecError, with the
    layer's name, where shapes do not fit.
    """

    def __init__(self, bn_eps: float = 1e-5) -> None:
        self.bn_eps = bn_eps
        self.layers: list[Layer] = []
        self._shapes: dict[str, Shape] = {}

    def shape(self, name: str) -> Shape:
        """Shape of a layer's output."""
        return self._shapes[name]

    def channels(self, name: str) -> int:
        """Channels of a layer's output."""
        return self._shapes[name].channels

    def append(self, op: Op, inputs: tuple[str, ...], path: str) -> str:
        """Add any op."""
        if path in self._shapes:
            raise SpecError(f"{path}: the name of a layer must be unique")
        shapes = tuple(self._shapes[name] for name in inputs)
        try:
            out = op.shape(*shapes)
        except ValueError as error:
            raise SpecError(f"{path}: {error}") from None
        self.layers.append(Layer(path, op, inputs, shapes, out))
        self._shapes[path] = out
        return path

    def graph(self, *outputs: str) -> Graph:
        """The finished graph."""
        return Graph(tuple(self.layers), outputs)

    def input(self, path: str, shape: Shape) -> str:
        """Declare an input."""
        return self.append(Input(shape), (), path)

    def conv(
        self,
        x: str,
        path: str,
        out_channels: int,
        *,
        kernel: int | Pair = 1,
        stride: int | Pair = 1,
        dilation: int | Pair = 1,
        padding: int | Pair | None = None,
        groups: int = 1,
        bias: bool = False,
    ) -> str:
        """Convolution; padded by default so that stride 1 keeps the size (odd kernels)."""
        kernel, stride, dilation = pair(kernel), pair(stride), pair(dilation)
        if padding is None:
            padding = (dilation[0] * (kernel[0] - 1) // 2, dilation[1] * (kernel[1] - 1) // 2)
        return self.append(Conv(out_channels, kernel, stride, pair(padding), dilation, groups, bias), (x,), path)

    def deconv(
        self,
        x: str,
        path: str,
        out_channels: int,
        *,
        kernel: int | Pair = 2,
        stride: int | Pair = 2,
        padding: int | Pair = 0,
        output_padding: int | Pair = 0,
        groups: int = 1,
        bias: bool = False,
    ) -> str:
        """Transposed convolution; by default 2x2 with stride 2, which doubles the size."""
        op = ConvTranspose(out_channels, pair(kernel), pair(stride), pair(padding), pair(output_padding), groups, bias)
        return self.append(op, (x,), path)

    def bn(self, x: str, path: str) -> str:
        """Batch normalisation with the builder's eps."""
        return self.append(BatchNorm(self.bn_eps), (x,), path)

    def act(self, x: str, path: str, kind: str = "prelu") -> str:
        """Activation: a name of ACTIVATIONS."""
        return self.append(ACTIVATIONS[kind], (x,), path)

    def add(self, inputs: tuple[str, ...], path: str) -> str:
        """Element-wise sum."""
        return self.append(Add(), inputs, path)

    def multiply(self, x: str, factor: str, path: str) -> str:
        """Element-wise product."""
        return self.append(Multiply(), (x, factor), path)

    def concat(self, inputs: tuple[str, ...], path: str) -> str:
        """Concatenation along the channels."""
        return self.append(Concat(), inputs, path)

    def avg_pool(self, x: str, path: str, *, kernel: int | Pair, stride: int | Pair, padding: int | Pair = 0) -> str:
        """Average pooling."""
        return self.append(AvgPool(pair(kernel), pair(stride), pair(padding)), (x,), path)

    def max_pool(
        self,
        x: str,
        path: str,
        *,
        kernel: int | Pair,
        stride: int | Pair,
        padding: int | Pair = 0,
        ceil: bool = False,
    ) -> str:
        """Max pooling."""
        return self.append(MaxPool(pair(kernel), pair(stride), pair(padding), ceil), (x,), path)

    def resize(
        self,
        x: str,
        path: str,
        *,
        like: str | None = None,
        scale: float = 1.0,
        minimum: int = 1,
        mode: Literal["bilinear", "nearest"] = "bilinear",
        align_corners: bool = False,
    ) -> str:
        """Interpolation to another tensor's size, or by a factor."""
        inputs = (x,) if like is None else (x, like)
        return self.append(Resize(mode, align_corners, scale, minimum), inputs, path)


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
