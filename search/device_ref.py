"""What a device means, on the command line and in zoo.yaml: `NAME` or a device's FOLDER, and `@MHZ` after either.

A run names its devices, and never a folder.
"""

import os
from collections.abc import Iterable
from math import isfinite
from pathlib import Path

from hw_models.device import device_folders, use_folder
from search.device_at import DeviceAt
from zoo.config import Config
from zoo.errors import ConfigError, did_you_mean


def device_at(text: str, clock_mhz: float | None = None) -> DeviceAt:
    """The device that `NAME[@MHZ]` or `./FOLDER[@MHZ]` names, whatever its case; `clock_mhz` where it says no clock.

    The name is that of `zoo device list`. Raises ConfigError with the nearest names.
    """
    name, at, clock = text.partition("@")
    if "/" in name or os.sep in name:
        name = use_folder(Path(name))
    by_casefold = {folder.casefold(): folder for folder in device_folders()}
    if name.casefold() not in by_casefold:
        raise ConfigError(f"device {name!r} is unknown; {did_you_mean(name, by_casefold.values(), 'zoo device list')}")
    return DeviceAt(by_casefold[name.casefold()], clock_of(text, name, clock) if at else clock_mhz)


def devices_at(texts: Iterable[str], clock_mhz: float | None = None) -> tuple[DeviceAt, ...]:
    """Several devices, each named alone or in a list with commas."""
    return tuple(device_at(part, clock_mhz) for text in texts for part in text.split(","))


def check_devices(config: Config) -> None:
    """Raise ConfigError for an entry of `devices:` in zoo.yaml that names no device."""
    for entry in config.devices.values():
        if entry.folder is not None:
            use_folder(Path(entry.folder))
    folders = device_folders()
    for name in config.devices:
        if name not in folders:
            way = did_you_mean(name.partition("@")[0], folders, "zoo device list")
            raise ConfigError(f"zoo.yaml: devices.{name}: there is no such device, so the entry means nothing; {way}")


def clock_of(text: str, name: str, clock: str) -> float:
    """The clock of `text` = NAME@CLOCK in MHz. Raises ConfigError."""
    try:
        value = float(clock)
    except ValueError:
        value = 0.0
    if not isfinite(value) or value <= 0:
        raise ConfigError(f"device {text!r}: what follows @ must be a clock in MHz; write {name}@1134")
    return value
