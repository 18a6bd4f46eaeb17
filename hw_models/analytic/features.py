"""Features of a network: additive statistics of its layers, from which latency and power are computed.

Notation: kernel i takes t_i seconds and does m_i MACs on b_i bytes; n operations are dispatched in d seconds each; o is
the overhead of a frame, r the ramp, all in s. The device takes D = Σ t_i, the host H = n · d. One image takes

    T = (D^p + H^p)^(1/p) + o,  p = 8                                   latency

a smooth maximum, because a queue that is nearly empty stalls now and then: two times of 10 ms give 10.9 ms. A kernel is
busy for t_i² / (t_i + r) seconds, as a short one ends before it has filled the device. The energy of an image over T is

    x = (e_m Σ m_i + e_b Σ b_i + a Σ t_i² / (t_i + r)) / T              power beyond idle, in W
    P = idle + x / sqrt(1 + (x / (limit - idle))²)                      power, in W

bent so that it nears the limit but does not pass it, as a device does that lowers its clock for that. The energies e_m,
e_b and the power a scale with a power of the clock. Every sum is a place of the vector that `Predictor.terms` adds up:

    DEVICE       D, in s                    MACS         Σ m_i
    DISPATCHES   n                          BYTES        Σ b_i
    VARIANCE     of D by kernels, in s²     BUSY         Σ t_i² / (t_i + r), in s
    BUSY_SLOPE   d BUSY / d log r, in s     GRADIENT     d D / d log θ for each θ of the roofline, in s
    RESTS        D by provenance, in s

so that terms of two networks add, and a search prices each distinct piece once.
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
GRADIENT = slice(7, 7 + WIDTH)
RESTS = slice(GRADIENT.stop, GRADIENT.stop + len(PROVENANCES))
"""Places of the terms; the module's text says what each holds."""
TERMS = RESTS.stop
"""Number of additive terms of a network."""


def latency_gradient(terms: Array, theta: Sequence[float], overhead_s: float) -> tuple[Array, Array, Array]:
    """Gradient of the time by the logarithms of the parameters, the time, the variance by kernels.

    With M = (D^p + H^p)^(1/p), ∂M/∂D = (D / M)^(p-1), by which gradient and deviation of D pass on to T.
    Shapes (..., parameters), (...), (...); times in seconds, the variance in seconds squared.

    >>> terms = np.zeros(TERMS)
    >>> terms[DEVICE], terms[DISPATCHES] = 0.010, 100  # 10 ms on the device, 100 operations
    >>> theta = np.zeros(WIDTH)
    >>> theta[INDEX["dispatch"]] = log(1e-4)  # the host takes 10 ms as well
    >>> float(latency_gradient(terms, theta.tolist(), overhead_s=0.001)[1].round(4))
    0.0119
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
    """Busy time of kernels that take `seconds`, and its derivative by the logarithm of `ramp`.

    >>> busy(np.array([1e-4]), ramp=1e-4)[0].tolist()  # half of the time is the ramp
    [5e-05]
    """
    share = seconds / (seconds + ramp)
    return seconds * share, -ramp * share**2


def bent(power: Array, limit: float) -> tuple[Array, Array]:
    """Power that nears a limit but does not pass it, and its derivative by the power that there would be without.

    >>> [round(float(bent(np.array(x), limit=10.0)[0]), 2) for x in (1.0, 10.0, 100.0)]
    [1.0, 7.07, 9.95]
    """
    factor = 1.0 / np.sqrt(1.0 + (power / limit) ** 2)
    return power * factor, factor**3


def unbent(power: float, limit: float) -> float:
    """The power that `bent` bends to this one, which must lie below the limit."""
    return power / sqrt(1.0 - (power / limit) ** 2)
