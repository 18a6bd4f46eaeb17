"""Exact search: enumerate the space, keep what the limits admit, and return the complete front."""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from hw_models.predictors import predictor
from search.accuracy import SCALES
from search.pareto import nondominated
from search.pricing import Columns, Evaluator, Priced, join
from search.query import DEVICE_METRICS, Bound, DeviceAt, Query
from zoo.errors import ConfigError, NegativeAnswer
from zoo.specs import Spec, as_dict

Progress = Callable[[int, int], None]

PARTS = ("mean", "low", "high")


@dataclass(frozen=True)
class Result:
    """A complete answer: every candidate of the front, best first in the order of the objectives.

    enumerated: valid specs in the space. feasible: those within all limits with the probability asked for.
    """

    query: Query
    enumerated: int
    feasible: int
    columns: Columns
    sample: Columns

    @property
    def specs(self) -> tuple[Spec, ...]:
        """Specs of the front, by rank."""
        return tuple(self.query.space.spec(int(row)) for row in self.columns.rows)

    @property
    def front(self) -> tuple[dict[str, Any], ...]:
        """The front as plain values, by rank: see `entries`."""
        return tuple(entries(self))


def entries(result: "Result") -> Iterator[dict[str, Any]]:
    """The front as plain values, by rank."""
    for i, spec in enumerate(result.specs):
        yield entry(result.query, result.columns, i, spec)


def entry(query: Query, columns: Columns, i: int, spec: Spec) -> dict[str, Any]:
    """One candidate: rank (from 1), spec, miou, counts, and cost; the cost of the first device also on top."""
    devices = [
        {metric: {part: float(columns.devices[d][metric][part][i]) for part in PARTS} for metric in DEVICE_METRICS}
        for d in range(len(query.devices))
    ]
    for one in devices:
        one["fps"] = 1.0 / one["latency_s"]["mean"]  # type: ignore[assignment]
    return {
        "rank": i + 1,
        "spec": as_dict(spec),
        "miou": {part: float(columns.miou[part][i]) for part in PARTS},
        "miou_source": _source(query),
        **{name: int(column[i]) for name, column in columns.counts.items()},
        **devices[0],
        "devices": dict(zip(map(str, query.devices), devices, strict=True)),
    }


def _source(query: Query) -> str:
    """Where mIOU comes from; of other data than the published figures', on which data."""
    return f"predicted ({query.accuracy}{'' if query.accuracy == 'published' else ': ' + SCALES[query.accuracy]})"


class NothingFeasible(NegativeAnswer):
    """No candidate is within all limits; `report` says what binds and what would help."""

    def __init__(self, message: str, report: dict[str, Any]) -> None:
        super().__init__(message)
        self.report = report


def answer(asked: Query, progress: Progress | None = None) -> Result:
    """Search at the clocks asked for; where a clock is left open, at the fastest that admits anything.

    An open clock is the device's default or, if nothing is feasible there, the next slower of its named
    modes: a robot under 2 W runs its GPU slower. `Result.query` says which. Raises NothingFeasible, with
    the report of the default clocks.
    """
    first: NothingFeasible | None = None
    evaluator: Evaluator | None = None
    for query in at_clocks(asked):
        evaluator = evaluator.at(query) if evaluator else Evaluator(query)
        try:
            return search(query, progress, evaluator)
        except NothingFeasible as nothing:
            first = first or nothing
    assert first is not None
    raise first


def at_clocks(asked: Query) -> Iterator[Query]:
    """The query at every combination of open clocks, from the default clocks down."""
    clocks: list[list[float]] = []
    for device in asked.devices:
        found = predictor(device.name, clock_mhz=device.clock_mhz)
        slower = [mhz for mhz in found.device.clocks.modes.values() if mhz < found.clock_mhz]
        clocks.append([found.clock_mhz] if device.clock_mhz else [found.clock_mhz, *sorted(slower, reverse=True)])
    relative = sorted(
        itertools.product(*clocks), key=lambda mhz: -sum(m / c[0] for m, c in zip(mhz, clocks, strict=True))
    )
    for setting in relative:
        devices = (DeviceAt(d.name, mhz) for d, mhz in zip(asked.devices, setting, strict=True))
        yield replace(asked, devices=tuple(devices))


SAMPLE = 1500
"""Feasible candidates kept, spread evenly over the enumeration, to show what the front dominates."""


def search(query: Query, progress: Progress | None = None, evaluator: Evaluator | None = None) -> Result:
    """Enumerate, filter, and keep what nobody dominates. Raises NothingFeasible; ConfigError for an empty space."""
    evaluator = evaluator or Evaluator(query)
    limits = np.array([b.bound for b in query.bounds()])
    enumerated = feasible = done = 0
    parts: list[Columns] = []
    clouds: list[Columns] = []
    nearest = _Nearest(query)
    for rows in query.space.chunks():
        priced = evaluator.price(rows)
        admitted = np.flatnonzero((priced.bounds <= limits).all(axis=1))
        enumerated, feasible = enumerated + len(rows), feasible + len(admitted)
        if len(admitted):
            inside = evaluator.columns(priced, admitted)
            parts.append(inside.take(nondominated(objectives(query, inside))))
            clouds.append(inside.take(np.arange(0, len(admitted), 1 + len(admitted) // SAMPLE)))
        if not feasible:
            nearest.see(priced)
        done = int(rows[-1]) + 1
        if progress:
            progress(done, query.space.combinations)
    if not enumerated:
        raise ConfigError("the space has no valid spec at this size; widen its choices")
    if not feasible:
        raise nearest.error(enumerated, evaluator)
    front = join(parts)
    front = front.take(nondominated(objectives(query, front)))
    points = objectives(query, front)
    front = front.take(np.lexsort(points.T[::-1]))
    cloud = join(clouds)
    return Result(
        query, enumerated, feasible, front, cloud.take(np.arange(0, len(cloud.rows), 1 + len(cloud.rows) // SAMPLE))
    )


def objectives(query: Query, columns: Columns) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Objectives of each row, all to be minimised."""
    return np.stack([sign * columns.metric(name, device) for name, device, sign in query.axes()], axis=1).astype(
        np.float64
    )


class _Nearest:
    """Follows an enumeration to say, if nothing is feasible, what would have to give."""

    def __init__(self, query: Query) -> None:
        self.query = query
        self.bounds = query.bounds()
        self.limits = np.array([b.bound for b in self.bounds])
        self.relaxed = np.full(len(self.bounds), np.inf)
        self.lowest = np.full(len(self.bounds), np.inf)
        self.closest: tuple[float, int, Any] = (np.inf, -1, None)

    def see(self, priced: Priced) -> None:
        if not len(self.bounds):
            return
        values = priced.bounds
        misses = values > self.limits
        self.lowest = np.minimum(self.lowest, values.min(axis=0))
        for i in range(len(self.bounds)):
            others = np.delete(misses, i, axis=1).any(axis=1)
            self.relaxed[i] = min(self.relaxed[i], values[~others, i].min(initial=np.inf))
        excess = (values / self.limits).max(axis=1)
        best = int(excess.argmin())
        if excess[best] < self.closest[0]:
            self.closest = (float(excess[best]), int(priced.rows[best]), values[best])

    def error(self, enumerated: int, evaluator: Evaluator) -> NothingFeasible:
        row = self.closest[1]
        columns = evaluator(np.array([row]))
        spec = self.query.space.spec(row)
        relaxations = [self._relaxation(i, b) for i, b in enumerate(self.bounds)]
        alone = [r for r, low, b in zip(relaxations, self.lowest, self.bounds, strict=True) if low > b.bound]
        binding = alone or [r for r in relaxations if r["smallest_that_helps"] is not None] or relaxations
        report = {
            "enumerated": enumerated,
            "feasible": 0,
            "front": [],
            "binding": [r["limit"] for r in binding],
            "limits": relaxations,
            "nearest": entry(self.query, columns, 0, spec) | {"spec": as_dict(spec)},
        }
        return NothingFeasible(self._sentence(enumerated, binding, relaxations), report)

    def _relaxation(self, i: int, b: Bound) -> dict[str, Any]:
        device = None if b.device is None else str(self.query.devices[b.device])
        helps = b.spell(float(self.relaxed[i])) if np.isfinite(self.relaxed[i]) else None
        return {
            "limit": b.limit,
            "device": device,
            "value": b.spell(b.bound),
            "best_in_space": b.spell(float(self.lowest[i])),
            "nearest_candidate": b.spell(float(self.closest[2][i])),
            "smallest_that_helps": helps,
        }

    def _sentence(self, enumerated: int, binding: list[dict[str, Any]], all_limits: list[dict[str, Any]]) -> str:
        names = ", ".join(sorted({_spelt(r) for r in binding}))
        helps = [
            f"{_option(r)} {r['smallest_that_helps']:.6g}" for r in all_limits if r["smallest_that_helps"] is not None
        ]
        way_out = (
            f"with the other limits as they are, relaxing one to {' or '.join(helps)} would help"
            if helps
            else "no single relaxation helps: at least two limits must give"
        )
        return (
            f"none of {enumerated:,} candidates is within all limits with probability {self.query.confidence:g}: "
            f"{names} binds; {way_out}"
        )


def _option(r: dict[str, Any]) -> str:
    return "--" + str(r["limit"]).replace("_", "-")


def _spelt(r: dict[str, Any]) -> str:
    where = f" on {r['device']}" if r["device"] else ""
    return f"{_option(r)} {r['value']:g}{where} (the best in the space reaches {r['best_in_space']:.4g})"
