"""Sample efficiency of the samplers where the true front is known, against Optuna's own without the feasible set."""

import os
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from statistics import mean, median, stdev
from typing import Any

import moocore
import numpy as np
import optuna

from search.additive import percent
from search.belief import LENGTH, Prior, Scale, _unknown, prior, told_of
from search.candidates import Candidates, candidates
from search.pareto import nondominated
from search.query import DeviceAt, Query
from search.samplers import SAMPLERS, History, Setting, Tried
from search.space import space_of
from zoo.config import Limits, load_config

SIZE = (512, 1024)
LIMITS = Limits(max_latency_ms=150.0, max_params=400_000)
AFTER = (10, 20, 50, 100, 200)
SEEDS = int(os.environ.get("ZOO_BENCH_SEEDS", "10"))
OURS = ("ehvi", "random", "tpe", "nsga2")
SLOW = ("gp",)
SLOW_AFTER, SLOW_SEEDS = 50, 3


def world(found: Candidates, own: Prior, seed: int) -> Any:
    """A truth: a draw of the published effects from their posterior, and of what no sum of effects explains."""
    rng = np.random.default_rng([2026, seed])
    effects = rng.multivariate_normal(own.mean, own.covariance)
    # Random Fourier features of the squared-exponential process (Rahimi and Recht, 2007).
    waves = rng.normal(size=(own.positions.shape[1], 400)) / LENGTH
    process = np.cos(own.positions @ waves + rng.uniform(0, 2 * np.pi, 400)) @ rng.normal(size=400) * np.sqrt(2 / 400)
    return percent(own.features @ effects + process)


class Score:
    """Share of the exact hypervolume; the reference is a tenth of the true front's span beyond its nadir."""

    def __init__(self, points: Any) -> None:
        front = points[nondominated(points)]
        self.low, span = front.min(axis=0), np.ptp(front, axis=0)
        self.unit, self.size = (points - self.low) / span, len(front)
        self.ref = np.full(points.shape[1], 1.1)
        self.whole = moocore.hypervolume((front - self.low) / span, ref=self.ref)

    def __call__(self, index: list[int]) -> float:
        kept = [i for i in index if i >= 0]
        return float(moocore.hypervolume(self.unit[kept], ref=self.ref) / self.whole) if kept else 0.0


def ours(name: str, found: Candidates, own: Prior, truth: Any, seed: int, count: int) -> tuple[list[int], list[float]]:
    """Candidates in the order asked, and the seconds of each proposal."""
    sampler = SAMPLERS[name](Setting(found, own, Scale(), seed, count))
    tried: list[Tried] = []
    seconds = []
    for number in range(count):
        told = told_of([(t.index, t.miou, 0.0) for t in tried])
        taken = np.array([t.index for t in tried], np.int64)
        start = time.perf_counter()
        proposal = sampler(History(tuple(tried), told, np.empty(0, np.int64), taken), number)
        seconds.append(time.perf_counter() - start)
        tried.append(Tried(proposal.index, float(truth[proposal.index]), dict(proposal.notes)))
    return [t.index for t in tried], seconds


def optunas(
    name: str, found: Candidates, own: Prior, truth: Any, seed: int, count: int
) -> tuple[list[int], list[float]]:
    """The same of an Optuna study over the choices with constraints set; -1: outside the limits or no valid spec."""
    kinds: dict[str, Callable[[], Any]] = {
        "random": lambda: optuna.samplers.RandomSampler(seed=seed),
        "tpe": lambda: optuna.samplers.TPESampler(seed=seed),
        "nsga2": lambda: optuna.samplers.NSGAIISampler(seed=seed),
        "gp": lambda: optuna.samplers.GPSampler(seed=seed),
    }
    query = found.query
    choices = query.space.choices
    study = optuna.create_study(directions=["minimize"] * len(query.axes()), sampler=kinds[name]())
    worst = found.points(np.arange(len(found)), truth).max(axis=0)
    place = {int(row): i for i, row in enumerate(found.rows)}
    shape = tuple(len(values) for values in choices.values.values())
    index, seconds = [], []
    for _ in range(count):
        start = time.perf_counter()
        trial = study.ask()
        codes = [trial.suggest_int(field, 0, len(values) - 1) for field, values in choices.values.items()]
        spent = time.perf_counter() - start
        at = place.get(int(np.ravel_multi_index(codes, shape)), -1)
        trial.set_constraint("limits", -1.0 if at >= 0 else 1.0)
        start = time.perf_counter()
        study.tell(trial, (worst if at < 0 else found.points(at, truth[at])).tolist())
        index.append(at)
        seconds.append(spent + time.perf_counter() - start)
    return index, seconds


def rows() -> Iterator[tuple[str, list[list[float]], float]]:
    """(method, shares after each count by seed, median seconds a trial at the end)."""
    found = candidates(
        Query(space=space_of(load_config().space("default"), SIZE), devices=(DeviceAt("tx2"),), limits=LIMITS)
    )
    own = prior(found, same_protocol=True)
    worlds = [world(found, own, seed) for seed in range(SEEDS)]
    scores = [Score(found.points(np.arange(len(found)), truth)) for truth in worlds]
    flat = Prior(*_unknown(found), found.positions)
    methods: list[tuple[str, Any, str, Prior]] = [
        *((f"`{name}`", ours, name, own) for name in OURS),
        ("`ehvi`, nothing known before", ours, "ehvi", flat),
        *((f"Optuna's {name}, no feasible set", optunas, name, own) for name in ("tpe", "nsga2", "random")),
        *((f"`{name}`", ours, name, own) for name in SLOW),
        *((f"Optuna's {name}, no feasible set", optunas, name, own) for name in SLOW),
    ]
    for title, method, name, believed in methods:
        slow = name in SLOW
        after = [n for n in AFTER if not slow or n <= SLOW_AFTER]
        shares, last = [], []
        for seed in range(min(SEEDS, SLOW_SEEDS) if slow else SEEDS):
            index, seconds = method(name, found, believed, worlds[seed], seed, after[-1])
            shares.append([scores[seed](index[:n]) for n in after])
            last.append(median(seconds[-20:]))
        print(f"{title}: {[round(mean(column), 4) for column in zip(*shares, strict=True)]}", file=sys.stderr)
        yield title, shares, median(last)


def table() -> str:
    lines = [
        "| sampler | " + " | ".join(f"{n} trials" for n in AFTER) + " | overhead, last trials |",
        "| --- |" + " --: |" * (len(AFTER) + 1),
    ]
    for title, shares, seconds in rows():
        cells = []
        for i in range(len(AFTER)):
            column = [row[i] for row in shares if i < len(row)]
            spread = f" ± {stdev(column):.3f}" if len(column) > 1 else ""
            cells.append(f"{mean(column):.3f}{spread}" if column else "–")
        lines.append(f"| {title} | " + " | ".join(cells) + f" | {1e3 * seconds:.1f} ms |")
    return "\n".join(lines)


def storage() -> str:
    """Overhead of a whole trial of a study: ask, evaluate nothing, tell, with the journal on disk."""
    import tempfile
    from pathlib import Path

    from search.study import Plan, start

    query = Query(space=space_of(load_config().space("default"), SIZE), devices=(DeviceAt("tx2"),), limits=LIMITS)
    out = []
    for sampler in ("ehvi", "random", "tpe", "nsga2"):
        with tempfile.TemporaryDirectory() as name:
            times: list[float] = []

            def say(text: str, times: list[float] = times) -> None:
                times.append(time.perf_counter())

            start(query, Plan(trials=200, sampler=sampler), Path(name), say=say)
            steps = np.diff(times)[-50:]
            out.append(f"`{sampler}` {1e3 * median(steps):.0f} ms")
    return ", ".join(out)


def on_workers() -> str:
    """What Ray adds to a trial: 36 trials that cost nothing, on actors of this machine, the first ones left out."""
    import tempfile
    from pathlib import Path

    try:
        from search.ray_backend import on_ray

        make = on_ray()
    except ModuleNotFoundError:
        return "Ray is not installed here"
    import ray

    from search.study import Plan, start

    query = Query(space=space_of(load_config().space("tiny"), SIZE), devices=(DeviceAt("tx2"),))
    times: list[float] = []
    with tempfile.TemporaryDirectory() as name:
        plan = Plan(trials=36, sampler="random")
        start(query, plan, Path(name), engine=make, say=lambda text: times.append(time.perf_counter()))
    slots = int(ray.cluster_resources()["CPU"])
    ray.shutdown()
    return f"{1e3 * float(np.mean(np.diff(times)[-20:])):.0f} ms a trial with {slots} workers"


def run() -> str:
    """A Markdown section."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore")
    protocol = f"""\
Share of the exact hypervolume (mIOU, latency on the TX2, size) after so many trials: mean ± standard
deviation over {SEEDS} seeds ({min(SEEDS, SLOW_SEEDS)} for `gp`, to {SLOW_AFTER} trials). Each seed has a
truth of its own: the effects of the accuracy model drawn from their posterior, and a random field that no sum
of effects explains; samplers see only what they ask. The space is `default` at 1024x512 within 150 ms and
400,000 parameters, its true front known by enumeration; the reference point is a tenth of the front's span
beyond its nadir. Optuna's own samplers have its defaults and the constraint set on each trial; what they ask
outside the limits counts as a trial. `ehvi` starts from the posterior that the truths are drawn from; one row
says what is left where it knows nothing.

"""
    return (
        "## Sampling\n\n"
        + protocol
        + table()
        + "\n\nA whole trial of a study, evaluation at no cost, trials 150 to 200, told to the journal on disk: "
        + f"{storage()}. Through Ray: {on_workers()}.\n"
    )
