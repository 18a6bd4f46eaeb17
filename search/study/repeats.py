"""Repeated measurements of candidates: means, noise of one run, gain by longer training."""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hw_models.cost import Interval
from search.accuracy.linear import points
from search.accuracy.published import NOISE_SD
from search.pareto import nondominated
from search.study.feasible import FeasibleSet
from search.study.measured_latency import keeps_limits
from search.study.trials import Trial
from zoo.statistics import pooled_sd, t_quantile

Floats = NDArray[np.float64]

GAIN_VARIANCE = 0.25
"""Least variance, in squared points, of what a candidate gains by the long protocol."""


@dataclass(frozen=True)
class Repeats:
    """A candidate and the mIOU of its runs by one protocol, in percent; the number of its first trial.

    latency: as this machine runs it, where it was timed.
    """

    index: int
    miou: tuple[float, ...]
    protocol: str
    trial: int
    latency: Interval | None = None

    @property
    def mean(self) -> float:
        """Mean over the runs."""
        return float(np.mean(self.miou))


@dataclass(frozen=True)
class Noise:
    """Standard deviation of the mIOU of one training, in percent; freedom: degrees of it, 0 where it is assumed."""

    sd: float
    freedom: int

    def reach(self, a: int, b: int) -> float:
        """The smallest difference of the means of `a` and `b` runs that is not noise, at 95 %."""
        quantile = t_quantile(0.975, self.freedom or math.inf)
        return float(quantile * self.sd * np.sqrt(1 / a + 1 / b))


@dataclass(frozen=True)
class Gain:
    """By how many points the long protocol surpasses the short one: mean, variance for one candidate, from how many."""

    mean: float
    variance: float
    pairs: int


def repeats_of(
    trials: Sequence[Trial], protocol: str, latencies: Mapping[int, Interval] | None = None
) -> list[Repeats]:
    """Candidates with their complete runs, in the order of their first one. latencies: of candidates, by index."""
    runs: dict[int, list[Trial]] = defaultdict(list)
    for trial in trials:
        if trial.state == "complete" and trial.miou is not None:
            runs[trial.index].append(trial)
    return [
        Repeats(
            index,
            tuple(trial.miou for trial in candidate_trials if trial.miou is not None),
            protocol,
            candidate_trials[0].number,
            (latencies or {}).get(index),
        )
        for index, candidate_trials in runs.items()
    ]


def latencies_of(trials: Sequence[Trial]) -> dict[int, Interval]:
    """Measured latencies by candidate."""
    return {trial.index: trial.latency for trial in trials if trial.latency is not None}


def front_of(feasible: FeasibleSet, measured: Sequence[Repeats]) -> list[Repeats]:
    """Measured candidates within the limits that no other dominates, the best mIOU first."""
    inside = [repeats for repeats in measured if keeps_limits(feasible, repeats.index, repeats.latency)]
    if not inside:
        return []
    latency = [math.nan if repeats.latency is None else repeats.latency.mean for repeats in inside]
    costs = feasible.points(
        np.array([repeats.index for repeats in inside]), [repeats.mean for repeats in inside], latency
    )
    front = [repeats for repeats, keep in zip(inside, nondominated(costs), strict=True) if keep]
    return sorted(front, key=lambda repeats: -repeats.mean)


def noise_of(measured: Sequence[Repeats], *, exact: bool) -> Noise:
    """Pooled over the candidates that ran more than once; without any, what is assumed of published runs."""
    if exact:
        return Noise(0.0, 0)
    return Noise(*(pooled_sd(m.miou for m in measured) or (NOISE_SD, 0)))


def gain_of(before: Floats, long: Sequence[float]) -> Gain:
    """From points believed of the short protocol, and mIOU in percent by the long one, of at least two candidates."""
    gains = points(np.clip(long, 0.05, 99.95)) - before
    return Gain(float(gains.mean()), float(gains.var(ddof=1) * (1 + 1 / len(gains))) + GAIN_VARIANCE, len(gains))
