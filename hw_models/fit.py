"""Whether a network fits a device within limits: by how much, and with what probability."""

from collections.abc import Mapping
from dataclasses import dataclass

from hw_models.cost import Cost
from hw_models.device import Device
from hw_models.predictors import Predictor, predict, predictor
from zoo.config import Limits
from zoo.graph import Graph, MaxUnpool
from zoo.quantities import LIMITED, LIMITS

JETPACK_4 = frozenset({"nano", "xavier-nx", "agx-xavier", "tx2-tensorrt", "tx2-tensorrt-fp32"})
"""Devices that JetPack 4 runs on: 4.6 has TensorRT 8.0.1, 4.6.1 and later 8.2.1 (gist Tiryoh 2b5dc1f8)."""


@dataclass(frozen=True, slots=True)
class Margin:
    """A limit beside the value that is predicted or counted, in the limit's unit.

    ratio: value over limit, or limit over value of a frame rate, so that at most 1 is within. probability: that the
    limit holds.
    """

    value: float
    limit: float
    ratio: float
    probability: float


@dataclass(frozen=True, slots=True)
class Fitting:
    """Whether a network fits. probability: that all limits hold together, at least (Bonferroni's inequality).

    unsupported: what the runtime cannot run. needs: what it runs from some version on.
    """

    fits: bool
    probability: float
    margins: Mapping[str, Margin]
    unsupported: tuple[str, ...]
    needs: tuple[str, ...]
    cost: Cost


def fitting(
    graph: Graph, device: Device, limits: Limits, clock_mhz: float | None = None, confidence: float = 0.9
) -> Fitting:
    """Hold a network against limits on a device; it fits where all hold with probability `confidence`.

    Raises DeviceError for a clock outside the device's range.
    """
    cost = predict(graph, device, clock_mhz, confidence=confidence)
    prices = predictor(device, clock_mhz)
    margins = {name: _margin(name, value, graph, cost, prices) for name, value in limits.given()}
    missing = unsupported(graph, device)
    probability = max(0.0, 1.0 - sum(1.0 - p for p in _by_metric(margins)))
    return Fitting(probability >= confidence and not missing, probability, margins, missing, needs(graph, device), cost)


def unsupported(graph: Graph, device: Device) -> tuple[str, ...]:
    """What the device's runtime cannot run in any version, one sentence each."""
    unpooling = _first_unpooling(graph)
    if unpooling and device.stack == "tflite":
        return (f"{unpooling}: TensorFlow Lite has no unpooling by positions",)
    return ()


def needs(graph: Graph, device: Device) -> tuple[str, ...]:
    """What the device's runtime runs only from some version on, one sentence each.

    ONNX-TensorRT's changelog (onnx/onnx-tensorrt, docs/Changelog.md): ScatterElements, which an unpooling is exported
    as, came with TensorRT 8.2 EA.
    """
    unpooling = _first_unpooling(graph)
    if unpooling and device.stack == "tensorrt" and device.name in JETPACK_4:
        return (f"{unpooling}: ScatterElements needs TensorRT 8.2: JetPack 4.6.1 or later",)
    return ()


def _first_unpooling(graph: Graph) -> str | None:
    return next((layer.name for layer in graph.layers if isinstance(layer.op, MaxUnpool)), None)


def _margin(name: str, limit: float, graph: Graph, cost: Cost, prices: Predictor) -> Margin:
    quantity, rule = LIMITED[name], LIMITS[name]
    if quantity.kind == "counted":
        value = rule.own(_counted(quantity.key, graph, cost))
        return Margin(value, limit, value / limit, float(value <= limit))
    value, bound = getattr(cost, quantity.key).mean, rule.si(limit)
    return Margin(rule.own(value), limit, value / bound, _probability(prices, graph, quantity.key, bound))


def _counted(key: str, graph: Graph, cost: Cost) -> float:
    return float(cost.memory_bytes if key == "memory_bytes" else getattr(graph, key))


def _probability(prices: Predictor, graph: Graph, metric: str, bound: float) -> float:
    """Probability that a metric stays below a bound."""
    return 1.0 - float(prices.exceeding(prices.terms(graph.layers), metric, bound))


def _by_metric(margins: Mapping[str, Margin]) -> list[float]:
    """The smallest probability of each metric: two limits on one are no two chances to fail."""
    least: dict[str, float] = {}
    for name, margin in margins.items():
        metric = LIMITED[name].key
        least[metric] = min(margin.probability, least.get(metric, 1.0))
    return list(least.values())
