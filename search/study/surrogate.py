"""Surrogate of a study: mIOU of candidates that were not tried, given the trials.

The mean is the accuracy model: effects of spec fields with the published figures' posterior as prior, each
free to be another share of itself under another protocol, and an offset between the protocols. What no
sum of effects explains is a Gaussian process over the fields. Everything is Gaussian in points
(`search.accuracy.linear`), so that a posterior is linear algebra (Rasmussen and Williams, 2006, sections 2.2 and 2.7).

Of several spaces, those of one family with published figures share its effects, and nothing else is shared: every other
space has its own mean and slopes, and the Gaussian process of each space is independent of the others'.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product
from math import exp, log
from typing import Any

import numpy as np
from numpy.typing import NDArray

from search.accuracy.effects import EFFECTS
from search.accuracy.linear import OFFSET_SD, percent, points
from search.accuracy.published import fitted
from search.study.feasible import FeasibleSet
from zoo.bulk.choices import Ints, by_fields
from zoo.gp import Posterior, squared_exponential

Floats = NDArray[np.float64]

SHARE = 0.3
"""Assumed standard deviation of how an effect changes with the protocol, as a share of the effect."""

UNKNOWN_SD = 10.0
"""Prior standard deviation, in points, of the slope along a field of which nothing is known."""

LENGTH = 0.6
"""Length scale of the Gaussian process; a field's choices are spread over 0 to 1."""

WEIGHTS = {1.0: 0.7, 0.3: 0.1, 0.1: 0.1, 0.03: 0.1}
"""Weights of the prior among which the likelihood chooses, and the probability of each before any trial."""

MISFITS = (0.3, 1.0, 2.5)
NOISES = (0.05, 0.3, 0.8, 1.6)
"""Standard deviations, in points, among which the likelihood chooses: of the process, and of one trial."""

CHUNK = 8192


@dataclass(frozen=True)
class Observations:
    """Trials that count: which candidates, their mIOU in percent, and extra variance of each in points²."""

    index: Ints
    miou: Floats
    extra: Floats

    def first(self, count: int) -> "Observations":
        """The earliest trials."""
        return Observations(self.index[:count], self.miou[:count], self.extra[:count])

    def same(self, other: "Observations") -> bool:
        """Whether these are the same trials with the same results."""
        pairs = ((self.index, other.index), (self.miou, other.miou), (self.extra, other.extra))
        return all(np.array_equal(own, other_column) for own, other_column in pairs)

    def __len__(self) -> int:
        return len(self.index)


NO_OBSERVATIONS = Observations(np.empty(0, np.int64), np.empty(0), np.empty(0))


@dataclass(frozen=True)
class Scale:
    """Standard deviations in points: of what the effects do not explain, and of one trial; and the prior's weight.

    weight: the power to which the prior of the effects is raised, which divides its covariance (the power prior of
    Ibrahim and Chen, Statistical Science 15, 2000): 1 counts the published figures in full, 0 not at all.
    """

    misfit: float = 1.0
    noise: float = 0.7
    weight: float = 1.0


@dataclass(frozen=True)
class Prior:
    """What is believed of the candidates before any trial.

    features: effects of every candidate, (N, P), with coefficients of mean (P,) and covariance (P, P). positions: the
    fields, (N, F). space: place of the space, (N,).
    """

    features: Floats
    mean: Floats
    covariance: Floats
    positions: Floats
    space: Ints


def prior(feasible: FeasibleSet, *, same_protocol: bool) -> Prior:
    """What is believed before any trial; same_protocol: the trials are what the accuracy model predicts."""
    blocks = [_block(feasible, *group) for group in _groups(feasible)]
    if not same_protocol:
        blocks = [(features, mean, _other_protocol(mean, covariance)) for features, mean, covariance in blocks]
    features, means, covariances = zip(*blocks, strict=True)
    return Prior(
        np.concatenate(features, axis=1),
        np.concatenate(means),
        block_diagonal(covariances),
        feasible.positions,
        feasible.space,
    )


def _groups(feasible: FeasibleSet) -> list[tuple[str, list[int]]]:
    """Spaces with the same coefficients, by place: all of a family with published figures, every other by itself."""
    groups: dict[tuple[str, str], list[int]] = {}
    for place, member in enumerate(feasible.members):
        family = member.space.choices.family
        groups.setdefault((family, "" if family in EFFECTS else member.label), []).append(place)
    return [(family, places) for (family, _), places in groups.items()]


def _block(feasible: FeasibleSet, family: str, places: list[int]) -> tuple[Floats, Floats, Floats]:
    """Features of all candidates, which are 0 for those of other spaces; mean and covariance of their coefficients."""
    if family in EFFECTS:
        mean, covariance = fitted(family).posterior
        features = np.zeros((len(feasible), len(mean)))
        for place in places:
            features[feasible.members[place].at] = _effects(feasible, place)
        return features, mean, covariance
    member = feasible.members[places[0]]
    varied = [feasible.parameter(member, name) for name in member.counts]
    columns = [place for place, name in enumerate(feasible.counts) if name in varied]
    own, mean, covariance = uninformed(feasible.positions[member.at][:, columns])
    features = np.zeros((len(feasible), len(mean)))
    features[member.at] = own
    return features, mean, covariance


def _effects(feasible: FeasibleSet, place: int) -> Floats:
    """Effects of a family with published figures, of the candidates of one space, (n, P)."""
    member, first = feasible.members[place], feasible.query.space.firsts[place]
    choices = member.space.choices
    codes = choices.codes(feasible.rows[member.at] - first)
    columns = [by_fields(choices, codes, effect.value) for effect in fitted(choices.family).effects]
    return np.column_stack([np.array(values, dtype=float)[index] for values, index in columns])


def _other_protocol(mean: Floats, covariance: Floats) -> Floats:
    """The covariance of coefficients under another protocol than that of the published figures."""
    wider = covariance + np.diag((SHARE * mean) ** 2)
    wider[0, 0] += OFFSET_SD**2
    return np.asarray(wider, np.float64)


def block_diagonal(blocks: Sequence[Floats]) -> Floats:
    """Square blocks along the diagonal, and 0 elsewhere.

    >>> block_diagonal([np.array([[1.0]]), np.array([[2.0, 3.0], [3.0, 4.0]])]).tolist()
    [[1.0, 0.0, 0.0], [0.0, 2.0, 3.0], [0.0, 3.0, 4.0]]
    """
    ends = np.cumsum([len(block) for block in blocks])
    whole = np.zeros((ends[-1], ends[-1]))
    for block, end in zip(blocks, ends, strict=True):
        whole[end - len(block) : end, end - len(block) : end] = block
    return whole


def uninformed(positions: Floats) -> tuple[Floats, Floats, Floats]:
    """Features, mean and covariance of slopes along the fields, of a family of which nothing is known.

    positions: of candidates, (n, fields), from 0 to 1.
    """
    features = np.column_stack([np.ones(len(positions)), positions - 0.5])
    mean = np.zeros(features.shape[1])
    mean[0] = 50.0
    return features, mean, np.diag([OFFSET_SD**2, *[UNKNOWN_SD**2] * positions.shape[1]])


@dataclass(frozen=True, eq=False)
class Surrogate:
    """Posterior over all candidates given the observations."""

    prior: Prior
    observations: Observations
    scale: Scale

    def at(self, index: Any) -> tuple[Floats, Floats]:
        """Mean and standard deviation of the mIOU, in percent, of candidates; the noise of a trial left out."""
        centre, variance = self.points_at(index)
        mean = percent(centre)
        slope = mean * (100 - mean) / 2500  # d percent / d points of the logistic curve
        return mean, slope * np.sqrt(variance)

    def points_at(self, index: Any) -> tuple[Floats, Floats]:
        """Mean and variance in points."""
        own, at = self.prior, np.asarray(index, dtype=np.int64)
        spread = own.features[at] @ self._covariance
        mean = own.features[at] @ own.mean
        variance = np.einsum("np,np->n", spread, own.features[at]) + self.scale.misfit**2
        if not len(self.observations):
            return mean, variance
        cross = spread @ own.features[self.observations.index].T + self._process(at, self.observations.index)
        return mean + self._posterior.mean(cross), self._posterior.variance(cross, variance)

    def everywhere(self, count: int) -> tuple[Floats, Floats]:
        """`at` for candidates 0 to count - 1, some at a time."""
        parts = [self.at(np.arange(s, min(s + CHUNK, count))) for s in range(0, count, CHUNK)]
        return np.concatenate([mean for mean, _ in parts]), np.concatenate([sd for _, sd in parts])

    def log_likelihood(self) -> float:
        """Logarithm of the density of the observations."""
        return self._posterior.log_likelihood()

    def left_out(self) -> tuple[Floats, Floats]:
        """Mean and standard deviation in percent of each observation given all others."""
        miss, variance = self._posterior.left_out()
        mean = percent(points(self.observations.miou) - miss)
        return mean, mean * (100 - mean) / 2500 * np.sqrt(variance)

    @cached_property
    def _posterior(self) -> Posterior:
        own, at = self.prior, self.observations.index
        linear = own.features[at] @ self._covariance @ own.features[at].T
        noise = np.diag(self.scale.noise**2 + self.observations.extra)
        residual = points(self.observations.miou) - own.features[at] @ own.mean
        return Posterior(linear + self._process(at, at) + noise, residual)

    @property
    def _covariance(self) -> Floats:
        return self.prior.covariance / self.scale.weight

    def _process(self, a: Any, b: Any) -> Floats:
        places, space = self.prior.positions, self.prior.space
        alike = space[a][:, None] == space[b]
        process = self.scale.misfit**2 * squared_exponential(places[a], places[b], LENGTH)
        return np.asarray(np.where(alike, process, 0.0), np.float64)


def fit(own: Prior, observations: Observations, default: Scale | None = None) -> Scale:
    """The most probable scale: of few trials the prior's weight alone, with the default's standard deviations."""
    first = default or Scale()
    if len(observations) < FEWEST:
        return first
    spreads = product(MISFITS, NOISES) if len(observations) >= ENOUGH else [(first.misfit, first.noise)]
    scales = [Scale(misfit, noise, weight) for misfit, noise in spreads for weight in WEIGHTS]
    return max(scales, key=lambda scale: log_posterior(own, observations, scale))


FEWEST, ENOUGH = 2, 8
"""Trials from which the prior's weight, and the standard deviations, are told from the trials."""


def log_posterior(own: Prior, observations: Observations, scale: Scale) -> float:
    """Logarithm of the density of the trials and of the prior's weight."""
    return Surrogate(own, observations, scale).log_likelihood() + log(WEIGHTS[scale.weight])


def conflict(own: Prior, observations: Observations, scale: Scale) -> float:
    """How many times as probable the trials are with the prior's weight as in full; 1 where it counts in full."""
    if scale.weight == 1.0:
        return 1.0
    likely = (Surrogate(own, observations, s).log_likelihood() for s in (scale, replace(scale, weight=1.0)))
    less, full = likely
    return exp(min(less - full, MOST_EXPONENT))


MOST_EXPONENT = 300.0


def observations_of(trials: Sequence[tuple[int, float, float]]) -> Observations:
    """From (candidate, mIOU in percent, extra variance). mIOU is kept off 0 and 100, where points are infinite."""
    if not trials:
        return NO_OBSERVATIONS
    index, miou, extra = zip(*trials, strict=True)
    return Observations(np.array(index, np.int64), np.clip(np.array(miou, float), 0.05, 99.95), np.array(extra, float))
