"""Graphs of published and measured whole networks, and which points a calibration may use."""

from collections.abc import Sequence

from hw_models.tables import Point
from zoo.errors import ZooError
from zoo.graph import Graph
from zoo.registry import FAMILIES, lower, spec_from_dict


def graph_of(point: Point) -> Graph | None:
    """The network of a point, or None where its family is not in the registry."""
    if point.spec.get("family") not in FAMILIES:
        return None
    return lower(spec_from_dict(dict(point.spec), point.network), (point.height, point.width))


def known_graph(point: Point) -> Graph:
    """The network of a point. Raises ZooError where its family is not in the registry."""
    graph = graph_of(point)
    if graph is None:
        raise ZooError(f"{point.network}: family {point.spec.get('family')!r} is not in the registry")
    return graph


def usable(points: Sequence[Point], metric: str) -> list[Point]:
    """Calibration points of a metric whose network is in the registry."""
    return [p for p in points if p.use == "calibration" and p.metric == metric and p.spec.get("family") in FAMILIES]
