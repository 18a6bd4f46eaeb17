"""A whole run: epochs with a checkpoint each, resumable to the same result."""

import csv
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import torch

from zoo.claims import TRAINING, claimed
from zoo.errors import ZooError
from zoo.files import atomic, make_folder
from zoo.reading import exists
from zoo.train.checkpoint import BEST, LAST, STATE, plain, save_weights
from zoo.train.trainer import Job, Progress, Row, Trainer

LOG = "log.csv"
"""One row an epoch."""


@dataclass(frozen=True, slots=True)
class Trained:
    """A run as far as it got."""

    run: Path
    rows: tuple[Row, ...]

    @property
    def best(self) -> Row | None:
        """The row with the highest score, the earlier one of equals; None where none was scored."""
        return best_of(self.rows)

    @property
    def weights(self) -> Path:
        """The weights of the best row or, where none was scored, of the last."""
        return self.run / (BEST if self.best else LAST)


def train(
    job: Job, *, resume: bool = False, progress: Progress = lambda text: None, stop_after: int | None = None
) -> Trained:
    """Train to the recipe's last epoch; checkpoint, log, last and best weights are written after each.

    `stop_after` ends the run early after that epoch, to be resumed. Whatever stops a run, all but its
    current epoch is kept. Raises TrainingError where the loss is no longer finite, and ZooError where the
    folder holds another run or cannot be written, or the data are not what they should be.
    """
    with ExitStack() as claim:
        if job.ranks.first:
            claim.enter_context(claimed(job.run, TRAINING))
        else:
            make_folder(job.run)
        if not resume and exists(job.run / STATE):
            raise ZooError(f"{job.run}: holds a run already; go on with it by --resume, or give another folder with -o")
        return _train(job, resume, progress, stop_after)


def _train(job: Job, resume: bool, progress: Progress, stop_after: int | None) -> Trained:
    torch.manual_seed(job.recipe.seed)
    trainer = Trainer(job)
    if resume:
        trainer.resume()
    last = min(job.recipe.epochs, stop_after or job.recipe.epochs)
    while trainer.epoch < last:
        row = trainer.run_epoch(progress)
        if job.ranks.first:
            keep(trainer)
        left_s = (last - row.epoch) * median(r.seconds for r in trainer.rows)
        scores = "".join(f"{said(key)} {value:.2f}, " for key, value in row.scores.items() if value is not None)
        progress(
            f"epoch {row.epoch}/{job.recipe.epochs}: loss {row.loss:.4f}, {scores}"
            f"{row.images_per_s:.1f} images/s ({row.waiting or 0:.0%} waiting for data), {row.seconds:.0f} s, "
            f"{left_s / 60:.0f} min left\n"
        )
    return Trained(job.run, tuple(trainer.rows))


def best_of(rows: Sequence[Row]) -> Row | None:
    """The row with the highest mIOU or top-1, the earlier one of equals; None where none was scored."""
    scored = [row for row in rows if row.score is not None]
    return max(scored, key=lambda row: (row.score, -row.epoch)) if scored else None


def said(score: str) -> str:
    """A score as people write it.

    >>> said("top1"), said("miou")
    ('top-1', 'mIOU')
    """
    return "mIOU" if score == "miou" else score.replace("top", "top-")


def keep(trainer: Trainer) -> None:
    """Write what is new after an epoch; the checkpoint last, so that it never runs ahead of the weights."""
    run, row = trainer.job.run, trainer.rows[-1]
    about = {**trainer.job.identity, "epoch": row.epoch, **row.scores}
    state = trainer.mean.state_dict()
    if best_of(trainer.rows) is row:
        save_weights(run / BEST, state, about)
    save_weights(run / LAST, state, about)
    with atomic(run / LOG) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        absent = ("miou",) if trainer.job.classifies else ("top1", "top5")
        writer = csv.DictWriter(file, [key for key in plain(row) if key not in absent], extrasaction="ignore")
        writer.writeheader()
        writer.writerows(plain(r) for r in trainer.rows)
    trainer.save()
