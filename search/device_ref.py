"""What a device means, on the command line, in zoo.yaml and in a run: `NAME` or `NAME@MHZ`."""

from collections.abc import Iterable
from math import isfinite

from hw_models.device import device_folders
from search.device_at import DeviceAt
from zoo.config import Config
from zoo.errors import ConfigError, did_you_mean


def device_at(text: str, clock_mhz: float | None = None) -> DeviceAt:
    """The device that `NAME` or `NAME@MHZ` names, whatever its case; `clock_mhz` where the text has no clock.

    The name is that of `zoo device list`. Raises ConfigError with the nearest names.
    """
    name, at, clock = text.partition("@")
    known = {folder.casefold(): folder for folder in device_folders()}
    if name.casefold() not in known:
        raise ConfigError(f"device {name!r} is unknown; {did_you_mean(name, known.values(), 'zoo device list')}")
    return DeviceAt(known[name.casefold()], _clock(text, name, clock) if at else clock_mhz)


def devices_at(texts: Iterable[str], clock_mhz: float | None = None) -> tuple[DeviceAt, ...]:
    """Several devices, each named alone or in a list with commas."""
    return tuple(device_at(part, clock_mhz) for text in texts for part in text.split(","))


def check_devices(config: Config) -> None:
    """Raise ConfigError for an entry of `devices:` in zoo.yaml that names no device."""
    known = device_folders()
    for name in config.devices:
        if name not in known:
            way = did_you_mean(name.partition("@")[0], known, "zoo device list")
            raise ConfigError(f"zoo.yaml: devices.{name}: there is no such device, so the entry means nothing; {way}")


def _clock(text: str, name: str, clock: str) -> float:
    try:
        value = float(clock)
    except ValueError:
        value = 0.0
    if not isfinite(value) or value <= 0:
        raise ConfigError(f"device {text!r}: what follows @ must be a clock in MHz; write {name}@1134")
    return value
