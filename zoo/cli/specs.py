"""Specs of candidates as people read them in a terminal."""

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

WIDTH = 36


def short(value: Any) -> str:
    """A value as --set takes it.

    >>> short([16, 64, 128]), short(True), short("C")
    ('16,64,128', 'true', 'C')
    """
    if isinstance(value, bool):
        return str(value).lower()
    return ",".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


def settings(spec: Mapping[str, Any], fields: Iterable[str]) -> str:
    """Fields of a spec as key=value, separated by spaces."""
    return " ".join(f"{field}={short(spec[field])}" for field in fields)


def apart(specs: Sequence[Mapping[str, Any]], fields: Sequence[str] | None = None) -> tuple[str, list[str]]:
    """What several specs share, and what tells each from the others, in lines of `WIDTH`; by default of all fields."""
    names = list(dict.fromkeys(name for spec in specs for name in spec)) if fields is None else fields
    common = [name for name in names if all(name in spec and spec[name] == specs[0].get(name) for spec in specs)]
    if len(specs) == 1:
        common = []
    own = [[name for name in names if name in spec and name not in common] for spec in specs]
    return settings(specs[0], common), [
        "\n".join(_lines(settings(spec, names))) for spec, names in zip(specs, own, strict=True)
    ]


def _lines(text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, break_long_words=False, break_on_hyphens=False) or [""]
