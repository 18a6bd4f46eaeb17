"""What a folder of results is for: one kind of work, one writer at a time."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from zoo.errors import ZooError
from zoo.locks import writing
from zoo.reading import exists
from zoo.text import shown

SEARCH, STUDY, TRAINING = "a search", "a study", "a training"

MARKS: Mapping[str, str] = {SEARCH: "certificate.json", STUDY: "study.json", TRAINING: "last.pt"}
"""The file by which a folder of each kind is known."""


@contextmanager
def claimed(folder: Path, kind: str) -> Iterator[None]:
    """Hold a folder as the only writer, for one kind of work.

    Raises ZooError where another process holds it, and where it holds another kind of work.
    """
    with writing(folder, kind):
        refuse_other_kinds(folder, kind)
        yield


def refuse_other_kinds(folder: Path, kind: str) -> None:
    """Raise ZooError where a folder holds the files of another kind of work."""
    for other, mark in MARKS.items():
        if other != kind and exists(folder / mark):
            raise ZooError(
                f"{shown(folder)}: holds {other}, and {kind} would overwrite its files; choose another folder with -o"
            )
