"""Costs along one axis: clock, image size or batch; sensitivity to the clock."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from hw_models.device import Device, DeviceError
from hw_models.predictors import Cost, predict
from zoo.errors import SpecError
from zoo.graph import Graph

Lower = Callable[[tuple[int, int]], Graph]
"""Image size as (height, width) -> graph."""

AXES = ("clock", "size", "batch")
BATCHES = (1, 2, 4, 8, 16, 32)
SIZES = ((128, 256), (192, 384), (256, 512), (360, 640), (384, 768), (512, 1024), (720, 1280), (1024, 2048))
CLOCK_STEPS = 9


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a sweep: where on the axis, and the cost there."""

    at: str
    value: float
    cost: Cost


def sweep(
    axis: str,
    lower: Lower,
    device: Device,
    size: tuple[int, int],
    clock_mhz: float | None,
    batch: int,
    confidence: float,
) -> tuple[Step, ...]:
    """Costs along an axis. Raises DeviceError for an unknown axis, and where there is nothing to sweep."""
    steps: Mapping[str, Callable[[], tuple[Step, ...]]] = {
        "clock": lambda: _clocks(lower(size), device, batch, confidence),
        "size": lambda: _sizes(lower, device, clock_mhz, batch, confidence),
        "batch": lambda: _batches(lower(size), device, clock_mhz, confidence),
    }
    if axis not in steps:
        raise DeviceError(f"sweep must be one of {', '.join(AXES)}, but is {axis!r}")
    return steps[axis]()


def _clocks(graph: Graph, device: Device, batch: int, confidence: float) -> tuple[Step, ...]:
    low, high = device.clocks.low_mhz, device.clocks.high_mhz
    if low == high:
        raise DeviceError(f"device {device.name} is described at one clock, {low:g} MHz; there is nothing to sweep")
    mode_clocks = {mhz for mhz in device.clocks.modes.values() if low <= mhz <= high}
    clocks = sorted(mode_clocks | {float(mhz) for mhz in np.linspace(low, high, CLOCK_STEPS).round()})
    return tuple(Step(f"{mhz:g} MHz", mhz, predict(graph, device, mhz, batch, confidence)) for mhz in clocks)


def _sizes(lower: Lower, device: Device, clock_mhz: float | None, batch: int, confidence: float) -> tuple[Step, ...]:
    steps = []
    for height, width in SIZES:
        try:
            graph = lower((height, width))
        except SpecError:
            continue  # a network's own grid need not hold every size of the list
        cost = predict(graph, device, clock_mhz, batch, confidence)
        steps.append(Step(f"{width}x{height}", float(width * height), cost))
    return tuple(steps)


def _batches(graph: Graph, device: Device, clock_mhz: float | None, confidence: float) -> tuple[Step, ...]:
    return tuple(Step(f"batch {n}", float(n), predict(graph, device, clock_mhz, n, confidence)) for n in BATCHES)


def clock_sensitivity(graph: Graph, device: Device, low_mhz: float, high_mhz: float) -> float:
    """`sensitivity` of a network's frame rate between two clocks of a device."""
    slow, fast = (predict(graph, device, mhz).fps for mhz in (low_mhz, high_mhz))
    return sensitivity(slow, fast, low_mhz, high_mhz)


def sensitivity(slow_fps: float, fast_fps: float, low_mhz: float, high_mhz: float) -> float:
    """Relative gain in frame rate over relative gain in clock, as the ESPNet paper defines it (section 4.4).

    1 where the frame rate follows the clock, 0 where it does not feel it.

    >>> sensitivity(6.0, 9.0, 800, 1200)
    1.0
    """
    return ((fast_fps - slow_fps) / slow_fps) / ((high_mhz - low_mhz) / low_mhz)
