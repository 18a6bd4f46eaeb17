"""The state of a run, and one epoch of it."""

import copy
import json
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from zoo.data.batches import Batch, Cache, Maker, ahead, order
from zoo.data.class_folders import Folders
from zoo.data.classes import labels_about
from zoo.data.crops import RandomPart, resized
from zoo.data.split import Pixels, Split
from zoo.errors import ZooError
from zoo.evaluate.classification import Ranking, ranking
from zoo.evaluate.metrics import VOID, Scores
from zoo.evaluate.segmentation import pooled
from zoo.inference.preprocess import Preprocessing
from zoo.reading import parse_json
from zoo.text import one_line
from zoo.train.amp import computes_in_bfloat16, pad_convolutions_
from zoo.train.checkpoint import load_state, plain, restoring, save_state
from zoo.train.distil import StoredTeacher, Teaches
from zoo.train.loss import Loss, class_weights
from zoo.train.normalise import Normalise
from zoo.train.optimise import average_, optimizer_of, set_learning_rate
from zoo.train.parallel import ALONE, Ranks
from zoo.train.prelu import speed_up_prelus_
from zoo.train.recipe import Recipe, learning_rate

NO_VOID = -100
"""Label that no image has: a classifier's data know no void, and 255 may be a class."""

Progress = Callable[[str], None]
"""Is told how far the run is; a text that ends with a newline ends an epoch."""


MOST = 1024
"""Most threads that prepare batches, and epochs between two scores."""


def check_device(name: str) -> None:
    """Raise ZooError unless this machine has the device of a name: cpu, cuda, or cuda:N."""
    kind, _, number = name.partition(":")
    if kind not in ("cpu", "cuda") or (number and not number.isdecimal()) or (kind == "cpu" and number):
        raise ZooError(f"--device {one_line(name, 40)}: must be cpu, cuda, or cuda:N for the N-th of several")
    if kind == "cuda" and int(number or 0) >= torch.cuda.device_count():
        count = torch.cuda.device_count()
        raise ZooError(
            f"--device {name}: torch sees {count or 'no'} such device{'s'[: count > 1]} here; give --device cpu"
        )


class TrainingError(ZooError):
    """A run that cannot go on; its last good state is kept."""


@dataclass(frozen=True, slots=True)
class Job:
    """What is trained on what, how, and where the results go.

    about: what is written into the weights beside: model, spec, labels, preprocessing, init. val: the split
    that is scored after every `score_every` epochs and the last. workers: threads that prepare batches.
    """

    module: nn.Module
    preprocessing: Preprocessing
    train: Split
    val: Split
    recipe: Recipe
    run: Path
    about: Mapping[str, Any]
    device: str = "cpu"
    workers: int = 1
    score_every: int = 1
    teacher: Teaches | None = None
    ranks: Ranks = ALONE

    def __post_init__(self) -> None:
        check_device(self.device)
        least = {"workers": 0, "score_every": 1}
        for name, low in least.items():
            if not low <= getattr(self, name) <= MOST:
                raise ZooError(f"{name} must be from {low} to {MOST}, but is {getattr(self, name)}")

    @property
    def classifies(self) -> bool:
        """Whether a sample has one label, and not one a pixel."""
        return isinstance(self.train, Folders)

    @property
    def identity(self) -> dict[str, Any]:
        """What must not change between a run and its continuation; it is also the weights' metadata."""
        return {
            **self.about,
            "labels": labels_about(self.train.labels),
            "preprocessing": self.preprocessing.to_dict(),
            "recipe": plain(self.recipe),
            "dataset": self.train.name,
            "images": [len(self.train), len(self.val)],
            "ranks": self.ranks.count,
        }


@dataclass(frozen=True, slots=True)
class Row:
    """One epoch of the log; scores in percent, on the validation split, of the kept weights, or None.

    A classifier has top1 and top5 (the truth is the first answer, among the first five), other networks miou.
    waiting: share of the training's time, without the scoring, in which the next batch was not ready.
    """

    epoch: int
    loss: float
    miou: float | None
    lr: float
    images_per_s: float
    seconds: float
    top1: float | None = None
    top5: float | None = None
    waiting: float | None = None

    @classmethod
    def from_plain(cls, values: Any) -> "Row":
        """The row of plain values. Raises TypeError or ValueError for values that are none."""
        row = cls(**values)
        for name, value in values.items():
            absent = value is None and name in ("miou", "top1", "top5", "waiting")
            if not absent and (isinstance(value, bool) or not isinstance(value, (int, float)) or value < 0):
                raise ValueError(f"{name} is {value!r}")
        return row

    @property
    def score(self) -> float | None:
        """The one that says which epoch is best."""
        return self.miou if self.top1 is None else self.top1

    @property
    def scores(self) -> dict[str, float | None]:
        """All that there are, by name."""
        return {"miou": self.miou} if self.top1 is None else {"top1": self.top1, "top5": self.top5}


class Trainer:
    """Module, running mean of its weights, optimiser, and how far they are."""

    def __init__(self, job: Job) -> None:
        recipe = job.recipe
        torch.set_flush_denormal(True)
        self.job = job
        self.amp = computes_in_bfloat16(recipe.amp, job.device)
        self.load_train, self.load_val = Cache(job.train), Cache(job.val)
        if self.amp and job.device == "cpu":
            pad_convolutions_(job.module)
        if job.device == "cpu" and not recipe.compile:  # which fuses it, and better
            speed_up_prelus_(job.module)
        self.layout = torch.channels_last if recipe.channels_last else torch.contiguous_format
        self.module = job.module.to(job.device).to(memory_format=self.layout)  # type: ignore[call-overload]
        self.mean = copy.deepcopy(self.module) if recipe.ema else self.module
        self.normalise = Normalise(job.preprocessing).to(job.device)
        loss = Loss(self._class_weights(), jaccard=recipe.jaccard, at=recipe.loss_at, void=self.void).to(job.device)
        # Apart, because torch 2.13 on a CPU makes all gradients zero when network and loss are compiled as one.
        self.forward: Any = job.ranks.wrap(self.module)
        if recipe.compile:
            self.forward = torch.compile(self.forward)
        self.criterion: Callable[[Tensor, Tensor], Tensor] = loss.compiled() if recipe.compile else loss
        self.optimizer = optimizer_of(self.module, recipe)
        self.epoch = self.step = 0
        self.rows: list[Row] = []

    @property
    def void(self) -> int:
        """The label that the loss leaves out."""
        return NO_VOID if self.job.classifies else VOID

    def _class_weights(self) -> Tensor | None:
        if not self.job.recipe.class_weights:
            return None
        total = np.zeros(256, np.int64)
        for index in range(len(self.job.train)):
            total += np.bincount(self.load_train(index)[1].ravel(), minlength=256)
        if not total[: len(self.job.train.labels.classes)].any():
            raise ZooError(
                f"{self.job.train.name}: no pixel of the split {self.job.train.split} has a label; check the masks"
            )
        return torch.from_numpy(class_weights(total[: len(self.job.train.labels.classes)]))

    def resume(self) -> None:
        """Go on from the run's checkpoint. Raises ZooError where it is of another run."""
        state = load_state(self.job.run, self.job.identity)
        with restoring(self.job.run):
            rows = [Row.from_plain(row) for row in parse_json(state["rows"], "rows")]
            if [row.epoch for row in rows] != [*range(1, state["epoch"] + 1)]:
                raise ValueError("its rows are not those of its epochs")
            self.module.load_state_dict(state["module"])
            self.mean.load_state_dict(state["mean"] or state["module"])
            self.optimizer.load_state_dict(state["optimizer"])
            torch.set_rng_state(state["rng"])
        self.epoch, self.step, self.rows = state["epoch"], state["step"], rows

    def save(self) -> None:
        """Write the run's checkpoint."""
        state = {
            "identity": json.dumps(self.job.identity),
            "module": self.module.state_dict(),
            "mean": {} if self.mean is self.module else self.mean.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "rng": torch.get_rng_state(),
            "epoch": self.epoch,
            "step": self.step,
            "rows": json.dumps([plain(row) for row in self.rows]),
        }
        save_state(self.job.run, state)

    def run_epoch(self, progress: Progress) -> Row:
        """Train one epoch, score it, and append its row."""
        recipe = self.job.recipe
        started = time.perf_counter()
        losses: list[float] = []
        groups = getattr(self.job.train, "groups", None)
        batches = order(len(self.job.train), recipe.batch, recipe.seed, self.epoch, groups)
        self.module.train()
        ready, waited = self._batches(batches), 0.0
        for i in range(len(batches)):
            requested_at = time.perf_counter()
            batch = next(ready)
            waited += time.perf_counter() - requested_at
            losses.append(self._step(batch, learning_rate(recipe, self.epoch + i / len(batches))))
            speed = (i + 1) * recipe.batch / (time.perf_counter() - started)
            left = (len(batches) - i - 1) * recipe.batch / speed
            progress(
                f"epoch {self.epoch + 1}/{recipe.epochs}, step {i + 1}/{len(batches)}: loss {losses[-1]:.3f}, "
                f"{speed:.1f} images/s, {left:.0f} s left"
            )
        trained = time.perf_counter() - started
        self.epoch += 1
        self.rows.append(
            Row(
                epoch=self.epoch,
                loss=float(np.mean(losses)),
                **(self.scores() if self._is_scored() else {"miou": None}),
                lr=learning_rate(recipe, self.epoch - 1 / len(batches)),
                images_per_s=len(batches) * recipe.batch / trained,
                seconds=time.perf_counter() - started,
                waiting=waited / trained,
            )
        )
        return self.rows[-1]

    def _is_scored(self) -> bool:
        """Whether the epoch that has just ended is scored: each `score_every`-th, and the last."""
        return self.epoch % self.job.score_every == 0 or self.epoch == self.job.recipe.epochs

    def _batches(self, batches: list[Any]) -> Iterator[Batch]:
        recipe, ranks = self.job.recipe, self.job.ranks
        augment = RandomPart(recipe.augmentation) if self.job.classifies else recipe.augmentation
        stored = self.job.teacher.targets if isinstance(self.job.teacher, StoredTeacher) else None
        maker = Maker(self.load_train, augment, recipe.size, recipe.seed, stored)
        return ahead(maker, self.epoch, [ranks.share(batch) for batch in batches], self.job.workers)

    def _step(self, batch: Batch, rate: float) -> float:
        recipe = self.job.recipe
        arrays = [torch.from_numpy(x).to(self.job.device) for x in batch]
        set_learning_rate(self.optimizer, rate)
        self.optimizer.zero_grad(set_to_none=True)
        total = 0.0
        for images, labels, *stored in zip(*(x.chunk(recipe.accumulate) for x in arrays), strict=True):
            loss = self._loss(images, labels.long(), stored) / recipe.accumulate
            loss.backward()  # type: ignore[no-untyped-call]
            total += loss.item()
        total = self.job.ranks.mean(total)
        if not math.isfinite(total):
            raise TrainingError(
                f"the loss is {total} in epoch {self.epoch + 1}; the state after epoch {self.epoch} is kept in "
                f"{self.job.run}: train on from its {'weights' if self.epoch else 'start'} with a lower --lr"
            )
        self.optimizer.step()
        self.step += 1
        if self.mean is not self.module:
            average_(self.mean, self.module, min(recipe.ema, (1 + self.step) / (10 + self.step)))
        return total

    def _loss(self, images: Tensor, labels: Tensor, stored: Sequence[Tensor]) -> Tensor:
        x = self.normalise(images).contiguous(memory_format=self.layout)
        with torch.autocast(self.job.device.partition(":")[0], torch.bfloat16, enabled=self.amp):
            logits: Tensor = self._forward(x)
        loss: Tensor = self.criterion(logits, labels)
        if self.job.teacher is not None:
            loss = loss + self.job.teacher.loss(logits.float(), images, *stored)
        return loss

    def _forward(self, x: Tensor) -> Any:
        try:
            return self.forward(x)
        except ValueError as error:
            if "more than 1 value per channel" not in str(error):
                raise
            raise TrainingError(
                f"a batch of {len(x)} image{'s'[: len(x) > 1]} leaves this network's batch normalisation one value: "
                "this network needs a batch of at least 2; raise --batch, lower --accumulate, or add images"
            ) from None

    def scores(self) -> dict[str, Any]:
        """Scores on the validation split, by their names in a `Row`."""
        if not self.job.classifies:
            return {"miou": self.score().miou}
        ranks = self.rank()
        return {"miou": None, "top1": ranks.top1, "top5": ranks.top5}

    def rank(self) -> Ranking:
        """A classifier's scores on the middles of the validation split's images."""
        self.mean.eval()
        self.job.ranks.agree_(self.mean)
        own_share = self.job.ranks.share(np.arange(len(self.job.val)))
        total = ranking(self._all_logits, self.load_val, own_share, self.job.recipe.size)
        return Ranking(*map(int, self.job.ranks.sum(total)))

    def score(self) -> Scores:
        """Scores on the validation split: images at the recipe's size, labels at their own, void ignored."""
        self.mean.eval()
        self.job.ranks.agree_(self.mean)
        classes = len(self.job.val.labels.classes)
        matrix = pooled(self._logits, self._sized, self.job.ranks.share(np.arange(len(self.job.val))), classes)
        return Scores(self.job.ranks.sum(matrix))

    def _sized(self, index: int) -> tuple[Pixels, Pixels]:
        image, labels = self.load_val(index)
        if image.shape[:2] == self.job.recipe.size:
            return image, labels
        whole = (0.0, 0.0, float(image.shape[1]), float(image.shape[0]))
        return np.array(resized(image, self.job.recipe.size, whole)), labels

    def _logits(self, images: Tensor) -> Tensor:
        return self._all_logits(images)[0]

    def _all_logits(self, images: Tensor) -> Tensor:
        x = self.normalise(images.to(self.job.device)).contiguous(memory_format=self.layout)
        logits: Tensor = self.mean(x)
        return logits
