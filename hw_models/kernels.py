"""Work of a layer on a device: multiply-accumulates, bytes moved, launches.

A kernel is priced from a `Work`, which holds everything that its time depends on and nothing of the
device. All numbers are for one image; a batch multiplies everything but the weights.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Any, NamedTuple

from zoo import graph as g
from zoo.errors import ZooError
from zoo.graph import BYTES_PER_VALUE, Layer, Op, Shape

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


class Fused(NamedTuple):
    """A kernel and the layers that it runs in one go."""

    layers: tuple[Layer, ...]
    work: Work


class Fusion(NamedTuple):
    """What an inference engine runs in one go, beside a BatchNorm that it folds into a convolution.

    activations: ops that a convolution, or another element-wise op, applies before it writes. adds: whether a
    convolution adds a second tensor as well. chains: whether element-wise ops in a row are one kernel.
    exp_passes: passes over memory that take as long as the exponential of a sigmoid or a SiLU.
    """

    activations: tuple[type, ...]
    adds: bool
    chains: bool
    exp_passes: float = 1.0


ANY_ACTIVATION = (g.PReLU, g.ReLU, g.ELU, g.Sigmoid, g.ReLU6, g.HardSigmoid, g.HardSwish, g.SiLU)

FUSION: Mapping[str, Fusion] = {
    # NVIDIA TensorRT Developer Guide, "Types of Fusions": Convolution and ReLU or Clip, and the add of a residual;
    # pointwise layers in a row, to which PReLU does not belong.
    "tensorrt": Fusion((g.ReLU, g.ReLU6), adds=True, chains=True),
    # TensorFlow Lite folds ReLU and ReLU6 into the op before ("fused_activation_function" of its schema).
    "tflite": Fusion((g.ReLU, g.ReLU6), adds=False, chains=False, exp_passes=8.0),
    "onnxruntime": Fusion(ANY_ACTIVATION, adds=False, chains=False),
    "openvino": Fusion(ANY_ACTIVATION, adds=False, chains=False),
    "tvm": Fusion(ANY_ACTIVATION, adds=False, chains=False),
}
"""Stacks that fuse, and what. PyTorch's eager mode fuses nothing."""

FUSING = frozenset(FUSION)
"""Stacks that fuse."""

FOLDING = (g.Conv, g.ConvTranspose, g.Linear)
"""Ops that a following BatchNorm folds into."""

STACKS = ("pytorch-eager", "tensorrt", "tflite", "onnxruntime", "openvino", "tvm", "cudnn", "none")

VALUE_BYTES: Mapping[str, int] = {"fp32": 4, "fp16": 2, "int8": 1}
"""Bytes of one value of weights and activations, by precision."""


def value_bytes(stack: str, precision: str) -> int:
    """Bytes of one value while a network runs.

    TensorFlow Lite keeps FP16 weights in the file alone and computes in FP32 (its guide to float16 quantization).
    """
    return VALUE_BYTES["fp32" if (stack, precision) == ("tflite", "fp16") else precision]


def fused(layers: Sequence[Layer], stack: str, precision: str = "fp32") -> list[Fused]:
    """Kernels as the stack runs them, with the bytes of the precision.

    An op joins the kernel that made its first input where nothing else reads that value and the stack's
    `FUSION` allows it; `layers` must then be whole blocks, because no fusion crosses their end.
    """
    fusion, size = FUSION.get(stack), value_bytes(stack, precision)
    if fusion is None:
        return [Fused((x,), _scaled(_work(x), size)) for x in layers if not isinstance(x.op, g.Input)]
    kernels: list[Fused] = []
    made_by: dict[str, int] = {}
    readers = Counter(name for layer in layers for name in layer.inputs)
    for layer in layers:
        if isinstance(layer.op, g.Input):
            continue
        at = next((made_by[n] for n in layer.inputs if readers[n] == 1 and n in made_by), None)
        if isinstance(layer.op, g.Dropout):
            made_by |= {layer.name: made_by[layer.inputs[0]]} if layer.inputs[0] in made_by else {}
            continue
        if at is not None and _joins(layer, kernels[at], fusion):
            kernels[at] = Fused((*kernels[at].layers, layer), _merged(kernels[at].work, layer, size))
            made_by[layer.name] = at
            continue
        made_by[layer.name] = len(kernels)
        kernels.append(Fused((layer,), _scaled(_engine_work(layer, fusion), size)))
    return kernels


def _work(layer: Layer) -> Work:
    return work_of(layer.op, layer.in_shapes, layer.out_shape, layer.name)


def _scaled(work: Work, size: int) -> Work:
    """The work where a value has `size` bytes."""
    if size == BYTES_PER_VALUE:
        return work
    return work._replace(
        activation_bytes=work.activation_bytes * size // BYTES_PER_VALUE,
        weight_bytes=work.weight_bytes * size // BYTES_PER_VALUE,
    )


def _engine_work(layer: Layer, fusion: Fusion) -> Work:
    """Work of a layer that begins a kernel: a bias is added in passing, an exponential takes its time."""
    work = _work(layer)
    if isinstance(layer.op, g.Conv | g.ConvTranspose) and layer.op.bias:
        return work._replace(activation_bytes=work.activation_bytes - 2 * layer.out_shape.bytes)
    if isinstance(layer.op, g.Sigmoid | g.SiLU | g.ELU):
        return work._replace(activation_bytes=round(work.activation_bytes * fusion.exp_passes))
    return work


_ELEMENT_WISE = frozenset({"normalisation", "activation", "add"})


def _joins(layer: Layer, kernel: Fused, fusion: Fusion) -> bool:
    """Whether a stack runs this layer in the kernel that made one of its inputs."""
    head, tail = kernel.layers[0].op, kernel.layers[-1].op
    if isinstance(layer.op, g.BatchNorm) and isinstance(tail, FOLDING):
        return True
    if isinstance(layer.op, fusion.activations):
        return isinstance(tail, (*FOLDING, g.BatchNorm, g.Add))
    if isinstance(head, FOLDING):
        return fusion.adds and isinstance(layer.op, g.Add) and isinstance(tail, (g.Conv, g.BatchNorm))
    if not fusion.chains or isinstance(layer.op, g.PReLU) or isinstance(tail, g.PReLU):
        return False
    return kernel.work.kind in _ELEMENT_WISE and _work(layer).kind in _ELEMENT_WISE


def _merged(first: Work, layer: Layer, size: int) -> Work:
    # The value between the two stays in registers: only parameters and other inputs are read on top.
    other_inputs = sum(shape.bytes for shape in layer.in_shapes[1:])
    extra = _scaled(_work(layer)._replace(activation_bytes=other_inputs), size)
    return first._replace(
        weight_bytes=first.weight_bytes + extra.weight_bytes,
        activation_bytes=first.activation_bytes + extra.activation_bytes,
    )
