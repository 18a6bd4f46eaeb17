"""Published readings of a device beside its fit, as `hw_models.analytic.readings` needs them."""

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from hw_models.analytic.features import latency_gradient, power_gradient
from hw_models.analytic.readings import REPEATED_SD, Array, Reading, Readings, clock_share
from hw_models.device import Device
from hw_models.points import known_graph, usable
from hw_models.tables import Point

if TYPE_CHECKING:
    from hw_models.analytic.predictor import Predictor

Maker = Callable[[Device, float, int], "Predictor"]

SAME_CLOCK_MHZ = 0.5
"""Clocks that differ by less are one."""


class FittedReading(NamedTuple):
    """A published reading beside the fit, with the fields that `Reading` has."""

    point: Point
    residual: float
    slopes: Array
    amplitude: float
    noise: float
    sd: float


def readings_of(prices: "Predictor", metric: str) -> Readings:
    """The readings of a metric that calibrate the predictor's device, seen from its clock and batch."""
    device = prices.device
    if not device.look_up:
        return Readings((), prices.clock_mhz, 0.0)
    make: Maker = type(prices)
    readings = tuple(_seen_from(prices, make, fitted) for fitted in _fitted_readings(make, device, metric))
    network_sd = (device.latency if metric == "latency_s" else device.power).network_sd
    return Readings(readings, prices.clock_mhz, clock_share(readings, metric, network_sd))


def _seen_from(prices: "Predictor", make: Maker, fitted: FittedReading) -> Reading:
    point, clock = fitted.point, prices.clock_mhz
    same_batch = point.batch == prices.batch
    predictor = prices if same_batch else _bare(make, prices.device, clock, point.batch)
    return Reading(
        terms=predictor.terms(known_graph(point).layers),
        same_setting=same_batch and abs(point.clock_mhz - clock) < SAME_CLOCK_MHZ,
        clock_mhz=point.clock_mhz,
        residual=fitted.residual,
        slopes=fitted.slopes,
        amplitude=fitted.amplitude,
        noise=fitted.noise,
        value=point.value,
        sd=fitted.sd,
        source=point.source,
    )


@lru_cache(maxsize=64)
def _bare(make: "Maker", device: Device, clock_mhz: float, batch: int) -> "Predictor":
    """The model of a device alone."""
    return make(_model_alone(device), clock_mhz, batch)


@lru_cache(maxsize=64)
def _model_alone(device: Device) -> Device:
    """The device without its readings: one object for all clocks, so that its rows are fitted once."""
    return replace(device, look_up=False)


@lru_cache(maxsize=64)
def _fitted_readings(make: "Maker", device: Device, metric: str) -> tuple[FittedReading, ...]:
    return tuple(_fitted(_bare(make, device, p.clock_mhz, p.batch), p) for p in usable(device.points, metric))


def _fitted(prices: "Predictor", point: Point) -> FittedReading:
    device, terms = prices.device, prices.terms(known_graph(point).layers)
    sd = float(np.hypot(point.relative_sd, REPEATED_SD[point.metric]))
    if point.metric == "latency_s":
        gradient, modelled, variance = latency_gradient(terms, prices.theta, device.value("frame_overhead"))
        amplitude, value = np.sqrt(variance / modelled**2 + device.latency.network_sd**2), point.value
    else:
        modelled, gradient = power_gradient(terms, prices.modelled(terms), device, point.clock_mhz)
        amplitude = np.asarray(device.power.network_sd)
        value = max(point.value - device.idle_power(point.clock_mhz), 0.1 * point.value)
    residual, noise = float(np.log(value / modelled)), sd * point.value / value
    return FittedReading(point, residual, gradient / modelled, float(amplitude), noise, sd)
