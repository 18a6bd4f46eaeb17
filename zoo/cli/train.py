"""`zoo train`: train a network on a data set."""

import argparse
import json
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from search.model_ref import resolve
from search.opening import start_from, teacher_of, torch_device
from zoo.cli.command import Arguments, Command, add_model, add_size, config_of, emit, model_of, note, usage, write_text
from zoo.cli.outputs import OPTIONS_FILE, add_force, check_run_folder
from zoo.cli.repeat import command_line
from zoo.errors import ZooError

if TYPE_CHECKING:
    from rich.console import Console

    from search.model_ref import Model
    from zoo.train.loop import Trained
    from zoo.train.trainer import Job

OPTIONS = (
    "epochs", "batch", "accumulate", "seed", "lr", "warmup", "ema", "jaccard", "weight_decay", "colour",
    "schedule", "optimizer", "amp", "compile", "channels_last", "size",
)  # fmt: skip
"""Options of `zoo train` that change a field of the recipe."""

MINUTE_S = 60.0


def add_data(parser: argparse.ArgumentParser, *, required: bool = True) -> None:
    """--dataset, --data and --threads."""
    parser.add_argument(
        "--dataset",
        required=required,
        help="camvid, cityscapes, pascal, mapillary, folder, scenes, which is generated, or folders, for classifiers",
    )
    parser.add_argument("--data", type=Path, metavar="DIR", help="the data set's folder")
    parser.add_argument("--threads", type=int, default=0, metavar="N", help="CPU threads (default: all cores)")


def _configure_train(parser: argparse.ArgumentParser) -> None:
    add_model(parser, "?")
    add_data(parser, required=False)
    add_size(parser, None)
    parser.add_argument(
        "--recipe", help="zoo (default), authors, the published one, or classifier (default with folders)"
    )
    parser.add_argument("--init", metavar="MODEL", help="a MODEL with weights to start from; what fits is taken")
    parser.add_argument(
        "--slice",
        action="store_true",
        help="cut the start out of --init's wider or deeper network of the same K: first channels, first units",
    )
    parser.add_argument("--teacher", metavar="MODEL", help="a MODEL with weights to distil from")
    parser.add_argument("--resume", action="store_true", help="go on after the run's last epoch")
    parser.add_argument("--stop-after", type=int, metavar="N", help="stop after epoch N, to be resumed")
    parser.add_argument("-o", "--out", type=Path, metavar="RUN", help="the run's folder (default: runs/MODEL.DATASET)")
    add_force(parser)
    parser.add_argument("--device", default="cpu", help="cpu (default) or cuda; with torchrun, each process its own")
    parser.add_argument("--workers", type=int, default=1, metavar="N", help="threads that prepare batches (default 1)")
    parser.add_argument(
        "--score-every", type=int, default=1, metavar="N", help="score after every N epochs (default 1)"
    )
    fields = parser.add_argument_group("fields of the recipe")
    for name in ("epochs", "batch", "accumulate", "seed"):
        fields.add_argument(f"--{name}", type=int, metavar="N")
    for name in ("lr", "weight-decay", "warmup", "ema", "jaccard", "colour"):
        fields.add_argument(f"--{name}", type=float, metavar="X")
    fields.add_argument("--schedule", choices=("constant", "step", "poly", "cosine", "cyclic"))
    fields.add_argument("--optimizer", choices=("adam", "adamw", "sgd"))
    for name, text in (
        ("amp", "bfloat16 where it is safe and the processor has it (default)"),
        ("compile", "torch.compile"),
        ("channels-last", "memory order NHWC"),
    ):
        fields.add_argument(f"--{name}", action=argparse.BooleanOptionalAction, default=None, help=text)


def _train(args: Arguments) -> int:
    from zoo.train.checkpoint import STATE
    from zoo.train.loop import train

    job = _job(args)
    if not args.resume:
        check_run_folder(args, job.run)
    progress = _Printer(quiet=not job.ranks.first)
    if job.ranks.first and not (job.run / STATE).exists():
        _keep_options(args, job.run)
    trained = train(job, resume=args.resume, progress=progress, stop_after=args.stop_after)
    if job.ranks.first:
        _curve(trained)
    document = {
        "run": str(trained.run),
        "epochs": trained.rows[-1].epoch,
        "best": {**trained.best.scores, "epoch": trained.best.epoch} if trained.best else None,
        "weights": str(trained.weights),
        "protocol": _protocol(job),
        "conditions": {"command": _again(args, trained.run), "threads": args.threads or None, "device": args.device},
    }
    if job.ranks.first:
        emit(args, document, lambda console: _show_trained(console, document))
    return 0


def _job(args: Arguments) -> "Job":
    from zoo.data.datasets import data_set
    from zoo.inference.preprocess import Preprocessing
    from zoo.specs import as_dict
    from zoo.train.amp import why_not
    from zoo.train.checkpoint import identity_of
    from zoo.train.parallel import ranks
    from zoo.train.recipe import recipe, recipe_from
    from zoo.train.start import begin, begin_sliced, check_task
    from zoo.train.trainer import Job

    if args.slice and not args.init:
        raise usage("--slice cuts the start out of the weights of --init; give --init MODEL")
    use_threads(args.threads)
    torch_device(args.device)
    _take_up(args)
    config, model = config_of(args), model_of(args)
    name = args.recipe or ("classifier" if args.dataset == "folders" else "zoo")
    changes = {key: value for key in OPTIONS if (value := getattr(args, key)) is not None}
    run = args.out or Path("runs") / f"{Path(model.canonical).name.replace('#', '-')}.{args.dataset}"
    # What a run began with need not be said again when it goes on.
    saved = identity_of(run) if args.resume else {}
    training = recipe_from(saved["recipe"], **changes) if saved and not args.recipe else recipe(name, **changes)
    data, val = (data_set(args.dataset, args.data, split) for split in ("train", "val"))
    init = args.init or (_own_weights(model) if not saved else None)
    start = start_from(resolve(init, config)) if init else None
    if start and args.slice:
        begun = begin_sliced(model.spec, data, training.size, training.seed, start)
    else:
        begun = begin(model.spec, data.labels, training.size, training.seed, start)
    if saved and not init:
        begun = replace(begun, preprocessing=Preprocessing.from_dict(saved["preprocessing"]))
        init = saved.get("init")
    check_task(begun.module, data, training)
    if reason := why_not(training.amp, args.device):
        note(f"zoo: {reason}")
    if begun.cut:
        note(f"{init}: sliced, {begun.cut}; BN statistics made again")
    if begun.transfer:
        note(f"{init}: {begun.transfer}")
    return Job(
        begun.module,
        begun.preprocessing,
        data,
        val,
        training,
        run,
        {"model": model.canonical, "spec": as_dict(begun.spec), "init": init, "teacher": args.teacher}
        | ({"slice": True} if args.slice else {}),
        args.device,
        args.workers,
        args.score_every,
        teacher_of(resolve(args.teacher, config), len(data.labels.classes)) if args.teacher else None,
        ranks(args.device),
    )


def _take_up(args: Arguments) -> None:
    """Fill in MODEL, --dataset and --data of a run that goes on. Raises UsageError where they are missing."""
    if args.resume and args.out and not (args.model and args.dataset):
        from search.runs.folder import read_json

        path = args.out / OPTIONS_FILE
        begun = read_json(path) if path.is_file() else {}
        for name in ("model", "dataset", "data"):
            if getattr(args, name) is None and isinstance(begun.get(name), str):
                setattr(args, name, Path(begun[name]) if name == "data" else begun[name])
        args.settings = args.settings or [text for text in begun.get("settings", []) if isinstance(text, str)]
        if args.data:
            note(f"zoo: goes on with {args.model} on {args.dataset} in {args.data}")
    if not args.model:
        raise usage("train: MODEL is missing; `zoo list` names the models, and --resume -o RUN goes on with a run")
    if not args.dataset:
        raise usage("train: --dataset is missing; zoo train --help names the data sets")


def _keep_options(args: Arguments, run: Path) -> None:
    """Write what `_take_up` reads, once the run's folder is known to be this run's."""
    begun = {
        "model": args.model,
        "settings": args.settings,
        "dataset": args.dataset,
        "data": str(args.data.resolve()) if args.data else None,
    }
    write_text(run / OPTIONS_FILE, json.dumps(begun, indent=2) + "\n")


def _own_weights(model: "Model") -> str | None:
    """What a run starts from where MODEL names weights and --set changes nothing of it."""
    if model.settings:
        return None
    if model.tag:
        return f"{model.canonical}.{model.tag}"
    return model.name if model.kind in ("weights", "run") else None


def use_threads(count: int) -> None:
    """Set up torch for a training or a scoring on `count` threads, 0 for all cores. Raises ZooError."""
    import torch

    from zoo.allocator import keep_freed_memory

    if count < 0:
        raise ZooError(f"--threads must be at least 1, but is {count}")
    if count:
        torch.set_num_threads(count)
    torch.set_flush_denormal(True)
    keep_freed_memory()


class _Printer:
    """Progress on stderr: one changing line on a terminal; else the end of each epoch, and a line a minute."""

    def __init__(self, *, quiet: bool = False) -> None:
        self.quiet = quiet
        self.last = time.monotonic()

    def __call__(self, text: str) -> None:
        if self.quiet:
            return
        if sys.stderr.isatty():
            print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)
        elif text.endswith("\n") or time.monotonic() - self.last > MINUTE_S:
            self.last = time.monotonic()
            note(text.rstrip("\n"))


def _curve(trained: "Trained") -> None:
    try:
        from zoo.train.curve import save_curve

        save_curve(trained.run / "curve.png", trained.rows)
    except ModuleNotFoundError:
        note("matplotlib is not installed, so no curve.png was drawn; pip install '.[plots]' in the repository")


def _again(args: Arguments, run: Path) -> str:
    """The command that repeats a training, in a folder of its own."""
    names = ("init", "slice", "teacher", "recipe", "workers", "score_every", "device", *OPTIONS)
    options = {"set": args.settings, "dataset": args.dataset, "data": args.data, "out": Path(f"{run}-again")}
    options |= {name: getattr(args, name) for name in names}
    off = [f"no-{name.replace('_', '-')}" for name in OPTIONS if getattr(args, name) is False]
    return command_line("train", [args.model], options | dict.fromkeys(off, True))


def _protocol(job: "Job") -> dict[str, Any]:
    from zoo.evaluate.classification import CROP

    maps = {
        "void": "ignored",
        "pooling": "one confusion matrix over the split, at the labels' own resolution",
        "upsampling": "logits bilinear, before the arg-max",
    }
    return {
        "dataset": job.val.name,
        "split": job.val.split,
        "images": len(job.val),
        "labels": job.val.labels.name,
        **({"crop": CROP} if job.classifies else maps),
        "weights": f"running mean, decay {job.recipe.ema}" if job.recipe.ema else "as trained",
        "selection": "best epoch on this split",
        "seed": job.recipe.seed,
    }


def _show_trained(console: "Console", document: dict[str, Any]) -> None:
    best = document["best"]
    scored = f"{_said(best)} after epoch {best['epoch']}" if best else "not scored yet"
    console.print(f"{document['weights']}: {scored}; {document['epochs']} epochs trained")
    console.print(f"repeat: {document['conditions']['command']}")


def _said(best: dict[str, Any]) -> str:
    from zoo.train.loop import said

    return ", ".join(f"{said(key)} {value:.2f}" for key, value in best.items() if key != "epoch")


COMMANDS = (
    Command(
        "train",
        "train a network on a data set, with a checkpoint after each epoch",
        "zoo train espnet-c-8 --dataset camvid --data camvid --size 480x360 --init espnet-c-8.cityscapes",
        _train,
        _configure_train,
    ),
)
