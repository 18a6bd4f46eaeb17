"""What a user measured, from the JSON of `zoo bench` or another tool's log, as points of a device.

What a measurement is of is stated by the file or by the user and never guessed from a file's name: the network, its
size, the batch, the clock, the runtime and its precision, the images in a capture, the rail of a power reading.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import isfinite, log
from pathlib import Path
from statistics import median
from typing import Any

from hw_models.device import Device, DeviceError, device_folders, load_device
from hw_models.measure.environment import AS_PUBLISHED
from hw_models.measure.logs import Log, read_log
from hw_models.measure.rails import GPU, covering, covers_of
from hw_models.measure.timing import interval_of_median
from hw_models.tables import OWN, Point
from zoo.reading import read_json
from zoo.registry import spec_from_dict
from zoo.specs import Spec, as_dict

CLOCK_TOLERANCE = 0.02
"""Relative difference of two clocks that count as one: tools round them."""
LOG_SD, KERNELS_SD, POWER_SD = 0.01, 0.05, 0.03
"""Least log errors of a latency, a sum of kernels (without the gaps between them) and a power read from a log."""


@dataclass(frozen=True)
class Subject:
    """What the user states of a log; None leaves it to the log, or to the device."""

    network: str
    spec: Spec
    size: tuple[int, int]
    batch: int = 1
    clock_mhz: float | None = None
    stack: str | None = None
    precision: str | None = None
    images: int | None = None
    rail: str | None = None


@dataclass(frozen=True)
class Measurement:
    """One value of one network; what the file does not tell and the user did not state is None."""

    network: str
    spec: Spec
    size: tuple[int, int]
    batch: int
    metric: str
    value: float
    relative_sd: float
    clock_mhz: float | None
    stack: str | None
    precision: str | None
    covers: str | None
    source: str


@dataclass(frozen=True)
class OwnPoints:
    """Points for a device, which may be another than asked for where the runtime is another's; remarks for the user."""

    device: Device
    points: tuple[Point, ...]
    remarks: tuple[str, ...]


# --- zoo bench --------------------------------------------------------------------------------------------------


def from_bench(path: Path) -> list[Measurement]:
    """Whole networks in a file that `zoo bench --json` wrote. Raises DeviceError."""
    try:
        entries = read_json(path, DeviceError)
    except DeviceError as error:
        why = str(error).removeprefix(f"{path}: ")
        raise DeviceError(f"{path}: is not the JSON of zoo bench: {why}") from None
    if not isinstance(entries, list) or not entries:
        raise DeviceError(f"{path}: must be a list of measurements as zoo bench --json prints it")
    return [m for i, entry in enumerate(entries) for m in _from_entry(entry, f"{path}: entry {i + 1}")]


def _from_entry(entry: Any, location: str) -> list[Measurement]:
    try:
        spec = spec_from_dict(entry["spec"], f"{location}: spec")
        width, _, height = entry["size"].partition("x")
        size = (int(height), int(width))
        latency, protocol = entry["latency_s"], entry["protocol"]
        values = [latency[name] for name in ("median", "low", "high")]
        backend, batch = str(protocol["backend"]), int(protocol["batch"])
        rewritten = protocol.get("network", AS_PUBLISHED) != AS_PUBLISHED
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise DeviceError(f"{location}: is not a measurement of zoo bench ({error}); for a log, add --model") from None
    if rewritten:
        raise DeviceError(
            f"{location}: was measured with a network that passes rewrote; measure again without --optimize"
        )
    if not all(_positive(value) for value in values):
        raise DeviceError(f"{location}: latency_s must have positive numbers, but is {latency}")
    base = Measurement(
        network=str(entry.get("model", "network")),
        spec=spec,
        size=size,
        batch=batch,
        metric="latency_s",
        value=float(values[0]),
        relative_sd=_sd(values[1], values[2]),
        clock_mhz=None,
        stack=backend if backend in ("onnxruntime", "openvino", "tensorrt", "tflite") else "pytorch-eager",
        precision=str(protocol.get("precision", "fp32")),
        covers=None,
        source="zoo bench",
    )
    power = entry.get("power_w")
    if power is None:
        return [base]
    if not _positive(power):
        raise DeviceError(f"{location}: power_w must be a positive number, but is {power!r}")
    covers = protocol.get("power_covers")
    watts = replace(
        base, metric="power_w", value=float(power), relative_sd=POWER_SD, covers=None if covers is None else str(covers)
    )
    return [base, watts]


def _positive(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value) and value > 0


def _sd(low: float, high: float) -> float:
    """Standard deviation of the logarithm, from a 90 % interval."""
    return max(log(high / low) / 3.29, 0.002) if high > low else 0.002


# --- logs -------------------------------------------------------------------------------------------------------


def from_log(path: Path, subject: Subject, covers: str) -> list[Measurement]:
    """The latency or the power in another tool's log of one network; `covers` is what power is wanted of.

    Raises LogError or DeviceError.
    """
    record = read_log(path)
    _agrees(record, subject, path)
    value, sd, metric, source = _value(record, subject, path, covers)
    return [
        Measurement(
            network=subject.network,
            spec=subject.spec,
            size=subject.size,
            batch=subject.batch,
            metric=metric,
            value=value,
            relative_sd=sd,
            clock_mhz=subject.clock_mhz or record.clock_mhz,
            stack=subject.stack or record.stack,
            precision=subject.precision or record.precision,
            covers=source if metric == "power_w" else None,
            source=f"{record.tool}: {source}" if metric == "latency_s" else f"{record.tool}: power",
        )
    ]


def _agrees(record: Log, subject: Subject, path: Path) -> None:
    """Refuse what the log and the user say differently."""
    for name in ("stack", "precision"):
        stated, logged = getattr(subject, name), getattr(record, name)
        if stated and logged and stated != logged:
            raise DeviceError(f"{path}: is of {name} {logged}, but {stated} was stated; leave --{name} out")
    if subject.clock_mhz and record.clock_mhz and abs(subject.clock_mhz / record.clock_mhz - 1) > CLOCK_TOLERANCE:
        raise DeviceError(
            f"{path}: was recorded at {record.clock_mhz:g} MHz, but {subject.clock_mhz:g} MHz was stated; "
            "leave --clock-mhz out"
        )
    stated_shape = (subject.batch, 3, *subject.size)
    if record.input_shape and record.input_shape != stated_shape:
        shapes = ["x".join(map(str, shape)) for shape in (record.input_shape, stated_shape)]
        raise DeviceError(f"{path}: is of an input of {shapes[0]}, but {shapes[1]} was stated; set --size and --batch")


def _value(record: Log, subject: Subject, path: Path, covers: str) -> tuple[float, float, str, str]:
    """Value, its log error, the metric, and what the value is."""
    if record.latencies_s:
        return _latency(record.latencies_s, path)
    if record.kernels:
        seconds = sum(kernel.calls * kernel.mean_s for kernel in record.kernels)
        images = subject.images
        if record.per_run:
            images = subject.batch
        if images is None:
            calls = max(kernel.calls for kernel in record.kernels)
            raise DeviceError(
                f"{path}: is a profile with up to {calls} launches of a kernel, which does not say how many images "
                "were run; state it with --images"
            )
        if images % subject.batch:
            raise DeviceError(f"{path}: --images {images} must be a multiple of --batch {subject.batch}")
        text = "layers of one run" if record.per_run else f"kernels of {images} images"
        return seconds / images * subject.batch, KERNELS_SD, "latency_s", text
    return _power(record, subject, path, covers)


def _latency(latencies_s: Sequence[float], path: Path) -> tuple[float, float, str, str]:
    ordered = sorted(latencies_s)
    if ordered[0] <= 0:
        raise DeviceError(f"{path}: has a run of 0 s; record it anew")
    sd = max(_sd(*interval_of_median(ordered)), LOG_SD)
    return median(ordered), sd, "latency_s", f"median of {len(ordered)} runs" if len(ordered) > 1 else "its median"


def _power(record: Log, subject: Subject, path: Path, covers: str) -> tuple[float, float, str, str]:
    """Median of the busy samples of one rail."""
    rail = _rail(record, subject, path, covers)
    busy = [sample.power_w[rail] for sample in record.busy if rail in sample.power_w]
    if not busy:
        raise DeviceError(
            f"{path}: all {len(record.samples)} samples are of an idle GPU; record it while the network runs"
        )
    value = median(busy)
    if value <= 0:
        raise DeviceError(f"{path}: rail {rail} reads 0 W while the network runs; choose another with --rail")
    return value, POWER_SD, "power_w", covers_of(rail)


def _rail(record: Log, subject: Subject, path: Path, covers: str) -> str:
    """The stated rail, else the only busy one that supplies what the device's power covers."""
    names = ", ".join(record.rails)
    if subject.rail is not None:
        if subject.rail not in record.rails:
            raise DeviceError(f"{path}: has no rail {subject.rail!r}; it has {names}")
        if covers_of(subject.rail) != covers:
            raise DeviceError(
                f"{path}: rail {subject.rail} supplies {covers_of(subject.rail)}, "
                f"but the device's power is that of the {covers}; choose another with --rail"
            )
        return subject.rail
    fitting = covering(record.rails, covers)
    busy = [name for name in fitting if any(name in sample.power_w for sample in record.busy)]
    if len(fitting) > 1 and len(busy) != 1:
        raise DeviceError(f"{path}: has {', '.join(fitting)}; state the one to use with --rail")
    if not fitting:
        needed = "the GPU's alone" if covers == GPU else f"what the device's power covers ({covers})"
        raise DeviceError(f"{path}: has the rails {names} and none is {needed}; calibrate the latency with another log")
    return (busy or fitting)[0]


# --- points -----------------------------------------------------------------------------------------------------


def own_points(measured: Sequence[Measurement], device: Device) -> OwnPoints:
    """Points for the device, or for its sibling of the runtime that was measured.

    Raises DeviceError where no device is of that runtime and precision, or where a clock is outside its range.
    """
    target = _of_stack(measured, device)
    remarks = []
    if target is not device:
        remarks.append(f"measured with {target.stack}, so for device {target.name}")
    if target is not device and not any(measurement.precision for measurement in measured):
        remarks.append(f"no precision was read: taken as {target.precision}; state another with --precision")
    points = []
    for measurement in measured:
        if measurement.metric == "power_w" and measurement.covers != target.power_covers:
            remarks.append(
                f"{measurement.network}: left out the power of the {measurement.covers or 'unknown rail'}; "
                f"that of device {target.name} is of the {target.power_covers}"
            )
            continue
        if measurement.clock_mhz is None and target.clocks.low_mhz < target.clocks.high_mhz:
            clock = f"{target.clocks.default_mhz:g} MHz"
            remarks.append(f"no clock was read: taken as {clock}; state another with --clock-mhz")
        points.append(_point(measurement, target))
    return OwnPoints(target, tuple(points), tuple(dict.fromkeys(remarks)))


def _of_stack(measured: Sequence[Measurement], device: Device) -> Device:
    """The device, or its sibling of the runtime and precision that were measured."""
    stacks = {measurement.stack for measurement in measured if measurement.stack} or {device.stack}
    if len(stacks) > 1:
        raise DeviceError(f"measurements of {' and '.join(sorted(stacks))} were given; calibrate a device with each")
    (stack,) = stacks
    siblings = [load_device(name) for name in sorted(device_folders()) if name.startswith(f"{device.name}-")]
    candidates = [device, *(sibling for sibling in siblings if sibling.machine is None)]
    precisions = {measurement.precision for measurement in measured if measurement.precision}
    of_stack = [candidate for candidate in candidates if candidate.stack == stack]
    target = next(
        (measurement for measurement in of_stack if precisions <= {measurement.precision}),
        of_stack[0] if of_stack else None,
    )
    if target is None:
        raise DeviceError(
            f"{measured[0].network}: was measured with {stack} but device {device.name} is of {device.stack}; "
            "name a device of that runtime (zoo device list)"
        )
    for measurement in measured:
        if measurement.precision and measurement.precision != target.precision:
            raise DeviceError(
                f"{measurement.network} was measured in {measurement.precision} but device {target.name} "
                f"is of {target.precision}; "
                f"measure in {target.precision}"
            )
    return target


def _point(measurement: Measurement, device: Device) -> Point:
    return Point(
        network=measurement.network,
        group=measurement.network,
        spec=as_dict(measurement.spec),
        width=measurement.size[1],
        height=measurement.size[0],
        batch=measurement.batch,
        clock_mhz=_clock(measurement, device),
        metric=measurement.metric,
        value=measurement.value,
        relative_sd=measurement.relative_sd,
        use=OWN,
        bound="none",
        source=measurement.source,
    )


def _clock(measurement: Measurement, device: Device) -> float:
    if measurement.clock_mhz is None:
        return device.clocks.default_mhz
    for edge in (device.clocks.low_mhz, device.clocks.high_mhz):
        if abs(measurement.clock_mhz / edge - 1) <= CLOCK_TOLERANCE:
            return edge
    return device.clock(measurement.clock_mhz)


def identity(point: Point) -> tuple[Any, ...]:
    """What a point is of: a second measurement of the same replaces the first."""
    return (network_of(point), point.width, point.height, point.batch, round(point.clock_mhz), point.metric)


def network_of(point: Point) -> str:
    """The network of a point, whatever it was called."""
    return json.dumps(point.spec, sort_keys=True)
