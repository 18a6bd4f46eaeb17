"""Average poolings of a few channels, which a convolution computes faster.

CPU kernels work on 8 or 16 channels at a time and a picture has three, so a pooling of the picture spends most of
its time on reorders to and from a blocked layout. A convolution reads three channels as they are.
"""

import torch
from torch import Tensor

from zoo.graph import AvgPool, Conv, Graph
from zoo.passes.rewrite import Node, State, finish, nodes_of

FEW = 4
"""Channels up to which a pooling is cheaper as a dense convolution, which multiplies by zeros between channels."""


def pool_as_conv(graph: Graph, state: State) -> tuple[Graph, State]:
    """Turn average poolings of at most `FEW` channels into convolutions that average each channel."""
    new: dict[str, Tensor] = dict(state)
    nodes = []
    for node, layer in zip(nodes_of(graph), graph.layers, strict=True):
        channels = layer.out_shape.channels
        if isinstance(node.op, AvgPool) and channels <= FEW:
            nodes.append(Node(node.name, Conv(channels, node.op.kernel, node.op.stride, node.op.padding), node.inputs))
            new[f"{node.name}.weight"] = averages(node.op, channels)
        else:
            nodes.append(node)
    return finish(nodes, graph, new)


def averages(op: AvgPool, channels: int) -> Tensor:
    """Weights (channels, channels, height, width) that take the mean of each channel's window, padding included."""
    area = op.kernel[0] * op.kernel[1]
    return (torch.eye(channels) / area)[:, :, None, None].expand(-1, -1, *op.kernel).contiguous()
