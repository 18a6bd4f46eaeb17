"""Writes the folder of a device that a user measured or calibrated: whole or not at all, below `device.home()`."""

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from hw_models.analytic.features import unbent
from hw_models.analytic.roofline import PARAMETERS
from hw_models.device import SHIPPED, Device, DeviceError, _load_cached, home, read_device
from hw_models.kernels import KINDS
from hw_models.schema import POWER_PARAMETERS, SHARES, Fit
from zoo.files import atomic_folder, make_folder
from zoo.reading import exists, read_text
from zoo.text import one_line

Array = NDArray[np.float64]

ABOUT = "written by zoo measure; latency has shares of the single blocks' speed, covariances are of logarithms"
REMEDY = "set ZOO_HOME to a folder that you may write to and that has room"

MAX_NAME = 80
"""Longest name of a device: its folder's name is a little longer while it is written."""

NOT_MEASURED = "nothing"
"""What the power of a device without a reading covers."""


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
        "held_out": {kind: dict(found) for kind, found in device.held_out.items()},
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


def first_coefficients(held_out: Mapping[str, Mapping[str, float]], power: Power) -> dict[str, Any]:
    """Coefficients before any whole network was looked at."""
    latency = Fit.unfitted(dict.fromkeys(SHARES, 1.0), dict.fromkeys(SHARES, 0.1), 0.05)
    parts = {"energy_per_mac": 1e-15, "energy_per_byte": 1e-15}
    parts["active"] = unbent(power.busy_w - power.idle_w, power.limit_w - power.idle_w)
    parts |= {"dilated": 1.0, "clock_exponent": 1.0}
    spread = dict.fromkeys(POWER_PARAMETERS, 0.01)
    return {
        "about": ABOUT,
        "latency": _fit_document(latency),
        "power": _fit_document(Fit.unfitted(parts, spread, power.sd)),
        "table": dict.fromkeys(PARAMETERS, 1.0),
        "kernel_sd": dict.fromkeys(KINDS, 0.3),
        "rests_on": dict.fromkeys(KINDS, "modelled"),
        "held_out": {kind: dict(found) for kind, found in held_out.items()},
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
    target = refuse_taken(name, replaces=replaces)
    with atomic_folder(target, REMEDY) as partial:
        (partial / "device.yaml").write_text(yaml.safe_dump(dict(description), sort_keys=False, width=120), "utf-8")
        (partial / "coefficients.json").write_text(json.dumps(coefficients, indent=1) + "\n", "utf-8")
        for file, rows in tables.items():
            write_rows(partial / file, rows)
        read_device(partial)
    _load_cached.cache_clear()
    return read_device(target)


def refuse_taken(name: str, *, replaces: bool) -> Path:
    """The folder that a new device gets. Raises DeviceError where the name is taken."""
    target = make_folder(home()) / checked_name(name)
    if exists(target) and not replaces:
        raise DeviceError(f"device {name!r} exists already in {target}; choose another name, or add --replace")
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
    path = folder / "device.yaml"
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
