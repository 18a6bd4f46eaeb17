"""`zoo device calibrate`: whole networks that the user measured make a device of the user's own machine.

The copy keeps every point that it was given, by whatever calls they came, and is fitted to all of them anew, so that
six logs one by one give what the same six give at once. `hw_models.machine` has the model.
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from math import exp
from typing import Any

import numpy as np

from hw_models.calibrated_predictor import CalibratedPredictor, published_error
from hw_models.cost import METRICS, Interval
from hw_models.device import Device
from hw_models.device_writer import calibrated_before, write_calibrated
from hw_models.machine import READING_SD, LatencyModel, LeftOut, Model, Observations, PowerModel, fit
from hw_models.measurements import identity, network_of
from hw_models.points import graph_of, known_graph
from hw_models.predictors import Predictor, predictor
from hw_models.schema import Machine, MachineFit
from hw_models.tables import OWN, Point
from zoo.errors import ZooError

FARTHEST = 5.0
"""Factor on the prediction beyond which a measurement is taken for one of something else."""
CONFIDENCE = 0.9


@dataclass(frozen=True, slots=True)
class Change:
    """A measured network: what the published device says, and what the user's other networks say of it.

    Without another network `after` is the published device's. `unmeasured`:
    what the calibrated device says of a network like it that is not measured.
    """

    network: str
    width: int
    height: int
    batch: int
    clock_mhz: float
    metric: str
    measured: float
    before: Interval
    after: Interval
    unmeasured: Interval


@dataclass(frozen=True)
class Recalibration:
    """The user's copy of the device, and all measured networks before and after."""

    device: Device
    changes: tuple[Change, ...]

    def error(self, when: str, metric: str) -> float:
        """Mean absolute relative error, `before` or `after`."""
        chosen = [c for c in self.changes if c.metric == metric]
        return float(np.mean([abs(getattr(c, when).mean / c.measured - 1.0) for c in chosen]))

    def interval(self, when: str, metric: str) -> float:
        """Mean half width of the intervals `before`, or of networks like these that are not measured `after`."""
        chosen = [c for c in self.changes if c.metric == metric]
        return float(np.mean([_half_width(c.before if when == "before" else c.unmeasured) for c in chosen]))


def _half_width(interval: Interval) -> float:
    return (interval.high - interval.low) / (2 * interval.mean)


def recalibrate(device: Device, new: Sequence[Point], name: str | None = None, *, force: bool = False) -> Recalibration:
    """Fit a device to these and all earlier measurements and write it as the user's own.

    `name` is by default NAME-calibrated; a device of the user's own is replaced by its calibrated self. What was
    calibrated under that name before still counts. Raises ZooError without measurements of known networks, and
    unless `force` for one that is far off its prediction.
    """
    usable_points = [p for p in new if graph_of(p) is not None]
    if not usable_points:
        raise ZooError("the measurements have no network of a known family; measure one that zoo list shows")
    if not force:
        for point in usable_points:
            _refuse_far(device, point)
    name, before = calibrated_before(device, name)
    earlier = before.own_points if before else ()
    fitted, changes = fitted_to(device, (*earlier, *device.own_points, *usable_points))
    return Recalibration(write_calibrated(fitted, device.folder, name), changes)


def fitted_to(device: Device, measured: Iterable[Point]) -> tuple[Device, tuple[Change, ...]]:
    """The published device with a machine fitted to these measurements, of which the latest of each network counts."""
    latest = {identity(point): point for point in measured}
    own = tuple(latest[key] for key in sorted(latest))
    published = replace(device.published, points=tuple(p for p in device.points if p.use != OWN))
    fits: dict[str, MachineFit] = {}
    left: dict[str, LeftOut] = {}
    for metric in METRICS[:2]:
        points = [p for p in own if p.metric == metric]
        if points:
            fits[metric], left[metric] = fit(_model(published, metric), observations(published, points, metric))
    machine = Machine(fits.get("latency_s"), fits.get("power_w")) if fits else None
    fitted = replace(published, points=(*published.points, *own), machine=machine)
    return fitted, tuple(c for metric in left for c in _changes(fitted, metric, left[metric]))


def _model(published: Device, metric: str) -> Model:
    return LatencyModel(published) if metric == "latency_s" else PowerModel(published)


def observations(published: Device, points: Sequence[Point], metric: str) -> Observations:
    """Measurements of one metric beside the published device.

    Power is beside what others read, which one scale takes to this machine. Latency is beside the model alone, whose
    parameters are fitted anew.
    """
    published = replace(published, look_up=metric == "power_w")
    prices = [predictor(published, p.clock_mhz, p.batch) for p in points]
    terms = [price.terms(known_graph(p).layers) for price, p in zip(prices, points, strict=True)]
    errors = [published_error(price, t, metric) for price, t in zip(prices, terms, strict=True)]
    claimed = np.array([float(sd) for _, sd in errors])
    inputs, own = np.array([float(center) for center, _ in errors]), claimed
    if metric == "latency_s":
        inputs = np.array(terms)
        own = LatencyModel(published).own_sd(inputs, claimed)
    return Observations(
        inputs=inputs,
        log_values=np.log([p.value for p in points]),
        reading_sd=np.array([max(p.relative_sd, READING_SD) for p in points]),
        claimed_sd=claimed,
        own_sd=own,
        networks=tuple(network_of(p) for p in points),
    )


def _changes(fitted: Device, metric: str, left: LeftOut) -> list[Change]:
    points = [p for p in fitted.own_points if p.metric == metric]
    several = len({network_of(p) for p in points}) > 1
    published_costs = [predicted(fitted.published, p) for p in points]
    return [
        Change(
            network=p.network,
            width=p.width,
            height=p.height,
            batch=p.batch,
            clock_mhz=p.clock_mhz,
            metric=p.metric,
            measured=p.value,
            before=published,
            after=Interval(exp(center), exp(center - reach), exp(center + reach)) if several else published,
            unmeasured=predicted(fitted, p),
        )
        for p, published, center, reach in zip(
            points, published_costs, left.log_values, left.reach(CONFIDENCE), strict=True
        )
    ]


def _interval(prices: Predictor, point: Point, confidence: float = CONFIDENCE) -> Interval:
    costs = prices.finish(prices.terms(known_graph(point).layers), confidence)
    return Interval(*(float(getattr(costs, f"{point.metric}_{part}")) for part in ("mean", "low", "high")))


def predicted(device: Device, point: Point) -> Interval:
    """What the device says of a point's network as if that had not been measured itself."""
    prices = predictor(device, point.clock_mhz, point.batch)
    if isinstance(prices, CalibratedPredictor):
        return prices.without_look_up(prices.terms(known_graph(point).layers), point.metric, CONFIDENCE)
    return _interval(prices, point)


def _refuse_far(device: Device, point: Point) -> None:
    mean = predicted(device, point).mean
    factor = point.value / mean
    if not 1 / FARTHEST <= factor <= FARTHEST:
        unit = "s" if point.metric == "latency_s" else "W"
        raise ZooError(
            f"{point.network}: {point.value:.3g} {unit} was measured where {mean:.3g} {unit} is predicted for device "
            f"{device.name}, {max(factor, 1 / factor):.0f} times apart; check --model, --size, --batch and --images, "
            "or add --force"
        )


def left_out(device: Device, point: Point, confidence: float) -> Interval:
    """What the calibrated device says of a measured point without that network's measurements."""
    other_points = [p for p in device.own_points if network_of(p) != network_of(point)]
    blind, _ = fitted_to(device.published, other_points)
    return _interval(predictor(blind, point.clock_mhz, point.batch), point, confidence)


def document(result: Recalibration) -> dict[str, Any]:
    """Plain values for --json."""
    main = result.changes[0].metric
    return {
        "device": result.device.name,
        "path": str(result.device.folder),
        "metric": main,
        "points": [asdict(change) for change in result.changes],
        **{
            when: {"error": result.error(when, main), "interval": result.interval(when, main)}
            for when in ("before", "after")
        },
    }
