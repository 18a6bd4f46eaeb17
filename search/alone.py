"""One network at a time: lowered and priced alone, and against the limits of a query. No space, no vectors.

What an enumeration finds in bulk is checked against this.
"""

from collections.abc import Sequence
from functools import lru_cache
from statistics import NormalDist
from typing import Any

import numpy as np

from hw_models.predictors import Predictor, predictor
from search.accuracy.linear import points
from search.clocks import Setting
from search.device_at import DeviceAt
from search.exact import PARTS, entry
from search.pricing import Columns, accuracy_of
from search.query import DEVICE_METRICS, Bound, Query
from zoo.graph import Graph
from zoo.registry import lower
from zoo.specs import Spec


@lru_cache(maxsize=64)
def prices_at(device: DeviceAt) -> Predictor:
    """A predictor of its own: nothing is shared with an enumeration."""
    return predictor(device.name, clock_mhz=device.clock_mhz)


def counts_of(graph: Graph) -> dict[str, int]:
    """What is counted of a network, in the order of an entry."""
    return {
        "params": graph.params,
        "macs": graph.macs,
        "weight_bytes": graph.weight_bytes,
        "memory_bytes": graph.weight_bytes + graph.peak_activation_bytes,
    }


def failure(query: Query, setting: Setting, fastest: Setting, graph: Graph, below_miou: float = 0.0) -> float:
    """The failures of a query's limits added up for one network (`Query.failure`).

    below_miou: probability that its mIOU is below the limit. A latency is passed with no less probability than
    at the fastest setting.
    """
    chances = [below_miou if b.metric == "miou" else _chance(b, setting, fastest, graph) for b in query.bounds()]
    return float(query.failure(chances))


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


def _chance(bound: Bound, setting: Setting, fastest: Setting, graph: Graph) -> float:
    if bound.device is None:
        return float(counts_of(graph)[bound.metric] > bound.bound)
    clocks: Sequence[DeviceAt] = [setting[bound.device]]
    if bound.metric == "latency_s":
        clocks = [*clocks, fastest[bound.device]]
    priced = [(prices_at(at), prices_at(at).terms(graph.layers)) for at in clocks]
    return max(float(prices.exceeding(terms, bound.metric, bound.bound)) for prices, terms in priced)
