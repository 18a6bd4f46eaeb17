"""The system-level figures of the ESPNet paper (section 4.3), as far as a cost model can say them.

Sensitivity to the clock is the gain in frame rate over the gain in clock. Utilisation is the share of a frame in which
the GPU computes and in which the host issues operations. Kernels of one kind and shape are one entry of a profile; a
library's GEMM serves all sizes, so the largest share of convolutions of one kind and window stands beside the paper's.
Alignment is an assumption on eager PyTorch, and is in no predicted latency: where the window is not square, or the
convolution is transposed, input and output are each copied once. Warp efficiency, and which of cuDNN's kernels ran,
cannot be modelled from shapes.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from heapq import nlargest

import numpy as np

from hw_models.analytic.features import DEVICE
from hw_models.analytic.residuals import chip_of
from hw_models.analytic.roofline import kernel_time
from hw_models.cost import KernelCost
from hw_models.cuda_memory import reserved_bytes
from hw_models.device import Device
from hw_models.fusion import fused
from hw_models.kernels import MULTIPLYING, Work, value_bytes
from hw_models.predictors import memory_bytes, predict, predictor
from hw_models.saved_tensors import saved_bytes
from hw_models.sweep import clock_sensitivity
from zoo.graph import BYTES_PER_VALUE, Conv, ConvTranspose, Graph, Layer

TOP = 5

Shares = Mapping[str, float]
"""Shares of the device's time by name."""

NOT_MODELLED = "warp execution efficiency, caches, the library's workspace, and the names of its kernels"

PUBLISHED: Mapping[str, Mapping[str, float]] = {
    "espnet": {"sensitivity": 0.82, "top_kernel_share": 0.38, "alignment_share": 0.042},
    "enet": {"sensitivity": 0.64, "alignment_share": 0.066},
    "erfnet": {"sensitivity": 0.62, "alignment_share": 0.20},
}
"""Of a TX2, by family: sensitivity from 828 to 1134 MHz, from the poster's frame rates (ECCV 2018); shares of the time
of one GEMM kernel and of aligning memory, as the press reported the paper (arXiv:1803.06815, section 4.3)."""

PUBLISHED_FPS: Mapping[tuple[int, int], float] = {(360, 640): 16.0, (432, 768): 10.0}
"""Least frame rates of ESPNet on a TX2 at 1300 MHz, by height and width (GitHub issue sacmehta/ESPNet#47)."""


@dataclass(frozen=True, slots=True)
class TopKernel:
    """Kernels of one kind and shape: their share of the device's time."""

    name: str
    share: float


@dataclass(frozen=True, slots=True)
class SystemFigures:
    """What the paper's section 4.3 says of a network on a device; sensitivity is None at a single clock.

    memory_bytes: weights and live activations. reserved_bytes: what PyTorch's caching allocator takes for them, None
    under other stacks. recorded_bytes: weights and what a run without `torch.no_grad()` keeps, None likewise.
    published: what the paper has of the same name; `min_fps` is a bound.
    """

    device: str
    clock_mhz: float
    sensitivity: float | None
    sensitivity_clocks_mhz: tuple[float, float] | None
    utilisation: Mapping[str, float]
    fps: float
    memory_bytes: int
    reserved_bytes: int | None
    recorded_bytes: int | None
    alignment_share: float | None
    top_kernels: tuple[TopKernel, ...]
    top_kernel_share: float
    published: Mapping[str, float]
    not_modelled: str


def system_figures(
    graph: Graph, device: Device, clock_mhz: float | None = None, batch: int = 1, family: str = ""
) -> SystemFigures:
    """The figures of one network. Raises DeviceError for a clock outside the device's range."""
    prices = predictor(device, clock_mhz, batch)
    terms = prices.terms(graph.layers)
    latency = float(prices.finish(terms).latency_s_mean)
    clocks, eager = _clocks(device), device.stack == "pytorch-eager"
    by_size, by_window = _shares(graph, device, predict(graph, device, clock_mhz, batch).kernels)
    bytes_each = value_bytes(device.stack, device.precision)
    return SystemFigures(
        device=device.name,
        clock_mhz=prices.clock_mhz,
        sensitivity=clock_sensitivity(graph, device, *clocks) if clocks else None,
        sensitivity_clocks_mhz=clocks,
        utilisation={
            "gpu": min(1.0, float(terms[DEVICE]) / latency),
            "host": min(1.0, float(np.asarray(prices.host_seconds(terms))) / latency),
        },
        fps=batch / latency,
        memory_bytes=memory_bytes(graph, device, batch),
        reserved_bytes=reserved_bytes(graph, batch, bytes_each) if eager else None,
        recorded_bytes=_recorded_bytes(graph, batch, bytes_each) if eager else None,
        alignment_share=_alignment_s(graph.layers, device, prices.clock_mhz, batch) / latency if eager else None,
        top_kernels=tuple(TopKernel(name, by_size[name]) for name in nlargest(TOP, by_size, key=by_size.__getitem__)),
        top_kernel_share=max((by_window[name] for name in by_window if name.split()[0] in MULTIPLYING), default=0.0),
        published=_published(graph, family, prices.clock_mhz) if device.name == "tx2" else {},
        not_modelled=NOT_MODELLED,
    )


def _recorded_bytes(graph: Graph, batch: int, value_bytes: int) -> int:
    return graph.weight_bytes * value_bytes // BYTES_PER_VALUE + saved_bytes(graph, batch, value_bytes)


def _published(graph: Graph, family: str, clock_mhz: float) -> Mapping[str, float]:
    """The paper's figures; its sensitivities and shares are of images of 1024x512."""
    size = (graph.input_shape.height, graph.input_shape.width)
    figures = dict(PUBLISHED.get(family, {})) if size == PAPER_SIZE else {}
    if family == "espnet" and size in PUBLISHED_FPS and clock_mhz == FPS_CLOCK_MHZ:
        figures["min_fps"] = PUBLISHED_FPS[size]
    return figures


def _alignment_s(layers: Sequence[Layer], device: Device, clock_mhz: float, batch: int) -> float:
    """Seconds in which inputs and outputs of convolutions that need it are copied."""
    size, total = value_bytes(device.stack, device.precision), 0.0
    for layer in layers:
        if _needs_alignment(layer):
            elements = layer.out_shape.elements + sum(shape.elements for shape in layer.in_shapes)
            copy = Work("copy", 0, 2 * size * elements, 0, 0, 0, 1, 1, elements, 0.0)
            total += kernel_time(copy, device.latency.theta.tolist(), chip_of(device), clock_mhz * 1e6, batch).total_s
    return total


def _needs_alignment(layer: Layer) -> bool:
    if isinstance(layer.op, ConvTranspose):
        return True
    return isinstance(layer.op, Conv) and layer.op.kernel[0] != layer.op.kernel[1]


PAPER_SIZE = (512, 1024)
"""Height and width of the paper's images."""
FPS_CLOCK_MHZ = 1300.0
"""Clock of the frame rates by size."""
PAPER_CLOCKS = (828.0, 1134.0)
"""Clocks between which the paper gives sensitivities, in MHz."""


def _clocks(device: Device) -> tuple[float, float] | None:
    low, high = device.clocks.low_mhz, device.clocks.high_mhz
    if low == high:
        return None
    return PAPER_CLOCKS if low <= PAPER_CLOCKS[0] and PAPER_CLOCKS[1] <= high else (low, high)


def _shares(graph: Graph, device: Device, kernels: tuple[KernelCost, ...]) -> tuple[Shares, Shares]:
    """Shares of the device's time by kind, window and size, and by kind and window alone."""
    by_size, by_window = defaultdict[str, float](float), defaultdict[str, float](float)
    for kernel, cost in zip(fused(graph.layers, device.stack, device.precision), kernels, strict=True):
        window = _window(kernel.layers[0], cost.kind)
        shape = kernel.layers[0].out_shape
        by_size[f"{window} {shape.height}x{shape.width}"] += cost.share
        by_window[window] += cost.share
    return by_size, by_window


def _window(layer: Layer, kind: str) -> str:
    """Kind and window, as `dense 3x3`."""
    taps = getattr(layer.op, "kernel", None)
    return f"{kind} {taps[0]}x{taps[1]}" if taps else kind
