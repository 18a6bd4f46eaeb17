"""The machine: what it is, how busy others keep it, and how much memory a process has needed."""

import os
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

MIB = 2**20
TICKS = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100


@dataclass(frozen=True)
class Machine:
    """memory_bytes: of the machine. versions: of the packages asked for, as far as they are installed."""

    cpu: str
    cores: int
    memory_bytes: int
    system: str
    python: str
    versions: dict[str, str]

    def __str__(self) -> str:
        packages = "".join(f", {name} {number}" for name, number in self.versions.items())
        return (
            f"{self.cpu}, {self.cores} cores, {self.memory_bytes / 2**30:.0f} GiB, {self.system}, "
            f"Python {self.python}{packages}"
        )

    def document(self) -> dict[str, Any]:
        return asdict(self)


def machine(packages: Iterable[str] = ("numpy",)) -> Machine:
    """The present machine."""
    return Machine(
        cpu=_cpu(),
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        memory_bytes=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        system=f"{platform.system()} {platform.release().partition('-')[0]}",
        python=platform.python_version(),
        versions={name: installed for name in packages if (installed := _version(name))},
    )


def _cpu() -> str:
    lines = _read("/proc/cpuinfo").splitlines()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _read(path: str) -> str:
    return Path(path).read_text(encoding="utf-8") if Path(path).exists() else ""


def vectors() -> str:
    """The widest vectors of this processor, which decide what 8 bits gain."""
    flags = set(_read("/proc/cpuinfo").split())
    for name, words in (("avx512_vnni", "AVX-512 with VNNI"), ("avx512f", "AVX-512"), ("avx2", "AVX2")):
        if name in flags:
            return words
    return "neither AVX2 nor AVX-512"


def kind() -> str:
    """The kind of this machine, of which benchmarks keep a column: by its vectors."""
    return vectors().partition(" with")[0]


def busy_and_own() -> tuple[float, float] | None:
    """CPU seconds that the machine has spent in all, stolen ones included, and this process with all that it began."""
    first = _read("/proc/stat").partition("\n")[0].split()[1:]
    if not first:
        return None
    user, nice, system, _idle, _wait, irq, soft, steal = map(int, first[:8])
    usage = [resource.getrusage(processes) for processes in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    own = sum(u.ru_utime + u.ru_stime for u in usage) + _descendants_s()
    return (user + nice + system + irq + soft + steal) / TICKS, own


def _descendants_s() -> float:
    """CPU seconds of the processes below this one that run, with their own ended children."""
    parents, spent = dict[int, int](), dict[int, float]()
    for file in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = file.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        except OSError:  # it has ended
            continue
        number = int(file.parent.name)
        parents[number], spent[number] = int(fields[1]), sum(map(int, fields[11:15])) / TICKS

    def below(number: int) -> bool:
        above = parents.get(number, 0)
        return above == os.getpid() or (above in parents and below(above))

    return sum(seconds for number, seconds in spent.items() if below(number))


@dataclass
class Others:
    """Share of the machine's CPU time that other processes took since this was made; None where nothing tells.

    The load that `uptime` gives counts one's own threads, too; this doesn't.
    """

    start: tuple[float, float] | None = field(default_factory=busy_and_own)
    since: float = field(default_factory=time.monotonic)

    def share(self) -> float | None:
        now = busy_and_own()
        if now is None or self.start is None:
            return None
        busy, own = (b - a for a, b in zip(self.start, now, strict=True))
        return max(0.0, busy - own) / ((time.monotonic() - self.since) * (os.cpu_count() or 1) + 1e-9)


def now() -> str:
    """The present date and minute, UTC."""
    return datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC")


def peak_bytes() -> int:
    """The most memory that this process has had in RAM.

    Read from the memory map, since Linux hands the resource usage of a parent down to a child that it starts.
    """
    for line in _read("/proc/self/status").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def fresh(module: str, *argv: str, threads: int | None = None) -> str:
    """Standard output of `python -m MODULE ARGV…` in a new process. Raises RuntimeError with its messages."""
    limits = {} if threads is None else {name: str(threads) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
    process = subprocess.run(
        [sys.executable, "-m", module, *argv], capture_output=True, text=True, check=False, env={**os.environ, **limits}
    )
    if process.returncode:
        raise RuntimeError(f"python -m {module} {' '.join(argv)} failed: {process.stderr[-2000:]}")
    return process.stdout


def installed_environment() -> dict[str, str]:
    """The environment of a command as users have it: modules are compiled once, and read as bytecode after that."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
