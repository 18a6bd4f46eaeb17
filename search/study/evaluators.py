"""Evaluators of candidates by name: `published` returns the accuracy model's estimate, `train` trains."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from search.accuracy import accuracy_model
from search.trainable import DECODER, trained_spec
from zoo.errors import ConfigError, ZooError, did_you_mean
from zoo.specs import Spec, as_dict

if TYPE_CHECKING:
    from zoo.data.split import Split
    from zoo.train.recipe import Recipe
    from zoo.train.trainer import Job, Row

Report = Callable[[int, float], None]
"""Is told the mIOU after each epoch, from 1. Raises Stopped where the trial is not worth going on."""


class Stopped(Exception):
    """The trial was stopped by its rank."""


class Evaluator(Protocol):
    """Measures candidates. Travels to other processes by pickle.

    >>> from zoo import spec
    >>> evaluator = Published()
    >>> miou = evaluator.evaluate(spec("espnet-c"), number=0, seed=0, report=lambda epoch, miou: None)
    >>> 0 < miou < 100, evaluator.epochs
    (True, 0)
    """

    @property
    def name(self) -> str:
        """Its name."""

    @property
    def same_protocol(self) -> bool:
        """Whether its mIOU is what the accuracy model predicts."""

    @property
    def isolated(self) -> bool:
        """Whether it may hang or take the process down, so that it runs in one of its own."""

    @property
    def epochs(self) -> int:
        """How many it reports at most, 0 for none."""

    def describe(self) -> dict[str, Any]:
        """What a measurement depends on, as plain values: equal ones give equal measurements."""

    def check(self) -> None:
        """Raises ZooError where nothing can be measured at all: no data, no packages."""

    def evaluate(self, spec: Spec, number: int, seed: int, report: Report) -> float:
        """The mIOU in percent. Anything raised fails this trial only."""

    def portable(self) -> "Evaluator":
        """The same with everything it reads from files held in memory, for machines without them."""


@dataclass(frozen=True)
class Published:
    """The accuracy model's central estimate: deterministic, at once. images: (height, width) of what networks take."""

    model: str = "published"
    images: tuple[int, int] | None = None
    name: str = "published"
    same_protocol: bool = True
    isolated: bool = False
    epochs: int = 0

    def describe(self) -> dict[str, Any]:
        """Name of the model."""
        return {"name": self.name, "model": self.model}

    def check(self) -> None:
        """Raises ZooError for an unknown model."""
        accuracy_model(self.model)

    def evaluate(self, spec: Spec, number: int, seed: int, report: Report) -> float:
        """The estimate."""
        return accuracy_model(self.model, self.images).predict_spec(spec)[0]

    def portable(self) -> "Published":
        """Itself."""
        return self


@dataclass(frozen=True)
class Train:
    """Training by a recipe; each trial in a folder of its own below `folder`, where it also resumes.

    size: (height, width) of the images in training. changes: fields of the recipe that differ from it. sets:
    training and validation split, where they are held in memory. The mIOU is that of the best epoch on the
    validation split. What is trained is `trained_spec` of a candidate.
    """

    dataset: str
    data: str | None
    epochs: int
    size: tuple[int, int]
    folder: Path
    recipe: str = "zoo"
    changes: Mapping[str, Any] | None = None
    device: str = "cpu"
    threads: int = 1
    sets: "tuple[Split, Split] | None" = None
    name: str = "train"
    same_protocol: bool = False
    isolated: bool = True

    def describe(self) -> dict[str, Any]:
        """Data set, recipe, epochs, size: what the mIOU depends on, not where files lie."""
        return {
            "name": self.name,
            "dataset": self.dataset,
            "epochs": self.epochs,
            "size": f"{self.size[1]}x{self.size[0]}",
            "recipe": self.recipe,
            "changes": dict(self.changes or {}),
            "decoder": DECODER,
        }

    def check(self) -> None:
        """Raises ZooError where the data cannot be read or the recipe means nothing."""
        self._how(0)
        for split in self._splits():
            split.load(0)

    def evaluate(self, spec: Spec, number: int, seed: int, report: Report) -> float:
        """Train one candidate; goes on from its checkpoint where there is one."""
        import torch

        from zoo.allocator import keep_freed_memory
        from zoo.train.amp import why_not
        from zoo.train.checkpoint import STATE
        from zoo.train.loop import best_of, keep
        from zoo.train.trainer import Trainer

        torch.set_num_threads(self.threads)
        if self.isolated:
            keep_freed_memory()
        job = self._job(spec, number, seed)
        if reason := why_not(job.recipe.amp, job.device):
            print(reason, flush=True)
        trainer = Trainer(job)
        if (job.run / STATE).exists():
            trainer.resume()
        for row in list(trainer.rows):
            _tell(report, row)
        while trainer.epoch < job.recipe.epochs:
            row = trainer.run_epoch(lambda text: None)
            keep(trainer)
            print(f"epoch {row.epoch}/{job.recipe.epochs}: loss {row.loss:.4f}, mIOU {row.miou}", flush=True)
            _tell(report, row)
        best = best_of(trainer.rows)
        return math.nan if best is None or best.miou is None else best.miou

    def portable(self) -> "Train":
        """With both splits in memory."""
        train, val = self._splits()
        return replace(self, sets=(Held.of(train), Held.of(val)))

    def _splits(self) -> "tuple[Split, Split]":
        if self.sets is not None:
            return self.sets
        from zoo.data.datasets import data_set

        data = None if self.data is None else Path(self.data)
        train, val = (data_set(self.dataset, data, split) for split in ("train", "val"))
        return train, val

    def _how(self, seed: int) -> "Recipe":
        from zoo.train.recipe import Recipe, recipe

        free = [field.name for field in fields(Recipe) if field.name not in ("epochs", "size", "seed")]
        changes = dict(self.changes or {})
        for key, value in changes.items():
            if key not in free:
                raise ConfigError(
                    f"--train-set {key}: is no field of a recipe that can be set; {did_you_mean(key, free)}"
                )
            changes[key] = tuple(value) if isinstance(value, list) else value
        try:
            return recipe(self.recipe, epochs=self.epochs, size=self.size, seed=seed, **changes)
        except (TypeError, ZooError) as error:  # a text where a number belongs, a number that cannot be
            raise ConfigError(f"--train-set: {changes}: {error}") from None

    def _job(self, spec: Spec, number: int, seed: int) -> "Job":
        from zoo.train.start import begin
        from zoo.train.trainer import Job

        train, val = self._splits()
        recipe = self._how(seed)
        begun = begin(trained_spec(spec), train.labels, recipe.size, seed)
        about = {"model": f"trial {number}", "spec": as_dict(begun.spec), "init": None}
        run = self.folder / f"{number:04}"
        run.mkdir(parents=True, exist_ok=True)
        return Job(begun.module, begun.preprocessing, train, val, recipe, run, about, self.device)


def _tell(report: Report, row: "Row") -> None:
    """A recipe may leave epochs unscored."""
    if row.miou is not None:
        report(row.epoch, row.miou)


@dataclass(frozen=True)
class Held:
    """A split in memory."""

    name: str
    split: str
    labels: Any
    samples: tuple[Any, ...]

    @classmethod
    def of(cls, split: "Split") -> "Held":
        """Read all of a split."""
        return cls(split.name, split.split, split.labels, tuple(split.load(i) for i in range(len(split))))

    def __len__(self) -> int:
        return len(self.samples)

    def load(self, index: int) -> Any:
        """Image and class indices."""
        return self.samples[index]


def checked(miou: float) -> float:
    """The mIOU itself. Raises ZooError where it is none."""
    if not math.isfinite(miou) or not 0 <= miou <= 100:
        raise ZooError(f"the evaluation returned a mIOU of {miou}, which must be a number from 0 to 100")
    return float(miou)
