"""Work of a layer on a device: multiply-accumulates, bytes moved, launches.

A kernel is priced from a `Work`, which holds everything that its time depends on and nothing of the
device. All numbers are for one image; a batch multiplies everything but the weights.
"""

from collections.abc import Callable, Mapping
from math import prod
from typing import Any, NamedTuple

from zoo import graph as g
from zoo.errors import ZooError
from zoo.graph import BYTES_PER_VALUE, Op, Shape

INDEX_BYTES = 8
"""Bytes of one position of a max pooling (torch stores 64-bit integers)."""

KINDS = (
    "dense",
    "pointwise",
    "dilated",
    "grouped",
    "depthwise",
    "transposed",
    "linear",
    "normalisation",
    "activation",
    "add",
    "concat",
    "copy",
    "pool",
    "resize",
    "identity",
)
"""Kinds of kernels."""

MULTIPLYING = frozenset(KINDS[:7])
"""Kinds that multiply and accumulate."""


class PriceError(ZooError):
    """A layer that the cost model has no price for."""


class Work(NamedTuple):
    """One kernel's work for one image.

    activation_bytes: read and written, without the weights. in_channels, out_channels: of one group.
    taps: kernel positions. pixels: output positions. dispatches: operations that the host issues.
    winograd: a dense 3x3 convolution of stride 1, which fast algorithms accelerate. dilated: a dilated
    convolution, also where it is grouped or depth-wise.
    """

    kind: str
    macs: int
    activation_bytes: int
    weight_bytes: int
    in_channels: int
    out_channels: int
    taps: int
    pixels: int
    outputs: int
    dispatches: float
    winograd: bool = False
    dilated: bool = False


Inputs = tuple[Shape, ...]
_Rule = Callable[[Any, Inputs, Shape], Work]


def work_of(op: Op, inputs: Inputs, out: Shape, name: str = "") -> Work:
    """Work of an op on given shapes. Raises PriceError, naming layer and op, for one without a rule."""
    rule = RULES.get(type(op))
    if rule is None:
        raise PriceError(f"{name or 'layer'}: op {type(op).__name__} has no price; add a rule to hw_models/kernels.py")
    return rule(op, inputs, out)


def _moved(*shapes: Shape) -> int:
    return sum(shape.bytes for shape in shapes)


def _streaming(kind: str, dispatches: float = 1.0, extra: float = 0.0) -> _Rule:
    """Every input read once and the output written once, plus `extra` times the output."""

    def rule(op: Op, inputs: Inputs, out: Shape) -> Work:
        bytes_ = _moved(*inputs, out) + round(extra * out.bytes)
        weights = BYTES_PER_VALUE * op.params(*inputs)
        return Work(kind, 0, bytes_, weights, 0, 0, 1, out.height * out.width, out.elements, dispatches)

    return rule


def _conv(op: g.Conv, inputs: Inputs, out: Shape) -> Work:
    (x,) = inputs
    taps = prod(op.kernel)
    in_group, out_group = x.channels // op.groups, op.out_channels // op.groups
    plain = op.stride == (1, 1) and op.dilation == (1, 1)
    if op.groups > 1:
        kind = "depthwise" if in_group == 1 else "grouped"
    elif max(op.dilation) > 1 and taps > 1:
        kind = "dilated"
    else:
        kind = "pointwise" if taps == 1 else "dense"
    # Eager frameworks add the bias with a kernel of their own.
    bias = 2 * out.bytes if op.bias else 0
    return Work(
        kind,
        op.macs(*inputs),
        _moved(x, out) + bias,
        BYTES_PER_VALUE * op.params(*inputs),
        in_group,
        out_group,
        taps,
        out.height * out.width,
        out.elements,
        1.0,
        plain and op.kernel == (3, 3) and op.groups == 1,
        max(op.dilation) > 1 and taps > 1,
    )


def _transposed(op: g.ConvTranspose, inputs: Inputs, out: Shape) -> Work:
    (x,) = inputs
    bias = 2 * out.bytes if op.bias else 0
    return Work(
        "transposed",
        op.macs(*inputs),
        _moved(x, out) + bias,
        BYTES_PER_VALUE * op.params(*inputs),
        x.channels // op.groups,
        op.out_channels // op.groups,
        prod(op.kernel),
        out.height * out.width,
        out.elements,
        1.0,
    )


def _linear(op: g.Linear, inputs: Inputs, out: Shape) -> Work:
    (x,) = inputs
    weights = BYTES_PER_VALUE * op.params(*inputs)
    return Work("linear", op.macs(x), _moved(x, out), weights, x.elements, op.out_channels, 1, 1, out.elements, 1.0)


def _max_pool(op: g.MaxPool, inputs: Inputs, out: Shape) -> Work:
    bytes_ = _moved(*inputs, out) + INDEX_BYTES * out.elements
    return Work("pool", 0, bytes_, 0, 0, 0, prod(op.kernel), out.height * out.width, out.elements, 1.0)


def _max_unpool(op: g.MaxUnpool, inputs: Inputs, out: Shape) -> Work:
    # The output is cleared first, then values are put at their positions.
    x = inputs[0]
    bytes_ = 2 * x.bytes + INDEX_BYTES * x.elements + out.bytes
    return Work("pool", 0, bytes_, 0, 0, 0, prod(op.kernel), out.height * out.width, out.elements, 2.0)


def _cut(op: Op, inputs: Inputs, out: Shape) -> Work:
    return Work("copy", 0, 2 * out.bytes, 0, 0, 0, 1, out.height * out.width, out.elements, 1.0)


def _select(op: g.SelectChannels, inputs: Inputs, out: Shape) -> Work:
    return Work("copy", 0, 2 * out.bytes, 0, 0, 0, 1, out.height * out.width, out.elements, 1.0)


def _one_input(kind: str) -> _Rule:
    """The first input read and the output written; a second input only lends its size."""

    def rule(op: Op, inputs: Inputs, out: Shape) -> Work:
        bytes_ = inputs[0].bytes + out.bytes
        return Work(kind, 0, bytes_, 0, 0, 0, 1, out.height * out.width, out.elements, 1.0)

    return rule


def _identity(op: g.Dropout, inputs: Inputs, out: Shape) -> Work:
    # Nothing is launched and nothing moved, but the host still walks through the module.
    return Work("identity", 0, 0, 0, 0, 0, 1, out.height * out.width, out.elements, 0.2)


RULES: Mapping[type, _Rule] = {
    g.Conv: _conv,
    g.ConvTranspose: _transposed,
    g.Linear: _linear,
    g.BatchNorm: _streaming("normalisation"),
    g.PReLU: _streaming("activation"),
    g.Scale: _streaming("normalisation"),
    g.ReLU: _streaming("activation"),
    g.ELU: _streaming("activation"),
    g.Sigmoid: _streaming("activation"),
    g.ReLU6: _streaming("activation"),
    g.HardSigmoid: _streaming("activation"),
    g.HardSwish: _streaming("activation"),
    g.SiLU: _streaming("activation"),
    g.Complement: _streaming("activation"),
    g.Dropout: _identity,
    g.Add: _streaming("add"),
    g.Maximum: _streaming("add"),
    g.Multiply: _streaming("add"),
    g.Concat: _streaming("concat"),
    g.PadChannels: _streaming("copy", dispatches=2.0, extra=1.0),
    g.SelectChannels: _select,
    g.SliceChannels: _cut,
    g.ReduceChannels: _streaming("add"),
    g.ChannelShuffle: _streaming("copy", dispatches=2.0),
    g.SpaceToDepth: _streaming("copy"),
    g.AvgPool: _one_input("pool"),
    g.MaxPool: _max_pool,
    g.MaxUnpool: _max_unpool,
    g.AdaptiveAvgPool: _one_input("pool"),
    g.Resize: _one_input("resize"),
    g.Crop: _cut,
}
"""How each op is priced. Input layers cost nothing and have no rule."""


STACKS = ("pytorch-eager", "tensorrt", "tflite", "onnxruntime", "openvino", "tvm", "cudnn", "none")

VALUE_BYTES: Mapping[str, int] = {"fp32": 4, "fp16": 2, "int8": 1}
"""Bytes of one value of weights and activations, by precision."""


def value_bytes(stack: str, precision: str) -> int:
    """Bytes of one value while a network runs.

    TensorFlow Lite keeps FP16 weights in the file alone and computes in FP32 (its guide to float16 quantization).
    """
    return VALUE_BYTES["fp32" if (stack, precision) == ("tflite", "fp16") else precision]
