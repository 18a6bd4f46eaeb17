"""The training loop: epochs with a checkpoint each, resumable to the same result."""

import copy
import csv
import json
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from zoo.data.batches import Cache, Maker, ahead, order
from zoo.data.sets import DataSet
from zoo.errors import ZooError
from zoo.evaluate import pooled
from zoo.files import atomic, make_folder
from zoo.metrics import VOID, Scores
from zoo.preprocess import Preprocessing
from zoo.train.amp import pad_convolutions_
from zoo.train.checkpoint import load_state, plain, save_state, save_weights
from zoo.train.loss import Loss, class_weights
from zoo.train.normalise import Normalise
from zoo.train.recipe import Recipe, learning_rate

Progress = Callable[[str], None]


class TrainingError(ZooError):
    """A run that cannot go on; its last good state is kept."""


@dataclass(frozen=True, slots=True)
class Row:
    """One epoch of the log; miou in percent, on the validation split."""

    epoch: int
    loss: float
    miou: float
    lr: float
    images_per_s: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Trained:
    """A finished run."""

    run: Path
    rows: tuple[Row, ...]
    best: Row
    weights: Path


@dataclass(frozen=True, slots=True)
class Job:
    """What is trained on what; `about` is written into the weights: spec, labels, preprocessing, init."""

    module: nn.Module
    preprocessing: Preprocessing
    train: DataSet
    val: DataSet
    recipe: Recipe
    run: Path
    about: Mapping[str, Any]
    device: str = "cpu"
    workers: int = 1

    @property
    def identity(self) -> dict[str, Any]:
        """What must not change between a run and its continuation."""
        return {**self.about, "recipe": plain(self.recipe), "samples": [len(self.train), len(self.val)]}


class Trainer:
    """The state of a run: module, running mean of its weights, optimiser, and where it stands."""

    def __init__(self, job: Job) -> None:
        how = job.recipe
        torch.set_flush_denormal(True)
        self.job = job
        self.load_train, self.load_val = Cache(job.train), Cache(job.val)
        layout = torch.channels_last if how.channels_last else torch.contiguous_format
        if how.amp and job.device == "cpu":
            pad_convolutions_(job.module)
        self.module = job.module.to(job.device).to(memory_format=layout)  # type: ignore[call-overload]
        self.mean = copy.deepcopy(self.module) if how.ema else self.module
        self.normalise = Normalise(job.preprocessing).to(job.device)
        self.loss = Loss(self._weights(), jaccard=how.jaccard, at=how.loss_at).to(job.device)
        self.optimizer = optimizer_of(self.module, how)
        # In bfloat16 on a CPU the compiled network's gradients are wrong (torch 2.13); the loss's are right.
        self.forward = torch.compile(self.module) if how.compile and not how.amp else self.module
        self.criterion = torch.compile(self.loss) if how.compile else self.loss
        self.layout = layout
        self.epoch = self.step = 0
        self.rows: list[Row] = []

    def _weights(self) -> Tensor | None:
        if not self.job.recipe.class_weights:
            return None
        return torch.from_numpy(class_weights(pixel_counts(self.load_train, self.job.train)))

    def _loss_of(self, images: Tensor, labels: Tensor) -> Tensor:
        with torch.autocast(self.job.device.partition(":")[0], torch.bfloat16, enabled=self.job.recipe.amp):
            logits = self.forward(images)
        loss: Tensor = self.criterion(logits, labels)
        return loss

    def resume(self) -> None:
        """Go on from the run's checkpoint."""
        state = load_state(self.job.run, self.job.identity)
        self.module.load_state_dict(state["module"])
        if self.mean is not self.module:
            self.mean.load_state_dict(state["mean"])
        self.optimizer.load_state_dict(state["optimizer"])
        torch.set_rng_state(state["rng"])
        self.epoch, self.step = state["epoch"], state["step"]
        self.rows = [Row(**row) for row in json.loads(state["rows"])]

    def save(self) -> None:
        """Write the run's checkpoint."""
        state = {
            "identity": json.dumps(self.job.identity),
            "module": self.module.state_dict(),
            "mean": self.mean.state_dict() if self.mean is not self.module else {},
            "optimizer": self.optimizer.state_dict(),
            "rng": torch.get_rng_state(),
            "epoch": self.epoch,
            "step": self.step,
            "rows": json.dumps([plain(row) for row in self.rows]),
        }
        save_state(self.job.run, state)

    def run_epoch(self, progress: Progress) -> Row:
        """Train one epoch, score it, and return its row."""
        how, job = self.job.recipe, self.job
        started = time.perf_counter()
        batches = order(len(job.train), how.batch, how.seed, self.epoch)
        maker = Maker(self.load_train, how.augmentation, how.size, how.seed)
        self.module.train()
        losses: list[float] = []
        for i, (images, labels) in enumerate(ahead(maker, self.epoch, batches, job.workers)):
            rate = learning_rate(how, self.epoch + i / len(batches))
            losses.append(self._step(torch.from_numpy(images), torch.from_numpy(labels).long(), rate))
            speed = (i + 1) * how.batch / (time.perf_counter() - started)
            progress(f"epoch {self.epoch + 1}/{how.epochs} step {i + 1}/{len(batches)} loss {losses[-1]:.3f} {speed:.1f} images/s")
        trained = time.perf_counter()
        self.epoch += 1
        return Row(
            epoch=self.epoch,
            loss=float(np.mean(losses)),
            miou=self.score().miou,
            lr=learning_rate(how, self.epoch),
            images_per_s=len(batches) * how.batch / (trained - started),
            seconds=time.perf_counter() - started,
        )

    def _step(self, images: Tensor, labels: Tensor, rate: float) -> float:
        how = self.job.recipe
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad(set_to_none=True)
        total = 0.0
        parts = how.accumulate
        for x, y in zip(images.chunk(parts), labels.chunk(parts), strict=True):
            inputs = self.normalise(x.to(self.job.device)).contiguous(memory_format=self.layout)
            loss = self._loss_of(inputs, y.to(self.job.device)) / parts
            loss.backward()  # type: ignore[no-untyped-call]
            total += loss.item()
        if not math.isfinite(total):
            raise TrainingError(
                f"the loss is {total} in epoch {self.epoch + 1}; the state after epoch {self.epoch} is kept in "
                f"{self.job.run}: lower --lr and train from its weights with --init"
            )
        self.optimizer.step()
        self.step += 1
        if self.mean is not self.module:
            average_(self.mean, self.module, min(how.ema, (1 + self.step) / (10 + self.step)))
        return total

    def score(self) -> Scores:
        """Scores on the validation split at its own resolution, void ignored."""
        self.mean.eval()
        classes = len(self.job.val.labels.classes)
        return Scores(pooled(self._scored, self.normalise, self.load_val, len(self.job.val), classes))

    def _scored(self, x: Tensor) -> Tensor:
        logits: Tensor = self.mean(x.to(self.job.device).contiguous(memory_format=self.layout))
        return logits


def optimizer_of(module: nn.Module, how: Recipe) -> torch.optim.Optimizer:
    """Adam or AdamW; AdamW decays matrices and kernels only, not the scales, shifts and slopes."""
    if how.optimizer == "adam":
        return torch.optim.Adam(module.parameters(), how.lr, weight_decay=how.weight_decay)
    decayed = [p for p in module.parameters() if p.dim() > 1]
    others = [p for p in module.parameters() if p.dim() <= 1]
    groups = [{"params": decayed, "weight_decay": how.weight_decay}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, how.lr)


def average_(mean: nn.Module, module: nn.Module, decay: float) -> None:
    """Exponential moving average of the weights and BN statistics, in place."""
    with torch.no_grad():
        for old, new in zip(mean.state_dict().values(), module.state_dict().values(), strict=True):
            if old.is_floating_point():
                old.lerp_(new, 1 - decay)
            else:
                old.copy_(new)


def pixel_counts(load: Callable[[int], tuple[Any, Any]], data: DataSet) -> Any:
    """Pixels of each class over a split, void left out."""
    total = np.zeros(256, np.int64)
    for index in range(len(data)):
        total += np.bincount(load(index)[1].ravel(), minlength=256)
    total[VOID] = 0
    return total[: len(data.labels.classes)]


def train(job: Job, *, resume: bool = False, progress: Progress = lambda text: None, stop_after: int | None = None) -> Trained:
    """Train to the recipe's last epoch; a checkpoint, the log and the best weights are written after each.

    `stop_after` ends the run early at that epoch, to be resumed. Raises TrainingError where the loss is no
    longer finite, and ZooError wherever the data or the folder are not what they should be.
    """
    make_folder(job.run)
    torch.manual_seed(job.recipe.seed)
    trainer = Trainer(job)
    if resume:
        trainer.resume()
    while trainer.epoch < min(job.recipe.epochs, stop_after or job.recipe.epochs):
        row = trainer.run_epoch(progress)
        trainer.rows.append(row)
        _keep(trainer, row)
        left = (job.recipe.epochs - row.epoch) * float(np.median([r.seconds for r in trainer.rows]))
        progress(
            f"epoch {row.epoch}/{job.recipe.epochs} done: loss {row.loss:.4f} mIOU {row.miou:.2f} "
            f"{row.images_per_s:.1f} images/s {row.seconds:.0f} s, {left / 60:.0f} min left\n"
        )
    return Trained(job.run, tuple(trainer.rows), best_of(trainer.rows), job.run / "best.safetensors")


def best_of(rows: list[Row]) -> Row:
    """The row with the highest mIOU, the earlier one of equals."""
    return max(rows, key=lambda row: (row.miou, -row.epoch))


def _keep(trainer: Trainer, row: Row) -> None:
    job = trainer.job
    about = {**job.about, "recipe": plain(job.recipe), "epoch": row.epoch, "miou": row.miou}
    if best_of(trainer.rows) is row:
        save_weights(job.run / "best.safetensors", trainer.mean.state_dict(), about)
    save_weights(job.run / "last.safetensors", trainer.mean.state_dict(), about)
    trainer.save()
    with atomic(job.run / "log.csv") as partial, partial.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(plain(row)))
        writer.writeheader()
        writer.writerows(plain(r) for r in trainer.rows)
