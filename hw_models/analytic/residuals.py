"""Corrections from a device's measured rows: looked up for the same shape, else faded with the distance to the rows.

A row of the device's own stack that matches a kernel exactly replaces the model. Otherwise the model's
error on the rows nearby is interpolated (a Gaussian process over the logarithms of the shape), and what
the interpolation leaves is the kernel's own error: small beside a row, the kind's full error far away.
"""

from dataclasses import dataclass
from functools import cached_property, lru_cache
from math import exp, log
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hw_models.analytic.roofline import Chip, Timing, kernel_time
from hw_models.device import Device
from hw_models.kernels import Work, work_of
from hw_models.tables import PROVENANCES, KernelRow
from zoo.gp import Posterior, squared_exponential
from zoo.graph import Layer, ReLU

Array = NDArray[np.float64]

LENGTH = 1.5
"""Distance, in natural logarithms of channels, taps and pixels, over which errors stay alike."""
NOISE = 0.10
"""Standard deviation of the log error that repeats on no neighbour."""


class Evidence(NamedTuple):
    """What the price of a kernel rests on, and the standard deviation of its log error."""

    sd: float
    provenance: str


@dataclass(frozen=True)
class _Neighbours:
    """Rows of one kind: positions, and what their errors teach, in units of `signal`, the kind's own error."""

    positions: Array
    posterior: Posterior
    signal: float
    provenance: str


class RowModel:
    """The rows of one device, ready for look-up."""

    def __init__(self, device: Device) -> None:
        self.device = device
        self._corrections: dict[tuple[Work, int], tuple[float, Evidence]] = {}

    def apply(self, timing: Timing, work: Work, layer: Layer, clock_mhz: float, batch: int) -> tuple[Timing, Evidence]:
        """The timing corrected by the rows, and what it rests on."""
        exact = self._exact.get((layer.op, layer.in_shapes[0], batch, clock_mhz))
        if exact is not None:
            return _scaled(timing, exact.latency_s / timing.total_s), Evidence(_row_sd(exact), exact.provenance)
        shift, evidence = self.correction(work, batch)
        return _scaled(timing, exp(shift)), evidence

    def correction(self, work: Work, batch: int) -> tuple[float, Evidence]:
        """Logarithm of the factor that the rows nearby put on the model's time, and what is left; of no clock."""
        if (work, batch) not in self._corrections:
            self._corrections[work, batch] = self._correction(work, batch)
        return self._corrections[work, batch]

    def _correction(self, work: Work, batch: int) -> tuple[float, Evidence]:
        default = Evidence(self.device.kernel_sd[work.kind], self.device.rests_on[work.kind])
        near = self._neighbours.get(work.kind)
        if near is None:
            return 0.0, default
        correlation = squared_exponential(position(work, batch)[None, :], near.positions, LENGTH)
        left = float(near.posterior.variance(correlation, 1.0)[0])
        sd = (near.signal**2 * left + NOISE**2) ** 0.5
        beside = left < 0.25 and default.provenance == "modelled"
        shift = near.signal * float(near.posterior.mean(correlation)[0])
        return shift, Evidence(sd, near.provenance if beside else default.provenance)

    @cached_property
    def _exact(self) -> dict[tuple[object, ...], KernelRow]:
        return {
            (row.layer_op, row.in_shape, row.batch, row.clock_mhz): row
            for row in self.device.rows
            if row.op != "conv+bias+relu" and row.stack == self.device.stack
        }

    @cached_property
    def _neighbours(self) -> dict[str, _Neighbours]:
        by_kind: dict[str, list[tuple[KernelRow, Work]]] = {}
        for row in self.device.rows:
            work = row_work(row)
            by_kind.setdefault(work.kind, []).append((row, work))
        return {kind: self._fit(kind, rows) for kind, rows in by_kind.items()}

    def _fit(self, kind: str, rows: list[tuple[KernelRow, Work]]) -> _Neighbours:
        positions = np.array([position(work, row.batch) for row, work in rows])
        signal = self.device.kernel_sd[kind]
        errors = np.array([log(row.latency_s / row_time(row, self.device)) for row, _ in rows])
        # Rows of all stacks are pooled as they are: an offset for each stack took the mean left-out error of latency on
        # the TX2, the one device with rows of two, from 8 to 28 percent.
        covariance = squared_exponential(positions, positions, LENGTH) + (NOISE / signal) ** 2 * np.eye(len(rows))
        worst = max((row.provenance for row, _ in rows), key=PROVENANCES.index)
        return _Neighbours(positions, Posterior(covariance, errors / signal), signal, worst)


@lru_cache(maxsize=64)
def row_model(device: Device) -> RowModel:
    """The rows of a device, fitted once for its predictors at all clocks and batches."""
    return RowModel(device)


def position(work: Work, batch: int) -> Array:
    """Where a kernel lies: logarithms of channels in and out, taps, output pixels."""
    return np.array(
        [
            log(max(work.in_channels, 1)),
            log(max(work.out_channels, 1)),
            log(work.taps),
            log(max(work.outputs * batch, 1)),
        ]
    )


def _scaled(timing: Timing, factor: float) -> Timing:
    factor = float(factor)
    return timing._replace(total_s=timing.total_s * factor, gradient=[g * factor for g in timing.gradient])


def _row_sd(row: KernelRow) -> float:
    # The 90 % interval of a log-normal is 2 * 1.645 standard deviations wide.
    return max(log(row.latency_high_s / row.latency_low_s) / 3.29, 0.01)


def row_work(row: KernelRow) -> Work:
    """The work of a row's op."""
    op = row.layer_op
    return work_of(op, (row.in_shape,), op.shape(row.in_shape))


def chip_of(device: Device) -> Chip:
    """The peak of a device, and its default clock."""
    return Chip(device.value("macs_per_cycle"), device.clocks.default_mhz * 1e6)


def row_time(row: KernelRow, device: Device) -> float:
    """The table model's time for a row, in seconds: the convolution and what was timed with it."""
    chip, clock_hz = chip_of(device), row.clock_mhz * 1e6
    out = row.layer_op.shape(row.in_shape)
    works = [row_work(row)]
    if row.op == "conv+bias+relu":
        works.append(work_of(ReLU(), (out,), out))
    return sum(kernel_time(work, device.table_theta, chip, clock_hz, row.batch).total_s for work in works)
