"""Whose a file is: what zoo wrote is replaced by the next run, anything else is kept unless --force is given."""

import stat
from collections.abc import Iterable
from pathlib import Path

from zoo.errors import ZooError
from zoo.locks import LOCK
from zoo.reading import exists, is_folder, opened
from zoo.text import shown

NAME = "edgeseg-zoo"
"""What files say of their author: Software of a PNG, Creator of SVG and PDF, generator of a page."""

MARKS = (NAME.encode(), b"zoo_version", b'"command": "zoo ')
"""One of these stands near the start or the end of whatever zoo writes."""

MARKS_BY_ENDING = {".safetensors": (b'"spec"', b'"preprocessing"'), ".pth": (b"data.pkl",)}
"""Further marks of formats that hold tensors; the second is of every archive that torch writes."""

NEAR_BYTES = 1 << 16


def is_ours(path: Path) -> bool:
    """Whether an ordinary file says that zoo wrote it; an empty one is nobody's, and counts as ours."""
    with opened(path, ZooError, follow=False) as file:
        text = file.read(NEAR_BYTES)
        file.seek(max(0, file.seek(0, 2) - NEAR_BYTES))
        text += file.read()
    return not text or any(mark in text for mark in (*MARKS, *MARKS_BY_ENDING.get(path.suffix.lower(), ())))


def refuse_foreign(paths: Iterable[Path], *, force: bool) -> None:
    """Raise ZooError for a file that exists and that zoo did not write, unless `force`.

    What is no ordinary file is left to `zoo.files.check_output`, which refuses it in any case.
    """
    for path in paths:
        if not force and exists(path) and stat.S_ISREG(path.lstat().st_mode) and not is_ours(path):
            raise ZooError(
                f"{shown(path)}: exists, and zoo did not write it; choose another with -o, or replace it with --force"
            )


def refuse_foreign_folder(folder: Path, marks: Iterable[str], *, force: bool) -> None:
    """Raise ZooError for a folder that holds files and none of `marks`, by which the runs of zoo are known.

    A run that was killed before it wrote anything is known by its lock. Hidden files are passed over.
    """
    if force or not is_folder(folder) or any(exists(folder / mark) for mark in (*marks, LOCK)):
        return
    names = sorted(entry.name for entry in folder.iterdir() if not entry.name.startswith("."))
    if names:
        raise ZooError(
            f"{shown(folder)}: holds {shown(names[0])} and no run; choose another folder with -o, or write into it "
            "with --force"
        )
