"""What a sampler gets and returns: the setting of a study, its history, a proposal.

Since a proposal depends on the setting, the history and the trial's number only, a study that was interrupted goes on
as if it had not been.
"""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from search.study.feasible import FeasibleSet
from search.study.surrogate import Observations, Prior, Scale
from zoo.bulk.choices import Ints


@dataclass(frozen=True)
class Tried:
    """A finished trial: its candidate, mIOU in percent, and what its sampler noted about it."""

    index: int
    miou: float
    notes: Mapping[str, Any]


@dataclass(frozen=True)
class History:
    """Everything that a proposal depends on, in the order of the trials' numbers.

    tried: completed trials, within the limits also where they were timed. observations: completed and stopped ones.
    running: candidates being evaluated. taken: all that were ever asked.
    """

    tried: tuple[Tried, ...]
    observations: Observations
    running: Ints
    taken: Ints

    @property
    def told(self) -> Observations:
        """The name of `observations` until 0.2, until 1.0."""
        warnings.warn("history.told is called history.observations since 0.3", DeprecationWarning, stacklevel=2)
        return self.observations


@dataclass(frozen=True)
class Proposal:
    """A candidate, and what its sampler wants to be told again about it; the study gives the seed."""

    index: int
    notes: Mapping[str, Any] = field(default_factory=dict)
    seed: int | None = None


class Sampler(Protocol):
    """Proposes candidates. Raises Exhausted where every candidate was asked."""

    name: str

    def __call__(self, history: History, number: int) -> Proposal: ...


class Exhausted(Exception):
    """Every feasible candidate was asked."""


@dataclass(frozen=True)
class Setting:
    """What samplers are made from. trials: how many are planned."""

    feasible: FeasibleSet
    prior: Prior
    scale: Scale
    seed: int
    trials: int

    @property
    def found(self) -> FeasibleSet:
        """The name of `feasible` until 0.2, until 1.0."""
        warnings.warn("setting.found is called setting.feasible since 0.3", DeprecationWarning, stacklevel=2)
        return self.feasible


def generator(seed: int, number: int) -> np.random.Generator:
    """The randomness of one trial."""
    return np.random.default_rng([seed, number])


def untried(count: int, history: History) -> Ints:
    """Candidates that were never asked. Raises Exhausted where there are none."""
    free = np.ones(count, dtype=bool)
    free[history.taken] = False
    left = np.flatnonzero(free)
    if not len(left):
        raise Exhausted
    return left
