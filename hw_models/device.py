"""Devices: a folder each, with `device.yaml`, `coefficients.json` and CSV tables.

Every number has a unit and a source, and everything is checked when it is read. A folder may only name
files inside itself. Devices ship in `hw_models/devices`; `zoo device add` copies others to ZOO_HOME.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from hw_models.kernels import STACKS
from hw_models.schema import (
    POWER_PARAMETERS,
    UNITS,
    Clocks,
    DeviceError,
    Fit,
    Number,
    check_keys,
    clocks_of,
    coefficients_of,
    mapping,
    numbers_of,
    read_json,
)
from hw_models.tables import KernelRow, Point, read_kernels, read_points
from zoo.errors import ZooError, did_you_mean
from zoo.files import atomic_folder, copy_folder, make_folder, recover_folders
from zoo.home import home_folder
from zoo.reading import exists, inside, is_file, is_folder
from zoo.text import one_line, shown
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
    "add_device",
    "device_folders",
    "load_device",
    "read_device",
]

WHAT = "device's folder"

MAX_FILES, MAX_BYTES = 64, 64 * 2**20
"""Most files and bytes of a device's folder."""

MAX_TEXT = 4000
"""Most characters of a text of a description."""

SHIPPED = Path(__file__).parent / "devices"


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
    return home_folder() / "devices"


def device_folders() -> dict[str, Path]:
    """Folders of all devices by name: those that ship, then the user's own, which may not take a shipped name.

    What a killed `zoo measure` or `zoo device add` left is put right first, and is never a device.
    """
    folders: dict[str, Path] = {}
    for root in (SHIPPED, *_own_root()):
        for path in sorted(root.iterdir()):
            if not path.name.startswith(".") and is_file(path / "device.yaml"):
                folders.setdefault(path.name, path)
    return folders


def _own_root() -> tuple[Path, ...]:
    try:
        root = home()
    except ZooError:  # without a home folder there are still those that ship
        return ()
    if not is_folder(root):
        return ()
    recover_folders(root)
    return (root,)


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
    if not device.name or device.name.startswith("."):
        raise DeviceError(f"{shown(folder)}: a device's name must not begin with a point; rename the folder")
    if (SHIPPED / device.name).exists():
        raise DeviceError(f"{folder}: the name {device.name!r} belongs to a device that ships; choose another")
    target = make_folder(into or home()) / device.name
    with atomic_folder(target, "set ZOO_HOME to a folder that you may write to and that has room") as partial:
        if exists(target):
            raise DeviceError(f"{target}: exists already; remove it first, or choose another name")
        copy_folder(folder, partial, most_files=MAX_FILES, most_bytes=MAX_BYTES)
        read_device(partial)
    return device


def read_device(folder: Path) -> Device:
    """Read and check a device folder. Raises DeviceError or TableError."""
    source = folder / "device.yaml"
    if not is_folder(folder) or not exists(source):
        raise DeviceError(f"{shown(folder)}: is not a device folder, device.yaml is missing")
    text = read_yaml(inside(folder, source.name, folder, DeviceError, WHAT))
    entry = mapping(text, str(source))
    check_keys(entry, _DEVICE_KEYS, str(source))
    coefficients = read_json(inside(folder, entry["coefficients"], source, DeviceError, WHAT))
    tables, points = (
        [inside(folder, name, source, DeviceError, WHAT) for name in names_of(entry, key, source)]
        for key in ("kernels", "points")
    )
    if not isinstance(entry["stack"], str) or entry["stack"] not in STACKS:
        raise DeviceError(
            f"{source}: stack: {entry['stack']!r} is unknown; {did_you_mean(str(entry['stack']), STACKS)}"
        )
    return Device(
        name=folder.name,
        title=_text(entry, "title", source),
        stack=str(entry["stack"]),
        power_covers=_text(entry, "power_covers", source),
        power_note=_text(entry, "power_note", source),
        clocks=clocks_of(entry["clocks"], f"{source}: clocks"),
        numbers=numbers_of(entry["numbers"], f"{source}: numbers"),
        rows=tuple(row for path in tables for row in read_kernels(path)),
        points=tuple(point for path in points for point in read_points(path)),
        notes=tuple(names_of(entry, "notes", source)),
        folder=folder,
        **coefficients_of(coefficients, str(folder / str(entry["coefficients"]))),
    )


_DEVICE_KEYS = (
    *("title", "stack", "power_covers", "power_note", "clocks", "numbers"),
    *("coefficients", "kernels", "points", "notes"),
)


def names_of(entry: Mapping[str, Any], key: str, source: Path) -> list[str]:
    """A list of texts of a description. Raises DeviceError for anything else."""
    value = entry[key]
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value) or len(value) > MAX_FILES:
        raise DeviceError(
            f"{shown(source)}: {key}: must be a list of at most {MAX_FILES} texts, but is {one_line(repr(value), 80)}"
        )
    return value


def _text(entry: Mapping[str, Any], key: str, source: Path) -> str:
    value = entry[key]
    if not isinstance(value, str) or len(value) > MAX_TEXT:
        raise DeviceError(
            f"{shown(source)}: {key}: must be a text of at most {MAX_TEXT} characters, but is "
            f"{one_line(repr(value), 80)}"
        )
    return value
