"""zoo.yaml: the models we publish, devices, search spaces and named searches, as typed values.

The file at the root of this repository ships with the package. A user's own file (`--config`,
`ZOO_CONFIG`, or `zoo.yaml` in the working directory) adds to it, or overrides by name.
"""

import dataclasses
import os
from functools import cache
from pathlib import Path
from typing import Any

from zoo.config_reader import DEFAULT_FAMILY, MODULES, PARTS, Reader, sections_of, shipped_file
from zoo.config_values import (
    CONFIDENCES,
    Config,
    DeviceConfig,
    Limits,
    ModelEntry,
    SearchConfig,
    SpaceConfig,
    count,
)
from zoo.errors import ConfigError, SpecError, ZooError, did_you_mean
from zoo.reading import is_file, reason
from zoo.registry import FAMILIES
from zoo.specs import Spec, field_types
from zoo.text import shown
from zoo.typed import fields_schema
from zoo.yaml_strict import parse_yaml

__all__ = [
    "CONFIDENCES",
    "Config",
    "DeviceConfig",
    "Limits",
    "ModelEntry",
    "SearchConfig",
    "SpaceConfig",
    "count",
    "load_config",
    "override",
    "schema",
    "shipped_file",
    "user_file",
]


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
    raw = sections_of(shipped_file())
    sources = dict.fromkeys(((section, name) for section in raw for name in raw[section]), shipped_file())
    if own is not None:
        for section, entries in sections_of(own).items():
            raw[section] |= entries
            sources |= dict.fromkeys(((section, name) for name in entries), own)
    return Reader(raw, sources).config()


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
