"""Makes a device of a finished measurement: checks its block model, writes its folder."""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import expm1, log
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from hw_models import device_writer as own_folder
from hw_models.device import Device, read_device
from hw_models.device_writer import Power
from hw_models.measure.environment import Conditions
from hw_models.measure.journal import AGREE, Visits, combined, difference
from hw_models.measure.plan import Plan
from hw_models.measure.timing import Timing, refuse_noise
from hw_models.measured import predictor as own_device
from hw_models.measured.block_model import BlockModel, Measured
from hw_models.measured.blocks import KINDS, Block, from_text
from hw_models.measured.predictor import BlockRow
from hw_models.tables import Point
from zoo.errors import NegativeAnswer
from zoo.specs import as_dict
from zoo.text import length_of_time

HOPELESS, JUDGED = 1.0, 12
"""Median relative error of what was left out beyond which a model says nothing, and the rows that judge it."""
NORMAL_95 = 1.645
"""95 % quantile of the normal distribution: half an interval of 90 %, in standard deviations."""


@dataclass(frozen=True)
class Report:
    """What a measurement gave; seconds are those of all its visits, however often it was interrupted."""

    device: Device
    rows: int
    skipped: int
    seconds: float
    drift: float
    spread: float


def finish(name: str, todo: Plan, visits: Visits, conditions: Conditions, max_spread: float, replaces: bool) -> Report:
    """Fit the block model and write the device. Raises NegativeAnswer where the machine was too noisy."""
    timings = {text: combined(visit_timings) for text, visit_timings in visits.blocks.items()}
    # Most blocks must agree: half of them are small, and small blocks find a quiet moment on any machine.
    spread = float(np.quantile([difference(visit_timings) for visit_timings in visits.blocks.values()], 0.8))
    refuse_noise(name, spread, max_spread, remedy="end other programs and go on with --resume")
    unrest = max(spread, visits.drift)
    call_s = timings[todo.call.text].median_s
    usable = {text: timing for text, timing in timings.items() if timing.median_s > 1.2 * call_s}
    rows = [_row(text, timing, conditions) for text, timing in usable.items()]
    measured = [
        Measured(from_text(row.block), row.batch, row.latency_s, row.latency_low_s, row.latency_high_s) for row in rows
    ]
    model = BlockModel(measured, call_s)
    _refuse_blocks(name, model.held_out)
    power = _power(visits, conditions.cores)
    coefficients = own_folder.first_coefficients(model.held_out_summary(), power)
    tables: dict[str, Sequence[Any]] = {own_device.TABLE: rows}
    points = [
        _point(i, todo, combined(visit_timings), conditions) for i, visit_timings in sorted(visits.networks.items())
    ]
    if points:
        tables["points.csv"] = points
    notes = _notes(conditions, visits, spread, max_spread)
    description = _description(name, conditions, measured, call_s, power, notes, bool(points))
    learned = _learned(name, description, coefficients, tables, unrest)
    device = own_folder.write_device(name, description, learned, tables, replaces=replaces)
    return Report(device, len(rows), len(timings) - len(usable), visits.seconds, visits.drift, spread)


def _learned(
    name: str,
    description: Mapping[str, Any],
    coefficients: Mapping[str, Any],
    tables: Mapping[str, Sequence[Any]],
    unrest: float,
) -> dict[str, Any]:
    """Coefficients with the shares of speed that whole networks reach, and an interval as wide as the machine's unrest.

    unrest: how far apart the machine's own timings of one thing lay, relative.
    """
    with tempfile.TemporaryDirectory() as parent:
        draft = Path(parent) / name
        draft.mkdir()
        own_folder.fill(draft, description, coefficients, tables)
        device = own_device.learn(read_device(draft))
    _refuse_hopeless(name, "networks", device.held_out.get(own_device.NETWORK, {}).get("median_error", 0.0))
    least_sd = log(1.0 + unrest) / NORMAL_95
    latency = replace(device.latency, network_sd=max(device.latency.network_sd, least_sd))
    return own_folder.document_of(replace(device, latency=latency))


def _refuse_blocks(name: str, held_out: Sequence[tuple[str, float, float]]) -> None:
    """Raise NegativeAnswer where blocks of a kind that were left out are predicted with hopeless errors."""
    for kind in KINDS:
        errors = [abs(error) for block_kind, error, _ in held_out if block_kind == kind]
        if len(errors) >= JUDGED:
            _refuse_hopeless(name, f"blocks of kind {kind}", expm1(median(errors)))


def _refuse_hopeless(name: str, subject: str, error: float) -> None:
    if error > HOPELESS:
        raise NegativeAnswer(
            f"{name}: the machine is too noisy to measure, {subject} that were left out are predicted with a median "
            f"error of {error:.0%}; end other programs, and time more (--count)"
        )


def _row(text: str, timing: Timing, conditions: Conditions) -> BlockRow:
    return BlockRow(
        block=text,
        batch=conditions.batch,
        clock_mhz=conditions.clock_mhz,
        stack=conditions.stack,
        precision="fp32",
        latency_s=timing.median_s,
        latency_low_s=timing.low_s,
        latency_high_s=timing.high_s,
        power_w=None,
        power_low_w=None,
        power_high_w=None,
        provenance="measured",
        source="zoo measure",
        n=timing.n,
    )


def _point(i: int, todo: Plan, timing: Timing, conditions: Conditions) -> Point:
    spec, (height, width) = todo.networks[i]
    return Point(
        network=f"sample-{i}",
        group=f"sample-{i}",
        spec=as_dict(spec),
        width=width,
        height=height,
        batch=conditions.batch,
        clock_mhz=conditions.clock_mhz,
        metric="latency_s",
        value=timing.median_s,
        relative_sd=max(log(timing.high_s / timing.low_s) / 3.29, 0.002),
        use="calibration",
        bound="none",
        source="zoo measure",
    )


def _power(visits: Visits, cores: int) -> Power:
    if visits.idle_w is None or not visits.watts:
        return own_folder.assumed_power(cores)
    busy = max(float(np.median(visits.watts)), visits.idle_w * 1.01)
    spread = float(np.std(np.log(np.maximum(np.array(visits.watts) - visits.idle_w, 0.05 * busy)))) + 0.05
    return Power(
        covers=visits.covers,
        note=f"Read while blocks ran: {busy:.3g} W, and {visits.idle_w:.3g} W idle.",
        idle_w=visits.idle_w,
        busy_w=busy,
        limit_w=1.5 * max(visits.watts),
        sd=spread,
        kind="measured",
        source="zoo measure",
    )


def _description(
    name: str,
    conditions: Conditions,
    measured: Sequence[Measured],
    call_s: float,
    power: Power,
    notes: Sequence[str],
    points: bool,
) -> dict[str, Any]:
    """`device.yaml`."""
    clock, threads = conditions.clock_mhz, f"{conditions.threads} thread{'s'[: conditions.threads - 1]}"
    cycles = clock * 1e6
    rate = max(row.block.macs * row.batch / row.seconds for row in measured)
    moved = max(4.0 * _values(row.block) * row.batch / row.seconds for row in measured)

    def number(value: float, unit: str, kind: str = "measured", source: str = "zoo measure") -> dict[str, Any]:
        return {"value": float(f"{value:.6g}"), "unit": unit, "kind": kind, "source": source}

    return {
        "title": f"{name}: {conditions.machine}, {threads}, {conditions.backend}",
        "stack": conditions.stack,
        "power_covers": power.covers,
        "power_note": power.note,
        "clocks": {
            "low_mhz": clock,
            "high_mhz": clock,
            "default_mhz": clock,
            "modes": {},
            "source": f"the machine's own while it was measured; governor {conditions.governor}",
        },
        "numbers": {
            "macs_per_cycle": number(rate / cycles, "MAC/cycle", source="zoo measure: the fastest block"),
            "memory_bandwidth": number(moved, "B/s", source="zoo measure: the block that moves most"),
            "idle_power": number(power.idle_w, "W", power.kind, power.source),
            "power_limit": number(power.limit_w, "W", power.kind, power.source),
            "frame_overhead": number(call_s, "s", source="zoo measure: a call with next to no work"),
        },
        "coefficients": "coefficients.json",
        "kernels": [],
        "points": ["points.csv"] if points else [],
        "notes": list(notes),
        "conditions": conditions.document(),
    }


def _notes(conditions: Conditions, visits: Visits, spread: float, max_spread: float) -> list[str]:
    return [
        f"Measured with {conditions.text}.",
        "Subnormals flushed; inputs with the spectrum of photographs.",
        f"Measuring took {length_of_time(visits.seconds)}; the reference block drifted by {visits.drift:.0%}.",
        f"Visits of one block lay {spread:.0%} apart, and {max_spread:.0%} was allowed (--max-spread); no interval is "
        "narrower than the drift and this.",
        f"{_unsettled(visits)} of {len(visits.blocks)} blocks were not seen twice within {AGREE:.0%}.",
    ]


def _unsettled(visits: Visits) -> int:
    return sum(difference(visit_timings) > AGREE for visit_timings in visits.blocks.values())


def _values(block: Block) -> int:
    shapes = [shape for layer in block.body for shape in (*layer.in_shapes, layer.out_shape)]
    return sum(shape.elements for shape in shapes)
