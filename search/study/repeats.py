"""What was measured of candidates: their runs, how far noise goes, and what longer training adds."""

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from search.accuracy.linear import points
from search.accuracy.published import NOISE_SD
from search.study.trials import Entry
from zoo.statistics import pooled_sd, t_quantile

Floats = NDArray[np.float64]

GAIN_VARIANCE = 0.25
"""Least variance, in squared points, of what a candidate gains by the long protocol."""


@dataclass(frozen=True)
class Measured:
    """A candidate and the mIOU of its runs by one protocol, in percent; the number of its first trial."""

    index: int
    miou: tuple[float, ...]
    protocol: str
    trial: int

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


def measured(entries: Sequence[Entry], protocol: str) -> list[Measured]:
    """Candidates with their complete runs, in the order of their first one."""
    runs: dict[int, list[Entry]] = defaultdict(list)
    for one in entries:
        if one.state == "complete" and one.miou is not None:
            runs[one.index].append(one)
    return [
        Measured(index, tuple(e.miou for e in same if e.miou is not None), protocol, same[0].number)
        for index, same in runs.items()
    ]


def noise_of(known: Sequence[Measured], *, exact: bool) -> Noise:
    """Pooled over the candidates that ran more than once; without any, what is assumed of published runs."""
    if exact:
        return Noise(0.0, 0)
    return Noise(*(pooled_sd(m.miou for m in known) or (NOISE_SD, 0)))


def gain_of(before: Floats, long: Sequence[float]) -> Gain:
    """From points believed of the short protocol, and mIOU in percent by the long one, of at least two candidates."""
    gains = points(np.clip(long, 0.05, 99.95)) - before
    return Gain(float(gains.mean()), float(gains.var(ddof=1) * (1 + 1 / len(gains))) + GAIN_VARIANCE, len(gains))
