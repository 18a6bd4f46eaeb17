"""Chooses a device's predictor; predicts the cost of one network."""

from dataclasses import fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hw_models.analytic.features import DISPATCHES
from hw_models.analytic.predictor import Predictor
from hw_models.calibrated_predictor import CalibratedPredictor
from hw_models.cost import BARELY_READ, METRICS, Cost, CostArrays, Interval, KernelCost
from hw_models.device import Device, DeviceError, load_device
from hw_models.kernels import value_bytes
from hw_models.measured.predictor import MeasuredPredictor, is_measured
from hw_models.tables import METRICS as READ
from zoo.config import load_config
from zoo.graph import BYTES_PER_VALUE, Graph
from zoo.registry import lower
from zoo.specs import Spec

__all__ = ["Cost", "CostArrays", "Interval", "KernelCost", "Predictor", "predict", "predictor"]


def predictor(device: str | Device, clock_mhz: float | None = None, batch: int = 1) -> Predictor:
    """A predictor of costs on a device at one clock and batch; `predict` makes one for each call.

    Args:
        device: a name (`zoo device list`), or a loaded device.
        clock_mhz: of the device; its default clock if None.
        batch: images at a time, from 1 to 4096.

    Returns:
        The predictor: `terms(layers)` are additive over layers, and `finish(terms, confidence)` makes costs of them.

    Raises:
        DeviceError: the device is unknown, or the clock or the batch is outside its range.

    >>> from zoo import lower
    >>> prices = predictor("tx2", clock_mhz=850)
    >>> costs = prices.finish(prices.terms(lower("espnet-c").layers))
    >>> float(costs.latency_s_mean) == predict("espnet-c", "tx2", 850).latency_s.mean
    True
    """
    loaded = load_device(device) if isinstance(device, str) else device
    if isinstance(batch, bool) or not isinstance(batch, int) or not 1 <= batch <= 4096:
        raise DeviceError(f"batch must be a whole number from 1 to 4096, but is {batch!r}")
    kind = MeasuredPredictor if is_measured(loaded) else Predictor
    if loaded.machine is None:
        return kind(loaded, loaded.clock(clock_mhz), batch)
    # What was read of others' machines is no measurement of this one.
    published = replace(loaded.published, look_up=False)
    return CalibratedPredictor(loaded, kind(published, loaded.clock(clock_mhz), batch))


def memory_bytes(graph: Graph, device: Device, batch: int = 1) -> int:
    """Weights and the largest sum of live activations in the device's precision."""
    values = (graph.weight_bytes + batch * graph.peak_activation_bytes) // BYTES_PER_VALUE
    return values * value_bytes(device.stack, device.precision)


def reading_basis(prices: Predictor, terms: NDArray[np.float64]) -> dict[str, dict[str, Any]]:
    """What published readings say of one network with these terms, as plain values for JSON.

    read: by metric, the source of what was read of the network itself. inherited: by metric, the part of what the
    model is off by that readings of it at other clocks, or of networks like it, are taken to tell; small parts are
    left out.
    """
    read = {m: known_reading.source for m in READ if (known_reading := prices.read(terms, m))}
    unread = {m: prices.unread(terms, m) for m in READ if m not in read}
    return {"read": read, "inherited": {m: round(1 - part, 2) for m, part in unread.items() if part < BARELY_READ}}


def predict(
    graph: Graph | Spec | str,
    device: str | Device = "tx2",
    clock_mhz: float | None = None,
    batch: int = 1,
    confidence: float = 0.9,
    size: tuple[int, int] = (512, 1024),
) -> Cost:
    """Predicted cost of a network on a device: latency, power, energy and memory.

    Args:
        graph: a graph; or a spec or a name of zoo.yaml, which is lowered for images of `size`.
        device: a name (`zoo device list`), or a loaded device.
        clock_mhz: of the device; its default clock if None.
        batch: images at a time; latency, power and energy are the whole batch's.
        confidence: probability with which each interval holds the true value, between 0 and 1.
        size: (height, width) in pixels; a graph has its own.

    Returns:
        The cost in SI units, each prediction with its interval and what it rests on.

    Raises:
        PriceError: an op has no price on the device.
        DeviceError: the device is unknown, or the clock or the batch is outside its range.

    >>> cost = predict("espnet-c", "tx2", clock_mhz=850)
    >>> cost.latency_s.low < cost.latency_s.mean < cost.latency_s.high
    True
    >>> wide = predict("espnet-c", "tx2", clock_mhz=850, confidence=0.99)
    >>> wide.latency_s.high > cost.latency_s.high
    True
    """
    if not isinstance(graph, Graph):
        graph = lower(load_config().model(graph).spec if isinstance(graph, str) else graph, size)
    prices = predictor(device, clock_mhz, batch)
    terms = prices.terms(graph.layers)
    arrays = prices.finish(terms, confidence)
    values = {field.name: float(getattr(arrays, field.name)) for field in fields(arrays)}
    intervals = {name: Interval(*(values[f"{name}_{part}"] for part in ("mean", "low", "high"))) for name in METRICS}
    return Cost(
        device=prices.device.name,
        clock_mhz=prices.clock_mhz,
        batch=batch,
        confidence=confidence,
        **intervals,
        fps=values["fps"],
        memory_bytes=memory_bytes(graph, prices.device, batch),
        provenance=prices.provenance(terms),
        kernels=prices.kernel_costs(graph.layers),
        host_bound=prices.host_bound(terms),
        dispatches=float(terms[DISPATCHES]),
        readings={m: known_reading.source for m in READ if (known_reading := prices.read(terms, m))},
        unread={m: prices.unread(terms, m) for m in READ},
    )
