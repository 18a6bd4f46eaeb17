"""Types of a prediction: the cost of one network and of its kernels, and the costs of many networks as arrays."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

METRICS = ("latency_s", "power_w", "energy_j")


@dataclass(frozen=True, slots=True)
class Interval:
    """A central estimate and the bounds of its interval, in the unit of what it is of.

    >>> Interval(mean=0.1, low=0.09, high=0.12).high
    0.12
    """

    mean: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class KernelCost:
    """One kernel: what it does, its device time, and its share of the sum of device times.

    intensity is MACs per byte; of_peak and of_bandwidth are the shares of the device's peaks it reaches.
    """

    name: str
    kind: str
    macs: int
    bytes: int
    latency_s: float
    share: float
    provenance: str
    intensity: float
    of_peak: float
    of_bandwidth: float

    @classmethod
    def of(
        cls,
        name: str,
        kind: str,
        *,
        macs: int,
        moved: float,
        seconds: float,
        total_s: float,
        peaks: tuple[float, float],
        provenance: str,
    ) -> "KernelCost":
        """A kernel that takes `seconds` of `total_s`; peaks: MACs and bytes a second."""
        return cls(
            name=name,
            kind=kind,
            macs=macs,
            bytes=round(moved),
            latency_s=seconds,
            share=seconds / total_s if total_s else 0.0,
            provenance=provenance,
            intensity=macs / moved if moved else 0.0,
            of_peak=macs / peaks[0] / seconds if seconds else 0.0,
            of_bandwidth=moved / peaks[1] / seconds if seconds else 0.0,
        )


@dataclass(frozen=True, slots=True)
class Cost:
    """Predicted cost of one frame (of a batch: latency, power and energy are the whole batch's).

    Args:
        device: its name.
        clock_mhz: its clock.
        batch: images at once.
        confidence: of the intervals.
        latency_s: seconds of a batch.
        power_w: watts while it runs.
        energy_j: joules of a batch.
        fps: images a second.
        memory_bytes: weights and the largest sum of live activations.
        provenance: shares of device time by what they rest on; they sum to 1.
        kernels: what runs, in order.
        host_bound: the host's dispatch takes longer than the device.
        dispatches: operations that the host issues.
        readings: the source, by metric, of a published value that was looked up for this very network.
        unread: by metric, the part of the variance of the network's error that no published reading tells of: 0 for
            what was read, 1 far from all.

    >>> from hw_models import predict
    >>> cost = predict("espnet-c", "tx2")
    >>> cost.device, cost.batch, round(sum(kernel.share for kernel in cost.kernels), 6)
    ('tx2', 1, 1.0)
    >>> cost.latency_s.low <= cost.latency_s.mean <= cost.latency_s.high
    True
    """

    device: str
    clock_mhz: float
    batch: int
    confidence: float
    latency_s: Interval
    power_w: Interval
    energy_j: Interval
    fps: float
    memory_bytes: int
    provenance: Mapping[str, float]
    kernels: tuple[KernelCost, ...]
    host_bound: bool
    dispatches: float
    readings: Mapping[str, str]
    unread: Mapping[str, float]

    @property
    def reading_notes(self) -> tuple[str, ...]:
        """What published readings say of this network, a sentence each; none where they say nothing."""
        sources = dict.fromkeys(self.readings.values())
        read = {source: [m for m in self.readings if self.readings[m] == source] for source in sources}
        inherited = [m for m in self.unread if m not in self.readings and self.unread[m] < BARELY_READ]
        return (
            *(f"{' and '.join(map(_word, metrics))} as read in: {source}" for source, metrics in read.items()),
            *(
                f"{_word(m)}: readings of this network at other clocks, or of networks like it, are taken to tell "
                f"{1 - self.unread[m]:.0%} of what the model is off by"
                for m in inherited
            ),
        )


BARELY_READ = 0.9
"""Part of a network's error that is unknown, from which on readings are not worth a sentence."""


def _word(metric: str) -> str:
    return metric.partition("_")[0]


@dataclass(frozen=True)
class CostArrays:
    """Costs of many networks: one array a metric and bound, all of the shape of the terms' rows."""

    latency_s_mean: Array
    latency_s_low: Array
    latency_s_high: Array
    power_w_mean: Array
    power_w_low: Array
    power_w_high: Array
    energy_j_mean: Array
    energy_j_low: Array
    energy_j_high: Array
    fps: Array
