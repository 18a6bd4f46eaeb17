"""Samplers by name: each proposes the next candidate from the history, the seed and the trial's number.

All of them ask inside the feasible set and never twice. Optuna's propose a point of the grid of choices,
which is moved to the nearest candidate that was not tried yet. Since a proposal depends on its arguments only,
a study that was interrupted goes on as if it had not been.
"""

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from search.pareto import nondominated
from search.study.ehvi import Surface, surface
from search.study.feasible import FeasibleSet
from search.study.surrogate import ENOUGH, Observations, Prior, Scale, Surrogate, fit
from zoo.bulk.choices import Ints
from zoo.errors import ConfigError, did_you_mean

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Tried:
    """A trial that was told: its candidate, mIOU in percent, and what its sampler noted about it."""

    index: int
    miou: float
    notes: Mapping[str, Any]


@dataclass(frozen=True)
class History:
    """Everything that a proposal depends on, in the order of the trials' numbers.

    tried: completed trials, within the limits also where they were timed. told: completed and stopped ones, as
    evidence. running: candidates being evaluated. taken: all that were ever asked.
    """

    tried: tuple[Tried, ...]
    told: Observations
    running: Ints
    taken: Ints


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


class Random:
    """Uniformly among the candidates that were not asked."""

    name = "random"

    def __init__(self, setting: Setting) -> None:
        self.count, self.seed = len(setting.feasible), setting.seed

    def __call__(self, history: History, number: int) -> Proposal:
        return Proposal(int(generator(self.seed, number).choice(untried(self.count, history))))


BINS = 256
KEEP = 4096
"""The candidates looked at for each trial: the best of each bin of the known objectives."""


class Improvement:
    """The candidate with the largest expected hypervolume improvement under `search.study.surrogate`.

    The standard deviations and the prior's weight, the reference point and the shortlist are set anew after each of the
    first told trials, and after 8, 16, 32, …. Running trials count as told with the mIOU that is expected of them.
    """

    name = "ehvi"

    def __init__(self, setting: Setting) -> None:
        self.setting, self.feasible = setting, setting.feasible
        known = setting.feasible.known
        self.known = known if known.shape[1] else np.zeros((len(known), 1))
        self.worst, self.floor = np.full(self.known.shape[1], np.inf), 0.0
        self._set: tuple[Any, Scale, Ints] | None = None

    def _reference(self, mean: Floats) -> tuple[Floats, float]:
        """A tenth beyond the nadir of the front that is expected."""
        points = np.column_stack([-mean, self.known])
        front = points[nondominated(points)]
        low, high = front.min(axis=0), front.max(axis=0)
        nadir = high + 0.1 * np.maximum(high - low, 1e-9 * np.abs(high) + 1e-12)
        return nadir[1:], float(-nadir[0])

    def __call__(self, history: History, number: int) -> Proposal:
        left = untried(len(self.feasible), history)
        scale, shortlist = self._settled(history.told)
        told = self._with_running(history, scale)
        listed = shortlist[np.isin(shortlist, left, assume_unique=True)]
        if not len(listed):
            listed = left
        gain = self._gain(told, scale, listed)
        best = listed[int(gain.argmax())]
        return Proposal(int(best), {"expected_improvement": float(gain.max())})

    def _with_running(self, history: History, scale: Scale) -> Observations:
        told, running = history.told, history.running
        if not len(running):
            return told
        mean, _ = Surrogate(self.setting.prior, told, scale).at(running)
        return Observations(
            np.concatenate([told.index, running]),
            np.concatenate([told.miou, mean]),
            np.concatenate([told.extra, np.zeros(len(running))]),
        )

    def _settled(self, told: Observations) -> tuple[Scale, Ints]:
        count = len(told) if len(told) < ENOUGH else 2 ** int(np.log2(len(told) + 0.5))
        first = told.first(count)
        key = (count, first.index.tobytes(), first.miou.tobytes(), first.extra.tobytes())
        if self._set is None or self._set[0] != key:
            scale = fit(self.setting.prior, first, self.setting.scale)
            mean, sd = Surrogate(self.setting.prior, first, scale).everywhere(len(self.feasible))
            self.worst, self.floor = self._reference(mean)
            self._set = (key, scale, self._shortlist(first, scale, mean, sd))
        return self._set[1], self._set[2]

    def _shortlist(self, told: Observations, scale: Scale, mean: Floats, sd: Floats) -> Ints:
        if len(self.feasible) <= KEEP:
            return np.arange(len(self.feasible))
        gain = self._front(told, scale).improvement(mean, sd, self.known)
        axes = self.known.shape[1]
        per_axis = max(2, int(BINS ** (1 / axes)))
        order = np.argsort(np.argsort(self.known, axis=0, kind="stable"), axis=0)
        place = (order * per_axis // len(self.feasible)) @ per_axis ** np.arange(axes)
        ranked = np.lexsort((-gain, place))
        starts = np.searchsorted(place[ranked], np.arange(per_axis**axes))
        within = np.arange(len(ranked)) - starts[place[ranked]]
        return np.sort(ranked[within < KEEP // per_axis**axes])

    def _gain(self, told: Observations, scale: Scale, index: Ints) -> Floats:
        mean, sd = Surrogate(self.setting.prior, told, scale).at(index)
        return self._front(told, scale).improvement(mean, sd, self.known[index])

    def _front(self, told: Observations, scale: Scale) -> Surface:
        reached, _ = Surrogate(self.setting.prior, told, scale).at(told.index)
        return surface(reached, self.known[told.index], (self.floor, self.worst), self.known.min(axis=0))


class FromOptuna:
    """One of Optuna's samplers, run on a copy of the study and moved into the feasible set."""

    def __init__(self, name: str, make: Callable[[int], Any], setting: Setting) -> None:
        self.name, self.make, self.setting = name, make, setting
        self.counts = {
            field: len(setting.feasible.query.one_space.choices.values[field]) for field in setting.feasible.codes
        }

    def __call__(self, history: History, number: int) -> Proposal:
        import optuna

        left = untried(len(self.setting.feasible), history)
        randomness = generator(self.setting.seed, number)
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that Optuna calls a sampler experimental
            sampler = self.make(int(randomness.integers(2**31)))
        study = optuna.create_study(
            directions=["minimize"] * (self.setting.feasible.known.shape[1] + 1), sampler=sampler
        )
        distributions: dict[str, Any] = {
            name: optuna.distributions.IntDistribution(0, n - 1) for name, n in self.counts.items()
        }
        for one in history.tried:
            study.add_trial(self._trial(one, distributions))
        trial = study.ask(distributions)
        notes = {k: v for k, v in study.trials[-1].system_attrs.items() if isinstance(v, (int, float, str))}
        return Proposal(self._nearest(trial.params, left, randomness), notes)

    def _trial(self, one: Tried, distributions: Mapping[str, Any]) -> Any:
        import optuna

        feasible = self.setting.feasible
        return optuna.trial.create_trial(
            params={name: int(code[one.index]) for name, code in feasible.codes.items()},
            distributions=dict(distributions),
            values=feasible.points(one.index, one.miou).tolist(),
            system_attrs=dict(one.notes),
        )

    def _nearest(self, params: Mapping[str, int], left: Ints, randomness: np.random.Generator) -> int:
        feasible = self.setting.feasible
        target = np.array([params[name] / (n - 1) for name, n in self.counts.items()] or [0.0])
        distance = np.abs(feasible.positions[left] - target).sum(axis=1)
        nearest = left[distance <= distance.min() + 1e-12]
        return int(randomness.choice(nearest))


def _optuna(name: str) -> Callable[[Setting], Sampler]:
    def make(setting: Setting) -> Sampler:
        import optuna

        population = int(np.clip(setting.trials // 5, 8, 50))
        kinds: Mapping[str, Callable[[int], Any]] = {
            "tpe": lambda seed: optuna.samplers.TPESampler(seed=seed, multivariate=True),
            "nsga2": lambda seed: optuna.samplers.NSGAIISampler(seed=seed, population_size=population),
            "nsga3": lambda seed: optuna.samplers.NSGAIIISampler(seed=seed, population_size=population),
            "gp": lambda seed: optuna.samplers.GPSampler(seed=seed),
        }
        return FromOptuna(name, kinds[name], setting)

    return make


SAMPLERS: Mapping[str, Callable[[Setting], Sampler]] = {
    "random": Random,
    "ehvi": Improvement,
    "tpe": _optuna("tpe"),
    "nsga2": _optuna("nsga2"),
    "nsga3": _optuna("nsga3"),
    "gp": _optuna("gp"),
}

MANY = 1000
"""From this many trials on, one is too cheap to be worth a model."""


def choose(trials: int, feasible: int) -> tuple[str, str]:
    """The sampler for a budget, and why.

    >>> choose(30, 70_000)[0], choose(30, 24)[0], choose(5000, 70_000)[0]
    ('ehvi', 'random', 'nsga2')
    """
    if trials >= feasible:
        return "random", f"all {feasible:,} feasible candidates fit into {trials:,} trials, so that the order is free"
    if trials > MANY:
        return "nsga2", f"at {trials:,} trials, what each one teaches matters less than what each proposal costs"
    return "ehvi", f"at {trials:,} trials of {feasible:,} feasible candidates, each must teach as much as it can"


def check_sampler(name: str) -> str:
    """The name itself. Raises ConfigError with the nearest name."""
    if name not in SAMPLERS and name != "auto":
        raise ConfigError(f"sampler {name!r} is unknown; {did_you_mean(name, [*SAMPLERS, 'auto'])}")
    return name
