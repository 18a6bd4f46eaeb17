"""One machine beside the published device: what the user measured, and what follows for other networks.

    log T = scale + log T_published(theta + shift) + e,    e ~ N(0, network_sd²) for each network

The published parameters are the prior: `shift` has their covariance, widened for what differs between machines
with the same chip: the host's dispatch and the memory. `scale` is all but free. The fit is maximum a posteriori
with the user's points alone; published points enter by the prior.

network_sd is what the user's networks show when each is predicted from the others (leave-one-out). Up to ENOUGH
networks, the published device's claim stands in for those that are missing. Intervals are Student's t.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hw_models.analytic.features import BUSY, BUSY_SLOPE, DEVICE, GRADIENT, RESTS, VARIANCE, latency_gradient
from hw_models.analytic.roofline import INDEX, PARAMETERS
from hw_models.device import Device
from hw_models.least_squares import map_fit
from hw_models.measured.predictor import is_measured
from hw_models.schema import MachineFit
from zoo.statistics import t_quantile

Array = NDArray[np.float64]

SCALE_SD = 1.5
"""Prior standard deviation of the log scale of the latency: a factor of 4.5 either way."""
POWER_SD = 0.7
"""The same of the dynamic power: a factor of two."""
MACHINE_SD = {"dispatch": 0.4, "bandwidth": 0.3}
"""Prior standard deviations of what differs between hosts and memories of one chip, as logarithms."""
READING_SD = 0.005
"""Least log error of one measurement."""
LEAST_SD = 0.02
"""Least log error that is claimed for a network that was not measured."""
ENOUGH = 4
"""Networks from which their own left-out errors alone tell the error of another."""
OWN_SHARE = 0.2
"""Part of the published error's variance that is taken for the networks' own; the rest is the machine's.

With it, one measured network narrows the interval of another although its own error is then in the scale.
"""
ROUNDS = 5
"""Repetitions after which the networks' own error no longer changes."""


class LatencyModel:
    """Log latency of a device under parameters (scale, *shift), from terms of the published device."""

    def __init__(self, device: Device) -> None:
        self.device = device
        self.blocks = is_measured(device)
        self.names = ("scale",) if self.blocks else ("scale", *PARAMETERS)

    @property
    def prior_covariance(self) -> Array:
        """Of the parameters, shape (P, P)."""
        out = np.zeros((len(self.names), len(self.names)))
        out[0, 0] = SCALE_SD**2
        if self.blocks:
            return out
        # The files' rounding may leave an eigenvalue at zero.
        out[1:, 1:] = self.device.latency.covariance + 1e-4 * np.eye(len(PARAMETERS))
        for name, sd in MACHINE_SD.items():
            out[1 + INDEX[name], 1 + INDEX[name]] += sd**2
        return out

    def __call__(self, terms: Array, theta: Array) -> tuple[Array, Array]:
        """Logarithms of seconds, shape (...), and their derivatives, (..., P), for terms of shape (..., width)."""
        overhead = self.device.value("frame_overhead")
        if self.blocks:
            logs = np.asarray(np.log(terms[..., DEVICE] + overhead) + theta[0])
            return logs, np.ones((*logs.shape, 1))
        parameters = (self.device.latency.theta + theta[1:]).tolist()
        gradient, time, _ = latency_gradient(shifted(terms, theta[1:]), parameters, overhead)
        ones = np.ones((*time.shape, 1))
        return np.log(time) + theta[0], np.concatenate([ones, gradient / time[..., None]], axis=-1)

    def own_sd(self, terms: Array, published_sd: Array) -> Array:
        """The part of the published error of the log that the scale and the shifts do not tell of."""
        if self.blocks:
            variance = published_sd**2 - self.device.latency.network_sd**2
        else:
            overhead = self.device.value("frame_overhead")
            _, time, kernels = latency_gradient(terms, self.device.latency.theta.tolist(), overhead)
            variance = kernels / time**2
        return np.asarray(np.sqrt(np.maximum(variance, 0.0)))


class PowerModel:
    """Log power under one scale of the dynamic power, from the published device's power in W."""

    names = ("scale",)
    prior_covariance = np.array([[POWER_SD**2]])

    def __init__(self, device: Device) -> None:
        self.idle_w = device.value("idle_power")

    def __call__(self, published_w: Array, theta: Array) -> tuple[Array, Array]:
        """Logarithms of watts, shape (...), and their derivatives, shape (..., 1)."""
        dynamic = np.exp(theta[0]) * (published_w - self.idle_w)
        power = self.idle_w + dynamic
        return np.log(power), (dynamic / power)[..., None]


Model = LatencyModel | PowerModel


def shifted(terms: Array, shift: Array) -> Array:
    """Terms of the device whose parameters are shifted; times follow their derivatives, to first order in logs."""
    device = np.maximum(terms[..., DEVICE], 1e-12)
    factor = np.exp(terms[..., GRADIENT] @ shift / device)
    out: Array = terms.copy()
    for place in (DEVICE, BUSY, BUSY_SLOPE):
        out[..., place] *= factor
    out[..., VARIANCE] *= factor**2
    for places in (GRADIENT, RESTS):
        out[..., places] *= factor[..., None]
    return out


class Observations(NamedTuple):
    """What the user measured of one metric, beside the published device; n points.

    inputs: what the model reads, (n, ...). log_values, reading_sd: (n,). claimed_sd: the published error of the
    log, own_sd: its part that is the network's own kernels', (n,). networks: points of one are left out together.
    """

    inputs: Array
    log_values: Array
    reading_sd: Array
    claimed_sd: Array
    own_sd: Array
    networks: tuple[str, ...]

    def only(self, mask: NDArray[np.bool_]) -> "Observations":
        """The points where the mask holds."""
        return Observations(
            self.inputs[mask],
            self.log_values[mask],
            self.reading_sd[mask],
            self.claimed_sd[mask],
            self.own_sd[mask],
            tuple(name for name, chosen in zip(self.networks, mask, strict=True) if chosen),
        )


@dataclass(frozen=True)
class LeftOut:
    """Points predicted from the other networks' points: log medians and their standard deviations, shape (n,)."""

    log_values: Array
    sd: Array
    freedom: int

    def reach(self, confidence: float) -> Array:
        """Half widths of the intervals, in logarithms."""
        return np.asarray(t_quantile(0.5 + confidence / 2, self.freedom) * self.sd)


def fit(model: Model, observed: Observations) -> tuple[MachineFit, LeftOut]:
    """The machine's parameters, and each network predicted from the others.

    Without another network the left-out prediction is the published device's with the scale unknown.
    """
    claim = OWN_SHARE * float(np.mean(observed.claimed_sd**2))
    count = len(set(observed.networks))
    borrowed = max(0, ENOUGH - count)
    freedom = borrowed + count - 1
    own = claim
    for _ in range(ROUNDS if count > 1 else 0):
        logs, sd = left_out(model, observed, own)
        squares = (observed.log_values - logs) ** 2 / (sd**2 + own)
        observed_variance = own * _mean_by_network(squares, observed.networks)
        own = max((borrowed * claim + (count - 1) * observed_variance) / freedom, LEAST_SD**2)
    theta, covariance = _map(model, observed, own)
    result = MachineFit(
        names=model.names,
        theta=theta,
        covariance=covariance,
        network_sd=float(np.sqrt(own)),
        freedom=freedom,
        usual_sd=float(observed.own_sd.max()),
    )
    logs, sd = left_out(model, observed, own)
    return result, LeftOut(logs, np.sqrt(sd**2 + own), freedom)


def left_out(model: Model, observed: Observations, own: float) -> tuple[Array, Array]:
    """Log medians of each network predicted from the others, and the errors of the parameters and the reading."""
    logs, variances = np.empty(len(observed.networks)), np.empty(len(observed.networks))
    names = np.array(observed.networks)
    for name in dict.fromkeys(observed.networks):
        mask = names == name
        theta, covariance = _map(model, observed.only(~mask), own)
        logs[mask], slopes = model(observed.inputs[mask], theta)
        variances[mask] = ((slopes @ covariance) * slopes).sum(axis=-1)
    return logs, np.sqrt(variances + observed.reading_sd**2)


def _map(model: Model, observed: Observations, own: float) -> tuple[Array, Array]:
    prior, covariance = np.zeros(len(model.names)), model.prior_covariance
    if not observed.networks:
        return prior, covariance
    same_network = np.array([[a == b for b in observed.networks] for a in observed.networks])
    error = own * same_network + np.diag(observed.reading_sd**2)
    return map_fit(lambda theta: model(observed.inputs, theta), observed.log_values, error, prior, covariance)


def _mean_by_network(values: Array, networks: Sequence[str]) -> float:
    names = np.array(networks)
    return float(np.mean([values[names == name].mean() for name in dict.fromkeys(networks)]))
