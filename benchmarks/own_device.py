"""One's own device: networks that were not measured, at sizes that were not, against what `zoo measure` makes of it.

`python -m benchmarks.own_device` writes docs/measuring.md. It measures a device where there is none of the name
(ZOO_OWN_DEVICE, by default `own-benchmark`), and times three sets of 30 random specs of the default space as
`zoo bench` does. Each network is timed in rounds with all the others in between, and keeps its quietest round.
"""

import math
import os
import re
import sys
import tempfile
import timeit
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
import torch

from hw_models.cost import Interval
from hw_models.device import Device, device_folders, load_device
from hw_models.measure import plan
from hw_models.measure import run as measure
from hw_models.measure.environment import conditions
from hw_models.measure.journal import Journal, journal_path
from hw_models.measure.new_device import finish
from hw_models.measure.runtimes import Settings, entries_of, network_sample, settled
from hw_models.measure.timing import Effort, time_of
from hw_models.predictors import predict
from pretrained import find, load
from pretrained.download import obtain
from pretrained.weights import parse
from zoo.backends.choice import available_cores
from zoo.bulk.choices import Choices
from zoo.config import load_config
from zoo.errors import ZooError
from zoo.export import export_onnx
from zoo.network import Network, build, flush_subnormals_
from zoo.registry import family
from zoo.specs import Spec

SPECS, SEEDS = 30, (20261121, 20261122, 20261123)
"""Networks of a test set, and the seeds of the sets; the page shows each network of the first."""
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
ROUNDS = 8
PAGE = Path(__file__).resolve().parents[1] / "docs" / "measuring.md"
EFFORT = Effort(limit_s=1.0, bursts=12, least=3)


def choices() -> Choices:
    space = load_config().space("default")
    return Choices(space.family, space.choices)


def measured_device(name: str, settings: Settings) -> Device:
    """The device of that name, measured now where there is none; a measurement that was cut off goes on."""
    if name in device_folders():
        return load_device(name)
    todo = plan.plan(choices())
    now = conditions(settings.backend, settings.threads)
    journal = Journal(journal_path(name))
    recipe = {
        "space": "default",
        "sizes": [list(s) for s in plan.SIZES],
        "blocks": len(todo.blocks),
        "networks": len(todo.networks),
    }
    visits = journal.open(now, recipe, resume=True)
    measure.run(todo, visits, journal, settings, progress)
    report = finish(name, todo, visits, now, max_spread=0.25, replaces=False)
    journal.path.unlink()
    return report.device


def progress(finished: int, planned: int, left: float) -> None:
    if finished % 50 == 0:
        print(f"{finished} of {planned}, {left:.0f} s left", file=sys.stderr, flush=True)


def test_set(seed: int) -> list[tuple[Spec, tuple[int, int]]]:
    """Random specs, none of them among those that `zoo measure` timed whole, at sizes in turn that suit them."""
    timed = {spec for spec, _ in plan.whole_networks(choices())}
    tests: list[tuple[Spec, tuple[int, int]]] = []
    for spec in plan.sample_specs(choices(), 3 * SPECS, seed):
        fitting = [s for s in SIZES if family(spec.family).check_size(spec, *s) is None]
        if spec not in timed and len(tests) < SPECS:
            tests.append((spec, fitting[len(tests) % len(fitting)]))
    return tests


@dataclass(frozen=True)
class Candidate:
    """A network that is ready to be timed, and what is predicted for it."""

    name: str
    size: tuple[int, int]
    network: Network
    entries: list[torch.Tensor]
    model: bytes
    predicted: Interval

    def row(self, seconds: float) -> str:
        """A row of a table."""
        p = self.predicted
        return (
            f"| {self.name} | {self.size[1]}x{self.size[0]} | {1e3 * seconds:.2f} | {1e3 * p.mean:.2f} "
            f"({1e3 * p.low:.2f}–{1e3 * p.high:.2f}) | {p.mean / seconds - 1:+.1%} |"
        )


ASKED = (
    "within ±10 %",
    "Spearman",
    "median error",
    "largest error",
    "predicted / measured, geometric mean",
    "90 % interval holds",
)
AIMS = ("≥ 90 %", "≥ 0.97", "", "", "", "85–97 %")


@dataclass(frozen=True)
class Found:
    """A test set and the seconds that its networks took."""

    rows: list[tuple[Candidate, float]]

    def column(self) -> list[str]:
        """What `ASKED` asks for."""
        true, predicted = np.array([t for _, t in self.rows]), np.array([c.predicted.mean for c, _ in self.rows])
        errors = np.abs(predicted / true - 1)
        covered = [
            timed_candidate.predicted.low <= t <= timed_candidate.predicted.high for timed_candidate, t in self.rows
        ]
        return [
            f"{np.mean(errors <= 0.1):.0%}",
            f"{np.corrcoef(ranks(list(true)), ranks(list(predicted)))[0, 1]:.3f}",
            f"{median(errors):.1%}",
            f"{errors.max():.1%}",
            f"{math.exp(float(np.mean(np.log(predicted / true)))):.3f}",
            f"{np.mean(covered):.0%}",
        ]


def candidate(name: str, spec: Spec, size: tuple[int, int], device: Device, weights: Network | None) -> Candidate:
    """A network in the file that `zoo export` writes, as `zoo bench` times it."""
    network = build(spec, size)
    entries = entries_of(network.graph, 1)
    if weights is None:
        network = settled(network, entries)
    else:
        network.load_state_dict(weights.state_dict())
        network.eval()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "network.onnx"
        export_onnx(network, file, size=size)
        model = file.read_bytes()
    return Candidate(name, size, network, entries, model, predict(network.graph, device).latency_s)


def trained(device: Device) -> list[Candidate]:
    """Released weights, as far as they are at hand."""
    candidates = []
    for name, size in TRAINED:
        try:
            weights = load(name)
        except ZooError as error:
            print(f"{name} is left out: {error}", file=sys.stderr)
            continue
        assert weights.spec is not None
        candidates.append(candidate(f"`{name}`", weights.spec, size, device, weights))
    return candidates


def timed(candidates: list[Candidate], settings: Settings) -> list[float]:
    """Seconds of each: its quietest round of some, with all others in between."""
    best = [math.inf] * len(candidates)
    for number in range(ROUNDS):
        for i, subject in enumerate(candidates):
            timing = time_of(network_sample(subject.network, subject.entries, settings, subject.model), EFFORT)
            best[i] = min(best[i], timing.median_s)
        print(f"round {number + 1} of {ROUNDS}", file=sys.stderr, flush=True)
    return best


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
    torch.set_flush_denormal(False)  # else they would count, and be timed, as the zeros that they are read as
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


def seeded(tests: list[tuple[Spec, tuple[int, int]]]) -> Iterator[tuple[Spec, tuple[int, int]]]:
    """The tests, torch seeded for each one's weights."""
    for i, test in enumerate(tests):
        torch.manual_seed(i)
        yield test


def describe(spec: Spec) -> str:
    values = {name: getattr(spec, name) for name in choices().values}
    return " ".join("/".join(map(str, v)) if isinstance(v, tuple) else str(v) for v in values.values())


def main(*, write: bool = True) -> None:
    """Print the section and write it into docs/measuring.md."""
    section = run()
    print(section)
    if not write:
        return
    text = PAGE.read_text(encoding="utf-8")
    marked = f"<!-- own-device -->\n{section}<!-- /own-device -->"
    new = re.sub(r"<!-- own-device -->.*<!-- /own-device -->", lambda match: marked, text, flags=re.DOTALL)
    PAGE.write_text(new, encoding="utf-8")


def run() -> str:
    """A Markdown section."""
    torch.set_num_threads(1)
    settings = Settings("onnxruntime", available_cores())
    name = os.environ.get("ZOO_OWN_DEVICE", "own-benchmark")
    device = measured_device(name, settings)
    sets = [
        [candidate(describe(spec), spec, size, device, None) for spec, size in seeded(test_set(seed))] for seed in SEEDS
    ]
    all_candidates = [subject for tests in [*sets, trained(device)] for subject in tests]
    rows = list(zip(all_candidates, timed(all_candidates, settings), strict=True))
    columns = [Found(rows[i * SPECS : (i + 1) * SPECS]) for i in range(len(SEEDS))]
    first, released = (
        "\n".join(subject.row(seconds) for subject, seconds in part)
        for part in (rows[:SPECS], rows[SPECS * len(SEEDS) :])
    )
    left_out_rows = "\n".join(
        f"| {kind} | {f['rows']:.0f} | {f['median_error']:.1%} | {f['within_10_percent']:.0%} |"
        for kind, f in device.held_out.items()
    )
    return (
        f"## One's own device\n\n"
        f"{device.title}. {' '.join(device.notes)}\n\n"
        f"{len(SEEDS)} sets of {SPECS} random specs of the default space, none measured, at sizes that were not "
        f"measured; timed as `zoo bench` does, in the files that `zoo export` writes; the quietest "
        f"of {ROUNDS} rounds, all other networks in between. A column is a set.\n\n"
        f"| | aim |{' found |' * len(columns)}\n| --- | --: |{' --: |' * len(columns)}\n"
        + "\n".join(
            f"| {' | '.join(row)} |"
            for row in zip(ASKED, AIMS, *(subject.column() for subject in columns), strict=True)
        )
        + "\n\n"
        f"Blocks whose structure was left out of the fit, with all its sizes, and whole networks (`network`), "
        f"each predicted from the others:\n\n"
        f"| left out | rows | median error | within 10 % |\n| --- | --: | --: | --: |\n{left_out_rows}\n\n"
        f"| {' '.join(choices().values)} | size | measured, ms | predicted, ms (90 %) | error |\n"
        f"| --- | --- | --: | --: | --: |\n"
        + first
        + "\n\nTrained networks, with the weights that their authors released:\n\n"
        + "| weights | size | measured, ms | predicted, ms (90 %) | error |\n| --- | --- | --: | --: | --: |\n"
        + released
        + f"\n\n{subnormals()}\n"
    )


if __name__ == "__main__":
    main()
