"""zoo.yaml: the models we publish, devices, search spaces and named searches, as typed values.

The file at the root of this repository ships with the package. A user's own file (`--config`,
`ZOO_CONFIG`, or `zoo.yaml` in the working directory) adds to it, or overrides by name.
"""

import dataclasses
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatch
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from zoo.config_study import StudySection
from zoo.errors import ConfigError, SpecError, ZooError, did_you_mean
from zoo.own_families import add_families
from zoo.quantities import LIMITS
from zoo.reading import is_file, reason
from zoo.registry import FAMILIES, MAX_SIDE, family, spec_from_dict
from zoo.specs import Spec, field_types, mismatch
from zoo.text import one_line, shown
from zoo.typed import check_keys, fields_schema, typed
from zoo.yaml_strict import parse_yaml, read_yaml

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


def shipped_file() -> Path:
    """The zoo.yaml that ships: beside the package when installed, at the root in a checkout."""
    package = Path(__file__).resolve().parent
    return next(path for path in (package / "zoo.yaml", package.parent / "zoo.yaml") if path.is_file())


def user_file(path: str | None = None) -> Path | None:
    """The user's own file: the one given, `ZOO_CONFIG`, or zoo.yaml in the working directory."""
    file_name = path or os.environ.get("ZOO_CONFIG")
    if file_name:
        return Path(file_name)
    local = Path("zoo.yaml")
    return local if is_file(local) and local.resolve() != shipped_file() else None


def load_config(path: str | None = None) -> Config:
    """The shipped configuration with the user's file on top. Raises ConfigError."""
    own = user_file(path)
    try:
        return _load(own.resolve() if own else None)
    except (OSError, RuntimeError, ValueError) as error:  # a loop of links, a working directory that is gone
        if isinstance(error, ZooError):
            raise
        raise ConfigError(f"{shown(own or 'zoo.yaml')}: cannot be read: {reason(error)}; check the path") from None


@cache
def _load(own: Path | None) -> Config:
    raw = _sections(shipped_file())
    sources = dict.fromkeys(((section, name) for section in raw for name in raw[section]), shipped_file())
    if own is not None:
        for section, entries in _sections(own).items():
            raw[section] |= entries
            sources |= dict.fromkeys(((section, name) for name in entries), own)
    return _Reader(raw, sources).config()


@dataclass(frozen=True, slots=True, eq=False)  # equal to any mapping of equal items
class Lazy(Mapping[str, T]):
    """A mapping whose values are made when they are asked for first, since a value may import a family."""

    names: tuple[str, ...]
    make: Callable[[str], T]
    made: dict[str, T] = field(default_factory=dict, repr=False)

    def __getitem__(self, name: str) -> T:
        if name not in self.names:
            raise KeyError(name)
        if name not in self.made:
            self.made[name] = self.make(name)
        return self.made[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)

    def __contains__(self, name: object) -> bool:
        return name in self.names


PARTS: Mapping[str, type[Any]] = {"limits": Limits, "study": StudySection}
"""Mappings inside a named search."""

DEFAULT_FAMILY = "espnet"
"""Family of a search space that names none."""

SECTIONS = ("models", "devices", "spaces", "searches")

MODULES = "families"
"""Key of the list of modules with families of one's own."""


def _sections(path: Path) -> dict[str, dict[str, Any]]:
    document = read_yaml(path)
    if document is None:
        document = {}
    if not isinstance(document, dict):
        raise ConfigError(f"{path}: must be a mapping with the keys {', '.join(SECTIONS)}")
    for key, value in document.items():
        if key == MODULES:
            add_families(value, path)
            continue
        if key not in SECTIONS:
            raise ConfigError(f"{path}: {key}: unknown key ({did_you_mean(key, (*SECTIONS, MODULES))})")
        if not isinstance(value, dict):
            raise ConfigError(f"{path}: {key}: must be a mapping from names to entries")
    return {section: dict(document.get(section, {})) for section in SECTIONS}


@dataclass(frozen=True, slots=True)
class _Reader:
    """Turns raw sections into typed values; every error starts with the file and the path to the key."""

    raw: Mapping[str, Mapping[str, Any]]
    sources: Mapping[tuple[str, str], Path]

    def config(self) -> Config:
        return Config(
            models=self._lazy("models", lambda name: self.model(name, ())),
            devices={name: self.device(name) for name in self.raw["devices"]},
            spaces=self._lazy("spaces", self.space),
            searches={name: self.search(name) for name in self.raw["searches"]},
        )

    def _lazy(self, section: str, read: Callable[[str], T]) -> Mapping[str, T]:
        """Entries of a section, read when they are asked for: those that ship at last, the user's own at once."""
        entries = Lazy(tuple(self.raw[section]), read)
        for name in entries:
            if self.sources[section, name] != shipped_file():
                entries[name]
        return entries

    def location(self, section: str, name: str) -> str:
        return f"{self.sources[section, name].name}: {section}.{name}"

    def entry(self, section: str, name: str) -> dict[str, Any]:
        value = self.raw[section][name]
        if value is None:
            return {}
        if not isinstance(value, dict):
            raise ConfigError(f"{self.location(section, name)}: must be a mapping, but is {one_line(repr(value), 80)}")
        return value

    def model(self, name: str, aliases_seen: tuple[str, ...]) -> ModelEntry:
        location, entry = self.location("models", name), self.entry("models", name)
        if "alias" not in entry:
            return ModelEntry(spec_from_dict(entry, location))
        target = entry["alias"]
        if len(entry) > 1:
            extra = ", ".join(key for key in entry if key != "alias")
            raise ConfigError(
                f"{location}: an alias has no fields of its own, but {extra} is given; leave out one of the two"
            )
        if not isinstance(target, str) or target not in self.raw["models"]:
            hint = did_you_mean(str(target), self.raw["models"])
            raise ConfigError(f"{location}.alias: must name another model, but is {target!r}; {hint}")
        if target in (*aliases_seen, name):
            raise ConfigError(f"{location}.alias: {target!r} leads back to itself; name a model that has a family")
        target_entry = self.model(target, (*aliases_seen, name))
        return ModelEntry(target_entry.spec, target_entry.alias_of or target)

    def device(self, name: str) -> DeviceConfig:
        location, source = self.location("devices", name), self.sources["devices", name]
        entry = typed(DeviceConfig, self.entry("devices", name), location)
        if entry.folder is None:
            return entry
        folder = source.parent / Path(entry.folder).expanduser()
        if folder.resolve().name != name:
            raise ConfigError(
                f"{location}.folder: a device has the name of its folder, but {one_line(entry.folder, 80)} "
                f"is not called "
                f"{name}; rename one of the two"
            )
        return dataclasses.replace(entry, folder=str(folder))

    def space(self, name: str) -> SpaceConfig:
        location, entry = self.location("spaces", name), self.entry("spaces", name)
        check_keys(entry, ("family", "choices"), location)
        try:
            hints = field_types(family(str(entry.get("family", DEFAULT_FAMILY))).spec)
        except SpecError as error:
            raise ConfigError(f"{location}.family: {error}") from None
        choices = entry.get("choices")
        if not isinstance(choices, dict) or not choices:
            raise ConfigError(f"{location}.choices: must map fields to lists of values")
        check_keys(choices, tuple(hints), f"{location}.choices")
        read = {key: _choices(values, hints[key], f"{location}.choices.{key}") for key, values in choices.items()}
        return SpaceConfig(family=entry.get("family", DEFAULT_FAMILY), choices=read)

    def search(self, name: str) -> SearchConfig:
        location, entry = self.location("searches", name), self.entry("searches", name)
        if "limits" in entry:
            entry = entry | {"limits": _limits(entry["limits"], f"{location}.limits")}
        parts = {key: _part(kind, entry[key], f"{location}.{key}") for key, kind in PARTS.items() if key in entry}
        read = typed(SearchConfig, entry | parts, location)
        for space in read.spaces:
            if space not in self.raw["spaces"]:
                hint = did_you_mean(space, self.raw["spaces"])
                raise ConfigError(f"{location}.space: {space!r} is unknown; {hint}")
        return read


def _part(kind: type[T], entry: Any, location: str) -> T:
    entry = {} if entry is None else entry
    if not isinstance(entry, dict):
        raise ConfigError(f"{location}: must be a mapping, but is {one_line(repr(entry), 80)}")
    return typed(kind, entry, location)


def _limits(entry: Any, location: str) -> Any:
    """Limits with their counts read: `max_params: 400k`."""
    if not isinstance(entry, dict):
        return entry
    read = dict(entry)
    for key in (limit.name for limit in LIMITS.values() if limit.count):
        if isinstance(entry.get(key), str):
            try:
                read[key] = count(entry[key])
            except ValueError:
                raise ConfigError(f"{location}.{key}: must be a count such as 400k, but is {entry[key]!r}") from None
    return read


def _choices(values: Any, hint: Any, location: str) -> tuple[Any, ...]:
    if not isinstance(values, list) or not values:
        raise ConfigError(f"{location}: must be a list of values, but is {one_line(repr(values), 80)}")
    read = tuple(tuple(value) if isinstance(value, list) else value for value in values)
    for i, value in enumerate(read):
        wrong = mismatch(value, hint)
        if wrong:
            raise ConfigError(f"{location}[{i}]: {wrong}")
        if value in read[:i]:
            raise ConfigError(f"{location}[{i}]: {value!r} is listed twice; keep one")
    return read


def override(spec: Spec, settings: list[str]) -> Spec:
    """A spec with `key=value` settings applied; values are read as YAML. Raises SpecError or ConfigError."""
    hints = field_types(type(spec))
    changes: dict[str, Any] = {}
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not equals or key not in hints:
            raise SpecError(
                f"--set {setting}: must be KEY=VALUE with a field of {spec.family}; {did_you_mean(key, hints)}"
            )
        value = parse_yaml(f"[{text}]" if "," in text and not text.startswith("[") else text, f"--set {key}")
        changes[key] = tuple(value) if isinstance(value, list) else value
    return dataclasses.replace(spec, **changes)  # type: ignore[type-var]


def schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of zoo.yaml, for editors."""

    def model(name: str) -> dict[str, Any]:
        spec = fields_schema(FAMILIES[name].spec)
        spec["properties"] = {"family": {"const": name}} | spec["properties"]
        return {"type": "object", "title": name, "required": ["family"]} | spec

    def space(name: str) -> dict[str, Any]:
        choices = {
            key: {"type": "array", "minItems": 1, "uniqueItems": True, "items": value}
            for key, value in fields_schema(FAMILIES[name].spec)["properties"].items()
        }
        properties = {
            "family": {"const": name},
            "choices": {"type": "object", "properties": choices, "additionalProperties": False, "minProperties": 1},
        }
        required = ["choices"] if name == DEFAULT_FAMILY else ["family", "choices"]
        return {
            "type": "object",
            "title": name,
            "properties": properties,
            "required": required,
            "additionalProperties": False,
        }

    def entries(*kinds: dict[str, Any]) -> dict[str, Any]:
        return {"type": "object", "additionalProperties": kinds[0] if len(kinds) == 1 else {"anyOf": list(kinds)}}

    alias = {"properties": {"alias": {"type": "string"}}, "required": ["alias"], "additionalProperties": False}
    search = fields_schema(SearchConfig)
    search["properties"] |= {name: {"type": "object"} | fields_schema(kind) for name, kind in PARTS.items()}
    sections = {
        "models": entries({"type": "object"} | alias, *map(model, FAMILIES)),
        "devices": entries({"type": ["object", "null"]} | fields_schema(DeviceConfig)),
        "spaces": entries(*map(space, FAMILIES)),
        "searches": entries({"type": "object"} | search),
        MODULES: {"type": "array", "items": {"type": "string"}},
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "zoo.yaml",
        "type": "object",
        "properties": sections,
        "additionalProperties": False,
    }
