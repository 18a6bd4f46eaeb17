"""One's own device: networks that were not measured, at sizes that were not, against what `zoo measure` makes of it.

`python -m benchmarks.own_device` writes docs/measuring.md. It measures a device where there is none of the name
(ZOO_OWN_DEVICE, by default `own-benchmark`), and times 30 random specs of the default space as `zoo bench` does.
Each network is timed in rounds with all the others in between, and keeps its quietest round.
"""

import math
import os
import re
import sys
import tempfile
import time
import timeit
from pathlib import Path
from statistics import median

import numpy as np
import torch

from hw_models import measure, plan
from hw_models.bench import bench
from hw_models.conditions import conditions
from hw_models.device import Device, device_folders, load_device
from hw_models.journal import Journal, journal_path
from hw_models.new_device import finish
from hw_models.predict import predict
from hw_models.runtimes import Settings, available_cores, entries_of, network_sample, settled
from hw_models.timing import Effort, Timing, time_of
from pretrained import find, load
from pretrained.download import obtain
from pretrained.weights import parse
from zoo.choices import Choices
from zoo.config import load_config
from zoo.errors import ZooError
from zoo.export import export_onnx
from zoo.network import build, flush_subnormals_
from zoo.registry import family
from zoo.spec import Spec

SPECS, SEED = 30, 2026
SIZES = ((192, 384), (240, 320), (360, 480), (320, 320), (384, 640), (448, 896), (200, 600))
"""Sizes (height, width) of the test; `zoo measure` times at others (`plan.SIZES`)."""
TRAINED = (
    ("espnet-c-3.cityscapes", (384, 640)),
    ("espnet-c-8.cityscapes", (384, 640)),
    ("espnet-3.cityscapes", (360, 480)),
    ("espnet-8.cityscapes", (448, 896)),
    ("espnet-8.camvid-authors", (360, 480)),
)
SUBNORMAL = ("espnet-c-8", "cityscapes")
ROUNDS = 3
PAGE = Path(__file__).resolve().parents[1] / "docs" / "measuring.md"
EFFORT = Effort(limit_s=2.0, bursts=15, least=4)


def choices() -> Choices:
    space = load_config().space("default")
    return Choices(space.family, space.choices)


def measured_device(name: str, settings: Settings) -> tuple[Device, float | None]:
    """The device, and the seconds that measuring it took if it was measured now."""
    if name in device_folders():
        return load_device(name), None
    todo = plan.plan(choices())
    now = conditions(settings.backend, settings.threads)
    journal = Journal(journal_path(name))
    recipe = {"space": "default", "sizes": [list(s) for s in plan.SIZES], "blocks": len(todo.blocks), "networks": 8}
    visits = journal.open(now, recipe, resume=True)
    start = time.monotonic()
    measure.run(todo, visits, journal, settings, progress)
    report = finish(name, todo, visits, now, time.monotonic() - start, max_spread=0.25, replaces=False)
    journal.path.unlink()
    return report.device, report.seconds


def progress(done: int, planned: int, left: float) -> None:
    if done % 50 == 0:
        print(f"{done} of {planned}, {left:.0f} s left", file=sys.stderr, flush=True)


def test_set() -> list[tuple[Spec, tuple[int, int]]]:
    """Random specs, none of them among those that `zoo measure` timed whole, at sizes in turn that suit them."""
    timed = {spec for spec, _ in plan.plan(choices(), count=1).networks}
    found = []
    for spec in plan.sample_specs(choices(), 3 * SPECS, SEED):
        fitting = [s for s in SIZES if family(spec.family).check_size(spec, *s) is None]
        if spec not in timed and len(found) < SPECS:
            found.append((spec, fitting[len(found) % len(fitting)]))
    return found


def timed(tests: list[tuple[Spec, tuple[int, int]]], settings: Settings) -> list[list[Timing]]:
    """Rounds of timings of the files that `zoo export` writes."""
    ready = []
    for i, (spec, size) in enumerate(tests):
        torch.manual_seed(i)
        network = build(spec, size)
        entries = entries_of(network.graph, 1)
        network = settled(network, entries)
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "network.onnx"
            export_onnx(network, file, size=size)
            ready.append((network, entries, file.read_bytes()))
    timings: list[list[Timing]] = [[] for _ in tests]
    for number in range(ROUNDS):
        for found, (network, entries, model) in zip(timings, ready, strict=True):
            found.append(time_of(network_sample(network, entries, settings, model), EFFORT))
        print(f"round {number + 1} of {ROUNDS}", file=sys.stderr, flush=True)
    return timings


def trained(device: Device, settings: Settings) -> str:
    """Rows of a table: released weights, as far as they are at hand."""
    rows = []
    for name, size in TRAINED:
        try:
            weights = load(name)
        except ZooError as error:
            print(f"{name} is left out: {error}", file=sys.stderr)
            continue
        assert weights.spec is not None
        found = min(
            (
                bench(name, weights.spec, size, settings, weights=weights, device=device, effort=EFFORT, max_spread=9)
                for _ in range(ROUNDS)
            ),
            key=lambda one: one.timing.median_s,
        )
        assert found.predicted is not None
        seconds, cost = found.timing.median_s, found.predicted
        rows.append(
            f"| `{name}` | {size[1]}x{size[0]} | {1e3 * seconds:.2f} | {1e3 * cost.mean:.2f} "
            f"({1e3 * cost.low:.2f}–{1e3 * cost.high:.2f}) | {cost.mean / seconds - 1:+.1%} |"
        )
    return "\n".join(rows)


def ranks(values: list[float]) -> list[int]:
    return [sorted(values).index(v) for v in values]


def subnormals() -> str:
    """How much slower torch runs released weights as they are than with their subnormal numbers flushed."""
    name, tag = SUBNORMAL
    try:
        entry = find(name, tag)
        path = obtain(entry).path
    except ZooError as error:
        return f"Subnormal weights were not timed: {error}."
    state = parse(path.read_bytes(), str(path))
    network = build(entry.spec, (256, 512)).eval()
    network.load_state_dict({key: value for key, value in state.items() if key in network.state_dict()}, strict=False)
    tiny = torch.finfo(torch.float32).tiny
    count = sum(int(((p != 0) & (p.abs() < tiny)).sum()) for p in network.parameters())
    image = entries_of(network.graph, 1)[0]
    seconds = []
    for flush in (False, True):
        torch.set_flush_denormal(flush)
        if flush:
            flush_subnormals_(network)
        with torch.inference_mode():
            seconds.append(time_of(lambda: timeit.timeit(lambda: network(image), number=1), EFFORT).median_s)
    return (
        f"Of the {sum(p.numel() for p in network.parameters()):,} released parameters of `{name}.{tag}`, {count:,} are "
        f"subnormal: with them torch takes {seconds[0] / seconds[1]:.2f} times as long as with zeros, on this CPU."
    )


def describe(spec: Spec) -> str:
    values = {name: getattr(spec, name) for name in choices().values}
    return " ".join("/".join(map(str, v)) if isinstance(v, tuple) else str(v) for v in values.values())


def main() -> None:
    """Write the section into docs/measuring.md."""
    text = PAGE.read_text(encoding="utf-8")
    section = run()
    print(section)
    marked = f"<!-- own-device -->\n{section}<!-- /own-device -->"
    new = re.sub(r"<!-- own-device -->.*<!-- /own-device -->", lambda match: marked, text, flags=re.DOTALL)
    PAGE.write_text(new, encoding="utf-8")


def run() -> str:
    """A Markdown section."""
    torch.set_num_threads(1)
    settings = Settings("onnxruntime", available_cores())
    name = os.environ.get("ZOO_OWN_DEVICE", "own-benchmark")
    device, seconds = measured_device(name, settings)
    tests = test_set()
    rows, true, found, covered = [], [], [], 0
    for (spec, size), timings in zip(tests, timed(tests, settings), strict=True):
        best = min(timings, key=lambda t: t.median_s)
        cost = predict(build(spec, size).graph, device).latency_s
        covered += cost.low <= best.median_s <= cost.high
        true.append(best.median_s)
        found.append(cost.mean)
        rows.append(
            f"| {describe(spec)} | {size[1]}x{size[0]} | {1e3 * best.median_s:.2f} | {1e3 * cost.mean:.2f} "
            f"({1e3 * cost.low:.2f}–{1e3 * cost.high:.2f}) | {cost.mean / best.median_s - 1:+.1%} |"
        )
    errors = np.abs(np.array(found) / np.array(true) - 1)
    spearman = float(np.corrcoef(ranks(true), ranks(found))[0, 1])
    within = float(np.mean(errors <= 0.1))
    took = "" if seconds is None else f" Measuring took {seconds / 60:.0f} minutes."
    held = "\n".join(
        f"| {kind} | {f['rows']:.0f} | {f['median_error']:.1%} | {f['within_10_percent']:.0%} |"
        for kind, f in device.held_out.items()
    )
    geometric = math.exp(float(np.mean(np.log(np.array(found) / np.array(true)))))
    return (
        f"## One's own device\n\n"
        f"{device.title}. {' '.join(device.notes)}{took}\n\n"
        f"{len(tests)} random specs of the default space, none measured, at sizes that were not measured; timed as "
        f"`zoo bench` does, in the files that `zoo export` writes.\n\n"
        f"| | aim | found |\n| --- | --: | --: |\n"
        f"| within ±10 % | ≥ 90 % | {within:.0%} |\n"
        f"| Spearman | ≥ 0.97 | {spearman:.3f} |\n"
        f"| median error | | {median(errors):.1%} |\n"
        f"| largest error | | {errors.max():.1%} |\n"
        f"| predicted / measured, geometric mean | | {geometric:.3f} |\n"
        f"| 90 % interval holds | 85–97 % | {covered / len(tests):.0%} |\n\n"
        f"Blocks whose structure was left out of the fit, with all its sizes:\n\n"
        f"| blocks | rows | median error | within 10 % |\n| --- | --: | --: | --: |\n{held}\n\n"
        f"| {' '.join(choices().values)} | size | measured, ms | predicted, ms (90 %) | error |\n"
        f"| --- | --- | --: | --: | --: |\n"
        + "\n".join(rows)
        + "\n\nTrained networks, with the weights that their authors released:\n\n"
        + "| weights | size | measured, ms | predicted, ms (90 %) | error |\n| --- | --- | --: | --: | --: |\n"
        + trained(device, settings)
        + f"\n\n{subnormals()}\n"
    )


if __name__ == "__main__":
    main()
