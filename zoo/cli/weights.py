"""`zoo get`: weights from the manifest as a ready file."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from zoo.cli.command import Arguments, Command, emit, si, usage
from zoo.cli.outputs import add_force, check_outputs

if TYPE_CHECKING:
    from rich.console import Console

    from pretrained.convert import Ready
    from pretrained.manifest import Metric


def _configure_get(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", nargs="?", help="a model with weights, with or without a tag")
    parser.add_argument(
        "--pretrained", nargs="?", const="", metavar="TAG", help="get its weights (default tag: see zoo list)"
    )
    parser.add_argument("-o", "--out", type=Path, metavar="DIR", help="folder to write to (default: the cache)")
    add_force(parser)
    parser.add_argument("--format", choices=("safetensors", "pth", "onnx"), default="safetensors")
    parser.add_argument(
        "--mirror", action="append", default=[], metavar="URL_OR_DIR", help="where to look after upstream; repeatable"
    )
    parser.add_argument("--from-file", type=Path, metavar="FILE", help="the released file, carried here by hand")


def _get(args: Arguments) -> int:
    from pretrained.convert import ready
    from pretrained.manifest import manifest

    model, tag = _asked(args)
    entry = manifest().find(model, tag)
    if args.out:
        check_outputs(args, args.out / f"{entry.name}.{args.format}")
    ready_file = ready(entry, args.format, args.out, mirrors=args.mirror, from_file=args.from_file)
    emit(args, ready_file.document(), lambda console: _print(console, ready_file))
    return 0


def _asked(args: Arguments) -> tuple[str, str | None]:
    """Model and tag; `--pretrained` before MODEL takes the model for a tag, which is put right."""
    from pretrained.manifest import manifest

    model, tag = (args.model, args.pretrained) if args.model else (args.pretrained, "")
    if not model:
        raise usage("get: MODEL is missing; `zoo list` shows the models and their weights")
    if tag is None and manifest().split(model)[1] is None:
        raise usage(f"get {model}: say --pretrained for its weights; `zoo show {model}` prints its spec and counts")
    return model, tag or None


def _print(console: "Console", ready_file: "Ready") -> None:
    entry = ready_file.entry
    rows = [
        ("weights", entry.name),
        ("file", ready_file.path),
        ("SHA-256", f"{ready_file.sha256} ({si(ready_file.bytes, 'B')})"),
        ("made from", entry.origin),
        ("  SHA-256", entry.sha256),
        ("taken from", ready_file.taken_from),
        ("source", entry.source.title),
        ("licence", f"{entry.source.license}, {entry.source.holder}"),
        *((LABELS.get(metric.name, metric.name), score(metric)) for metric in entry.metrics),
    ]
    if entry.miou is None:
        rows.append(("mIOU", "none published"))
    if entry.note:
        rows.append(("note", entry.note))
    for label, value in rows:
        console.print(f"{label:<14} {value}", markup=False, soft_wrap=True)


LABELS = {"miou": "mIOU", "category_miou": "category mIOU", "class_average": "class average"}
"""Metrics in print."""


def score(metric: "Metric") -> str:
    """A metric with its protocol, on one line."""
    at = f" at {metric.resolution}" if metric.resolution else ""
    return f"{metric.value:g} % on {metric.dataset} {metric.split}{at}: {metric.protocol} ({metric.source})"


COMMANDS = (
    Command(
        "get",
        "get weights as a ready file: verified, with source, licence and scores",
        "zoo get espnet-c --pretrained cityscapes --format onnx -o weights",
        _get,
        _configure_get,
    ),
)
