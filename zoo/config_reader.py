"""Reads zoo.yaml: its sections as plain values, and each entry as a typed value when it is asked for first."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from zoo.config_study import StudySection
from zoo.config_values import Config, DeviceConfig, Limits, ModelEntry, SearchConfig, SpaceConfig, count
from zoo.errors import ConfigError, SpecError, did_you_mean
from zoo.own_families import add_families
from zoo.quantities import LIMITS
from zoo.registry import family, spec_from_dict
from zoo.specs import field_types, mismatch
from zoo.text import one_line
from zoo.typed import check_keys, typed
from zoo.yaml_strict import read_yaml

T = TypeVar("T")


def shipped_file() -> Path:
    """The zoo.yaml that ships: beside the package when installed, at the root in a checkout."""
    package = Path(__file__).resolve().parent
    return next(path for path in (package / "zoo.yaml", package.parent / "zoo.yaml") if path.is_file())


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


def sections_of(path: Path) -> dict[str, dict[str, Any]]:
    """The sections of a file as plain values; its families are added on the way. Raises ConfigError."""
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
class Reader:
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
