"""`zoo train` and `zoo eval`: train a network on a data set, and score one."""

import argparse
import json
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from search.model_ref import resolve
from search.opening import open_model, scored_of, start_from, teacher_of
from zoo.backends.choice import CHOICES
from zoo.cli.command import Arguments, Command, add_model, add_size, config_of, emit, model_of, note, table, write_text
from zoo.errors import ZooError

if TYPE_CHECKING:
    from rich.console import Console

    from search.model_ref import Model
    from zoo.evaluate.segmentation import Evaluation
    from zoo.train.loop import Trained
    from zoo.train.trainer import Job

OPTIONS = (
    "epochs", "batch", "accumulate", "seed", "lr", "warmup", "ema", "jaccard", "weight_decay", "colour",
    "schedule", "optimizer", "amp", "compile", "channels_last", "size",
)  # fmt: skip
"""Options of `zoo train` that change a field of the recipe."""

MINUTE_S = 60.0


def _add_data(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--dataset",
        required=True,
        help="camvid, cityscapes, pascal, mapillary, folder, scenes, which is generated, or folders, for classifiers",
    )
    parser.add_argument("--data", type=Path, metavar="DIR", help="the data set's folder")
    parser.add_argument("--threads", type=int, default=0, metavar="N", help="CPU threads (default: all cores)")


def _configure_train(parser: argparse.ArgumentParser) -> None:
    add_model(parser)
    _add_data(parser)
    add_size(parser, None)
    parser.add_argument(
        "--recipe", help="zoo (default), authors, the published one, or classifier (default with folders)"
    )
    parser.add_argument("--init", metavar="MODEL", help="a MODEL with weights to start from; what fits is taken")
    parser.add_argument("--teacher", metavar="MODEL", help="a MODEL with weights to distil from")
    parser.add_argument("--resume", action="store_true", help="go on after the run's last epoch")
    parser.add_argument("--stop-after", type=int, metavar="N", help="stop after epoch N, to be resumed")
    parser.add_argument("-o", "--out", type=Path, metavar="RUN", help="the run's folder (default: runs/MODEL.DATASET)")
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
        ("amp", "bfloat16 where it is safe"),
        ("compile", "torch.compile"),
        ("channels-last", "memory order NHWC"),
    ):
        fields.add_argument(f"--{name}", action=argparse.BooleanOptionalAction, default=None, help=text)


def _train(args: Arguments) -> int:
    from zoo.train.loop import train

    job = _job(args)
    done = train(job, resume=args.resume, progress=_Printer(quiet=not job.ranks.first), stop_after=args.stop_after)
    if job.ranks.first:
        _curve(done)
    document = {
        "run": str(done.run),
        "epochs": done.rows[-1].epoch,
        "best": {**done.best.scores, "epoch": done.best.epoch} if done.best else None,
        "weights": str(done.weights),
        "protocol": _protocol(job),
    }
    if job.ranks.first:
        emit(args, document, lambda console: _show_trained(console, document))
    return 0


def _job(args: Arguments) -> "Job":
    from zoo.data.datasets import data_set
    from zoo.inference.preprocess import Preprocessing
    from zoo.specs import as_dict
    from zoo.train.checkpoint import identity_of
    from zoo.train.parallel import ranks
    from zoo.train.recipe import recipe, recipe_from
    from zoo.train.start import begin, check_task
    from zoo.train.trainer import Job

    _use_threads(args.threads)
    config, model = config_of(args), model_of(args)
    name = args.recipe or ("classifier" if args.dataset == "folders" else "zoo")
    changes = {key: value for key in OPTIONS if (value := getattr(args, key)) is not None}
    run = args.out or Path("runs") / f"{Path(model.canonical).name.replace('#', '-')}.{args.dataset}"
    # What a run began with need not be said again when it goes on.
    saved = identity_of(run) if args.resume else {}
    how = recipe_from(saved["recipe"], **changes) if saved and not args.recipe else recipe(name, **changes)
    data, val = (data_set(args.dataset, args.data, split) for split in ("train", "val"))
    init = args.init or (_own_weights(model) if not saved else None)
    start = start_from(resolve(init, config)) if init else None
    begun = begin(model.spec, data.labels, how.size, how.seed, start)
    if saved and not init:
        begun = replace(begun, preprocessing=Preprocessing.from_dict(saved["preprocessing"]))
        init = saved.get("init")
    check_task(begun.module, data, how)
    if begun.transfer:
        note(f"{init}: {begun.transfer}")
    return Job(
        begun.module,
        begun.preprocessing,
        data,
        val,
        how,
        run,
        {"model": model.canonical, "spec": as_dict(begun.spec), "init": init, "teacher": args.teacher},
        args.device,
        args.workers,
        args.score_every,
        teacher_of(resolve(args.teacher, config), len(data.labels.classes)) if args.teacher else None,
        ranks(args.device),
    )


def _own_weights(model: "Model") -> str | None:
    """What a run starts from where MODEL names weights and --set changes nothing of it."""
    if model.settings:
        return None
    if model.tag:
        return f"{model.canonical}.{model.tag}"
    return model.name if model.kind in ("weights", "run") else None


def _use_threads(count: int) -> None:
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


def _curve(done: "Trained") -> None:
    try:
        from zoo.train.curve import save_curve

        save_curve(done.run / "curve.png", done.rows)
    except ModuleNotFoundError:
        note("matplotlib is not installed, so no curve.png was drawn; pip install 'edgeseg-zoo[plots]'")


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


def _said(best: dict[str, Any]) -> str:
    from zoo.train.loop import said

    return ", ".join(f"{said(key)} {value:.2f}" for key, value in best.items() if key != "epoch")


def _configure_eval(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL.TAG|RUN|FILE", help="weights by name, of a run, or an ONNX file")
    _add_data(parser)
    add_size(parser, None)
    parser.add_argument("--split", default="val", help="split to score (default val)")
    parser.add_argument("--map", metavar="FROM-TO", help="map of the network's classes, such as cityscapes-camvid")
    parser.add_argument(
        "--protocol",
        choices=("zoo", "authors"),
        default="zoo",
        help="zoo (default): void is ignored; authors: void counts as a class that the mean leaves out",
    )
    parser.add_argument(
        "--backend", choices=CHOICES, help="what runs it (default: torch; onnxruntime for an ONNX file)"
    )
    parser.add_argument("--flip", action="store_true", help="mean of the image's and its mirror image's logits")
    parser.add_argument("--boundary", action="store_true", help="also score the pixels near a boundary")
    parser.add_argument("-o", "--out", type=Path, metavar="DIR", help="also write eval.json and confusion.png there")
    parser.add_argument("--pictures", type=int, default=0, metavar="N", help="and the first N images, side by side")


def _eval(args: Arguments) -> int:
    from zoo.data.classes import label_map
    from zoo.data.datasets import data_set
    from zoo.evaluate.segmentation import Protocol, evaluate

    if args.pictures and not args.out:
        raise ZooError("--pictures needs a folder to write to; give one with -o DIR")
    _use_threads(args.threads)
    how = Protocol(args.size, label_map(args.map) if args.map else None, args.protocol, args.flip, args.boundary)
    data = data_set(args.dataset, args.data, args.split)
    if args.dataset == "folders":
        return _eval_classes(args, data)
    network = scored_of(
        args.model,
        config_of(args),
        args.backend,
        threads=args.threads or None,
        size=args.size,
        say=lambda message: note(f"zoo: {message}"),
    )
    visit = _pictures(args, data.labels) if args.pictures else lambda *sample: None
    result = evaluate(network, data, how, visit=visit)
    document = result.document()
    if args.out:
        _write(args.out, result, document)
    emit(args, document, lambda console: _show_scores(console, document))
    return 0


def _eval_classes(args: Arguments, data: Any) -> int:
    from zoo.evaluate.classification import evaluate_classes

    for name in ("map", "flip", "boundary", "pictures", "backend"):
        if getattr(args, name):
            raise ZooError(f"--{name} is for maps of classes, and folders hold a class an image; leave it out")
    opened = open_model(resolve(args.model, config_of(args)))
    document = evaluate_classes(opened.module, opened.labels, data, args.size)
    document["protocol"] |= {"network": args.model, "weights_sha256": opened.taken.sha256}
    if args.out:
        write_text(args.out / "eval.json", json.dumps(document, indent=2, allow_nan=False) + "\n")
    emit(args, document, lambda console: _show_ranking(console, document))
    return 0


def _show_ranking(console: "Console", document: dict[str, Any]) -> None:
    said = document["protocol"]
    console.print(f"top-1 {document['top1']:.2f} %, top-5 {document['top5']:.2f} % of {document['images']} images")
    console.print(", ".join(f"{key} {value}" for key, value in said.items() if value is not None))


def _pictures(args: Arguments, labels: Any) -> Any:
    from zoo.evaluate.pictures import save_side_by_side

    def visit(index: int, image: Any, truth: Any, found: Any) -> None:
        if index < args.pictures:
            save_side_by_side(args.out / f"{index:04}.png", image, truth, found, labels)

    return visit


def _write(folder: Path, result: "Evaluation", document: dict[str, Any]) -> None:
    from zoo.evaluate.pictures import save_confusion

    write_text(folder / "eval.json", json.dumps(document, indent=2, allow_nan=False) + "\n")
    save_confusion(folder / "confusion.png", result.scores.matrix, result.labels)


def _show_scores(console: "Console", document: dict[str, Any]) -> None:
    def percent(value: float | None) -> str:
        return "–" if value is None else f"{value:.2f}"

    rows = [(name, percent(value)) for name, value in document["per_class_iou"].items()]
    for key, label in (
        ("miou", "mIOU"),
        ("class_average", "class average"),
        ("pixel_accuracy", "pixel accuracy"),
        ("category_miou", "category mIOU"),
        ("boundary_miou", "boundary mIOU"),
    ):
        if document[key] is not None:
            rows.append((label, percent(document[key])))
    said = document["protocol"]
    console.print(table(f"{said['network']} on {said['dataset']} {said['split']}", ("IOU of", "%"), rows))
    shown = ", ".join(f"{key} {value}" for key, value in said.items() if value is not None)
    console.print(f"{document['images']} images; {shown}")


COMMANDS = (
    Command(
        "train",
        "train a network on a data set, with a checkpoint after each epoch",
        "zoo train espnet-c-8 --dataset camvid --data camvid --size 480x360 --init espnet-c-8.cityscapes",
        _train,
        _configure_train,
    ),
    Command(
        "eval",
        "score a network on a data set",
        "zoo eval espnet.cityscapes --dataset camvid --data camvid --map cityscapes-camvid",
        _eval,
        _configure_eval,
    ),
)
