"""One network at a time against the limits of a query: no space, no vectors."""

from collections.abc import Sequence
from functools import lru_cache

from hw_models.predictors import Predictor, predictor
from search.clocks import Setting
from search.device_at import DeviceAt
from search.query import Bound, Query
from zoo.graph import Graph


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


def _chance(bound: Bound, setting: Setting, fastest: Setting, graph: Graph) -> float:
    if bound.device is None:
        return float(counts_of(graph)[bound.metric] > bound.bound)
    clocks: Sequence[DeviceAt] = [setting[bound.device]]
    if bound.metric == "latency_s":
        clocks = [*clocks, fastest[bound.device]]
    found = [(prices_at(at), prices_at(at).terms(graph.layers)) for at in clocks]
    return max(float(prices.exceeding(terms, bound.metric, bound.bound)) for prices, terms in found)
