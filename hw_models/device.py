"""Devices: a folder each, with `device.yaml`, `coefficients.json` and CSV tables.

Every number has a unit and a source, and everything is checked when it is read. A folder may only name
files inside itself. Devices ship in `hw_models/devices`; `zoo device add` copies others to ZOO_HOME.
"""

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from math import isfinite, log
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hw_models.kernels import KINDS, STACKS
from hw_models.roofline import PARAMETERS
from hw_models.tables import PROVENANCES, KernelRow, Point, read_kernels, read_points
from zoo.errors import ZooError, did_you_mean
from zoo.files import make_folder
from zoo.yaml_strict import read_yaml

Array = NDArray[np.float64]

SHIPPED = Path(__file__).parent / "devices"

UNITS: Mapping[str, str] = {
    "macs_per_cycle": "MAC/cycle",
    "memory_bandwidth": "B/s",
    "idle_power": "W",
    "power_limit": "W",
    "frame_overhead": "s",
}
"""Numbers that every device has, with their units."""

POWER_PARAMETERS: Mapping[str, str] = {
    "energy_per_mac": "energy of one multiply-accumulate at the default clock (J)",
    "energy_per_byte": "energy of one byte moved at the default clock (J)",
    "active": "power of a busy device beside arithmetic and bytes, at the default clock (W)",
    "dilated": "the same while it runs dilated convolutions, as a share of `active` (1)",
    "clock_exponent": "energy of an operation grows with the clock to this power (1)",
}
"""Names and units of the power model's parameters, in the order of every vector of them."""


class DeviceError(ZooError, ValueError):
    """A device, or a folder that should describe one, that cannot be used."""


@dataclass(frozen=True, slots=True)
class Number:
    """A number with its unit, how it came about, and where it is written."""

    value: float
    unit: str
    kind: str
    source: str


@dataclass(frozen=True, slots=True)
class Clocks:
    """GPU clocks in MHz: the range that predictions are made for, the default, and the named modes."""

    low_mhz: float
    high_mhz: float
    default_mhz: float
    modes: Mapping[str, float]
    source: str


@dataclass(frozen=True)
class Fit:
    """Fitted parameters: natural logarithms, their covariance, and the error that is left.

    network_sd: standard deviation of the log error of a whole network that the fit has not seen.
    prior, prior_sd: what the fit started from, as logarithms and their standard deviations.
    """

    names: tuple[str, ...]
    theta: Array
    covariance: Array
    network_sd: float
    prior: Array
    prior_sd: Array

    @classmethod
    def unfitted(cls, prior: Mapping[str, float], prior_sd: Mapping[str, float], network_sd: float) -> "Fit":
        """The prior itself, for a device without whole-network points."""
        names = tuple(prior)
        center = np.array([log(prior[name]) for name in names])
        sd = np.array([prior_sd[name] for name in names])
        return cls(names, center, np.diag(sd**2), network_sd, center, sd)


@dataclass(frozen=True)
class Device:
    """One device under one software stack.

    kernel_sd: standard deviation of the log error of one kernel, by kind. rests_on: provenance by kind.
    table_theta: parameters of the tables' own stacks, which the rows' residuals are taken from. held_out: by
    kind, the error of the table model on groups of shapes that it was fitted without.
    """

    name: str
    title: str
    stack: str
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

    def value(self, name: str) -> float:
        """A number by name, in the unit that UNITS gives."""
        return self.numbers[name].value

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
    base = os.environ.get("ZOO_HOME")
    return (Path(base) if base else Path.home() / ".cache" / "edgeseg-zoo") / "devices"


def device_folders() -> dict[str, Path]:
    """Folders of all devices by name: the user's own come first and may not take a shipped name."""
    found: dict[str, Path] = {}
    for root in (SHIPPED, home()):
        if root.is_dir():
            for path in sorted(root.iterdir()):
                if (path / "device.yaml").is_file():
                    found.setdefault(path.name, path)
    return found


def load_device(name: str) -> Device:
    """A device by name. Raises DeviceError with the nearest name where there is none."""
    folders = device_folders()
    if name not in folders:
        raise DeviceError(f"device {name!r} is unknown; {did_you_mean(name, folders)}")
    return _load_cached(folders[name])


@cache
def _load_cached(folder: Path) -> Device:
    return read_device(folder)


def add_device(folder: Path, into: Path | None = None) -> Device:
    """Check a device folder and copy it to the user's devices. Raises DeviceError or TableError."""
    device = read_device(folder)
    if (SHIPPED / device.name).exists():
        raise DeviceError(f"{folder}: the name {device.name!r} belongs to a device that ships; choose another")
    target = make_folder(into or home()) / device.name
    if target.exists():
        raise DeviceError(f"{target}: exists already; remove it first, or choose another name")
    partial = target.with_name(f".{device.name}.part")
    shutil.rmtree(partial, ignore_errors=True)
    shutil.copytree(folder, partial)
    partial.rename(target)
    return device


def read_device(folder: Path) -> Device:
    """Read and check a device folder. Raises DeviceError or TableError."""
    source = folder / "device.yaml"
    if not source.is_file():
        raise DeviceError(f"{folder}: is not a device folder, device.yaml is missing")
    text = read_yaml(source)
    entry = _mapping(text, str(source))
    _keys(entry, _DEVICE_KEYS, str(source))
    coefficients = _read_json(_inside(folder, entry["coefficients"], source))
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
        power_covers=str(entry["power_covers"]),
        power_note=str(entry["power_note"]),
        clocks=_clocks(entry["clocks"], f"{source}: clocks"),
        numbers=_numbers(entry["numbers"], f"{source}: numbers"),
        rows=tuple(row for path in tables for row in read_kernels(path)),
        points=tuple(point for path in points for point in read_points(path)),
        notes=tuple(str(note) for note in entry["notes"]),
        folder=folder,
        **_coefficients(coefficients, str(folder / str(entry["coefficients"]))),
    )


_DEVICE_KEYS = (
    *("title", "stack", "power_covers", "power_note", "clocks", "numbers"),
    *("coefficients", "kernels", "points", "notes"),
)


def _mapping(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise DeviceError(f"{where}: must be a mapping")
    return value


def _keys(entry: Mapping[str, Any], known: tuple[str, ...], where: str) -> None:
    for key in entry:
        if key not in known:
            raise DeviceError(f"{where}: {key}: unknown key; {did_you_mean(key, known)}")
    for key in known:
        if key not in entry:
            raise DeviceError(f"{where}: {key} is missing; add it")


def _inside(folder: Path, name: Any, source: Path) -> Path:
    root = folder.resolve()
    path = (root / str(name)).resolve()
    if root not in path.parents:
        raise DeviceError(f"{source}: {name} lies outside the device's folder; copy the file into it")
    if not path.is_file():
        raise DeviceError(f"{source}: {name} does not exist; add the file, or remove its name")
    return path


def _read_json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DeviceError(f"{path}: is not valid JSON: {error}") from None
    return _mapping(value, str(path))


def _positive(value: Any, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not isfinite(value) or value <= 0:
        raise DeviceError(f"{where}: must be a positive number, but is {value!r}")
    return float(value)


def _clocks(value: Any, where: str) -> Clocks:
    entry = _mapping(value, where)
    _keys(entry, ("low_mhz", "high_mhz", "default_mhz", "modes", "source"), where)
    modes = {name: _positive(mhz, f"{where}.modes.{name}") for name, mhz in _mapping(entry["modes"], where).items()}
    low, high, default = (_positive(entry[k], f"{where}.{k}") for k in ("low_mhz", "high_mhz", "default_mhz"))
    if not low <= default <= high:
        raise DeviceError(f"{where}: default_mhz {default:g} must lie between low_mhz {low:g} and high_mhz {high:g}")
    return Clocks(low, high, default, modes, str(entry["source"]))


def _numbers(value: Any, where: str) -> dict[str, Number]:
    numbers = {}
    for name, item in _mapping(value, where).items():
        inner = f"{where}.{name}"
        entry = _mapping(item, inner)
        if "unit" not in entry:
            raise DeviceError(f"{inner}: unit is missing; every number needs one")
        _keys(entry, ("value", "unit", "kind", "source"), inner)
        if name in UNITS and entry["unit"] != UNITS[name]:
            raise DeviceError(f"{inner}: unit must be {UNITS[name]}, but is {entry['unit']}")
        number = _positive(entry["value"], f"{inner}.value")
        numbers[name] = Number(number, str(entry["unit"]), str(entry["kind"]), str(entry["source"]))
    for name in UNITS:
        if name not in numbers:
            raise DeviceError(f"{where}: {name} is missing; give it in {UNITS[name]} with its source")
    return numbers


def _coefficients(entry: Mapping[str, Any], where: str) -> dict[str, Any]:
    _keys(entry, ("about", "latency", "power", "table", "kernel_sd", "rests_on", "held_out"), where)
    kernel_sd, rests_on = _mapping(entry["kernel_sd"], where), _mapping(entry["rests_on"], where)
    for kind in KINDS:
        if kind not in kernel_sd or rests_on.get(kind) not in PROVENANCES:
            raise DeviceError(f"{where}: kernel_sd and rests_on must name kind {kind!r}")
    return {
        "latency": _fit(entry["latency"], tuple(PARAMETERS), f"{where}: latency"),
        "power": _fit(entry["power"], tuple(POWER_PARAMETERS), f"{where}: power"),
        "table_theta": tuple(_log_values(entry["table"], tuple(PARAMETERS), f"{where}: table")),
        "kernel_sd": {kind: _positive(sd, f"{where}: kernel_sd.{kind}") for kind, sd in kernel_sd.items()},
        "rests_on": dict(rests_on),
        "held_out": dict(_mapping(entry["held_out"], where)),
    }


def _log_values(value: Any, names: tuple[str, ...], where: str) -> list[float]:
    entry = _mapping(value, where)
    _keys(entry, names, where)
    return [float(np.log(_positive(entry[name], f"{where}.{name}"))) for name in names]


def _fit(value: Any, names: tuple[str, ...], where: str) -> Fit:
    entry = _mapping(value, where)
    _keys(entry, ("values", "prior", "prior_sd", "covariance", "network_sd"), where)
    try:
        covariance = np.array(entry["covariance"], dtype=np.float64)
    except (TypeError, ValueError):
        covariance = np.zeros((0, 0))
    if covariance.shape != (len(names), len(names)) or not np.isfinite(covariance).all():
        raise DeviceError(f"{where}.covariance: must be {len(names)} rows of {len(names)} finite numbers")
    if np.linalg.eigvalsh(covariance).min() < -1e-9:
        raise DeviceError(f"{where}.covariance: must have no negative eigenvalue")
    return Fit(
        names=names,
        theta=np.array(_log_values(entry["values"], names, f"{where}.values")),
        covariance=covariance,
        network_sd=_positive(entry["network_sd"], f"{where}.network_sd"),
        prior=np.array(_log_values(entry["prior"], names, f"{where}.prior")),
        prior_sd=np.exp(_log_values(entry["prior_sd"], names, f"{where}.prior_sd")),
    )
