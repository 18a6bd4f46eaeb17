"""-o and --force, of every command that writes a file or a folder where the user says."""

import argparse
from collections.abc import Iterable
from pathlib import Path

from zoo.cli.command import Arguments

OPTIONS_FILE = "options.json"
"""What a run of `zoo train` was begun with, so that `zoo train --resume -o RUN` says enough."""

FORCE_HELP = "replace files that exist and that zoo did not write"


def add_force(parser: argparse.ArgumentParser) -> None:
    """--force."""
    parser.add_argument("--force", action="store_true", help=FORCE_HELP)


def check_outputs(args: Arguments, *paths: Path | str | None) -> None:
    """Raise ZooError, before any work, for an output that would replace what zoo did not write."""
    from zoo.files import check_output
    from zoo.ownership import refuse_foreign

    files = [Path(path) for path in paths if path]
    for path in files:
        check_output(path)
    refuse_foreign(files, force=args.force)


def check_run_folder(args: Arguments, folder: Path) -> None:
    """Raise ZooError, before any work, for a folder that holds files and no run."""
    from zoo.claims import MARKS
    from zoo.ownership import refuse_foreign_folder

    refuse_foreign_folder(folder, (*MARKS.values(), OPTIONS_FILE), force=args.force)


def beside(folder: Path | None, names: Iterable[str]) -> list[Path]:
    """Files of `names` in a folder; none without a folder."""
    return [folder / name for name in names] if folder else []
