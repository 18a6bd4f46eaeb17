"""What every pass is made of: nodes that can be exchanged, and parameters that go with them.

A pass reads a graph and the parameters of its module (`state_dict` names) and returns new ones; it never
writes into what it was given. Shapes are resolved anew after each pass, so a pass that is wrong about one
is refused with the layer's name.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from zoo.graph import BatchNorm, Graph, GraphBuilder, Input, Op, Shape

State = Mapping[str, Tensor]
"""Parameters and running statistics by the names of `Network.state_dict`."""

Pass = Callable[[Graph, State], tuple[Graph, State]]
"""A rewrite that leaves what the graph computes as it was."""


@dataclass(frozen=True, slots=True)
class Node:
    """A layer whose shapes are not resolved."""

    name: str
    op: Op
    inputs: tuple[str, ...]


def nodes_of(graph: Graph) -> list[Node]:
    """The graph's layers without their shapes."""
    return [Node(layer.name, layer.op, layer.inputs) for layer in graph.layers]


def resolve(nodes: Iterable[Node], outputs: tuple[str, ...]) -> Graph:
    """The graph of some nodes in order. Raises SpecError, naming the layer, where shapes do not fit."""
    builder = GraphBuilder()
    for node in nodes:
        builder.append(node.op, node.inputs, node.name)
    return builder.graph(*outputs)


def at_size(graph: Graph, size: tuple[int, int]) -> Graph:
    """The same layers for one image of another `size` = (height, width). Raises SpecError where it does not suit."""
    shape = Shape(graph.input_shape.channels, *size)
    nodes = [Node(node.name, Input(shape), ()) if isinstance(node.op, Input) else node for node in nodes_of(graph)]
    return resolve(nodes, graph.outputs)


def readers(graph: Graph) -> Counter[str]:
    """How often each tensor is read; being an output counts."""
    return Counter([*(name for layer in graph.layers for name in layer.inputs), *graph.outputs])


def renamed(name: str, moved: Mapping[str, str]) -> str:
    """Where a tensor is found after `moved` (old name -> new name), which may chain."""
    while name in moved:
        name = moved[name]
    return name


def without(graph: Graph, moved: Mapping[str, str]) -> list[Node]:
    """The nodes less those in `moved`, whose readers read another tensor instead."""
    return [
        Node(node.name, node.op, tuple(renamed(x, moved) for x in node.inputs))
        for node in nodes_of(graph)
        if node.name not in moved
    ]


def finish(nodes: Iterable[Node], graph: Graph, state: State) -> tuple[Graph, State]:
    """The graph of `nodes` with the outputs of `graph`, less layers that no output needs and what they own."""
    ordered = list(nodes)
    needed = set(graph.outputs)
    for node in reversed(ordered):
        if node.name in needed:
            needed.update(node.inputs)
    finished = resolve((x for x in ordered if x.name in needed or isinstance(x.op, Input)), graph.outputs)
    names = {layer.name for layer in finished.layers}
    return finished, {key: value for key, value in state.items() if key.rpartition(".")[0] in names}


def scale_and_shift(state: State, name: str, op: BatchNorm) -> tuple[Tensor, Tensor]:
    """A BN in evaluation as y = scale * x + shift, for each channel, in double precision."""
    weight, bias, mean, var = (
        state[f"{name}.{key}"].double() for key in ("weight", "bias", "running_mean", "running_var")
    )
    scale = weight / torch.sqrt(var + op.eps)
    return scale, bias - mean * scale
