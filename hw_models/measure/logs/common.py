"""What a log holds, and what its readers share."""

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from statistics import median

from zoo.errors import ZooError

IDLE = 10.0
"""Load of the GPU in per cent below which a sample is of an idle board."""


class LogError(ZooError, ValueError):
    """A log that cannot be read as a whole."""


@dataclass(frozen=True, slots=True)
class KernelTime:
    """A kernel in a profile: its calls and their mean seconds."""

    name: str
    calls: int
    mean_s: float


@dataclass(frozen=True, slots=True)
class Sample:
    """Power by rail or card in W at one moment; load of the GPU in per cent and its clock where the tool tells."""

    power_w: Mapping[str, float]
    load: float | None = None
    clock_mhz: float | None = None

    @property
    def idle(self) -> bool:
        """Whether the GPU did nothing."""
        return self.load is not None and self.load < IDLE


@dataclass(frozen=True)
class Log:
    """What a log holds; empty or None where its tool does not write such things.

    latencies_s: one a run, or one for all of them (`runs`). kernels: in the order of the log, over the whole capture,
    or over one run where `per_run` says so. samples: in the order of time. stack, precision: the runtime's, where only
    one can have written the log. input_shape: batch, channels, height, width.
    """

    tool: str
    latencies_s: tuple[float, ...] = ()
    kernels: tuple[KernelTime, ...] = ()
    per_run: bool = False
    samples: tuple[Sample, ...] = ()
    stack: str | None = None
    precision: str | None = None
    input_shape: tuple[int, int, int, int] | None = None

    @property
    def busy(self) -> tuple[Sample, ...]:
        """The samples that are not of an idle board."""
        return tuple(sample for sample in self.samples if not sample.idle)

    @property
    def clock_mhz(self) -> float | None:
        """Median clock of the busy samples."""
        clocks = [sample.clock_mhz for sample in self.busy if sample.clock_mhz]
        return median(clocks) if clocks else None

    @property
    def rails(self) -> tuple[str, ...]:
        """Names of the rails or cards that were read."""
        return tuple(dict.fromkeys(name for sample in self.samples for name in sample.power_w))


@dataclass(frozen=True, slots=True)
class Source:
    """Where a log is from, for messages."""

    path: str
    tool: str

    def error(self, text: str, line: int | None = None) -> LogError:
        """The error of a line, or of the whole log."""
        at = f" line {line}" if line else ""
        return LogError(f"{self.path}:{at} (log of {self.tool}) {text}")

    def cut(self, line: int) -> LogError:
        """The error of a log whose end is missing."""
        return LogError(
            f"{self.path}: (log of {self.tool}) stops in the middle of line {line}; "
            "record the log anew, or remove that line"
        )

    def number(self, text: str, line: int) -> float:
        """A number of at least 0."""
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        if not isfinite(value) or value < 0:
            raise self.error(f"{text!r} is not a number of at least 0; record the log anew", line)
        return value

    def count(self, text: str, line: int) -> int:
        """A whole number of at least 1."""
        value = self.number(text, line)
        if value < 1 or value != int(value) or value > 1e12:
            raise self.error(f"{text!r} is not a count of calls; record the log anew", line)
        return int(value)


def lines(text: str, source: Source) -> Iterator[tuple[int, str]]:
    """Numbered lines that are not empty. Raises LogError where the last one has no end."""
    if text and not text.endswith("\n"):
        raise source.cut(text.count("\n") + 1)
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            yield number, line


def cells(line: str) -> list[str]:
    """The cells of a line of CSV."""
    return next(csv.reader([line], strict=False, skipinitialspace=True), [])


def kernels_of(calls: Sequence[tuple[str, int, float]], source: Source) -> tuple[KernelTime, ...]:
    """Kernels from (name, calls, mean seconds), those of one name together. Raises LogError without any."""
    if not calls:
        raise source.error("has no kernel; record it while the network runs")
    total: dict[str, tuple[int, float]] = {}
    for name, count, mean_s in calls:
        before = total.get(name, (0, 0.0))
        total[name] = (before[0] + count, before[1] + count * mean_s)
    return tuple(KernelTime(name, count, seconds / count) for name, (count, seconds) in total.items())


def is_copy(name: str) -> bool:
    """Whether a row is of a copy or a fill of memory, which is no kernel."""
    return name.startswith(("[CUDA mem", "[CUDA Unified"))
