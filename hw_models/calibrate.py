"""Fits the model's parameters: first to a device's tables, then to published whole-network points.

Both are maximum a posteriori with Gaussian errors on logarithms, solved by damped Gauss-Newton steps.
What a table says of one software stack is the prior for another, with a spread that says how far stacks
differ. Points of one network share an error, so that three clocks of one network do not count as three
networks. A fit reports its covariance; how far off it is on a network that it has not seen is measured
by leaving each network out in turn (`hw_models.validate`), never from the fit itself.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from math import exp

import numpy as np
from numpy.typing import NDArray

from hw_models.analytic.features import (
    BUSY,
    BUSY_SLOPE,
    DEVICE,
    DISPATCHES,
    GRADIENT,
    TERMS,
    busy,
    latency_gradient,
    power_gradient,
)
from hw_models.analytic.many import Kernels
from hw_models.analytic.predictor import RAMP
from hw_models.analytic.residuals import RowModel, chip_of
from hw_models.device import Device, Fit
from hw_models.fusion import fused
from hw_models.kernels import Work
from hw_models.least_squares import Array, Model, map_fit
from hw_models.measured import predictor as measured
from hw_models.points import known_graph, usable
from hw_models.predictors import predictor
from hw_models.tables import Point
from zoo.graph import Graph

FAMILY_SHARE = 0.5
"""Share of the variance of a network's error that its family has in common."""

POINT_SD = 0.03
"""Standard deviation of the log error that a clock or a size adds to its network's error."""

POWER_CLOCK_SD = 0.13
"""The same for power.

From 828 to 1134 MHz, the power of ESPNet, ENet and ERFNet on a TX2 grows 2.2, 3.1 and 2.3 times: the logarithms have a
standard deviation of 0.18, and each ratio has two readings.
"""

FOCUS = {"espnet": 0.5}
"""Groups whose network error counts for less: the zoo searches this family, so its own points weigh most."""


@dataclass(frozen=True)
class Loads:
    """Networks at a size, batch and clock each, as the kernels that they run; equal kernels of one are counted once.

    counts: how often a kernel runs. factors: what the device's rows put on its time, both of shape (kernels,).
    starts: where each network's kernels begin.
    """

    kernels: Kernels
    counts: Array
    factors: Array
    dispatches: Array
    starts: NDArray[np.int64]

    def terms(self, theta: Array) -> Array:
        """Those of `Predictor.terms` that the latency depends on, shape (networks, TERMS); the others are zero."""
        times, slopes = self.kernels.times(theta)
        out = np.zeros((len(self.starts), TERMS))
        out[:, DEVICE] = self._total(times * self.factors)
        out[:, DISPATCHES] = self.dispatches
        out[:, GRADIENT] = self._total(slopes * self.factors[:, None])
        return out

    def busy(self, theta: Array, ramp: float) -> tuple[Array, Array]:
        """Busy time of each network and its derivative by the logarithm of `ramp`, in s."""
        times, slopes = busy(self.kernels.times(theta)[0] * self.factors, ramp)
        return self._total(times), self._total(slopes)

    def _total(self, values: Array) -> Array:
        counts = self.counts.reshape(-1, *[1] * (values.ndim - 1))
        return np.asarray(np.add.reduceat(values * counts, self.starts))


@lru_cache(maxsize=256)
def _works(graph: Graph, stack: str, precision: str) -> Mapping[Work, int]:
    # Leaving networks out fits the same graphs many times.
    return Counter(kernel.work for kernel in fused(graph.layers, stack, precision))


def loads_of(points: Sequence[Point], device: Device) -> Loads:
    """The kernels of the points' networks on a device."""
    rows, chip = RowModel(device), chip_of(device)
    parts, counts, factors, dispatches = [], [], [], []
    for p in points:
        numbers = _works(known_graph(p), device.stack, device.precision)
        parts.append(Kernels.of(tuple(numbers), chip, p.clock_mhz * 1e6, p.batch))
        counts.append(np.array(list(numbers.values()), dtype=np.float64))
        factors.append([exp(rows.correction(work, p.batch)[0]) for work in numbers])
        dispatches.append(sum(n * work.dispatches for work, n in numbers.items()))
    starts = np.cumsum([0, *(len(c) for c in counts[:-1])])
    return Loads(Kernels.joined(parts), np.concatenate(counts), np.concatenate(factors), np.array(dispatches), starts)


def error_covariance(points: Sequence[Point], network_sd: float, clock_sd: float = 0.0) -> Array:
    """Covariance of the log errors: a family's error, a network's own, and a reading's on top.

    clock_sd: of the error that the readings of a network at one clock share. Half of the variance of a network's error
    is its family's, and all of it in a family that `FOCUS` names, whose members are alike. Were all of it, the fit
    would take the ratio of two ResNets for known to `POINT_SD` and bend everything else for it.
    """
    weight = np.array([FOCUS.get(p.group, 1.0) for p in points])
    share = np.array([1.0 if p.group in FOCUS else FAMILY_SHARE for p in points])
    group, network, clock = (
        np.array([[key(a) == key(b) for b in points] for a in points], dtype=np.float64)
        for key in (_group, lambda p: (p.group, p.network), lambda p: (p.network, p.clock_mhz))
    )
    shared: Array = (network_sd * weight) ** 2 * (share * group + (1 - share) * network) + clock_sd**2 * clock
    return shared + np.diag([p.relative_sd**2 + POINT_SD**2 for p in points])


def _group(point: Point) -> str:
    return point.group


def calibrate_latency(device: Device, points: Sequence[Point]) -> Fit:
    """Latency parameters from whole-network latencies; the device's own prior where there is none."""
    chosen = usable(points, "latency_s")
    before = device.latency
    if not chosen:
        return replace(before, theta=before.prior, covariance=np.diag(before.prior_sd**2))
    loads, overhead = loads_of(chosen, device), device.value("frame_overhead")

    def model(theta: Array) -> tuple[Array, Array]:
        gradient, time, _ = latency_gradient(loads.terms(theta), theta.tolist(), overhead)
        return np.log(time), gradient / time[:, None]

    return _refit(before, model, np.log([p.value for p in chosen]), chosen)


def _refit(before: Fit, model: Model, observed: Array, points: Sequence[Point], clock_sd: float = 0.0) -> Fit:
    error = error_covariance(points, before.network_sd, clock_sd)
    theta, covariance = map_fit(model, observed, error, before.prior, np.diag(before.prior_sd**2))
    return replace(before, theta=theta, covariance=covariance)


def calibrate_power(device: Device, points: Sequence[Point]) -> Fit:
    """Power parameters from whole-network powers, given the device's latency fit."""
    chosen = usable(points, "power_w")
    before = device.power
    if not chosen:
        return replace(before, theta=before.prior, covariance=np.diag(before.prior_sd**2))
    loads, rows = loads_of(chosen, device), []
    for p in chosen:
        prices = predictor(replace(device, look_up=False), p.clock_mhz, p.batch)
        terms = prices.terms(known_graph(p).layers)
        rows.append((terms, prices.finish(terms).latency_s_mean, p.clock_mhz))

    def model(theta: Array) -> tuple[Array, Array]:
        trial = replace(device, power=replace(before, theta=theta))
        busy_s = np.stack(loads.busy(device.latency.theta, exp(theta[RAMP])), axis=1)
        parts = []
        for (terms, time, clock), now in zip(rows, busy_s, strict=True):
            terms[[BUSY, BUSY_SLOPE]] = now
            parts.append(power_gradient(terms, time, trial, clock))
        dynamic = np.array([d for d, _ in parts])
        return np.log(dynamic), np.array([g for _, g in parts]) / dynamic[:, None]

    observed = np.log([max(p.value - device.idle_power(p.clock_mhz), 0.1 * p.value) for p in chosen])
    return _refit(before, model, observed, chosen, POWER_CLOCK_SD)


def calibrated(device: Device, points: Sequence[Point]) -> Device:
    """The device fitted to these points, latency first; points that are only checks are not used."""
    if measured.is_measured(device):
        return measured.calibrated(device, points)
    timed = replace(device, latency=calibrate_latency(device, points))
    return replace(timed, power=calibrate_power(timed, points))


def without(device: Device, points: Collection[Point]) -> Device:
    """The device as if these points had never been published: neither fitted to nor looked up."""
    remaining = tuple(p for p in device.points if p not in points)
    return calibrated(replace(device, points=remaining), remaining)


def left_out(device: Device, group: str) -> Device:
    """The device without the points of one family."""
    return without(device, [p for p in device.points if p.group == group])


def uncalibrated(device: Device) -> Device:
    """The device as its tables and its numbers have it, before any whole network; none is looked up."""
    return replace(calibrated(device, ()), look_up=False)
