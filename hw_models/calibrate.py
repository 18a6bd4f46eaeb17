"""Fits the model's parameters: first to a device's tables, then to published whole-network points.

Both are maximum a posteriori with Gaussian errors on logarithms, solved by damped Gauss-Newton steps.
What a table says of one software stack is the prior for another, with a spread that says how far stacks
differ. Points of one network share an error, so that three clocks of one network do not count as three
networks. A fit reports its covariance; how far off it is on a network that it has not seen is measured
by leaving each network out in turn (`hw_models.validate`), never from the fit itself.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import exp

import numpy as np

from hw_models.analytic.features import DEVICE, DISPATCHES, GRADIENT, TERMS, latency_gradient, power_gradient
from hw_models.analytic.residuals import RowModel
from hw_models.analytic.roofline import kernel_time
from hw_models.device import Device, Fit
from hw_models.kernels import Work, fused
from hw_models.least_squares import Array, Model, map_fit
from hw_models.measured import predictor as measured
from hw_models.points import known_graph, usable
from hw_models.predictors import predictor
from hw_models.tables import Point
from zoo.graph import Graph

POINT_SD = 0.03
"""Standard deviation of the log error that a clock or a size adds to its network's error."""

FOCUS = {"espnet": 0.5}
"""Groups whose network error counts for less: the zoo searches this family, so its own points weigh most."""


@dataclass(frozen=True)
class Load:
    """A network at one size, batch and clock, as the kernels that it runs and how often."""

    kernels: tuple[tuple[Work, int, float], ...]
    clock_hz: float
    batch: int

    def terms(self, theta: Array, macs_per_cycle: float) -> Array:
        """Those of `Predictor.terms` that the latency depends on; the others are zero."""
        out = np.zeros(TERMS)
        values = theta.tolist()
        for work, count, factor in self.kernels:
            timing = kernel_time(work, values, macs_per_cycle, self.clock_hz, self.batch)
            out[DEVICE] += count * factor * timing.total_s
            out[DISPATCHES] += count * work.dispatches
            out[GRADIENT] += count * factor * np.array(timing.gradient)
        return out


def load_of(graph: Graph, device: Device, clock_mhz: float, batch: int) -> Load:
    """The kernels of a graph on a device, equal ones counted once."""
    counts = Counter(kernel.work for kernel in fused(graph.layers, device.stack))
    rows = RowModel(device)
    kernels = tuple((work, n, exp(rows.correction(work, batch)[0])) for work, n in counts.items())
    return Load(kernels, clock_mhz * 1e6, batch)


def error_covariance(groups: Sequence[str], reading_sd: Array, network_sd: float) -> Array:
    """Points of one network share the network's error; each has its own and its reading error on top."""
    same = np.array([[FOCUS.get(a, 1.0) ** 2 * (a == b) for b in groups] for a in groups])
    return network_sd**2 * same + np.diag(reading_sd**2 + POINT_SD**2)


def calibrate_latency(device: Device, points: Sequence[Point]) -> Fit:
    """Latency parameters from whole-network latencies; the device's own prior where there is none."""
    chosen = usable(points, "latency_s")
    before = device.latency
    if not chosen:
        return replace(before, theta=before.prior, covariance=np.diag(before.prior_sd**2))
    loads = [load_of(known_graph(p), device, p.clock_mhz, p.batch) for p in chosen]
    peak, overhead = device.value("macs_per_cycle"), device.value("frame_overhead")

    def model(theta: Array) -> tuple[Array, Array]:
        terms = np.array([load.terms(theta, peak) for load in loads])
        gradient, time, _ = latency_gradient(terms, theta.tolist(), overhead)
        return np.log(time), gradient / time[:, None]

    return _refit(before, model, np.log([p.value for p in chosen]), chosen)


def _refit(before: Fit, model: Model, observed: Array, points: Sequence[Point]) -> Fit:
    reading = np.array([p.relative_sd for p in points])
    error = error_covariance([p.group for p in points], reading, before.network_sd)
    theta, covariance = map_fit(model, observed, error, before.prior, np.diag(before.prior_sd**2))
    return replace(before, theta=theta, covariance=covariance)


def calibrate_power(device: Device, points: Sequence[Point]) -> Fit:
    """Power parameters from whole-network powers, given the device's latency fit."""
    chosen = usable(points, "power_w")
    before = device.power
    if not chosen:
        return replace(before, theta=before.prior, covariance=np.diag(before.prior_sd**2))
    rows = []
    for p in chosen:
        prices = predictor(device, p.clock_mhz, p.batch)
        terms = prices.terms(known_graph(p).layers)
        rows.append((terms, prices.finish(terms).latency_s_mean, p.clock_mhz))
    idle = device.value("idle_power")

    def model(theta: Array) -> tuple[Array, Array]:
        trial = replace(device, power=replace(before, theta=theta))
        parts = [power_gradient(terms, time, trial, clock) for terms, time, clock in rows]
        dynamic = np.array([d for d, _ in parts])
        return np.log(dynamic), np.array([g for _, g in parts]) / dynamic[:, None]

    observed = np.log([max(p.value - idle, 0.1 * p.value) for p in chosen])
    return _refit(before, model, observed, chosen)


def calibrated(device: Device, points: Sequence[Point]) -> Device:
    """The device fitted to these points, latency first; points that are only checks are not used."""
    if measured.is_measured(device):
        return measured.calibrated(device, points)
    timed = replace(device, latency=calibrate_latency(device, points))
    return replace(timed, power=calibrate_power(timed, points))


def left_out(device: Device, group: str) -> Device:
    """The device calibrated without the points of one network."""
    return calibrated(device, [p for p in device.points if p.group != group])
