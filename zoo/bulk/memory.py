"""Pieces of lowered networks, shared by many candidates, and the memory that runs of them need.

A tensor may go by several names: a piece that passes its input on gives it a second one. So memory is counted by
storage, not by name. Everything is an array over the rows, one row a candidate.
"""

from collections.abc import Iterator, Mapping, Sequence
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
    """Peak activation memory of each row, as `graph.peak_bytes` has it for one network.

    The steps are visited from the last to the first, with the tensors that are read later still: at first the
    network's outputs. `sizes` are bytes by interned shape, 0 first.
    """
    read_later = dict(outputs)
    peak = np.zeros(len(steps[0].index), dtype=np.int64)
    for step in reversed(steps):
        rows = np.flatnonzero(step.index >= 0)
        if len(rows):
            later = {name: column[rows] for name, column in read_later.items()}
            peak[rows] = np.maximum(peak[rows], _peak(step.of(rows), later, sizes))
        read_later = _read_from(step, read_later)
    return peak


def _read_from(step: Step, read_later: Mapping[str, Bools]) -> dict[str, Bools]:
    """Which names are read in a step or after it, before they are given to another tensor."""
    names = set(read_later) | {name for piece in step.pieces for name in piece.reads}
    none = np.zeros(len(step.index), dtype=bool)
    return {name: (read_later.get(name, none) & ~step.names(name)) | step.reads(name) for name in names}


def _peak(step: Step, read_later: Mapping[str, Bools], sizes: Ints) -> Ints:
    """Bytes at the worst moment of a step: the peak inside its piece, and the tensors that wait outside of it.

    A tensor outlives the step if it was named before it, and is read after it under a name that the step does not
    give away. Those of them that the piece reads are part of its own peak; the others wait outside. Say a piece reads x
    (4 bytes), makes y (6) of it and a later step reads x, y and skip (5): x and y are inside, 10 bytes, and skip waits.
    """
    outlives = {name: read_later[name] & ~step.names(name) for name in step.storage if name in read_later}
    entries = sorted({name for piece in step.pieces for name in piece.reads})
    exits = sorted({name for piece in step.pieces for name in piece.writes})
    none = np.zeros(len(step.index), dtype=bool)
    inside, kept_entries = dict.fromkeys(outlives, none), []
    for entry in entries:
        # Under whatever name: the storages decide.
        same = {name: alive & _shares(step, name, entry) for name, alive in outlives.items()}
        inside = {name: inside[name] | same[name] for name in outlives}
        kept_entries.append(np.any([none, *same.values()], axis=0))
    kept_exits = [read_later.get(name, none) for name in exits]
    outside = {name: alive & ~inside[name] for name, alive in outlives.items()}
    return _waiting(step, outside, sizes) + _inside(step, entries, exits, [*kept_entries, *kept_exits])


def _shares(step: Step, name: str, entry: str) -> Bools:
    """Which rows' piece reads, as `entry`, the storage that `name` stands for."""
    same: Bools = step.reads(entry) & (step.storage[name] == step.storage[entry])
    return same


def _waiting(step: Step, outside: Mapping[str, Bools], sizes: Ints) -> Ints:
    """Bytes of the storages that wait outside of a step's piece, each once."""
    total = np.zeros(len(step.index), dtype=np.int64)
    for name, once in _each_once(outside, step.storage):
        total += np.where(once, sizes[step.shapes[name]], 0)
    return total


def _each_once(alive: Mapping[str, Bools], storage: Mapping[str, Ints]) -> Iterator[tuple[str, Bools]]:
    """For each name the rows in which no earlier name stands for the same storage."""
    earlier: list[str] = []
    for name, rows in alive.items():
        once = rows.copy()
        for other in earlier:
            once &= ~(alive[other] & (storage[other] == storage[name]))
        earlier.append(name)
        yield name, once


def _inside(step: Step, entries: list[str], exits: list[str], kept: list[Bools]) -> Ints:
    """Peak inside each row's piece, given which of its entries and exits outlive it: once for each combination."""
    first, which = distinct([step.index, *(column.astype(np.int64) for column in kept)], len(step.index))
    peaks = np.empty(len(first), dtype=np.int64)
    for i, row in enumerate(first):
        piece = step.pieces[step.index[row]]
        tables = [piece.reads] * len(entries) + [piece.writes] * len(exits)
        flagged = zip([*entries, *exits], tables, kept, strict=True)
        peaks[i] = peak_bytes(piece.layers, [table[n] for n, table, keep in flagged if keep[row] and n in table])
    return peaks[which]
