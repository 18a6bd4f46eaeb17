"""A network's start cut out of a wider or deeper trained one: prefix channels, first units, BN statistics made again.

In a weight-sharing network a narrower layer is the first channels of a wider one (Yu et al., slimmable networks,
arXiv:1812.08928), and BN statistics belong to each width (Yu and Huang, arXiv:1903.05134). Channels of a concatenation
keep their places: of each input its first ones are taken. K must be equal, as K decides which channels lie where.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from zoo import graph as ops
from zoo.errors import ZooError
from zoo.graph import Graph, Layer
from zoo.registry import lower
from zoo.specs import Spec, as_dict

Channels = NDArray[np.int64]

CHANNELWISE = (
    ops.BatchNorm, ops.PReLU, ops.Scale, ops.ReLU, ops.ELU, ops.Sigmoid, ops.Dropout, ops.AvgPool, ops.MaxPool,
)  # fmt: skip
"""Ops whose output channels are their input's."""


@dataclass(frozen=True, slots=True)
class Slice:
    """The tensors of the narrower network, and of how many channels and layers of the wider one they are."""

    state: Mapping[str, Tensor]
    layers: int
    layers_before: int
    channels: int
    channels_before: int

    def __str__(self) -> str:
        return (
            f"{self.layers} of {self.layers_before} convolutions, {self.channels:,} of {self.channels_before:,} of "
            "their channels"
        )


def sliced(target: Spec, source: Spec, state: Mapping[str, Tensor], size: tuple[int, int] = (512, 1024)) -> Slice:
    """The weights of `target` inside those of `source`.

    Raises ZooError where the families or K differ, or the target has a layer or a channel that the source lacks.
    """
    if target.family != source.family or getattr(target, "k", None) != getattr(source, "k", None):
        raise ZooError(
            f"a {target.family} with k={getattr(target, 'k', '-')} cannot be sliced out of a {source.family} with "
            f"k={getattr(source, 'k', '-')}; give --init weights of the same family and k, or leave out --slice"
        )
    narrow, wide = lower(target, size), lower(source, size)
    wide_layers = {layer.name: layer for layer in wide.layers}
    origin: dict[str, Channels] = {}
    tensors: dict[str, Tensor] = {}
    for layer in narrow.layers:
        if layer.name not in wide_layers:
            raise ZooError(f"{_differing(target, source)}: the source has no layer {layer.name}; slice a deeper one")
        origin[layer.name] = _origin(layer, wide_layers[layer.name], origin)
        if (beyond := int(origin[layer.name].max(initial=-1)) + 1) > wide_layers[layer.name].out_shape.channels:
            raise ZooError(
                f"{_differing(target, source)}: {layer.name} needs {beyond} channels and the source has "
                f"{wide_layers[layer.name].out_shape.channels}; slice a wider one"
            )
        tensors |= _tensors(layer, origin, state)
    (layers, channels), (layers_before, channels_before) = _extent(narrow), _extent(wide)
    return Slice(tensors, layers, layers_before, channels, channels_before)


def _extent(graph: Graph) -> tuple[int, int]:
    convolutions = [layer for layer in graph.layers if isinstance(layer.op, ops.Conv | ops.ConvTranspose)]
    return len(convolutions), sum(layer.out_shape.channels for layer in convolutions)


def _origin(layer: Layer, wide: Layer, origin: Mapping[str, Channels]) -> Channels:
    """For each output channel of a layer the channel of the wider network's layer that it is."""
    inputs = [origin[name] for name in layer.inputs]
    op = layer.op
    if isinstance(op, ops.Concat):
        if len(inputs) != len(wide.inputs):
            raise ZooError(f"{layer.name}: joins {len(inputs)} tensors and {len(wide.inputs)} in the source")
        starts = np.cumsum([0, *(shape.channels for shape in wide.in_shapes)])
        return np.concatenate([channels + start for channels, start in zip(inputs, starts, strict=False)])
    if isinstance(op, ops.Conv | ops.ConvTranspose) and op.groups == layer.in_shapes[0].channels > 1:
        return inputs[0]  # depth-wise
    if isinstance(op, CHANNELWISE) and inputs:
        return inputs[0]
    if isinstance(op, ops.Add | ops.Multiply | ops.Maximum):
        return max(inputs, key=len)
    return np.arange(layer.out_shape.channels)


def _tensors(layer: Layer, origin: Mapping[str, Channels], state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The layer's tensors, cut out of the wider network's."""
    layer_tensors = {name: state[name] for name in state if name.rpartition(".")[0] == layer.name}
    out = torch.from_numpy(origin[layer.name])
    if isinstance(layer.op, ops.Conv | ops.ConvTranspose | ops.Linear):
        entry = torch.from_numpy(origin[layer.inputs[0]])
        return {name: _weight(layer, tensor, out, entry) for name, tensor in layer_tensors.items()}
    return {name: tensor[out] if tensor.dim() else tensor for name, tensor in layer_tensors.items()}


def _weight(layer: Layer, tensor: Tensor, out: Tensor, entry: Tensor) -> Tensor:
    if tensor.dim() == 1:
        return tensor[out]
    groups = getattr(layer.op, "groups", 1)
    if groups == layer.in_shapes[0].channels > 1:
        return tensor[out]
    if groups > 1:
        if tensor.shape[0] != len(out):
            raise ZooError(f"{layer.name}: has {groups} groups, whose channels cannot be sliced")
        return tensor
    if isinstance(layer.op, ops.ConvTranspose):
        return tensor[entry][:, out]
    return tensor[out][:, entry]


def _differing(target: Spec, source: Spec) -> str:
    before, after = as_dict(source), as_dict(target)
    fields = [f"{key} {before[key]} to {after[key]}" for key in after if before.get(key) != after[key]]
    return f"from {', '.join(fields) or 'an equal spec'}"


def settle_statistics_(module: nn.Module, batches: Iterable[Tensor]) -> int:
    """Replace BN's running statistics by the means over batches of network inputs, in place; returns their number."""
    norms = [m for m in module.modules() if isinstance(m, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a cumulative mean
    training, count = module.training, 0
    module.train()
    with torch.no_grad():
        for batch in batches:
            module(batch)
            count += 1
    module.train(training)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    return count
