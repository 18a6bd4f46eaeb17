"""Several search spaces as one: the candidates of all of them, each spec once."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from search.space import MAX_COMBINATIONS, SearchSpace, digest, space_from
from zoo.bulk.choices import Bools, Ints
from zoo.errors import ConfigError, SpecError
from zoo.specs import Spec


@dataclass(frozen=True, slots=True)
class SpaceUnion:
    """Two or more different spaces at one image size, in the order of family and digest; `union_of` makes them.

    Combinations are numbered through, one space after the other. A spec that an earlier space has as well is left
    out of the later ones.
    """

    members: tuple[SearchSpace, ...]

    def __post_init__(self) -> None:
        if len({member.size for member in self.members}) > 1:
            raise ConfigError("the spaces of one search must have one image size; give it with --size")
        if self.combinations > MAX_COMBINATIONS:
            raise ConfigError(
                f"the spaces have {self.combinations:,} combinations together, more than the {MAX_COMBINATIONS:,} that "
                "are enumerated exactly; search fewer of them, or list fewer choices"
            )

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the image."""
        return self.members[0].size

    @property
    def combinations(self) -> int:
        """Number of combinations, valid or not."""
        return sum(member.combinations for member in self.members)

    @property
    def firsts(self) -> Ints:
        """Number of the first combination of each member."""
        return np.cumsum([0, *(member.combinations for member in self.members[:-1])])

    @property
    def labels(self) -> tuple[str, ...]:
        """A name of each member: its family, numbered from the second space of a family on."""
        families = [member.choices.family for member in self.members]
        earlier = [families[:k].count(family) for k, family in enumerate(families)]
        return tuple(
            f"{family}-{count + 1}" if count else family for family, count in zip(families, earlier, strict=True)
        )

    def place(self, rows: Ints) -> int:
        """Place of the member to which all `rows` belong."""
        return int(np.searchsorted(self.firsts, rows[0], side="right")) - 1

    def local(self, rows: Ints) -> tuple[SearchSpace, Ints]:
        """The member to which all `rows` belong, and their numbers in it."""
        k = self.place(rows)
        return self.members[k], rows - self.firsts[k]

    def parts(self, rows: Ints) -> list[Ints]:
        """Rows by member, for ascending rows."""
        return [part for part in np.split(rows, np.searchsorted(rows, self.firsts[1:])) if len(part)]

    def chunks(self) -> Iterator[Ints]:
        """Numbers of the valid combinations, ascending, some of one member at a time."""
        for k, (first, member) in enumerate(zip(self.firsts, self.members, strict=True)):
            for rows in member.chunks():
                repeated = np.zeros(len(rows), dtype=bool)
                for earlier in self.members[:k]:
                    repeated |= shared(earlier, member, rows)
                if not repeated.all():
                    yield first + rows[~repeated]

    def spec(self, row: int) -> Spec:
        """The spec of one combination. Raises SpecError for an invalid one."""
        member, own = self.local(np.array([row]))
        return member.spec(int(own[0]))

    def row(self, spec: Spec) -> int:
        """The combination that a spec is. Raises SpecError for a spec outside all spaces."""
        for first, member in zip(self.firsts.tolist(), self.members, strict=True):
            if member.choices.family == spec.family:
                try:
                    return int(first) + member.row(spec)
                except SpecError:
                    continue
        raise SpecError(f"{spec.family}: {spec!r} is in none of the {len(self.members)} spaces")

    def describe(self) -> Mapping[str, Any]:
        """Plain values that define the spaces."""
        size = f"{self.size[1]}x{self.size[0]}"
        return {"spaces": [dict(member.describe()) for member in self.members], "size": size}

    @property
    def digest(self) -> str:
        """SHA-256 of the description."""
        return digest(self.describe())


Space = SearchSpace | SpaceUnion
"""What a query searches: one space, or several as one. Both are read by the same names."""


def union_of(spaces: Sequence[SearchSpace]) -> Space:
    """The candidates of all spaces; one space itself where all are equal. The order of `spaces` makes no difference."""
    different = {space.digest: space for space in spaces}
    members = sorted(different.values(), key=lambda space: (space.choices.family, space.digest))
    return members[0] if len(members) == 1 else SpaceUnion(tuple(members))


def shared(earlier: SearchSpace, later: SearchSpace, rows: Ints) -> Bools:
    """Which combinations `rows` of one space are specs of another as well."""
    first_choices, second_choices = earlier.choices, later.choices
    if first_choices.family != second_choices.family:
        return np.zeros(len(rows), dtype=bool)
    codes, inside = second_choices.codes(rows), np.ones(len(rows), dtype=bool)
    for name, default in first_choices.spec_values(dict.fromkeys(first_choices.values, 0)).items():
        allowed = first_choices.values.get(name, (default,))
        if name in second_choices.values:
            inside &= np.array([value in allowed for value in second_choices.values[name]])[codes[name]]
        elif second_choices.spec_values(dict.fromkeys(second_choices.values, 0))[name] not in allowed:
            inside[:] = False
    return inside


def read_space(document: Mapping[str, Any]) -> Space:
    """The space or spaces that `describe` described. Raises ConfigError for spaces in another order or named twice."""
    if "spaces" not in document:
        return space_from(document)
    members = [space_from(member) for member in document["spaces"]]
    space = union_of(members)
    if space.describe() != document:
        raise ConfigError("the spaces of this run are not in their order, or one is named twice")
    return space


def searched(document: Mapping[str, Any], spec: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a spec that the described spaces of its family vary; of several families its family too."""
    spaces = document.get("spaces", [document])
    own = [space["choices"] for space in spaces if space["family"] == spec["family"]]
    family_field = ["family"] if len({space["family"] for space in spaces}) > 1 else []
    fields = dict.fromkeys(name for choices in own for name in choices)
    return {name: spec[name] for name in family_field} | {
        name: spec[name] for name in fields if len(own) > 1 or len(own[0][name]) > 1
    }
