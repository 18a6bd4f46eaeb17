"""`zoo data check`: a data set read once from end to end."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.cli.command import Arguments, Command, emit, note, table
from zoo.cli.outputs import add_force, check_outputs
from zoo.cli.terminal import console_of
from zoo.progress import progress

if TYPE_CHECKING:
    from rich.console import Console

    from zoo.data.check import Report

PROBLEMS = 3
"""Exit code where the data set has problems: the question was understood, and the answer is no."""

SHOWN = 20
"""Problems that are printed; --json has all."""

PICTURED = 10
"""Samples in the picture."""


def _configure(parser: argparse.ArgumentParser) -> None:
    below = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    sub = below.add_parser("check", help="read it once and say what is in it and what is wrong")
    sub.add_argument("folder", metavar="DIR", type=Path, nargs="?", help="the data set's folder")
    sub.add_argument(
        "--dataset", required=True, metavar="D", help="camvid, cityscapes, pascal, mapillary, folder, folders"
    )
    sub.add_argument(
        "--split", action="append", default=[], metavar="S", help="a split to read (default: all there are)"
    )
    sub.add_argument(
        "-o", "--out", type=Path, metavar="FILE", help=f"also a PNG of {PICTURED} samples with their labels"
    )
    add_force(sub)
    # Both places are allowed: `zoo data --json check` and `zoo data check --json`.
    sub.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help="print one JSON document")
    sub.add_argument("--config", metavar="FILE", default=argparse.SUPPRESS, help="your own zoo.yaml")


def _check(args: Arguments) -> int:
    from zoo.data.check import check

    check_outputs(args, args.out)
    with progress("reading", console=console_of(None, stderr=True)) as show:
        report = check(
            args.dataset,
            args.folder,
            args.split,
            samples=PICTURED if args.out else 0,
            progress=show,
        )
    if args.out:
        _draw(report, args.out)
    document = report.document() | {"picture": str(args.out) if args.out else None}
    emit(args, document, lambda console: _print(console, document))
    return PROBLEMS if report.problems else 0


def _draw(report: "Report", path: Path) -> None:
    from PIL import Image

    from zoo.data.check import picture
    from zoo.inference.overlay import save_png

    pixels = picture(report)
    save_png(path, Image.fromarray(pixels))
    note(f"wrote {path}")


def _print(console: "Console", document: dict[str, Any]) -> None:
    rows = [
        (name, f"{own['images']:,}", _sizes(own["sizes"]), f"{own['void_share']:.1%}")
        for name, own in document["splits"].items()
    ]
    console.print(table(None, ("split", "images", "sizes", "void"), rows))
    shares = [(name, f"{share:.2%}") for name, share in document["shares"].items()]
    console.print(table(None, ("class", "share of labelled pixels"), shares))
    if document["split"]:
        console.print(f"split: {document['split']}")
    for remark in document["notes"]:
        console.print(remark)
    for problem in document["problems"][:SHOWN]:
        text = problem["problem"]
        console.print(text if text.startswith(problem["file"]) else f"{problem['file']}: {text}")
    count = len(document["problems"])
    if count > SHOWN:
        console.print(f"… and {count - SHOWN} more with --json")
    console.print(f"{count} problem{'s'[: count != 1]} in {document['images']:,} samples")


def _sizes(sizes: dict[str, int]) -> str:
    names = list(sizes)
    return names[0] if len(names) == 1 else f"{len(names)} sizes, {names[0]} most often" if names else ""


COMMANDS = (
    Command(
        "data",
        "check a data set: counts, sizes, class shares, what is wrong",
        "zoo data check DIR --dataset folder -o samples.png",
        _check,
        _configure,
    ),
)
