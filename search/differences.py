"""Compares what a run's files hold with what is computed again, and names the first value that differs."""

import csv
import io
from collections.abc import Iterator, Mapping
from typing import Any

from search.certificate import NotVerified

REL_TOL = 1e-9
"""By how much a number may differ from what is computed again: files of another machine do."""


def same(where: str, found: Any, expected: Any) -> None:
    """Raises NotVerified, naming the first value that differs; numbers may by REL_TOL."""
    for path, own, again in _pairs(where, found, expected):
        if isinstance(own, bool) or isinstance(again, bool) or not _numbers(own, again):
            equal = type(own) is type(again) and own == again
        elif isinstance(again, int):
            equal = own == again
        else:
            equal = abs(own - again) <= REL_TOL * max(abs(own), abs(again))
        if not equal:
            _same(path, own, again, equal=False)


def _numbers(*values: Any) -> bool:
    return all(isinstance(value, (int, float)) for value in values)


def _pairs(where: str, found: Any, expected: Any) -> Iterator[tuple[str, Any, Any]]:
    if isinstance(found, Mapping) and isinstance(expected, Mapping):
        for key in {**expected, **found}:
            yield from _pairs(
                f"{where}.{key}" if where[-5:] != ".json" else f"{where}: {key}", *_each(key, found, expected)
            )
    elif isinstance(found, (list, tuple)) and isinstance(expected, (list, tuple)) and len(found) == len(expected):
        for i, (own, again) in enumerate(zip(found, expected, strict=True)):
            yield from _pairs(f"{where}[{i}]", own, again)
    else:
        yield where, found, expected


ABSENT = "absent"


def _each(key: Any, found: Mapping[Any, Any], expected: Mapping[Any, Any]) -> tuple[Any, Any]:
    return found.get(key, ABSENT), expected.get(key, ABSENT)


def check_csv(name: str, text: str, expected: str) -> None:
    """Cell by cell; numbers may differ by REL_TOL. Raises NotVerified, naming row and column."""
    own, again = list(csv.reader(io.StringIO(text))), list(csv.reader(io.StringIO(expected)))
    _same(f"{name}: number of rows", len(own) - 1, len(again) - 1)
    _same(f"{name}: columns", own[0], again[0])
    for i, (left, right) in enumerate(zip(own[1:], again[1:], strict=True)):
        _same(f"{name}: number of cells in row {i + 1}", len(left), len(right))
        for column, a, b in zip(again[0], left, right, strict=True):
            if a != b and not _close(a, b):
                _same(f"{name}: {column} in row {i + 1}", a, b)


def _close(a: str, b: str) -> bool:
    try:
        return abs(float(a) - float(b)) <= REL_TOL * max(abs(float(a)), abs(float(b)))
    except ValueError:
        return False


def _same(name: str, found: Any, again: Any, *, equal: bool | None = None) -> None:
    if not (found == again if equal is None else equal):
        raise NotVerified(f"{name}: is {_short(found)}, but computed again {_short(again)}")


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 120 else text[:117] + "..."
