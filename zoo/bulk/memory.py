"""Pieces of lowered networks, shared by many candidates, and the memory that runs of them need.

A network runs step by step; in each step a piece. Its memory at the worst moment is

    peak = max over steps s of (inside(s) + outside(s))

    inside(s)    peak of the layers of the piece, where what is read after s is never freed (`graph.peak_bytes`)
    outside(s)   bytes of the tensors that were made before s and are read after it, but not by s

What is read in s or later follows from the last step to the first, as live variables do in a compiler (Aho, Lam, Sethi
and Ullman, Compilers, 2nd edition, section 9.2.5):

    read_from(s) = reads(s) ∪ (read_from(s + 1) - writes(s))

A tensor may go by several names: a piece that passes its input on gives it a second one. So memory is counted by
storage, not by name. Everything is an array over the rows, one row a candidate.

A piece makes y (8 bytes) of x (4 bytes), and a later step reads x, y and skip (12 bytes). While the piece runs, x and y
are inside, and skip waits outside:

>>> from zoo.graph import GraphBuilder
>>> g = GraphBuilder()
>>> x = g.input("@x", Shape(1, 1, 1))
>>> y = g.conv(x, "y", 2)
>>> piece = Piece(tuple(g.layers), reads={"x": x}, writes={"y": y}, shapes={"y": g.shape(y)})
>>> before = {"x": np.array([1]), "skip": np.array([2])}  # storages, and places in `sizes`
>>> step = Step([piece], index=np.array([0]), count=np.array([1]), storage=before, shapes=before)
>>> read_later = {name: np.array([True]) for name in ("x", "y", "skip")}
>>> peak_bytes_of([step], read_later, sizes=np.array([0, 4, 12])).tolist()  # 4 + 8 + 12
[24]
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from zoo.bulk.choices import Bools, Ints, distinct
from zoo.graph import Layer, Shape, peak_bytes


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


@dataclass(frozen=True, slots=True)
class Step:
    """One stage over all rows.

    index: the piece that each row runs, -1 for none. count: how often. storage, shapes: of each tensor named before
    the step, the storage that it stands for and its interned shape.
    """

    pieces: list[Piece]
    index: Ints
    count: Ints
    storage: Mapping[str, Ints]
    shapes: Mapping[str, Ints]

    def reads(self, name: str) -> Bools:
        """Which rows run a piece that reads a tensor."""
        return np.array([*(name in piece.reads for piece in self.pieces), False])[self.index]

    def names(self, name: str) -> Bools:
        """Which rows run a piece that gives a tensor this name."""
        return np.array([*(name in piece.writes for piece in self.pieces), False])[self.index]

    def of(self, rows: Ints) -> "Step":
        """The same for some of the rows."""
        return Step(
            self.pieces,
            self.index[rows],
            self.count[rows],
            {name: column[rows] for name, column in self.storage.items()},
            {name: column[rows] for name, column in self.shapes.items()},
        )


def peak_bytes_of(steps: Sequence[Step], outputs: Mapping[str, Bools], sizes: Ints) -> Ints:
    """Peak activation memory of each row in bytes, as `graph.peak_bytes` has it for one network.

    outputs: which rows have each name as an output. sizes: bytes by interned shape, 0 first.
    """
    read_later = dict(outputs)
    peak = np.zeros(len(steps[0].index), dtype=np.int64)
    for step in reversed(steps):
        rows = np.flatnonzero(step.index >= 0)
        if len(rows):
            later = {name: column[rows] for name, column in read_later.items()}
            peak[rows] = np.maximum(peak[rows], _peak_of_step(step.of(rows), later, sizes))
        read_later = _read_from(step, read_later)
    return peak


def _read_from(step: Step, read_later: Mapping[str, Bools]) -> dict[str, Bools]:
    """Which names are read in a step or after it, before they are given to another tensor."""
    names = set(read_later) | {name for piece in step.pieces for name in piece.reads}
    none = np.zeros(len(step.index), dtype=bool)
    return {name: (read_later.get(name, none) & ~step.names(name)) | step.reads(name) for name in names}


def _peak_of_step(step: Step, read_later: Mapping[str, Bools], sizes: Ints) -> Ints:
    """Bytes at the worst moment of a step: inside(s) + outside(s)."""
    entries = sorted({name for piece in step.pieces for name in piece.reads})
    exits = sorted({name for piece in step.pieces for name in piece.writes})
    # Made before the step, and read after it under a name that the step gives to nothing else.
    alive = {name: read_later[name] & ~step.names(name) for name in step.storage if name in read_later}
    # Under whatever name the piece reads it: the storages decide.
    read_as = {name: [_is_entry(step, name, entry) for entry in entries] for name in alive}
    outside = {name: rows & ~_any(read_as[name], rows) for name, rows in alive.items()}
    none = np.zeros(len(step.index), dtype=bool)
    kept_entries = [_any([alive[name] & read_as[name][i] for name in alive], none) for i in range(len(entries))]
    kept_exits = [read_later.get(name, none) for name in exits]
    return _outside(step, outside, sizes) + _inside(step, entries, exits, [*kept_entries, *kept_exits])


def _is_entry(step: Step, name: str, entry: str) -> Bools:
    """Which rows' piece reads, as `entry`, the storage that `name` stands for."""
    same: Bools = step.reads(entry) & (step.storage[name] == step.storage[entry])
    return same


def _any(columns: Iterable[Bools], like: Bools) -> Bools:
    """Which rows have True in any column; of the length of `like` also where there is none."""
    out = np.zeros_like(like)
    for column in columns:
        out |= column
    return out


def _outside(step: Step, alive: Mapping[str, Bools], sizes: Ints) -> Ints:
    """Bytes of the storages that wait outside of a step's piece, each once."""
    total = np.zeros(len(step.index), dtype=np.int64)
    for name, rows in _each_storage_once(alive, step.storage):
        total += np.where(rows, sizes[step.shapes[name]], 0)
    return total


def _each_storage_once(alive: Mapping[str, Bools], storage: Mapping[str, Ints]) -> Iterator[tuple[str, Bools]]:
    """For each name the rows in which no earlier name stands for the same storage."""
    earlier: list[str] = []
    for name, rows in alive.items():
        first = rows.copy()
        for other in earlier:
            first &= ~(alive[other] & (storage[other] == storage[name]))
        earlier.append(name)
        yield name, first


def _inside(step: Step, entries: list[str], exits: list[str], read_later_rows: list[Bools]) -> Ints:
    """Peak inside each row's piece, computed once for each piece and set of entries and exits that are read later.

    read_later_rows: of each entry, then of each exit, which rows read it later.
    """
    first, peak_index = distinct(
        [step.index, *(column.astype(np.int64) for column in read_later_rows)], len(step.index)
    )
    peaks = np.empty(len(first), dtype=np.int64)
    for i, row in enumerate(first):
        piece = step.pieces[step.index[row]]
        layer_of = [piece.reads.get(name) for name in entries] + [piece.writes.get(name) for name in exits]
        read_later = [
            layer for layer, rows in zip(layer_of, read_later_rows, strict=True) if rows[row] and layer is not None
        ]
        peaks[i] = peak_bytes(piece.layers, read_later)
    return peaks[peak_index]
