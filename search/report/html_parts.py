"""Tables of an HTML report: layers with their kernels, devices with the sources of their numbers."""

from collections.abc import Sequence
from functools import cache
from typing import Any

from hw_models.device import device_folders, load_device
from hw_models.predictors import Cost
from hw_models.validate import validate
from search.query import DEVICE_METRICS
from zoo.graph import Graph

DIGITS = 6
"""Significant digits of what is shown."""


def rounded(value: float, digits: int = DIGITS) -> float | int:
    """A number with so many significant digits; whole numbers stay what they are.

    >>> rounded(0.123456789), rounded(364569)
    (0.123457, 364569)
    """
    if isinstance(value, int) or value == int(value):
        return int(value)
    return float(f"{value:.{digits}g}")


def layers(graph: Graph, costs: Sequence[Cost]) -> list[dict[str, Any]]:
    """Layers in the order of execution, each with its kernel on every device where one starts with it."""
    kernels = [{kernel.name: kernel for kernel in cost.kernels} for cost in costs]
    out = []
    for layer in graph.layers:
        priced = [by_layer.get(layer.name) for by_layer in kernels]
        out.append(
            {
                "name": layer.name,
                "op": layer.kind,
                "in": " + ".join(map(str, layer.in_shapes)),
                "out": str(layer.out_shape),
                "params": layer.params,
                "macs": layer.macs,
                "kernels": [
                    k
                    and {
                        "kind": k.kind,
                        "s": rounded(k.latency_s),
                        "share": rounded(k.share, 4),
                        "bytes": k.bytes,
                        "peak": rounded(k.of_peak, 3),
                        "bandwidth": rounded(k.of_bandwidth, 3),
                        "rests": k.provenance,
                    }
                    for k in priced
                ],
            }
        )
    return out


def shares(cost: Cost) -> dict[str, Any]:
    """What bounds a network, and shares of its device time by what they rest on."""
    return {
        "kernels": len(cost.kernels),
        "host_bound": cost.host_bound,
        "dispatches": cost.dispatches,
        "provenance": {name: rounded(share, 4) for name, share in cost.provenance.items()},
    }


def device(label: str, name: str, clock_mhz: float | None) -> dict[str, Any]:
    """What predictions for a device rest on: its numbers with sources, and how they met published figures."""
    loaded = load_device(name)
    numbers = {
        key: {"value": n.value, "unit": n.unit, "kind": n.kind, "source": n.source} for key, n in loaded.numbers.items()
    }
    return {
        "label": label,
        "name": name,
        "title": loaded.title,
        "stack": loaded.stack,
        "power_covers": loaded.power_covers,
        "power_note": loaded.power_note,
        "clocks": loaded.clocks.source,
        "idle_w": loaded.idle_power(loaded.clock(clock_mhz)),
        "limit_w": loaded.value("power_limit"),
        "numbers": numbers,
        "notes": list(loaded.notes),
        "checked": _checked(name, str(device_folders()[name])),
    }


@cache
def _checked(name: str, _folder: str) -> list[dict[str, Any]]:
    """How predictions met published figures of networks that the model was not fitted to."""
    validation = validate(load_device(name))
    return [
        {
            "metric": metric,
            "points": len(validation.of(metric)),
            "mape": validation.mape(metric),
            "coverage": validation.coverage(metric),
        }
        for metric in DEVICE_METRICS
        if validation.of(metric)
    ]
