"""Features of a block: counts whose times add up, and its position among other blocks.

The counts say what each layer of a block does in a runtime that holds tensors in blocks of 16 channels,
as onnxruntime does on CPUs with AVX-512 (8 with AVX2): a convolution computes whole blocks, and one
whose input channels suit no block is computed as a matrix product of gathered patches.
"""

from collections.abc import Mapping
from math import log, prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hw_models.measured.blocks import Block
from zoo import graph as g
from zoo.graph import Layer

Array = NDArray[np.float64]

LANES = 16
"""Channels in a block of a tensor."""
ALIGNED = 4
"""Divisor that input channels must have to be held in blocks."""

FEATURES = (
    *("blocked", "unblocked", "gathered", "patches", "depthwise", "grouped", "transposed", "linear"),
    *("conv_out", "norm", "prelu", "relu", "smooth", "add", "concat", "pool", "copy", "layers", "weights"),
    *("read", "read_far", "read_farther"),
)
"""Names of the counts: MACs of convolutions by how they are computed, then values by what happens to them."""
BY_SIZE = ("read", "read_far", "read_farther")
"""Counts that a block has or lacks by its size alone."""
INDEX = {name: i for i, name in enumerate(FEATURES)}


NEAR, FAR = 1 << 18, 1 << 21
"""Values of a tensor up to which a core's own cache, and a shared one, may hold it: 1 MB and 8 MB."""


def features(block: Block, batch: int = 1) -> Array:
    """The counts of a block, shape (len(FEATURES),), none negative."""
    total = np.zeros(len(FEATURES))
    for layer in block.body:
        for name, amount in _counts(layer).items():
            total[INDEX[name]] += amount * (1 if name in ("layers", "weights") else batch)
        for shape in layer.in_shapes:
            values = shape.elements * batch
            total[INDEX["read"]] += values
            total[INDEX["read_far"]] += max(0, values - NEAR)
            total[INDEX["read_farther"]] += max(0, values - FAR)
    return total


def _counts(layer: Layer) -> Mapping[str, float]:
    counts = {"layers": 1.0, "weights": float(layer.params)}
    if isinstance(layer.op, g.Conv):
        return counts | _conv(layer.op, layer)
    if isinstance(layer.op, g.ConvTranspose):
        return counts | {"transposed": layer.macs, "conv_out": layer.out_shape.elements}
    if isinstance(layer.op, g.Linear):
        return counts | {"linear": layer.macs}
    elements = float(layer.out_shape.elements)
    if isinstance(layer.op, g.AvgPool | g.MaxPool):
        return counts | {"pool": elements * prod(layer.op.kernel)}
    if isinstance(layer.op, g.Add):
        return counts | {"add": elements * (len(layer.inputs) - 1)}
    if isinstance(layer.op, g.ReduceChannels):
        return counts | {"add": float(layer.in_shapes[0].elements)}
    return counts | {_STREAM.get(type(layer.op), "copy"): elements}


_STREAM: Mapping[type[Any], str] = {
    g.BatchNorm: "norm",
    g.PReLU: "prelu",
    g.ReLU: "relu",
    g.ELU: "smooth",
    g.Sigmoid: "smooth",
    g.ReLU6: "relu",
    g.HardSigmoid: "relu",
    g.HardSwish: "relu",
    g.SiLU: "smooth",
    g.Multiply: "add",
    g.Complement: "add",
    g.Concat: "concat",
    g.AdaptiveAvgPool: "pool",
}


def _conv(op: g.Conv, layer: Layer) -> dict[str, float]:
    channels, out = layer.in_shapes[0].channels, layer.out_shape
    pixels, taps = out.height * out.width, prod(op.kernel)
    counts = {"conv_out": float(out.elements)}
    if op.groups > 1:
        return counts | {"depthwise" if op.groups == channels else "grouped": float(layer.macs)}
    padded = _up(op.out_channels)
    if channels < LANES:
        return counts | {"unblocked": float(padded * channels * taps * pixels)}
    if channels % ALIGNED == 0:
        return counts | {"blocked": float(padded * _up(channels) * taps * pixels)}
    patches = float(channels * taps * pixels) if taps > 1 else 0.0
    return counts | {"gathered": float(layer.macs), "patches": patches}


def _up(channels: int) -> int:
    return -(-channels // LANES) * LANES


def position(block: Block, batch: int = 1) -> Array:
    """Where a block lies: logarithms of sizes, and properties as numbers; distances are meant to be compared."""
    body, first = block.body, block.body[0]
    out = body[-1].out_shape
    convs = [layer for layer in body if isinstance(layer.op, g.Conv)]
    inner = convs[0].out_shape.channels if len(convs) > 1 else 1
    counts = features(block)
    kernel = prod(first.op.kernel) if isinstance(first.op, g.Conv) else 1
    return np.array(
        [
            0.5 * log(batch * first.out_shape.height * first.out_shape.width),
            (1.0 if convs else 0.3) * log(first.in_shapes[0].channels),
            (1.0 if convs else 0.7) * log(out.channels),
            log(inner),
            2.0 * log(_up(inner) / inner) if inner > 1 else 0.0,
            0.5 * log(max(len(convs), 1)),
            1.0 if inner >= LANES and inner % ALIGNED else 0.0,
            0.5 * log(kernel),
            1.0 if counts[INDEX["prelu"]] else 0.0,
            1.0 if counts[INDEX["norm"]] else 0.0,
            1.0 if counts[INDEX["gathered"]] else 0.0,
        ]
    )
