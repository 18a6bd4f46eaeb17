"""The manifest of weights: typed, checked, and found by name.

A name is a model with a tag, `espnet-c-3.cityscapes`. Model names may contain dots, so the longest known
model name wins; a model without a tag stands for its default weights.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any, TypeVar

from annotated_types import Interval

from zoo.errors import ConfigError, SpecError, ZooError, did_you_mean
from zoo.inference.preprocess import Preprocessing
from zoo.registry import spec_from_dict
from zoo.specs import Pattern, Spec
from zoo.text import one_line
from zoo.typed import typed
from zoo.yaml_strict import read_yaml

T = TypeVar("T")

PACKAGE = Path(__file__).resolve().parent
"""Folder of this package, where bundled files lie."""

DEFAULT_TAG = "cityscapes"
"""The tag that a model without one stands for, unless weights of its own are bundled."""

Name = Annotated[str, Pattern(r"[a-z0-9][a-z0-9.-]*", "small letters, digits, dots and hyphens")]
Tag = Annotated[str, Pattern(r"[a-z0-9][a-z0-9-]*", "small letters, digits and hyphens")]
Sha256 = Annotated[str, Pattern(r"[0-9a-f]{64}", "64 hexadecimal digits")]
ByteCount = Annotated[int, Interval(ge=1, le=2**31)]
RelativePath = Annotated[
    str,
    Pattern(r"[A-Za-z0-9_][A-Za-z0-9._-]*(/[A-Za-z0-9_][A-Za-z0-9._-]*)*", "a relative path of plain names"),
]
HttpsUrl = Annotated[str, Pattern(r"https://[^\s?#]+[^\s?#/]", "an address that begins with https://")]
Percent = Annotated[float, Interval(ge=0, le=100)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Who made weights and where they are; `url` is None for files that lie in this package."""

    title: str
    license: str
    holder: str
    url: HttpsUrl | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One score in percent, with its protocol and where it was read; `resolution` is that of the labels compared."""

    name: str
    value: Percent
    dataset: str
    split: str
    protocol: str
    source: str
    resolution: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibrated:
    """How far the class probabilities of weights can be believed, by `zoo eval --calibration`.

    temperature: what the logits are divided by, fitted on every other image of the split. error,
    error_with_temperature: expected calibration error in percent on the other images, without it and with it.
    """

    temperature: Annotated[float, Interval(ge=0.01, le=100)]
    error: Percent
    error_with_temperature: Percent
    dataset: str
    split: str
    images: Annotated[int, Interval(ge=2, le=10**7)]

    def __str__(self) -> str:
        return (
            f"temperature {self.temperature:.2f}, fitted on half of {self.dataset} {self.split}; calibration error on "
            f"the other half {self.error_with_temperature:.2f} % ({self.error:.2f} % without)"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """One file of weights: the network it fits, where it is, what it must hash to, and what it scores.

    file: path below the source's URL and below a mirror or, for bundled weights, below this package.
    bytes: exact length, which also limits a download. preprocessing: what the network expects.
    labels: name of the label set. metrics: the first `miou` is the one that tables show. unused_keys:
    tensors of the file that the network never executes; they are dropped, and no others. calibration: of
    the class probabilities, where it was measured. note: what else a user should know.
    """

    model: Name
    tag: Tag
    spec: Spec
    source: Source
    file: RelativePath
    bytes: ByteCount
    sha256: Sha256
    preprocessing: Preprocessing
    labels: str
    metrics: tuple[Metric, ...] = ()
    unused_keys: tuple[str, ...] = ()
    calibration: Calibrated | None = None
    note: str | None = None

    @property
    def name(self) -> str:
        """Model and tag, as in `espnet-c-3.cityscapes`."""
        return f"{self.model}.{self.tag}"

    @property
    def bundled(self) -> bool:
        """Whether the file lies in this package."""
        return self.source.url is None

    @property
    def origin(self) -> str:
        """Address of the file upstream or, for a bundled one, its path in this package."""
        return f"{self.source.url}/{self.file}" if self.source.url else f"{PACKAGE.name}/{self.file}"

    @property
    def miou(self) -> Metric | None:
        """The metric that tables show; None where no figure is published."""
        return next((metric for metric in self.metrics if metric.name == "miou"), None)


@dataclass(frozen=True, slots=True)
class Manifest:
    """All weights, in the order of the file, and other names of models."""

    weights: tuple[Weights, ...]
    aliases: Mapping[str, str]

    def of(self, model: str) -> tuple[Weights, ...]:
        """All weights of a model or an alias; none for a model that has none."""
        model = self.aliases.get(model, model)
        return tuple(entry for entry in self.weights if entry.model == model)

    def find(self, name: str, tag: str | None = None) -> Weights:
        """Weights by name: model and tag, or a model alone for its default.

        Raises ZooError, with the nearest name, for an unknown model or tag.
        """
        model, tag_in_name = self.split(name)
        if tag and tag_in_name and tag != tag_in_name:
            raise ZooError(f"{name}: the name has the tag {tag_in_name!r}, but the tag {tag!r} was asked for; give one")
        return self._tagged(model, tag or tag_in_name)

    def with_sha256(self, sha256: str) -> Weights | None:
        """The weights whose file has this hash."""
        return next((entry for entry in self.weights if entry.sha256 == sha256), None)

    def split(self, name: str) -> tuple[str, str | None]:
        """Split a name into model and tag; the longest known model wins. Raises ZooError for an unknown model."""
        models = {entry.model for entry in self.weights} | set(self.aliases)
        fitting = [model for model in models if name == model or name.startswith(f"{model}.")]
        if not fitting:
            raise ZooError(f"no weights are known for {name!r}; {did_you_mean(name.partition('.')[0], models)}")
        model = max(fitting, key=len)
        return model, name[len(model) + 1 :] or None

    def _tagged(self, model: str, tag: str | None) -> Weights:
        by_tag = {entry.tag: entry for entry in self.of(model)}
        if tag is None:
            bundled = [entry for entry in by_tag.values() if entry.bundled]
            return bundled[0] if bundled else by_tag.get(DEFAULT_TAG, next(iter(by_tag.values())))
        if tag not in by_tag:
            raise ZooError(f"{model} has no weights with the tag {tag!r}; {did_you_mean(tag, by_tag)}")
        return by_tag[tag]


@cache
def manifest() -> Manifest:
    """The manifest that ships with this package."""
    return read_manifest(PACKAGE / "manifest.yaml")


def read_manifest(path: Path) -> Manifest:
    """Parse and check a manifest. Raises ConfigError with the file and the path to the key."""
    sections = _sections(read_yaml(path), path)
    resolved = [_resolved(entry, sections, f"{path}: weights[{i}]") for i, entry in enumerate(sections["weights"])]
    entries = tuple(_weights(entry, f"{path}: weights[{i}]") for i, entry in enumerate(resolved))
    _check_unique((entry.name for entry in entries), path)
    _check_aliases(sections["aliases"], {entry.model for entry in entries}, path)
    return Manifest(entries, sections["aliases"])


SECTIONS: Mapping[str, type] = {"aliases": dict, "sources": dict, "preprocessing": dict, "weights": list}
SHARED: Mapping[str, str] = {"source": "sources", "preprocessing": "preprocessing"}
"""Keys of an entry that name an entry of a section."""


def _sections(document: Any, path: Path) -> dict[str, Any]:
    if not isinstance(document, dict):
        raise ConfigError(f"{path}: must be a mapping with the keys {', '.join(SECTIONS)}")
    for key, value in document.items():
        if key not in SECTIONS:
            raise ConfigError(f"{path}: {key}: unknown key ({did_you_mean(key, SECTIONS)})")
        if not isinstance(value, SECTIONS[key]):
            raise ConfigError(f"{path}: {key}: must be a {SECTIONS[key].__name__}, but is {value!r}")
    return {key: document.get(key, kind()) for key, kind in SECTIONS.items()}


def _resolved(entry: Any, sections: Mapping[str, Any], location: str) -> Any:
    """The entry with the names of its source and its preprocessing replaced by what they stand for."""
    if not isinstance(entry, dict):
        raise ConfigError(f"{location}: must be a mapping, but is {entry!r}")
    out = dict(entry)
    for key, section in SHARED.items():
        name = str(out.get(key))
        if name not in sections[section]:
            raise ConfigError(
                f"{location}.{key}: {name!r} is not in {section}; {did_you_mean(name, sections[section])}"
            )
        out[key] = sections[section][name]
    return out


def _weights(entry: Mapping[str, Any], location: str) -> Weights:
    """One entry, its parts first."""
    read = dict(entry)
    if not isinstance(read.get("metrics", []), list):
        raise ConfigError(f"{location}.metrics: must be a list, but is {one_line(repr(read['metrics']), 80)}")
    for key, part in PARTS.items():
        if key in read:
            try:
                read[key] = part(read[key], f"{location}.{key}")
            except SpecError as error:
                raise ConfigError(str(error)) from None
    return typed(Weights, read, location)


def _mapping(kind: type[T]) -> Callable[[Any, str], T]:
    def read(value: Any, location: str) -> T:
        if not isinstance(value, dict):
            raise ConfigError(f"{location}: must be a mapping, but is {one_line(repr(value), 80)}")
        return typed(kind, value, location)

    return read


def _preprocessing(value: Any, location: str) -> Preprocessing:
    try:
        return Preprocessing.from_dict(value)
    except ConfigError as error:
        raise ConfigError(f"{location}: {error}") from None


PARTS: Mapping[str, Callable[[Any, str], Any]] = {
    "spec": spec_from_dict,
    "source": _mapping(Source),
    "preprocessing": _preprocessing,
    "calibration": _mapping(Calibrated),
    "metrics": lambda value, location: [_mapping(Metric)(metric, f"{location}.{i}") for i, metric in enumerate(value)],
}
"""Keys of an entry that are more than a plain value, with what reads each."""


def _check_unique(names: Iterable[str], path: Path) -> None:
    names_seen: set[str] = set()
    for name in names:
        if name in names_seen:
            raise ConfigError(f"{path}: weights: {name} is there twice; keep one")
        names_seen.add(name)


def _check_aliases(aliases: Mapping[str, Any], models: set[str], path: Path) -> None:
    for alias, model in aliases.items():
        if model not in models or alias in models:
            raise ConfigError(f"{path}: aliases.{alias}: must be a new name of a model with weights, but is {model!r}")
