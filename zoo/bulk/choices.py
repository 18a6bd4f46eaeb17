"""Many specs as codes: choices for some fields of a family, and functions that read only some of them.

A function of a spec is evaluated once for each distinct combination of the fields that it reads, which a
recording stand-in for the spec finds out.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zoo.registry import family as family_named
from zoo.specs import Spec

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class FieldKey:
    """A field of the spec was read."""

    field: str


@dataclass(frozen=True, slots=True)
class ItemKey:
    """An item of a field that is a tuple was read."""

    field: str
    index: int


@dataclass(frozen=True, slots=True)
class TensorKey:
    """A named tensor was read: what follows depends on its shape."""

    tensor: str


@dataclass(frozen=True, slots=True)
class AliasKey:
    """Two named tensors were read: what follows depends on whether they are the same."""

    tensor: str
    other: str


Key = FieldKey | ItemKey | TensorKey | AliasKey


class Reads:
    """A stand-in for a spec that records which fields, and which items of tuples, are read."""

    def __init__(self, kind: type[Spec], values: Mapping[str, Any]) -> None:
        self._kind, self._values = kind, values
        self.keys: dict[Key, None] = {}

    def __getattr__(self, name: str) -> Any:
        derived = getattr(self._kind, name, None)
        if isinstance(derived, property) and derived.fget:
            return derived.fget(self)
        if callable(derived):
            return derived.__get__(self)  # a method of the spec, run on the record
        value = self._values[name]
        if isinstance(value, tuple):
            return _Items(name, value, self.keys)
        self.keys[FieldKey(name)] = None
        return value


class _Items(Sequence[Any]):
    def __init__(self, name: str, values: tuple[Any, ...], keys: dict[Key, None]) -> None:
        self._name, self._values, self._keys = name, values, keys

    def __getitem__(self, index: Any) -> Any:
        for i in range(len(self._values))[index] if isinstance(index, slice) else [range(len(self._values))[index]]:
            self._keys[ItemKey(self._name, i)] = None
        return self._values[index]

    def __len__(self) -> int:
        return len(self._values)


@dataclass(frozen=True, slots=True)
class Choices:
    """The fields of a family that vary, with their values; the others keep their defaults."""

    family: str
    values: Mapping[str, tuple[Any, ...]]

    @property
    def size(self) -> int:
        """Number of combinations, valid or not."""
        return math.prod(len(values) for values in self.values.values())

    def codes(self, rows: Ints) -> Mapping[str, Ints]:
        """Index into the values of each field, for combinations numbered in the order of itertools.product."""
        shape = tuple(len(v) for v in self.values.values())
        return dict(zip(self.values, np.unravel_index(rows, shape), strict=True))

    def spec_values(self, codes: Mapping[str, int]) -> dict[str, Any]:
        """All field values of one combination."""
        kind = family_named(self.family).spec
        return {
            f.name: self.values[f.name][codes[f.name]] if f.name in self.values else _default(f)
            for f in fields(kind)  # type: ignore[arg-type]
        }


def _default(item: Any) -> Any:
    return item.default_factory() if item.default is MISSING else item.default


def distinct(columns: Sequence[Ints], count: int) -> tuple[Ints, Ints]:
    """First row of each distinct combination of `columns`, and the combination that each of `count` rows has."""
    key, span = np.zeros(count, dtype=np.int64), 1
    for column in columns:
        width = int(column.max(initial=0)) + 1
        if span * width > 1 << 40:
            key, span = np.unique(key, return_inverse=True)[1], count
        key, span = key * width + column, span * width
    if span > 1 << 24:
        first, index = np.unique(key, return_index=True, return_inverse=True)[1:]
        return first, index
    first_row = np.full(span, -1, dtype=np.int64)
    first_row[key[::-1]] = np.arange(count - 1, -1, -1)
    present = first_row >= 0
    return first_row[present], (np.cumsum(present) - 1)[key]


@dataclass(slots=True)
class Memo:
    """A function of a row, known to depend on `keys` only: one result for each combination of their values."""

    keys: dict[Key, None] = field(default_factory=dict)
    found: dict[tuple[int, ...], int] = field(default_factory=dict)
    results: list[Any] = field(default_factory=list)

    def evaluate(
        self, run: Callable[[int], tuple[dict[Key, None], Any]], column: Callable[[Key], Ints], rows: Ints
    ) -> Ints:
        """Index into `results` for each of `rows`; `run(row)` gives the keys that it read and its result."""
        while True:
            columns = [column(key)[rows] for key in self.keys]
            first, index = distinct(columns, len(rows))
            table = np.empty(len(first), dtype=np.int64)
            for i, at in enumerate(first):
                key_values = tuple(int(values[at]) for values in columns)
                if key_values not in self.found:
                    read, result = run(int(rows[at]))
                    if read.keys() - self.keys.keys():
                        self.keys |= read
                        self.found.clear()
                        break
                    self.found[key_values] = len(self.results)
                    self.results.append(result)
                table[i] = self.found[key_values]
            else:
                return table[index]


def by_fields(choices: Choices, codes: Mapping[str, Ints], function: Callable[[Any], Any]) -> tuple[list[Any], Ints]:
    """Values of a function that reads fields of a spec, and which of them each row has."""
    count = len(next(iter(codes.values())))
    kind = family_named(choices.family).spec
    memo = Memo()

    def run(row: int) -> tuple[dict[Key, None], Any]:
        spec = Reads(kind, choices.spec_values({name: int(column[row]) for name, column in codes.items()}))
        result = function(spec)
        return spec.keys, result

    index = memo.evaluate(run, lambda key: field_column(choices, codes, key, count), np.arange(count))
    return memo.results, index


def field_column(choices: Choices, codes: Mapping[str, Ints], key: Key, count: int) -> Ints:
    """What each of `count` rows has for a field or an item of one, as small integers.

    >>> from zoo.bulk.choices import Choices, ItemKey
    >>> widths = Choices("espnet", {"widths": ((8, 32, 64), (16, 32, 64), (16, 64, 64))})
    >>> field_column(widths, widths.codes(np.arange(3)), ItemKey("widths", 0), 3).tolist()
    [0, 1, 1]
    """
    assert isinstance(key, FieldKey | ItemKey)
    if key.field not in codes:
        return np.zeros(count, dtype=np.int64)
    if isinstance(key, FieldKey):
        return codes[key.field]
    numbers: dict[Any, int] = {}
    # An optional tuple may also be None, which is then not read by item.
    table = [numbers.setdefault(value and value[key.index], len(numbers)) for value in choices.values[key.field]]
    return np.asarray(table, dtype=np.int64)[codes[key.field]]
