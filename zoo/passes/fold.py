"""Layers that disappear: dropouts, and batch normalisations that fold into the convolution before them."""

from dataclasses import replace

from torch import Tensor

from zoo.graph import BatchNorm, Conv, ConvTranspose, Dropout, Graph, Linear
from zoo.passes.rewrite import Node, State, finish, nodes_of, readers, scale_and_shift, without

FOLDING = (Conv, ConvTranspose, Linear)
"""Ops that a following BN folds into."""


def drop_identities(graph: Graph, state: State) -> tuple[Graph, State]:
    """Leave out dropouts, which compute nothing in evaluation; one that is an output stays."""
    moved = {
        layer.name: layer.inputs[0]
        for layer in graph.layers
        if isinstance(layer.op, Dropout) and layer.name not in graph.outputs
    }
    return finish(without(graph, moved), graph, state)


def fold_batchnorm(graph: Graph, state: State) -> tuple[Graph, State]:
    """Fold each BN that directly follows a convolution which nothing else reads into its weights and bias.

    The folded convolution goes by the BN's name, so that readers and outputs stay as they are.
    """
    read = readers(graph)
    new: dict[str, Tensor] = dict(state)
    nodes = {node.name: node for node in nodes_of(graph)}
    for layer in graph.layers:
        before = graph.by_name[layer.inputs[0]] if layer.inputs else layer
        if isinstance(layer.op, BatchNorm) and isinstance(before.op, FOLDING) and read[before.name] == 1:
            scale, shift = scale_and_shift(state, layer.name, layer.op)
            weight, bias = state[f"{before.name}.weight"], state.get(f"{before.name}.bias")
            new[f"{layer.name}.weight"] = scaled(weight, scale, before.op)
            new[f"{layer.name}.bias"] = (shift if bias is None else shift + scale * bias.double()).to(weight)
            nodes[layer.name] = Node(layer.name, replace(before.op, bias=True), before.inputs)
            for statistic in ("running_mean", "running_var", "num_batches_tracked"):
                del new[f"{layer.name}.{statistic}"]
    return finish(nodes.values(), graph, new)


def scaled(weight: Tensor, scale: Tensor, op: Conv | ConvTranspose | Linear) -> Tensor:
    """Weights of a layer whose output channels are multiplied by `scale`."""
    if not isinstance(op, ConvTranspose):
        return (weight.double() * scale.view(-1, *[1] * (weight.dim() - 1))).to(weight)
    # Weights are (in, out / groups, height, width).
    grouped = weight.double().reshape(op.groups, -1, *weight.shape[1:]) * scale.view(op.groups, 1, -1, 1, 1)
    return grouped.reshape(weight.shape).to(weight)
