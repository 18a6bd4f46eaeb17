"""Graphs of published and measured whole networks, and which points a calibration may use."""

import json
from collections.abc import Sequence
from functools import lru_cache

from hw_models.tables import Point
from zoo.errors import ZooError
from zoo.graph import Graph
from zoo.registry import FAMILIES, lower, spec_from_dict


def graph_of(point: Point) -> Graph | None:
    """The network of a point, or None where its family is not in the registry."""
    if point.spec.get("family") not in FAMILIES:
        return None
    return _lowered(json.dumps(point.spec, sort_keys=True), point.network, (point.height, point.width))


@lru_cache(maxsize=256)
def _lowered(spec: str, network: str, size: tuple[int, int]) -> Graph:
    # A fit that leaves networks out asks for the same graphs again and again.
    return lower(spec_from_dict(json.loads(spec), network), size)


def known_graph(point: Point) -> Graph:
    """The network of a point. Raises ZooError where its family is not in the registry."""
    graph = graph_of(point)
    if graph is None:
        raise ZooError(f"{point.network}: family {point.spec.get('family')!r} is not in the registry")
    return graph


def usable(points: Sequence[Point], metric: str) -> list[Point]:
    """Calibration points of a metric whose network is in the registry."""
    return [p for p in points if p.use == "calibration" and p.metric == metric and p.spec.get("family") in FAMILIES]
