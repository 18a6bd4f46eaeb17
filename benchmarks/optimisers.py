"""Exact search beside Optuna's samplers where everything is computed: how long each takes to how much of the front."""

import time
from pathlib import Path
from statistics import median

import numpy as np

from benchmarks.machine import Others
from benchmarks.page import DOCS, Section
from benchmarks.side_by_side import MAX_OTHERS, duration, markdown
from benchmarks.truths import Score, optunas, problem, query

SAMPLERS = ("tpe", "nsga2", "random")
AFTER = (10, 30, 100, 300, 1000)
QUICK = 300
PLOT: Path = DOCS / "benchmarks-optimisers.svg"
Points = list[tuple[float, float]]
"""Seconds, and the share of the exact hypervolume that is reached by then."""


def exact(rounds: int) -> list[float]:
    """Seconds from the query to the complete front, nothing cached."""
    from search.exact import search

    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        search(query())
        times.append(time.perf_counter() - start)
    return times


def run(full: bool) -> Section:
    """A Markdown section and a plot."""
    load, seeds = Others(), 3 if full else 1
    counts = [n for n in AFTER if full or n <= QUICK]
    times = exact(3)
    feasible = problem()
    truth = feasible.miou[:, 1]
    score = Score(feasible.points(np.arange(len(feasible)), truth))
    curves: dict[str, list[Points]] = {name: [] for name in SAMPLERS}
    for seed in range(seeds):
        for name in SAMPLERS:
            index, seconds = optunas(name, feasible, truth, seed, counts[-1])
            spent = np.cumsum(seconds)
            curves[name].append([(float(spent[n - 1]), score(index[:n])) for n in counts])
    times += exact(2)  # on both sides of the others, so that a drift of the machine would show
    plot(median(times), curves)
    busy = load.share()
    return Section(_text(times, curves, counts, score.size, busy), {"exact": times, "curves": curves})


def _text(
    times: list[float], curves: dict[str, list[Points]], counts: list[int], front: int, busy: float | None
) -> str:
    noisy = " The machine was too noisy to tell the times." if busy is not None and busy > MAX_OTHERS else ""
    head = ("", *(f"{n:,} trials" for n in counts), "time", "against the exact search")
    rows = [("exact search", *[""] * (len(counts) - 1), "1.000", duration(median(times)), "1")]
    for name, runs in curves.items():
        shares = [f"{median(run[i][1] for run in runs):.3f}" for i in range(len(counts))]
        took = median(run[-1][0] for run in runs)
        rows.append((f"Optuna's {name}", *shares, duration(took), f"{took / median(times):.1f} times as long"))
    return f"""\
## Exact search and Optuna

Where every objective can be computed, nothing needs to be sampled: share of the exact hypervolume (mIOU as predicted,
latency on the TX2, size; the space `default` within 150 ms and 400,000 parameters, {front:,} candidates on the front)
that Optuna's samplers reach after so many trials, and how long they take, medians of {len(curves["tpe"])} seeds. Their
time is that of proposals alone: what a candidate costs is looked up in a table. The exact search begins with nothing
and ends with a front that is known to be complete.{noisy}

{markdown([head, *rows])}

![Share of the exact hypervolume over time]({PLOT.name})
"""


def plot(exact_s: float, curves: dict[str, list[Points]]) -> None:
    """Share against seconds, logarithmic; the exact search is a point."""
    from benchmarks.plots import COLOURS, figure, save

    chart, (axes,) = figure(width=5.0)
    for colour, (name, runs) in zip(COLOURS[1:], curves.items(), strict=False):
        for i, points in enumerate(runs):
            seconds, shares = zip(*points, strict=True)
            axes.plot(seconds, shares, "o-", ms=3, color=colour, label=f"Optuna's {name}" if not i else None)
    axes.plot([exact_s], [1.0], "D", ms=7, color=COLOURS[0], label="exact search")
    axes.set(xscale="log", xlabel="seconds", ylabel="share of the exact hypervolume", ylim=(None, 1.05))
    axes.legend(frameon=False, loc="lower right")
    save(chart, PLOT)
