"""Values of a device description with their checks: numbers with units, clocks, fits.

A mistake is a DeviceError that gives the file, the path to the key, the rule and the value.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite, log
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hw_models.analytic.roofline import PARAMETERS
from hw_models.kernels import KINDS
from hw_models.measured.blocks import KINDS as BLOCK_KINDS
from hw_models.tables import PROVENANCES
from zoo import reading
from zoo.errors import ZooError, did_you_mean
from zoo.text import one_line

Array = NDArray[np.float64]

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
    "ramp": "time of a kernel that is long enough to draw half of `active` (s)",
    "clock_exponent": "energy of an operation grows with the clock to this power (1)",
}
"""Names and units of the power model's parameters, in the order of every vector of them."""


LEAST, LARGEST = 1e-30, 1e30
"""Bounds of all numbers in SI units; products of a few of them are finite."""

LARGEST_VARIANCE = 1e3
"""Bound of a covariance of logarithms: a parameter known no better than this is not known."""
ALWAYS_BUSY = 1e-9
"""A `ramp` in s that no kernel is short enough to notice."""

SHARES = ("all", *BLOCK_KINDS, "prelu")
"""Latency parameters of a device that was measured on the spot, in the order of every vector of them.

Each is a share of single blocks' speed that whole networks reach: what all blocks have in common, what
blocks of a kind have beyond it, and those with a PReLU beyond that; a block's own share is the product.
"""


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
class MachineFit:
    """What the user's measurements say of one metric (`hw_models.machine`); theta are logarithms of factors.

    network_sd: standard deviation of the log error of a network that was not measured, known to `freedom` degrees
    of freedom. usual_sd: the largest of the measured networks' own published errors; a larger one widens the interval.
    """

    names: tuple[str, ...]
    theta: Array
    covariance: Array
    network_sd: float
    freedom: int
    usual_sd: float


@dataclass(frozen=True)
class Machine:
    """The user's machine beside the published device; None for a metric that was not measured."""

    latency: MachineFit | None
    power: MachineFit | None


def mapping(value: Any, location: str) -> dict[str, Any]:
    """The value itself, where it is a mapping."""
    if not isinstance(value, dict):
        raise DeviceError(f"{location}: must be a mapping")
    return value


def check_keys(entry: Mapping[str, Any], allowed: tuple[str, ...], location: str) -> None:
    """Refuse unknown keys and missing ones."""
    for key in entry:
        if key not in allowed:
            raise DeviceError(f"{location}: {key}: unknown key; {did_you_mean(key, allowed)}")
    for key in allowed:
        if key not in entry:
            raise DeviceError(f"{location}: {key} is missing; add it")


def read_json(path: Path) -> dict[str, Any]:
    """A JSON file that holds a mapping."""
    return mapping(reading.read_json(path, DeviceError, finite=False), str(path))


def _positive(value: Any, location: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not isfinite(value) or value <= 0:
        raise DeviceError(f"{location}: must be a positive number, but is {one_line(repr(value), 60)}")
    if not LEAST <= value <= LARGEST:
        raise DeviceError(f"{location}: must be from {LEAST:g} to {LARGEST:g}, but is {one_line(repr(value), 60)}")
    return float(value)


def clocks_of(value: Any, location: str) -> Clocks:
    """Clocks of a description."""
    entry = mapping(value, location)
    check_keys(entry, ("low_mhz", "high_mhz", "default_mhz", "modes", "source"), location)
    modes = {
        name: _positive(mhz, f"{location}.modes.{name}") for name, mhz in mapping(entry["modes"], location).items()
    }
    low, high, default = (_positive(entry[k], f"{location}.{k}") for k in ("low_mhz", "high_mhz", "default_mhz"))
    if not low <= default <= high:
        raise DeviceError(f"{location}: default_mhz {default:g} must lie between low_mhz {low:g} and high_mhz {high:g}")
    return Clocks(low, high, default, modes, str(entry["source"]))


def numbers_of(value: Any, location: str) -> dict[str, Number]:
    """Numbers of a description, each with its unit; all of UNITS must be there."""
    numbers = {}
    for name, item in mapping(value, location).items():
        inner = f"{location}.{name}"
        entry = mapping(item, inner)
        if "unit" not in entry:
            raise DeviceError(f"{inner}: unit is missing; every number needs one")
        check_keys(entry, ("value", "unit", "kind", "source"), inner)
        if name in UNITS and entry["unit"] != UNITS[name]:
            raise DeviceError(f"{inner}: unit must be {UNITS[name]}, but is {entry['unit']}")
        number = _positive(entry["value"], f"{inner}.value")
        numbers[name] = Number(number, str(entry["unit"]), str(entry["kind"]), str(entry["source"]))
    for name in UNITS:
        if name not in numbers:
            raise DeviceError(f"{location}: {name} is missing; give it in {UNITS[name]} with its source")
    return numbers


def coefficients_of(entry: Mapping[str, Any], location: str) -> dict[str, Any]:
    """Fields of `Device` that a coefficients file fills."""
    entry = dict(entry)
    machine = entry.pop("machine", None)
    check_keys(entry, ("about", "latency", "power", "table", "kernel_sd", "rests_on", "held_out"), location)
    kernel_sd, rests_on = mapping(entry["kernel_sd"], location), mapping(entry["rests_on"], location)
    for kind in KINDS:
        if kind not in kernel_sd or str(rests_on.get(kind)) not in PROVENANCES:
            raise DeviceError(f"{location}: kernel_sd and rests_on must name kind {kind!r}")
    return {
        "latency": _fit(entry["latency"], _latency_names(entry["latency"], location), f"{location}: latency"),
        "power": _fit(_with_ramp(entry["power"]), tuple(POWER_PARAMETERS), f"{location}: power"),
        "table_theta": tuple(_log_values(entry["table"], tuple(PARAMETERS), f"{location}: table")),
        "kernel_sd": {kind: _positive(sd, f"{location}: kernel_sd.{kind}") for kind, sd in kernel_sd.items()},
        "rests_on": dict(rests_on),
        "held_out": _held_out(entry["held_out"], f"{location}: held_out"),
        "machine": None if machine is None else _machine(mapping(machine, f"{location}: machine"), location),
    }


def _machine(entry: Mapping[str, Any], location: str) -> Machine:
    check_keys(entry, ("latency", "power"), f"{location}: machine")
    fits = {
        metric: None if entry[metric] is None else _machine_fit(entry[metric], f"{location}: machine.{metric}")
        for metric in ("latency", "power")
    }
    return Machine(**fits)


def _machine_fit(value: Any, location: str) -> MachineFit:
    entry = mapping(value, location)
    check_keys(entry, ("factors", "covariance", "network_sd", "freedom", "usual_sd"), location)
    names = tuple(mapping(entry["factors"], f"{location}.factors"))
    if names not in (("scale",), ("scale", *PARAMETERS)):
        raise DeviceError(f"{location}.factors: must have scale, and the roofline's parameters or nothing else")
    freedom = entry["freedom"]
    if isinstance(freedom, bool) or not isinstance(freedom, int) or freedom < 1:
        raise DeviceError(f"{location}.freedom: must be a whole number of at least 1, but is {freedom!r}")
    return MachineFit(
        names=names,
        theta=np.array(_log_values(entry["factors"], names, f"{location}.factors")),
        covariance=_covariance(entry["covariance"], len(names), f"{location}.covariance"),
        network_sd=_positive(entry["network_sd"], f"{location}.network_sd"),
        freedom=freedom,
        usual_sd=_not_negative(entry["usual_sd"], f"{location}.usual_sd"),
    )


def _not_negative(value: Any, location: str) -> float:
    return 0.0 if value == 0 and not isinstance(value, bool) else _positive(value, location)


def _with_ramp(fit: Any) -> Any:
    """A power fit of before version 0.2, which had a factor of dilated convolutions that `zoo measure` left at 1."""
    if not isinstance(fit, dict) or "dilated" not in fit.get("values", {}):
        return fit
    always = {"values": ALWAYS_BUSY, "prior": ALWAYS_BUSY}
    return fit | {
        part: {
            ("ramp" if k == "dilated" else k): always.get(part, v) if k == "dilated" else v
            for k, v in fit[part].items()
        }
        for part in ("values", "prior", "prior_sd")
        if isinstance(fit.get(part), dict)
    }


def _latency_names(value: Any, location: str) -> tuple[str, ...]:
    """SHARES where these are a measured device's, else the roofline's parameters."""
    values = mapping(mapping(value, f"{location}: latency").get("values", {}), f"{location}: latency.values")
    return SHARES if SHARES[0] in values else tuple(PARAMETERS)


def _log_values(value: Any, names: tuple[str, ...], location: str) -> list[float]:
    entry = mapping(value, location)
    check_keys(entry, names, location)
    return [float(np.log(_positive(entry[name], f"{location}.{name}"))) for name in names]


def _fit(value: Any, names: tuple[str, ...], location: str) -> Fit:
    entry = mapping(value, location)
    check_keys(entry, ("values", "prior", "prior_sd", "covariance", "network_sd"), location)
    return Fit(
        names=names,
        theta=np.array(_log_values(entry["values"], names, f"{location}.values")),
        covariance=_covariance(entry["covariance"], len(names), f"{location}.covariance"),
        network_sd=_positive(entry["network_sd"], f"{location}.network_sd"),
        prior=np.array(_log_values(entry["prior"], names, f"{location}.prior")),
        prior_sd=np.exp(_log_values(entry["prior_sd"], names, f"{location}.prior_sd")),
    )


def _covariance(value: Any, size: int, location: str) -> Array:
    try:
        covariance = np.array(value, dtype=np.float64)
    except (TypeError, ValueError):
        covariance = np.zeros((0, 0))
    if covariance.shape != (size, size) or not np.isfinite(covariance).all():
        raise DeviceError(f"{location}: must be {size} rows of {size} finite numbers")
    if np.abs(covariance).max() > LARGEST_VARIANCE:
        raise DeviceError(f"{location}: must hold no number beyond {LARGEST_VARIANCE:g}, as a variance of logarithms")
    if np.linalg.eigvalsh(covariance).min() < -1e-9:
        raise DeviceError(f"{location}: must have no negative eigenvalue")
    return covariance


def _held_out(value: Any, location: str) -> dict[str, dict[str, float]]:
    """Errors on what was left out, by kind: finite numbers by name."""
    errors_by_kind: dict[str, dict[str, float]] = {}
    for kind, errors in mapping(value, location).items():
        for name, number in mapping(errors, f"{location}.{kind}").items():
            good = isinstance(number, (int, float)) and not isinstance(number, bool) and 0 <= number <= LARGEST
            if not good:
                raise DeviceError(
                    f"{location}.{kind}.{name}: must be a number from 0, but is {one_line(repr(number), 60)}"
                )
        errors_by_kind[kind] = dict(errors)
    return errors_by_kind
