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
    """A predictor for a device, by name or loaded. Raises DeviceError for a clock outside its range."""
    found = load_device(device) if isinstance(device, str) else device
    if isinstance(batch, bool) or not isinstance(batch, int) or not 1 <= batch <= 4096:
        raise DeviceError(f"batch must be a whole number from 1 to 4096, but is {batch!r}")
    kind = MeasuredPredictor if is_measured(found) else Predictor
    if found.machine is None:
        return kind(found, found.clock(clock_mhz), batch)
    # What was read of others' machines is no measurement of this one.
    published = replace(found.published, look_up=False)
    return CalibratedPredictor(found, kind(published, found.clock(clock_mhz), batch))


def memory_bytes(graph: Graph, device: Device, batch: int = 1) -> int:
    """Weights and the largest sum of live activations in the device's precision."""
    values = (graph.weight_bytes + batch * graph.peak_activation_bytes) // BYTES_PER_VALUE
    return values * value_bytes(device.stack, device.precision)


def readings_of(prices: Predictor, terms: NDArray[np.float64]) -> tuple[dict[str, str], dict[str, float]]:
    """What was read of one network with these terms: `readings` and `unread` as in `Cost`, by metric."""
    readings = {m: known.source for m in READ if (known := prices.read(terms, m))}
    return readings, {m: prices.unread(terms, m) for m in READ}


def reading_basis(prices: Predictor, terms: NDArray[np.float64]) -> dict[str, dict[str, Any]]:
    """What published readings say of one network with these terms, as plain values for JSON.

    read: by metric, the source of what was read of the network itself. inherited: by metric, the part of what the
    model is off by that readings of it at other clocks, or of networks like it, are taken to tell; small parts are
    left out.
    """
    readings, unread = readings_of(prices, terms)
    alike = {m: round(1 - part, 2) for m, part in unread.items() if m not in readings and part < BARELY_READ}
    return {"read": readings, "inherited": alike}


def predict(
    graph: Graph | Spec | str,
    device: str | Device = "tx2",
    clock_mhz: float | None = None,
    batch: int = 1,
    confidence: float = 0.9,
    size: tuple[int, int] = (512, 1024),
) -> Cost:
    """Predicted cost of a network on a device, with intervals of the given confidence.

    A spec, or a name of zoo.yaml, is lowered for images of `size` = (height, width); a graph has its own. Raises
    PriceError for an op without a price, DeviceError for an unknown device or a clock outside its range.
    """
    if not isinstance(graph, Graph):
        graph = lower(load_config().model(graph).spec if isinstance(graph, str) else graph, size)
    prices = predictor(device, clock_mhz, batch)
    terms = prices.terms(graph.layers)
    readings, unread = readings_of(prices, terms)
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
        readings=readings,
        unread=unread,
    )
