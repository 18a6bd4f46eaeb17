"""The torch module of a graph: each layer becomes a submodule under its own dotted name.

The parameters' names are therefore the layers' names, which are those of the released checkpoints.
Nothing about a network is decided here: `MODULES` says once what each op is in torch, and the forward
pass runs the graph's layers in order. No size is baked in, so a module takes any size its graph allows.
"""

import math
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from zoo import graph as ops
from zoo.errors import ZooError
from zoo.graph import Graph, Layer, Shape
from zoo.registry import lower
from zoo.specs import Spec

INDICES = ":indices"
"""Suffix of the tensor that holds the positions a max pooling took its values from."""

RECTIFIERS = (ops.PReLU, ops.ReLU, ops.ELU, ops.ReLU6, ops.HardSwish, ops.SiLU)
"""Activations that halve the variance of what they are given."""

FIXED_SIZES: ContextVar[bool] = ContextVar("FIXED_SIZES", default=False)
"""Whether a trace may hold for one input size only, which spares it the arithmetic of sizes."""


class _OpModule(nn.Module):
    """A module without parameters that computes `op`."""

    def __init__(self, op: Any) -> None:
        super().__init__()
        self.op = op

    def extra_repr(self) -> str:
        return repr(self.op)


class Linear(nn.Linear):
    """Linear layer on the flattened input; (N, C, H, W) -> (N, out, 1, 1), so that all tensors have 4 axes."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.flatten(1))[:, :, None, None]


class Add(nn.Module):
    """Element-wise sum."""

    def forward(self, first: Tensor, *others: Tensor) -> Tensor:
        for x in others:
            first = first + x
        return first


class Scale(nn.Module):
    """Multiplication by one factor a channel, 1 at first."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.weight[None, :, None, None]


class Maximum(nn.Module):
    """Element-wise maximum."""

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        return torch.maximum(first, second)


class Multiply(nn.Module):
    """Element-wise product."""

    def forward(self, x: Tensor, factor: Tensor) -> Tensor:
        return x * factor


class Concat(nn.Module):
    """Concatenation along the channels."""

    def forward(self, *inputs: Tensor) -> Tensor:
        return torch.cat(inputs, 1)


class PadChannels(_OpModule):
    """Zero channels appended."""

    def forward(self, x: Tensor) -> Tensor:
        return functional.pad(x, (0, 0, 0, 0, 0, self.op.out_channels - x.shape[1]))


class SelectChannels(_OpModule):
    """Some channels, copied; the indices are no parameter, so checkpoints do not hold them."""

    def __init__(self, op: Any) -> None:
        super().__init__(op)
        self.register_buffer("channels", torch.tensor(op.channels), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return x.index_select(1, self.get_buffer("channels"))


class Complement(nn.Module):
    """1 - x."""

    def forward(self, x: Tensor) -> Tensor:
        return 1 - x


class SliceChannels(_OpModule):
    """Channels `start` up to `stop`."""

    def forward(self, x: Tensor) -> Tensor:
        return x[:, self.op.start : self.op.stop]


class ReduceChannels(_OpModule):
    """Mean or sum over the channels."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean(1, keepdim=True) if self.op.mode == "mean" else x.sum(1, keepdim=True)


class ChannelShuffle(_OpModule):
    """Channels (groups, n) transposed to (n, groups)."""

    def forward(self, x: Tensor) -> Tensor:
        n, channels, height, width = sides(x)
        grouped = x.reshape(n, self.op.groups, channels // self.op.groups, height, width)
        return grouped.transpose(1, 2).reshape(n, channels, height, width)


class SpaceToDepth(nn.Module):
    """Each 2x2 block of pixels as four times the channels."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat((x[..., ::2, ::2], x[..., 1::2, ::2], x[..., ::2, 1::2], x[..., 1::2, 1::2]), 1)


class MaxUnpool(nn.Module):
    """Values put back where `indices` say, in a tensor of the size of `source`.

    A scatter, because the ONNX exporter does not know torch's max_unpool2d.
    """

    def forward(self, x: Tensor, indices: Tensor, source: Tensor) -> Tensor:
        n, channels, height, width = sides(source)
        empty = x.new_zeros((n, channels, height * width))
        filled = empty.scatter(2, indices.reshape(n, channels, -1), x.reshape(n, channels, -1))
        return filled.reshape(n, channels, height, width)


class AdaptiveAvgPool(_OpModule):
    """Average pooling to the second input's size, to a fixed one, or to a relative one."""

    def forward(self, x: Tensor, like: Tensor | None = None) -> Tensor:
        height, width = self.op.size or target_size(self.op, x, like)
        lengths = tuple(zip(sides(x)[2:], (height, width), strict=True))
        whole = all(isinstance(size, int) and isinstance(out, int) and size % out == 0 for size, out in lengths)
        if torch.onnx.is_in_onnx_export() and self.op.size != (1, 1) and not whole:
            # The exporter pools only by whole factors. An adaptive pooling is one product for each axis.
            rows, columns = (averaging(*axis, x) for axis in lengths)
            return torch.matmul(torch.matmul(rows, x), columns.T)
        return functional.adaptive_avg_pool2d(x, (height, width))


class Resize(_OpModule):
    """Interpolation to the second input's size or to a relative one."""

    def forward(self, x: Tensor, like: Tensor | None = None) -> Tensor:
        corners = self.op.align_corners if self.op.mode == "bilinear" else None
        size = target_size(self.op, x, like)
        resized: Tensor = functional.interpolate(x, size, mode=self.op.mode, align_corners=corners)
        return resized


class Crop(_OpModule):
    """The first input cut to the second input's size."""

    def forward(self, x: Tensor, like: Tensor) -> Tensor:
        top, left = self.op.top, self.op.left
        _, _, height, width = sides(like)
        return x[:, :, top : top + height, left : left + width]


def target_size(op: Any, x: Tensor, like: Tensor | None) -> tuple[Any, Any]:
    """Height and width to resize to: those of `like` or, without it, relative to those of `x`."""
    _, _, height, width = sides(x if like is None else like)
    return (height, width) if like is not None else (scaled(height, op), scaled(width, op))


def sides(x: Tensor) -> tuple[Any, ...]:
    """Shape of `x`; its parts are tensors while torch traces, unless `FIXED_SIZES` makes them constants."""
    if torch.jit.is_tracing() and FIXED_SIZES.get():  # type: ignore[attr-defined, no-untyped-call]
        return tuple(map(int, x.shape))
    return tuple(x.shape)


def scaled(size: Any, op: Any) -> Any:
    """`graph.scaled`, which also takes the tensors that sizes are while torch traces."""
    if isinstance(size, Tensor):
        return torch.ceil(size.double() * op.scale).long().clamp(min=op.minimum)
    return ops.scaled(size, op)


def averaging(size: Any, out: Any, like: Tensor) -> Tensor:
    """Matrix (out, size) whose row i averages window i of an adaptive pooling.

    The window reaches from floor(i * size / out) up to ceil((i + 1) * size / out), exclusive.
    """
    row, column = torch.arange(out)[:, None], torch.arange(size)[None, :]
    inside = (column >= row * size // out) & (column < ((row + 1) * size + out - 1) // out)
    weights: Tensor = inside.to(like)
    return weights.div(weights.sum(1, keepdim=True))


def _dropout(op: ops.Dropout, *_: Shape) -> nn.Module:
    return nn.Dropout2d(op.p) if op.channelwise else nn.Dropout(op.p)


MODULES: Mapping[type[Any], Callable[..., nn.Module]] = {
    ops.Conv: lambda op, x: nn.Conv2d(
        x.channels,
        op.out_channels,
        op.kernel,
        stride=op.stride,
        padding=op.padding,
        dilation=op.dilation,
        groups=op.groups,
        bias=op.bias,
    ),
    ops.ConvTranspose: lambda op, x: nn.ConvTranspose2d(
        x.channels,
        op.out_channels,
        op.kernel,
        stride=op.stride,
        padding=op.padding,
        output_padding=op.output_padding,
        groups=op.groups,
        bias=op.bias,
    ),
    ops.Linear: lambda op, x: Linear(x.elements, op.out_channels, bias=op.bias),
    ops.BatchNorm: lambda op, x: nn.BatchNorm2d(x.channels, eps=op.eps),
    ops.PReLU: lambda op, x: nn.PReLU(x.channels),
    ops.Scale: lambda op, x: Scale(x.channels),
    ops.ReLU: lambda op, x: nn.ReLU(),
    ops.ELU: lambda op, x: nn.ELU(),
    ops.Sigmoid: lambda op, x: nn.Sigmoid(),
    ops.ReLU6: lambda op, x: nn.ReLU6(),
    ops.HardSigmoid: lambda op, x: nn.Hardsigmoid(),
    ops.HardSwish: lambda op, x: nn.Hardswish(),
    ops.SiLU: lambda op, x: nn.SiLU(),
    ops.Complement: lambda op, x: Complement(),
    ops.Dropout: _dropout,
    ops.Add: lambda op, *x: Add(),
    ops.Maximum: lambda op, *x: Maximum(),
    ops.Multiply: lambda op, *x: Multiply(),
    ops.Concat: lambda op, *x: Concat(),
    ops.PadChannels: lambda op, x: PadChannels(op),
    ops.SelectChannels: lambda op, x: SelectChannels(op),
    ops.SliceChannels: lambda op, x: SliceChannels(op),
    ops.ReduceChannels: lambda op, x: ReduceChannels(op),
    ops.ChannelShuffle: lambda op, x: ChannelShuffle(op),
    ops.SpaceToDepth: lambda op, x: SpaceToDepth(),
    ops.AvgPool: lambda op, x: nn.AvgPool2d(op.kernel, op.stride, op.padding),
    ops.MaxPool: lambda op, x: nn.MaxPool2d(op.kernel, op.stride, op.padding, ceil_mode=op.ceil),
    ops.MaxUnpool: lambda op, *x: MaxUnpool(),
    ops.AdaptiveAvgPool: lambda op, *x: AdaptiveAvgPool(op),
    ops.Resize: lambda op, *x: Resize(op),
    ops.Crop: lambda op, *x: Crop(op),
}
"""What each op is in torch: `MODULES[type(op)](op, *input_shapes)`. An `Input` computes nothing."""


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a forward pass: run the submodule at `path`, then let go of `done`."""

    path: tuple[str, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    done: tuple[str, ...]


class Network(nn.Module):
    """A graph as a torch module.

    Takes one float32 tensor (N, 3, H, W) for each of the graph's inputs. Returns the output (N, C, H', W'),
    or a tuple of them where the graph has several; `graph.output_shapes` are their shapes at its own size.
    `get_submodule(layer.name)` is the module of a layer.
    """

    def __init__(self, graph: Graph, spec: Spec | None = None) -> None:
        super().__init__()
        self.graph = graph
        self.spec = spec
        self._entries = tuple(x.name for x in graph.layers if isinstance(x.op, ops.Input))
        self._steps = steps(graph)
        remembered = {x.inputs[1] for x in graph.layers if isinstance(x.op, ops.MaxUnpool)}
        rectified = {x.inputs[0] for x in graph.layers if isinstance(x.op, RECTIFIERS)}
        for layer in graph.layers:
            if not isinstance(layer.op, ops.Input):
                module = module_of(layer, remember=layer.name in remembered, rectified=layer.name in rectified)
                place(self, layer.name, module)

    def forward(self, *images: Tensor) -> Tensor | tuple[Tensor, ...]:
        """Run the layers in order; each tensor is freed after its last use."""
        values = dict(zip(self._entries, images, strict=True))
        for step in self._steps:
            # Found by name in every pass: a replica, or a swapped submodule, must be the one that runs.
            module: Any = self
            for name in step.path:
                module = getattr(module, name)
            result = module(*[values[name] for name in step.inputs])
            results = (result,) if len(step.outputs) == 1 else result
            values.update(zip(step.outputs, results, strict=True))
            del result, results
            for name in step.done:
                del values[name]
        outputs = tuple(values[name] for name in self.graph.outputs)
        return outputs[0] if len(outputs) == 1 else outputs


def steps(graph: Graph) -> tuple[Step, ...]:
    """Order of work: who reads what, and what may be forgotten when."""
    reads, writes = [], []
    layers = [x for x in graph.layers if not isinstance(x.op, ops.Input)]
    remembered = {x.inputs[1] for x in layers if isinstance(x.op, ops.MaxUnpool)}
    for layer in layers:
        inputs = layer.inputs
        if isinstance(layer.op, ops.MaxUnpool):
            inputs = (inputs[0], inputs[1] + INDICES, inputs[2])
        reads.append(inputs)
        writes.append((layer.name, layer.name + INDICES) if layer.name in remembered else (layer.name,))
    last = {name: i for i in range(len(layers)) for name in (*reads[i], *writes[i])}
    last |= dict.fromkeys(graph.outputs, len(layers))
    return tuple(
        Step(
            path=tuple(layer.name.split(".")),
            inputs=reads[i],
            outputs=writes[i],
            done=tuple(name for name in dict.fromkeys((*reads[i], *writes[i])) if last[name] == i),
        )
        for i, layer in enumerate(layers)
    )


def module_of(layer: Layer, *, remember: bool = False, rectified: bool = False) -> nn.Module:
    """Make the module of one layer, initialised; a MaxPool that has to `remember` also returns its positions.

    Weights are normal with variance 1 / fan-in, and 2 / fan-in where a rectifier follows (He et al.,
    arXiv:1502.01852, section 2.2); the fan-in is the MACs for one output value. Biases are zero. Raises
    ZooError for an op that torch does not have here.
    """
    make = MODULES.get(type(layer.op))
    if make is None:
        raise ZooError(f"{layer.name}: {layer.kind} has no torch module; add it to zoo.network.MODULES")
    module = make(layer.op, *layer.in_shapes)
    if isinstance(module, nn.MaxPool2d):
        module.return_indices = remember
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
        nn.init.normal_(module.weight, std=math.sqrt((1 + rectified) * layer.out_shape.elements / layer.macs))
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    return module


def place(root: nn.Module, path: str, module: nn.Module) -> None:
    """Make `module` the submodule of `root` at a dotted path, with plain modules in between."""
    *parents, leaf = path.split(".")
    for name in parents:
        if name not in root._modules:
            root.add_module(name, nn.Module())
        root = root.get_submodule(name)
    for name, child in root._modules.get(leaf, nn.Module()).named_children():  # type: ignore[union-attr]
        module.add_module(name, child)
    root.add_module(leaf, module)


def module_from_graph(graph: Graph) -> Network:
    """Torch module of a graph, initialised from torch's random generator, in training mode."""
    return Network(graph)


def build(source: Spec | Graph, size: tuple[int, int] = (512, 1024)) -> Network:
    """Torch module of a spec or a graph, initialised from torch's random generator, in training mode.

    `size` = (height, width) is where a spec is lowered for `module.graph`; the module takes other sizes too.
    Raises SpecError where the size does not suit the network.

    >>> from zoo.models.espnet import ESPNetSpec
    >>> module = build(ESPNetSpec(variant="C", alpha3=3)).eval()
    >>> sum(p.numel() for p in module.parameters()) == module.graph.params
    True
    >>> tuple(module(torch.zeros(1, 3, 64, 128)).shape)
    (1, 20, 8, 16)
    """
    return Network(source) if isinstance(source, Graph) else Network(lower(source, size), source)


State = TypeVar("State", nn.Module, Mapping[str, Tensor])


def flush_subnormals_(state: State) -> State:
    """Set values below the smallest normal float32 to zero, in place; returns its argument.

    Weight decay leaves such values in checkpoints; they slow a CPU several times and change no prediction.
    """
    tensors = state.state_dict() if isinstance(state, nn.Module) else state
    for tensor in tensors.values():
        if tensor.is_floating_point():
            tensor.masked_fill_(tensor.abs() < torch.finfo(torch.float32).tiny, 0.0)
    return state
