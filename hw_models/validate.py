"""Compares a device's predictions with published points: as fitted, and with each network left out.

A point that calibrated the model says little about it. `validate` therefore also refits the model without
each network in turn (all points of a family are one network) and predicts the points left out.
"""

from dataclasses import dataclass, replace
from math import log, sqrt

import numpy as np

from hw_models import recalibrate
from hw_models.calibrate import left_out
from hw_models.device import Device
from hw_models.points import graph_of, known_graph
from hw_models.predictors import Interval, predictor
from hw_models.tables import Point
from zoo.statistics import spearman


@dataclass(frozen=True, slots=True)
class Check:
    """A published point beside its prediction. With used_for_calibration false, the prediction has not seen it.

    predicted: by the fit, no reading looked up. left_out: the prediction of a model that was calibrated without this
    network. A lower bound of the frame rate is an upper bound of the latency, and `bound` says so.
    """

    network: str
    group: str
    metric: str
    width: int
    height: int
    clock_mhz: float
    published: float
    predicted: Interval
    left_out: Interval
    used_for_calibration: bool
    bound: str
    source: str

    @property
    def error(self) -> float:
        """Relative error of the left-out prediction."""
        return self.left_out.mean / self.published - 1.0

    @property
    def covered(self) -> bool:
        """Whether the left-out interval holds the published value (or reaches below an upper bound)."""
        if self.bound == "lower":
            return self.left_out.low <= self.published
        return self.left_out.low <= self.published <= self.left_out.high


@dataclass(frozen=True, slots=True)
class Validation:
    """Checks and their summary by metric: over left-out predictions, bounds not counted in the MAPE.

    missing: networks of points whose family is not in the registry.
    """

    checks: tuple[Check, ...]
    missing: tuple[str, ...]

    def of(self, metric: str) -> tuple[Check, ...]:
        """Checks of one metric that are measurements, not bounds."""
        return tuple(c for c in self.checks if c.metric == metric and c.bound == "none")

    def mape(self, metric: str) -> float | None:
        """Mean absolute relative error of the left-out predictions; None without points."""
        errors = [abs(c.error) for c in self.of(metric)]
        return float(np.mean(errors)) if errors else None

    def coverage(self, metric: str) -> float | None:
        """Share of the points that the left-out interval holds."""
        points_covered = [c.covered for c in self.of(metric)]
        return float(np.mean(points_covered)) if points_covered else None

    def spearman(self, metric: str) -> float | None:
        """Rank correlation of left-out predictions and published values; None below three points."""
        checks = self.of(metric)
        return spearman([c.published for c in checks], [c.left_out.mean for c in checks])


def validate(device: Device, confidence: float = 0.9) -> Validation:
    """Predict every published point, with and without its own network in the calibration.

    Of a device that the user calibrated, predict the user's own points: the published ones are of another machine.
    """
    if device.machine is not None:
        return Validation(tuple(_own_check(p, device, confidence) for p in device.own_points), ())
    predictable = [p for p in device.points if graph_of(p) is not None]
    groups = sorted({p.group for p in predictable if p.use == "calibration"})
    blind = {group: left_out(device, group) for group in groups}
    checks = tuple(_check(p, device, blind.get(p.group, device), confidence) for p in predictable)
    missing = sorted({p.network for p in device.points} - {p.network for p in predictable})
    return Validation(checks, tuple(missing))


def interval_of(point: Point, device: Device, confidence: float = 0.9) -> Interval:
    """What a device says of a point's network."""
    graph = known_graph(point)
    prices = predictor(device, point.clock_mhz, point.batch)
    costs = prices.finish(prices.terms(graph.layers), confidence)
    return Interval(*(float(getattr(costs, f"{point.metric}_{part}")) for part in ("mean", "low", "high")))


def _own_check(point: Point, device: Device, confidence: float) -> Check:
    check = _check(point, device, device, confidence)
    return replace(check, left_out=recalibrate.left_out(device, point, confidence), used_for_calibration=True)


def _check(point: Point, device: Device, blind: Device, confidence: float) -> Check:
    # Looked up, a reading would come out whatever the fit were.
    intervals = [interval_of(point, d, confidence) for d in (replace(device, look_up=False), blind)]
    return Check(
        network=point.network,
        group=point.group,
        metric=point.metric,
        width=point.width,
        height=point.height,
        clock_mhz=point.clock_mhz,
        published=point.value,
        predicted=intervals[0],
        left_out=intervals[1],
        used_for_calibration=point.use == "calibration",
        bound=point.bound,
        source=point.source,
    )


def left_out_sd(validation: Validation, metric: str, prior_sd: float, prior_weight: int) -> float:
    """Standard deviation of the log error on left-out networks, one value a network.

    Few networks say little about their own spread, so `prior_sd` counts as `prior_weight` networks more.
    """
    groups: dict[str, list[float]] = {}
    for c in validation.of(metric):
        if c.used_for_calibration:
            groups.setdefault(c.group, []).append(log(c.left_out.mean / c.published))
    squares = [float(np.mean(np.square(e))) for e in groups.values()]
    return sqrt((sum(squares) + prior_weight * prior_sd**2) / (len(squares) + prior_weight))
