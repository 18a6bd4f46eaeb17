"""Sample efficiency of the samplers where the true front is known, against Optuna's own without the feasible set.

Runs in as many processes as there are cores; what is done is kept in runs/, so that an interrupted run goes on.
"""

import hashlib
import json
import os
import sys
import warnings
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np

from benchmarks.page import DOCS, Section
from benchmarks.side_by_side import markdown
from benchmarks.truths import (
    NOISE,
    Score,
    drawn,
    known_before,
    measured_problem,
    optunas,
    ours,
    problem,
    thresholds,
    unknown,
    with_noise,
)
from search.study import ehvi as improvement
from search.study import samplers
from search.study import surrogate as belief
from search.study.feasible import FeasibleSet

AFTER = (10, 20, 50, 100, 200)
SEEDS = int(os.environ.get("ZOO_BENCH_SEEDS", "10"))
SLOW_AFTER, SLOW_SEEDS = 50, 3
"""Trials and seeds of Gaussian processes, whose time grows with the cube of the trials."""

MEASURED_AFTER = (5, 10, 15)
AIM = (50, 0.97)
PLOT = DOCS / "benchmarks-sampling.svg"
KEPT = Path("runs") / "benchmarks"


@dataclass(frozen=True)
class Method:
    """own: a sampler of ours. informed: it starts from the published figures.

    noise: each trial has that of one run. thresholds: the truth is a sum of thresholds.
    """

    name: str
    own: bool
    informed: bool = True
    noise: bool = False
    thresholds: bool = False

    @property
    def title(self) -> str:
        if not self.own:
            return f"Optuna's {self.name}, no feasible set"
        truth = ", truth of thresholds" if self.thresholds else ""
        noise = ", noise of one run" if self.noise else ""
        return f"`{self.name}`" + ("" if self.informed else ", nothing known before") + truth + noise

    @property
    def trials(self) -> int:
        return SLOW_AFTER if self.name == "gp" or self.noise else AFTER[-1]

    def seeds(self, count: int) -> int:
        return min(SLOW_SEEDS, count) if self.name == "gp" else count


METHODS = (
    Method("ehvi", own=True),
    Method("ehvi", own=True, informed=False),
    Method("tpe", own=True),
    Method("nsga2", own=True),
    Method("random", own=True),
    Method("tpe", own=False),
    Method("nsga2", own=False),
    Method("random", own=False),
    Method("ehvi", own=True, noise=True),
    Method("ehvi", own=True, noise=True, thresholds=True),
    Method("ehvi", own=True, informed=False, noise=True, thresholds=True),
    Method("random", own=True, noise=True, thresholds=True),
    Method("gp", own=True),
    Method("gp", own=False),
)


@cache
def _problem() -> tuple[FeasibleSet, str]:
    """The candidates, and a digest of all that the results rest on."""
    feasible = problem()
    digest = hashlib.sha256(feasible.rows.tobytes() + np.ascontiguousarray(feasible.known).tobytes())
    for module in (samplers, improvement, belief):
        digest.update(Path(str(module.__file__)).read_bytes())
    return feasible, digest.hexdigest()[:12]


def shares(method: Method, seed: int) -> list[float]:
    """Shares of the exact hypervolume after each number of trials."""
    warnings.simplefilter("ignore")
    feasible, _ = _problem()
    truth = thresholds(feasible, seed) if method.thresholds else drawn(feasible, seed)
    if method.own:
        same_protocol = not method.thresholds  # the sampler is told that its prior is of another protocol
        believed = known_before(feasible, same_protocol=same_protocol) if method.informed else unknown(feasible)
        observed = with_noise(truth, seed) if method.noise else truth
        index, _ = ours(method.name, feasible, believed, observed, seed, method.trials)
    else:
        index, _ = optunas(method.name, feasible, truth, seed, method.trials)
    score = Score(feasible.points(np.arange(len(feasible)), truth))
    return [score(index[:count]) for count in AFTER if count <= method.trials]


Found = dict[tuple[Method, int], list[float]]


def results(seeds: int) -> Found:
    """Of every method and seed; each is kept as soon as it is there."""
    _, digest = _problem()
    KEPT.mkdir(parents=True, exist_ok=True)
    path = KEPT / f"sampling-{digest}.jsonl"
    finished: Found = {(Method(**r["method"]), r["seed"]): r["shares"] for r in _rows(path)}
    todo = [(m, s) for m in METHODS for s in range(m.seeds(seeds)) if (m, s) not in finished]
    todo.sort(key=lambda pair: (pair[0].name == "gp", pair[1]))
    os.environ["OMP_NUM_THREADS"] = "1"
    with ProcessPoolExecutor(len(os.sched_getaffinity(0)), mp_context=get_context("spawn")) as pool:
        jobs = {pool.submit(shares, method, seed): (method, seed) for method, seed in todo}
        for job in as_completed(jobs):
            method, seed = jobs[job]
            finished[method, seed] = job.result()
            with path.open("a", encoding="utf-8") as file:
                file.write(
                    json.dumps({"method": asdict(method), "seed": seed, "shares": finished[method, seed]}) + "\n"
                )
            print(f"{method.title}, seed {seed}: {finished[method, seed]}", file=sys.stderr, flush=True)
    return {key: value for key, value in finished.items() if key[1] < seeds}


def on_measured(table: Path, seeds: int) -> tuple[int, dict[Method, list[list[float]]]]:
    """Number of measured networks, and shares of the hypervolume of their front, by our samplers' choice among them."""
    feasible, truth = measured_problem(table)
    score = Score(feasible.points(np.arange(len(feasible)), truth))
    out: dict[Method, list[list[float]]] = {}
    for method in (m for m in METHODS if m.own and m.name != "gp" and not m.noise):
        believed = known_before(feasible, same_protocol=False) if method.informed else unknown(feasible)
        for seed in range(seeds):
            index, _ = ours(method.name, feasible, believed, truth, seed, min(MEASURED_AFTER[-1], len(feasible)))
            out.setdefault(method, []).append([score(index[:count]) for count in MEASURED_AFTER])
    return len(feasible), out


def _measured_text(seeds: int) -> str:
    from search.accuracy.bench.protocol import EPOCHS, SIZE, TABLE, read_runs

    if len(read_runs(TABLE)) <= MEASURED_AFTER[-1]:
        return ""
    count, by_method = on_measured(TABLE, seeds)
    head = ("sampler", *(f"{n} of {count}" for n in MEASURED_AFTER))
    return f"""
### Measured networks

The same among the {count} networks of the bench alone, whose mIOU was measured: {EPOCHS} epochs of CamVid at
{SIZE[1]}x{SIZE[0]}; {seeds} seeds, which change nothing for `ehvi`. It starts from figures published for another
data set and another training. Optuna's own samplers cannot be asked to stay among these networks.

{markdown([head, *(_row(m, rows, MEASURED_AFTER) for m, rows in by_method.items())])}
"""


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    if path.exists():
        yield from (json.loads(line) for line in path.read_text(encoding="utf-8").splitlines())


def run(full: bool) -> Section:
    """A Markdown section and a plot; quick runs have 3 seeds."""
    seeds = SEEDS if full else min(3, SEEDS)
    shares_found = results(seeds)
    by_method = {m: [shares_found[m, s] for s in range(m.seeds(seeds))] for m in METHODS}
    plot({m: rows for m, rows in by_method.items() if not m.noise})
    at, aim = AIM
    place = AFTER.index(at)
    best = max((m for m in METHODS if not m.own), key=lambda m: mean(row[place] for row in by_method[m]))
    noisy = next(m for m in METHODS if m.noise)
    reached = {m: mean(row[place] for row in by_method[m]) for m in (METHODS[0], METHODS[1], noisy, best)}
    aims = (
        f"The aim is {aim} after {at} trials: `ehvi` has {_met(reached[METHODS[0]], aim)} without noise, "
        f"{_met(reached[noisy], aim)} with it, without knowledge "
        f"{_met(reached[METHODS[1]], aim)}; the best of Optuna's own, {best.name}, {_met(reached[best], aim)}."
    )
    slow = any(m.name == "gp" for m in by_method)
    gaussian = f" `gp` has {min(SLOW_SEEDS, seeds)} seeds and runs to {SLOW_AFTER} trials." if slow else ""
    text = f"""\
## Sampling

Share of the exact hypervolume (mIOU, latency on the TX2, size) after so many trials: mean ± standard deviation over
{seeds} seeds. Each seed has a truth of its own: the effects of the accuracy model drawn from their posterior, and a
random field that no sum of effects explains; samplers see only what they ask. The space is `default` at 1024x512 within
150 ms and 400,000 parameters ({len(_problem()[0]):,} candidates), its true front known by enumeration; the reference
point is a tenth of the front's span beyond its nadir. Samplers of `zoo search` ask inside the feasible set and never
twice. Optuna's have its defaults and the constraint set on each trial; what they ask outside the limits counts as a
trial. `ehvi` starts from the posterior that the truths are drawn from and has their kernel, and most rows have no
noise: both flatter it. One row says what is left where it knows nothing. Rows with noise add that of one run
({NOISE} points) to every trial and run to {SLOW_AFTER} trials; those of thresholds have truths that share neither its
kernel nor its effects. [Accuracy](accuracy.md#the-prior-of-a-study-and-its-trials) has more of them.{gaussian} {aims}

{markdown([("sampler", *(f"{n} trials" for n in AFTER)), *(_row(m, rows) for m, rows in by_method.items())])}

![Share of the exact hypervolume by number of trials]({PLOT.name})
{_measured_text(seeds)}"""
    data = [{"sampler": m.title, "after": AFTER, "shares": rows} for m, rows in by_method.items()]
    return Section(text, {"sampling": data})


def _met(value: float, aim: float) -> str:
    return f"{value:.3f} ({'met' if value >= aim else 'missed'})"


def _row(method: Method, rows: list[list[float]], after: tuple[int, ...] = AFTER) -> tuple[str, ...]:
    cells = []
    for i in range(len(after)):
        column = [row[i] for row in rows if i < len(row)]
        around = f" ± {stdev(column):.3f}" if len(column) > 1 else ""
        cells.append(f"{mean(column):.3f}{around}" if column else "–")
    return (method.title, *cells)


def plot(by_method: dict[Method, list[list[float]]]) -> None:
    """Means over the seeds; ours solid, Optuna's own dashed in the same colour."""
    from benchmarks.plots import COLOURS, figure, save

    drawn_, (axes,) = figure(width=6.0, height=3.6)
    colours = dict(zip(("ehvi", "tpe", "nsga2", "random", "gp"), COLOURS, strict=False))
    for method, rows in by_method.items():
        means = [mean(column) for column in zip(*rows, strict=True)]
        style = ("-" if method.informed else ":") if method.own else "--"
        axes.plot(
            AFTER[: len(means)],
            means,
            style,
            marker="o",
            ms=3,
            color=colours[method.name],
            label=method.title.replace("`", ""),
        )
    axes.axhline(AIM[1], color="0.6", linewidth=0.8)
    axes.set(xscale="log", xlabel="trials", ylabel="share of the exact hypervolume", xticks=AFTER, xticklabels=AFTER)
    axes.minorticks_off()
    drawn_.legend(loc="outside right upper", frameon=False, fontsize=8)
    save(drawn_, PLOT)
