"""The machine and versions of a measurement; measurements of different ones are never mixed."""

import os
import platform
import re
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from zoo.errors import ZooError

CLOCK_TOLERANCE = 0.1
"""Relative difference of the clock up to which conditions count as the same."""

AS_PUBLISHED = "as published"
"""What a protocol says of a network that no pass rewrote."""


@dataclass(frozen=True, slots=True)
class Conditions:
    """The machine, its clock and governor, the backend with its threads and images at once, and the versions."""

    machine: str
    cores: int
    clock_mhz: float
    governor: str
    backend: str
    threads: int
    batch: int
    versions: Mapping[str, str]

    def document(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self) | {"versions": dict(self.versions)}

    @property
    def stack(self) -> str:
        """The backend as one of `kernels.STACKS`."""
        return self.backend if self.backend in ("onnxruntime", "openvino") else "pytorch-eager"

    @property
    def text(self) -> str:
        """One line for people."""
        versions = ", ".join(f"{name} {version}" for name, version in self.versions.items())
        return (
            f"{self.machine}, {self.clock_mhz:.0f} MHz, governor {self.governor}; {self.backend}, "
            f"{self.threads} of {self.cores} cores, batch {self.batch}; {versions}"
        )


def conditions(backend: str, threads: int, batch: int = 1, root: Path = Path("/")) -> Conditions:
    """The present conditions; `root` is where /proc and /sys are looked for."""
    names = (backend, "onnx") if backend in ("onnxruntime", "openvino") else ()
    versions = {"python": platform.python_version(), "numpy": metadata.version("numpy")}
    versions |= {name: metadata.version(name) for name in ("torch", *names)}
    cpuinfo = _read(root / "proc/cpuinfo")
    governor = _read(root / "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor").strip() or "unknown"
    return Conditions(
        machine=_field(cpuinfo, "model name") or platform.processor() or platform.machine(),
        cores=os.cpu_count() or 1,
        clock_mhz=_clock(cpuinfo, root),
        governor=governor,
        backend=backend,
        threads=threads,
        batch=batch,
        versions=versions,
    )


BUSY = 0.1
"""Cores that other programs may keep busy on a quiet machine."""


@dataclass(frozen=True, slots=True)
class CpuTime:
    """Seconds that all CPUs and this process have worked, at one moment of the wall clock."""

    all_s: float
    own_s: float
    wall_s: float


def cpu_time(root: Path = Path("/")) -> CpuTime | None:
    """The present counts (Linux, proc(5), /proc/stat); None where the system does not tell."""
    first = _read(root / "proc/stat").partition("\n")[0].split()
    if len(first) < 9 or first[0] != "cpu":
        return None
    user, nice, system, _idle, _wait, irq, soft, steal = (int(value) for value in first[1:9])
    own = os.times()
    ticks = os.sysconf("SC_CLK_TCK")
    return CpuTime((user + nice + system + irq + soft + steal) / ticks, own.user + own.system, time.monotonic())


def others_load(before: CpuTime | None, after: CpuTime | None) -> float | None:
    """Cores that other programs kept busy on average in between; None where the system does not tell."""
    if before is None or after is None or after.wall_s <= before.wall_s:
        return None
    other_s = (after.all_s - before.all_s) - (after.own_s - before.own_s)
    return max(0.0, other_s / (after.wall_s - before.wall_s))


def busy_text(load: float | None, cores: int) -> str | None:
    """A sentence that says that the machine was busy; None where it was not."""
    if load is None or load <= BUSY:
        return None
    return f"the machine was busy: other programs took {load:.1f} of its {cores} cores"


def _clock(cpuinfo: str, root: Path) -> float:
    """The fastest core's present clock; 1000 MHz, a neutral unit, where the system does not tell."""
    clocks_mhz = [float(value) for value in re.findall(r"^cpu MHz\s*:\s*([\d.]+)", cpuinfo, re.MULTILINE)]
    now = _read(root / "sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq").strip()
    if now.isdecimal():
        clocks_mhz.append(int(now) / 1e3)
    return round(max(clocks_mhz, default=1000.0))


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return ""


def _field(text: str, name: str) -> str:
    return next((line.partition(":")[2].strip() for line in text.splitlines() if line.startswith(name)), "")


def from_document(entry: Mapping[str, Any], location: str) -> Conditions:
    """Conditions as `document` gives them. Raises ZooError where something is missing."""
    try:
        environment = Conditions(**{name: entry[name] for name in Conditions.__dataclass_fields__})
        if not (
            isinstance(environment.clock_mhz, (int, float))
            and 0 < environment.clock_mhz < 1e6
            and isinstance(environment.versions, dict)
        ):
            raise TypeError
        return environment
    except (KeyError, TypeError):
        raise ZooError(f"{location}: does not say what it was measured with; measure again") from None


_AGAIN = "results of the two must not be mixed, so set it back, or start anew without --resume"


def refuse_mixture(before: Conditions, now: Conditions, location: str, way: str = _AGAIN) -> None:
    """Raise ZooError, naming what changed, unless measurements of both may stand side by side."""
    for name, value in now.document().items():
        old = before.document()[name]
        if name == "clock_mhz":
            if abs(value / old - 1.0) > CLOCK_TOLERANCE:
                raise ZooError(f"{location}: was measured at {old:g} MHz and the clock is now {value:g} MHz; {way}")
        elif value != old:
            raise ZooError(f"{location}: was measured with {name} {_plain(old)}, which is now {_plain(value)}; {way}")


def _plain(value: Any) -> str:
    return ", ".join(f"{k} {v}" for k, v in value.items()) if isinstance(value, Mapping) else str(value)
