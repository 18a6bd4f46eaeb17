"""Search problems whose true front is known: candidates, a truth for each seed, the score of what was tried, and
samplers of ours and Optuna's that try.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from search.accuracy.linear import percent, points
from search.device_at import DeviceAt
from search.pareto import nondominated
from search.query import Query
from search.space import SearchSpace, space_of
from search.study.feasible import FeasibleSet, evaluator, feasible_set
from search.study.samplers import SAMPLERS, History, Setting, Tried
from search.study.surrogate import LENGTH, Prior, Scale, observations_of, prior, uninformed
from zoo.config import Limits, load_config

SIZE = (512, 1024)
NOISE = 0.7
"""Standard deviation of one run, in points."""

LIMITS = Limits(max_latency_ms=150.0, max_params=400_000)


def query(space: str = "default", limits: Limits = LIMITS) -> Query:
    return Query(space=space_of(load_config().space(space), SIZE), devices=(DeviceAt("tx2"),), limits=limits)


def problem() -> FeasibleSet:
    """The space `default` at 1024x512 on the TX2, within 150 ms and 400,000 parameters."""
    return feasible_set(query())


def drawn(feasible: FeasibleSet, seed: int) -> Any:
    """mIOU of each candidate: a draw of the published effects' posterior, and of what no sum of effects explains."""
    own = prior(feasible, same_protocol=True)
    rng = np.random.default_rng([2026, seed])
    effects = rng.multivariate_normal(own.mean, own.covariance)
    # Random Fourier features of the squared-exponential process (Rahimi and Recht, 2007).
    waves = rng.normal(size=(own.positions.shape[1], 400)) / LENGTH
    process = np.cos(own.positions @ waves + rng.uniform(0, 2 * np.pi, 400)) @ rng.normal(size=400) * np.sqrt(2 / 400)
    return percent(own.features @ effects + process)


def thresholds(feasible: FeasibleSet, seed: int) -> Any:
    """mIOU of each candidate: steps along fields, and steps where two fields are both above a threshold."""
    rng = np.random.default_rng([77, seed])
    places = feasible.positions
    fields, edges = rng.integers(0, places.shape[1], (12, 2)), rng.uniform(0.2, 0.8, (12, 2))
    pairs_above = [(places[:, a] > s) & (places[:, b] > t) for (a, b), (s, t) in zip(fields, edges, strict=True)]
    return percent(
        45 + (places > 0.5) @ rng.normal(0, 4, places.shape[1]) + np.array(pairs_above).T @ rng.normal(0, 5, 12)
    )


def with_noise(truth: Any, seed: int) -> Any:
    """The mIOU of one run of each candidate."""
    return percent(points(truth) + np.random.default_rng([9, seed]).normal(0, NOISE, len(truth)))


def known_before(feasible: FeasibleSet, *, same_protocol: bool = True) -> Prior:
    return prior(feasible, same_protocol=same_protocol)


def unknown(feasible: FeasibleSet) -> Prior:
    return Prior(*uninformed(feasible.positions), feasible.positions, feasible.space)


class Score:
    """Share of the exact hypervolume; the reference is a tenth of the true front's span beyond its nadir."""

    def __init__(self, points: Any) -> None:
        import moocore

        self._volume: Callable[..., float] = moocore.hypervolume
        front = points[nondominated(points)]
        self.low, span = front.min(axis=0), np.ptp(front, axis=0)
        self.unit, self.size = (points - self.low) / span, len(front)
        self.ref = np.full(points.shape[1], 1.1)
        self.whole = self._volume((front - self.low) / span, ref=self.ref)

    def __call__(self, index: list[int]) -> float:
        valid = [i for i in index if i >= 0]
        return float(self._volume(self.unit[valid], ref=self.ref) / self.whole) if valid else 0.0


Tries = tuple[list[int], list[float]]
"""Candidates in the order asked (-1: outside the limits, or no valid spec), and the seconds of each proposal."""


def ours(name: str, feasible: FeasibleSet, own: Prior, truth: Any, seed: int, count: int) -> Tries:
    """A sampler of `search.study.samplers`."""
    sampler = SAMPLERS[name](Setting(feasible, own, Scale(), seed, count))
    tried: list[Tried] = []
    seconds = []
    for number in range(count):
        start = time.perf_counter()
        observations = observations_of([(t.index, t.miou, 0.0) for t in tried])
        proposed = np.array([t.index for t in tried], np.int64)
        proposal = sampler(History(tuple(tried), observations, np.empty(0, np.int64), proposed), number)
        seconds.append(time.perf_counter() - start)
        tried.append(Tried(proposal.index, float(truth[proposal.index]), dict(proposal.notes)))
    return [t.index for t in tried], seconds


def optunas(name: str, feasible: FeasibleSet, truth: Any, seed: int, count: int) -> Tries:
    """A sampler of Optuna's in a study over the choices, its defaults, constraints set."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    kinds: dict[str, Callable[..., Any]] = {
        "random": optuna.samplers.RandomSampler,
        "tpe": optuna.samplers.TPESampler,
        "nsga2": optuna.samplers.NSGAIISampler,
        "gp": optuna.samplers.GPSampler,
    }
    choices = feasible.query.one_space.choices
    study = optuna.create_study(directions=["minimize"] * len(feasible.query.axes()), sampler=kinds[name](seed=seed))
    worst = feasible.points(np.arange(len(feasible)), truth).max(axis=0)
    place = {int(row): i for i, row in enumerate(feasible.rows)}
    shape = tuple(len(values) for values in choices.values.values())
    index, seconds = [], []
    for _ in range(count):
        start = time.perf_counter()
        trial = study.ask()
        codes = [trial.suggest_int(field, 0, len(values) - 1) for field, values in choices.values.items()]
        at = place.get(int(np.ravel_multi_index(codes, shape)), -1)
        trial.set_constraint("limits", -1.0 if at >= 0 else 1.0)
        study.tell(trial, (worst if at < 0 else feasible.points(at, truth[at])).tolist())
        seconds.append(time.perf_counter() - start)
        index.append(at)
    return index, seconds


def measured_problem(table: Path) -> tuple[FeasibleSet, Any]:
    """The networks of the bench alone, and the mean of what each was measured at; mIOU is known of these only."""
    from search.accuracy.bench.design import CHOICES
    from search.accuracy.bench.protocol import read_runs
    from search.accuracy.bench.table import measured

    whole = Query(space=SearchSpace(CHOICES, SIZE), devices=(DeviceAt("tx2"),))
    networks = sorted((whole.space.row(network.spec), network.mean) for network in measured(read_runs(table)))
    columns = evaluator(whole)(np.array([row for row, _ in networks], np.int64))
    costs = [sign * columns.metric(m, d).astype(float) for m, d, sign in whole.axes() if m != "miou"]
    before = np.stack([columns.miou[part] for part in ("low", "mean", "high")], axis=1)
    feasible = FeasibleSet(
        whole, len(networks), columns.rows, np.stack(costs, axis=1), before, np.zeros((len(networks), 0))
    )
    return feasible, np.array([miou for _, miou in networks])
