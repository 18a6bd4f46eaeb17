"""How much memory work will take, and the refusal of what does not fit, before it begins."""

from zoo.errors import ZooError
from zoo.graph import Graph
from zoo.reading import read_proc

UNKNOWN_BYTES = 2**32
"""Free memory that is assumed where the system does not say."""

SLACK = 1.5
"""Memory that a runtime takes for each byte of live tensors, with its convolutions' scratch space."""


def free_bytes() -> int:
    """Memory that the system has free, in bytes."""
    lines = read_proc("/proc/meminfo").splitlines()
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable")), UNKNOWN_BYTES)


def inference_bytes(graph: Graph, batch: int = 1) -> int:
    """Memory of a forward pass: the weights, and the largest set of activations alive at once."""
    return int(graph.weight_bytes + SLACK * batch * graph.peak_activation_bytes)


def training_bytes(graph: Graph, batch: int) -> int:
    """Least memory of a training step: layers' outputs are kept for the backward pass, weights five times.

    Outputs count as bfloat16, as which they are kept under automatic mixed precision.
    """
    outputs = sum(2 * layer.out_shape.elements for layer in graph.layers)
    return 5 * graph.weight_bytes + batch * outputs


def refuse_beyond(needed: int, subject: str, way_out: str) -> None:
    """Raise ZooError where `needed` bytes are more than the system has free."""
    free = free_bytes()
    if needed > free:
        raise ZooError(
            f"{subject} needs about {needed / 1e9:,.1f} GB of memory and {free / 1e9:,.1f} GB are free; {way_out}"
        )
