"""Mappings from files to frozen dataclasses, and the JSON Schema of their fields: one reader for every border.

A field's type is `int`, `float`, `bool`, `str`, `Literal`, a tuple, an optional of these or another dataclass;
`Annotated` with an `Interval` bounds a number, with a `Pattern` a text. Our files need no more, and a validation
library takes longer to import than `zoo list` to run.
"""

import dataclasses
from collections.abc import Mapping
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from annotated_types import Interval

from zoo.errors import ConfigError, did_you_mean
from zoo.specs import Pattern, mismatch

T = TypeVar("T")


def check_keys(entry: Mapping[str, Any], allowed: tuple[str, ...], location: str) -> None:
    """Raise ConfigError for a key that is not known."""
    for key in entry:
        if key not in allowed:
            raise ConfigError(f"{location}.{key}: unknown key ({did_you_mean(key, allowed)})")


def typed(kind: type[T], entry: Mapping[str, Any], location: str) -> T:
    """A frozen dataclass from a mapping: lists become tuples, every type is checked.

    Raises ConfigError, which begins with `where` and the key, for an unknown key, a missing one or a wrong value.
    """
    hints = get_type_hints(kind, include_extras=True)
    check_keys(entry, tuple(hints), location)
    values = {key: tuple(value) if isinstance(value, list) else value for key, value in entry.items()}
    for key, value in values.items():
        wrong = mismatch(value, hints[key])
        if wrong:
            raise ConfigError(f"{location}.{key}: {wrong}")
    for field in dataclasses.fields(kind):  # type: ignore[arg-type]
        if field.name not in values and field.default is field.default_factory is dataclasses.MISSING:
            raise ConfigError(f"{location}.{field.name}: is missing; add it")
    try:
        return kind(**values)
    except ConfigError as error:
        raise ConfigError(f"{location}.{error}") from None


def fields_schema(kind: type[Any]) -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of a dataclass's fields, which admits no others."""
    hints = get_type_hints(kind, include_extras=True)
    properties = {field.name: json_schema(hints[field.name]) for field in dataclasses.fields(kind)}
    return {"properties": properties, "additionalProperties": False}


_PLAIN: Mapping[Any, Mapping[str, Any]] = {
    NoneType: {"type": "null"},
    bool: {"type": "boolean"},
    int: {"type": "integer"},
    float: {"type": "number"},
    str: {"type": "string"},
}


def json_schema(hint: Any) -> dict[str, Any]:
    """The JSON Schema of a type.

    >>> json_schema(tuple[Annotated[int, Interval(ge=1, le=8)], ...] | None)["anyOf"][0]["items"]
    {'type': 'integer', 'minimum': 1, 'maximum': 8}
    """
    origin, args = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return json_schema(args[0]) | {key: value for limit in args[1:] for key, value in _bounds(limit)}
    if origin is Literal:
        return {"enum": list(args)}
    if origin in (Union, UnionType):
        return {"anyOf": [json_schema(arg) for arg in args]}
    if origin is tuple and args[-1] is Ellipsis:
        return {"type": "array", "items": json_schema(args[0])}
    if origin is tuple:
        items = [json_schema(arg) for arg in args]
        return {"type": "array", "prefixItems": items, "minItems": len(items), "maxItems": len(items)}
    if dataclasses.is_dataclass(hint):
        return {"type": "object"} | fields_schema(hint)  # type: ignore[arg-type]
    return dict(_PLAIN[hint])


def _bounds(limit: Any) -> list[tuple[str, Any]]:
    if isinstance(limit, Interval):
        return [("minimum", limit.ge), ("maximum", limit.le)]
    return [("pattern", limit.regex)] if isinstance(limit, Pattern) else []
