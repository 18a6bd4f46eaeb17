"""Cost of a network on a device: latency, power, energy, memory, each with an interval."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from zoo.moved import install as _install

if TYPE_CHECKING:
    from hw_models.device import Device, load_device
    from hw_models.predictors import Cost, CostArrays, Interval, KernelCost, Predictor, predict, predictor

_install()

__all__ = [
    "Cost",
    "CostArrays",
    "Device",
    "Interval",
    "KernelCost",
    "Predictor",
    "load_device",
    "predict",
    "predictor",
]


def __getattr__(name: str) -> Any:
    """A public name, whose module is imported with its first use: a name of a device does not need numpy."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = "device" if name in ("Device", "load_device") else "predictors"
    return getattr(import_module(f"hw_models.{module}"), name)
