"""Which channels of a network hold one constant at every pixel and for every image.

A batch normalisation whose scale is zero answers with its shift, whatever it is given; what follows is constant too,
as far as no window reaches into zero padding.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from zoo import graph as ops
from zoo.graph import Graph, Layer
from zoo.passes.rewrite import State, scale_and_shift

VARIES = torch.nan
"""Stands for a channel that is not constant: sums and products with it vary too."""

SAME = (ops.Dropout, ops.MaxPool, ops.AdaptiveAvgPool, ops.Resize, ops.Crop)
"""Ops that leave a constant as it is, whatever their window."""


def constants(graph: Graph, state: State, tolerance: float = 0.0) -> dict[str, Tensor]:
    """For each layer the constants of its channels (C,), float64, NaN where a channel varies.

    A BN scale of at most `tolerance` counts as zero, and so does a constant. `state` is that of the module in
    evaluation mode. Unknown ops vary.
    """
    by_layer: dict[str, Tensor] = {}
    for layer in graph.layers:
        values = _of_layer(layer, [by_layer[name] for name in layer.inputs], state, tolerance)
        by_layer[layer.name] = torch.where(values.abs() <= tolerance, 0.0, values)
    return by_layer


def dead_channels(graph: Graph, state: State, tolerance: float = 0.0) -> dict[str, Tensor]:
    """For each batch normalisation whether a channel's scale is zero, (C,) bool."""
    return {
        layer.name: state[f"{layer.name}.weight"].abs() <= tolerance
        for layer in graph.layers
        if isinstance(layer.op, ops.BatchNorm)
    }


def read_channels(weight: Tensor, layer: Layer) -> Tensor:
    """Whether each output of a dense layer reads each input channel: (out, in), from weights that are not zero."""
    return (taps(weight, layer) != 0).any(2)


def taps(weight: Tensor, layer: Layer) -> Tensor:
    """Weights of a dense layer as (out, in, positions), float64."""
    if isinstance(layer.op, ops.ConvTranspose):
        weight = weight.transpose(0, 1)
    return weight.double().reshape(weight.shape[0], layer.in_shapes[0].channels, -1)


def absorbed(values: Tensor, layer: Layer) -> Tensor:
    """`values` as a layer of windows sees them: a constant that is not zero varies where windows meet padding.

    A transposed convolution adds another number of terms at each of its phases.
    """
    op: Any = layer.op
    if isinstance(op, ops.ConvTranspose) or any(getattr(op, "padding", (0, 0))):
        return torch.where(values == 0, values, VARIES)
    return values


def _of_layer(layer: Layer, inputs: list[Tensor], state: State, tolerance: float) -> Tensor:
    rule = RULES.get(type(layer.op))
    if rule is not None:
        return rule(layer, inputs, state)
    if isinstance(layer.op, ops.BatchNorm):
        return _norm(layer, layer.op, inputs[0], state, tolerance)
    return inputs[0] if isinstance(layer.op, SAME) else torch.full((layer.out_shape.channels,), VARIES).double()


def _norm(layer: Layer, op: ops.BatchNorm, x: Tensor, state: State, tolerance: float) -> Tensor:
    scale, shift = scale_and_shift(state, layer.name, op)
    dead = state[f"{layer.name}.weight"].abs() <= tolerance
    return torch.where(dead, state[f"{layer.name}.bias"].double(), scale * x + shift)


def _weighted(layer: Layer, inputs: list[Tensor], state: State) -> Tensor:
    op: Any = layer.op
    weight, bias = state[f"{layer.name}.weight"], state.get(f"{layer.name}.bias")
    x = absorbed(inputs[0], layer)
    if getattr(op, "groups", 1) > 1:
        total = _grouped(layer, x, weight)
    else:
        tap_weights = taps(weight, layer)
        total = torch.where((tap_weights != 0).any(2), tap_weights.sum(2) * x, 0.0).sum(1)
    return total if bias is None else total + bias.double()


def _grouped(layer: Layer, x: Tensor, weight: Tensor) -> Tensor:
    op: Any = layer.op
    if isinstance(op, ops.ConvTranspose):
        return torch.full((layer.out_shape.channels,), VARIES).double()
    tap_weights = weight.double().reshape(op.groups, op.out_channels // op.groups, x.numel() // op.groups, -1)
    entries = x.reshape(op.groups, 1, -1)
    return torch.where((tap_weights != 0).any(3), tap_weights.sum(3) * entries, 0.0).sum(2).flatten()


def _multiply(layer: Layer, inputs: list[Tensor], state: State) -> Tensor:
    x, factor = inputs
    return torch.where((x == 0) | (factor == 0), 0.0, x * factor)


def _pooled(layer: Layer, inputs: list[Tensor], state: State) -> Tensor:
    return absorbed(inputs[0], layer)


def _unpooled(layer: Layer, inputs: list[Tensor], state: State) -> Tensor:
    return torch.where(inputs[0] == 0, 0.0, VARIES).double()


def _prelu(layer: Layer, inputs: list[Tensor], state: State) -> Tensor:
    (x,) = inputs
    return torch.where(x < 0, state[f"{layer.name}.weight"].double() * x, x)


def _padded(layer: Layer, inputs: list[Tensor], state: State) -> Tensor:
    return functional.pad(inputs[0], (0, layer.out_shape.channels - len(inputs[0])))


def _shuffled(layer: Layer, inputs: list[Tensor], state: State) -> Tensor:
    op: Any = layer.op
    return inputs[0].reshape(op.groups, -1).T.flatten()


def _selected(layer: Layer, inputs: list[Tensor], state: State) -> Tensor:
    op: Any = layer.op
    return inputs[0][list(op.channels)]


Rule = Callable[[Layer, list[Tensor], State], Tensor]

RULES: Mapping[type[Any], Rule] = {
    ops.Conv: _weighted,
    ops.ConvTranspose: _weighted,
    ops.Linear: _weighted,
    ops.PReLU: _prelu,
    ops.Scale: lambda layer, inputs, state: state[f"{layer.name}.weight"].double() * inputs[0],
    ops.ReLU: lambda layer, inputs, state: inputs[0].clamp(min=0),
    ops.ELU: lambda layer, inputs, state: functional.elu(inputs[0]),
    ops.Sigmoid: lambda layer, inputs, state: inputs[0].sigmoid(),
    ops.Add: lambda layer, inputs, state: torch.stack(inputs).sum(0),
    ops.Maximum: lambda layer, inputs, state: torch.maximum(*inputs),
    ops.Multiply: _multiply,
    ops.Concat: lambda layer, inputs, state: torch.cat(inputs),
    ops.AvgPool: _pooled,
    ops.MaxUnpool: _unpooled,
    ops.PadChannels: _padded,
    ops.ChannelShuffle: _shuffled,
    ops.SelectChannels: _selected,
}
"""The constants that come out, for the constants that go in."""
