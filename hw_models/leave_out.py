"""How far predictions are off where other readings of the same network, or of its family, are there.

`hw_models.validate` leaves families out, which is the error for a network of another family. Here a network is left out
of a family that keeps others, and a clock out of a network that keeps others; the rest calibrates and is looked up.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from hw_models.calibrate import without
from hw_models.device import Device
from hw_models.points import usable
from hw_models.predictors import Interval
from hw_models.tables import METRICS, Point
from hw_models.validate import interval_of

Key = Callable[[Point], object]


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A published point beside what the others say of it."""

    point: Point
    predicted: Interval

    @property
    def error(self) -> float:
        """Relative error."""
        return self.predicted.mean / self.point.value - 1.0

    @property
    def covered(self) -> bool:
        """Whether the interval holds the published value."""
        return self.predicted.low <= self.point.value <= self.predicted.high


def clocks_left_out(device: Device, confidence: float = 0.9) -> tuple[LeftOut, ...]:
    """Each network at each of its clocks, from its readings at its other clocks and from all other networks."""
    return _left_out(device, _network, lambda p: (_network(p), p.clock_mhz), confidence)


def networks_left_out(device: Device, confidence: float = 0.9) -> tuple[LeftOut, ...]:
    """Each network of a family that has several, from all other networks."""
    return _left_out(device, lambda p: p.group, _network, confidence)


def _network(point: Point) -> object:
    return (tuple(sorted((k, str(v)) for k, v in point.spec.items())), point.width, point.height)


def _left_out(device: Device, within: Key, key: Key, confidence: float) -> tuple[LeftOut, ...]:
    """Points of one key are left out together, and predicted where others of their metric stay `within` the same."""
    points = [p for metric in METRICS for p in usable(device.points, metric)]
    out: list[LeftOut] = []
    for left in dict.fromkeys(map(key, points)):
        withheld = [p for p in points if key(p) == left]
        stays = {(within(p), p.metric) for p in points if key(p) != left}
        predictable = [p for p in withheld if (within(p), p.metric) in stays]
        blind = without(device, withheld) if predictable else device
        out += [LeftOut(p, interval_of(p, blind, confidence)) for p in predictable]
    return tuple(out)


def summary(left: Iterable[LeftOut], metric: str) -> tuple[int, float, float] | None:
    """Number of points of a metric, mean absolute error, and the share that the intervals hold; None without points."""
    chosen: Sequence[LeftOut] = [left_point for left_point in left if left_point.point.metric == metric]
    if not chosen:
        return None
    return len(chosen), float(np.mean([abs(c.error) for c in chosen])), float(np.mean([c.covered for c in chosen]))
