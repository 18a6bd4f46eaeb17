"""Files that are written whole or not at all."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from zoo.errors import ZooError

REMEDY = "choose another with -o"
"""How a user gets around a folder that cannot be written."""


def make_folder(path: Path, remedy: str = REMEDY) -> Path:
    """Create a folder and its parents. Raises ZooError, which ends in `remedy`, where that is not possible."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ZooError(f"{path}: cannot be made a folder: {error.strerror}; {remedy}") from None
    return path


@contextmanager
def atomic(path: Path, remedy: str = REMEDY) -> Iterator[Path]:
    """A path to write to, in the same folder, renamed to `path` at the end and removed on any error.

    Raises ZooError, which names the path and ends in `remedy`, where the folder is read-only or full.
    """
    make_folder(path.parent, remedy)
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    except OSError as error:
        raise ZooError(f"{path}: cannot be written: {error.strerror}; {remedy}") from None
    os.close(handle)
    partial = Path(name)
    try:
        yield partial
        mask = os.umask(0)
        os.umask(mask)
        partial.chmod(0o666 & ~mask)  # mkstemp makes files that only their owner reads
        with partial.open("rb") as written:
            os.fsync(written.fileno())
        partial.replace(path)
    except OSError as error:
        raise ZooError(f"{path}: cannot be written: {error.strerror}; {remedy}") from None
    finally:
        partial.unlink(missing_ok=True)
