"""`zoo report`: a search as one HTML page."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.cli.command import Arguments, Command, emit, usage
from zoo.cli.outputs import add_force, check_outputs
from zoo.cli.study import refresh

if TYPE_CHECKING:
    from rich.console import Console


def _configure(parser: argparse.ArgumentParser) -> None:
    text = "folder of a search; RUN#RANK takes that candidate apart instead of the chosen one"
    parser.add_argument("run_folder", metavar="RUN", help=text)
    parser.add_argument("-o", dest="output", metavar="FILE", help="page to write (default: report.html in the run)")
    add_force(parser)


def _report(args: Arguments) -> int:
    from search.report.html import write_report

    folder, rank = _folder_and_rank(args.run_folder)
    output = Path(args.output) if args.output else folder / "report.html"
    if output.suffix.lower() not in (".html", ".htm"):
        raise usage(f"{output}: a report is an HTML page; name it so, as report.html")
    check_outputs(args, output)
    refresh(folder)
    document = write_report(folder, output, rank)
    emit(args, document, lambda console: _print(console, document))
    return 0


def _folder_and_rank(text: str) -> tuple[Path, int | None]:
    """Folder and rank of RUN or RUN#RANK; a folder may have a # in its own name."""
    if Path(text).is_dir() or "#" not in text:
        return Path(text), None
    folder, _, rank = text.rpartition("#")
    if not rank.isdecimal():
        raise usage(f"{text}: what follows # must be a rank such as {folder}#3")
    return Path(folder), int(rank)


def _print(console: "Console", document: dict[str, Any]) -> None:
    console.print(f"{document['path']}: {document['candidates']:,} candidates, {document['bytes'] / 1e3:,.0f} kB")
    for regret in document["regret"]:
        console.print(
            f"on {regret['device']} the joint answer gives up {regret['lost']:.2f} points of mIOU: "
            f"{regret['joint']:.2f} % "
            f"instead of {regret['own']:.2f} %"
        )


COMMANDS = (
    Command(
        "report",
        "write a search as one HTML page with charts, sliders, tables and its certificate",
        "zoo report runs/robot -o robot.html",
        _report,
        _configure,
    ),
)
