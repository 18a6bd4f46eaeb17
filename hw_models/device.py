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
from zoo.files import recover_folders
from zoo.folders import data_home, old_data_home
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
DESCRIPTION, BLOCKS = "device.yaml", "blocks.csv"
"""Files of a device folder: the description, and the timed blocks of a device that was measured."""


NOT_MEASURED = "nothing"
"""What a reading of power covers on a machine that gives none."""

ENOUGH_NETWORKS = 5
"""Networks from which on a limit of power is more than a ranking."""


@dataclass(frozen=True, eq=False)
class Device:
    """One device under one software stack, computing in one precision (fp32, fp16, int8).

    kernel_sd: standard deviation of the log error of one kernel, by kind. rests_on: provenance by kind.
    table_theta: parameters of the tables' own stacks, which the rows' residuals are taken from. held_out: by
    kind, the error of the table model on groups of shapes that it was fitted without. machine: what the user
    measured on the own machine; predictions are then for it. conditions: the machine and the versions that
    `zoo measure` met, as `environment.Conditions.document` gives them. look_up: whether published readings are
    the answer for the networks that were read, and inherited by those like them.
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
    conditions: Mapping[str, Any] | None = None
    look_up: bool = True

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
        groups = {p.group: None for p in self.points if p.metric == "latency_s" and p.use == "calibration"}
        return tuple(groups)

    @property
    def reads_power(self) -> bool:
        """Whether anybody read a power of this device, so that one can be predicted."""
        return self.power_covers != NOT_MEASURED

    @property
    def power_networks(self) -> tuple[str, ...]:
        """Families of networks of which a power was published, in order."""
        return tuple(sorted({p.group for p in self.points if p.metric == "power_w" and p.use == "calibration"}))

    @property
    def shows_power(self) -> bool:
        """Whether a predicted power rests on any reading; else it is the range from idle to the limit."""
        return self.reads_power and bool(self.power_networks or self.own_points or exists(self.folder / BLOCKS))

    @property
    def power_basis(self) -> str:
        """One line on what a limit of power or energy is worth here."""
        if not self.reads_power:
            return f"{self.name}: no power was read on this machine, so none is predicted"
        networks = self.power_networks
        if not networks:
            return f"{self.name}: nobody published the power of a network here, so a limit of power means nothing"
        if len(networks) < ENOUGH_NETWORKS:
            names = ", ".join(networks)
            return (
                f"{self.name}: power ({self.power_covers}) was read of {names} alone: a limit is as good as the "
                "reading for these, assumes that networks like them err alike, and only ranks others"
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


def _own_roots() -> tuple[Path, ...]:
    """Folders of the user's own devices: today's, and where version 0.1 kept them."""
    try:
        old = old_data_home()
        return (home(), *([] if old is None else [old / "devices"]))
    except ZooError:  # without a home folder there are still those that ship
        return ()


_GIVEN: dict[str, Path] = {}
"""Folders that the user gave to this process, by the names of their devices."""


def use_folder(folder: Path) -> str:
    """Make the device in a folder known by the folder's name to this process; returns the name.

    Raises DeviceError where the folder holds no device, or another device has the name.
    """
    folder = folder.resolve()
    other_folder = device_folders().get(folder.name)
    if other_folder is not None and other_folder.resolve() != folder:
        raise DeviceError(
            f"{shown(folder)}: another device is called {folder.name}, in {shown(other_folder)}; rename the folder"
        )
    read_device(folder)
    _GIVEN[folder.name] = folder
    return folder.name


def device_folders() -> dict[str, Path]:
    """Folders of all devices by name: those that ship, then the user's own, which may not take a shipped name.

    Last come those that `use_folder` was given.

    What a killed `zoo measure` or `zoo device add` left is put right first, and is never a device.
    """
    folders: dict[str, Path] = {}
    own = [root for root in _own_roots() if is_folder(root)]
    for root in own:
        recover_folders(root)
    for root in (SHIPPED, *own):
        for path in sorted(root.iterdir()):
            if not path.name.startswith(".") and is_file(path / DESCRIPTION):
                folders.setdefault(path.name, path)
    return {**_GIVEN, **folders}


def load_device(name: str) -> Device:
    """A device by name: its numbers with their sources, its tables, its fit.

    Args:
        name: of a shipped device, or of one of your own (`zoo measure`, `zoo device add`).

    Raises:
        DeviceError: there is no such device; the message has the nearest name. A file of it is damaged.

    >>> load_device("tx2").clocks.default_mhz
    1300.0
    """
    folders = device_folders()
    if name not in folders:
        raise DeviceError(f"device {name!r} is unknown; {did_you_mean(name, folders)}")
    return _load_cached(folders[name])


@cache
def _load_cached(folder: Path) -> Device:
    return read_device(folder)


def shows_power(name: str) -> bool:
    """`Device.shows_power` of a device by its name; True of one that is not at hand."""
    try:
        return load_device(name).shows_power
    except ZooError:
        return True


def forget_loaded() -> None:
    """Read devices anew when they are asked for next."""
    _load_cached.cache_clear()


def files_of(folder: Path) -> tuple[Path, ...]:
    """The files that a device is read from: its description, and what that names."""
    folder = folder.resolve()
    source = folder / DESCRIPTION
    entry = mapping(read_yaml(source), str(source))
    names = [entry["coefficients"], *names_of(entry, "kernels", source), *names_of(entry, "points", source)]
    blocks = [BLOCKS] if exists(folder / BLOCKS) else []
    return (source, *(inside(folder, name, source, DeviceError, WHAT) for name in [*names, *blocks]))


def read_device(folder: Path) -> Device:
    """Read and check a device folder. Raises DeviceError or TableError."""
    source = folder / DESCRIPTION
    if not is_folder(folder) or not exists(source):
        raise DeviceError(f"{shown(folder)}: is not a device folder, device.yaml is missing")
    text = read_yaml(inside(folder, source.name, folder, DeviceError, WHAT))
    entry = mapping(text, str(source))
    precision = str(entry.setdefault("precision", "fp32"))
    conditions = entry.setdefault("conditions", None)
    check_keys(entry, _DEVICE_KEYS, str(source))
    if precision not in VALUE_BYTES:
        raise DeviceError(f"{source}: precision: {precision!r} is unknown; {did_you_mean(precision, VALUE_BYTES)}")
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
        precision=precision,
        power_covers=_text(entry, "power_covers", source),
        power_note=_text(entry, "power_note", source),
        clocks=clocks_of(entry["clocks"], f"{source}: clocks"),
        numbers=numbers_of(entry["numbers"], f"{source}: numbers"),
        rows=tuple(row for path in tables for row in read_kernels(path)),
        points=tuple(point for path in points for point in read_points(path)),
        notes=tuple(names_of(entry, "notes", source)),
        folder=folder,
        conditions=None if conditions is None else mapping(conditions, f"{source}: conditions"),
        **coefficients_of(coefficients, str(folder / str(entry["coefficients"]))),
    )


_DEVICE_KEYS = (
    *("title", "stack", "precision", "power_covers", "power_note", "clocks", "numbers"),
    *("coefficients", "kernels", "points", "notes", "conditions"),
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
