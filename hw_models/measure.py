"""`zoo measure`: times the blocks that a search space needs on the present machine, and makes a device of them.

The blocks of a space are more than one wants to wait for, and a network at another size has others. So a
subset is timed that leaves no block far from all timed ones, and the rest is interpolated. Every block is
visited in at least two passes with all others in between, and keeps its quietest visit; a reference block
every few visits shows how the machine drifts. Whole networks come last: they show what share of its single
blocks' speed a network reaches.

Each visit is a line of a journal, written before the next begins, so that an interrupted measurement is
continued where it stopped.
"""

import json
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import log
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from hw_models import own_device
from hw_models.block_features import features
from hw_models.block_model import BlockModel, Measured, farthest
from hw_models.blocks import KINDS, Block, distinct, from_text, renamed
from hw_models.conditions import Conditions, from_document, refuse_mixture
from hw_models.device import Device, home
from hw_models.own_device import BlockRow, Power
from hw_models.tables import Point
from hw_models.timing import Effort, Timing, refuse_noise, time_of
from zoo.choices import Choices
from zoo.errors import SpecError, ZooError
from zoo.files import make_folder
from zoo.graph import Graph, GraphBuilder, Shape
from zoo.registry import family, lower
from zoo.spec import Spec, as_dict

SIZES = ((128, 256), (256, 512), (512, 1024))
"""Image sizes (height, width) at which blocks are timed; a network at a size between them is interpolated."""
COUNT = 400
"""Blocks that are timed, by default."""
SIMPLE = 0.4
"""Largest part of them that are no units: they are quick to time, and few."""
NETWORKS = 8
"""Whole networks that are timed."""
SAMPLED = 600
"""Specs from which the blocks of a space are gathered."""
LEAST_OF_KIND = 12
PASSES = 2
MOST_PASSES = 5
AGREE = 0.05
"""Relative difference up to which two visits of a block agree; otherwise it is visited again."""
REFERENCE_EVERY = 10
IDLE_S = 3.0
"""Seconds over which idle power is read."""
VISIT = Effort(limit_s=1.0, bursts=12, least=3)
"""What one visit may take."""

TimeBlock = Callable[[Block], Timing]
TimeNetwork = Callable[[Graph], Timing]
Progress = Callable[[int, int, float], None]
"""Called with visits done, visits planned, and the seconds left."""


@dataclass(frozen=True)
class Plan:
    """What is timed: blocks, whole networks with their sizes, and the block by which drift is seen."""

    blocks: tuple[Block, ...]
    networks: tuple[tuple[Spec, tuple[int, int]], ...]
    reference: Block
    call: Block


@dataclass
class Visits:
    """Timings so far, by block text or network number, and those of the reference."""

    blocks: dict[str, list[Timing]] = field(default_factory=dict)
    networks: dict[int, list[Timing]] = field(default_factory=dict)
    reference: list[float] = field(default_factory=list)
    watts: list[float] = field(default_factory=list)
    idle_w: float | None = None
    covers: str = own_device.NOT_MEASURED

    def add(self, entry: Mapping[str, Any]) -> None:
        """Take in one line of the journal."""
        if "watts" in entry:
            self.watts.append(float(entry["watts"]))
        if "idle_w" in entry:
            self.idle_w, self.covers = float(entry["idle_w"]), str(entry["covers"])
        if "reference" in entry:
            self.reference.append(float(entry["reference"]))
        if "block" in entry:
            self.blocks.setdefault(entry["block"], []).append(Timing(**entry["timing"]))
        if "network" in entry:
            self.networks.setdefault(int(entry["network"]), []).append(Timing(**entry["timing"]))

    @property
    def drift(self) -> float:
        """How far the reference's slowest quarter is above its fastest visit, relative."""
        if len(self.reference) < 2:
            return 0.0
        return float(np.quantile(self.reference, 0.75)) / min(self.reference) - 1.0


@dataclass(frozen=True)
class Report:
    """What a measurement gave."""

    device: Device
    rows: int
    skipped: int
    seconds: float
    drift: float
    spread: float


def sample_specs(choices: Choices, count: int, seed: int, size: tuple[int, int] = SIZES[0]) -> list[Spec]:
    """Valid specs of a space, drawn uniformly; the same for the same seed. Raises ZooError where there are none."""
    rng, kind = np.random.default_rng(seed), family(choices.family)
    found: list[Spec] = []
    for _ in range(100 * count):
        codes = choices.codes(np.array([int(rng.integers(choices.size))]))
        try:
            spec = kind.spec(**choices.spec_values({name: int(column[0]) for name, column in codes.items()}))
        except SpecError:
            continue
        if kind.check_size(spec, *size) is None:
            found.append(spec)
        if len(found) == count:
            return found
    if not found:
        raise ZooError(f"the space of {choices.family} has no valid spec at {size[1]}x{size[0]}; choose another --size")
    return found


def plan(
    choices: Choices,
    sizes: Sequence[tuple[int, int]] = SIZES,
    count: int = COUNT,
    *,
    networks: int | None = None,
    seed: int = 0,
) -> Plan:
    """What to time for a space: the same for the same arguments."""
    specs = sample_specs(choices, SAMPLED, seed, sizes[0])
    known = distinct(lower(spec, size).layers for size in sizes for spec in specs if _fits(choices, spec, size))
    chosen = _choose(known, count)
    order = np.random.default_rng(seed).permutation(len(chosen))
    whole = tuple(
        (spec, sizes[i % len(sizes)])
        for i, spec in enumerate(sample_specs(choices, networks or NETWORKS, seed + 1, sizes[0]))
        if _fits(choices, spec, sizes[i % len(sizes)])
    )
    return Plan(tuple(chosen[i] for i in order), whole, _reference(chosen), call_block())


def _fits(choices: Choices, spec: Spec, size: tuple[int, int]) -> bool:
    return family(choices.family).check_size(spec, *size) is None


def _choose(known: Iterable[Block], count: int) -> list[Block]:
    """At most `count` blocks, spread over those known: of each simple kind as many as it has among them."""
    by_kind: dict[str, list[Block]] = {kind: [] for kind in KINDS}
    for block in known:
        by_kind[block.kind].append(block)
    simple = {kind: found for kind, found in by_kind.items() if kind != "unit" and found}
    total = sum(map(len, simple.values()))
    room = min(total, round(SIMPLE * count))
    chosen = []
    for found in simple.values():
        # Few of a kind are all timed, for nothing near would stand in for them.
        chosen += farthest(found, max(round(room * len(found) / total), min(len(found), LEAST_OF_KIND)))
    chosen += farthest(by_kind["unit"], max(count - len(chosen), 1))
    return chosen + _uncovered(by_kind, chosen)


def _uncovered(by_kind: Mapping[str, Sequence[Block]], chosen: Sequence[Block]) -> list[Block]:
    """The smallest block of each way of computing that none of the chosen has, so that nothing stays unknown."""
    counts = {block: features(block) > 0 for blocks in by_kind.values() for block in blocks}
    seen = np.any([counts[block] for block in chosen], axis=0)
    added: list[Block] = []
    for block in sorted(counts, key=lambda block: (block.macs, block.text)):
        if (counts[block] & ~seen).any():
            added.append(block)
            seen |= counts[block]
    return added


def _reference(blocks: Sequence[Block]) -> Block:
    ordered = sorted(blocks, key=lambda block: (block.macs, block.text))
    return ordered[len(ordered) // 2]


def call_block() -> Block:
    """A block of next to no work, whose time is that of the call."""
    g = GraphBuilder()
    g.act(g.input("x", Shape(1, 1, 1)), "y", "relu")
    return renamed(g.layers)


class Journal:
    """A file of lines of JSON: the conditions first, then one line a visit; a torn last line is left out."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def open(self, conditions: Conditions, recipe: Mapping[str, Any], resume: bool) -> Visits:
        """Begin, or continue. Raises ZooError where the conditions, or what is to be measured, differ."""
        visits = Visits()
        head = {"conditions": conditions.document(), "recipe": dict(recipe)}
        if not resume or not self.path.exists():
            if self.path.exists():
                raise ZooError(f"{self.path}: an unfinished measurement; continue it with --resume, or remove the file")
            make_folder(self.path.parent)
            self.append(head)
            return visits
        lines = self._lines()
        if not lines:
            raise ZooError(f"{self.path}: is not the journal of a measurement; remove it and start anew")
        refuse_mixture(from_document(lines[0].get("conditions", {}), str(self.path)), conditions, str(self.path))
        if lines[0].get("recipe") != json.loads(json.dumps(recipe)):
            raise ZooError(f"{self.path}: was begun for {_recipe(lines[0])}; give the same, or remove the file")
        for entry in lines[1:]:
            visits.add(entry)
        return visits

    def append(self, entry: Mapping[str, Any]) -> None:
        """Add a line and have it on the disk."""
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry, separators=(",", ":")) + "\n")
            file.flush()
            os.fsync(file.fileno())

    def _lines(self) -> list[dict[str, Any]]:
        text = self.path.read_text(encoding="utf-8")
        whole = text[: text.rfind("\n") + 1]
        if whole != text:
            # The line that an interruption tore is taken off, so that the next one starts on its own.
            with self.path.open("w", encoding="utf-8") as file:
                file.write(whole)
        try:
            return [json.loads(line) for line in whole.splitlines()]
        except ValueError:
            raise ZooError(f"{self.path}: is damaged; remove it and start anew") from None


def _recipe(head: Mapping[str, Any]) -> str:
    recipe = head.get("recipe") or {}
    return ", ".join(f"{name} {value}" for name, value in recipe.items()) or "something else"


def journal_path(name: str) -> Path:
    """Where the journal of a device's measurement lies."""
    return home().parent / "measuring" / f"{own_device.checked_name(name)}.jsonl"


def run(todo: Plan, visits: Visits, journal: Journal, settings: Any, progress: Progress) -> None:
    """Time all that is still to time, with the runtime that `settings` (runtimes.Settings) names, and power."""
    from hw_models import energy
    from hw_models.runtimes import block_sample, entries_of, network_sample, settled
    from zoo.network import module_from_graph

    meter = energy.source()
    if meter is not None and visits.idle_w is None:
        with energy.measured(meter) as idle:
            time.sleep(IDLE_S)
        entry = {"idle_w": idle.watts, "covers": idle.covers}
        journal.append(entry)
        visits.add(entry)

    def time_block(block: Block) -> Timing:
        return time_of(block_sample(block, settings), VISIT)

    def time_network(graph: Graph) -> Timing:
        entries = entries_of(graph, settings.batch)
        sample = network_sample(settled(module_from_graph(graph), entries), entries, settings)
        timing = time_of(sample, VISIT)
        if meter is not None:
            with energy.measured(meter) as busy:
                for _ in range(max(3, round(1.0 / timing.median_s))):
                    sample()
            entry = {"watts": busy.watts}
            journal.append(entry)
            visits.add(entry)
        return timing

    visit(todo, visits, journal, time_block, time_network, time.monotonic, progress)


def visit(
    todo: Plan,
    visits: Visits,
    journal: Journal,
    time_block: TimeBlock,
    time_network: TimeNetwork,
    clock: Callable[[], float],
    progress: Progress = lambda done, planned, left: None,
) -> None:
    """Time all that is still to time, in passes."""
    start, begun = clock(), _count(visits)

    def note(entry: dict[str, Any]) -> None:
        journal.append(entry)
        visits.add(entry)

    # What was too noisy before is given a chance when it is resumed.
    most = max(MOST_PASSES, 2 + max(map(len, visits.blocks.values()), default=0))
    for _ in range(most):
        waiting = list(_waiting(todo, visits, most))
        if not waiting:
            return
        for i, (what, number) in enumerate(waiting):
            if i % REFERENCE_EVERY == 0:
                note({"reference": time_block(todo.reference).median_s})
            if isinstance(what, Block):
                note({"block": what.text, "timing": _plain(time_block(what))})
            else:
                spec, size = what
                note({"network": number, "timing": _plain(time_network(lower(spec, size)))})
            done, planned = _count(visits), PASSES * (len(todo.blocks) + len(todo.networks) + 1)
            spent = clock() - start
            progress(done, planned, spent / max(done - begun, 1) * max(planned - done, 0))


def _count(visits: Visits) -> int:
    return sum(map(len, visits.blocks.values())) + sum(map(len, visits.networks.values()))


def _plain(timing: Timing) -> dict[str, Any]:
    return {name: getattr(timing, name) for name in Timing.__dataclass_fields__}


def _waiting(todo: Plan, visits: Visits, most: int) -> Iterator[tuple[Block | tuple[Spec, tuple[int, int]], int]]:
    """What has been visited least often, or whose visits disagree."""
    blocks = (todo.call, *todo.blocks)
    least = min(
        *(len(visits.blocks.get(block.text, ())) for block in blocks),
        *(len(visits.networks.get(i, ())) for i in range(len(todo.networks))),
        PASSES,
    )
    for block in blocks:
        if _unsure(visits.blocks.get(block.text, ()), least, most):
            yield block, -1
    for i, network in enumerate(todo.networks):
        if _unsure(visits.networks.get(i, ()), least, most):
            yield network, i


def _unsure(found: Sequence[Timing], least: int, most: int) -> bool:
    if len(found) < PASSES:
        return len(found) <= least
    return least >= PASSES and len(found) < most and difference(found) > AGREE


def difference(found: Sequence[Timing]) -> float:
    """Relative difference of the two quietest visits."""
    quietest = sorted(timing.median_s for timing in found)
    return quietest[1] / quietest[0] - 1.0 if len(quietest) > 1 else float("inf")


def combined(found: Sequence[Timing]) -> Timing:
    """The quietest visit, its interval widened by how far the second quietest lies away."""
    best = min(found, key=lambda timing: timing.median_s)
    apart = difference(found) if len(found) > 1 else best.spread
    high = max(best.high_s, best.median_s * (1 + apart))
    return replace(best, low_s=min(best.low_s, best.median_s / (1 + apart)), high_s=high, n=sum(t.n for t in found))


def finish(
    name: str, todo: Plan, visits: Visits, conditions: Conditions, seconds: float, max_spread: float, replaces: bool
) -> Report:
    """Fit the block model and write the device. Raises NegativeAnswer where the machine was too noisy."""
    timings = {text: combined(found) for text, found in visits.blocks.items()}
    spread = float(median(difference(found) for found in visits.blocks.values()))
    refuse_noise(name, spread, max_spread)
    call_s = timings[todo.call.text].median_s
    usable = {text: timing for text, timing in timings.items() if timing.median_s > 1.2 * call_s}
    rows = [_row(text, timing, conditions) for text, timing in usable.items()]
    measured = [
        Measured(from_text(row.block), row.batch, row.latency_s, row.latency_low_s, row.latency_high_s) for row in rows
    ]
    model = BlockModel(measured, call_s)
    power = _power(visits, conditions.cores)
    coefficients = own_device.first_coefficients(model.held_out_summary(), power)
    tables: dict[str, Sequence[Any]] = {own_device.TABLE: rows}
    points = [_point(i, todo, combined(found), conditions) for i, found in sorted(visits.networks.items())]
    if points:
        tables["points.csv"] = points
    description = _description(name, conditions, measured, call_s, power, visits, bool(points))
    device = own_device.write_device(name, description, coefficients, tables, replaces=replaces)
    if points:
        device = _learn_share(name, device, description, tables)
    return Report(device, len(rows), len(timings) - len(usable), seconds, visits.drift, spread)


def _learn_share(
    name: str, device: Device, description: Mapping[str, Any], tables: Mapping[str, Sequence[Any]]
) -> Device:
    sd = own_device.left_out_sd(device, device.points)
    device = replace(device, latency=replace(device.latency, network_sd=sd))
    device = own_device.calibrated(device, device.points)
    return own_device.write_device(name, description, own_device.document_of(device), tables, replaces=True)


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
        return own_device.assumed_power(cores)
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
    visits: Visits,
    points: bool,
) -> dict[str, Any]:
    """`device.yaml`."""
    clock = conditions.clock_mhz
    cycles = clock * 1e6
    rate = max(row.block.macs * row.batch / row.seconds for row in measured)
    moved = max(4.0 * _values(row.block) * row.batch / row.seconds for row in measured)

    def number(value: float, unit: str, kind: str = "measured", source: str = "zoo measure") -> dict[str, Any]:
        return {"value": float(f"{value:.6g}"), "unit": unit, "kind": kind, "source": source}

    return {
        "title": f"{name}: {conditions.machine}, {conditions.threads} threads, {conditions.backend}",
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
        "notes": [
            f"Measured with {conditions.text}.",
            "Subnormals flushed; inputs with the spectrum of photographs.",
            f"The reference block drifted by {visits.drift:.0%}.",
        ],
    }


def _values(block: Block) -> int:
    shapes = [shape for layer in block.body for shape in (*layer.in_shapes, layer.out_shape)]
    return sum(shape.elements for shape in shapes)


def seconds_of(blocks: Iterable[Block]) -> float:
    """A rough guess before anything was timed: a visit to each block, at 5 GMAC/s and 0.1 s of preparation."""
    return sum(0.15 + 15 * (block.macs / 5e9 + float(features(block).sum()) * 2e-10) for block in blocks)
