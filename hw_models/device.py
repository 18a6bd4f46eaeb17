"""Devices: a folder each, with `device.yaml`, `coefficients.json` and CSV tables.

Every number has a unit and a source, and everything is checked when it is read. A folder may only name
files inside itself. Devices ship in `hw_models/devices`; `zoo device add` copies others to ZOO_HOME.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from hw_models.kernels import STACKS, VALUE_BYTES
from hw_models.schema import (
    POWER_PARAMETERS,
    UNITS,
    Clocks,
    DeviceError,
    Fit,
    Machine,
    Number,
    check_keys,
    clocks_of,
    coefficients_of,
    mapping,
    numbers_of,
    read_json,
)
from hw_models.tables import OWN, KernelRow, Point, read_kernels, read_points
from zoo.errors import ZooError, did_you_mean
from zoo.folders import data_home, old_data_home
from zoo.yaml_strict import read_yaml

__all__ = [
    "POWER_PARAMETERS",
    "SHIPPED",
    "UNITS",
    "Clocks",
    "Device",
    "DeviceError",
    "Fit",
    "Number",
    "device_folders",
    "load_device",
    "read_device",
]

SHIPPED = Path(__file__).parent / "devices"
DESCRIPTION, BLOCKS = "device.yaml", "blocks.csv"
"""Files of a device folder: the description, and the timed blocks of a device that was measured."""


ENOUGH_NETWORKS = 5
"""Networks from which on a limit of power is more than a ranking."""


@dataclass(frozen=True)
class Device:
    """One device under one software stack, computing in one precision (fp32, fp16, int8).

    kernel_sd: standard deviation of the log error of one kernel, by kind. rests_on: provenance by kind.
    table_theta: parameters of the tables' own stacks, which the rows' residuals are taken from. held_out: by
    kind, the error of the table model on groups of shapes that it was fitted without. machine: what the user
    measured on the own machine; predictions are then for it.
    """

    name: str
    title: str
    stack: str
    precision: str
    power_covers: str
    power_note: str
    clocks: Clocks
    numbers: Mapping[str, Number]
    latency: Fit
    power: Fit
    table_theta: tuple[float, ...]
    kernel_sd: Mapping[str, float]
    rests_on: Mapping[str, str]
    held_out: Mapping[str, Mapping[str, float]]
    rows: tuple[KernelRow, ...]
    points: tuple[Point, ...]
    notes: tuple[str, ...]
    folder: Path
    machine: Machine | None = None

    @property
    def published(self) -> "Device":
        """The device without what the user measured on this machine."""
        return replace(self, machine=None)

    @property
    def own_points(self) -> tuple[Point, ...]:
        """What the user measured on this machine."""
        return tuple(point for point in self.points if point.use == OWN)

    def value(self, name: str) -> float:
        """A number by name, in the unit that UNITS gives."""
        return self.numbers[name].value

    @property
    def scaled_by(self) -> tuple[str, ...]:
        """Families of networks whose published latencies scale the model."""
        known = {p.group: None for p in self.points if p.metric == "latency_s" and p.use == "calibration"}
        return tuple(known)

    @property
    def power_basis(self) -> str:
        """One line on what a limit of power or energy is worth here."""
        networks = sorted({p.group for p in self.points if p.metric == "power_w" and p.use == "calibration"})
        if not networks:
            return f"{self.name}: nobody published the power of a network here, so a limit of power means nothing"
        if len(networks) < ENOUGH_NETWORKS:
            known = ", ".join(networks)
            return (
                f"{self.name}: power ({self.power_covers}) rests on {known} alone: a limit ranks, it guarantees nothing"
            )
        return f"{self.name}: power ({self.power_covers}) rests on {len(networks)} networks"

    def idle_power(self, clock_mhz: float) -> float:
        """Power of the idle device in W, which grows with the clock where `idle_power_slope` (W/MHz) is known."""
        slope = self.numbers.get("idle_power_slope")
        return self.value("idle_power") + (slope.value * (clock_mhz - self.clocks.default_mhz) if slope else 0.0)

    def clock(self, clock_mhz: float | None) -> float:
        """The clock to predict for. Raises DeviceError outside the device's range."""
        if clock_mhz is None:
            return self.clocks.default_mhz
        low, high = self.clocks.low_mhz, self.clocks.high_mhz
        if not low <= clock_mhz <= high:
            allowed = f"{low:g} MHz" if low == high else f"{low:g} to {high:g} MHz"
            raise DeviceError(f"device {self.name}: clock must be {allowed}, but is {clock_mhz:g} MHz")
        return float(clock_mhz)


def home() -> Path:
    """Where a user's own devices live."""
    return data_home() / "devices"


def _roots() -> tuple[Path, ...]:
    """Folders of devices: those that ship, the user's own, and where version 0.1 kept these."""
    try:
        old = old_data_home()
        return (SHIPPED, home(), *([] if old is None else [old / "devices"]))
    except ZooError:  # without a home folder there are still the devices that ship
        return (SHIPPED,)


def device_folders() -> dict[str, Path]:
    """Folders of all devices by name: those that ship first, whose names the user's own may not take."""
    found: dict[str, Path] = {}
    for root in _roots():
        if root.is_dir():
            for path in sorted(root.iterdir()):
                if (path / DESCRIPTION).is_file():
                    found.setdefault(path.name, path)
    return found


def device_at(text: str) -> tuple["Device", float | None]:
    """A device and a clock in MHz from `NAME` or `NAME@MHZ`. Raises DeviceError for an unknown name or no number."""
    name, at, clock = text.partition("@")
    try:
        return load_device(name), float(clock) if at else None
    except ValueError as error:
        if isinstance(error, DeviceError):
            raise
        raise DeviceError(f"device {text!r}: what follows @ must be a clock in MHz; write {name}@1134") from None


def load_device(name: str) -> Device:
    """A device by name. Raises DeviceError with the nearest name where there is none."""
    folders = device_folders()
    if name not in folders:
        raise DeviceError(f"device {name!r} is unknown; {did_you_mean(name, folders)}")
    return _load_cached(folders[name])


@cache
def _load_cached(folder: Path) -> Device:
    return read_device(folder)


def forget_loaded() -> None:
    """Read devices anew when they are asked for next."""
    _load_cached.cache_clear()


def files_of(folder: Path) -> tuple[Path, ...]:
    """The files that a device is read from: its description, and what that names."""
    folder = folder.resolve()
    source = folder / DESCRIPTION
    entry = mapping(read_yaml(source), str(source))
    names = [entry["coefficients"], *entry["kernels"], *entry["points"]]
    blocks = folder / BLOCKS
    return (source, *(_inside(folder, name, source) for name in names), *([blocks] if blocks.is_file() else []))


def read_device(folder: Path) -> Device:
    """Read and check a device folder. Raises DeviceError or TableError."""
    source = folder / DESCRIPTION
    if not source.is_file():
        raise DeviceError(f"{folder}: is not a device folder, device.yaml is missing")
    text = read_yaml(source)
    entry = mapping(text, str(source))
    precision = str(entry.setdefault("precision", "fp32"))
    check_keys(entry, _DEVICE_KEYS, str(source))
    if precision not in VALUE_BYTES:
        raise DeviceError(f"{source}: precision: {precision!r} is unknown; {did_you_mean(precision, VALUE_BYTES)}")
    coefficients = read_json(_inside(folder, entry["coefficients"], source))
    tables = [_inside(folder, name, source) for name in entry["kernels"]]
    points = [_inside(folder, name, source) for name in entry["points"]]
    if entry["stack"] not in STACKS:
        raise DeviceError(
            f"{source}: stack: {entry['stack']!r} is unknown; {did_you_mean(str(entry['stack']), STACKS)}"
        )
    return Device(
        name=folder.name,
        title=str(entry["title"]),
        stack=str(entry["stack"]),
        precision=precision,
        power_covers=str(entry["power_covers"]),
        power_note=str(entry["power_note"]),
        clocks=clocks_of(entry["clocks"], f"{source}: clocks"),
        numbers=numbers_of(entry["numbers"], f"{source}: numbers"),
        rows=tuple(row for path in tables for row in read_kernels(path)),
        points=tuple(point for path in points for point in read_points(path)),
        notes=tuple(str(note) for note in entry["notes"]),
        folder=folder,
        **coefficients_of(coefficients, str(folder / str(entry["coefficients"]))),
    )


_DEVICE_KEYS = (
    *("title", "stack", "precision", "power_covers", "power_note", "clocks", "numbers"),
    *("coefficients", "kernels", "points", "notes"),
)


def _inside(folder: Path, name: Any, source: Path) -> Path:
    root = folder.resolve()
    path = (root / str(name)).resolve()
    if root not in path.parents:
        raise DeviceError(f"{source}: {name} lies outside the device's folder; copy the file into it")
    if not path.is_file():
        raise DeviceError(f"{source}: {name} does not exist; add the file, or remove its name")
    return path
