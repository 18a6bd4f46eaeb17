"""One Gaussian process over several protocols: what a cheap protocol says of an expensive one is learned, not assumed.

In points (`search.accuracy.linear`), the mIOU of spec x under protocol t, from one seed, is

    y = level_t + rho_t h(x) + d_t(x) + noise        h = phi(x)' beta + f(x)

phi are features with slopes beta ~ N(m, S), f is a Gaussian process with a squared-exponential kernel over the same
features, d_t one of the protocol's own. So rho_t and the size of d_t say how far protocol t ranks networks as the
first protocol does, for which rho = 1 and d = 0 (a linear model of coregionalisation of rank one: Alvarez, Rosasco,
Lawrence, Kernels for Vector-Valued Functions, 2012, section 4.2; with ordered fidelities: Kennedy and O'Hagan,
Biometrika 87, 2000). All of it is Gaussian: `zoo.gp`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zoo.bulk.choices import Ints
from zoo.errors import ZooError
from zoo.gp import Posterior, squared_exponential

Floats = NDArray[np.float64]

LEVEL_SD = 20.0
"""Prior standard deviation of a protocol's level in points: almost free."""


@dataclass(frozen=True, slots=True)
class Task:
    """What a protocol shares with the first one: rho, and standard deviations in points.

    own_sd: of what is the protocol's own. noise_sd: of one run. level: the prior mean of its level in points.
    """

    rho: float = 1.0
    own_sd: float = 0.0
    noise_sd: float = 0.7
    level: float = 50.0


@dataclass(frozen=True)
class Scales:
    """slope_sd: factor on the prior standard deviations of the slopes. sd: of f, in points. length: of f and of d."""

    tasks: Mapping[str, Task]
    slope_sd: float = 1.0
    sd: float = 1.0
    length: float = 1.5

    @property
    def first(self) -> str:
        """The protocol that is predicted, whose rho is 1."""
        return next(iter(self.tasks))


@dataclass(frozen=True)
class Features:
    """Features of N specs, (N, P), and of each the prior mean and standard deviation of its slope, (P,)."""

    values: Floats
    slope: Floats
    slope_sd: Floats

    def take(self, index: Any) -> "Features":
        """Some of the rows."""
        return replace(self, values=self.values[index])

    def __len__(self) -> int:
        return len(self.values)


@dataclass(frozen=True, eq=False)
class MultiTask:
    """The posterior given observations of N runs.

    known: features of the specs that ran, (N, P). task: index of each run's protocol in `scales.tasks`, (N,).
    points: mIOU of the runs in points, (N,). extra: additional variance of each, (N,).
    Raises ZooError where the arrays differ in length.
    """

    scales: Scales
    known: Features
    task: Ints
    points: Floats
    extra: Floats = field(default_factory=lambda: np.zeros(1))

    def __post_init__(self) -> None:
        if not len(self.known) == len(self.task) == len(self.points):
            raise ZooError(f"{len(self.points)} runs need as many specs and protocols")

    def at(self, queries: Features, task: str | None = None) -> tuple[Floats, Floats]:
        """Mean and variance of the expected mIOU in points, noise of a run left out; by default of the first."""
        index = self._index(task, len(queries))
        cross = self._covariance(queries, index, self.known, self.task)
        return self._mean(queries, index) + self._posterior.mean(cross), self._posterior.variance(
            cross, self._variance(queries, index)
        )

    def joint(self, queries: Features, task: str | None = None) -> tuple[Floats, Floats]:
        """Mean (Q,) and covariance (Q, Q): differences of like specs are known better than their levels."""
        index = self._index(task, len(queries))
        cross = self._covariance(queries, index, self.known, self.task)
        prior = self._covariance(queries, index, queries, index)
        return self._mean(queries, index) + self._posterior.mean(cross), self._posterior.joint(cross, prior)

    def log_likelihood(self) -> float:
        """Logarithm of the density of the runs."""
        return self._posterior.log_likelihood()

    def left_out(self, groups: Sequence[Any]) -> tuple[Floats, Floats]:
        """Mean and variance of each run given the runs of all other groups; one group label a run.

        With B the rows and columns of the inverse covariance that are of a group, the group's runs miss their
        predictions by B^-1 [(K + S)^-1 r] and that has the covariance B^-1 (equation 5.12 of Rasmussen and Williams,
        2006, for more than one).
        """
        inverse, weights = self._posterior.inverse, self._posterior.inverse @ self._posterior.residual
        labels = {group: i for i, group in enumerate(dict.fromkeys(groups))}
        of = np.array([labels[group] for group in groups])
        mean, variance = np.empty(len(of)), np.empty(len(of))
        for i in range(len(labels)):
            rows = np.flatnonzero(of == i)
            spread = np.linalg.inv(inverse[np.ix_(rows, rows)])
            mean[rows] = self.points[rows] - spread @ weights[rows]
            variance[rows] = np.diag(spread)
        return mean, variance

    @cached_property
    def _posterior(self) -> Posterior:
        noise = self._per_task("noise_sd")[self.task] ** 2 + self.extra
        covariance = self._covariance(self.known, self.task, self.known, self.task) + np.diag(noise)
        return Posterior(covariance, self.points - self._mean(self.known, self.task))

    def _index(self, task: str | None, count: int) -> Ints:
        names = list(self.scales.tasks)
        return np.full(count, 0 if task is None else names.index(task), np.int64)

    def _per_task(self, name: str) -> Floats:
        return np.array([getattr(task, name) for task in self.scales.tasks.values()])

    def _mean(self, queries: Features, index: Ints) -> Floats:
        slopes: Floats = self._per_task("rho")[index] * (queries.values @ queries.slope)
        return self._per_task("level")[index] + slopes

    def _covariance(self, a: Features, of_a: Ints, b: Features, of_b: Ints) -> Floats:
        rho, own = self._per_task("rho"), self._per_task("own_sd")
        correlation = squared_exponential(a.values, b.values, self.scales.length)
        linear = (a.values * (self.scales.slope_sd * a.slope_sd) ** 2) @ b.values.T
        shared = rho[of_a][:, None] * rho[of_b] * (linear + self.scales.sd**2 * correlation)
        task_covariance = (of_a[:, None] == of_b) * (LEVEL_SD**2 + own[of_a][:, None] ** 2 * correlation)
        return np.asarray(shared + task_covariance, np.float64)

    def _variance(self, queries: Features, index: Ints) -> Floats:
        rho, own = self._per_task("rho")[index], self._per_task("own_sd")[index]
        linear = np.square(queries.values) @ (self.scales.slope_sd * queries.slope_sd) ** 2
        return np.asarray(rho**2 * (linear + self.scales.sd**2) + LEVEL_SD**2 + own**2, np.float64)


PRIORS: Mapping[str, tuple[float, float]] = {
    "rho": (1.0, 0.4),
    "own_sd": (1.0, 0.7),
    "noise_sd": (0.8, 0.4),
    "slope_sd": (1.0, 0.5),
    "sd": (1.0, 0.7),
    "length": (1.5, 0.4),
}
"""Median and standard deviation of the logarithm of each scale: with few runs a fit stays near what is usual."""

STEPS = (0.6, 0.3, 0.15, 0.07)
"""Steps of the search, in natural logarithms."""


def fit(start: Scales, features: Features, task: Ints, points: Floats, extra: Floats) -> Scales:
    """The most probable scales, by coordinate search: each logarithm a step up or down while that helps.

    The first protocol keeps rho = 1 and no own part. Protocols without a run keep their start.
    """
    names = list(start.tasks)
    present = {names[i] for i in np.unique(task)}
    free = [("", f.name) for f in fields(Scales) if f.name != "tasks"]
    for name in names:
        parts = ("noise_sd",) if name == start.first else ("rho", "own_sd", "noise_sd")
        free += [(name, part) for part in parts if name in present]

    for key in free:
        if _read(start, key) == 0:  # which has no logarithm
            start = _write(start, key, PRIORS[key[1]][0])

    def value(scales: Scales) -> float:
        logs = [np.log(_read(scales, key) / PRIORS[key[1]][0]) / PRIORS[key[1]][1] for key in free]
        return MultiTask(scales, features, task, points, extra).log_likelihood() - 0.5 * float(np.square(logs).sum())

    best, score = start, value(start)
    for step in STEPS:
        moved = True
        while moved:
            moved = False
            for key in free:
                for factor in (np.exp(step), np.exp(-step)):
                    trial = _write(best, key, _read(best, key) * float(factor))
                    if (trial_score := value(trial)) > score + 1e-6:
                        best, score, moved = trial, trial_score, True
                        break
    return best


def _read(scales: Scales, key: tuple[str, str]) -> float:
    return float(getattr(scales.tasks[key[0]] if key[0] else scales, key[1]))


def _write(scales: Scales, key: tuple[str, str], value: float) -> Scales:
    changed: dict[str, Any] = {key[1]: value}
    if not key[0]:
        return replace(scales, **changed)
    return replace(scales, tasks={**scales.tasks, key[0]: replace(scales.tasks[key[0]], **changed)})
