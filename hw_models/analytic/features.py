"""Features of a network: additive statistics of its layers, from which latency and power are computed.

    T = max(sum of kernel times, operations · dispatch) + overhead

The maximum is a smooth one (p-norm, p = 8), because a queue that is nearly empty stalls now and then.
Power is idle power and x, the energy of arithmetic, bytes and busy time over T, bent so that it nears the
power limit but does not pass it, as a device does that lowers its clock for that:

    P = idle + x / sqrt(1 + (x / (limit - idle))^2)

A kernel of t seconds is busy for t · t / (t + ramp) of them: a short one ends before it has filled the device.
"""

from collections.abc import Sequence
from math import log, sqrt

import numpy as np
from numpy.typing import NDArray

from hw_models.analytic.roofline import INDEX, WIDTH
from hw_models.device import Device
from hw_models.tables import PROVENANCES

Array = NDArray[np.float64]

SMOOTH = 8.0
"""Exponent of the smooth maximum of device time and host time."""

DEVICE, DISPATCHES, VARIANCE, MACS, BYTES, BUSY, BUSY_SLOPE = range(7)
"""Places of the additive terms: device time in s, operations, variance of the device time by kernels in
s², MACs, bytes, busy time in s and its derivative by the logarithm of `ramp`; after them GRADIENT and RESTS."""
GRADIENT = slice(7, 7 + WIDTH)
"""Derivatives of the device time by the logarithms of the parameters, in s."""
RESTS = slice(GRADIENT.stop, GRADIENT.stop + len(PROVENANCES))
"""Device time by provenance, in s."""
TERMS = RESTS.stop
"""Number of additive terms of a network."""


def latency_gradient(terms: Array, theta: Sequence[float], overhead_s: float) -> tuple[Array, Array, Array]:
    """Gradient of the time by the logarithms of the parameters, the time, the variance by kernels.

    Shapes (..., parameters), (...), (...); times in seconds, the variance in seconds squared.
    """
    device = terms[..., DEVICE]
    host = terms[..., DISPATCHES] * np.exp(theta[INDEX["dispatch"]])
    larger = np.maximum(np.maximum(device, host), 1e-12)
    norm = larger * ((device / larger) ** SMOOTH + (host / larger) ** SMOOTH) ** (1 / SMOOTH)
    by_device, by_host = (device / norm) ** (SMOOTH - 1), (host / norm) ** (SMOOTH - 1)
    gradient = terms[..., GRADIENT] * by_device[..., None]
    gradient[..., INDEX["dispatch"]] += by_host * host
    return gradient, norm + overhead_s, terms[..., VARIANCE] * by_device**2


def power_gradient(terms: Array, latency: Array, device: Device, clock_mhz: float) -> tuple[Array, Array]:
    """Dynamic power in W, and its gradient by the logarithms of the power parameters."""
    per_mac, per_byte, active, _, exponent = np.exp(device.power.theta)
    ratio = clock_mhz / device.clocks.default_mhz
    scale = ratio**exponent
    parts = np.stack(
        [
            scale * per_mac * terms[..., MACS] / latency,
            scale * per_byte * terms[..., BYTES] / latency,
            scale * ratio * active * terms[..., BUSY] / latency,
            scale * ratio * active * terms[..., BUSY_SLOPE] / latency,
            np.zeros_like(latency),
        ],
        axis=-1,
    )
    straight = parts[..., :3].sum(axis=-1)
    parts[..., 4] = straight * exponent * log(ratio)
    dynamic, slope = bent(straight, device.value("power_limit") - device.idle_power(clock_mhz))
    return dynamic, parts * slope[..., None]


def busy(seconds: Array, ramp: float) -> tuple[Array, Array]:
    """Busy time of kernels that take `seconds`, and its derivative by the logarithm of `ramp`."""
    share = seconds / (seconds + ramp)
    return seconds * share, -ramp * share**2


def bent(power: Array, limit: float) -> tuple[Array, Array]:
    """Power that nears a limit but does not pass it, and its derivative by the power that there would be without."""
    factor = 1.0 / np.sqrt(1.0 + (power / limit) ** 2)
    return power * factor, factor**3


def unbent(power: float, limit: float) -> float:
    """The power that `bent` bends to this one, which must lie below the limit."""
    return power / sqrt(1.0 - (power / limit) ** 2)
