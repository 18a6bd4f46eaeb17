"""Samplers by name: each proposes the next candidate from the history, the seed and the trial's number.

All of them ask inside the feasible set and never twice (`search.study.proposals`).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from search.pareto import nondominated
from search.study.ehvi import Surface, surface
from search.study.optuna_samplers import ONE_SPACE, sampler_of_optuna
from search.study.proposals import Exhausted, History, Proposal, Sampler, Setting, Tried, generator, untried
from search.study.surrogate import ENOUGH, Observations, Scale, Surrogate, fit
from zoo.bulk.choices import Ints
from zoo.errors import ConfigError, did_you_mean

__all__ = [
    "SAMPLERS", "Exhausted", "History", "Improvement", "Proposal", "Random", "Sampler", "Setting", "Tried",
    "check_sampler", "check_spaces", "choose", "generator", "untried",
]  # fmt: skip

Floats = NDArray[np.float64]


class Random:
    """Uniformly among the candidates that were not asked."""

    name = "random"

    def __init__(self, setting: Setting) -> None:
        self.count, self.seed = len(setting.feasible), setting.seed

    def __call__(self, history: History, number: int) -> Proposal:
        return Proposal(int(generator(self.seed, number).choice(untried(self.count, history))))


CELLS = 256
"""Cells of the known objectives, each of which keeps its best candidates."""
KEEP = 4096
"""Candidates looked at for each trial, over all cells."""


@dataclass(frozen=True)
class Fitted:
    """What is set anew only after some trials, and holds for the proposals until the next time.

    scale: of the surrogate. floor, worst: the reference point, mIOU in percent and known objectives (axes,).
    shortlist: the candidates looked at, ascending.
    """

    observations: Observations
    scale: Scale
    floor: float
    worst: Floats
    shortlist: Ints


class Improvement:
    """The candidate with the largest expected hypervolume improvement (`search.study.ehvi`) under the surrogate.

    What `Fitted` holds is set anew after each of the first trials, and after 8, 16, 32, …. Running trials count as
    observed with the mIOU that is expected of them.
    """

    name = "ehvi"

    def __init__(self, setting: Setting) -> None:
        self.setting, self.feasible = setting, setting.feasible
        costs = setting.feasible.known
        self.known = costs if costs.shape[1] else np.zeros((len(costs), 1))
        self._last: Fitted | None = None

    def __call__(self, history: History, number: int) -> Proposal:
        left = untried(len(self.feasible), history)
        fitted = self._fitted(history.observations)
        observations = self._with_running(history, fitted.scale)
        candidates = fitted.shortlist[np.isin(fitted.shortlist, left, assume_unique=True)]
        if not len(candidates):
            candidates = left
        mean, sd = Surrogate(self.setting.prior, observations, fitted.scale).at(candidates)
        front = self._front(observations, fitted.scale, (fitted.floor, fitted.worst))
        ehvi = front.improvement(mean, sd, self.known[candidates])
        return Proposal(int(candidates[int(ehvi.argmax())]), {"expected_improvement": float(ehvi.max())})

    def _with_running(self, history: History, scale: Scale) -> Observations:
        observations, running = history.observations, history.running
        if not len(running):
            return observations
        mean, _ = Surrogate(self.setting.prior, observations, scale).at(running)
        return Observations(
            np.concatenate([observations.index, running]),
            np.concatenate([observations.miou, mean]),
            np.concatenate([observations.extra, np.zeros(len(running))]),
        )

    def _fitted(self, observations: Observations) -> Fitted:
        first = observations.first(fitted_to(len(observations)))
        if self._last is None or not self._last.observations.same(first):
            self._last = self._fit(first)
        return self._last

    def _fit(self, observations: Observations) -> Fitted:
        scale = fit(self.setting.prior, observations, self.setting.scale)
        mean, sd = Surrogate(self.setting.prior, observations, scale).everywhere(len(self.feasible))
        floor, worst = reference_point(mean, self.known)
        if len(self.feasible) <= KEEP:
            shortlist = np.arange(len(self.feasible))
        else:
            ehvi = self._front(observations, scale, (floor, worst)).improvement(mean, sd, self.known)
            shortlist = best_of_each_cell(self.known, ehvi, cells=CELLS, keep=KEEP)
        return Fitted(observations, scale, floor, worst, shortlist)

    def _front(self, observations: Observations, scale: Scale, reference: tuple[float, Floats]) -> Surface:
        reached, _ = Surrogate(self.setting.prior, observations, scale).at(observations.index)
        return surface(reached, self.known[observations.index], reference, self.known.min(axis=0))


def fitted_to(count: int) -> int:
    """To how many of the first observations all is fitted: to each of the first few, then at every doubling.

    >>> [fitted_to(count) for count in (0, 3, 7, 8, 15, 16, 40)]
    [0, 3, 7, 8, 8, 16, 32]
    """
    return count if count < ENOUGH else 1 << (count.bit_length() - 1)


def reference_point(miou: Floats, costs: Floats) -> tuple[float, Floats]:
    """Lowest mIOU and highest known objectives (axes,) that count: a tenth of its range beyond the nadir of the front.

    The nadir is the worst value of each objective on the front (Ishibuchi et al., Evolutionary Computation 26, 2018,
    on how far beyond it the reference point should lie).

    >>> floor, worst = reference_point(np.array([50.0, 60.0, 40.0]), np.array([[1.0], [2.0], [3.0]]))
    >>> floor, worst.tolist()
    (49.0, [2.1])
    """
    points = np.column_stack([-miou, costs])
    front = points[nondominated(points)]
    low, high = front.min(axis=0), front.max(axis=0)
    reference = high + 0.1 * np.maximum(high - low, 1e-9 * np.abs(high) + 1e-12)
    return float(-reference[0]), reference[1:]


def best_of_each_cell(costs: Floats, value: Floats, *, cells: int, keep: int) -> Ints:
    """The candidates with the largest value in each cell of a grid over the known objectives, ascending.

    The grid has b = cells^(1 / axes) bins an axis, which hold equally many candidates each: bin_k = rank_k · b / N. The
    number of a cell is bin_1 + bin_2 · b + bin_3 · b² + …. Each of the b^axes cells keeps keep / b^axes candidates, so
    that these cover the whole front.

    >>> value = np.array([1.0, 5.0, 2.0, 3.0, 9.0, 8.0, 7.0, 0.0])
    >>> best_of_each_cell(np.arange(8.0)[:, None], value, cells=2, keep=4).tolist()  # cells 0 to 3 and 4 to 7
    [1, 3, 4, 5]
    """
    count, axes = costs.shape
    bins = max(2, int(cells ** (1 / axes)))
    rank = np.argsort(np.argsort(costs, axis=0, kind="stable"), axis=0)
    cell = (rank * bins // count) @ bins ** np.arange(axes)
    by_cell = np.lexsort((-value, cell))  # by cell, the largest value first
    first_of_cell = np.searchsorted(cell[by_cell], np.arange(bins**axes))
    place_in_cell = np.arange(count) - first_of_cell[cell[by_cell]]
    return np.sort(by_cell[place_in_cell < keep // bins**axes])


SAMPLERS: Mapping[str, Callable[[Setting], Sampler]] = {
    "random": Random,
    "ehvi": Improvement,
    "tpe": sampler_of_optuna("tpe"),
    "nsga2": sampler_of_optuna("nsga2"),
    "nsga3": sampler_of_optuna("nsga3"),
    "gp": sampler_of_optuna("gp"),
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


def check_spaces(name: str, spaces: int) -> None:
    """Raise ConfigError where a sampler does not take so many spaces."""
    if spaces > 1 and name in ONE_SPACE:
        raise ConfigError(
            f"--sampler {name}: takes one space, since all trials must have the same parameters, but this study has "
            f"{spaces}; use ehvi, which models each space by itself, or name one --space"
        )
