"""The bench's protocol, its table, and the runs that fill it."""

import csv
import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from search.bench.design import Entry
from zoo.errors import ZooError
from zoo.files import atomic
from zoo.spec import Spec, as_dict

if TYPE_CHECKING:
    from zoo.data.sets import Split
    from zoo.train.recipe import Recipe

TABLE = Path(__file__).with_name("runs.csv")

EPOCHS, SIZE = 12, (184, 240)
PROTOCOL = "camvid-240x184-12"
PROTOCOL_TEXT = (
    "CamVid train (367 images, SegNet split), 11 classes and void, from random weights, 12 epochs at 240x184, batch "
    "4, AdamW 2e-3 with cosine, class weights, soft Jaccard 0.5, scale 0.6 to 1.8, flip, colour; bfloat16 where it is "
    "safe; scored on CamVid val (101 images), images scaled to 240x184, logits up-sampled to the labels' 480x360, one "
    "pooled confusion matrix, void ignored; the running mean of the weights after the last epoch, no epoch chosen. "
    "A decoder works in 20 channels, as with Cityscapes' classes."
)
"""What every row of the table was measured under."""

DECODER_WIDTH = 20
FIELDS = ("protocol", "spec", "seed", "params", "miou", "curve", "epochs", "seconds", "cpu_seconds", "threads", "torch")


@dataclass(frozen=True, slots=True)
class Run:
    """One row: mIOU and curve (after each epoch) in percent; wall and processor seconds, scoring included."""

    protocol: str
    spec: dict[str, Any]
    seed: int
    params: int
    miou: float
    curve: tuple[float, ...]
    epochs: int
    seconds: float
    cpu_seconds: float
    threads: int
    torch: str

    def row(self) -> dict[str, Any]:
        """As the table has it."""
        return {
            **{name: getattr(self, name) for name in FIELDS},
            "spec": json.dumps(self.spec, separators=(",", ":")),
            "miou": f"{self.miou:.3f}",
            "curve": " ".join(f"{value:.2f}" for value in self.curve),
            "seconds": f"{self.seconds:.0f}",
            "cpu_seconds": f"{self.cpu_seconds:.0f}",
        }


def read_runs(path: Path = TABLE) -> tuple[Run, ...]:
    """All rows; none where there is no table. Raises ZooError for a row that is not one, naming its line."""
    if not path.exists():
        return ()
    with path.open(newline="", encoding="utf-8") as file:
        return tuple(_run(row, f"{path.name}, line {i}") for i, row in enumerate(csv.DictReader(file), 2))


def _run(row: dict[str, str], where: str) -> Run:
    try:
        run = Run(
            protocol=row["protocol"],
            spec=json.loads(row["spec"]),
            seed=int(row["seed"]),
            params=int(row["params"]),
            miou=float(row["miou"]),
            curve=tuple(float(value) for value in row["curve"].split()),
            epochs=int(row["epochs"]),
            seconds=float(row["seconds"]),
            cpu_seconds=float(row["cpu_seconds"]),
            threads=int(row["threads"]),
            torch=row["torch"],
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ZooError(f"{where}: is no row of the bench ({error}); its columns are {', '.join(FIELDS)}") from error
    if not all(math.isfinite(value) and 0 <= value <= 100 for value in (run.miou, *run.curve)):
        raise ZooError(f"{where}: mIOU and curve must be from 0 to 100, but are {row['miou']} and {row['curve']}")
    return run


def write_runs(runs: Sequence[Run], path: Path = TABLE) -> None:
    """Replace the table."""
    with atomic(path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, FIELDS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(run.row() for run in runs)


def trained_spec(spec: Spec) -> Spec:
    """The spec that is trained in a candidate's place: its decoder as wide as with Cityscapes' classes."""
    from zoo import spec as with_changes

    return with_changes(spec, decoder_width=DECODER_WIDTH) if getattr(spec, "variant", "") == "ESPNet" else spec


def protocol_recipe(seed: int) -> "Recipe":
    """The recipe of `PROTOCOL`."""
    from zoo.train.recipe import recipe

    return recipe("zoo", epochs=EPOCHS, size=SIZE, batch=4, lr=2e-3, warmup=0.5, ema=0.99, amp=True, seed=seed)


def measure(entry: Entry, splits: "tuple[Split, Split]", folder: Path, say: Callable[[str], None]) -> Run:
    """Train and score one entry of the design."""
    import torch

    from zoo.train.start import begin
    from zoo.train.trainer import Job, Trainer

    how = protocol_recipe(entry.seed)
    train, val = splits
    started, processor = time.perf_counter(), time.process_time()
    torch.manual_seed(entry.seed)
    begun = begin(trained_spec(entry.spec), train.labels, how.size, entry.seed)
    trainer = Trainer(Job(begun.module, begun.preprocessing, train, val, how, folder, {"model": "bench"}))
    while trainer.epoch < how.epochs:
        row = trainer.run_epoch(lambda text: None)
        say(
            f"epoch {row.epoch}/{how.epochs}: loss {row.loss:.3f}, mIOU {row.miou:.2f}, {row.images_per_s:.1f} images/s"
        )
    curve = tuple(float(row.miou or 0.0) for row in trainer.rows)
    return Run(
        PROTOCOL,
        as_dict(entry.spec),
        entry.seed,
        begun.module.graph.params,
        curve[-1],
        curve,
        how.epochs,
        time.perf_counter() - started,
        time.process_time() - processor,
        torch.get_num_threads(),
        torch.__version__,
    )


def fill(entries: Sequence[Entry], data: Path, say: Callable[[str], None], path: Path = TABLE) -> None:
    """Measure what the table does not have yet, and write it after each run: what is interrupted loses one run."""
    from zoo.data.layouts import data_set

    splits = (data_set("camvid", data, "train"), data_set("camvid", data, "val"))
    for i, entry in enumerate(entries, 1):
        done = read_runs(path)
        if any((run.protocol, run.spec, run.seed) == (PROTOCOL, as_dict(entry.spec), entry.seed) for run in done):
            continue
        say(f"{i} of {len(entries)}: seed {entry.seed}, {as_dict(entry.spec)}")
        write_runs([*read_runs(path), measure(entry, splits, path.parent, say)], path)
