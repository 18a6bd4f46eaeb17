"""Training: images a second of `zoo train` beside a plain eager loop of the same recipe, and both loss curves.

CamVid from the folder in ZOO_CAMVID or, without it, the generated scenes.
"""

import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
import torch

from benchmarks.apart import Apart
from benchmarks.page import DOCS, Section
from benchmarks.side_by_side import Comparison, duration, markdown, side_by_side
from zoo import spec as spec_of
from zoo.allocator import keep_freed_memory
from zoo.backends.choice import available_cores
from zoo.data.augment import generator
from zoo.data.batches import order
from zoo.data.classes import LabelSet
from zoo.data.datasets import data_set
from zoo.data.split import Pixels, Split
from zoo.data.synthetic import Scenes
from zoo.network import build
from zoo.specs import as_dict
from zoo.train.loss import Loss, class_weights
from zoo.train.normalise import Normalise
from zoo.train.optimise import average_, optimizer_of
from zoo.train.recipe import Recipe, learning_rate
from zoo.train.start import SCRATCH, begin
from zoo.train.trainer import Job, Trainer

SIZE = (360, 480)
BATCH = 8
NETWORKS = ("espnet-c-3", "espnet-8")
STEPS = 3
"""Steps of an epoch that is timed."""

CURVE_STEPS, CURVE_NETWORK = 60, "espnet-c-3"
AIM = 2.0
BLANK = "\n\n"
FAST = "--amp --compile"
PLAIN = "a plain eager loop"
KEPT = f"{PLAIN}, freed memory kept"
WAYS: dict[str, dict[str, bool]] = {
    PLAIN: {},
    KEPT: {},
    "zoo train": {},
    "zoo train --amp": {"amp": True},
    f"zoo train {FAST}": {"amp": True, "compile": True},
}
PLOT = DOCS / "benchmarks-training.svg"


@dataclass(frozen=True)
class Few:
    """The first samples of a split."""

    whole: Split
    count: int

    @property
    def name(self) -> str:
        return self.whole.name

    @property
    def split(self) -> str:
        return self.whole.split

    @property
    def labels(self) -> LabelSet:
        return self.whole.labels

    def __len__(self) -> int:
        return min(self.count, len(self.whole))

    def load(self, index: int) -> tuple[Pixels, Pixels]:
        return self.whole.load(index)


def samples(count: int) -> Few:
    """Training samples of CamVid or, where it is not at hand, generated ones."""
    folder = os.environ.get("ZOO_CAMVID")
    return Few(data_set("camvid", Path(folder), "train") if folder else Scenes("train", SIZE, count), count)


def recipe(epochs: int, seed: int = 0, **changes: bool) -> Recipe:
    return replace(Recipe(epochs=epochs, size=SIZE, batch=BATCH, warmup=0.0, seed=seed), **changes)  # type: ignore[arg-type]


class _Augmented(torch.utils.data.Dataset[Any]):
    """A sample as a loop of one's own has it: decoded and augmented when it is asked for."""

    def __init__(self, data: Split, plan: Recipe) -> None:
        self.data, self.how = data, plan

    def __getitem__(self, at: tuple[int, int]) -> Any:
        epoch, index = at
        return self.how.augmentation(*self.data.load(index), SIZE, generator(self.how.seed, epoch, index))


class _Order:
    """Batches of (epoch, sample), the same as `zoo train` has."""

    def __init__(self, data: Split, plan: Recipe) -> None:
        self.data, self.how, self.epoch = data, plan, 0

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        for batch in order(len(self.data), self.how.batch, self.how.seed, self.epoch):
            yield [(self.epoch, int(i)) for i in batch]


class Plain:
    """NCHW, float32, nothing compiled; torch's DataLoader with one worker process."""

    def __init__(self, name: str, data: Split, plan: Recipe) -> None:
        torch.manual_seed(plan.seed)
        spec = spec_of(name, classes=len(data.labels.classes))
        self.module, self.mean = build(spec, SIZE), build(spec, SIZE)
        self.mean.load_state_dict(self.module.state_dict())
        self.how, self.order = plan, _Order(data, plan)
        self.normalise = Normalise(SCRATCH)
        total = np.sum([np.bincount(data.load(i)[1].ravel(), minlength=256) for i in range(len(data))], axis=0)
        weights = torch.from_numpy(class_weights(total[: len(data.labels.classes)]))
        self.criterion = Loss(weights, jaccard=plan.jaccard, at=plan.loss_at)
        self.optimizer = optimizer_of(self.module, plan)
        self.batches: Any = torch.utils.data.DataLoader(
            _Augmented(data, plan),
            batch_sampler=self.order,
            num_workers=1,
            persistent_workers=True,
            collate_fn=_collate,
        )
        self.losses: list[float] = []

    def run_epoch(self) -> None:
        steps = len(list(self.order))
        self.module.train()
        for i, (images, labels) in enumerate(self.batches):
            for group in self.optimizer.param_groups:
                group["lr"] = learning_rate(self.how, self.order.epoch + i / steps)
            self.optimizer.zero_grad()
            loss = self.criterion(self.module(self.normalise(images)), labels.long())
            loss.backward()
            self.optimizer.step()
            self.losses.append(loss.item())
            step = len(self.losses)
            average_(self.mean, self.module, min(self.how.ema, (1 + step) / (10 + step)))
        self.order.epoch += 1


def _collate(pairs: list[Any]) -> tuple[torch.Tensor, torch.Tensor]:
    images, labels = zip(*pairs, strict=True)
    return torch.from_numpy(np.stack(images)), torch.from_numpy(np.stack(labels))


class Ours(Trainer):
    """`zoo train`, its losses kept."""

    def __init__(self, name: str, data: Split, plan: Recipe, run: Path) -> None:
        begun = begin(spec_of(name), data.labels, SIZE, plan.seed)
        about = {"model": name, "spec": as_dict(begun.spec)}
        super().__init__(Job(begun.module, begun.preprocessing, data, data, plan, run, about, score_every=10**6))
        self.losses: list[float] = []

    def _step(self, batch: Any, rate: float) -> float:
        self.losses.append(super()._step(batch, rate))
        return self.losses[-1]

    def epoch_alone(self) -> None:
        self.run_epoch(lambda text: None)


def way_of(name: str, way: str, threads: int) -> Callable[[], object]:
    """An epoch of STEPS steps by one way, in the process that it has for itself."""
    torch.set_flush_denormal(True)
    torch.set_num_threads(threads)
    data, plan = samples(STEPS * BATCH), recipe(10**6, **WAYS[way])
    if way != PLAIN:
        keep_freed_memory()
    if way in (PLAIN, KEPT):
        return Plain(name, data, plan).run_epoch
    return Ours(name, data, plan, Path("unused")).epoch_alone


def compared(name: str, ways: Iterable[str], rounds: int) -> tuple[Comparison, dict[str, float]]:
    """Seconds of an epoch of STEPS steps by each way, and of the first epoch of each."""
    first = {}
    with ExitStack() as stack:
        functions = {way: stack.enter_context(Apart(way_of, name, way, available_cores())) for way in ways}
        for way, function in functions.items():
            start = time.perf_counter()
            function()
            first[way] = time.perf_counter() - start
            print(f"{name}, {way}: first epoch {first[way]:.1f} s", file=sys.stderr, flush=True)
        return side_by_side(functions, rounds=rounds, least_s=0.0), first


def curves(steps: int) -> dict[str, list[float]]:
    """Loss of each step from the same start on the same batches: plain, plain with another seed, and fast."""
    data = samples(steps // 3 * BATCH)
    plan = recipe(3)
    with tempfile.TemporaryDirectory() as folder:
        reseeded = Plain(CURVE_NETWORK, data, replace(plan, seed=1))
        plain = Plain(CURVE_NETWORK, data, plan)
        fast = Ours(CURVE_NETWORK, data, replace(plan, amp=True, compile=True), Path(folder))
        for epoch in range(plan.epochs):
            for run in (plain.run_epoch, reseeded.run_epoch, fast.epoch_alone):
                run()
            print(f"loss curves, epoch {epoch + 1} of {plan.epochs}", file=sys.stderr, flush=True)
    return {PLAIN: plain.losses, f"{PLAIN}, another seed": reseeded.losses, f"zoo train {FAST}": fast.losses}


def run(full: bool) -> Section:
    """A Markdown section and, of a full run, a plot of the loss."""
    torch.set_flush_denormal(True)
    quick = [way for way, changes in WAYS.items() if way != KEPT and not changes.get("compile")]
    tables, data = [], {}
    for name in NETWORKS if full else NETWORKS[:1]:
        # Compiling takes longer than all the rest.
        comparison, first = compared(name, WAYS if full else quick, rounds=15 if full else 3)
        tables.append(
            f"{comparison.table(STEPS * BATCH, head_text=f'`{name}`')}\n\n{comparison.verdict()}{_first(first)}"
        )
        data[name] = comparison.document() | {"first_s": first}
    losses = curves(CURVE_STEPS) if full else {}
    source = "CamVid" if os.environ.get("ZOO_CAMVID") else "generated scenes"
    text = f"""\
## Training

Images a second at {SIZE[1]}x{SIZE[0]}, batch {BATCH}, {available_cores()} threads, {source}; a figure a round is
an epoch of {STEPS} steps. The plain loop is what one writes first: NCHW, float32, nothing compiled, torch's DataLoader
with one worker process; it has the recipe of `zoo train`: the same augmentation, loss with its Jaccard part, AdamW and
running mean, on the same batches. `zoo train` keeps decoded images in memory, prepares batches in one thread, and
computes in NHWC; it lets glibc keep freed memory (`zoo.allocator`), which a loop of one's own could do, too. Each way
has a process of its own. The aim is {AIM:g} times as fast.

{BLANK.join(tables)}
{_agreement(losses) if losses else ""}"""
    if losses:
        plot(losses)
    return Section(text, {"networks": data, "losses": losses})


def _first(first: dict[str, float]) -> str:
    slow = {way: seconds for way, seconds in first.items() if "--compile" in way}
    if not slow:
        return ""
    return (
        " Compiling takes a while once: the first epoch took "
        + ", ".join(f"{duration(seconds)} with `{way.removeprefix('zoo train ')}`" for way, seconds in slow.items())
        + "."
    )


def _agreement(losses: dict[str, list[float]]) -> str:
    (plain, reseeded, fast), third = losses.values(), len(next(iter(losses.values()))) // 3
    ends = {name: mean(values[-third:]) for name, values in losses.items()}
    steps = np.abs(np.array(fast) - plain).mean(), np.abs(np.array(reseeded) - plain).mean()
    rows = [(name, f"{mean(values[:third]):.4f}", f"{ends[name]:.4f}") for name, values in losses.items()]
    return f"""
Loss of `{CURVE_NETWORK}` from the same start, the same batches in the same order. Step by step the fast way differs
from the plain loop by {steps[0]:.4f} in the mean, another seed by {steps[1]:.4f}.

{markdown([("", f"mean loss, steps 1 to {third}", f"{2 * third + 1} to {3 * third}"), *rows])}

![Loss of the plain loop and of the fast way]({PLOT.name})
"""


def plot(losses: dict[str, list[float]]) -> None:
    """Loss by step; the plain loop's other seed in grey, for the size of the noise."""
    from benchmarks.plots import COLOURS, figure, save

    chart, (axes,) = figure(width=5.4)
    (plain, reseeded, fast) = losses.items()
    for (name, values), colour, style in ((reseeded, "0.7", "-"), (plain, COLOURS[0], "-"), (fast, COLOURS[1], "--")):
        axes.plot(range(1, len(values) + 1), values, style, color=colour, label=name, linewidth=1.2)
    axes.set(xlabel="step", ylabel="loss")
    axes.legend(frameon=False)
    save(chart, PLOT)
