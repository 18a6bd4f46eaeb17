"""Writes the folder of a device that a user measured or calibrated, whole or not at all."""

import csv
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from hw_models.analytic.features import unbent
from hw_models.analytic.roofline import PARAMETERS
from hw_models.device import (
    DESCRIPTION,
    NOT_MEASURED,
    SHIPPED,
    Device,
    DeviceError,
    device_folders,
    files_of,
    forget_loaded,
    home,
    read_device,
)
from hw_models.device_checks import check_sense
from hw_models.kernels import KINDS
from hw_models.schema import ALWAYS_BUSY, POWER_PARAMETERS, SHARES, Fit, Machine, MachineFit, read_json
from zoo.errors import did_you_mean
from zoo.files import atomic_folder, make_folder
from zoo.reading import exists, read_text
from zoo.text import one_line, shown

Array = NDArray[np.float64]

MAX_FILES = 1000
"""Files of a device folder that are looked at before it is added; no device has as many."""

ABOUT = "written by zoo measure; latency has shares of the single blocks' speed, covariances are of logarithms"
COEFFICIENTS, POINTS = "coefficients.json", "points.csv"
"""Files of a folder that is written here."""

REMEDY = "set ZOO_HOME to a folder that you may write to and that has room"

MAX_NAME = 80
"""Longest name of a device: its folder's name is a little longer while it is written."""


@dataclass(frozen=True)
class Power:
    """Readings of power while blocks ran, in W, or what is assumed without any."""

    covers: str
    note: str
    idle_w: float
    busy_w: float
    limit_w: float
    sd: float
    kind: str
    source: str


def assumed_power(cores: int) -> Power:
    """Wide bounds for a machine that gives no reading: 1 to 15 W for each core."""
    return Power(
        covers=NOT_MEASURED,
        note="No power was read: this machine gives no RAPL, NVML or INA reading. The bounds assume 1 to 15 W a core.",
        idle_w=0.5 * cores,
        busy_w=4.0 * cores,
        limit_w=15.0 * cores,
        sd=0.8,
        kind="assumed",
        source="1 to 15 W a core, not read",
    )


def document_of(device: Device) -> dict[str, Any]:
    """`coefficients.json` of a device."""
    return {
        "about": ABOUT,
        "latency": _fit_document(device.latency),
        "power": _fit_document(device.power),
        "table": dict.fromkeys(PARAMETERS, 1.0),
        "kernel_sd": dict(device.kernel_sd),
        "rests_on": dict(device.rests_on),
        "held_out": {kind: dict(errors) for kind, errors in device.held_out.items()},
    }


def _fit_document(fit: Fit) -> dict[str, Any]:
    def values(logs: Array) -> dict[str, float]:
        return {name: float(f"{value:.6g}") for name, value in zip(fit.names, np.exp(logs), strict=True)}

    return {
        "values": values(fit.theta),
        "prior": values(fit.prior),
        "prior_sd": values(np.log(fit.prior_sd)),
        "covariance": [[float(f"{x:.6g}") for x in row] for row in fit.covariance],
        "network_sd": float(f"{fit.network_sd:.4g}"),
    }


def machine_document(machine: Machine | None) -> dict[str, Any] | None:
    """The key `machine` of coefficients.json."""
    if machine is None:
        return None
    return {"latency": _machine_fit(machine.latency), "power": _machine_fit(machine.power)}


def _machine_fit(fit: MachineFit | None) -> dict[str, Any] | None:
    if fit is None:
        return None
    return {
        "factors": {name: _rounded(value) for name, value in zip(fit.names, np.exp(fit.theta), strict=True)},
        "covariance": [[_rounded(x) for x in row] for row in fit.covariance],
        "network_sd": _rounded(fit.network_sd),
        "freedom": fit.freedom,
        "usual_sd": _rounded(fit.usual_sd),
    }


def _rounded(value: float) -> float:
    return float(f"{value:.6g}")


def first_coefficients(held_out: Mapping[str, Mapping[str, float]], power: Power) -> dict[str, Any]:
    """Coefficients before any whole network was looked at."""
    latency = Fit.unfitted(dict.fromkeys(SHARES, 1.0), dict.fromkeys(SHARES, 0.1), 0.05)
    parts = {"energy_per_mac": 1e-15, "energy_per_byte": 1e-15}
    parts["active"] = unbent(power.busy_w - power.idle_w, power.limit_w - power.idle_w)
    parts |= {"ramp": ALWAYS_BUSY, "clock_exponent": 1.0}
    spread = dict.fromkeys(POWER_PARAMETERS, 0.01)
    return {
        "about": ABOUT,
        "latency": _fit_document(latency),
        "power": _fit_document(Fit.unfitted(parts, spread, power.sd)),
        "table": dict.fromkeys(PARAMETERS, 1.0),
        "kernel_sd": dict.fromkeys(KINDS, 0.3),
        "rests_on": dict.fromkeys(KINDS, "modelled"),
        "held_out": {kind: dict(errors) for kind, errors in held_out.items()},
    }


def write_device(
    name: str,
    description: Mapping[str, Any],
    coefficients: Mapping[str, Any],
    tables: Mapping[str, Sequence[Any]],
    *,
    replaces: bool = False,
) -> Device:
    """Write a device folder below `device.home()`, whole or not at all, and read it back.

    tables: rows by file name, all of one dataclass. Raises DeviceError where the name is taken.
    """
    with _whole(name, replaces=replaces) as partial:
        fill(partial, description, coefficients, tables)
    return read_device(home() / name)


def fill(
    folder: Path,
    description: Mapping[str, Any],
    coefficients: Mapping[str, Any],
    tables: Mapping[str, Sequence[Any]],
) -> None:
    """Write the files of a device into an empty folder; tables are rows by file name, all of one dataclass."""
    (folder / DESCRIPTION).write_text(yaml.safe_dump(dict(description), sort_keys=False, width=120), "utf-8")
    _write_coefficients(folder, coefficients)
    for file, rows in tables.items():
        write_rows(folder / file, rows)


def write_calibrated(device: Device, source: Path, name: str) -> Device:
    """Write the folder `source` as device `name`, with the machine and the points of `device`, which was read from it.

    A device of that name is replaced: see `calibrated_before`.
    """
    coefficients = read_json(source / COEFFICIENTS)
    with _whole(name, replaces=True) as partial:
        _copy(source, partial)
        _write_coefficients(partial, coefficients | {"machine": machine_document(device.machine)})
        write_rows(partial / POINTS, device.points)
        edit_description(partial, {"points": [POINTS]})
    return read_device(home() / name)


def calibrated_before(device: Device, name: str | None) -> tuple[str, Device | None]:
    """The name of a device's calibrated copy, and what was calibrated under it before.

    The name is by default that of the user's own device, or NAME-calibrated. Raises DeviceError where it belongs to a
    device of another board or runtime.
    """
    ships = device.folder.parent.resolve() == SHIPPED.resolve()
    name = checked_name(name or (f"{device.name}-calibrated" if ships else device.name))
    folder = device_folders().get(name)
    if folder is None:
        return name, None
    before = read_device(folder)
    if (before.title, before.stack, before.clocks) != (device.title, device.stack, device.clocks):
        raise DeviceError(f"device {name!r} is another, {before.title}; choose another name with --name")
    return name, before


def add_device(folder: Path) -> Device:
    """Check a device folder and copy it to the user's devices. Raises DeviceError or TableError."""
    device = read_device(folder)
    _refuse_links(folder)
    check_sense(device)
    with _whole(folder.resolve().name, replaces=False) as partial:
        _copy(folder, partial)
    return read_device(home() / device.name)


def _refuse_links(folder: Path) -> None:
    for path in islice(folder.rglob("*"), MAX_FILES):
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            raise DeviceError(f"{shown(path)}: is a link or no ordinary file; a device has neither")


def remove_device(name: str) -> Path:
    """Remove one of the user's own devices; the folder that it had. Raises DeviceError for any other."""
    folders = device_folders()
    if name not in folders:
        raise DeviceError(f"device {name!r} is unknown; {did_you_mean(name, folders)}")
    folder = folders[name]
    if folder.parent.resolve() == SHIPPED.resolve():
        raise DeviceError(f"device {name!r} ships with the package and stays; only your own can be removed")
    trash = folder.with_name(f".{name}.old")
    shutil.rmtree(trash, ignore_errors=True)
    folder.rename(trash)
    shutil.rmtree(trash)
    forget_loaded()
    return folder


def _copy(source: Path, target: Path) -> None:
    """Copy the files that a device is read from."""
    for file in files_of(source):
        copy = target / file.relative_to(source.resolve())
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, copy)


@contextmanager
def _whole(name: str, *, replaces: bool) -> Iterator[Path]:
    """An empty folder that takes the place of the device `name` once it was filled and reads as a device."""
    target = refuse_taken(name, replaces=replaces)
    with atomic_folder(target, REMEDY) as partial:
        yield partial
        read_device(partial)
    forget_loaded()


def _write_coefficients(folder: Path, coefficients: Mapping[str, Any]) -> None:
    (folder / COEFFICIENTS).write_text(json.dumps(dict(coefficients), indent=1) + "\n", "utf-8")


def refuse_taken(name: str, *, replaces: bool) -> Path:
    """The folder that a new device gets. Raises DeviceError where the name is taken."""
    target = make_folder(home()) / checked_name(name)
    if exists(target) and not replaces:
        raise DeviceError(
            f"device {name!r} exists already in {target}; choose another name, "
            f"add --replace to zoo measure, or remove it first (zoo device remove {name})"
        )
    return target


def checked_name(name: str) -> str:
    """The name itself. Raises DeviceError where it cannot be a folder's or belongs to a device that ships."""
    if not 0 < len(name) <= MAX_NAME or not all(c.isalnum() or c in "-_." for c in name) or name.startswith("."):
        raise DeviceError(
            f"device name {one_line(repr(name), 60)} must consist of at most {MAX_NAME} letters, digits, - and _; "
            "choose another"
        )
    if (SHIPPED / name).exists():
        raise DeviceError(f"device name {name!r} belongs to a device that ships; choose another")
    return name


def edit_description(folder: Path, changes: Mapping[str, Any]) -> None:
    """Change keys of a folder's device.yaml."""
    path = folder / DESCRIPTION
    entry = dict(yaml.safe_load(read_text(path))) | dict(changes)
    path.write_text(yaml.safe_dump(entry, sort_keys=False, allow_unicode=True, width=120), "utf-8")


def write_rows(path: Path, rows: Sequence[Any]) -> None:
    """A table of rows of one dataclass, as `tables` reads it."""
    columns = [item.name for item in fields(rows[0])]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        for row in rows:
            writer.writerow([_cell(getattr(row, name)) for name in columns])


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, Mapping):
        return json.dumps(value, sort_keys=True)
    return f"{value:.8g}" if isinstance(value, float) else str(value)
