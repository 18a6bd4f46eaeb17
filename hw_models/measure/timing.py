"""The time of one run, from many: bursts of runs until the two quietest agree.

Other load can only make a run slower. Runs are therefore taken in
bursts, and the time is the median of the quietest burst once a second one agrees with it; how far the
bursts lie apart is the spread that is reported. Nothing here reads a clock: a sample is a function that
runs once and says how long that took.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

from zoo.errors import NegativeAnswer

Sample = Callable[[], float]

BURST = 5
"""Runs in a burst, at least."""
BURST_S = 0.02
"""Seconds of a burst, at least."""
AGREE = 0.03
"""Relative difference up to which two bursts agree."""


@dataclass(frozen=True, slots=True)
class Timing:
    """Median of the quietest burst with its 90 % interval, in seconds.

    spread: how much slower the median burst is than the quietest, relative. settled: a second burst
    agrees with the quietest. n: runs that counted.
    """

    median_s: float
    low_s: float
    high_s: float
    spread: float
    settled: bool
    n: int


@dataclass(frozen=True, slots=True)
class Effort:
    """How long to try: seconds of runs, and bursts, at most; bursts at least; runs to warm up."""

    limit_s: float = 2.0
    bursts: int = 40
    least: int = 3
    warm_up: int = 2


def time_of(sample: Sample, effort: Effort = Effort()) -> Timing:  # frozen
    """Time one thing: warm up, then bursts until two agree or the effort is spent."""
    for _ in range(effort.warm_up):
        sample()
    spent, bursts = 0.0, list[list[float]]()
    while len(bursts) < effort.bursts:
        bursts.append(_burst(sample))
        spent += sum(bursts[-1])
        if len(bursts) >= effort.least and (_agree(bursts) or spent >= effort.limit_s):
            break
    return summary(bursts)


def summary(bursts: Sequence[Sequence[float]]) -> Timing:
    """What some bursts say."""
    ordered = sorted(bursts, key=median)
    quiet = sorted(ordered[0])
    low, high = interval_of_median(quiet)
    center = median(quiet)
    spread = median(median(burst) for burst in bursts) / center - 1.0
    return Timing(center, low, high, spread, _agree(bursts), sum(map(len, bursts)))


def interval_of_median(ordered: Sequence[float]) -> tuple[float, float]:
    """Bounds that hold the median with 90 % confidence, from order statistics; the extremes of a few values.

    >>> interval_of_median([1, 2, 3, 4, 5])
    (1, 5)
    >>> interval_of_median(list(range(100)))
    (41, 58)
    """
    n = len(ordered)
    reach = 0.5 + 1.645 * n**0.5 / 2
    low = max(0, int(n / 2 - reach + 0.5))
    return ordered[low], ordered[n - 1 - low]


def _burst(sample: Sample) -> list[float]:
    runs: list[float] = []
    while len(runs) < BURST or (sum(runs) < BURST_S and len(runs) < 200):
        runs.append(sample())
    return runs


def _agree(bursts: Sequence[Sequence[float]]) -> bool:
    medians = sorted(median(burst) for burst in bursts)
    return len(medians) > 1 and medians[1] <= medians[0] * (1 + AGREE)


def refuse_noise(subject: str, spread: float, limit: float, *, remedy: str = "end other programs") -> None:
    """Raise NegativeAnswer where a spread is too large to conclude anything."""
    if spread > limit:
        raise NegativeAnswer(
            f"{subject}: the machine is too noisy to measure, runs are {spread:.0%} apart where {limit:.0%} "
            f"is allowed; {remedy}, or allow it with --max-spread"
        )
