"""Files that are written whole or not at all."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from zoo.errors import ZooError


def make_folder(path: Path) -> Path:
    """Create a folder and its parents. Raises ZooError where that is not possible."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ZooError(f"{path}: cannot be made a folder: {error.strerror}; choose another with -o") from None
    return path


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """A path to write to, in the same folder, renamed to `path` at the end and removed on any error.

    Raises ZooError, naming the path, where the folder is read-only or full.
    """
    make_folder(path.parent)
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    except OSError as error:
        raise ZooError(f"{path}: cannot be written: {error.strerror}; choose another folder with -o") from None
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
        raise ZooError(f"{path}: cannot be written: {error.strerror}; choose another folder with -o") from None
    finally:
        partial.unlink(missing_ok=True)
