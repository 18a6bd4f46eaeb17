"""The candidates for the labels' protocol beside the truth: what each costs, and which pairs it ranks rightly.

A row trained at one size was scored at several (`queue.SIZES`), so that a protocol has a ranking for each size.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from statistics import fmean
from typing import Any

from benchmarks.accuracy.protocols import PROTOCOLS
from benchmarks.accuracy.tasks import CANDIDATES, RESULTS, YARDSTICK, Task
from zoo.markdown import table
from zoo.statistics import kendall

SCORED_AT = ("240x184", "360x272", "480x360")


@dataclass(frozen=True, slots=True)
class Ranking:
    """A protocol, scored at a size, against the truth over the yardstick's networks that have both.

    right, pairs: pairs of networks that it ranks as the truth does, of how many. hours: core-hours a network.
    """

    protocol: str
    scored_at: str
    networks: int
    hours: float
    right: int
    pairs: int
    kendall: float | None


def rows(results: Path = RESULTS) -> dict[str, Mapping[str, Any]]:
    """Finished trainings by the name of their task."""
    return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(results.glob("*.json"))}


def of_protocol(protocol: str, finished: Mapping[str, Mapping[str, Any]]) -> dict[int, Mapping[str, Any]]:
    """The yardstick's finished trainings under a protocol, by place in `YARDSTICK`."""
    rows_of = ((i, finished.get(Task(protocol, spec).name)) for i, spec in enumerate(YARDSTICK))
    return {i: row for i, row in rows_of if row is not None}


def rankings(finished: Mapping[str, Mapping[str, Any]]) -> Iterator[Ranking]:
    """Every candidate at every size that it was scored at."""
    truth = {i: row["miou"] for i, row in of_protocol("truth", finished).items()}
    for protocol in CANDIDATES:
        own = of_protocol(protocol, finished)
        for size in SCORED_AT if own else ():
            shared = sorted(truth.keys() & own.keys())
            a, b = [truth[i] for i in shared], [own[i]["miou_at"][size] for i in shared]
            pairs = list(combinations(range(len(shared)), 2))
            right = sum((a[i] - a[j]) * (b[i] - b[j]) > 0 for i, j in pairs)
            hours = fmean(row["cpu_seconds"] for row in own.values()) / 3600
            tau = kendall(a, b) if len(shared) > 1 else None
            yield Ranking(protocol, size, len(own), hours, right, len(pairs), tau)


def yardstick_table(finished: Mapping[str, Mapping[str, Any]]) -> str:
    """mIOU of the six networks under the truth and every candidate, in Markdown; "–" for what is not trained yet."""
    by_protocol = {name: of_protocol(name, finished) for name in ("truth", *CANDIDATES)}
    columns = {name: own for name, own in by_protocol.items() if own or name == "truth"}
    lines = []
    for i, spec in enumerate(YARDSTICK):
        cells = [f"{own[i]['miou']:.1f}" if i in own else "–" for own in columns.values()]
        name = "espnet-c" if spec.variant == "C" else "espnet"
        lines.append((f"`{name}-{spec.alpha3}`", *cells))
    return table(("network", *(_heading(name) for name in columns)), lines, len(columns))


def _heading(name: str) -> str:
    height, width = PROTOCOLS[name].size
    return f"{name}, {width}x{height}"


def rankings_table(rankings_shown: Sequence[Ranking]) -> str:
    """Cost and pairs of each candidate in Markdown."""
    lines = [
        (
            f"`{ranking.protocol}`",
            ranking.scored_at,
            str(ranking.networks),
            f"{ranking.hours:.2f}",
            f"{ranking.right} of {ranking.pairs}" if ranking.pairs else "–",
            "–" if ranking.kendall is None else f"{ranking.kendall:.2f}",
        )
        for ranking in rankings_shown
    ]
    columns = ("protocol", "scored at", "networks", "core-hours each", "pairs ranked as the truth", "Kendall")
    return table(columns, lines, 4)


def labels_text(results: Path = RESULTS) -> str:
    """Both tables, and what was spent."""
    finished = rows(results)
    spent = sum(row["cpu_seconds"] for row in finished.values()) / 3600
    machines = sorted({f"{row['cpu']}, {row['precision']}" for row in finished.values()})
    return (
        f"{len(finished)} trainings, {spent:.1f} core-hours ({'; '.join(machines)}).\n\n{yardstick_table(finished)}\n\n"
        f"{rankings_table(list(rankings(finished)))}"
    )
