"""Time of one kernel: a roofline whose ceiling depends on the shape, with its derivatives by the parameters.

    t = floor · rated clock / clock + (c^p + m^p)^(1/p)          p = 2
    c = MACs / (MACs per cycle · clock · efficiency)
    m = bytes · (1 / bandwidth + 1 / (bytes per cycle · clock))

The efficiency falls where a convolution has few output channels, a short sum, or little work to spread
over the cores: its inverse is 1 + lack of channels + lack of depth + lack of work, over the ceiling. The
second term of m makes memory-bound kernels feel the clock, as they do on a chip whose few cores cannot
keep enough loads in flight. All parameters are positive and held as logarithms, so that a calibration can
neither make a time negative nor turn a trend round: time never rises with the clock, the bandwidth or the
efficiency. A kernel starts and drains in cycles of the device, so `floor` is stated for the device's default clock.
"""

from collections.abc import Mapping, Sequence
from math import exp, sqrt
from typing import NamedTuple

from hw_models.kernels import Work

PARAMETERS: Mapping[str, str] = {
    "efficiency": "largest share of peak that a plain convolution reaches (1)",
    "half_out": "output channels at which half the efficiency is reached (channels)",
    "half_depth": "products summed for one output at which half the efficiency is reached (values)",
    "half_work": "outputs at which half the efficiency is reached (values)",
    "winograd": "gain of fast algorithms on wide 3x3 convolutions (1)",
    "pointwise": "time of 1x1 convolutions against other kernels (1)",
    "dilated": "time of dilated convolutions against dense ones (1)",
    "grouped": "time of grouped convolutions against dense ones (1)",
    "depthwise": "time of depth-wise convolutions against a full-efficiency one (1)",
    "transposed": "time of transposed convolutions against dense ones (1)",
    "bandwidth": "memory bandwidth that kernels reach (B/s)",
    "bytes_per_cycle": "bytes that the cores request in one clock cycle (B)",
    "floor": "time of the smallest kernel at the default clock (s)",
    "dispatch": "time in which the host issues one operation (s)",
}
"""Names and units of the model's parameters, in the order of every vector of them."""

INDEX: Mapping[str, int] = {name: i for i, name in enumerate(PARAMETERS)}
WIDTH = len(PARAMETERS)
WINOGRAD_CHANNELS = 32.0
"""Channels at which fast algorithms reach half their gain."""

_EFFICIENCY, _OUT, _DEPTH, _WORK, _WINOGRAD = (INDEX[n] for n in list(PARAMETERS)[:5])
_BANDWIDTH, _CYCLE, _FLOOR = INDEX["bandwidth"], INDEX["bytes_per_cycle"], INDEX["floor"]


class Timing(NamedTuple):
    """Device time of one kernel and its parts, in seconds.

    gradient: derivative of `total_s` with respect to the logarithm of each parameter.
    """

    total_s: float
    compute_s: float
    memory_s: float
    bytes_moved: float
    gradient: list[float]


class Chip(NamedTuple):
    """What a kernel's time depends on beside the parameters: the peak, and the clock that `floor` is stated for."""

    macs_per_cycle: float
    rated_hz: float


def kernel_time(work: Work, theta: Sequence[float], chip: Chip, clock_hz: float, batch: int) -> Timing:
    """Device time of a kernel; `theta` holds the logarithms of PARAMETERS."""
    gradient = [0.0] * WIDTH
    if work.kind == "identity":
        return Timing(0.0, 0.0, 0.0, 0.0, gradient)
    moved = float(work.activation_bytes * batch + work.weight_bytes)
    by_bandwidth = moved / exp(theta[_BANDWIDTH])
    by_cycle = moved / (exp(theta[_CYCLE]) * clock_hz)
    memory = by_bandwidth + by_cycle
    compute = 0.0
    shares: dict[int, float] = {}
    if work.macs:
        inefficiency, shares = _inefficiency(work, theta, batch)
        compute = work.macs * batch / (chip.macs_per_cycle * clock_hz) * inefficiency
    busy = sqrt(compute * compute + memory * memory)
    floor = exp(theta[_FLOOR]) * chip.rated_hz / clock_hz
    if busy > 0.0:
        d_compute = compute * compute / busy
        for i, share in shares.items():
            gradient[i] = d_compute * share
        gradient[_BANDWIDTH] = -memory * by_bandwidth / busy
        gradient[_CYCLE] = -memory * by_cycle / busy
    gradient[_FLOOR] = floor
    return Timing(floor + busy, compute, memory, moved, gradient)


def _inefficiency(work: Work, theta: Sequence[float], batch: int) -> tuple[float, dict[int, float]]:
    """1 / efficiency, and the derivative of its logarithm with respect to each parameter."""
    spread = exp(theta[_WORK]) / (work.outputs * batch)
    lacks = {}
    if work.kind != "depthwise":
        lacks[_OUT] = exp(theta[_OUT]) / work.out_channels
        lacks[_DEPTH] = exp(theta[_DEPTH]) / (work.in_channels * work.taps)
    filled, gain = 1.0 + sum(lacks.values()), 0.0
    if work.winograd:
        reach = work.in_channels / (work.in_channels + WINOGRAD_CHANNELS)
        reach *= work.out_channels / (work.out_channels + WINOGRAD_CHANNELS)
        gain = exp(theta[_WINOGRAD]) * reach
    # The lacks add up, and an algorithm saves arithmetic but no idle cores: if they multiplied, a wider
    # kernel could take less time than a narrow one.
    whole = filled / (1.0 + gain) + spread
    shares = {i: lack / (1.0 + gain) / whole for i, lack in lacks.items()}
    shares |= {_EFFICIENCY: -1.0, _WORK: spread / whole, _WINOGRAD: -filled * gain / (1.0 + gain) ** 2 / whole}
    value = whole * exp(-theta[_EFFICIENCY])
    special = INDEX.get(work.kind)
    if special is not None:
        value *= exp(theta[special])
        shares[special] = 1.0
    return value, shares
