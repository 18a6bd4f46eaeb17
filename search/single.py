"""One candidate at a time: lowered and priced on its own, as a second opinion on an enumeration."""

from statistics import NormalDist
from typing import Any

import numpy as np

from search.accuracy.linear import points
from search.alone import counts_of, failure, prices_at
from search.clocks import Setting
from search.exact import PARTS, entry
from search.pricing import Columns, accuracy_of
from search.query import DEVICE_METRICS, Query
from zoo.registry import lower
from zoo.specs import Spec


def single_entry(query: Query, setting: Setting, spec: Spec, rank: int) -> dict[str, Any]:
    """The entry of one candidate, lowered and priced on its own."""
    graph = lower(spec, query.space.size)
    accuracy = np.array([accuracy_of(query).predict_spec(spec, query.confidence)])
    costs = [prices_at(d).finish(prices_at(d).terms(graph.layers), query.confidence) for d in setting]
    columns = Columns(
        np.zeros(1, np.int64),
        np.zeros(1, np.int64),
        {name: np.array([value]) for name, value in counts_of(graph).items()},
        {part: accuracy[:, i] for i, part in enumerate(PARTS)},
        tuple(
            {m: {part: np.array([getattr(cost, f"{m}_{part}")]) for part in PARTS} for m in DEVICE_METRICS}
            for cost in costs
        ),
        np.ones(1, dtype=bool),
    )
    return entry(query, columns, 0, spec, setting) | {"rank": rank}


def single_within(query: Query, setting: Setting, spec: Spec, fastest: Setting) -> bool:
    """Whether one candidate is within the limits: the failures of its limits added up one after the other."""
    least = query.limits.min_miou
    below = 0.0 if least is None else _below(query, spec, least)
    return bool(query.admits(failure(query, setting, fastest, lower(spec, query.space.size), below)))


def _below(query: Query, spec: Spec, miou: float) -> float:
    mean, low, high = (float(points(v)) for v in accuracy_of(query).predict_spec(spec, query.confidence))
    sd = (high - low) / 2 / NormalDist().inv_cdf((1 + query.confidence) / 2)
    return NormalDist(mean, sd).cdf(float(points(miou)))
