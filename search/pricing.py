"""Prices all candidates of a space at once: columns of costs and expected mIOU."""

from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hw_models.predictors import Predictor, predictor
from search.accuracy import AccuracyModel, accuracy_model
from search.query import DEVICE_METRICS, DeviceAt, Query
from zoo.bulk.choices import Ints
from zoo.bulk.lower import Bulk, BulkLowering
from zoo.graph import Shape

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Columns:
    """One row a candidate.

    `rows` are numbers in the space. `counts` has params, macs, weight_bytes, memory_bytes; `miou` (percent)
    and, for each device, latency_s, power_w, energy_j have the parts mean, low, high. `bounds` is the
    value, for each bound of the query, that the metric stays below with the probability asked for.
    """

    rows: Ints
    counts: Mapping[str, Ints]
    miou: Mapping[str, Floats]
    devices: tuple[Mapping[str, Mapping[str, Floats]], ...]
    bounds: Floats

    def metric(self, name: str, device: int | None) -> NDArray[Any]:
        """Point estimates of a metric."""
        if name == "miou":
            return self.miou["mean"]
        return self.counts[name] if device is None else self.devices[device][name]["mean"]

    def take(self, index: NDArray[Any]) -> "Columns":
        """Some of the rows."""
        return Columns(
            self.rows[index],
            {name: column[index] for name, column in self.counts.items()},
            {part: column[index] for part, column in self.miou.items()},
            tuple({m: {p: c[index] for p, c in parts.items()} for m, parts in d.items()} for d in self.devices),
            self.bounds[index],
        )


def join(parts: list[Columns]) -> Columns:
    """Columns one below the other."""
    first = parts[0]
    return Columns(
        np.concatenate([p.rows for p in parts]),
        {name: np.concatenate([p.counts[name] for p in parts]) for name in first.counts},
        {name: np.concatenate([p.miou[name] for p in parts]) for name in first.miou},
        tuple(
            {
                m: {x: np.concatenate([p.devices[i][m][x] for p in parts]) for x in first.devices[i][m]}
                for m in DEVICE_METRICS
            }
            for i in range(len(first.devices))
        ),
        np.concatenate([p.bounds for p in parts]),
    )


@dataclass(frozen=True, slots=True)
class Lowered:
    """What does not depend on the query: lowered candidates, their codes and counts."""

    bulk: Bulk
    codes: Mapping[str, Ints]
    counts: Mapping[str, Ints]


KEPT_ROWS = 1 << 19
"""Candidates whose lowering is kept for the next clock; beyond that they are lowered again, to bound memory."""


class Evaluator:
    """Evaluates candidates of one query; keeps lowered pieces and priced layers between calls."""

    def __init__(self, query: Query) -> None:
        height, width = query.space.size
        self._lowering = BulkLowering(query.space.choices, Shape(3, height, width))
        self.accuracy: AccuracyModel = accuracy_model(query.accuracy)
        self._kept: dict[bytes, Lowered] = {}
        self._prices: dict[DeviceAt, Predictor] = {}
        self.query = query

    @property
    def predictors(self) -> tuple[Predictor, ...]:
        """One for each device of the query."""
        for device in self.query.devices:
            if device not in self._prices:
                self._prices[device] = predictor(device.name, clock_mhz=device.clock_mhz)
        return tuple(self._prices[device] for device in self.query.devices)

    def at(self, query: Query) -> "Evaluator":
        """An evaluator of another query to the same space, which shares all that this one has lowered and priced."""
        other = copy(self)
        other.query = query
        return other

    def lowered(self, rows: Ints) -> Lowered:
        """Lower and count combinations, or find them lowered."""
        key = rows.tobytes()
        found = self._kept.get(key)
        if found is None:
            query = self.query
            codes = query.space.choices.codes(rows)
            bulk = self._lowering.lower(codes)
            counts = {
                "params": bulk.params,
                "macs": bulk.macs,
                "weight_bytes": bulk.weight_bytes,
                "memory_bytes": bulk.weight_bytes + bulk.peak_activation_bytes,
            }
            found = Lowered(bulk, codes, counts)
            if sum(kept.bulk.count for kept in self._kept.values()) + len(rows) <= KEPT_ROWS:
                self._kept[key] = found
        return found

    def price(self, rows: Ints) -> "Priced":
        """What decides whether the valid combinations `rows` are within the limits."""
        query, found = self.query, self.lowered(rows)
        terms = tuple(found.bulk.total(p.terms, width=p.width) for p in self.predictors)
        bounds = [
            found.counts[b.metric].astype(np.float64)
            if b.device is None
            else self.predictors[b.device].quantile(terms[b.device], b.metric, query.probability_each)
            for b in query.bounds()
        ]
        stacked = np.stack(bounds, axis=1) if bounds else np.empty((len(rows), 0))
        return Priced(rows, found, terms, stacked)

    def columns(self, priced: "Priced", index: Ints) -> Columns:
        """Columns of some of the priced combinations."""
        query, found = self.query, priced.lowered
        codes = {name: column[index] for name, column in found.codes.items()}
        accuracy = self.accuracy.predict(query.space.choices, codes, query.confidence)
        costs = [
            one.finish(terms[index], confidence=query.confidence)
            for one, terms in zip(self.predictors, priced.terms, strict=True)
        ]
        return Columns(
            priced.rows[index],
            {name: column[index] for name, column in found.counts.items()},
            {"mean": accuracy.mean, "low": accuracy.low, "high": accuracy.high},
            tuple(
                {
                    metric: {part: getattr(cost, f"{metric}_{part}") for part in ("mean", "low", "high")}
                    for metric in DEVICE_METRICS
                }
                for cost in costs
            ),
            priced.bounds[index],
        )

    def __call__(self, rows: Ints) -> Columns:
        """Columns of the valid combinations `rows`."""
        return self.columns(self.price(rows), np.arange(len(rows)))


@dataclass(frozen=True, slots=True)
class Priced:
    """Lowered candidates with the additive terms of their cost on each device, and their value for each bound."""

    rows: Ints
    lowered: Lowered
    terms: tuple[Floats, ...]
    bounds: Floats
