"""Cost of a network on a device: latency, power, energy, memory, each with an interval."""

from hw_models.device import Device, load_device
from hw_models.predictors import Cost, CostArrays, Interval, KernelCost, Predictor, predict, predictor
from zoo.moved import install as _install

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
