"""Published readings of whole networks: of the same network the answer, of one like it what the model is off by.

The logarithm of a latency, or of a dynamic power, is the model's and the error of network x at clock c:

    e(x, c) = s(x) (u(x) + v(x, c)),   s(x)² = network_sd² + variance of its kernels' own errors

u and v are Gaussian processes with variances 1 - w and w. Both are as alike for two networks as these are: OWN of a
network's error is its own alone, and of the rest

    likeness = exp(-|size - size'|² / (2 SIZE_LENGTH²) - |mix - mix'|² / (2 MIX_LENGTH²))

is shared, where size is the logarithms of MACs, bytes and operations, and mix is the elasticities of the device time by
the parameters of the roofline: which shares are dilated, depth-wise, of few channels, bound by bandwidth. No name
counts. v is alike at two clocks as exp(-|log c - log c'| / CLOCK_LENGTH).

A network that is like no reading has the error of networks left out. A reading moves the estimate, narrows the
interval, and takes out of the parameters' error what the reading knows better (universal kriging: Rasmussen and
Williams, Gaussian Processes for Machine Learning, section 2.7, with the fit's covariance in place of a prior's).

SIZE_LENGTH, MIX_LENGTH and OWN were estimated from the latencies of 13 devices together by the marginal likelihood,
where they beat families by name by 19 in its logarithm, and families beat nothing by 12; OWN was raised from 0 to 0.1
and SIZE_LENGTH lowered from 4 to 2 for caution. That power is alike for the networks whose latency is alike is
an assumption: of each family with a published power, one network was read.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hw_models.analytic.features import BYTES, DEVICE, DISPATCHES, GRADIENT, MACS
from zoo.gp import Posterior, squared_exponential

Array = NDArray[np.float64]

SIZE_LENGTH, MIX_LENGTH = 2.0, 0.1
"""Distances over which errors stay alike: in logarithms of size, and in shares of the time."""
OWN = 0.1
"""Part of the variance of a network's error that no other network shares."""
CLOCK_LENGTH = 0.3
"""Distance, in the logarithm of the clock, over which a network's error at a clock stays alike (assumed)."""
CLOCK_SD: Mapping[str, float] = {"latency_s": 0.03, "power_w": 0.23}
"""Standard deviation of v: from by how much the residuals of one network differ between clocks (0.025 and 0.23).

Three networks were read at several clocks on a TX2, and two, at three batches, under TensorRT in each precision.
"""
CLOCK_WEIGHT = 2
"""Networks of a device, read at several clocks, that CLOCK_SD counts for beside the device's own."""
LARGEST_CLOCK_SHARE = 0.5
"""Of the variance of a network's error, what its clocks have each for themselves at most."""
REPEATED_SD: Mapping[str, float] = {"latency_s": 0.005, "power_w": 0.02}
"""Log error of a reading beside that of its digits: by how much two reports of one measurement differ.

ESPNet's frame rate is 112 in its README and 112.85 in its figure on a TITAN X, and 9 and 9.06 on a TX2; the power of
ESPNet, ENet and ERFNet at 1134 MHz is 2.2, 4.6 and 6.7 W in the text and 2.29, 4.7 and 6.6 W in the poster's trace.
Others' boards and hosts differ by more: independent timings of ESPNet on one chip size range from 61 to 139 frames/s.
"""

SAME = 1e-9
"""Relative difference of the terms up to which two networks are one: sums of pieces differ in their last digits."""
_IDENTITY = [DEVICE, DISPATCHES, MACS, BYTES]
"""Terms in which two different networks differ."""


def same_network(terms: Array, network: Array) -> NDArray[np.bool_]:
    """Where terms of shape (..., width) are those of a known network, (width,), at the same clock and batch."""
    close = np.isclose(terms[..., DEVICE], network[DEVICE], rtol=SAME, atol=0)
    if not close.any():
        return np.asarray(close)
    return np.asarray(close & np.isclose(terms[..., _IDENTITY], network[_IDENTITY], rtol=SAME, atol=0).all(axis=-1))


def position(terms: Array) -> Array:
    """Where a network lies, in lengths of the likeness: size and mix; terms (..., width)."""
    size = np.log(np.maximum(terms[..., [MACS, BYTES, DISPATCHES]], 1.0))
    mix = terms[..., GRADIENT] / np.maximum(terms[..., DEVICE, None], 1e-12)
    return np.concatenate([size / SIZE_LENGTH, mix / MIX_LENGTH], axis=-1)


class Reading(NamedTuple):
    """One published value beside the fit; logarithms are those of the latency or of the dynamic power.

    terms: of the network at the clock and batch that are asked for. same_setting: whether it was read at these.
    residual: read less modelled. slopes: of the model by the parameters, (P,). amplitude: s(x). noise: standard
    deviation of the reading. value, sd: the value itself in SI units and the standard deviation of its logarithm.
    """

    terms: Array
    same_setting: bool
    clock_mhz: float
    residual: float
    slopes: Array
    amplitude: float
    noise: float
    value: float
    sd: float
    source: str


class Inherited(NamedTuple):
    """What networks of terms (..., width) inherit from readings, in units of s(x).

    shift: of the logarithm, (...). left: part of the variance of the network's error that no reading tells of, (...).
    slopes: what to take off the slopes by the parameters, whose errors the readings know, (..., P).
    """

    shift: Array
    left: Array
    slopes: Array


class Known(NamedTuple):
    """A network that was read at this clock and batch: terms, value, standard deviation of the logarithm, source."""

    terms: Array
    value: float
    sd: float
    source: str


@dataclass(frozen=True, eq=False)
class Readings:
    """The readings of one metric, seen from one clock. clock_share: variance of v, as a share of network_sd²."""

    readings: tuple[Reading, ...]
    clock_mhz: float
    clock_share: float

    @cached_property
    def known(self) -> tuple[Known, ...]:
        """What was read at this clock and batch; of several readings of one network the mean, as sure as the surest."""
        groups: list[list[Reading]] = []
        for reading in (r for r in self.readings if r.same_setting):
            group = next((g for g in groups if same_network(reading.terms, g[0].terms)), None)
            groups.append([reading]) if group is None else group.append(reading)
        return tuple(_merged(group) for group in groups)

    @cached_property
    def _positions(self) -> Array:
        return position(np.stack([r.terms for r in self.readings]))

    @cached_property
    def _clocks(self) -> Array:
        return np.log([r.clock_mhz for r in self.readings])

    @cached_property
    def _posterior(self) -> Posterior:
        scale = np.array([r.amplitude for r in self.readings])
        noise = np.array([r.noise for r in self.readings]) / scale
        covariance = self._alike(self._positions, self._clocks) + np.diag(noise**2)
        return Posterior(covariance, np.array([r.residual for r in self.readings]) / scale)

    @cached_property
    def _weights(self) -> Array:
        """(K + S)^-1 times the slopes of the readings, (N, P)."""
        slopes = np.stack([r.slopes / r.amplitude for r in self.readings])
        return np.asarray(self._posterior.inverse @ slopes, np.float64)

    def _alike(self, positions: Array, clocks: Array) -> Array:
        """Correlation of the errors at Q places with those of the readings, (Q, N)."""
        likeness = squared_exponential(positions, self._positions)
        likeness = np.where(likeness >= 1 - SAME, 1.0, (1 - OWN) * likeness)
        near = np.exp(-np.abs(np.asarray(clocks)[:, None] - self._clocks) / CLOCK_LENGTH)
        return np.asarray(likeness * (1 - self.clock_share * (1 - near)))

    def inherited(self, terms: Array) -> Inherited | None:
        """What networks inherit; None without readings."""
        if not self.readings:
            return None
        flat = terms.reshape(-1, terms.shape[-1])
        cross = self._alike(position(flat), np.log(np.full(1, self.clock_mhz)))
        shape = terms.shape[:-1]
        return Inherited(
            self._posterior.mean(cross).reshape(shape),
            self._posterior.variance(cross, 1.0).reshape(shape),
            (cross @ self._weights).reshape(*shape, self._weights.shape[-1]),
        )


def _merged(group: Sequence[Reading]) -> Known:
    mean = float(np.exp(np.mean(np.log([r.value for r in group]))))
    sources = "; ".join(dict.fromkeys(r.source for r in group))
    return Known(group[0].terms, group[0].value if len(group) == 1 else mean, min(r.sd for r in group), sources)


def clock_share(readings: Sequence[Reading], metric: str, network_sd: float) -> float:
    """Variance of v over network_sd²: from the networks that were read at several clocks, and from CLOCK_SD."""
    squares = [variance for variance in map(_between_clocks, _by_network(readings)) if variance is not None]
    mean = (sum(squares) + CLOCK_WEIGHT * CLOCK_SD[metric] ** 2) / (len(squares) + CLOCK_WEIGHT)
    return min(mean / network_sd**2, LARGEST_CLOCK_SHARE)


def _by_network(readings: Sequence[Reading]) -> list[list[Reading]]:
    groups: list[list[Reading]] = []
    for reading in readings:
        group = next((g for g in groups if same_network(reading.terms, g[0].terms)), None)
        groups.append([reading]) if group is None else group.append(reading)
    return groups


def _between_clocks(readings: Sequence[Reading]) -> float | None:
    """Half the mean square by which residuals of one network differ between clocks, over what CLOCK_LENGTH leaves."""
    out = []
    for i, a in enumerate(readings):
        for b in readings[:i]:
            distance = abs(np.log(a.clock_mhz / b.clock_mhz))
            if distance > 0:
                out.append(0.5 * (a.residual - b.residual) ** 2 / (1 - np.exp(-distance / CLOCK_LENGTH)))
    return float(np.mean(out)) if out else None


class Error(NamedTuple):
    """A metric of networks with what is not known of it: median, slopes of its logarithm by parameters, own variance.

    Shapes (...), (..., P), (...); the median in SI units, the others of the logarithm.
    """

    center: Array
    slopes: Array
    variance: Array

    def distribution(self, covariance: Array) -> tuple[Array, Array]:
        """Median, and the standard deviation of the logarithm with the parameters' covariance."""
        shared = ((self.slopes @ covariance) * self.slopes).sum(axis=-1)
        return self.center, np.sqrt(np.maximum(shared, 0.0) + self.variance)

    def inheriting(self, readings: Readings, terms: Array, amplitude: Array) -> "Error":
        """The same with what readings say of networks like these; amplitude: s(x), (...)."""
        inherited = readings.inherited(terms)
        if inherited is None:
            return self
        return Error(
            self.center * np.exp(amplitude * inherited.shift),
            self.slopes - amplitude[..., None] * inherited.slopes,
            self.variance * inherited.left,
        )

    def looked_up(self, readings: Readings, terms: Array) -> "Error":
        """The readings themselves where the networks were read."""
        out = self
        for network in readings.known:
            is_read = same_network(terms, network.terms)
            out = Error(
                np.where(is_read, network.value, out.center),
                np.where(is_read[..., None], 0.0, out.slopes),
                np.where(is_read, network.sd**2, out.variance),
            )
        return out
