"""Lowered and priced chunks of a space: from memory, from the cache, or made on all cores."""

from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from hashlib import sha256
from typing import Any

import numpy as np

from hw_models.device import load_device
from hw_models.pieces import prices_of
from hw_models.predictors import Predictor, predictor
from search.clocks import clocks_of
from search.device_at import DeviceAt
from search.digests import code_digest, folder_digest
from search.forking import can_fork, context, cores
from search.space import SearchSpace, digest
from search.table import Floats, Parts, Table, joined, parts_of, table_from, table_of
from search.table_files import TableFiles
from search.union import Space, SpaceUnion
from zoo.bulk.choices import Ints
from zoo.bulk.lower import BulkLowering
from zoo.graph import Shape

KEPT_ROWS = 1 << 19
"""Candidates whose tables are kept in memory for the next clock; beyond that they are made or read again."""

WORTH = 1 << 12
"""Rows from which a chunk is written to the cache, and lowered on several cores."""


@dataclass
class Entry:
    """A table, and the prices of its pieces by device at a clock."""

    table: Table
    prices: dict[DeviceAt, Floats] = field(default_factory=dict)


class Tables:
    """Tables of one space. Without `files` nothing is read from the cache or written; without `pool` one core works."""

    def __init__(
        self,
        space: SearchSpace,
        files: TableFiles | None = None,
        pool: Executor | None = None,
        predictors: "PredictorsAt | None" = None,
    ) -> None:
        self.space, self._files, self._pool = space, files, pool
        self._lowering = lowering_of(space)
        self._kept: dict[str, Entry] = {}
        self._folders: dict[str, str] = {}
        self.predictors = PredictorsAt() if predictors is None else predictors

    def table(self, rows: Ints, devices: Sequence[DeviceAt] = ()) -> Table:
        """The table of valid combinations; devices: whose prices will be wanted, to find them in the same go."""
        return self._entry(rows, devices).table

    def terms(self, rows: Ints, device: DeviceAt, index: Ints | None = None) -> Floats:
        """Additive terms of the cost of `rows`, or of some of them, on a device at a clock, (N, width)."""
        entry = self._entry(rows, [device])
        if device not in entry.prices:
            entry = self._with_prices(entry, rows, device)
        return entry.table.totals(entry.prices[device], index)

    def _entry(self, rows: Ints, devices: Sequence[DeviceAt]) -> Entry:
        key = sha256(rows.tobytes()).hexdigest()
        return self._kept.get(key) or self._keep(key, self._read(key, len(rows)) or self._made(key, rows, devices))

    def _keep(self, key: str, entry: Entry) -> Entry:
        other_rows = sum(
            len(kept_entry.table.counts["params"]) for name, kept_entry in self._kept.items() if name != key
        )
        if other_rows + len(entry.table.counts["params"]) > KEPT_ROWS:
            self._kept.clear()
        self._kept[key] = entry
        return entry

    def _with_prices(self, entry: Entry, rows: Ints, device: DeviceAt) -> Entry:
        """The entry with prices at another clock or device: from their file, or from the pieces.

        A table that a file or another process gave has no pieces, so that it is made again.
        """
        key, table = sha256(rows.tobytes()).hexdigest(), entry.table
        stored = self._read_prices(key, table, device)
        if stored is not None:
            entry.prices[device] = stored
        elif table.pieces is not None:
            parts = Parts(table.places, table.piece, table.times, table.pieces)
            entry.prices |= priced_pieces(parts, self.predictors.every_clock([device]), self.predictors)
            self._write(key, entry)
        else:
            entry = self._keep(key, self._made(key, rows, [*entry.prices, device]))
        return entry

    def _made(self, key: str, rows: Ints, devices: Sequence[DeviceAt]) -> Entry:
        """Lowered and counted, and priced at every clock of the devices that a search tries."""
        clocked = self.predictors.every_clock(devices)
        if self._pool and len(rows) >= WORTH:
            halves = np.array_split(rows, cores())
            parts_done = list(self._pool.map(_lowered, [self.space] * len(halves), halves, [clocked] * len(halves)))
            parts = joined([part for part, *_ in parts_done])
            counts = {name: np.concatenate([c[name] for _, c, _ in parts_done]) for name in parts_done[0][1]}
            prices = {d: np.concatenate([priced[d] for *_, priced in parts_done]) for d in clocked}
            entry = Entry(table_of(parts, counts), prices)
        else:
            parts, counts = lowered(self._lowering, self.space, rows)
            entry = Entry(table_of(parts, counts))
            entry.prices |= priced_pieces(parts, clocked, self.predictors)
        self._write(key, entry)
        return entry

    def _name(self, key: str) -> str:
        return digest(["table", 1, code_digest(), dict(self.space.describe()), key])

    def _price_name(self, key: str, table: Table, device: DeviceAt) -> str:
        return digest(["prices", self._name(key), table.identity, self._folder(device.name), device.clock_mhz])

    def _folder(self, name: str) -> str:
        if name not in self._folders:
            self._folders[name] = folder_digest(load_device(name).folder)
        return self._folders[name]

    def _read(self, key: str, count: int) -> Entry | None:
        arrays = self._files.read(self._name(key)) if self._files and count >= WORTH else None
        try:
            return Entry(table_from(arrays, count)) if arrays else None
        except (ValueError, KeyError, TypeError):
            return None

    def _read_prices(self, key: str, table: Table, device: DeviceAt) -> Floats | None:
        arrays = self._files.read(self._price_name(key, table, device)) if self._files else None
        prices = (arrays or {}).get("prices")
        shape = (table.size, self.predictors[device].width)
        return prices if prices is not None and prices.dtype == np.float64 and prices.shape == shape else None

    def _write(self, key: str, entry: Entry) -> None:
        if self._files is None or len(entry.table.counts["params"]) < WORTH:
            return
        self._files.write(self._name(key), entry.table.arrays())
        for device, prices in entry.prices.items():
            self._files.write(self._price_name(key, entry.table, device), {"prices": prices})


class UnionTables:
    """Tables of several spaces, each its own; all combinations of a call are of one of them."""

    def __init__(self, space: SpaceUnion, files: TableFiles | None = None, pool: Executor | None = None) -> None:
        self.predictors = PredictorsAt()
        self._space = space
        self._of = [Tables(member, files, pool, self.predictors) for member in space.members]

    def table(self, rows: Ints, devices: Sequence[DeviceAt] = ()) -> Table:
        """The table of valid combinations, as of one space."""
        own = self._space.local(rows)[1]
        return self._of[self._space.place(rows)].table(own, devices)

    def terms(self, rows: Ints, device: DeviceAt, index: Ints | None = None) -> Floats:
        """Additive terms of the cost of `rows`, or of some of them, as of one space."""
        own = self._space.local(rows)[1]
        return self._of[self._space.place(rows)].terms(own, device, index)


def tables_of(space: Space, files: TableFiles | None = None, pool: Executor | None = None) -> "Tables | UnionTables":
    """Tables of one space or of several."""
    return UnionTables(space, files, pool) if isinstance(space, SpaceUnion) else Tables(space, files, pool)


class PredictorsAt(dict[DeviceAt, Predictor]):
    """Predictors of devices at clocks, each made when it is asked for first."""

    def __missing__(self, device: DeviceAt) -> Predictor:
        return self.setdefault(device, predictor(device.name, clock_mhz=device.clock_mhz))

    def every_clock(self, devices: Sequence[DeviceAt]) -> list[DeviceAt]:
        """The devices at their clocks and at all that a search tries, so that a change of clock finds its prices."""
        at_clocks = [DeviceAt(d.name, mhz) for d in devices for mhz in clocks_of(self[d].device)]
        return list(dict.fromkeys([*devices, *at_clocks]))


def lowering_of(space: SearchSpace) -> BulkLowering:
    """A lowering of a space at its size."""
    height, width = space.size
    return BulkLowering(space.choices, Shape(3, height, width))


def lowered(lowering: BulkLowering, space: SearchSpace, rows: Ints) -> tuple[Parts, dict[str, Ints]]:
    """Parts and counts of combinations."""
    bulk = lowering.lower(space.choices.codes(rows))
    memory = bulk.weight_bytes + bulk.peak_activation_bytes
    return parts_of(bulk), {"params": bulk.params, "macs": bulk.macs, "memory_bytes": memory}


def priced_pieces(parts: Parts, devices: Sequence[DeviceAt], predictors: PredictorsAt) -> dict[DeviceAt, Floats]:
    """Prices of the pieces on every device at its clock."""
    out: dict[DeviceAt, Floats] = {}
    for name in dict.fromkeys(device.name for device in devices):
        own = [device for device in devices if device.name == name]
        out |= zip(own, prices_of(parts.pieces, [predictors[device] for device in own]), strict=True)
    return out


@cache
def _of_worker(space: str) -> tuple[list[BulkLowering], PredictorsAt]:
    """What a worker process keeps from one chunk to the next."""
    return [], PredictorsAt()


def _lowered(space: SearchSpace, rows: Ints, devices: Sequence[DeviceAt]) -> tuple[Any, ...]:
    """In a worker process: parts without their layers, counts, prices."""
    lowerings, predictors = _of_worker(space.digest)
    if not lowerings:
        lowerings.append(lowering_of(space))
    parts, counts = lowered(lowerings[0], space, rows)
    bare = Parts(parts.places, parts.piece, parts.times, ((),) * len(parts.pieces))
    return bare, counts, priced_pieces(parts, devices, predictors)


@contextmanager
def lowering_pool() -> Iterator[Executor | None]:
    """Worker processes for `Tables`; None where there is one core or processes cannot be forked."""
    if not can_fork():
        yield None
        return
    with ProcessPoolExecutor(cores(), mp_context=context()) as pool:
        yield pool
