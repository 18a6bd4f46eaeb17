"""Lower a whole search space at once: each distinct piece once, everything else by index.

A stage's layers are a function of the spec fields and the tensor shapes that the stage reads (see
`zoo.stages`). So a stage is run with a spec that records what is read, all candidates that agree on it
share the resulting piece, and a count of a candidate is a sum over its pieces: exact, with no second
description of a network, at some microseconds a candidate.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zoo.graph import BYTES_PER_VALUE, GraphBuilder, Layer, Shape, peak_bytes
from zoo.registry import family as family_named
from zoo.spec import Spec
from zoo.stages import IMAGE, Family, Stage

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
Key = tuple[str, ...]
"""What was read: ("field", name), ("item", name, i), ("tensor", name), ("alias", name, name)."""


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
        self.keys["field", name] = None
        return value


class _Items(Sequence[Any]):
    def __init__(self, name: str, values: tuple[Any, ...], keys: dict[Key, None]) -> None:
        self._name, self._values, self._keys = name, values, keys

    def __getitem__(self, index: Any) -> Any:
        for i in range(len(self._values))[index] if isinstance(index, slice) else [range(len(self._values))[index]]:
            self._keys["item", self._name, str(i)] = None
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
        return int(np.prod([len(v) for v in self.values.values()], dtype=np.int64))

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
class _Memo:
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
                known = tuple(int(values[at]) for values in columns)
                if known not in self.found:
                    read, result = run(int(rows[at]))
                    if read.keys() - self.keys.keys():
                        self.keys |= read
                        self.found.clear()
                        break
                    self.found[known] = len(self.results)
                    self.results.append(result)
                table[i] = self.found[known]
            else:
                return table[index]


def by_fields(choices: Choices, codes: Mapping[str, Ints], function: Callable[[Any], Any]) -> tuple[list[Any], Ints]:
    """Values of a function that reads fields of a spec, and which of them each row has."""
    count = len(next(iter(codes.values())))
    kind = family_named(choices.family).spec
    memo = _Memo()

    def run(row: int) -> tuple[dict[Key, None], Any]:
        spec = Reads(kind, choices.spec_values({name: int(column[row]) for name, column in codes.items()}))
        result = function(spec)
        return spec.keys, result

    index = memo.evaluate(run, lambda key: _field_column(choices, codes, key, count), np.arange(count))
    return memo.results, index


def _field_column(choices: Choices, codes: Mapping[str, Ints], key: Key, count: int) -> Ints:
    name = key[1]
    if name not in codes:
        return np.zeros(count, dtype=np.int64)
    if key[0] == "field":
        return codes[name]
    items: dict[Any, int] = {}
    # An optional tuple may also be None, which is then not read by item.
    table = [items.setdefault(value and value[int(key[2])], len(items)) for value in choices.values[name]]
    return np.asarray(table, dtype=np.int64)[codes[name]]


@dataclass(frozen=True, slots=True)
class Piece:
    """Layers of one stage for some combination of what it reads.

    `reads` maps the tensors that it reads to its input layers, `writes` the tensors that it names to its
    layers; a tensor may be passed on under another name.
    """

    layers: tuple[Layer, ...]
    reads: Mapping[str, str]
    writes: Mapping[str, str]
    shapes: Mapping[str, Shape]


class _State(dict[str, str]):
    """The named tensors of one row: an input layer of the piece for each tensor read, made on first use."""

    def __init__(self, g: GraphBuilder, shapes: Mapping[str, Shape], owners: Mapping[str, int]) -> None:
        self._g, self._shapes, self._owners = g, shapes, owners
        self._inputs: dict[int, str] = {}
        self.reads: dict[str, str] = {}
        self.writes: dict[str, str] = {}

    def __missing__(self, name: str) -> str:
        owner = self._owners[name]
        if owner not in self._inputs:
            self._inputs[owner] = self._g.input(f"@{name}", self._shapes[name])
        self.reads[name] = self._inputs[owner]
        return self.reads[name]

    def __getitem__(self, name: str) -> str:
        return self.writes[name] if name in self.writes else self.reads.get(name) or self.__missing__(name)

    def __setitem__(self, name: str, layer: str) -> None:
        self.writes[name] = layer


@dataclass(frozen=True, slots=True)
class Step:
    """One stage over all rows: the piece that each row runs and how often (0: not at all)."""

    pieces: list[Piece]
    index: Ints
    count: Ints
    owners: Mapping[str, Ints]
    shapes: Mapping[str, Ints]


@dataclass
class BulkLowering:
    """Lowers candidates of one space at one image shape; pieces are kept between calls."""

    choices: Choices
    image: Shape
    _interned: dict[Shape, int] = field(default_factory=dict)
    _memos: dict[tuple[int, int], _Memo] = field(default_factory=dict)

    def lower(self, codes: Mapping[str, Ints]) -> "Bulk":
        """Lower the candidates with these codes. Raises SpecError where a stage refuses one."""
        family = family_named(self.choices.family)
        count = len(next(iter(codes.values())))
        shapes = {IMAGE: np.full(count, self._intern(self.image), dtype=np.int64)}
        owners = {IMAGE: np.zeros(count, dtype=np.int64)}
        steps: list[Step] = []
        for number, (stage, turn, times) in enumerate(self._turns(family, codes, count)):
            step = self._step(number, stage, turn, times, codes, shapes, owners)
            steps.append(step)
            shapes, owners = self._after(number, step, shapes, owners)
        outputs, which = by_fields(self.choices, codes, family.outputs)
        sizes = np.array([0, *(shape.bytes for shape in self._interned)], dtype=np.int64)
        return Bulk(steps, count, outputs, which, sizes)

    def _intern(self, shape: Shape) -> int:
        return self._interned.setdefault(shape, len(self._interned) + 1)

    def _turns(self, family: Family, codes: Mapping[str, Ints], count: int) -> Iterator[tuple[Stage, int, Ints]]:
        for stage in family.stages:
            if stage.repeat is None:
                yield stage, -1, np.ones(count, dtype=np.int64)
                continue
            name = stage.repeat
            values, index = by_fields(self.choices, codes, lambda s, name=name: int(getattr(s, name)))
            times = np.asarray(values, dtype=np.int64)[index]
            # The first copy may read a tensor that also goes by another name; from the second on, none does.
            yield stage, 0, np.minimum(times, 1)
            yield stage, 1, np.maximum(times - 1, 0)

    def _step(
        self,
        number: int,
        stage: Stage,
        turn: int,
        times: Ints,
        codes: Mapping[str, Ints],
        shapes: Mapping[str, Ints],
        owners: Mapping[str, Ints],
    ) -> Step:
        count = len(times)
        known = list(self._interned)
        kind, bn_eps = family_named(self.choices.family).spec, family_named(self.choices.family).bn_eps

        def column(key: Key) -> Ints:
            if key[0] == "tensor":
                return shapes[key[1]]
            if key[0] == "alias":
                return (owners[key[1]] == owners[key[2]]).astype(np.int64)
            return _field_column(self.choices, codes, key, count)

        def run(row: int) -> tuple[dict[Key, None], Piece]:
            spec = Reads(kind, self.choices.spec_values({name: int(c[row]) for name, c in codes.items()}))
            g = GraphBuilder(bn_eps)
            state = _State(
                g,
                {name: known[c[row] - 1] for name, c in shapes.items() if c[row]},
                {name: int(c[row]) for name, c in owners.items()},
            )
            stage.run(g, spec, state) if turn < 0 else stage.run(g, spec, state, turn)
            names = tuple(state.reads)
            tensors: dict[Key, None] = {("tensor", name): None for name in names}
            aliases: dict[Key, None] = {("alias", a, b): None for i, a in enumerate(names) for b in names[:i]}
            out = {layer: g.shape(layer) for layer in state.writes.values()}
            return spec.keys | tensors | aliases, Piece(tuple(g.layers), state.reads, state.writes, out)

        memo = self._memos.setdefault((number, turn), _Memo())
        active = np.flatnonzero(times)
        index = np.full(count, -1, dtype=np.int64)
        index[active] = memo.evaluate(run, column, active)
        return Step(memo.results, index, times, owners, shapes)

    def _after(
        self, number: int, step: Step, shapes: Mapping[str, Ints], owners: Mapping[str, Ints]
    ) -> tuple[dict[str, Ints], dict[str, Ints]]:
        new_shapes, new_owners = dict(shapes), dict(owners)
        written = {name for piece in step.pieces for name in piece.writes}
        for name in sorted(written):
            shape_of = np.array([self._shape_written(piece, name) for piece in step.pieces] + [0], dtype=np.int64)
            # An own tensor gets an owner of its own; a tensor passed on keeps the owner that it had.
            own = np.array([_own_number(piece, name) for piece in step.pieces] + [-1], dtype=np.int64)
            wrote = shape_of[step.index] > 0
            owner = np.where(own[step.index] >= 0, 1 + own[step.index] + 1000 * (number + 1), 0)
            for source in sorted({name for piece in step.pieces for name in piece.reads}):
                passes = np.array([_passes_on(piece, source, name) for piece in step.pieces] + [False])
                owner = np.where(passes[step.index], owners[source], owner)
            blank = np.zeros(len(step.index), dtype=np.int64)
            new_shapes[name] = np.where(wrote, shape_of[step.index], shapes.get(name, blank))
            new_owners[name] = np.where(wrote, owner, owners.get(name, blank - 1))
        return new_shapes, new_owners

    def _shape_written(self, piece: Piece, name: str) -> int:
        return self._intern(piece.shapes[piece.writes[name]]) if name in piece.writes else 0


def _own_number(piece: Piece, name: str) -> int:
    layer = piece.writes.get(name)
    if layer is None or layer in piece.reads.values():
        return -1
    return sorted(set(piece.writes.values())).index(layer)


def _passes_on(piece: Piece, source: str, name: str) -> bool:
    return source in piece.reads and piece.writes.get(name) == piece.reads[source]


@dataclass(frozen=True)
class Bulk:
    """Many lowered candidates, as indices into shared pieces."""

    steps: list[Step]
    count: int
    outputs: list[tuple[str, ...]]
    which_outputs: Ints
    sizes: Ints

    def total(self, function: Callable[[tuple[Layer, ...]], Any], width: int = 0) -> NDArray[Any]:
        """Sum over a candidate's pieces of a function of layers: (count,), or (count, width) of a vector function."""
        shape = (self.count, width) if width else (self.count,)
        out: NDArray[Any] | None = None
        for step in self.steps:
            used = np.unique(step.index[step.index >= 0])
            values = {int(i): np.asarray(function(step.pieces[i].layers)) for i in used}
            if not values:
                continue
            kind = next(iter(values.values())).dtype
            if out is None:
                out = np.zeros(shape, dtype=kind)
            table = np.zeros((len(step.pieces) + 1, *shape[1:]), dtype=kind)
            for i, value in values.items():
                table[i] = value
            times = step.count if not width else step.count[:, None]
            out += table[step.index] * times
        return np.zeros(shape) if out is None else out

    @cached_property
    def params(self) -> Ints:
        """Trainable parameters of each candidate."""
        return self.total(lambda layers: np.int64(sum(layer.params for layer in layers)))

    @cached_property
    def macs(self) -> Ints:
        """MACs of each candidate."""
        return self.total(lambda layers: np.int64(sum(layer.macs for layer in layers)))

    @property
    def weight_bytes(self) -> Ints:
        """Bytes of the trainable parameters of each candidate."""
        return BYTES_PER_VALUE * self.params

    @cached_property
    def peak_activation_bytes(self) -> Ints:
        """Peak activation memory of each candidate, as `Graph.peak_activation_bytes` has it."""
        live = self._live_at_end()
        peak = np.zeros(self.count, dtype=np.int64)
        for step in reversed(self.steps):
            np.maximum(peak, self._peak(step, live), out=peak)
            live = _live_before(step, live)
        return peak

    def _live_at_end(self) -> dict[str, Bools]:
        names = {name for outputs in self.outputs for name in outputs}
        return {name: np.array([name in outputs for outputs in self.outputs])[self.which_outputs] for name in names}

    def _peak(self, step: Step, live: Mapping[str, Bools]) -> Ints:
        rows = np.flatnonzero(step.index >= 0)
        if not len(rows):
            return np.zeros(self.count, dtype=np.int64)
        index = step.index[rows]
        used = [step.pieces[i] for i in range(len(step.pieces))]
        owners = {name: column[rows] for name, column in step.owners.items()}
        beyond = {  # tensors named before this step, not renamed by it, and read after it
            name: live[name][rows] & ~_table(used, lambda p, name=name: name in p.writes)[index]
            for name in owners
            if name in live
        }
        entries = sorted({name for piece in used for name in piece.reads})
        exits = sorted({name for piece in used for name in piece.writes})
        kept: list[Bools] = []
        is_entry = {name: np.zeros(len(rows), dtype=bool) for name in beyond}
        for entry in entries:
            read = _table(used, lambda p, entry=entry: entry in p.reads)[index]
            keep = np.zeros(len(rows), dtype=bool)
            for name, alive in beyond.items():
                same = read & alive & (owners[name] == owners[entry])
                keep |= same
                is_entry[name] |= same
            kept.append(keep)
        for name in exits:
            alive = live.get(name)
            kept.append(np.zeros(len(rows), dtype=bool) if alive is None else alive[rows])
        through = np.zeros(len(rows), dtype=np.int64)
        counted: list[str] = []
        for name, alive in beyond.items():
            once = alive & ~is_entry[name]
            for other in counted:
                once &= ~(beyond[other] & ~is_entry[other] & (owners[other] == owners[name]))
            through += np.where(once, self.sizes[step.shapes[name][rows]], 0)
            counted.append(name)
        first, which = distinct([index, *(column.astype(np.int64) for column in kept)], len(rows))
        inside = np.empty(len(first), dtype=np.int64)
        for i, at in enumerate(first):
            piece = step.pieces[index[at]]
            tables = [piece.reads] * len(entries) + [piece.writes] * len(exits)
            flagged = zip([*entries, *exits], tables, kept, strict=True)
            inside[i] = peak_bytes(piece.layers, [names[n] for n, names, keep in flagged if keep[at] and n in names])
        out = np.zeros(self.count, dtype=np.int64)
        out[rows] = through + inside[which]
        return out


def _table(pieces: Sequence[Piece], test: Callable[[Piece], bool]) -> Bools:
    return np.array([test(piece) for piece in pieces])


def _live_before(step: Step, live: Mapping[str, Bools]) -> dict[str, Bools]:
    active = step.index >= 0
    out: dict[str, Bools] = {}
    names = set(live) | {name for piece in step.pieces for name in piece.reads}
    for name in names:
        writes = np.append(_table(step.pieces, lambda p, name=name: name in p.writes), False)[step.index] & active
        reads = np.append(_table(step.pieces, lambda p, name=name: name in p.reads), False)[step.index] & active
        after = live.get(name)
        out[name] = reads if after is None else (after & ~writes) | reads
    return out
