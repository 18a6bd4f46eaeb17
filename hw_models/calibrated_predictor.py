"""Predictions for the user's own machine: the published device's, moved and narrowed by what was measured on it.

What was measured is looked up: the same network at the same size, batch and clock has the value measured, with
the error of its measurement. A network is recognised by its terms, so that a search finds it as well.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from statistics import NormalDist
from typing import NamedTuple

import numpy as np

from hw_models.analytic.predictor import Predictor
from hw_models.analytic.readings import Readings, same_network
from hw_models.cost import METRICS, Array, CostArrays, Interval, KernelCost
from hw_models.device import Device
from hw_models.machine import READING_SD, LatencyModel, PowerModel
from hw_models.normal import check_confidence, score, upper_tail
from hw_models.points import known_graph
from zoo.errors import ZooError
from zoo.graph import Layer
from zoo.statistics import t_quantile

CONFIDENCE = 0.9
"""Of the interval from which a published error is read."""


class Known(NamedTuple):
    """A measured network: its terms, the measured value, and the standard deviation of its logarithm."""

    terms: Array
    value: float
    sd: float


class Distribution(NamedTuple):
    """Medians, and how far the quantile asked for lies from them, in logarithms."""

    center: Array
    reach: Array


class CalibratedPredictor(Predictor):
    """Prices networks on the user's machine; `published` prices them on the published device, by its model alone.

    Power, and a metric that the user did not measure, begin at the published device's with its readings.
    """

    def __init__(self, device: Device, published: Predictor) -> None:
        super().__init__(published.device, published.clock_mhz, published.batch)
        assert device.machine is not None
        self.published, self.machine = published, device.machine
        self._elsewhere = type(published)(device.published, published.clock_mhz, published.batch)
        self.width = published.width
        self._latency_model, self._power_model = LatencyModel(self.device), PowerModel(self.device)
        self._own = device.own_points
        self._looked_up: Mapping[str, tuple[Known, ...]] | None = None

    def terms(self, layers: Sequence[Layer]) -> Array:
        """Terms of the published device."""
        return self.published.terms(layers)

    def finish(self, terms: Array, confidence: float = 0.9) -> CostArrays:
        """Costs from terms of shape (..., width); arrays of shape (...)."""
        high = 0.5 + check_confidence(confidence) / 2
        bounds: dict[str, Array] = {}
        for name, (center, reach) in self._distributions_at(terms, high).items():
            bounds[f"{name}_mean"] = center
            bounds[f"{name}_low"], bounds[f"{name}_high"] = self._clip(
                name, center * np.exp(-reach), center * np.exp(reach)
            )
        return CostArrays(**bounds, fps=self.batch / bounds["latency_s_mean"])

    def quantile(self, terms: Array, metric: str, probability: float | Array) -> Array:
        """The value that `metric` stays below with this probability, one for all or (...) of them.

        Shape (...) for terms (..., width).
        """
        if isinstance(probability, float):
            check_confidence(probability)
        spread = self._spread(terms, metric)
        z = score(probability)
        value = spread[0].center * np.exp(np.sign(z) * _reach(spread, np.abs(z)))
        return self._clip(metric, value, value)[0]

    def exceeding(self, terms: Array, metric: str, value: float | Array) -> Array:
        """Probability that `metric` is above a positive value in SI units; shape (...) for terms (..., width)."""
        spread = self._spread(terms, metric)
        away = np.log(value / spread[0].center)
        low, high = np.zeros_like(away), np.full_like(away, FARTHEST)
        for _ in range(BISECTIONS):
            middle = (low + high) / 2
            below = _reach(spread, middle) < np.abs(away)
            low, high = np.where(below, middle, low), np.where(below, high, middle)
        return self._cut_off(metric, value, upper_tail(np.sign(away) * high))

    @property
    def log_normal(self) -> bool:
        """False: the networks' own error has Student's distribution."""
        return False

    @property
    def metrics(self) -> tuple[str, ...]:
        """What was fitted here, and what the published device predicts."""
        return METRICS if self.machine.power is not None else self.published.metrics

    def errors(self, terms: Array, metric: str) -> tuple[Array, Array, Array]:
        """As of any predictor; what networks share is taken to be each one's own, so differences are less known."""
        spread = self._spread(terms, metric)
        ones = np.ones_like(spread[0].center)
        return spread[0].center, np.zeros((*ones.shape, 1)), _reach(spread, ones)

    def _spread(self, terms: Array, metric: str) -> "tuple[Spread, ...]":
        """The errors of a metric; energy has those of power and of latency, with the median first."""
        if metric not in METRICS:
            raise ZooError(f"metric {metric!r} has no distribution; choose one of {', '.join(METRICS)}")
        if metric != "latency_s" and self.machine.power is None:
            self.published.quantile(terms, metric, 0.5)  # refuses where power was never read
        if metric != "energy_j":
            return (self._spread_of(terms, metric),)
        latency, power = (self._spread_of(terms, name) for name in ("latency_s", "power_w"))
        center = latency.center * power.center
        return latency._replace(center=center), power._replace(center=center)

    def _spread_of(self, terms: Array, metric: str) -> "Spread":
        fit = self.machine.latency if metric == "latency_s" else self.machine.power
        if fit is None:
            center, normal = published_error(self._elsewhere, terms, metric)
            spread = Spread(center, normal, np.zeros_like(center), 1.0)
        else:
            center, sd = self._moved(terms, metric)
            spread = Spread(center, sd, np.full_like(center, fit.network_sd), fit.freedom)
        for read_network in self._known_networks[metric]:
            is_read = same_network(terms, read_network.terms)
            center, normal = (
                np.where(is_read, read_network.value, spread.center),
                np.where(is_read, read_network.sd, spread.normal),
            )
            spread = Spread(center, normal, np.where(is_read, 0.0, spread.network), spread.freedom)
        return spread

    def kernel_costs(self, layers: Sequence[Layer]) -> tuple[KernelCost, ...]:
        """Every kernel in the order of execution, each slower than published by as much as its network."""
        terms = self.terms(layers)
        factor = float(self.finish(terms).latency_s_mean / self.published.finish(terms).latency_s_mean)
        return tuple(
            replace(
                kernel,
                latency_s=factor * kernel.latency_s,
                of_peak=kernel.of_peak / factor,
                of_bandwidth=kernel.of_bandwidth / factor,
            )
            for kernel in self.published.kernel_costs(layers)
        )

    def host_bound(self, terms: Array) -> bool:
        """Whether the host's dispatch takes longer than the device, on the published device."""
        return self.published.host_bound(terms)

    def provenance(self, terms: Array) -> dict[str, float]:
        """Shares of device time by what they rest on; a network that was measured rests on that alone."""
        if any(same_network(terms, network.terms) for network in self._known_networks["latency_s"]):
            return {"measured": 1.0}
        return self.published.provenance(terms)

    def readings(self, metric: str) -> Readings:
        """Published readings of a metric that the user did not measure; none of another."""
        measured = self.machine.latency if metric == "latency_s" else self.machine.power
        return self._elsewhere.readings(metric) if measured is None else Readings((), self.clock_mhz, 0.0)

    def without_look_up(self, terms: Array, metric: str, confidence: float = 0.9) -> Interval:
        """Latency or power of one network as if it had not been measured itself."""
        center, reach = self._fitted(terms, metric, 0.5 + check_confidence(confidence) / 2)
        return Interval(float(center), float(center * np.exp(-reach)), float(center * np.exp(reach)))

    def _distributions_at(self, terms: Array, probability: float) -> dict[str, Distribution]:
        latency, power = (self._with_known(terms, metric, probability) for metric in ("latency_s", "power_w"))
        energy_reach = np.sign(latency.reach) * np.hypot(latency.reach, power.reach)
        return {
            "latency_s": latency,
            "power_w": power,
            "energy_j": Distribution(latency.center * power.center, energy_reach),
        }

    def _with_known(self, terms: Array, metric: str, probability: float) -> Distribution:
        center, reach = self._fitted(terms, metric, probability)
        z = NormalDist().inv_cdf(probability)
        for network in self._known_networks[metric]:
            is_read = same_network(terms, network.terms)
            center, reach = np.where(is_read, network.value, center), np.where(is_read, z * network.sd, reach)
        return Distribution(np.asarray(center), np.asarray(reach))

    def _fitted(self, terms: Array, metric: str, probability: float) -> Distribution:
        fit = self.machine.latency if metric == "latency_s" else self.machine.power
        if fit is None:
            return _published_at(self._elsewhere, terms, metric, probability)
        center, sd = self._moved(terms, metric)
        # Of the networks' own error alone the size is known from few networks.
        reach = np.hypot(NormalDist().inv_cdf(probability) * sd, t_quantile(probability, fit.freedom) * fit.network_sd)
        return Distribution(center, np.sign(probability - 0.5) * reach)

    def _moved(self, terms: Array, metric: str) -> tuple[Array, Array]:
        """Median on this machine, and the standard deviation of the logarithm without the networks' own error."""
        fit = self.machine.latency if metric == "latency_s" else self.machine.power
        assert fit is not None
        center, sd = published_error(self.published if metric == "latency_s" else self._elsewhere, terms, metric)
        if metric == "latency_s":
            (logs, slopes), own_sd = self._latency_model(terms, fit.theta), self._latency_model.own_sd(terms, sd)
        else:
            (logs, slopes), own_sd = self._power_model(center, fit.theta), sd
        shared = ((slopes @ fit.covariance) * slopes).sum(axis=-1)
        beyond = np.maximum(own_sd**2 - fit.usual_sd**2, 0.0)
        return np.exp(logs), np.sqrt(np.maximum(shared, 0.0) + beyond)

    @property
    def _known_networks(self) -> Mapping[str, tuple[Known, ...]]:
        if self._looked_up is None:
            at_clock = [p for p in self._own if p.batch == self.batch and abs(p.clock_mhz - self.clock_mhz) < 0.5]
            point_terms = [(p, self.terms(known_graph(p).layers)) for p in at_clock]
            self._looked_up = {
                metric: tuple(
                    Known(t, p.value, max(p.relative_sd, READING_SD)) for p, t in point_terms if p.metric == metric
                )
                for metric in ("latency_s", "power_w")
            }
        return self._looked_up


class Spread(NamedTuple):
    """An error of a logarithm: its median, a normal part, and the networks' own, of few degrees of freedom."""

    center: Array
    normal: Array
    network: Array
    freedom: float


FARTHEST, BISECTIONS = 6.0, 40
"""Normal scores that are told apart, from 0 to this."""


def _reach(spread: Sequence[Spread], z: Array) -> Array:
    """How far from the median the value lies that is passed as often as a normal variable passes z, 0 or more."""
    squares = [(part.normal * z) ** 2 + (part.network * _t_score(z, part.freedom)) ** 2 for part in spread]
    return np.asarray(np.sqrt(np.sum(squares, axis=0)))


def _t_score(z: Array, freedom: float) -> Array:
    """The value that Student's t passes as often as a normal variable passes z."""
    scores, values = _t_table(freedom)
    return np.asarray(np.interp(z, scores, values))


@lru_cache(maxsize=16)
def _t_table(freedom: float) -> tuple[Array, Array]:
    scores = np.linspace(0.0, FARTHEST, 301)
    return scores, np.array([t_quantile(float(p), freedom) for p in 1 - upper_tail(scores)])


def _published_at(published: Predictor, terms: Array, metric: str, probability: float) -> Distribution:
    costs = published.finish(terms, max(abs(2 * probability - 1), 1e-6))
    center = getattr(costs, f"{metric}_mean")
    bound = getattr(costs, f"{metric}_{'high' if probability >= 0.5 else 'low'}")
    return Distribution(center, np.log(bound / center))


def published_error(published: Predictor, terms: Array, metric: str) -> tuple[Array, Array]:
    """Median of a metric and the standard deviation of its logarithm, as a published device has them."""
    costs = published.finish(terms, CONFIDENCE)
    center, low, high = (getattr(costs, f"{metric}_{part}") for part in ("mean", "low", "high"))
    # One bound of power may be clipped, by the idle power or by the limit.
    reach = np.maximum(np.log(high / center), np.log(center / low))
    return center, reach / NormalDist().inv_cdf(0.5 + CONFIDENCE / 2)
