"""The bench's protocol, its table, and the runs that fill it."""

import csv
import json
import math
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from search.accuracy.bench.design import Entry
from search.trainable import trained_spec
from zoo.errors import SpecError, ZooError, did_you_mean
from zoo.files import atomic
from zoo.reading import csv_reader, exists, parse_json
from zoo.registry import spec_from_dict
from zoo.specs import Spec, as_dict
from zoo.text import one_line

if TYPE_CHECKING:
    from zoo.data.split import Split
    from zoo.train.recipe import Recipe

TABLE = Path(__file__).with_name("runs.csv")

EPOCHS, SIZE = 8, (184, 240)
PROTOCOL = "camvid-240x184-8e"
PROTOCOL_TEXT = (
    "CamVid train (367 images, SegNet split), 11 classes and void, from random weights, 8 epochs at 240x184, batch "
    "4, AdamW 2e-3 with cosine, class weights, soft Jaccard 0.5, scale 0.6 to 1.8, flip, colour; bfloat16 where it is "
    "safe; scored on CamVid val (101 images), images scaled to 240x184, logits up-sampled to the labels' 480x360, one "
    "pooled confusion matrix, void ignored; the running mean of the weights after the last epoch, no epoch chosen. "
    "A decoder works in 20 channels, as with Cityscapes' classes."
)
"""What every row of the table was measured under."""

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

    @property
    def network(self) -> Spec:
        """What was asked to be trained; `trained_spec` says what was."""
        return spec_from_dict(self.spec)

    @property
    def key(self) -> tuple[str, str, int]:
        """What two rows of a table may not share."""
        return self.protocol, json.dumps(self.spec), self.seed

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
    """All rows; none where there is no table. Raises BenchError for a row that is not one, naming its line."""
    if not exists(path):
        return ()
    try:
        runs = tuple(_runs(csv_reader(path, BenchError), path))
    except csv.Error as error:
        raise BenchError(f"{path}: cannot be read as a table ({error}); give another with --table") from None
    lines: dict[tuple[str, str, int], int] = {}
    for line, run in enumerate(runs, 2):
        if lines.setdefault(run.key, line) != line:
            location, first_line = f"{path}, line {line}", lines[run.key]
            raise BenchError(
                f"{location}: is the same spec, seed and protocol as line {first_line}; remove one of them"
            )
    return runs


class BenchError(ZooError):
    """The file is not a valid bench table."""


def _runs(rows: "csv.DictReader[str]", path: Path) -> Iterator[Run]:
    columns = rows.fieldnames or ()
    for name in columns:
        if name not in FIELDS:
            raise BenchError(f"{path}: the column {name!r} is unknown; {did_you_mean(name, FIELDS)}")
    for name in FIELDS:
        if name not in columns:
            raise BenchError(f"{path}: the column {name!r} is missing; a table has {', '.join(FIELDS)}")
    for line, row in enumerate(rows, 2):
        location = f"{path}, line {line}"
        if None in row or None in row.values():
            raise BenchError(f"{location}: must have {len(FIELDS)} values; remove the line and fill the table again")
        yield _run(row, location)


def _run(row: Mapping[str, str], location: str) -> Run:
    spec = _spec(row["spec"], location)
    epochs = _whole(row, "epochs", location, least=1)
    curve = tuple(_number({"curve": value}, "curve", location, most=100) for value in row["curve"].split())
    if len(curve) != epochs:
        raise BenchError(f"{location}: curve must have one value for each of {epochs} epochs, but has {len(curve)}")
    miou = _number(row, "miou", location, most=100)
    if abs(miou - curve[-1]) > ROUNDED:
        raise BenchError(f"{location}: miou must be the curve's last value, but is {miou:g} after {curve[-1]:g}")
    return Run(
        protocol=row["protocol"],
        spec=spec,
        seed=_whole(row, "seed", location),
        params=_whole(row, "params", location, least=1),
        miou=miou,
        curve=curve,
        epochs=epochs,
        seconds=_number(row, "seconds", location),
        cpu_seconds=_number(row, "cpu_seconds", location),
        threads=_whole(row, "threads", location, least=1),
        torch=row["torch"],
    )


def _spec(text: str, location: str) -> dict[str, Any]:
    try:
        entry = parse_json(text, location)
    except ZooError:
        entry = None
    if not isinstance(entry, dict):
        shown_text = one_line(repr(text), 80)
        raise BenchError(f"{location}: spec must be a JSON object with a family, but is {shown_text}; remove the line")
    try:
        return as_dict(spec_from_dict(entry, f"{location}, spec"))
    except SpecError as error:
        raise BenchError(f"{error}; correct or remove the line") from None


ROUNDED = 0.006
"""How far a curve's last value may be from the mIOU that it is, being rounded."""


def _number(row: Mapping[str, str], name: str, location: str, *, most: float = math.inf) -> float:
    try:
        value = float(row[name])
    except ValueError:
        value = math.nan
    if not 0 <= value <= most or value == math.inf:
        bounds = "not below 0" if most == math.inf else f"from 0 to {most:g}"
        raise BenchError(
            f"{location}: {name} must be a number {bounds}, but is {row[name]!r}; correct or remove the line"
        )
    return value


def _whole(row: Mapping[str, str], name: str, location: str, *, least: int = 0) -> int:
    if not row[name].isdecimal() or int(row[name]) < least:
        rule = f"must be a whole number from {least}"
        raise BenchError(f"{location}: {name} {rule}, but is {row[name]!r}; correct or remove the line")
    return int(row[name])


def write_runs(runs: Sequence[Run], path: Path = TABLE) -> None:
    """Replace the table."""
    with (
        atomic(path, "choose another with --table") as partial,
        partial.open("w", newline="", encoding="utf-8") as file,
    ):
        writer = csv.DictWriter(file, FIELDS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(run.row() for run in runs)


def trained_params(spec: Spec) -> int:
    """Parameters of what is trained in a candidate's place, for CamVid's 11 classes."""
    from zoo.data.classes import CAMVID
    from zoo.registry import lower, with_changes

    return lower(with_changes(trained_spec(spec), classes=len(CAMVID.classes))).params


def protocol_recipe(seed: int) -> "Recipe":
    """The recipe of `PROTOCOL`."""
    from zoo.train.recipe import recipe

    return recipe("zoo", epochs=EPOCHS, size=SIZE, batch=4, lr=2e-3, warmup=0.5, ema=0.99, amp=True, seed=seed)


def measure(entry: Entry, splits: "tuple[Split, Split]", folder: Path, say: Callable[[str], None]) -> Run:
    """Train and score one entry of the design."""
    import torch

    from zoo.train.amp import why_not
    from zoo.train.start import begin
    from zoo.train.trainer import Job, Trainer

    recipe = protocol_recipe(entry.seed)
    if reason := why_not(recipe.amp):
        say(reason)
    train, val = splits
    started, processor = time.perf_counter(), time.process_time()
    torch.manual_seed(entry.seed)
    begun = begin(trained_spec(entry.spec), train.labels, recipe.size, entry.seed)
    trainer = Trainer(Job(begun.module, begun.preprocessing, train, val, recipe, folder, {"model": "bench"}))
    while trainer.epoch < recipe.epochs:
        row = trainer.run_epoch(lambda text: None)
        say(
            f"epoch {row.epoch}/{recipe.epochs}: loss {row.loss:.3f}, mIOU {row.miou:.2f}, "
            f"{row.images_per_s:.1f} images/s"
        )
    curve = tuple(float(row.miou or 0.0) for row in trainer.rows)
    return Run(
        PROTOCOL,
        as_dict(entry.spec),
        entry.seed,
        begun.module.graph.params,
        curve[-1],
        curve,
        recipe.epochs,
        time.perf_counter() - started,
        time.process_time() - processor,
        torch.get_num_threads(),
        torch.__version__,
    )


def missing(entries: Sequence[Entry], path: Path = TABLE) -> list[Entry]:
    """The entries that the table does not have yet."""
    measured_keys = {run.key for run in read_runs(path)}
    return [entry for entry in entries if (PROTOCOL, json.dumps(as_dict(entry.spec)), entry.seed) not in measured_keys]


def _lock(path: Path) -> FileLock:
    """Between reading and writing a table nobody else may write it."""
    name = sha256(str(path.resolve()).encode()).hexdigest()[:16]
    return FileLock(Path(tempfile.gettempdir()) / f"zoo-bench-{name}.lock")


def fill(
    entries: Sequence[Entry], data: Path, say: Callable[[str], None], path: Path = TABLE, limit: int | None = None
) -> int:
    """Measure what the table does not have yet, `limit` runs at most; returns how many were measured.

    The table is written after each run: what is interrupted loses one run. Several processes may fill one table,
    best in different orders. A run whose loss is no longer a
    number is passed over, and tried again the next time. Raises ZooError for data that cannot be read.
    """
    from zoo.data.datasets import data_set
    from zoo.train.trainer import TrainingError

    entries_left = missing(entries, path)[:limit]
    if not entries_left:
        return 0
    splits = (data_set("camvid", data, "train"), data_set("camvid", data, "val"))
    measured = 0
    for i, entry in enumerate(entries_left, 1):
        if not missing([entry], path):  # another process was faster
            continue
        say(f"{i} of {len(entries_left)}: seed {entry.seed}, {as_dict(entry.spec)}")
        try:
            run = measure(entry, splits, path.parent, say)
        except TrainingError as error:
            say(f"passed over: {error}")
            continue
        with _lock(path):
            runs = read_runs(path)
            if run.key not in {old_run.key for old_run in runs}:
                write_runs([*runs, run], path)
                measured += 1
    return measured
