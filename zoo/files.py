"""Files and folders that are written whole or not at all, whenever the process is killed."""

import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from zoo.errors import ZooError
from zoo.locks import held, is_free
from zoo.reading import exists, is_folder, kind_of, reason
from zoo.text import shown

REMEDY = "choose another with -o"
"""How a user gets around a folder that cannot be written."""

PART, OLD, LOCK = ".part", ".old", ".lock"
"""Endings of what is being written, of what is being replaced, and of a folder's lock; their names begin with a dot."""


def make_folder(path: Path, remedy: str = REMEDY) -> Path:
    """Create a folder and its parents. Raises ZooError, which ends in `remedy`, where that is not possible."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        raise ZooError(f"{shown(path)}: cannot be made a folder: {reason(error)}; {remedy}") from None
    return path


def check_output(path: Path, remedy: str = REMEDY) -> Path:
    """The path itself, where a file may be written: nothing is there, or an ordinary file. Raises ZooError.

    A link, a pipe or a device node would be replaced by a file, which nobody who names one wants.
    """
    try:
        wrong = kind_of(path.lstat().st_mode)
    except FileNotFoundError:
        return path
    except (OSError, ValueError) as error:
        raise ZooError(f"{shown(path)}: cannot be written: {reason(error)}; {remedy}") from None
    if wrong:
        raise ZooError(f"{shown(path)}: cannot be written: it is {wrong}, which a file would replace; {remedy}")
    return path


@contextmanager
def atomic(path: Path, remedy: str = REMEDY) -> Iterator[Path]:
    """A path to write to, in the same folder, renamed to `path` at the end and removed on any error.

    Raises ZooError, which names the path and ends in `remedy`, where the folder is read-only or full, and where
    there is something at `path` that is no ordinary file.
    """
    make_folder(path.parent, remedy)
    check_output(path, remedy)
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.name[:80]}.", suffix=PART, dir=path.parent)
    except (OSError, ValueError) as error:
        raise ZooError(f"{shown(path)}: cannot be written: {reason(error)}; {remedy}") from None
    os.close(handle)
    partial = Path(name)
    try:
        yield partial
        mask = os.umask(0)
        os.umask(mask)
        partial.chmod(0o666 & ~mask)  # mkstemp makes files that only their owner reads
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        partial.replace(check_output(path, remedy))
    except OSError as error:
        raise ZooError(f"{shown(path)}: cannot be written: {reason(error)}; {remedy}") from None
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def atomic_folder(target: Path, remedy: str = REMEDY) -> Iterator[Path]:
    """A folder to write to, which takes the place of `target` at the end; removed on any error.

    Killed at any moment, the old folder is still there or the new one is: where neither has the name,
    `recover_folders` gives it back to the old one. Raises ZooError where another process writes the same.
    """
    make_folder(target.parent, remedy)
    with held(_beside(target, LOCK), "a writer of it", remedy="wait for it"):
        recover(target)
        if exists(target) and not stat.S_ISDIR(target.lstat().st_mode):
            raise ZooError(f"{shown(target)}: cannot be written: it is no folder of its own; {remedy}")
        partial = _beside(target, PART)
        try:
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir()
            yield partial
            _exchange(partial, target)
        except (OSError, shutil.Error) as error:
            recover(target)
            raise ZooError(f"{shown(target)}: cannot be written: {_why(error)}; {remedy}") from None
        finally:
            shutil.rmtree(partial, ignore_errors=True)


def recover_folders(root: Path) -> None:
    """Put right what killed writers left in a folder of folders: old ones take their names back, leftovers go."""
    if not is_folder(root):
        return
    try:
        names = {
            entry.name for entry in root.iterdir() if entry.name.startswith(".") and entry.name.endswith((OLD, PART))
        }
    except OSError:
        return
    for name in sorted({name[1:].rpartition(".")[0] for name in names}):
        target = root / name
        lock = _beside(target, LOCK)
        if name and is_free(lock):
            recover(target)
            if os.access(root, os.W_OK):
                shutil.rmtree(_beside(target, PART), ignore_errors=True)


def recover(target: Path) -> None:
    """Give a name back to the folder that was about to be replaced, or remove it where the new one is there."""
    old = _beside(target, OLD)
    if not is_folder(old) or stat.S_ISLNK(old.lstat().st_mode):
        return
    try:
        if target.exists():
            shutil.rmtree(old)
        else:
            old.rename(target)
    except OSError:  # of another user, or read-only: nothing is lost
        return


def _exchange(partial: Path, target: Path) -> None:
    old = _beside(target, OLD)
    shutil.rmtree(old, ignore_errors=True)
    if target.exists():
        target.rename(old)
    partial.rename(target)
    shutil.rmtree(old, ignore_errors=True)


def _beside(target: Path, ending: str) -> Path:
    return target.with_name(f".{target.name}{ending}")


def _why(error: Exception) -> str:
    return reason(error) if isinstance(error, OSError) and error.strerror else "the disk is full or unreadable"
