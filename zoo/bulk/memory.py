"""Pieces of lowered networks, shared by many candidates, and the memory that runs of them need."""

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
    """One stage over all rows: the piece that each row runs and how often (0: not at all)."""

    pieces: list[Piece]
    index: Ints
    count: Ints
    owners: Mapping[str, Ints]
    shapes: Mapping[str, Ints]

    def reading(self, name: str) -> Bools:
        """Which rows run a piece that reads a tensor."""
        return np.array([*(name in piece.reads for piece in self.pieces), False])[self.index]

    def writing(self, name: str) -> Bools:
        """Which rows run a piece that names a tensor."""
        return np.array([*(name in piece.writes for piece in self.pieces), False])[self.index]


def peak_bytes_of(steps: Sequence[Step], kept: Mapping[str, Bools], sizes: Ints) -> Ints:
    """Peak activation memory of each row, as `graph.peak_bytes` has it for one network.

    `kept` says which tensors are outputs of which rows; `sizes` are bytes by interned shape, 0 first.
    """
    live = dict(kept)
    peak = np.zeros(len(steps[0].index), dtype=np.int64)
    for step in reversed(steps):
        np.maximum(peak, _peak(step, live, sizes), out=peak)
        live = _live_before(step, live)
    return peak


def _live_before(step: Step, live: Mapping[str, Bools]) -> dict[str, Bools]:
    names = set(live) | {name for piece in step.pieces for name in piece.reads}
    none = np.zeros(len(step.index), dtype=bool)
    return {name: (live.get(name, none) & ~step.writing(name)) | step.reading(name) for name in names}


def _peak(step: Step, live: Mapping[str, Bools], sizes: Ints) -> Ints:
    """Bytes at the worst moment of one step: those of its pieces, and those that only wait meanwhile."""
    out = np.zeros(len(step.index), dtype=np.int64)
    rows = np.flatnonzero(step.index >= 0)
    if not len(rows):
        return out
    # Tensors named before this step, not renamed by it, and read after it.
    beyond = {name: (live[name] & ~step.writing(name))[rows] for name in step.owners if name in live}
    owners = {name: step.owners[name][rows] for name in step.owners}
    entries = sorted({name for piece in step.pieces for name in piece.reads})
    exits = sorted({name for piece in step.pieces for name in piece.writes})
    kept: list[Bools] = []
    entered = {name: np.zeros(len(rows), dtype=bool) for name in beyond}
    for entry in entries:
        read = step.reading(entry)[rows]
        same = {name: read & alive & (owners[name] == owners[entry]) for name, alive in beyond.items()}
        entered = {name: entered[name] | same[name] for name in beyond}
        kept.append(np.any([np.zeros(len(rows), dtype=bool), *same.values()], axis=0))
    kept += [live[name][rows] if name in live else np.zeros(len(rows), dtype=bool) for name in exits]

    waiting = np.zeros(len(rows), dtype=np.int64)
    for name, once in _each_once({n: beyond[n] & ~entered[n] for n in beyond}, owners):
        waiting += np.where(once, sizes[step.shapes[name][rows]], 0)
    out[rows] = waiting + _inside(step, rows, entries, exits, kept)
    return out


def _each_once(alive: Mapping[str, Bools], owners: Mapping[str, Ints]) -> Iterator[tuple[str, Bools]]:
    """The same tensor may go by several names; each row counts it under the first of them."""
    seen: list[str] = []
    for name, rows in alive.items():
        once = rows.copy()
        for other in seen:
            once &= ~(alive[other] & (owners[other] == owners[name]))
        seen.append(name)
        yield name, once


def _inside(step: Step, rows: Ints, entries: list[str], exits: list[str], kept: list[Bools]) -> Ints:
    """Peak of each row's piece, given which of its inputs and named tensors outlive it."""
    index = step.index[rows]
    first, which = distinct([index, *(column.astype(np.int64) for column in kept)], len(rows))
    peaks = np.empty(len(first), dtype=np.int64)
    for i, at in enumerate(first):
        piece = step.pieces[index[at]]
        tables = [piece.reads] * len(entries) + [piece.writes] * len(exits)
        flagged = zip([*entries, *exits], tables, kept, strict=True)
        peaks[i] = peak_bytes(piece.layers, [table[n] for n, table, keep in flagged if keep[at] and n in table])
    return peaks[which]
