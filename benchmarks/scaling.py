"""Exact search from a thousand to a million specs: time and peak memory, a fresh process each."""

import json
import sys
import time
from statistics import median
from typing import Any

from benchmarks.machine import MIB, Others, fresh, peak_bytes
from benchmarks.page import DOCS, Section
from benchmarks.side_by_side import MAX_OTHERS, MAX_SPREAD, duration, markdown, spread
from search.device_at import DeviceAt
from search.query import Query
from search.space import SearchSpace
from zoo.bulk.choices import Choices
from zoo.config import Limits, load_config

SIZE = (512, 1024)
MILLION = "1,000,000"
AIM_S, AIM_BYTES = 15.0, 1.5 * 2**30
LIMITS = {"no limits": Limits(), "150 ms, 400,000 parameters": Limits(max_latency_ms=150.0, max_params=400_000)}
PLOT = DOCS / "benchmarks-scaling.svg"


def space(scale: str) -> SearchSpace:
    """The space `default` with choices taken away or added, so that about as many specs are valid."""
    choices = dict(load_config().space("default").choices)
    few = {"activation": ("prelu",), "reduce": ("pointwise",), "widths": choices["widths"][:8]}
    depths = (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 16)
    either = (True, False)
    changes: dict[str, dict[str, tuple[Any, ...]]] = {
        "1,000": {**few, "widths": choices["widths"][:4], "k": (3, 4, 5, 8), "alpha2": (1, 2), "alpha3": depths[1:7]},
        "10,000": {**few, "alpha2": (1, 2, 3, 4)},
        "100,000": {},
        MILLION: {"alpha2": tuple(range(1, 11)), "alpha3": depths, "hff": either, "residual": either},
    }
    return SearchSpace(Choices("espnet", choices | changes[scale]), SIZE)


SCALES = ("1,000", "10,000", "100,000", MILLION)


def child(scale: str, limits: str) -> dict[str, Any]:
    """One search, in this process, with nothing cached."""
    from search.exact import search

    start, cpu = time.perf_counter(), time.process_time()
    result = search(Query(space=space(scale), devices=(DeviceAt("tx2"),), limits=LIMITS[limits]))
    return {
        "specs": result.enumerated,
        "feasible": result.feasible,
        "front": len(result.columns.rows),
        "seconds": time.perf_counter() - start,
        "cpu_seconds": time.process_time() - cpu,
        "peak_bytes": peak_bytes(),
    }


Runs = dict[tuple[str, str], list[dict[str, Any]]]


def run(full: bool) -> Section:
    """A Markdown section and a plot."""
    rounds = 5 if full else 2
    cases = [(scale, limits) for scale in SCALES for limits in (LIMITS if scale == MILLION else ["no limits"])]
    runs: Runs = {case: [] for case in cases}
    load = Others()
    for number in range(rounds):
        for case in cases:
            start = time.perf_counter()
            result = json.loads(fresh("benchmarks.scaling", *case))
            runs[case].append(result | {"process_s": time.perf_counter() - start})
        print(f"round {number + 1} of {rounds}", file=sys.stderr, flush=True)
    busy = load.share()
    plot(runs)
    return Section(_text(runs, busy), {"runs": [{"case": case, "found": result} for case, result in runs.items()]})


def _text(runs: Runs, busy: float | None) -> str:
    head = ("specs", "limits", "within them", "front", "time", "spread", "peak memory", "time a spec")
    worst_s = max(median(r["process_s"] for r in results) for case, results in runs.items() if case[0] == MILLION)
    worst_bytes = max(r["peak_bytes"] for results in runs.values() for r in results)
    aim = f"The aim for a million is {AIM_S:g} s and {AIM_BYTES / 2**30:g} GiB"
    met = "met" if worst_s <= AIM_S and worst_bytes <= AIM_BYTES else "missed"
    wide = max(spread([r["process_s"] for r in results]) for results in runs.values())
    noisy = (busy or 0.0) > MAX_OTHERS or wide > MAX_SPREAD
    verdict = " The machine was too noisy to tell the times." if noisy else ""
    return f"""\
## Growth of the exact search

Specs enumerated, lowered, counted, priced on the TX2, filtered, and sorted to the exact front of mIOU, latency and size
at 1024x512; a fresh process each, its start included, and the most memory that it had in RAM; medians of
{len(next(iter(runs.values())))} rounds. The spaces are `default` with fewer or more choices.
{aim}: {met}, with {worst_s:.1f} s and {worst_bytes / 2**30:.2f} GiB at worst.{verdict}

{markdown([head, *(_row(case, results) for case, results in runs.items())])}

![Time and peak memory from a thousand to a million specs]({PLOT.name})
"""


def _row(case: tuple[str, str], results: list[dict[str, Any]]) -> tuple[str, ...]:
    first, seconds = results[0], [r["process_s"] for r in results]
    return (
        f"{first['specs']:,}",
        case[1],
        f"{first['feasible']:,}",
        f"{first['front']:,}",
        duration(median(seconds)),
        f"{spread(seconds):.0%}",
        f"{max(r['peak_bytes'] for r in results) / MIB:,.0f} MiB",
        duration(median(seconds) / first["specs"]),
    )


def plot(runs: Runs) -> None:
    """Two panels, both axes logarithmic: time and memory against the number of specs."""
    from benchmarks.plots import figure, save

    chart, (left, right) = figure(columns=2)
    chosen = [results for (_, limits), results in runs.items() if limits == "no limits"]
    specs = [results[0]["specs"] for results in chosen]
    left.plot(specs, [median(r["process_s"] for r in results) for results in chosen], "o-")
    right.plot(specs, [max(r["peak_bytes"] for r in results) / MIB for results in chosen], "o-")
    for axes, aim, unit in ((left, AIM_S, "time, s"), (right, AIM_BYTES / MIB, "peak memory, MiB")):
        axes.axhline(aim, color="0.5", linestyle="--", linewidth=1)
        axes.annotate("aim for 1,000,000", (specs[0], aim), xytext=(0, 4), textcoords="offset points", color="0.35")
        axes.set(xscale="log", yscale="log", xlabel="specs", ylabel=unit)
        axes.set_ylim(top=3 * aim)
    save(chart, PLOT)


if __name__ == "__main__":
    print(json.dumps(child(*sys.argv[1:])))
