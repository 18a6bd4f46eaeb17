"""Train the tasks, resumably: `python -m benchmarks.accuracy.queue run --data DIR --work DIR`.

Several processes may share one work folder: each takes the first task that nobody holds and whose encoder is
trained. A killed process loses the epoch it was in. What is done lies in `--results`: for each task a JSON with its
scores and what it cost, and the weights in half precision, from which the decoder's stage starts.
"""

import argparse
import json
import platform
import sys
import time
from collections.abc import Collection, Iterator, Mapping
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock, Timeout

from benchmarks.accuracy.decoder_start import start_decoder
from benchmarks.accuracy.protocols import DECODER, PROTOCOLS
from benchmarks.accuracy.schedule import tasks
from benchmarks.accuracy.tasks import RESULTS, Task
from benchmarks.machine import machine
from pretrained.weights import load
from zoo.allocator import keep_freed_memory
from zoo.data.datasets import data_set
from zoo.data.split import Split
from zoo.evaluate.segmentation import Protocol as Scoring
from zoo.evaluate.segmentation import evaluate, module_scored
from zoo.files import atomic
from zoo.network import Network
from zoo.specs import as_dict
from zoo.train.checkpoint import STATE, read_weights, save_weights
from zoo.train.distil import StoredTeacher, stored_answers
from zoo.train.loop import keep
from zoo.train.start import Begun, Start, begin
from zoo.train.trainer import Job, Trainer

SCORED_EVERY = 10
"""Epochs from one point of the learning curve to the next."""

SIZES = ((184, 240), (272, 360), (360, 480), (448, 600), (544, 720))
"""Sizes (height, width) at which every finished network is scored: how mIOU depends on the input's size."""


def say(text: str) -> None:
    """One line with the time."""
    print(f"{datetime.now():%H:%M:%S} {text}", flush=True)


def result_of(task: Task, results: Path) -> dict[str, Any] | None:
    """What a finished task found."""
    path = results / f"{task.name}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


@cache
def splits(data: Path) -> tuple[Split, Split]:
    """Train and val."""
    return data_set("camvid", data, "train"), data_set("camvid", data, "val")


@cache
def answers(name: str, data: Path, work: Path) -> Any:
    """The teacher's answers to the training images, computed once a work folder."""
    path = work / f"{name}.npy"
    if not path.exists():
        say(f"computing the answers of {name}")
        teacher = load(name)
        train = splits(data)[0]
        images = (train.load(i)[0] for i in range(len(train)))
        with atomic(path) as partial, partial.open("wb") as file:
            np.save(file, stored_answers(teacher, teacher.preprocessing, images, len(train.labels.classes)))
    return np.load(path)


def give_decoder(begun: Begun, train: Split) -> None:
    """Start the decoder from that of `DECODER`, fitted to this encoder over every sixth training image."""
    trained = load(DECODER)
    assert isinstance(begun.module, Network) and isinstance(trained, Network)
    images = [train.load(i)[0] for i in range(0, len(train), 6)]
    own = [begun.preprocessing(image) for image in images]
    start_decoder(begun.module, trained, own, [trained.preprocessing(image) for image in images])


def job_of(task: Task, data: Path, work: Path, results: Path, device: str) -> Job:
    """The training of a task, as `zoo train` would set it up."""
    protocol = PROTOCOLS[task.protocol]
    recipe = protocol.recipe(task.seed, decoder=task.encoder is not None)
    train, val = splits(data)
    start = None
    if task.encoder:
        weights = read_weights(results / f"{task.encoder.name}.safetensors")
        state = {name: tensor.float() for name, tensor in weights.state.items()}
        start = Start(state, weights.outputs, weights.labels, weights.preprocessing)
    begun = begin(task.stand_in, train.labels, recipe.size, task.seed, start)
    if start and not (work / task.name / STATE).exists():
        give_decoder(begun, train)
    teacher = StoredTeacher(answers(protocol.teacher, data, work), recipe.augmentation) if protocol.teacher else None
    about = {
        "model": task.name,
        "spec": as_dict(begun.spec),
        "init": task.encoder.name if task.encoder else None,
        "teacher": protocol.teacher or None,
    }
    run = work / task.name
    run.mkdir(parents=True, exist_ok=True)
    return Job(begun.module, begun.preprocessing, train, val, recipe, run, about, device, 1, SCORED_EVERY, teacher)


def run_task(task: Task, data: Path, work: Path, results: Path, device: str) -> None:
    """Train a task from where it stands, score it, and write its result."""
    job = job_of(task, data, work, results, device)
    spent = job.run / "spent.json"
    before: dict[str, Any] = json.loads(spent.read_text()) if spent.exists() else {"cpu_seconds": 0.0, "precisions": []}
    torch.manual_seed(job.recipe.seed)
    trainer = Trainer(job)
    if (job.run / STATE).exists():
        trainer.resume()
    started = time.process_time()
    precision = "bfloat16" if trainer.amp else "float32"
    while trainer.epoch < job.recipe.epochs:
        row = trainer.run_epoch(lambda text: None)
        keep(trainer)
        cpu = before["cpu_seconds"] + time.process_time() - started
        precisions = sorted({*before["precisions"], precision})
        with atomic(spent) as partial:
            partial.write_text(json.dumps({"cpu_seconds": round(cpu, 1), "precisions": precisions}))
        scored = "" if row.miou is None else f", mIOU {row.miou:.2f}"
        say(f"{task.name}: epoch {row.epoch}/{job.recipe.epochs}, loss {row.loss:.3f}{scored}, {row.seconds:.0f} s")
    write_result(task, trainer, job, json.loads(spent.read_text()), results)


def write_result(task: Task, trainer: Trainer, job: Job, spent: Mapping[str, Any], results: Path) -> None:
    """Scores at all sizes, then the weights, then the row: what has a row is whole."""
    results.mkdir(parents=True, exist_ok=True)
    half = results / f"{task.name}.safetensors"
    state = {
        name: tensor.half() if tensor.is_floating_point() else tensor
        for name, tensor in trainer.mean.state_dict().items()
    }
    save_weights(half, state, {**job.identity, "epoch": trainer.epoch})
    module: Any = trainer.mean.eval()
    module.load_state_dict(
        {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in state.items()}
    )
    module.preprocessing = job.preprocessing
    network = module_scored(task.name, module, job.val.labels)
    protocol = PROTOCOLS[task.protocol]
    scores = {size: evaluate(network, job.val, Scoring(size)).scores for size in dict.fromkeys((protocol.size, *SIZES))}
    own = scores[protocol.size]
    row = {
        "protocol": task.protocol,
        "spec": as_dict(task.spec),
        "seed": task.seed,
        "params": job.module.graph.params,  # type: ignore[union-attr]
        "miou": round(own.miou, 3),
        "per_class_iou": [None if value is None else round(value, 2) for value in own.per_class_iou],
        "miou_at": {f"{w}x{h}": round(score.miou, 3) for (h, w), score in scores.items()},
        "curve": {str(row.epoch): round(row.miou, 2) for row in trainer.rows if row.miou is not None},
        "epochs": trainer.epoch,
        "loss": round(trainer.rows[-1].loss, 4),
        "cpu_seconds": round(spent["cpu_seconds"]),
        "precision": "+".join(spent["precisions"]),
        "threads": torch.get_num_threads(),
        "device": job.device,
        "cpu": machine().cpu,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "finished": f"{datetime.now():%Y-%m-%d %H:%M}",
    }
    with atomic(results / f"{task.name}.json") as partial:
        partial.write_text(json.dumps(row, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    say(f"done: {task.name}: mIOU {own.miou:.2f}, {spent['cpu_seconds'] / 3600:.2f} core-hours")


def waiting(results: Path, protocols: Collection[str] = ()) -> Iterator[Task]:
    """Tasks that can be begun: not done, and their encoder done."""
    for task in tasks(protocols):
        if result_of(task, results) is None and (task.encoder is None or result_of(task.encoder, results)):
            yield task


def work_on(
    data: Path, work: Path, results: Path, device: str, until: datetime | None, protocols: Collection[str] = ()
) -> None:
    """Take tasks, of some protocols or all, until there is none left, or it is too late to begin another."""
    work.mkdir(parents=True, exist_ok=True)
    while True:
        if until and datetime.now() > until:
            return say("it is late: no other task is begun")
        for task in waiting(results, protocols):
            lock = FileLock(work / f"{task.name}.lock", timeout=0)
            try:
                with lock:
                    if result_of(task, results) is None:
                        run_task(task, data, work, results, device)
                break
            except Timeout:
                continue
        else:
            if not any(result_of(task, results) is None for task in tasks(protocols)):
                return say("all tasks are done")
            time.sleep(10)


def status(work: Path, results: Path) -> None:
    """What is done and how far the others are."""
    for task in tasks():
        row = result_of(task, results)
        log = work / task.name / "log.csv"
        epochs = sum(1 for _ in log.open()) - 1 if log.exists() else 0
        state = (
            f"mIOU {row['miou']:.2f} after {row['cpu_seconds'] / 3600:.2f} core-hours" if row else f"{epochs} epochs"
        )
        print(f"{task.name}: {state}")


def main(arguments: list[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.accuracy.queue", description=__doc__)
    parser.add_argument("what", choices=("run", "status"))
    parser.add_argument("--data", type=Path, help="CamVid in SegNet's layout")
    parser.add_argument("--work", type=Path, required=True, help="folder of what is not finished")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of what is")
    parser.add_argument("--protocol", action="append", choices=PROTOCOLS, default=[], help="only tasks under it")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--minutes", type=float, help="begin no other task after this time")
    args = parser.parse_args(arguments)
    if args.what == "status":
        status(args.work, args.results)
        return 0
    torch.set_num_threads(args.threads)
    torch.set_flush_denormal(True)
    keep_freed_memory()
    until = datetime.now() + timedelta(minutes=args.minutes) if args.minutes else None
    work_on(args.data, args.work, args.results, args.device, until, args.protocol)
    return 0


if __name__ == "__main__":
    sys.exit(main())
