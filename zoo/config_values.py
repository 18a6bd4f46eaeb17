"""The values of zoo.yaml: limits, spaces, searches, devices and models, checked at birth."""

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatch
from typing import Any, TypeVar

from zoo.config_study import StudySection
from zoo.errors import ConfigError, did_you_mean
from zoo.registry import MAX_SIDE
from zoo.specs import Spec

T = TypeVar("T")

LEAST_LIMIT, LARGEST_LIMIT = 1e-9, 1e18
"""Bounds of limits in their units: beyond them their reciprocals and products overflow."""

CONFIDENCES = (1e-6, 1 - 1e-6)
"""Bounds of a confidence: beyond them quantiles are not finite, and nothing measured can tell."""


def count(text: str) -> int:
    """A count with k, M or G for thousands, millions, billions. Raises ValueError.

    >>> count("400k"), count("1.5G")
    (400000, 1500000000)
    """
    scale = {"k": 10**3, "m": 10**6, "g": 10**9}.get(text[-1:].lower(), 1)
    value = float(text[:-1] if scale > 1 else text) * scale
    if not 1 <= value <= LARGEST_LIMIT:
        raise ValueError(f"{text} is no positive count")
    return round(value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Hard limits of a search; None is no limit. Units are in the names.

    Limits on latency, frame rate, power and energy hold on every device of the search; mIOU is in percent.
    """

    max_latency_ms: float | None = None
    min_fps: float | None = None
    max_power_w: float | None = None
    max_energy_mj: float | None = None
    max_params: int | None = None
    max_macs: int | None = None
    max_weight_mb: float | None = None
    max_memory_mb: float | None = None
    min_miou: float | None = None

    def __post_init__(self) -> None:
        for name, value in self.given():
            if not LEAST_LIMIT <= value <= LARGEST_LIMIT:
                raise ConfigError(
                    f"{name}: a limit must be a positive number from {LEAST_LIMIT:g} to {LARGEST_LIMIT:g}, "
                    f"but is {value}"
                )
        if self.min_miou is not None and self.min_miou >= 100:
            raise ConfigError(f"min_miou: is in percent and must be below 100, but is {self.min_miou}")

    def given(self) -> Iterator[tuple[str, float]]:
        """Names and values of the limits that are set."""
        for item in dataclasses.fields(self):
            value = getattr(self, item.name)
            if value is not None:
                yield item.name, value


@dataclass(frozen=True, slots=True, kw_only=True)
class SpaceConfig:
    """A search space: a family and the choices for some of its fields; the others keep their defaults."""

    family: str
    choices: Mapping[str, tuple[Any, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchConfig:
    """A named search; with `accuracy: train` or a section `study` its candidates are measured."""

    space: str | tuple[str, ...] = "default"
    devices: tuple[str, ...] = ("tx2",)
    clock_mhz: float | None = None
    width: int = 1024
    height: int = 512
    confidence: float = 0.9
    objectives: tuple[str, ...] = ("miou", "latency", "size")
    accuracy: str = "published"
    limits: Limits = field(default_factory=Limits)
    study: StudySection | None = None

    def __post_init__(self) -> None:
        for name in ("width", "height"):
            if not 1 <= getattr(self, name) <= MAX_SIDE:
                raise ConfigError(f"{name}: must be from 1 to {MAX_SIDE} pixels, but is {getattr(self, name)}")
        if not CONFIDENCES[0] <= self.confidence <= CONFIDENCES[1]:
            raise ConfigError(f"confidence: must be between 0 and 1, both excluded, but is {self.confidence}")
        if self.clock_mhz is not None and not self.clock_mhz > 0:
            raise ConfigError(f"clock_mhz: must be positive, but is {self.clock_mhz}")
        if not self.spaces:
            raise ConfigError("space: must be a space or a list of spaces, but is an empty list")

    @property
    def spaces(self) -> tuple[str, ...]:
        """Names of the spaces that are searched as one."""
        return (self.space,) if isinstance(self.space, str) else self.space


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceConfig:
    """A device: `clock_mhz` replaces its own default clock, `folder` is where it is, if not among the user's devices.

    A folder is relative to that of zoo.yaml, and has the device's name.
    """

    clock_mhz: float | None = None
    folder: str | None = None

    def __post_init__(self) -> None:
        if self.clock_mhz is not None and not 0 < self.clock_mhz < float("inf"):
            raise ConfigError(f"clock_mhz: must be a positive clock in MHz, but is {self.clock_mhz}")


@dataclass(frozen=True, slots=True)
class ModelEntry:
    """A named network; `alias_of` names the entry it stands for."""

    spec: Spec
    alias_of: str | None = None


@dataclass(frozen=True, slots=True)
class Config:
    """Everything that zoo.yaml says."""

    models: Mapping[str, ModelEntry]
    devices: Mapping[str, DeviceConfig]
    spaces: Mapping[str, SpaceConfig]
    searches: Mapping[str, SearchConfig]

    def model(self, name: str) -> ModelEntry:
        """A model by name; ConfigError with the nearest name where there is none."""
        return _lookup(self.models, name, "model")

    def models_like(self, pattern: str) -> dict[str, ModelEntry]:
        """Models whose name fits a pattern such as a shell's; case does not matter."""
        names = [name for name in self.models if fnmatch(name.casefold(), pattern.casefold())]
        return {name: self.models[name] for name in names}

    def space(self, name: str) -> SpaceConfig:
        """A search space by name."""
        return _lookup(self.spaces, name, "space")

    def search(self, name: str) -> SearchConfig:
        """A named search."""
        return _lookup(self.searches, name, "search")

    def clock_mhz(self, device: str) -> float | None:
        """The clock that is set for a device, None for the device's own default."""
        return self.devices[device].clock_mhz if device in self.devices else None

    def aliases(self, name: str) -> tuple[str, ...]:
        """Other names of a model."""
        return tuple(alias for alias, entry in self.models.items() if entry.alias_of == name)


def _lookup(table: Mapping[str, T], name: str, noun: str) -> T:
    if name not in table:
        raise ConfigError(f"{noun} {name!r} is unknown; {did_you_mean(name, table)}")
    return table[name]
