"""Networks that exist: released and shipped weights within the limits, each at its own size, best first."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from pretrained.manifest import Weights, manifest
from search.accuracy import accuracy_model
from search.alone import counts_of, failure, prices_at
from search.clocks import Setting, settings_of
from search.exact import PARTS
from search.query import DEVICE_METRICS, Query
from zoo.errors import NegativeAnswer, ZooError
from zoo.graph import Graph
from zoo.registry import lower
from zoo.specs import as_dict

COMPARED = ("cityscapes", "camvid")
"""Data sets in the order in which they are listed; the mIOU of one says nothing of another's."""

PREDICTED_ON = "cityscapes"
"""The data set of the mIOU that the published model's prediction can stand beside."""


def with_weights(query: Query) -> list[dict[str, Any]]:
    """Every network with weights that is within the limits, by data set and then by measured mIOU.

    A limit on mIOU holds for the measured one; a network without is left out then. Each is at the fastest of the
    query's clocks that is within the limits. Raises NegativeAnswer where there is none.
    """
    entries = [entry for weights in manifest().weights if (entry := _entry(query, weights))]
    if not entries:
        raise NegativeAnswer(
            f"none of {len(manifest().weights)} networks with weights is within all limits with probability "
            f"{query.confidence:g}; relax a limit, or search untrained ones without --with-weights"
        )
    entries.sort(key=lambda row: (_group(row), -(row["miou"] or {"value": 0.0})["value"], row["params"]))
    return [{"rank": i + 1} | row for i, row in enumerate(entries)]


def _group(entry: dict[str, Any]) -> int:
    data = (entry["miou"] or {}).get("dataset")
    return COMPARED.index(data) if data in COMPARED else len(COMPARED)


def _entry(query: Query, weights: Weights) -> dict[str, Any] | None:
    size = weights.preprocessing.size or query.space.size
    metric = weights.miou
    if query.limits.min_miou is not None and (metric is None or metric.value < query.limits.min_miou):
        return None
    try:
        graph = lower(weights.spec, size)
        setting = next(_fitting(query, graph), None)
    except ZooError:
        return None  # a device has no price for one of its ops, or it is no network for images of this size
    if setting is None:
        return None
    return {
        "name": weights.name,
        "at": [str(device) for device in setting],
        "size": f"{size[1]}x{size[0]}",
        "spec": as_dict(weights.spec),
        "miou": None
        if metric is None
        else {
            "value": metric.value,
            "dataset": metric.dataset,
            "split": metric.split,
            "protocol": metric.protocol,
            "source": metric.source,
        },
        "miou_predicted": _predicted(weights, size, query.confidence),
        **counts_of(graph),
        "devices": {str(at): _cost(graph, at, query.confidence) for at in setting},
        "bundled": weights.bundled,
        "license": weights.source.license,
    }


def _fitting(query: Query, graph: Graph) -> Iterator[Setting]:
    settings = settings_of(query)
    for setting in settings:
        if query.admits(failure(query, setting, settings[0], graph)):
            yield setting


def _cost(graph: Graph, at: Any, confidence: float) -> dict[str, Any]:
    prices = prices_at(at)
    cost = prices.finish(prices.terms(graph.layers), confidence)
    parts = {m: {part: float(getattr(cost, f"{m}_{part}")) for part in PARTS} for m in DEVICE_METRICS}
    return {"clock_mhz": at.clock_mhz, **parts, "fps": float(np.asarray(cost.fps))}


def _predicted(weights: Weights, size: tuple[int, int], confidence: float) -> dict[str, float] | None:
    if weights.miou is None or weights.miou.dataset != PREDICTED_ON:
        return None
    try:
        values = accuracy_model("published", size).predict_spec(weights.spec, confidence)
    except ZooError:
        return None
    return dict(zip(PARTS, values, strict=True))
