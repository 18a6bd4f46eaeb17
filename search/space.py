"""A search space: choices for some fields of a family, at one image size.

Combinations are numbered in the order of `itertools.product` over the fields as declared; a number is
valid if the family's rules and the image size admit it.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from zoo.bulk.choices import Bools, Choices, Ints, by_fields
from zoo.config import SpaceConfig
from zoo.errors import ConfigError, SpecError
from zoo.registry import MAX_SIDE, family
from zoo.specs import Spec

CHUNK = 1 << 17
"""Combinations handled at once, so that memory does not grow with the space."""

MAX_COMBINATIONS = 20_000_000


@dataclass(frozen=True, slots=True)
class SearchSpace:
    """All valid specs among `choices` for an image of (height, width)."""

    choices: Choices
    size: tuple[int, int]

    def __post_init__(self) -> None:
        height, width = self.size
        if not all(1 <= side <= MAX_SIDE for side in self.size):
            raise ConfigError(f"size {width}x{height}: each side must be from 1 to {MAX_SIDE} pixels; correct --size")
        if self.choices.size > MAX_COMBINATIONS:
            raise ConfigError(
                f"the space has {self.choices.size:,} combinations, more than the {MAX_COMBINATIONS:,} that are "
                "enumerated exactly; list fewer choices"
            )

    @property
    def combinations(self) -> int:
        """Number of combinations, valid or not."""
        return self.choices.size

    @property
    def members(self) -> tuple["SearchSpace", ...]:
        """Itself: `search.union` has spaces of several members."""
        return (self,)

    @property
    def firsts(self) -> Ints:
        """Number of the first combination of each member."""
        return np.zeros(1, dtype=np.int64)

    @property
    def labels(self) -> tuple[str, ...]:
        """A name of each member."""
        return (self.choices.family,)

    def local(self, rows: Ints) -> tuple["SearchSpace", Ints]:
        """The space to which `rows` belong, and their numbers in it."""
        return self, rows

    def parts(self, rows: Ints) -> list[Ints]:
        """Rows by member."""
        return [rows]

    def chunks(self) -> Iterator[Ints]:
        """Numbers of the valid combinations, ascending, some at a time."""
        for start in range(0, self.combinations, CHUNK):
            rows = np.arange(start, min(start + CHUNK, self.combinations))
            valid = rows[self.valid(rows)]
            if len(valid):
                yield valid

    def valid(self, rows: Ints) -> Bools:
        """Which combinations are specs that work at this size."""
        chosen = family(self.choices.family)
        codes = self.choices.codes(rows)
        tests: list[Callable[[Any], str | None]] = [*chosen.spec.rules, lambda s: chosen.check_size(s, *self.size)]
        ok = np.ones(len(rows), dtype=bool)
        for test in tests:
            values, index = by_fields(self.choices, codes, test)
            ok &= np.array([value is None for value in values])[index]
        return ok

    def spec(self, row: int) -> Spec:
        """The spec of one combination. Raises SpecError for an invalid one."""
        codes = {name: int(column[0]) for name, column in self.choices.codes(np.array([row])).items()}
        return family(self.choices.family).spec(**self.choices.spec_values(codes))

    def row(self, spec: Spec) -> int:
        """The combination that a spec is; the inverse of `spec`. Raises SpecError for a spec outside the space."""
        kind = family(self.choices.family).spec
        defaults = self.choices.spec_values(dict.fromkeys(self.choices.values, 0))
        positions: list[int] = []
        for name, default in defaults.items():
            value = getattr(spec, name) if isinstance(spec, kind) else None
            allowed = self.choices.values.get(name, (default,))
            if value not in allowed:
                raise SpecError(f"{spec.family}.{name}: {value!r} is not in the space, which has {allowed}")
            if name in self.choices.values:
                positions.append(allowed.index(value))
        order = [name for name in defaults if name in self.choices.values]
        shape = tuple(len(values) for values in self.choices.values.values())
        index = [positions[order.index(name)] for name in self.choices.values]
        return int(np.ravel_multi_index(index, shape)) if index else 0

    def sample(self, rng: np.random.Generator, count: int) -> Ints:
        """`count` different valid combinations, uniformly; fewer where the space has fewer."""
        valid = np.concatenate([*self.chunks(), np.empty(0, dtype=np.int64)])
        return rng.permutation(valid)[:count]

    def describe(self) -> Mapping[str, Any]:
        """Plain values that define the space."""
        return {
            "family": self.choices.family,
            "choices": {
                name: [list(value) if isinstance(value, tuple) else value for value in values]
                for name, values in self.choices.values.items()
            },
            "size": f"{self.size[1]}x{self.size[0]}",
        }

    @property
    def digest(self) -> str:
        """SHA-256 of the description."""
        return digest(self.describe())


def digest(document: Any) -> str:
    """SHA-256 of a JSON document in canonical form."""
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def space_of(config: SpaceConfig, size: tuple[int, int]) -> SearchSpace:
    """The space that a section of zoo.yaml declares."""
    return SearchSpace(Choices(config.family, config.choices), size)


def space_from(document: Mapping[str, Any]) -> SearchSpace:
    """The space that `SearchSpace.describe` described."""
    width, _, height = str(document["size"]).partition("x")
    choices = {
        name: tuple(tuple(value) if isinstance(value, list) else value for value in values)
        for name, values in document["choices"].items()
    }
    return SearchSpace(Choices(document["family"], choices), (int(height), int(width)))
