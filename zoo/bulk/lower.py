"""Lower a whole search space at once: each distinct piece once, everything else by index.

A network is a sequence of stages (`zoo.lowering`), and a stage's layers are a function of the spec fields and of the
tensor shapes that it reads: layers_s = f_s(what s reads). So a count that adds up over layers is, of candidate i,

    count_i = Σ_s times_s(i) · count(piece_s(i)),    piece_s(i) = f_s(what s reads of i)

A stage is run with a spec that records what is read (`zoo.bulk.choices.Reads`); all candidates that agree on it share
the resulting piece. The sum is exact, there is no second description of a network, and a candidate takes microseconds.

Four candidates whose encoders differ in the units of level 3 alone share all their pieces, and a piece that is run more
often counts more often:

>>> from zoo.registry import lower
>>> from zoo.models.espnet import ESPNetSpec
>>> choices = Choices("espnet", {"alpha3": (1, 2, 3, 8)})
>>> bulk = BulkLowering(choices, Shape(3, 64, 96)).lower(choices.codes(np.arange(4)))
>>> bulk.params.tolist() == [lower(ESPNetSpec(alpha3=n), (64, 96)).params for n in (1, 2, 3, 8)]
True
>>> {len(step.pieces) for step in bulk.steps}
{1}
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zoo.bulk.choices import AliasKey, Bools, Choices, Ints, Key, Memo, Reads, TensorKey, by_fields, field_column
from zoo.bulk.memory import Piece, Step, peak_bytes_of
from zoo.graph import BYTES_PER_VALUE, GraphBuilder, Layer, Shape
from zoo.lowering import IMAGE, Family, Stage
from zoo.registry import family as family_named

ABSENT = -1
"""Storage of a tensor that does not exist; the image's is 0."""


class _State(dict[str, str]):
    """The named tensors of one row: an input layer of the piece for each tensor read, made on first use."""

    def __init__(self, g: GraphBuilder, shapes: Mapping[str, Shape], storage: Mapping[str, int]) -> None:
        self._g, self._shapes, self._storage = g, shapes, storage
        self._inputs: dict[int, str] = {}  # by storage: two names of one tensor are one input
        self.reads: dict[str, str] = {}
        self.writes: dict[str, str] = {}

    def __missing__(self, name: str) -> str:
        storage = self._storage[name]
        if storage not in self._inputs:
            self._inputs[storage] = self._g.input(f"@{name}", self._shapes[name])
        self.reads[name] = self._inputs[storage]
        return self.reads[name]

    def __getitem__(self, name: str) -> str:
        return self.writes[name] if name in self.writes else self.reads.get(name) or self.__missing__(name)

    def __setitem__(self, name: str, layer: str) -> None:
        self.writes[name] = layer


@dataclass
class BulkLowering:
    """Lowers candidates of one space at one image shape; pieces are kept between calls."""

    choices: Choices
    image: Shape
    _interned: dict[Shape, int] = field(default_factory=dict)
    _storages: dict[tuple[int, int], int] = field(default_factory=dict)
    _memos: dict[tuple[int, int], Memo] = field(default_factory=dict)

    def lower(self, codes: Mapping[str, Ints]) -> "Bulk":
        """Lower the candidates with these codes. Raises SpecError where a stage refuses one."""
        family = family_named(self.choices.family)
        count = len(next(iter(codes.values())))
        shapes = {IMAGE: np.full(count, self._intern(self.image), dtype=np.int64)}
        storage = {IMAGE: np.zeros(count, dtype=np.int64)}
        steps: list[Step] = []
        for number, (stage, turn, times) in enumerate(self._turns(family, codes, count)):
            step = self._step(number, stage, turn, times, codes, shapes, storage)
            steps.append(step)
            shapes, storage = self._after(number, step, shapes, storage)
        outputs, output_index = by_fields(self.choices, codes, family.outputs)
        sizes = np.array([0, *(shape.bytes for shape in self._interned)], dtype=np.int64)
        return Bulk(steps, count, outputs, output_index, sizes)

    def _intern(self, shape: Shape) -> int:
        return self._interned.setdefault(shape, len(self._interned) + 1)

    def _turns(self, family: Family, codes: Mapping[str, Ints], count: int) -> Iterator[tuple[Stage, int, Ints]]:
        for stage in family.stages:
            if stage.repeat is None:
                yield stage, -1, np.ones(count, dtype=np.int64)
                continue
            name = stage.repeat
            values, index = by_fields(self.choices, codes, partial(_field, name))
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
        storage: Mapping[str, Ints],
    ) -> Step:
        count = len(times)
        shapes_by_code = list(self._interned)
        kind, bn_eps = family_named(self.choices.family).spec, family_named(self.choices.family).bn_eps

        def column(key: Key) -> Ints:
            match key:
                case TensorKey(name):
                    return shapes[name]
                case AliasKey(name, other):
                    same: Bools = storage[name] == storage[other]
                    return same.astype(np.int64)
                case _:
                    return field_column(self.choices, codes, key, count)

        def run(row: int) -> tuple[dict[Key, None], Piece]:
            spec = Reads(kind, self.choices.spec_values({name: int(c[row]) for name, c in codes.items()}))
            g = GraphBuilder(bn_eps)
            state = _State(
                g,
                {name: shapes_by_code[c[row] - 1] for name, c in shapes.items() if c[row]},
                {name: int(c[row]) for name, c in storage.items()},
            )
            stage.run(g, spec, state) if turn < 0 else stage.run(g, spec, state, turn)
            names = tuple(state.reads)
            tensors: dict[Key, None] = {TensorKey(name): None for name in names}
            aliases: dict[Key, None] = {AliasKey(a, b): None for i, a in enumerate(names) for b in names[:i]}
            out = {layer: g.shape(layer) for layer in state.writes.values()}
            return spec.keys | tensors | aliases, Piece(tuple(g.layers), state.reads, state.writes, out)

        memo = self._memos.setdefault((number, turn), Memo())
        active = np.flatnonzero(times)
        index = np.full(count, -1, dtype=np.int64)
        index[active] = memo.evaluate(run, column, active)
        return Step(memo.results, index, times, storage, shapes)

    def _after(
        self, number: int, step: Step, shapes: Mapping[str, Ints], storage: Mapping[str, Ints]
    ) -> tuple[dict[str, Ints], dict[str, Ints]]:
        """Shapes and storages of the named tensors after a step.

        A name that the piece writes stands for what the piece made, or, where it passes its input on, for the storage
        of that input; every other name stays as it is.
        """
        new_shapes, new_storage = dict(shapes), dict(storage)
        names_written = {name for piece in step.pieces for name in piece.writes}
        read = sorted({name for piece in step.pieces for name in piece.reads})
        absent = np.full(len(step.index), ABSENT, dtype=np.int64)
        for name in sorted(names_written):
            shape_of = np.array([self._shape_written(piece, name) for piece in step.pieces] + [0], dtype=np.int64)
            fresh = np.array(
                [self._storage_of(number, piece, name) for piece in step.pieces] + [ABSENT], dtype=np.int64
            )
            stands_for = fresh[step.index]
            for source in read:
                passes = np.array([_passes_on(piece, source, name) for piece in step.pieces] + [False])
                stands_for = np.where(passes[step.index], storage[source], stands_for)
            wrote = shape_of[step.index] > 0
            new_shapes[name] = np.where(wrote, shape_of[step.index], shapes.get(name, 0 * absent))
            new_storage[name] = np.where(wrote, stands_for, storage.get(name, absent))
        return new_shapes, new_storage

    def _storage_of(self, step: int, piece: Piece, name: str) -> int:
        """Identifies what a piece makes under a name; ABSENT where it makes nothing or passes its input on."""
        layer = piece.writes.get(name)
        if layer is None or layer in piece.reads.values():
            return ABSENT
        position = sorted(set(piece.writes.values())).index(layer)
        return self._storages.setdefault((step, position), len(self._storages) + 1)

    def _shape_written(self, piece: Piece, name: str) -> int:
        return self._intern(piece.shapes[piece.writes[name]]) if name in piece.writes else 0


def _field(name: str, spec: Any) -> Any:
    return getattr(spec, name)


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
        tables = [priced for step in self.steps if (priced := _table(step, function, shape[1:]))]
        if not tables:
            return np.zeros(shape)
        out = np.empty(shape, dtype=tables[0][0].dtype)
        for start in range(0, self.count, BLOCK):
            rows = slice(start, start + BLOCK)
            # The first step has a place for every row, so that nothing needs to be zero before.
            np.take(tables[0][0], tables[0][1][rows], axis=0, out=out[rows])
            for table, place in tables[1:]:
                out[rows] += table[place[rows]]
        return out

    @cached_property
    def params(self) -> Ints:
        """Trainable parameters of each candidate."""
        return self.total(_params)

    @cached_property
    def macs(self) -> Ints:
        """MACs of each candidate."""
        return self.total(_macs)

    @property
    def weight_bytes(self) -> Ints:
        """Bytes of the trainable parameters of each candidate."""
        return BYTES_PER_VALUE * self.params

    @cached_property
    def peak_activation_bytes(self) -> Ints:
        """Peak activation memory of each candidate, as `Graph.peak_activation_bytes` has it."""
        names = {name for outputs in self.outputs for name in outputs}
        is_output = {name: np.array([name in o for o in self.outputs])[self.which_outputs] for name in names}
        return peak_bytes_of(self.steps, is_output, self.sizes)


BLOCK = 1 << 12
"""Rows summed at once, so that they stay in the cache from one step to the next."""


def _table(
    step: Step, function: Callable[[tuple[Layer, ...]], Any], shape: tuple[int, ...]
) -> tuple[NDArray[Any], Ints] | None:
    """A function of each piece times how often it runs, and where each row's is; None where no row runs any."""
    used = np.flatnonzero(np.bincount(step.index + 1, minlength=len(step.pieces) + 1)[1:])
    values = {int(i): np.asarray(function(step.pieces[i].layers)) for i in used}
    if not values:
        return None
    per_run = np.zeros((len(step.pieces) + 1, *shape), dtype=next(iter(values.values())).dtype)
    for i, value in values.items():
        per_run[i + 1] = value
    times = np.arange(step.count.max() + 1)
    table = (per_run[:, None] * times.reshape(-1, *[1] * len(shape))).reshape(-1, *shape)
    return table, (step.index + 1) * len(times) + step.count


def _params(layers: tuple[Layer, ...]) -> int:
    return sum(layer.params for layer in layers)


def _macs(layers: tuple[Layer, ...]) -> int:
    return sum(layer.macs for layer in layers)
