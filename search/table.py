"""A space in the form in which it is quick to price and small enough to keep: rows as sums over few parts.

A part is a piece of a network (see `zoo.bulk`), run some number of times. A row has one part in each stage. Stages
are put together to groups while few combinations of their parts occur, so that a row is a sum over some groups
and not over all stages. What does not depend on a device is in a `Table`; prices of its pieces are an array.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zoo.bulk.choices import Ints
from zoo.bulk.lower import Bulk
from zoo.graph import Layer

Floats = NDArray[np.float64]
Places = NDArray[np.int32]

COUNTED = ("params", "macs", "memory_bytes")
"""What a table holds of each row; bytes of weights follow from the parameters."""

FEW = 1 << 12
"""Combinations of parts up to which stages are always put together; beyond, up to a sixteenth of the rows."""

BLOCK = 1 << 12
"""Rows summed at once, so that they stay in the cache from one group to the next."""

Piece = tuple[Layer, ...]


@dataclass(frozen=True)
class Parts:
    """Rows by stage. places (S, N): the part in each stage; piece, times (P,): what a part is, and how often."""

    places: Places
    piece: Ints
    times: Ints
    pieces: tuple[Piece, ...]

    @property
    def count(self) -> int:
        """Rows."""
        return int(self.places.shape[1])


def parts_of(bulk: Bulk) -> Parts:
    """The parts of lowered candidates; each piece that some row runs is there once."""
    pieces: list[Piece] = []
    places, piece, times = [], [], []
    first = 0
    for step in bulk.steps:
        most = int(step.count.max(initial=0)) + 1
        key = (step.index + 1) * most + step.count
        used = np.flatnonzero(np.bincount(key))
        renumbered = np.zeros(int(used[-1]) + 1, dtype=np.int32)
        renumbered[used] = np.arange(first, first + len(used))
        places.append(renumbered[key])
        first += len(used)
        own, number = np.unique(used // most, return_inverse=True)
        piece.append(len(pieces) + number)
        pieces += [step.pieces[i - 1].layers if i else () for i in own.tolist()]
        times.append(used % most)
    return Parts(np.stack(places), np.concatenate(piece), np.concatenate(times), tuple(pieces))


def joined(tables: Sequence[Parts]) -> Parts:
    """Rows one after the other; each keeps its own pieces."""
    parts = np.cumsum([0, *(len(p.piece) for p in tables)])
    pieces = np.cumsum([0, *(len(p.pieces) for p in tables)])
    return Parts(
        np.concatenate([p.places + np.int32(first) for p, first in zip(tables, parts, strict=False)], axis=1),
        np.concatenate([p.piece + first for p, first in zip(tables, pieces, strict=False)]),
        np.concatenate([p.times for p in tables]),
        tuple(piece for p in tables for piece in p.pieces),
    )


@dataclass(frozen=True)
class Table:
    """N rows of a space, counted, as sums over groups of parts.

    counts: params, macs, memory_bytes, each (N,). places (G, N): the combination that each row has in each group.
    members (G, C, S): the parts of each combination, -1 where a group has fewer. piece, times (P,): what a part is.
    pieces: their layers, by place, None where the table was read from a file.
    """

    counts: Mapping[str, Ints]
    places: Places
    members: Places
    piece: Ints
    times: Ints
    size: int
    pieces: tuple[Piece, ...] | None = None

    def totals(self, prices: Floats, index: Ints | None = None) -> Floats:
        """Sums over the pieces of each row, (N, width), or of some rows; prices: of each piece, (pieces, width)."""
        parts = np.zeros((len(self.piece) + 1, prices.shape[1]))
        np.multiply(prices[self.piece], self.times[:, None], out=parts[:-1])
        groups = [parts[members].sum(axis=1) for members in self.members]
        places = self.places if index is None else self.places[:, index]
        out = np.empty((places.shape[1], prices.shape[1]))
        for start in range(0, len(out), BLOCK):
            rows = slice(start, start + BLOCK)
            np.take(groups[0], places[0, rows], axis=0, out=out[rows])
            for group, place in zip(groups[1:], places[1:], strict=True):
                out[rows] += group[place[rows]]
        return out

    @cached_property
    def identity(self) -> str:
        """SHA-256 of how rows are made of pieces: prices of pieces belong to one numbering of them."""
        whole = sha256()
        for array in (self.places, self.members, self.piece, self.times):
            whole.update(np.ascontiguousarray(array).data)
        return whole.hexdigest()

    def arrays(self) -> dict[str, NDArray[Any]]:
        """What a file holds of the table."""
        return {
            **{name: self.counts[name] for name in COUNTED},
            "places": self.places,
            "members": self.members,
            "piece": self.piece,
            "times": self.times,
            "size": np.array(self.size),
        }


def table_of(parts: Parts, counts: Mapping[str, Ints]) -> Table:
    """The table of counted rows."""
    places, members = _grouped(parts.places)
    return Table(counts, places, members, parts.piece, parts.times, len(parts.pieces), parts.pieces)


def table_from(arrays: Mapping[str, NDArray[Any]], count: int) -> Table:
    """The table of `count` rows that `Table.arrays` wrote. Raises ValueError, KeyError, TypeError for anything else."""
    ints = {name: arrays[name] for name in (*COUNTED, "piece", "times", "size")}
    places, members = arrays["places"], arrays["members"]
    size = int(ints["size"])
    _check(all(a.dtype == np.int64 for a in ints.values()), "dtype")
    _check(places.dtype == np.int32 and members.dtype == np.int32, "dtype")
    _check(all(ints[name].shape == (count,) for name in COUNTED), "shape")
    _check(places.ndim == 2 and members.ndim == 3 and places.shape == (len(members), count), "shape")
    _check(ints["piece"].ndim == 1 and ints["piece"].shape == ints["times"].shape, "shape")
    _check(_below(places, members.shape[1]) and _below(members, len(ints["piece"]), -1), "range")
    _check(_below(ints["piece"], size) and bool((ints["times"] >= 0).all()), "range")
    return Table({name: ints[name] for name in COUNTED}, places, members, ints["piece"], ints["times"], size)


def _check(holds: bool, message: str) -> None:
    if not holds:
        raise ValueError(message)


def _below(values: NDArray[Any], bound: int, least: int = 0) -> bool:
    return not values.size or bool(values.min() >= least and values.max() < bound)


def _grouped(stages: Places) -> tuple[Places, Places]:
    """Stages (S, N) put together: places (G, N), members (G, C, S)."""
    most = max(FEW, stages.shape[1] // 16)
    groups: list[tuple[NDArray[Any], Places]] = []
    for stage in stages:
        if groups:
            place, members = groups[-1]
            key, group_of = _renumbered(place.astype(np.int64) * (int(stage.max(initial=0)) + 1) + stage)
            if len(key) <= most:
                width = int(stage.max(initial=0)) + 1
                groups[-1] = (group_of, np.concatenate([members[key // width], (key % width)[:, None]], axis=1))
                continue
        key, group_of = _renumbered(stage)
        groups.append((group_of, key[:, None]))
    shape = (len(groups), max(len(m) for _, m in groups), max(m.shape[1] for _, m in groups))
    members = np.full(shape, -1, dtype=np.int32)
    for group, (_, own) in zip(members, groups, strict=True):
        group[: len(own), : own.shape[1]] = own
    return np.stack([place for place, _ in groups]).astype(np.int32), members


def _renumbered(keys: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """The distinct keys, ascending, and the place of each row's among them."""
    span = int(keys.max(initial=0)) + 1
    if span > 64 * len(keys) + FEW:
        distinct, place = np.unique(keys, return_inverse=True)
        return distinct, place.ravel()
    present = np.zeros(span, dtype=bool)
    present[keys] = True
    return np.flatnonzero(present), (np.cumsum(present, dtype=np.int32) - 1)[keys]
