"""Which aims of the hardware models are met, in words, from the errors on networks that were left out."""

from collections.abc import Sequence
from typing import NamedTuple

AIMS = (
    ("TX2 and TITAN X under PyTorch", 0.15, ("tx2", "titanx")),
    (
        "the 960M and each Jetson with TensorRT",
        0.20,
        ("gtx960m", "orin-nano", "agx-orin", "xavier-nx", "agx-xavier", "nano", "tx2-tensorrt", "tx2-tensorrt-fp32"),
    ),
    ("the Raspberry Pis", 0.30, ("rpi5", "rpi4", "rpi4-int8")),
)
"""Largest mean error of latency that is aimed at, and the devices that it is for."""
HELD = (0.80, 0.97)
"""Share of the published values that an interval of 90 % should hold."""
NO_GAIN = 0.95
"""Calibration counts as no gain where the error left is at least this share of the error before."""


class LatencyErrors(NamedTuple):
    """Mean relative error of a device's latency before and after calibration, and the share that its intervals hold."""

    device: str
    before: float
    after: float
    held: float


def aims_text() -> str:
    """The aims, as they stand in `AIMS` and `HELD`."""
    errors = ", ".join(f"{limit:.0%} on {devices}" for devices, limit, _ in AIMS)
    held = f"{HELD[0]:.0%} to {HELD[1]:.0%}"
    return f"Aimed at: a mean error of latency of at most {errors}, and intervals that hold {held}."


def missed(rows: Sequence[LatencyErrors]) -> list[str]:
    """Devices with an error above their aim, each with its error.

    >>> missed([LatencyErrors("tx2", 0.3, 0.16, 0.9), LatencyErrors("rpi5", 0.4, 0.22, 1.0)])
    ['tx2 (16%)']
    """
    limits = {name: limit for _, limit, names in AIMS for name in names}
    return [f"{row.device} ({row.after:.0%})" for row in rows if row.after > limits.get(row.device, float("inf"))]


def errors_text(rows: Sequence[LatencyErrors]) -> str:
    """Whether the errors are met.

    >>> errors_text([LatencyErrors("tx2", 0.3, 0.07, 0.9)])
    'The errors are met.'
    """
    names = missed(rows)
    return f"The errors are met but on {', '.join(names)}." if names else "The errors are met."


def intervals_text(rows: Sequence[LatencyErrors]) -> str:
    """On how many devices the intervals hold more, or less, than is aimed at.

    >>> intervals_text([LatencyErrors("tx2", 0.3, 0.07, 1.0), LatencyErrors("rpi5", 0.4, 0.22, 0.7)])
    'Intervals hold more on 1 of 2 devices, so they are wider than these networks need. They hold less on rpi5 (70%).'
    """
    wide = sum(row.held > HELD[1] for row in rows)
    narrow = [f"{row.device} ({row.held:.0%})" for row in rows if row.held < HELD[0]]
    sentences = []
    if wide:
        sentences.append(
            f"Intervals hold more on {wide} of {len(rows)} devices, so they are wider than these networks need."
        )
    if narrow:
        sentences.append(f"They hold less on {', '.join(narrow)}.")
    return " ".join(sentences) or "The intervals are met."


def gain_text(rows: Sequence[LatencyErrors]) -> str:
    """Where calibration does not lower the error on a family that it has not seen.

    >>> gain_text([LatencyErrors("tx2", 0.3, 0.07, 1.0), LatencyErrors("rpi5", 0.2, 0.22, 1.0)])
    'On rpi5 it buys no smaller error (at least 95% of that before) on a family that it has not seen.'
    """
    names = [row.device for row in rows if row.after >= NO_GAIN * row.before]
    if not names:
        return "It buys a smaller error on every device."
    listed = f"{', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else names[0]
    share = f"at least {NO_GAIN:.0%} of that before"
    return f"On {listed} it buys no smaller error ({share}) on a family that it has not seen."
