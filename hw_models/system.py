"""The system-level figures of the ESPNet paper (section 4.3), as far as a cost model can say them.

Sensitivity to the clock is the gain in frame rate over the gain in clock. Utilisation is the share of a frame in which
the GPU computes and in which the host issues operations. Kernels of one kind and shape are one entry of a profile.
Warp efficiency, and which of cuDNN's kernels ran, cannot be modelled from shapes.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from hw_models.analytic.features import DEVICE
from hw_models.cost import KernelCost
from hw_models.device import Device
from hw_models.kernels import fused
from hw_models.predictors import memory_bytes, predict, predictor
from hw_models.sweep import clock_sensitivity
from zoo.graph import Graph, Layer

TOP = 5

NOT_MODELLED = "warp execution efficiency, caches, the runtime's allocator, and the names of the library's kernels"

PUBLISHED: Mapping[str, Mapping[str, float]] = {
    "espnet": {"sensitivity": 0.82},
    "enet": {"sensitivity": 0.64},
    "erfnet": {"sensitivity": 0.62},
}
"""Sensitivity from 828 to 1134 MHz on a TX2, by family, from the poster's frame rates (ECCV 2018)."""


@dataclass(frozen=True, slots=True)
class TopKernel:
    """Kernels of one kind and shape: their share of the device's time."""

    name: str
    share: float


@dataclass(frozen=True, slots=True)
class SystemFigures:
    """What the paper's section 4.3 says of a network on a device; sensitivity is None at a single clock."""

    device: str
    clock_mhz: float
    sensitivity: float | None
    sensitivity_clocks_mhz: tuple[float, float] | None
    utilisation: Mapping[str, float]
    memory_bytes: int
    top_kernels: tuple[TopKernel, ...]
    published: Mapping[str, float]
    not_modelled: str


def system_figures(
    graph: Graph, device: Device, clock_mhz: float | None = None, batch: int = 1, family: str = ""
) -> SystemFigures:
    """The figures of one network. Raises DeviceError for a clock outside the device's range."""
    prices = predictor(device, clock_mhz, batch)
    terms = prices.terms(graph.layers)
    latency = float(prices.finish(terms).latency_s_mean)
    clocks = _clocks(device)
    return SystemFigures(
        device=device.name,
        clock_mhz=prices.clock_mhz,
        sensitivity=clock_sensitivity(graph, device, *clocks) if clocks else None,
        sensitivity_clocks_mhz=clocks,
        utilisation={
            "gpu": min(1.0, float(terms[DEVICE]) / latency),
            "host": min(1.0, float(np.asarray(prices.host_seconds(terms))) / latency),
        },
        memory_bytes=memory_bytes(graph, device, batch),
        top_kernels=_top(graph, device, predict(graph, device, clock_mhz, batch).kernels),
        published=PUBLISHED.get(family, {}) if device.name == "tx2" else {},
        not_modelled=NOT_MODELLED,
    )


PAPER_CLOCKS = (828.0, 1134.0)
"""Clocks between which the paper gives sensitivities, in MHz."""


def _clocks(device: Device) -> tuple[float, float] | None:
    low, high = device.clocks.low_mhz, device.clocks.high_mhz
    if low == high:
        return None
    return PAPER_CLOCKS if low <= PAPER_CLOCKS[0] and PAPER_CLOCKS[1] <= high else (low, high)


def _top(graph: Graph, device: Device, kernels: tuple[KernelCost, ...]) -> tuple[TopKernel, ...]:
    shares: Counter[str] = Counter()
    for kernel, cost in zip(fused(graph.layers, device.stack, device.precision), kernels, strict=True):
        shares[_label(kernel.layers[0], cost.kind)] += cost.share  # type: ignore[assignment]  # floats count as well
    return tuple(TopKernel(name, share) for name, share in shares.most_common(TOP))


def _label(layer: Layer, kind: str) -> str:
    """Kind, kernel and size, as `dense 3x3 128x256`."""
    taps = getattr(layer.op, "kernel", None)
    window = f" {taps[0]}x{taps[1]}" if taps else ""
    return f"{kind}{window} {layer.out_shape.height}x{layer.out_shape.width}"
