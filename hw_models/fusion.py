"""Which layers a stack runs as one kernel, and the work of that kernel in the bytes of a precision."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from hw_models.kernels import Work, value_bytes, work_of
from zoo import graph as g
from zoo.graph import BYTES_PER_VALUE, Layer


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
