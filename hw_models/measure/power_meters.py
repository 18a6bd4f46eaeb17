"""Power readings of the present machine: RAPL, an NVIDIA driver's NVML, the INA sensors of a Jetson.

Each reader says what its reading covers, because a rail, a card and a package differ by several watts.
Nothing is estimated: a machine that gives no reading has none.
"""

import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Thread

from hw_models.measure.rails import BOARD, GPU, covering
from zoo.errors import ZooError

PERIOD_S = 0.05
"""Seconds between two samples of a power sensor."""


@dataclass(frozen=True, slots=True)
class Counter:
    """Joules that only ever grow, until they wrap at `wrap_j`."""

    name: str
    covers: str
    read_j: Callable[[], float]
    wrap_j: float


@dataclass(frozen=True, slots=True)
class Sensor:
    """Watts at this moment."""

    name: str
    covers: str
    read_w: Callable[[], float]


@dataclass(slots=True)
class Reading:
    """Energy of a stretch of time, complete when `measured` ends."""

    covers: str
    joules: float = 0.0
    seconds: float = 0.0
    samples: list[float] = field(default_factory=list)

    @property
    def watts(self) -> float:
        """Mean power."""
        return self.joules / self.seconds if self.seconds else 0.0


def source(root: Path = Path("/"), nvidia_smi: str | None = None) -> Counter | Sensor | None:
    """The best reading that this machine gives, or None: a Jetson's sensors, then a card's, then RAPL."""
    return next((meter for meter in (ina(root), nvml(nvidia_smi), rapl(root)) if meter and _works(meter)), None)


def _works(meter: Counter | Sensor) -> bool:
    try:
        meter.read_j() if isinstance(meter, Counter) else meter.read_w()
    except (OSError, ValueError, ZooError):
        return False  # RAPL is readable by root only on many systems
    return True


def rapl(root: Path = Path("/")) -> Counter | None:
    """CPU packages through the powercap tree: micro-joules that wrap (Linux, Documentation/power/powercap)."""
    base = root / "sys/class/powercap"
    zones = [z for z in sorted(base.glob("intel-rapl:*")) if z.name.count(":") == 1 and (z / "energy_uj").is_file()]
    if not zones:
        return None  # a package is `intel-rapl:0`, its parts `intel-rapl:0:0`
    wrap = sum(_number(zone / "max_energy_range_uj") for zone in zones if (zone / "max_energy_range_uj").is_file())
    return Counter(
        "RAPL",
        f"{len(zones)} CPU package{'s' if len(zones) > 1 else ''}",
        lambda: sum(_number(zone / "energy_uj") for zone in zones) / 1e6,
        wrap / 1e6 or 2.0**32 / 1e6,
    )


def ina(root: Path = Path("/")) -> Sensor | None:
    """The GPU's own rail, or the board's input, of a Jetson: milliwatts (INA3221 below /sys/bus/i2c)."""
    rails: dict[str, Callable[[], float]] = {}
    for base in ("sys/bus/i2c/drivers/ina3221x", "sys/bus/i2c/drivers/ina3221"):
        for label in sorted((root / base).glob("*/iio:device*/rail_name_*")):
            power = label.with_name(f"in_power{label.name.rpartition('_')[2]}_input")
            if power.is_file():
                rails[_text(label)] = lambda power=power: _number(power) / 1e3  # type: ignore[misc]
        for label in sorted((root / base).glob("*/hwmon/hwmon*/in*_label")):
            number = label.name.removeprefix("in").removesuffix("_label")
            volts, amperes = label.with_name(f"in{number}_input"), label.with_name(f"curr{number}_input")
            if volts.is_file() and amperes.is_file():
                # Millivolts times milliamperes.
                rails[_text(label)] = lambda v=volts, a=amperes: _number(v) * _number(a) / 1e6  # type: ignore[misc]
    for covers in (GPU, BOARD):
        for name in covering(rails, covers):
            return Sensor(name, covers, rails[name])
    return None


def nvml(nvidia_smi: str | None = None) -> Sensor | None:
    """The first NVIDIA card, read through nvidia-smi, which asks NVML."""
    tool = nvidia_smi or shutil.which("nvidia-smi")
    if not tool:
        return None
    return Sensor("NVML", "card", lambda: _query(tool))


def _query(tool: str) -> float:
    command = [tool, "--query-gpu=power.draw", "--format=csv,noheader,nounits"]
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
        return float(result.stdout.splitlines()[0])
    except (OSError, subprocess.TimeoutExpired, ValueError, IndexError):
        raise ZooError("nvidia-smi gives no power.draw for this card; record a log another way") from None


def _number(path: Path) -> float:
    return float(_text(path))


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8").strip()


@contextmanager
def measured(
    meter: Counter | Sensor, clock: Callable[[], float] = time.monotonic, period_s: float = PERIOD_S
) -> Iterator[Reading]:
    """Read energy while the body runs; the reading is complete afterwards."""
    reading = Reading(meter.covers)
    start = clock()
    if isinstance(meter, Counter):
        before = meter.read_j()
        yield reading
        reading.joules = (meter.read_j() - before) % meter.wrap_j
        reading.seconds = clock() - start
        return
    stop = Event()

    def watch() -> None:
        while True:
            reading.samples.append(meter.read_w())
            if stop.wait(period_s):
                return

    thread = Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield reading
    finally:
        stop.set()
        thread.join(timeout=15)
    reading.seconds = clock() - start
    if not reading.samples:
        raise ZooError(f"{meter.name} gave no sample; run for longer")
    reading.joules = sum(reading.samples) / len(reading.samples) * reading.seconds
