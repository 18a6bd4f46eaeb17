"""What a forward pass keeps for the backward pass in eager PyTorch: the memory of a run without `torch.no_grad()`.

Autograd keeps what the derivatives read (`tools/autograd/derivatives.yaml` in pytorch/pytorch): of a convolution, a
BatchNorm, a PReLU or a pooling the input, of ReLU and sigmoid the result, of a product both factors; a sum, a
concatenation and a resizing keep nothing. An operation on the image alone has no derivative and keeps nothing.
"""

from collections.abc import Iterator

from hw_models.kernels import INDEX_BYTES
from zoo.graph import BYTES_PER_VALUE, Graph, Layer
from zoo.ops import (
    ELU,
    AdaptiveAvgPool,
    AvgPool,
    BatchNorm,
    Conv,
    ConvTranspose,
    Crop,
    Dropout,
    HardSigmoid,
    HardSwish,
    Linear,
    Maximum,
    MaxPool,
    Multiply,
    PReLU,
    ReLU,
    ReLU6,
    Scale,
    Sigmoid,
    SiLU,
    SliceChannels,
)

READS_INPUTS = (
    Conv,
    ConvTranspose,
    Linear,
    BatchNorm,
    PReLU,
    Scale,
    ELU,
    ReLU6,
    HardSigmoid,
    HardSwish,
    SiLU,
    Maximum,
    Multiply,
    AvgPool,
    AdaptiveAvgPool,
    MaxPool,
)
READS_RESULT = (ReLU, Sigmoid)
"""Operations whose derivatives read their inputs, or their result."""
VIEWS = (Crop, Dropout, SliceChannels)
"""Operations whose result is a view of their input, whose memory it keeps whole; dropout passes its input on."""


def saved_bytes(graph: Graph, batch: int = 1, value_bytes: int = BYTES_PER_VALUE) -> int:
    """Bytes of activations that are alive at the end of a forward pass that records gradients; parameters apart.

    Example:
        >>> import zoo
        >>> from zoo.registry import lower
        >>> graph = lower(zoo.spec("espnet"), (512, 1024))
        >>> saved_bytes(graph) // 2**20, graph.peak_activation_bytes // 2**20
        (395, 50)
    """
    sizes = {layer.name: layer.out_shape.elements for layer in graph.layers}
    differentiable = set[str]()
    saved, positions = set[str](), 0
    holder: dict[str, str] = {}
    for layer in graph.layers:
        holder[layer.name] = holder[layer.inputs[0]] if isinstance(layer.op, VIEWS) else layer.name
        if not layer.params and differentiable.isdisjoint(layer.inputs):
            continue
        differentiable.add(layer.name)
        saved.update(_saved(layer))
        if isinstance(layer.op, MaxPool):
            positions += layer.out_shape.elements
    return batch * (
        value_bytes * sum(sizes[name] for name in {holder[name] for name in saved}) + INDEX_BYTES * positions
    )


def _saved(layer: Layer) -> Iterator[str]:
    mean = (
        isinstance(layer.op, AdaptiveAvgPool) and layer.out_shape.height * layer.out_shape.width == 1
    )  # its derivative reads a size only
    if isinstance(layer.op, READS_INPUTS) and not mean:
        yield from layer.inputs
    if isinstance(layer.op, READS_RESULT):
        yield layer.name
