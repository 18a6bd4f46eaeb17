"""Which backend runs a network fastest on this machine: timed once, and kept in the user's cache."""

import json
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from importlib import metadata
from math import inf, isfinite
from pathlib import Path

from zoo.backends.choice import NEEDS
from zoo.errors import ZooError
from zoo.files import atomic, make_folder
from zoo.folders import cache_home
from zoo.graph import Graph
from zoo.reading import is_file, read_json

SECONDS = 1.0
"""How long backends are timed, after one run of each that is not counted."""

LEAST = 2
"""Timed runs of each backend, however long they take."""

LARGEST = 1 << 16
"""Bytes of an answer that was kept."""


@dataclass(frozen=True, slots=True)
class Timings:
    """Seconds of the fastest run of each backend, by name; new: whether they were measured just now."""

    seconds: Mapping[str, float]
    new: bool

    def __post_init__(self) -> None:
        if not self.seconds or not all(isfinite(s) and s > 0 for s in self.seconds.values()):
            raise ValueError("timings must be positive numbers, one at least")

    @property
    def order(self) -> tuple[str, ...]:
        """Backends, the fastest first."""
        return tuple(sorted(self.seconds, key=self.seconds.__getitem__))

    def __str__(self) -> str:
        first, *others = (f"{name} {1e3 * self.seconds[name]:.3g} ms" for name in self.order)
        slower = f" ({', '.join(others)})" if others else ""
        return f"{first} an image{slower}, {'measured now and kept' if self.new else 'as measured here before'}"


def timed(
    runs: Mapping[str, Callable[[], object]], clock: Callable[[], float] = time.perf_counter, seconds: float = SECONDS
) -> Timings:
    """Time functions in turn, so that a disturbance meets all alike; the fastest run of each counts."""
    for run in runs.values():
        run()
    best = dict.fromkeys(runs, inf)
    begun, rounds = clock(), 0
    while rounds < LEAST or clock() - begun < seconds:
        for name, run in runs.items():
            start = clock()
            run()
            best[name] = min(best[name], clock() - start)
        rounds += 1
    return Timings({name: max(least, 1e-9) for name, least in best.items()}, new=True)


def conditions(graph: Graph, names: Sequence[str], threads: int, streams: int) -> str:
    """SHA-256 of all that an answer depends on: network at its size, batch 1, threads, processor, versions."""
    packages = sorted({package for name in names for package in NEEDS.get(name, ())})
    parts = [repr(graph), list(names), threads, streams, processor(), [f"{p} {_version(p)}" for p in packages]]
    return sha256(json.dumps(parts).encode()).hexdigest()


def processor() -> str:
    """The processor's name, as Linux or the platform has it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith(("model name", "Hardware")))
    return next(names, "") or platform.processor() or platform.machine()


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


def kept(key: str, names: Sequence[str]) -> Timings | None:
    """The answer of an earlier run; None where there is none, or none of these backends."""
    try:
        path = _file(key)
        document = read_json(path, limit=LARGEST) if is_file(path) else None
        seconds = document["seconds"] if isinstance(document, dict) else {}
        timings = Timings({str(name): float(value) for name, value in seconds.items()}, new=False)
    except (ZooError, OSError, KeyError, TypeError, ValueError, AttributeError):
        return None
    return timings if set(timings.seconds) <= set(names) else None


def keep(key: str, timings: Timings) -> None:
    """Keep an answer; where nothing can be written, the next run measures again."""
    try:
        make_folder(_file(key).parent)
        with atomic(_file(key)) as partial:
            partial.write_text(json.dumps({"seconds": dict(timings.seconds)}) + "\n", encoding="utf-8")
    except (ZooError, OSError):
        return


def _file(key: str) -> Path:
    return cache_home() / "backends" / f"{key}.json"
