"""Timing side by side: named functions in turn, A B C A B C …, in one run, and ratios with their intervals.

    found = side_by_side({"eager": eager, "compiled": compiled}, rounds=9)
    print(found.table())            # Markdown; ratios are against the first
    found.ratio("compiled").value   # how many times as fast as the first

What slows the whole machine down slows neighbours in a round alike, so a ratio is taken within each round;
its interval is of the median over the rounds and assumes no distribution. Where the machine was too noisy
to tell, the table says so instead of giving a ratio.
"""

import gc
import math
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from benchmarks.machine import Others
from zoo.markdown import table

COVERAGE = 0.9
"""Of intervals."""

MAX_SPREAD = 0.25
"""Interquartile range of the first function's times over their median: above this nothing is compared."""

MAX_WIDTH = 1.25
"""Upper over lower end of a ratio's interval: above this there is no ratio."""

MAX_OTHERS = 0.15
"""Share of the CPUs that other processes may take."""


@dataclass(frozen=True)
class Ratio:
    """How many times as fast as the first: median over the rounds, and the ends of its interval."""

    value: float
    low: float
    high: float

    @property
    def told(self) -> bool:
        """Whether the interval is narrow enough."""
        return self.high <= MAX_WIDTH * self.low

    def __str__(self) -> str:
        return f"{plain(self.value)}× ({plain(self.low)}–{plain(self.high)})" if self.told else "too noisy to tell"


@dataclass(frozen=True)
class Comparison:
    """Seconds of one call of each function, a figure a round; the first function is what others are compared with.

    others: share of the CPUs that other processes took meanwhile.
    """

    seconds: Mapping[str, tuple[float, ...]]
    others: float | None = None

    @property
    def first(self) -> str:
        return next(iter(self.seconds))

    def without(self, name: str) -> "Comparison":
        """The same with one function left out."""
        return Comparison(
            {function: seconds for function, seconds in self.seconds.items() if function != name}, self.others
        )

    def median_s(self, name: str) -> float:
        """Median of one function's times."""
        return median(self.seconds[name])

    def spread(self, name: str) -> float:
        """Interquartile range of one function's times over their median."""
        return spread(self.seconds[name])

    def ratio(self, name: str) -> Ratio:
        """How many times as fast as the first a function is."""
        ratios = [a / b for a, b in zip(self.seconds[self.first], self.seconds[name], strict=True)]
        return Ratio(median(ratios), *interval(ratios))

    def trouble(self) -> str | None:
        """Why nothing can be told, or None."""
        wide = self.spread(self.first)
        if wide > MAX_SPREAD:
            return f"`{self.first}` spread by {wide:.0%} from round to round"
        if self.others is not None and self.others > MAX_OTHERS:
            return f"other processes took {self.others:.0%} of the CPUs"
        return None

    def verdict(self) -> str:
        """A sentence on whether the figures count."""
        trouble = self.trouble()
        if trouble:
            return f"The machine was too noisy to tell: {trouble}."
        unclear = [name for name in self.seconds if not self.ratio(name).told]
        if unclear:
            return f"The machine was too noisy to tell the ratio of {', '.join(unclear)}."
        busy = "" if self.others is None else f"; other processes took {self.others:.0%} of the CPUs"
        return f"`{self.first}` spread by {self.spread(self.first):.0%}{busy}."

    def table(self, items: int = 0, head_text: str = "") -> str:
        """Markdown: time of a call, or with `items` items a call their number a second, and the ratio to the first."""
        head = (head_text, "items/s" if items else "median", "spread", "times as fast as the first")
        return markdown([head, *self.rows(items)])

    def rows(self, items: int = 0) -> list[tuple[str, str, str, str]]:
        """Cells of the table: name, median, spread, ratio."""
        return [
            (
                name,
                plain(items / self.median_s(name)) if items else duration(self.median_s(name)),
                f"{self.spread(name):.0%}",
                self.told(name),
            )
            for name in self.seconds
        ]

    def told(self, name: str) -> str:
        """The ratio to the first in words; "too noisy to tell" where that is so."""
        if name == self.first:
            return "1"
        return "too noisy to tell" if self.trouble() else str(self.ratio(name))

    def document(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "seconds": {name: list(values) for name, values in self.seconds.items()},
            "ratios": {
                name: {"value": r.value, "low": r.low, "high": r.high}
                for name, r in ((name, self.ratio(name)) for name in self.seconds)
            },
            "others": self.others,
            "too_noisy": self.trouble(),
        }


def side_by_side(
    functions: Mapping[str, Callable[[], object]],
    *,
    rounds: int = 9,
    warm_up: int = 1,
    least_s: float = 0.02,
    limit_s: float = math.inf,
    clock: Callable[[], float] = time.perf_counter,
) -> Comparison:
    """Time functions in turn, one after the other, `rounds` times.

    Fast ones are called several times in a row, so that a sample lasts `least_s`; with `limit_s` seconds gone no
    further round begins after the third.
    """
    functions = dict(functions)
    calls = {name: _calls(function, warm_up, least_s, clock) for name, function in functions.items()}
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    load, start = Others(), clock()
    for number in range(rounds):
        if number >= 3 and clock() - start > limit_s:
            break
        for name, function in functions.items():
            seconds[name].append(_sample(function, calls[name], clock))
        if sys.stderr.isatty():
            print(f"\rround {number + 1} of {rounds} ", end="", file=sys.stderr, flush=True)
    return Comparison({name: tuple(values) for name, values in seconds.items()}, load.share())


def _calls(function: Callable[[], object], warm_up: int, least_s: float, clock: Callable[[], float]) -> int:
    """How many calls make a sample, found while warming up."""
    took = math.inf
    for _ in range(max(1, warm_up)):
        took = min(took, _sample(function, 1, clock))
    return max(1, math.ceil(least_s / max(took, 1e-7)))


def _sample(function: Callable[[], object], calls: int, clock: Callable[[], float]) -> float:
    gc.collect()
    enabled = gc.isenabled()
    gc.disable()
    try:
        start = clock()
        for _ in range(calls):
            function()
        return (clock() - start) / calls
    finally:
        if enabled:
            gc.enable()


def markdown(rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; the first row is the head, the first column is aligned to the left."""
    head, *body = rows
    return table(head, body, len(head) - 1)


def spread(values: tuple[float, ...] | list[float]) -> float:
    """Interquartile range over the median."""
    ranked = sorted(values)
    return (_quantile(ranked, 0.75) - _quantile(ranked, 0.25)) / median(ranked)


def _quantile(ranked: list[float], share: float) -> float:
    place = share * (len(ranked) - 1)
    low = math.floor(place)
    high = min(low + 1, len(ranked) - 1)
    return ranked[low] + (place - low) * (ranked[high] - ranked[low])


def interval(values: list[float]) -> tuple[float, float]:
    """Order statistics that hold the median with a probability of at least COVERAGE; the range of fewer than five.

    Of n independent values, the median lies between the k-th from below and from above unless fewer than k are
    on one side of it, which is binomial.
    """
    ranked, count = sorted(values), len(values)
    cut, missed = 0, 0.5 ** (count - 1)
    while cut + 1 <= (count - 1) // 2:
        missed += math.comb(count, cut + 1) * 0.5 ** (count - 1)
        if missed > 1 - COVERAGE:
            break
        cut += 1
    return ranked[cut], ranked[count - 1 - cut]


def plain(value: float) -> str:
    """Three figures, and no fewer than the integer part has.

    >>> plain(0.12345), plain(1.9444), plain(12.34), plain(4303.2)
    ('0.123', '1.94', '12.3', '4,303')
    """
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}" if value < 1 else f"{value:.{2 if value < 10 else 1}f}"


def duration(seconds: float) -> str:
    """A time with three figures in its own unit.

    >>> duration(7.9e-6), duration(0.0123), duration(2.2)
    ('7.90 µs', '12.3 ms', '2.20 s')
    """
    for limit, factor, unit in ((1e-3, 1e6, "µs"), (1.0, 1e3, "ms"), (math.inf, 1.0, "s")):
        if seconds < limit:
            return f"{plain(seconds * factor)} {unit}"
    raise AssertionError
