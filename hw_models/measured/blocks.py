"""Splits a network into blocks: the stretches of layers that are timed as one on a measured device.

A runtime keeps its own memory layout inside a split-transform-merge unit and converts it at the ends, so
that the times of such a unit's convolutions, each measured alone, do not add up to the unit's. A block is
therefore a whole unit, from the convolutions that read one tensor to the activation after the merge; all
else is a block for itself, with the BatchNorm and the activation that follow it. Where a block ends is
seen from its own layers, so that a whole network and the pieces of a search space agree on it.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from functools import cached_property
from typing import Any

from zoo import graph as g
from zoo.errors import ZooError, did_you_mean
from zoo.graph import Layer, Op, Shape
from zoo.reading import parse_json

ACTIVATIONS = (g.PReLU, g.ReLU, g.ELU, g.Sigmoid)
KINDS = ("unit", "conv", "transposed", "linear", "concat", "pool", "elementwise", "other")
"""Kinds of blocks; the errors of one kind are taken to be alike, and to add up."""

CHAIN = 3
"""Copies of a unit that are timed in a row.

Alone, a unit would find its weights in the cache, and its input in a layout that no unit before it leaves.
"""

OPS: Mapping[str, type[Any]] = {
    kind.__name__: kind
    for kind in (
        *(g.Conv, g.ConvTranspose, g.Linear, g.BatchNorm, g.Scale, g.PReLU, g.ReLU, g.ELU, g.Sigmoid, g.Dropout),
        *(g.Add, g.Maximum, g.Multiply, g.Concat, g.PadChannels, g.ChannelShuffle, g.AvgPool, g.MaxPool, g.MaxUnpool),
        *(g.AdaptiveAvgPool, g.Resize, g.Crop, g.Complement, g.SelectChannels, g.SliceChannels, g.ReduceChannels),
        *(g.ReLU6, g.HardSigmoid, g.HardSwish, g.SiLU, g.SpaceToDepth),
    )
}
"""Ops by the names that tables have for them."""


class BlockError(ZooError, ValueError):
    """A block that a table describes and that cannot be."""


@dataclass(frozen=True)
class Block:
    """Consecutive layers, renamed: inputs are `x0`, `x1`, …, layers `y0`, `y1`, …; equal blocks compare equal.

    `layers` starts with the inputs. `outputs` are the layers that are read by no other layer of the block.
    """

    layers: tuple[Layer, ...]

    @cached_property
    def body(self) -> tuple[Layer, ...]:
        """The layers that compute."""
        return tuple(layer for layer in self.layers if not isinstance(layer.op, g.Input))

    @cached_property
    def outputs(self) -> tuple[str, ...]:
        """Names of the layers that leave the block."""
        read = {name for layer in self.body for name in layer.inputs}
        return tuple(layer.name for layer in self.body if layer.name not in read)

    @cached_property
    def inputs(self) -> tuple[Layer, ...]:
        """The layers that stand for tensors from outside."""
        return tuple(layer for layer in self.layers if isinstance(layer.op, g.Input))

    @cached_property
    def kind(self) -> str:
        """One of KINDS."""
        first = self.body[0].op
        if sum(isinstance(layer.op, g.Conv) for layer in self.body) > 1:
            return "unit"
        return next((kind for op, kind in _KIND_OF.items() if isinstance(first, op)), "other")

    @cached_property
    def macs(self) -> int:
        """Multiply-accumulates for one image."""
        return sum(layer.macs for layer in self.body)

    @property
    def copies(self) -> int:
        """How often the block is chained for one timing: units that keep their shape follow each other in networks."""
        keeps = len(self.inputs) == 1 and self.body[-1].out_shape == self.inputs[0].out_shape
        return CHAIN if keeps and self.kind == "unit" else 1

    @cached_property
    def text(self) -> str:
        """The block as JSON, which `from_text` reads back."""
        return json.dumps(
            {
                "inputs": [str(layer.out_shape) for layer in self.inputs],
                "layers": [[type(layer.op).__name__, _settings(layer.op), *layer.inputs] for layer in self.body],
            },
            separators=(",", ":"),
        )

    def __hash__(self) -> int:
        return self._hash

    @cached_property
    def _hash(self) -> int:
        return hash(self.layers)


_KIND_OF: Mapping[type[Any], str] = {
    g.Conv: "conv",
    g.ConvTranspose: "transposed",
    g.Linear: "linear",
    g.Concat: "concat",
    g.AvgPool: "pool",
    g.MaxPool: "pool",
    g.AdaptiveAvgPool: "pool",
    g.BatchNorm: "elementwise",
    g.PReLU: "elementwise",
    g.ReLU: "elementwise",
    g.Add: "elementwise",
    g.Multiply: "elementwise",
    g.Complement: "elementwise",
    **dict.fromkeys((g.ReLU6, g.HardSigmoid, g.HardSwish, g.SiLU), "elementwise"),
}


def blocks(layers: Sequence[Layer]) -> Iterator[tuple[str, Block]]:
    """The blocks of consecutive layers in order, each with the name of its first layer; inputs and dropout are none."""
    work = [layer for layer in layers if not isinstance(layer.op, g.Input | g.Dropout)]
    aliases = {layer.name: layer.inputs[0] for layer in layers if isinstance(layer.op, g.Dropout)}
    at = 0
    while at < len(work):
        end = _unit_end(work, at) or _simple_end(work, at)
        yield work[at].name, renamed(work[at:end], aliases)
        at = end


def _unit_end(work: Sequence[Layer], at: int) -> int | None:
    """One past the activation that ends a unit which starts here; None where no unit does."""
    head = work[at : at + 3]
    if len(head) < 3 or not isinstance(head[0].op, g.Conv) or not isinstance(head[1].op, g.Conv):
        return None
    fans_out = head[1].inputs == head[0].inputs
    reduces = isinstance(head[2].op, g.Conv) and head[1].inputs == head[2].inputs == (head[0].name,)
    if not (fans_out or reduces):
        return None
    for end in range(at + 1, len(work)):
        if isinstance(work[end].op, ACTIVATIONS):
            return end + 1
    return None


def _simple_end(work: Sequence[Layer], at: int) -> int:
    """One past a layer and the BatchNorm and activation that follow it; a BatchNorm alone is left to itself."""
    suffixes: tuple[tuple[tuple[type[Any], ...], ...], ...] = (((g.BatchNorm,), ACTIVATIONS), (ACTIVATIONS,))
    for suffix in suffixes:
        tail = work[at + 1 : at + 1 + len(suffix)]
        if len(tail) == len(suffix) and all(
            isinstance(layer.op, op) and layer.inputs == (work[at + i].name,)
            for i, (layer, op) in enumerate(zip(tail, suffix, strict=True))
        ):
            return at + 1 + len(suffix)
    return at + 1


def renamed(layers: Sequence[Layer], aliases: Mapping[str, str] | None = None) -> Block:
    """Layers as a block; `aliases` are other names of tensors from outside."""
    names: dict[str, str] = {}
    entries: list[Layer] = []
    body: list[Layer] = []
    for layer in layers:
        for name, shape in zip(layer.inputs, layer.in_shapes, strict=True):
            source = (aliases or {}).get(name, name)
            if source not in names:
                names[source] = f"x{len(entries)}"
                entries.append(Layer(names[source], g.Input(shape), (), (), shape))
            names[name] = names[source]
        inputs = tuple(names[name] for name in layer.inputs)
        names[layer.name] = f"y{len(body)}"
        body.append(Layer(names[layer.name], layer.op, inputs, layer.in_shapes, layer.out_shape))
    return Block((*entries, *body))


def chained(block: Block) -> Block:
    """The block followed by as many copies of itself as `copies` says; a block that changes its shape as it is."""
    layers = list(block.layers)
    for i in range(1, block.copies):
        names = {block.inputs[0].name: layers[-1].name} | {x.name: f"{x.name}c{i}" for x in block.body}
        for x in block.body:
            inputs = tuple(names[name] for name in x.inputs)
            layers.append(Layer(names[x.name], x.op, inputs, x.in_shapes, x.out_shape))
    return Block(tuple(layers))


def from_text(text: str) -> Block:
    """A block from its JSON. Raises BlockError, naming what is wrong."""
    try:
        entry = parse_json(text, f"block {text[:60]!r}", BlockError)
        shapes = {f"x{i}": _shape(input_shape) for i, input_shape in enumerate(entry["inputs"])}
        rows = [(str(name), dict(settings), tuple(map(str, inputs))) for name, settings, *inputs in entry["layers"]]
    except (ValueError, KeyError, TypeError) as error:
        raise BlockError(f"block {text[:60]!r}: is not the JSON of a block: {error}") from None
    out = [Layer(name, g.Input(shape), (), (), shape) for name, shape in shapes.items()]
    for i, (name, settings, inputs) in enumerate(rows):
        out.append(_layer(f"y{i}", _op(name, settings), inputs, shapes))
        shapes[out[-1].name] = out[-1].out_shape
    return Block(tuple(out))


def _layer(name: str, op: Op, inputs: tuple[str, ...], shapes: Mapping[str, Shape]) -> Layer:
    for name_read in inputs:
        if name_read not in shapes:
            raise BlockError(
                f"block layer {name}: reads {name_read!r}, which comes from nowhere; {did_you_mean(name_read, shapes)}"
            )
    in_shapes = tuple(shapes[name_read] for name_read in inputs)
    try:
        return Layer(name, op, inputs, in_shapes, op.shape(*in_shapes))
    except ValueError as error:
        raise BlockError(f"block layer {name}: {error}") from None


def _op(name: str, settings: Mapping[str, Any]) -> Op:
    kind = OPS.get(name)
    if kind is None:
        raise BlockError(f"block op {name!r} is unknown; {did_you_mean(name, OPS)}")
    try:
        op: Op = kind(**{key: tuple(v) if isinstance(v, list) else v for key, v in settings.items()})
    except TypeError as error:
        raise BlockError(f"block op {name}: {error}") from None
    return op


def _settings(op: Op) -> dict[str, Any]:
    settings = {}
    for field in fields(op):  # type: ignore[arg-type]  # every op is a dataclass
        value = getattr(op, field.name)
        if field.default is MISSING or value != field.default:
            settings[field.name] = value
    return settings


def _shape(text: str) -> Shape:
    channels, height, width = (int(part) for part in str(text).split("x"))
    if min(channels, height, width) < 1:
        raise ValueError(f"shape {text!r} has a side below 1")
    return Shape(channels, height, width)


def distinct(networks: Iterable[Sequence[Layer]]) -> dict[Block, int]:
    """Every block that some networks have, and how often all of them together have it."""
    counts: dict[Block, int] = {}
    for layers in networks:
        for _, block in blocks(layers):
            counts[block] = counts.get(block, 0) + 1
    return counts
