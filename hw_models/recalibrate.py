"""`zoo device calibrate`: a few whole networks, measured by the user, narrow a device's intervals.

The published points stay in the fit. What a network that was not measured is still off by comes from the
new measurements, each predicted from all the others.
"""

import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from math import isfinite, log
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from hw_models import device_writer as own_folder
from hw_models.calibrate import calibrated
from hw_models.cost import Interval
from hw_models.device import Device, DeviceError, _load_cached, home, read_device
from hw_models.measure.environment import AS_PUBLISHED
from hw_models.measure.logs import Log, read_log
from hw_models.points import graph_of
from hw_models.predictors import predict
from hw_models.schema import Fit
from hw_models.schema import read_json as read_mapping
from hw_models.tables import Point
from zoo.errors import ZooError
from zoo.files import make_folder
from zoo.reading import parse_json, read_text
from zoo.registry import spec_from_dict
from zoo.specs import Spec, as_dict

FEWEST, FREE = 3, 2.0
"""Networks from which the left-out error is taken, and how many networks the device's own claim counts for."""


@dataclass(frozen=True, slots=True)
class Change:
    """A measured network: what was predicted for it, and what is now that all measurements are known."""

    network: str
    width: int
    height: int
    metric: str
    measured: float
    before: Interval
    after: Interval


@dataclass(frozen=True)
class Recalibration:
    """The user's copy of the device, and the measured networks before and after."""

    device: Device
    changes: tuple[Change, ...]

    def error(self, when: str) -> float:
        """Mean absolute relative error, `before` or `after`."""
        return float(np.mean([abs(getattr(c, when).mean / c.measured - 1.0) for c in self.changes]))

    def width(self, when: str) -> float:
        """Mean width of the intervals, relative to what they surround."""
        return float(np.mean([(i.high - i.low) / i.mean for i in (getattr(c, when) for c in self.changes)]))


def points_from_bench(path: Path, device: Device) -> tuple[Point, ...]:
    """Whole-network measurements in a file that `zoo bench --json` wrote. Raises DeviceError."""
    text = read_text(path, DeviceError)
    try:
        entries = parse_json(text, str(path), DeviceError)
    except DeviceError as error:
        why = str(error).removeprefix(f"{path}: ")
        raise DeviceError(f"{path}: is not the JSON of zoo bench: {why}") from None
    if not isinstance(entries, list) or not entries:
        raise DeviceError(f"{path}: must be a list of measurements as zoo bench --json prints it")
    return tuple(p for i, entry in enumerate(entries) for p in _points(entry, f"{path}: entry {i + 1}", device))


def _points(entry: Any, where: str, device: Device) -> list[Point]:
    try:
        spec = spec_from_dict(entry["spec"], f"{where}: spec")
        width, _, height = entry["size"].partition("x")
        size = (int(height), int(width))
        latency, protocol = entry["latency_s"], entry["protocol"]
        values = [latency[name] for name in ("median", "low", "high")]
        backend, batch = str(protocol["backend"]), int(protocol["batch"])
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise DeviceError(f"{where}: is not a measurement of zoo bench ({error})") from None
    if protocol.get("network", AS_PUBLISHED) != AS_PUBLISHED:
        raise DeviceError(f"{where}: was measured with a network that passes rewrote; measure again without --optimize")
    stack = backend if backend in ("onnxruntime", "openvino") else "pytorch-eager"
    if stack != device.stack:
        raise DeviceError(f"{where}: was measured with {stack} but device {device.name} is of {device.stack}")
    if not all(isinstance(v, int | float) and isfinite(v) and v > 0 for v in values):
        raise DeviceError(f"{where}: latency_s must have positive numbers, but is {latency}")
    sd = max(log(values[2] / values[1]) / 3.29, 0.002) if values[2] > values[1] else 0.002
    name = str(entry.get("model", "network"))
    found = [_point(name, spec, size, batch, device, "latency_s", float(values[0]), sd)]
    power = entry.get("power_w")
    if power is not None:
        found.append(_point(name, spec, size, batch, device, "power_w", float(power), 0.03))
    return found


def _point(
    name: str, spec: Spec, size: tuple[int, int], batch: int, device: Device, metric: str, value: float, sd: float
) -> Point:
    return Point(
        network=name,
        group=f"bench-{name}-{size[1]}x{size[0]}",
        spec=as_dict(spec),
        width=size[1],
        height=size[0],
        batch=batch,
        clock_mhz=device.clocks.default_mhz,
        metric=metric,
        value=value,
        relative_sd=sd,
        use="calibration",
        bound="none",
        source="zoo bench",
    )


def points_from_log(path: Path, spec: Spec, size: tuple[int, int], device: Device) -> tuple[Point, ...]:
    """The latency or the power in another tool's log of one network. Raises LogError or DeviceError."""
    log_ = read_log(path)
    found = []
    name = path.stem
    if log_.latencies_s:
        found.append(_point(name, spec, size, 1, device, "latency_s", median(log_.latencies_s), 0.02))
    elif log_.kernels:
        total = sum(k.mean_s for k in log_.kernels)
        found.append(_point(name, spec, size, 1, device, "latency_s", total, 0.05))
    if log_.power_w:
        found.append(_point(name, spec, size, 1, device, "power_w", _watts(log_, path), 0.05))
    return tuple(found)


def _watts(found: Log, path: Path) -> float:
    rails = [name for name in found.power_w if "GPU" in name.upper()] or list(found.power_w)
    if len(rails) > 1:
        raise DeviceError(f"{path}: has the rails {', '.join(rails)} and none is the GPU's alone; keep the one to use")
    return median(found.power_w[rails[0]])


def recalibrate(device: Device, new: Sequence[Point], name: str | None = None) -> Recalibration:
    """Fit a device to more measurements and write it as the user's own; `name` is by default NAME-calibrated.

    A device of the user's own is replaced. Raises ZooError without measurements of known networks.
    """
    known = [p for p in new if graph_of(p) is not None]
    if not known:
        raise ZooError("the measurements have no network of a known family; measure one that zoo list shows")
    groups = {(p.group, p.metric) for p in known}
    points = (*(p for p in device.points if (p.group, p.metric) not in groups), *known)
    fitted = calibrated(device, points)
    fitted = replace(
        fitted,
        points=points,
        latency=_claim(device, points, known, "latency_s", fitted.latency),
        power=_claim(device, points, known, "power_w", fitted.power),
    )
    fitted = calibrated(fitted, points)
    written = _write(device, fitted, points, name)
    changes = tuple(
        Change(p.network, p.width, p.height, p.metric, p.value, _of(device, p), _of(fitted, p)) for p in known
    )
    return Recalibration(written, changes)


def _of(device: Device, point: Point) -> Interval:
    graph = graph_of(point)
    assert graph is not None  # points of unknown families were left out
    interval: Interval = getattr(predict(graph, device, batch=point.batch), point.metric)
    return interval


def _claim(device: Device, points: Sequence[Point], new: Sequence[Point], metric: str, fit: Fit) -> Fit:
    """The fit with the error that new networks show when each is left out; the old claim counts for a few."""
    groups = sorted({p.group for p in new if p.metric == metric})
    if len(groups) < FEWEST:
        return fit
    squares = []
    for group in groups:
        blind = calibrated(device, [p for p in points if p.group != group])
        left = [p for p in new if p.group == group and p.metric == metric]
        squares.append(float(np.mean([log(_of(blind, p).mean / p.value) ** 2 for p in left])))
    sd = float(np.sqrt((sum(squares) + FREE * fit.network_sd**2) / (len(squares) + FREE)))
    return replace(fit, network_sd=sd)


def _write(device: Device, fitted: Device, points: Sequence[Point], name: str | None) -> Device:
    """A copy of the folder with new coefficients and points, below `device.home()`."""
    own = device.folder.parent.resolve() == home().resolve()
    target_name = own_folder.checked_name(name or (device.name if own else f"{device.name}-calibrated"))
    target = make_folder(home()) / target_name
    partial = target.with_name(f".{target_name}.part")
    shutil.rmtree(partial, ignore_errors=True)
    shutil.copytree(device.folder, partial)
    coefficients = read_mapping(partial / "coefficients.json")
    document = own_folder.document_of(fitted)
    for key in ("latency", "power"):
        coefficients[key] = document[key]
    (partial / "coefficients.json").write_text(json.dumps(coefficients, indent=1) + "\n", "utf-8")
    own_folder.write_rows(partial / "points.csv", points)
    if not device.points:
        own_folder.edit_description(partial, {"points": ["points.csv"]})
    read_device(partial)
    if target.exists():
        shutil.rmtree(target)
    partial.rename(target)
    _load_cached.cache_clear()
    return read_device(target)


def document(result: Recalibration) -> dict[str, Any]:
    """Plain values for --json."""
    return {
        "device": result.device.name,
        "path": str(result.device.folder),
        "points": [asdict(change) for change in result.changes],
        "before": {"mape": result.error("before"), "interval_width": result.width("before")},
        "after": {"mape": result.error("after"), "interval_width": result.width("after")},
    }
