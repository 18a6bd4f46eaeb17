"""Activations by ops that CPU runtimes are quick at."""

from torch import Tensor

from zoo.graph import Graph, Maximum, PReLU, Scale
from zoo.passes.rewrite import Node, State, finish, nodes_of


def prelu_as_maximum(graph: Graph, state: State) -> tuple[Graph, State]:
    """Turn a PReLU whose slopes a are all at most 1 into max(x, a * x).

    onnxruntime decides on the sign value by value and takes four times as long for its PRelu. With a larger
    slope the minimum would be due, so such a PReLU stays.
    """
    new: dict[str, Tensor] = dict(state)
    nodes = []
    for node in nodes_of(graph):
        if isinstance(node.op, PReLU) and bool((state[f"{node.name}.weight"] <= 1).all()):
            scaled = f"{node.name}.scaled"
            new[f"{scaled}.weight"] = new.pop(f"{node.name}.weight")
            nodes += [Node(scaled, Scale(), node.inputs), Node(node.name, Maximum(), (*node.inputs, scaled))]
        else:
            nodes.append(node)
    return finish(nodes, graph, new)
