"""Compares what a run's files hold with what is computed again, and names the first value that differs."""

import csv
import io
from collections.abc import Iterator, Mapping
from typing import Any

from search.certificate import NotVerified

REL_TOL = 1e-9
"""By how much a number may differ from what is computed again: files of another machine do."""


def same(path_name: str, actual: Any, expected: Any) -> None:
    """Raises NotVerified, naming the first value that differs; numbers may by REL_TOL."""
    for path, own, wanted_value in _pairs(path_name, actual, expected):
        if isinstance(own, bool) or isinstance(wanted_value, bool) or not _numbers(own, wanted_value):
            equal = type(own) is type(wanted_value) and own == wanted_value
        elif isinstance(wanted_value, int):
            equal = own == wanted_value
        else:
            equal = abs(own - wanted_value) <= REL_TOL * max(abs(own), abs(wanted_value))
        if not equal:
            _same(path, own, wanted_value, equal=False)


def _numbers(*values: Any) -> bool:
    return all(isinstance(value, (int, float)) for value in values)


def _pairs(path: str, actual: Any, expected: Any) -> Iterator[tuple[str, Any, Any]]:
    if isinstance(actual, Mapping) and isinstance(expected, Mapping):
        for key in {**expected, **actual}:
            yield from _pairs(
                f"{path}.{key}" if path[-5:] != ".json" else f"{path}: {key}", *_each(key, actual, expected)
            )
    elif isinstance(actual, (list, tuple)) and isinstance(expected, (list, tuple)) and len(actual) == len(expected):
        for i, (own, right) in enumerate(zip(actual, expected, strict=True)):
            yield from _pairs(f"{path}[{i}]", own, right)
    else:
        yield path, actual, expected


ABSENT = "absent"


def _each(key: Any, actual: Mapping[Any, Any], expected: Mapping[Any, Any]) -> tuple[Any, Any]:
    return actual.get(key, ABSENT), expected.get(key, ABSENT)


def check_csv(name: str, text: str, expected: str) -> None:
    """Cell by cell; numbers may differ by REL_TOL. Raises NotVerified, naming row and column."""
    actual_rows, expected_rows = list(csv.reader(io.StringIO(text))), list(csv.reader(io.StringIO(expected)))
    _same(f"{name}: number of rows", len(actual_rows) - 1, len(expected_rows) - 1)
    _same(f"{name}: columns", actual_rows[0], expected_rows[0])
    for i, (left, right) in enumerate(zip(actual_rows[1:], expected_rows[1:], strict=True)):
        _same(f"{name}: number of cells in row {i + 1}", len(left), len(right))
        for column, a, b in zip(expected_rows[0], left, right, strict=True):
            if a != b and not _close(a, b):
                _same(f"{name}: {column} in row {i + 1}", a, b)


def _close(a: str, b: str) -> bool:
    try:
        return abs(float(a) - float(b)) <= REL_TOL * max(abs(float(a)), abs(float(b)))
    except ValueError:
        return False


def _same(name: str, actual: Any, expected: Any, *, equal: bool | None = None) -> None:
    if not (actual == expected if equal is None else equal):
        raise NotVerified(f"{name}: is {_short(actual)}, but computed again {_short(expected)}")


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 120 else text[:117] + "..."
