"""What a folder of results is for: one kind of work, one writer at a time."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from zoo.errors import ZooError
from zoo.files import make_folder
from zoo.locks import LOCK, is_free, writing
from zoo.reading import exists
from zoo.text import shown

SEARCH, STUDY, TRAINING = "a search", "a study", "a training"

MARKS: Mapping[str, str] = {SEARCH: "certificate.json", STUDY: "study.json", TRAINING: "last.pt"}
"""The file by which a folder of each kind is known."""


@contextmanager
def claimed(folder: Path, kind: str) -> Iterator[None]:
    """Make a folder, and hold it as the only writer for one kind of work; a folder made for nothing goes away again.

    Raises ZooError where another process holds it, and where it holds another kind of work.
    """
    new = not exists(folder)
    make_folder(folder)
    try:
        with writing(folder, kind):
            refuse_other_kinds(folder, kind)
            yield
    finally:
        _leave_nothing(folder, new)


def _leave_nothing(folder: Path, new: bool) -> None:
    """Remove the lock where it is all there is, and then the folder, if it was not there before."""
    with suppress(OSError):
        if {entry.name for entry in folder.iterdir()} == {LOCK} and is_free(folder / LOCK):
            (folder / LOCK).unlink()
        if new:
            folder.rmdir()  # fails where anything is left


def refuse_other_kinds(folder: Path, kind: str) -> None:
    """Raise ZooError where a folder holds the files of another kind of work."""
    for held_kind, mark in MARKS.items():
        if held_kind != kind and exists(folder / mark):
            raise ZooError(
                f"{shown(folder)}: holds {held_kind}, and {kind} would overwrite its files; choose "
                f"another folder with -o"
            )
