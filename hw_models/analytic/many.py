"""Device times of many kernels at once: `roofline.kernel_time` as arrays, for fits that price kernels often."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from hw_models.analytic.roofline import INDEX, WIDTH, WINOGRAD_CHANNELS, Chip
from hw_models.kernels import Work

Array = NDArray[np.float64]

_SPECIAL = ("pointwise", "dilated", "grouped", "depthwise", "transposed")


@dataclass(frozen=True)
class Kernels:
    """What the times of kernels depend on, one value a kernel: shape (kernels,) each.

    cycles: MACs over the peak's MACs a second, in seconds. moved: bytes. special: index of the parameter that scales
    the kind's time, or -1. launched: smallest kernels' times that a kernel takes beside its work.
    """

    cycles: Array
    moved: Array
    clock_hz: Array
    outputs: Array
    out_channels: Array
    depth: Array
    reach: Array
    special: NDArray[np.int64]
    launched: Array

    @classmethod
    def of(cls, works: Sequence[Work], chip: Chip, clock_hz: float, batch: int) -> "Kernels":
        """Kernels of one network at one clock and batch."""
        column = {name: np.array([getattr(w, name) for w in works], dtype=np.float64) for name in _READ}
        lacks = np.array([bool(w.macs) and w.kind != "depthwise" for w in works])
        reach = np.where([w.winograd for w in works], 1.0, 0.0)
        for side in ("in_channels", "out_channels"):
            reach = reach * column[side] / (column[side] + WINOGRAD_CHANNELS)
        return cls(
            cycles=column["macs"] * batch / (chip.macs_per_cycle * clock_hz),
            moved=column["activation_bytes"] * batch + column["weight_bytes"],
            clock_hz=np.full(len(works), clock_hz),
            outputs=column["outputs"] * batch,
            # A kernel without channels to fill lacks none: infinitely many.
            out_channels=np.where(lacks, column["out_channels"], np.inf),
            depth=np.where(lacks, column["in_channels"] * column["taps"], np.inf),
            reach=reach,
            special=np.array([INDEX[w.kind] if w.kind in _SPECIAL else -1 for w in works]),
            launched=np.array([w.kind != "identity" for w in works]) * chip.rated_hz / clock_hz,
        )

    @classmethod
    def joined(cls, parts: "Sequence[Kernels]") -> "Kernels":
        """The kernels of several networks, one after the other."""
        return cls(**{f.name: np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(cls)})

    def times(self, theta: Array) -> tuple[Array, Array]:
        """Device times in s, shape (kernels,), and their derivatives by the parameters, shape (kernels, WIDTH)."""
        value = {name: float(np.exp(theta[i])) for name, i in INDEX.items()}
        slopes = np.zeros((len(self.moved), WIDTH))
        by_bandwidth, by_cycle = (
            self.moved / value["bandwidth"],
            self.moved / (value["bytes_per_cycle"] * self.clock_hz),
        )
        memory = by_bandwidth + by_cycle
        channels, depth = value["half_out"] / self.out_channels, value["half_depth"] / self.depth
        gain, spread = value["winograd"] * self.reach, value["half_work"] / np.maximum(self.outputs, 1.0)
        filled = 1.0 + channels + depth
        whole = filled / (1.0 + gain) + spread
        scale = np.where(self.special >= 0, np.exp(theta[self.special]), 1.0)
        compute = self.cycles * whole * scale / value["efficiency"]
        busy = np.sqrt(compute**2 + memory**2)
        share = np.divide(compute**2, busy, out=np.zeros_like(busy), where=busy > 0)
        slopes[:, INDEX["efficiency"]] = -share
        slopes[:, INDEX["half_out"]] = share * channels / (1.0 + gain) / whole
        slopes[:, INDEX["half_depth"]] = share * depth / (1.0 + gain) / whole
        slopes[:, INDEX["half_work"]] = share * spread / whole
        slopes[:, INDEX["winograd"]] = -share * filled * gain / (1.0 + gain) ** 2 / whole
        rows = np.flatnonzero(self.special >= 0)
        slopes[rows, self.special[rows]] += share[rows]
        part = np.divide(memory, busy, out=np.zeros_like(busy), where=busy > 0)
        slopes[:, INDEX["bandwidth"]] = -part * by_bandwidth
        slopes[:, INDEX["bytes_per_cycle"]] = -part * by_cycle
        slopes[:, INDEX["floor"]] = value["floor"] * self.launched
        return self.launched * value["floor"] + busy, slopes


_READ = ("macs", "activation_bytes", "weight_bytes", "outputs", "out_channels", "in_channels", "taps")
