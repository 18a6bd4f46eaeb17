"""Whether a device folder that came from elsewhere makes sense: checks beyond those of its schema."""

from collections.abc import Mapping

import numpy as np

from hw_models.device import Device, DeviceError, device_folders, load_device
from hw_models.schema import Number

TOLERANCE = 0.02
"""Relative distance from the range of clocks up to which a point's clock lies in it."""


def check_sense(device: Device) -> None:
    """Raise DeviceError for points outside the clocks, and for numbers that are another device's."""
    for point in device.points:
        low, high = device.clocks.low_mhz * (1 - TOLERANCE), device.clocks.high_mhz * (1 + TOLERANCE)
        if not low <= point.clock_mhz <= high:
            raise DeviceError(
                f"{device.folder}: the point of {point.network} at {point.clock_mhz:g} MHz is outside the clocks "
                f"{device.clocks.low_mhz:g} to {device.clocks.high_mhz:g} MHz; widen the range, or remove the point"
            )
    for name in device_folders():
        _refuse_copied(device, load_device(name))


def _refuse_copied(device: Device, other: Device) -> None:
    """Raise DeviceError where a device with another title has the measured or fitted numbers of a known one."""
    if device.title == other.title:
        return
    equal_parts = [
        part
        for part, equal in (
            ("numbers", _values(device.numbers) == _values(other.numbers)),
            ("latency coefficients", np.array_equal(device.latency.theta, other.latency.theta)),
        )
        if equal
    ]
    if equal_parts:
        raise DeviceError(
            f"{device.folder}: {device.title!r} has the {' and '.join(equal_parts)} "
            f"of device {other.name} ({other.title}); "
            "give its own, or calibrate that device with your measurements (zoo device calibrate)"
        )


def _values(numbers: Mapping[str, Number]) -> dict[str, float]:
    return {name: number.value for name, number in numbers.items() if name != "frame_overhead"}
