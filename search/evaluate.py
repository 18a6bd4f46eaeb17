"""What every candidate of a space costs and is expected to score: columns of numbers, computed at once."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hw_models.predict import Predictor, predictor
from search.accuracy import AccuracyModel, accuracy_model
from search.query import DEVICE_METRICS, Query
from zoo.bulk import BulkLowering
from zoo.choices import Ints
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


class Evaluator:
    """Evaluates candidates of one query; keeps lowered pieces and priced layers between calls."""

    def __init__(self, query: Query) -> None:
        self.query = query
        height, width = query.space.size
        self.lowering = BulkLowering(query.space.choices, Shape(3, height, width))
        self.predictors: tuple[Predictor, ...] = tuple(predictor(d.name, clock_mhz=d.clock_mhz) for d in query.devices)
        self.accuracy: AccuracyModel = accuracy_model(query.accuracy)

    def __call__(self, rows: Ints) -> Columns:
        """Columns of the valid combinations `rows`."""
        query = self.query
        codes = query.space.choices.codes(rows)
        bulk = self.lowering.lower(codes)
        counts = {
            "params": bulk.params,
            "macs": bulk.macs,
            "weight_bytes": bulk.weight_bytes,
            "memory_bytes": bulk.weight_bytes + bulk.peak_activation_bytes,
        }
        accuracy = self.accuracy.predict(query.space.choices, codes, query.confidence)
        miou = {"mean": accuracy.mean, "low": accuracy.low, "high": accuracy.high}
        terms = [bulk.total(p.terms, width=p.width) for p in self.predictors]
        devices = []
        for one, sums in zip(self.predictors, terms, strict=True):
            cost = one.finish(sums, confidence=query.confidence)
            devices.append(
                {
                    metric: {part: getattr(cost, f"{metric}_{part}") for part in ("mean", "low", "high")}
                    for metric in DEVICE_METRICS
                }
            )
        bounds = [
            counts[b.metric].astype(np.float64)
            if b.device is None
            else self.predictors[b.device].quantile(terms[b.device], b.metric, query.probability_each)
            for b in query.bounds()
        ]
        stacked = np.stack(bounds, axis=1) if bounds else np.empty((len(rows), 0))
        return Columns(rows, counts, miou, tuple(devices), stacked)
