"""A network less some of its channels: the spec of the whole one, and which channels are gone.

A width in a spec cannot say that channels 3, 7 and 12 of one layer are missing. A pruned spec therefore holds
another spec and, for each layer that lost any, the removed output channels; lowering narrows the other spec's graph.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from zoo import graph as ops
from zoo.errors import SpecError
from zoo.graph import Graph, GraphBuilder, Layer
from zoo.specs import Spec

Channels = tuple[int, ...]
"""Indices of channels, ascending."""

WEIGHTED = (ops.Conv, ops.ConvTranspose, ops.Linear)
"""Ops that mix channels and can take any of them in."""

SIZE_OF_SECOND = (ops.Resize, ops.AdaptiveAvgPool, ops.Crop)
"""Ops whose second input only lends its height and width."""

FIXED = (ops.ChannelShuffle, ops.PadChannels, ops.SelectChannels, ops.MaxUnpool)
"""Ops whose meaning depends on the number of channels or their places; all of theirs stay."""


@dataclass(frozen=True, slots=True)
class PrunedSpec(Spec):
    """`of` without the channels in `removed`: (layer, its removed output channels) in the graph's order.

    biased: convolutions that have a bias here and none in `of`; it holds what constant channels contributed.
    """

    family: ClassVar[str] = "pruned"
    of: Spec
    removed: tuple[tuple[str, Channels], ...] = ()
    biased: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not isinstance(self.of, Spec) or isinstance(self.of, PrunedSpec):
            raise SpecError("pruned.of: must be the spec of a network that is not pruned")
        for name, channels in self.removed:
            plain = isinstance(name, str) and all(type(channel) is int for channel in channels)
            if not plain or list(channels) != sorted(set(channels)):
                raise SpecError(f"pruned.removed: {name}: must list channels in ascending order, each once")
        if not all(isinstance(name, str) for name in self.biased):
            raise SpecError(f"pruned.biased: must be names of layers, but is {self.biased!r}")

    @property
    def classes(self) -> int:
        """Outputs of the network. Raises AttributeError where `of` has none."""
        count: int = self.of.classes  # type: ignore[attr-defined]
        return count


def pruned_spec(of: Spec, entry: Mapping[str, Any], location: str) -> PrunedSpec:
    """The pruned spec of plain values, whose `of` is read already. Raises SpecError."""
    for key in entry:
        if key not in ("family", "of", "removed", "biased"):
            raise SpecError(f"{location}.{key}: unknown key; a pruned spec has family, of, removed and biased")
    try:
        removed = tuple((name, tuple(channels)) for name, channels in entry.get("removed", []))
        return PrunedSpec(of, removed, tuple(entry.get("biased", [])))
    except (TypeError, ValueError):
        raise SpecError(f"{location}.removed: must be a list of [layer, [channel, …]]") from None


def is_depthwise(layer: Layer) -> bool:
    """Whether each output channel is made of the input channel of the same index alone."""
    op = layer.op
    if not isinstance(op, ops.Conv | ops.ConvTranspose):
        return False
    return op.groups == layer.in_shapes[0].channels == op.out_channels > 1


def is_fixed(layer: Layer) -> bool:
    """Whether a layer can lose none of its channels."""
    grouped = isinstance(layer.op, ops.Conv | ops.ConvTranspose) and layer.op.groups > 1 and not is_depthwise(layer)
    return grouped or isinstance(layer.op, FIXED)


def required(layer: Layer, outputs: Sequence[int]) -> tuple[Channels | None, ...]:
    """Channels of each input that a layer with the output channels `outputs` must be given; None where any will do."""
    if is_fixed(layer):
        return tuple(tuple(range(shape.channels)) for shape in layer.in_shapes)
    if isinstance(layer.op, WEIGHTED) and not is_depthwise(layer):
        return (None,)
    if isinstance(layer.op, SIZE_OF_SECOND):
        return (tuple(outputs), None)[: len(layer.inputs)]
    if isinstance(layer.op, ops.Concat):
        parts, start = [], 0
        for shape in layer.in_shapes:
            parts.append(tuple(i - start for i in outputs if start <= i < start + shape.channels))
            start += shape.channels
        return tuple(parts)
    return (tuple(outputs),) * len(layer.inputs)


def narrowed(graph: Graph, spec: PrunedSpec) -> Graph:
    """The graph without the channels that `spec` removes.

    A reader that needs fewer channels than a tensor has gets a copy of them by a `SelectChannels` layer, named
    after the tensor. Raises SpecError for layers or channels that are not there, and where nothing remains.
    """
    channels = kept_channels(graph, spec)
    builder = GraphBuilder()
    copies: dict[tuple[str, Channels], str] = {}
    for layer in graph.layers:
        needs = required(layer, channels[layer.name])
        inputs = [_entry(builder, x, channels[x], w, copies) for x, w in zip(layer.inputs, needs, strict=True)]
        present = tuple(x for x in inputs if x is not None)
        builder.append(_narrow_op(layer, len(channels[layer.name]), layer.name in spec.biased), present, layer.name)
    return _without_unread(builder.graph(*graph.outputs))


def _without_unread(graph: Graph) -> Graph:
    """The graph less layers that no output needs."""
    needed = set(graph.outputs)
    for layer in reversed(graph.layers):
        if layer.name in needed:
            needed.update(layer.inputs)
    return Graph(tuple(x for x in graph.layers if x.name in needed or isinstance(x.op, ops.Input)), graph.outputs)


def kept_channels(graph: Graph, spec: PrunedSpec) -> dict[str, Channels]:
    """For each layer the output channels that remain. Raises SpecError."""
    remaining = {layer.name: tuple(range(layer.out_shape.channels)) for layer in graph.layers}
    for name in (*(name for name, _ in spec.removed), *spec.biased):
        if name not in remaining:
            raise SpecError(f"pruned: {name} is no layer of the network; prune it anew")
    for name, channels in spec.removed:
        if channels and not 0 <= channels[0] <= channels[-1] < len(remaining[name]):
            raise SpecError(f"pruned.removed: {name} has {len(remaining[name])} channels, but {channels} are to go")
        dropped = set(channels)
        remaining[name] = tuple(i for i in remaining[name] if i not in dropped)
        if not remaining[name] or name in graph.outputs or isinstance(graph.by_name[name].op, ops.Input):
            raise SpecError(f"pruned.removed: {name}: must keep a channel, and inputs and outputs all of theirs")
    return remaining


def _entry(
    builder: GraphBuilder,
    name: str,
    present: Channels,
    needed: Channels | None,
    copies: dict[tuple[str, Channels], str],
) -> str | None:
    """What a reader reads instead of `name`: the tensor, a copy of some of its channels, or nothing."""
    if needed is None or needed == present:
        return name
    if not needed:
        return None
    if (name, needed) not in copies:
        if not set(needed) <= set(present):
            raise SpecError(f"pruned.removed: {name}: a channel that is removed is still read; prune it anew")
        places = {channel: i for i, channel in enumerate(present)}
        path = f"{name}.select{sum(tensor == name for tensor, _ in copies)}"
        op = ops.SelectChannels(tuple(places[channel] for channel in needed))
        copies[name, needed] = builder.append(op, (name,), path)
    return copies[name, needed]


def _narrow_op(layer: Layer, channels: int, biased: bool) -> ops.Op:
    op = layer.op
    if isinstance(op, ops.Conv | ops.ConvTranspose):
        groups = channels if is_depthwise(layer) else op.groups
        return replace(op, out_channels=channels, groups=groups, bias=op.bias or biased)
    if isinstance(op, ops.Linear):
        return replace(op, out_channels=channels, bias=op.bias or biased)
    return op
