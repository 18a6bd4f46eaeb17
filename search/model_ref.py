"""What MODEL means on the command line and in Python.

A name from zoo.yaml, optionally with a weight tag (`espnet-c.cityscapes`); a path to a spec YAML; or
`RUN#RANK`, the candidate of that rank on the front of a search.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from pretrained import find
from search.runs.writer import read_json
from zoo.config import Config, override
from zoo.errors import ConfigError, did_you_mean
from zoo.registry import spec_from_dict
from zoo.specs import Spec
from zoo.yaml_strict import read_yaml


@dataclass(frozen=True, slots=True)
class Model:
    """A resolved model: how it was called, its canonical name, its spec, and its weight tag if one was named.

    With a tag the spec is that of the weights, which may have other classes than the model in zoo.yaml.
    """

    name: str
    canonical: str
    spec: Spec
    tag: str | None = None


def resolve(text: str, config: Config, settings: Iterable[str] = ()) -> Model:
    """The model that `text` names, with `key=value` settings applied. Raises ConfigError or SpecError."""
    found = _find(text, config)
    changes = list(settings)
    if not changes:
        return found
    return Model(found.name, found.canonical, override(found.spec, changes), found.tag)


def split_tag(text: str, names: Iterable[str]) -> tuple[str, str | None] | None:
    """Name and tag, where the longest name wins; None where no name fits.

    >>> split_tag("espnetv2-1.0.pascal", ["espnetv2-1.0", "espnetv2-1"])
    ('espnetv2-1.0', 'pascal')
    """
    fitting = [name for name in names if text == name or text.startswith(f"{name}.")]
    if not fitting:
        return None
    name = max(fitting, key=len)
    return name, text[len(name) + 1 :] or None


def _find(text: str, config: Config) -> Model:
    if "#" in text:
        return Model(text, text, candidate(text))
    split = split_tag(text, config.models)
    if split:
        name, tag = split
        entry = config.model(name)
        canonical = entry.alias_of or name
        return Model(name, canonical, find(canonical, tag).spec if tag else entry.spec, tag)
    path = Path(text)
    if path.suffix in (".yaml", ".yml"):
        entry = read_yaml(path)
        if not isinstance(entry, dict):
            raise ConfigError(f"{path}: must be a mapping with the fields of a spec")
        return Model(path.stem, path.stem, spec_from_dict(entry, str(path)))
    raise ConfigError(f"model {text!r} is unknown; {did_you_mean(text, config.models)}")


def candidate(text: str) -> Spec:
    """The spec of `RUN#RANK`. Raises ConfigError."""
    folder, _, rank = text.rpartition("#")
    front = read_json(Path(folder) / "front.json").get("front", [])
    if not rank.isdecimal() or not 1 <= int(rank) <= len(front):
        raise ConfigError(f"{text}: the rank must be from 1 to {len(front)}, but is {rank!r}")
    return spec_from_dict(front[int(rank) - 1]["spec"], text)
