"""Readers of other tools' logs: tegrastats, nvidia-smi dmon, nvprof and nsys tables, trtexec JSON.

A log gives latencies of whole runs, times of kernels, or samples of power, whatever its tool writes. A
log that stops in the middle, or has a line that its tool would not write, is refused in one sentence with
the line: half a log is half a measurement.
"""

import csv
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path
from typing import Any

from zoo.errors import ZooError, did_you_mean
from zoo.reading import is_file, read_text

LARGEST = 256 * 2**20
"""Bytes of the largest log that is read."""


class LogError(ZooError, ValueError):
    """A log that cannot be read as a whole."""


@dataclass(frozen=True, slots=True)
class KernelTime:
    """A kernel in a profile: its calls and their mean seconds."""

    name: str
    calls: int
    mean_s: float


@dataclass(frozen=True)
class Log:
    """What a log holds; empty where its tool does not write such things.

    latencies_s: one a run. kernels: in the order of the log. power_w: samples by rail or device.
    """

    kind: str
    latencies_s: tuple[float, ...] = ()
    kernels: tuple[KernelTime, ...] = ()
    power_w: Mapping[str, tuple[float, ...]] = field(default_factory=dict)


def read_log(path: Path, kind: str | None = None) -> Log:
    """Read a log; its kind is one of READERS, by default seen from the text. Raises LogError."""
    text = _text(path)
    if kind is None:
        kind = next((name for name, (looks, _) in READERS.items() if looks(text)), None)
        if kind is None:
            raise LogError(f"{path}: is no log of {', '.join(READERS)}; record it with one of these")
    if kind not in READERS:
        raise LogError(f"{path}: kind of log {kind!r} is unknown; {did_you_mean(kind, READERS)}")
    return READERS[kind][1](text, str(path))


def _text(path: Path) -> str:
    if is_file(path) and path.stat().st_size > LARGEST:
        raise LogError(f"{path}: is larger than {LARGEST // 2**20} MB; record a shorter log")
    return read_text(path, LogError, LARGEST)


def _cut(where: str, line: int) -> LogError:
    return LogError(f"{where}: stops in the middle of line {line}; record the log anew, or remove that line")


def _lines(text: str, where: str) -> Iterator[tuple[int, str]]:
    """Numbered lines that are not empty. Raises LogError where the last one has no end."""
    if text and not text.endswith("\n"):
        raise _cut(where, text.count("\n") + 1)
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            yield number, line


_RAIL = re.compile(r"\b((?:VDD|POM|VIN|VDDQ)_\w+) (\d+)(?:mW)?/(\d+)(?:mW)?")


def _tegrastats(text: str, where: str) -> Log:
    """Rails in mW, `NAME now/average`, as the Jetson Linux guides have it (power management, tegrastats)."""
    power: dict[str, list[float]] = {}
    for count, (number, line) in enumerate(_lines(text, where)):
        found = {name: int(now) / 1e3 for name, now, _ in _RAIL.findall(line)}
        if "RAM " not in line or not found or (power and found.keys() != power.keys()):
            if power and found.keys() < power.keys():
                raise _cut(where, number)
            raise LogError(f"{where}: line {number} is not of tegrastats with power rails; record it on the board")
        for name, watts in found.items():
            power.setdefault(name, []).append(watts)
        assert all(len(samples) == count + 1 for samples in power.values())
    return Log("tegrastats", power_w=_samples(power, where))


def _samples(power: Mapping[str, Sequence[float]], where: str) -> dict[str, tuple[float, ...]]:
    if not power:
        raise LogError(f"{where}: has no sample of power; record it while the network runs")
    return {name: tuple(samples) for name, samples in power.items()}


def _dmon(text: str, where: str) -> Log:
    """`nvidia-smi dmon`: two header lines starting with #, then a row for each device; `-` is not available."""
    columns: list[str] = []
    power: dict[str, list[float]] = {}
    for number, line in _lines(text, where):
        cells = line.replace("#", " ").replace(",", " ").split()
        if line.lstrip().startswith("#"):
            if "gpu" in (cell.lower() for cell in cells):
                columns = [cell.lower() for cell in cells]
            continue
        if not columns or len(cells) != len(columns):
            raise _cut(where, number)
        row = dict(zip(columns, cells, strict=True))
        if "pwr" not in row:
            raise LogError(f"{where}: has no column pwr; record it with nvidia-smi dmon -s p")
        if row["pwr"] != "-":
            power.setdefault(f"gpu{row['gpu']}", []).append(_number(row["pwr"], where, number))
    return Log("nvidia-smi-dmon", power_w=_samples(power, where))


def _number(text: str, where: str, line: int) -> float:
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not isfinite(value) or value < 0:
        raise LogError(f"{where}: line {line}: {text!r} is not a number of at least 0; record the log anew")
    return value


_SECONDS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}


def _nvprof(text: str, where: str) -> Log:
    """`nvprof --csv`: a header, a row of units, then rows; a summary (`Calls`, `Avg`) or a GPU trace (`Duration`)."""
    rows = [(n, line) for n, line in _lines(text, where) if not line.startswith("==")]
    start = next(
        (i for i, (_, line) in enumerate(rows) if "Name" in line and ("Avg" in line or "Duration" in line)), None
    )
    if start is None or len(rows) < start + 3:
        raise LogError(f"{where}: has no table of kernels; record it with nvprof --csv")
    columns, units = _cells(rows[start][1]), _cells(rows[start + 1][1])
    if len(units) != len(columns):
        raise _cut(where, rows[start + 1][0])
    timed = "Avg" if "Avg" in columns else "Duration"
    scale = _SECONDS.get(units[columns.index(timed)])
    if scale is None:
        raise LogError(f"{where}: the unit of {timed} is {units[columns.index(timed)]!r}; it must be s, ms, us or ns")
    found: dict[str, list[float]] = {}
    for number, line in rows[start + 2 :]:
        cells = _cells(line)
        if len(cells) != len(columns):
            raise _cut(where, number)
        row = dict(zip(columns, cells, strict=True))
        if row.get("Type", "GPU activities") != "GPU activities" or row["Name"].startswith("[CUDA "):
            continue
        calls = int(_number(row["Calls"], where, number)) if timed == "Avg" else 1
        found.setdefault(row["Name"], []).extend([scale * _number(row[timed], where, number)] * calls)
    return Log("nvprof", kernels=_kernels(found, where))


def _nsys(text: str, where: str) -> Log:
    """`nsys stats --format csv` of the kernel summary: nanoseconds, one row a kernel."""
    rows = [(n, line) for n, line in _lines(text, where)]
    start = next((i for i, (_, line) in enumerate(rows) if line.startswith(("Time (%)", "Time(%)", '"Time'))), None)
    if start is None or len(rows) < start + 2:
        raise LogError(f"{where}: has no table of kernels; record it with nsys stats --format csv")
    columns = [column.removesuffix(" (ns)") for column in _cells(rows[start][1])]
    mean = "Avg" if "Avg" in columns else "Average"
    for name in (mean, "Instances", "Name"):
        if name not in columns:
            raise LogError(f"{where}: has no column {name}; record the report cuda_gpu_kern_sum")
    found: dict[str, list[float]] = {}
    for number, line in rows[start + 1 :]:
        cells = _cells(line)
        if len(cells) != len(columns):
            raise _cut(where, number)
        row = dict(zip(columns, cells, strict=True))
        calls = int(_number(row["Instances"], where, number))
        found.setdefault(row["Name"], []).extend([1e-9 * _number(row[mean], where, number)] * calls)
    return Log("nsys", kernels=_kernels(found, where))


def _cells(line: str) -> list[str]:
    return next(csv.reader([line], strict=False), [])


def _kernels(found: Mapping[str, Sequence[float]], where: str) -> tuple[KernelTime, ...]:
    if not found:
        raise LogError(f"{where}: has no kernel; record it while the network runs")
    return tuple(KernelTime(name, len(times), sum(times) / max(len(times), 1)) for name, times in found.items())


def _trtexec(text: str, where: str) -> Log:
    """`trtexec --exportTimes` (one object a run) or `--exportProfile` (a count, then one object a layer)."""
    try:
        rows = json.loads(text)
    except ValueError as error:
        line = getattr(error, "lineno", text.count("\n") + 1)
        raise _cut(where, line) from None
    if not isinstance(rows, list) or not rows or not all(isinstance(row, dict) for row in rows):
        raise LogError(f"{where}: is not a list of objects as trtexec writes it; use --exportTimes or --exportProfile")
    if "count" in rows[0]:
        calls = int(_of(rows[0], "count", where, 1))
        kernels = [
            KernelTime(str(row.get("name")), calls, 1e-3 * _of(row, "averageMs", where, i)) for i, row in _after(rows)
        ]
        return Log("trtexec", kernels=tuple(kernels))
    return Log("trtexec", latencies_s=tuple(1e-3 * _of(row, "latencyMs", where, i) for i, row in enumerate(rows, 1)))


def _after(rows: Sequence[Mapping[str, Any]]) -> Iterator[tuple[int, Mapping[str, Any]]]:
    yield from enumerate(rows[1:], 2)


def _of(row: Mapping[str, Any], name: str, where: str, number: int) -> float:
    value = row.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value) or value < 0:
        raise LogError(f"{where}: entry {number}: {name} must be a number of at least 0, but is {value!r}")
    return float(value)


def _has(pattern: str) -> Callable[[str], bool]:
    compiled = re.compile(pattern, re.MULTILINE)
    return lambda text: compiled.search(text[:20_000]) is not None


READERS: Mapping[str, tuple[Callable[[str], bool], Callable[[str, str], Log]]] = {
    "trtexec": (_has(r"\A\s*\["), _trtexec),
    "tegrastats": (_has(r"RAM \d+/\d+MB"), _tegrastats),
    "nvidia-smi-dmon": (_has(r"^\s*#\s*gpu\b"), _dmon),
    "nvprof": (_has(r"^==\d+==|^\"?Type\"?,\"?Time\(%\)|^\"?Start\"?,\"?Duration\"?"), _nvprof),
    "nsys": (_has(r"^\"?Time ?\(%\)\"?,"), _nsys),
}
"""By kind: whether a text looks like it, and its reader."""
