"""Training: images a second of `zoo train`'s steps beside a plain eager loop on tensors that lie ready."""

import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional

from zoo import spec as spec_of
from zoo.data.batches import Maker
from zoo.data.labels import CAMVID
from zoo.data.scenes import Scenes
from zoo.network import build
from zoo.spec import as_dict
from zoo.train.recipe import Recipe
from zoo.train.start import begin
from zoo.train.trainer import Job, Trainer

SIZE = (360, 480)
BATCH = 8
STEPS = 3
WARM_UP = 2
NETWORKS = ("espnet-c-3", "espnet-8")
WAYS = {
    "channels-last": {},
    "and compile": {"compile": True},
    "and bfloat16": {"amp": True},
    "and both": {"amp": True, "compile": True},
}


def plain(name: str) -> float:
    """Images a second of forward, cross-entropy, backward and Adam, and of nothing else."""
    module = build(spec_of(name, classes=11), SIZE)
    optimizer = torch.optim.Adam(module.parameters(), 5e-4)
    images, labels = torch.randn(BATCH, 3, *SIZE), torch.randint(0, 11, (BATCH, *SIZE))

    def step() -> None:
        logits = functional.interpolate(module(images), size=SIZE, mode="bilinear", align_corners=False)
        optimizer.zero_grad()
        functional.cross_entropy(logits, labels).backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    for _ in range(WARM_UP):
        step()
    start = time.perf_counter()
    for _ in range(STEPS):
        step()
    return STEPS * BATCH / (time.perf_counter() - start)


def ours(name: str, run: Path, **changes: bool) -> float:
    """Images a second of the recipe's steps: augmentation, its loss and the running mean included."""
    how = replace(Recipe(epochs=100, size=SIZE, batch=BATCH), **changes)  # type: ignore[arg-type]
    begun = begin(spec_of(name), CAMVID, SIZE, 0)
    data = Scenes("train", SIZE, BATCH)
    about = {"model": name, "spec": as_dict(begun.spec)}
    trainer = Trainer(Job(begun.module, begun.preprocessing, data, data, how, run, about, score_every=100))
    for _ in range(WARM_UP):
        trainer.run_epoch(lambda text: None)
    return float(np.median([trainer.run_epoch(lambda text: None).images_per_s for _ in range(STEPS)]))


def pipeline() -> float:
    """Images a second that one thread decodes from memory and augments."""
    how = Recipe(size=SIZE)
    data = Scenes("train", SIZE, BATCH)
    kept = [data.load(i) for i in range(BATCH)]
    maker = Maker(kept.__getitem__, how.augmentation, SIZE, 0)
    start = time.perf_counter()
    for epoch in range(STEPS):
        maker(epoch, np.arange(BATCH))
    return STEPS * BATCH / (time.perf_counter() - start)


def run() -> str:
    """A Markdown section."""
    torch.set_flush_denormal(True)
    rows = []
    for name in NETWORKS:
        base = plain(name)
        cells = [f"{base:.1f}"]
        for changes in WAYS.values():
            with tempfile.TemporaryDirectory() as folder:
                speed = ours(name, Path(folder), **changes)
            cells.append(f"{speed:.1f} ({speed / base:.1f}×)")
        rows.append(f"| `{name}` | " + " | ".join(cells) + " |")
    head = f"| network | plain eager | {' | '.join(WAYS)} |\n| --- | --: |{' --: |' * len(WAYS)}\n"
    protocol = (
        f"Images a second at {SIZE[1]}x{SIZE[0]}, batch {BATCH}, {torch.get_num_threads()} threads, torch "
        f"{torch.__version__}. Plain eager is forward, cross-entropy, backward and Adam on tensors that lie ready; "
        "the others are steps of `zoo train` with all that belongs to them: augmentation, normalisation, the loss "
        "with its Jaccard part, the running mean. One thread of the data pipeline makes "
        f"{pipeline():.0f} images a second.\n\n"
    )
    return "## Training\n\n" + protocol + head + "\n".join(rows) + "\n"
