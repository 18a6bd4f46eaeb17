"""The graph: a tuple of immutable layer records with resolved shapes.

A spec is lowered to a graph once; parameters, MACs, memory, the torch module, the layer table and the
predicted cost are functions of it. What a layer computes is an op (`zoo.ops`, whose names are also here).
Only the standard library is imported here.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from zoo.errors import SpecError
from zoo.ops import (
    ACTIVATIONS,
    BYTES_PER_VALUE,
    ELU,
    AdaptiveAvgPool,
    Add,
    AvgPool,
    BatchNorm,
    ChannelShuffle,
    Complement,
    Concat,
    Conv,
    ConvTranspose,
    Crop,
    Dropout,
    HardSigmoid,
    HardSwish,
    Input,
    Linear,
    Maximum,
    MaxPool,
    MaxUnpool,
    Multiply,
    Op,
    PadChannels,
    Pair,
    PReLU,
    ReduceChannels,
    ReLU,
    ReLU6,
    Resize,
    Scale,
    SelectChannels,
    Shape,
    Sigmoid,
    SiLU,
    SliceChannels,
    SpaceToDepth,
    scaled,
)

__all__ = [
    "ACTIVATIONS",
    "BYTES_PER_VALUE",
    "ELU",
    "AdaptiveAvgPool",
    "Add",
    "AvgPool",
    "BatchNorm",
    "ChannelShuffle",
    "Complement",
    "Concat",
    "Conv",
    "ConvTranspose",
    "Crop",
    "Dropout",
    "Graph",
    "GraphBuilder",
    "HardSigmoid",
    "HardSwish",
    "Input",
    "Layer",
    "Linear",
    "MaxPool",
    "MaxUnpool",
    "Maximum",
    "Multiply",
    "Op",
    "PReLU",
    "PadChannels",
    "Pair",
    "ReLU",
    "ReLU6",
    "ReduceChannels",
    "Resize",
    "Scale",
    "SelectChannels",
    "Shape",
    "SiLU",
    "Sigmoid",
    "SliceChannels",
    "SpaceToDepth",
    "pair",
    "peak_bytes",
    "scaled",
]


@dataclass(frozen=True, slots=True)
class Layer:
    """One step of a network: an op, where it reads from, and its shapes.

    Args:
        name: the dotted path of the module in the authors' released checkpoints where they have one.
        op: what it computes.
        inputs: names of the layers that it reads.
        in_shapes: their shapes.
        out_shape: its own.

    >>> from zoo import lower
    >>> layer = lower("espnet-c", (512, 1024)).layers[1]
    >>> layer.kind, layer.params, layer.out_shape
    ('Conv', 432, Shape(channels=16, height=256, width=512))
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
    """A lowered network: layers in the order of execution, the first ones being its inputs.

    >>> g = GraphBuilder()
    >>> graph = g.graph(g.conv(g.input("image", Shape(3, 32, 32)), "conv", 8, kernel=3, stride=2, padding=1))
    >>> graph.params, graph.macs, [str(shape) for shape in graph.output_shapes]
    (216, 55296, ['8x16x16'])
    """

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


def peak_bytes(layers: Iterable[Layer], read_later: Iterable[str]) -> int:
    """Largest number of bytes alive at once while `layers` run; `read_later` tensors are never freed.

    While a layer runs, its inputs, its output and every tensor that is still to be read are alive. All
    `Input` layers are alive from the start.
    """
    layers = tuple(layers)
    last_use = {name: step for step, layer in enumerate(layers) for name in layer.inputs}
    last_use |= dict.fromkeys(read_later, len(layers))
    live = sum(x.out_shape.bytes for x in layers if isinstance(x.op, Input))
    peak = live
    for step, layer in enumerate(layers):
        if not isinstance(layer.op, Input):
            live += layer.out_shape.bytes
            peak = max(peak, live)
        freed = {name for name in layer.inputs if last_use[name] == step}
        if layer.name not in last_use:
            freed.add(layer.name)
        sizes = dict(zip(layer.inputs, layer.in_shapes, strict=True)) | {layer.name: layer.out_shape}
        live -= sum(sizes[name].bytes for name in freed)
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
