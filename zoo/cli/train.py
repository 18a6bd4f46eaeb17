"""`zoo train` and `zoo eval`: train a network on a data set, and score one."""

import argparse
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.cli.command import Arguments, Command, add_model, add_size, config_of, emit, model_of, table
from zoo.errors import ZooError

if TYPE_CHECKING:
    from rich.console import Console

    from zoo.train.loop import Trained
    from zoo.train.start import Start

RECIPE_OPTIONS = (
    "epochs",
    "size",
    "batch",
    "lr",
    "seed",
    "accumulate",
    "ema",
    "jaccard",
    "schedule",
    "warmup",
    "workers",
)


def _add_data(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--dataset", required=True, help="data set: camvid")
    parser.add_argument("--data", type=Path, metavar="DIR", help="its folder")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads of the computation (default: torch's)")
    parser.add_argument("--device", default="cpu", help="cpu or cuda (default cpu)")


def _configure_train(parser: argparse.ArgumentParser) -> None:
    add_model(parser)
    _add_data(parser)
    add_size(parser, None)
    parser.add_argument("--recipe", default="zoo", help="zoo (default) or authors, the published one")
    parser.add_argument("--init", metavar="MODEL.TAG|FILE", help="weights to start from; what fits is taken")
    parser.add_argument("--resume", action="store_true", help="go on from the run's last epoch")
    parser.add_argument(
        "-o", "--output", type=Path, metavar="RUN", help="the run's folder (default runs/MODEL.DATASET)"
    )
    parser.add_argument("--workers", type=int, default=1, help="threads that prepare batches (default 1; 0: none)")
    parser.add_argument("--stop-after", type=int, metavar="N", help="stop after epoch N, to be resumed later")
    for name in ("epochs", "batch", "accumulate", "seed"):
        parser.add_argument(f"--{name}", type=int)
    for name in ("lr", "warmup", "ema", "jaccard", "weight-decay", "colour"):
        parser.add_argument(f"--{name}", type=float)
    parser.add_argument("--schedule", choices=("constant", "step", "poly", "cosine"))
    parser.add_argument("--optimizer", choices=("adam", "adamw"))
    for name in ("amp", "compile", "channels-last"):
        parser.add_argument(f"--{name}", action=argparse.BooleanOptionalAction, default=None)


CHANGES = (
    "epochs", "batch", "accumulate", "seed", "lr", "warmup", "ema", "jaccard", "weight_decay", "colour",
    "schedule", "optimizer", "amp", "compile", "channels_last", "size",
)  # fmt: skip


def _train(args: Arguments) -> int:
    import torch

    from zoo.data.sets import data_set
    from zoo.spec import as_dict
    from zoo.train.loop import Job, train
    from zoo.train.recipe import recipe
    from zoo.train.start import begin

    if args.threads:
        torch.set_num_threads(args.threads)
    model = model_of(args)
    how = recipe(args.recipe, **{key: value for key in CHANGES if (value := getattr(args, key)) is not None})
    root = args.data or Path("data") / args.dataset
    data, val = (data_set(args.dataset, root, split) for split in ("train", "val"))
    begun = begin(model.spec, data.labels, how.size, how.seed, _start(args.init) if args.init else None)
    if begun.transfer:
        print(f"{args.init}: {begun.transfer}", file=sys.stderr)
    about = {
        "model": model.canonical,
        "spec": as_dict(begun.spec),
        "dataset": args.dataset,
        "labels": data.labels.name,
        "preprocessing": begun.preprocessing.to_dict(),
        "init": args.init,
    }
    run = args.output or Path("runs") / f"{model.canonical}.{args.dataset}"
    job = Job(begun.module, begun.preprocessing, data, val, how, run, about, args.device, args.workers)
    done = train(job, resume=args.resume, progress=_Printer(), stop_after=args.stop_after)
    document = _trained_document(done, job)
    emit(args, document, lambda console: _show_trained(console, document))
    return 0


class _Printer:
    """Progress on stderr: one changing line on a terminal, else the end of each epoch and a line a minute."""

    def __init__(self) -> None:
        self.last = time.monotonic()

    def __call__(self, text: str) -> None:
        if sys.stderr.isatty():
            print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)
        elif text.endswith("\n") or time.monotonic() - self.last > 60:
            self.last = time.monotonic()
            print(text.rstrip("\n"), file=sys.stderr, flush=True)


def _start(text: str) -> "Start":
    """Weights by name or file; a file of our own says in its metadata what it is."""
    from pretrained import find
    from pretrained.weights import load_state
    from zoo.preprocess import Preprocessing
    from zoo.train.start import Start

    path = Path(text)
    if path.suffix == ".safetensors":
        about = _metadata(path)
        preprocessing = Preprocessing.from_dict(about["preprocessing"])
        return Start(text, load_state(path), about["spec"]["classes"], about["labels"], preprocessing)
    entry = find(text)
    return Start(entry.name, load_state(entry), entry.spec.classes, entry.labels, entry.preprocessing)  # type: ignore[attr-defined]


def _metadata(path: Path) -> dict[str, Any]:
    from safetensors import safe_open

    try:
        with safe_open(path, "pt") as file:
            about = {key: json.loads(value) for key, value in (file.metadata() or {}).items()}
    except Exception as error:
        raise ZooError(f"{path}: cannot be read as safetensors ({error}); give a file that zoo train wrote") from None
    missing = [key for key in ("spec", "labels", "preprocessing") if key not in about]
    if missing:
        raise ZooError(f"{path}: its metadata lacks {', '.join(missing)}; give a file that zoo train wrote")
    return about


def _trained_document(done: "Trained", job: Any) -> dict[str, Any]:
    return {
        "run": str(done.run),
        "epochs": done.rows[-1].epoch,
        "best": {"miou": done.best.miou, "epoch": done.best.epoch},
        "weights": str(done.weights),
        "protocol": {"split": job.val.split, "images": len(job.val), "labels": job.val.labels.name, "void": "ignored"},
    }


def _show_trained(console: "Console", document: dict[str, Any]) -> None:
    best = document["best"]
    console.print(f"{document['weights']}: {best['miou']:.2f} mIOU after epoch {best['epoch']} of {document['epochs']}")


COMMANDS = (
    Command(
        "train",
        "train a network on a data set, with a checkpoint after each epoch",
        "zoo train espnet-c-8 --dataset camvid --data camvid --init espnet-c-8.cityscapes",
        _train,
        _configure_train,
    ),
)
