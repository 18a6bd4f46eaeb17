"""`zoo eval`: score networks on a data set."""

import argparse
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from search.model_ref import resolve
from search.opening import open_model, scored_of, torch_device
from zoo.backends.choice import CHOICES
from zoo.cli.command import MODEL_HELP, Arguments, Command, add_size, config_of, emit, note, table, write_text
from zoo.cli.outputs import add_force, beside, check_outputs
from zoo.cli.repeat import command_line
from zoo.cli.segment import add_device
from zoo.cli.train import add_data, use_threads
from zoo.errors import ZooError

if TYPE_CHECKING:
    from rich.console import Console

    from zoo.data.split import Split
    from zoo.evaluate.segmentation import Evaluation, Protocol


def _configure_eval(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", nargs="+", help=MODEL_HELP)
    add_data(parser)
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
    add_device(parser)
    parser.add_argument("--flip", action="store_true", help="mean of the image's and its mirror image's logits")
    parser.add_argument("--boundary", action="store_true", help="also score the pixels near a boundary")
    parser.add_argument(
        "--calibration", action="store_true", help="also how far the probabilities of classes can be believed"
    )
    parser.add_argument("-o", "--out", type=Path, metavar="DIR", help="also write eval.json and confusion.png there")
    add_force(parser)
    parser.add_argument(
        "--pictures",
        type=int,
        default=0,
        metavar="N",
        help="and the first N images beside truth and prediction, each named after its image",
    )


def _eval(args: Arguments) -> int:
    from zoo.data.classes import label_map
    from zoo.data.datasets import data_set
    from zoo.evaluate.segmentation import Protocol

    if args.pictures < 0 or (args.pictures and not args.out):
        raise ZooError("--pictures takes a count of images and needs a folder to write to; give one with -o DIR")
    use_threads(args.threads)
    device = torch_device(args.device)
    if device != "cpu" and args.backend not in (None, "torch"):
        raise ZooError(f"--device {device} is for torch and not for {args.backend}; leave out one of them")
    scoring = Protocol(
        args.size, label_map(args.map) if args.map else None, args.protocol, args.flip, args.boundary, args.calibration
    )
    data = data_set(args.dataset, args.data, args.split)
    if args.dataset == "folders":
        return _eval_classes(args, data)
    documents = [_scored(args, name, device, scoring, data) for name in args.model]
    single = len(documents) == 1
    emit(args, documents[0] if single else documents, lambda console: _show(console, documents))
    return 0


def _scored(args: Arguments, name: str, device: str, protocol: "Protocol", data: "Split") -> dict[str, Any]:
    """One model's scores; its files go into a folder of its own where several models are scored."""
    from zoo.evaluate.segmentation import evaluate

    def say(message: str) -> None:
        note(f"zoo: {message}")

    threads = args.threads or None
    network = scored_of(name, config_of(args), args.backend, threads=threads, size=args.size, device=device, say=say)
    folder = _folder(args, name)
    check_outputs(args, *beside(folder, _names(args, data)))
    visit = _pictures(folder, args.pictures, data) if folder and args.pictures else lambda *sample: None
    result = evaluate(network, data, protocol, visit=visit)
    document = result.document()
    document["conditions"] = {"command": _again(args, name), "threads": args.threads or None, "device": device}
    if folder:
        _write(folder, result, document)
    return document


def _names(args: Arguments, data: "Split") -> list[str]:
    """Files that a scoring writes."""
    return ["eval.json", "confusion.png", *(f"{_stem(data, i)}.png" for i in range(min(args.pictures, len(data))))]


def _folder(args: Arguments, name: str) -> Path | None:
    if args.out is None or len(args.model) == 1:
        folder: Path | None = args.out
        return folder
    return Path(args.out) / re.sub(r"[^A-Za-z0-9.#-]+", "-", name).strip("-")


def _again(args: Arguments, name: str) -> str:
    """The command that repeats a scoring."""
    names = ("dataset", "split", "data", "size", "map", "backend", "flip", "boundary", "calibration")
    protocol = args.protocol if args.protocol != "zoo" else None
    return command_line("eval", [name], {key: getattr(args, key) for key in names} | {"protocol": protocol})


def _eval_classes(args: Arguments, data: Any) -> int:
    from zoo.evaluate.classification import evaluate_classes

    for name in ("map", "flip", "boundary", "calibration", "pictures", "backend"):
        if getattr(args, name):
            raise ZooError(f"--{name} is for maps of classes, and folders hold a class an image; leave it out")
    documents = []
    for name in args.model:
        opened = open_model(resolve(name, config_of(args)))
        document = evaluate_classes(opened.module, opened.labels, data, args.size)
        document["protocol"] |= {"network": name, "weights_sha256": opened.taken.sha256}
        documents.append(document)
        if folder := _folder(args, name):
            write_text(folder / "eval.json", json.dumps(document, indent=2, allow_nan=False) + "\n")
    single = len(documents) == 1
    emit(args, documents[0] if single else documents, lambda console: _show_rankings(console, documents))
    return 0


def _show_rankings(console: "Console", documents: list[dict[str, Any]]) -> None:
    for document in documents:
        _show_ranking(console, document)


def _show_ranking(console: "Console", document: dict[str, Any]) -> None:
    protocol = document["protocol"]
    console.print(f"top-1 {document['top1']:.2f} %, top-5 {document['top5']:.2f} % of {document['images']} images")
    console.print(", ".join(f"{key} {value}" for key, value in protocol.items() if value is not None))


def _pictures(folder: Path, count: int, data: "Split") -> Any:
    from zoo.evaluate.pictures import save_side_by_side

    def visit(index: int, image: Any, truth: Any, predicted: Any) -> None:
        if index < count:
            save_side_by_side(folder / f"{_stem(data, index)}.png", image, truth, predicted, data.labels)

    return visit


def _stem(data: "Split", index: int) -> str:
    """The image's own name, with its place in the split where others have it too; the place of a generated image."""
    samples = getattr(data, "samples", ())
    if len(samples) != len(data):
        return f"{index:04}"
    names = [sample.image.stem for sample in samples]
    return names[index] if names.count(names[index]) == 1 else f"{index:04}-{names[index]}"


def _show(console: "Console", documents: list[dict[str, Any]]) -> None:
    if len(documents) == 1:
        _show_scores(console, documents[0])
        return
    keys = ("miou", "class_average", "pixel_accuracy")
    cells = [
        (d["protocol"]["network"], d["protocol"]["input_size"], *(f"{d[key]:.2f}" for key in keys)) for d in documents
    ]
    protocol = documents[0]["protocol"]
    title = f"{protocol['dataset']} {protocol['split']}, {documents[0]['images']} images"
    columns = ("network", "input", "mIOU, %", "class average, %", "pixel accuracy, %")
    console.print(table(title, columns, cells, left=2))


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
    if document["calibration"]:
        rows.append(("calibration error", percent(document["calibration"]["error"])))
    protocol = document["protocol"]
    console.print(table(f"{protocol['network']} on {protocol['dataset']} {protocol['split']}", ("IOU of", "%"), rows))
    conditions = ", ".join(f"{key} {value}" for key, value in protocol.items() if value is not None)
    console.print(f"{document['images']} images; {conditions}", markup=False)
    if calibrated := (document["calibration"] or {}).get("held_out"):
        console.print(
            f"a temperature of {document['calibration']['temperature']:.2f}, fitted on every other image, changes the "
            f"calibration error on the rest from {calibrated['error']:.2f} "
            f"to {calibrated['error_with_temperature']:.2f} %"
        )
    console.print(f"repeat: {document['conditions']['command']}", markup=False)


COMMANDS = (
    Command(
        "eval",
        "score networks on a data set",
        "zoo eval espnet.cityscapes --dataset camvid --data camvid --map cityscapes-camvid",
        _eval,
        _configure_eval,
    ),
)
