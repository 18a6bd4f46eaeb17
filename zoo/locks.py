"""One writer a folder: locks that a dead process lets go of, and that say who holds them."""

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from zoo.errors import ZooError
from zoo.reading import kind_of, parse_json, read_text, reason
from zoo.text import one_line, shown

LOCK = ".lock"
"""Name of the lock in a folder that has one writer."""

Wait = Callable[[str], None]


@contextmanager
def writing(
    folder: Path, activity: str, remedy: str = "wait for it, or choose another folder with -o"
) -> Iterator[None]:
    """Hold a folder as its only writer. Raises ZooError, which says who holds it, where another process does.

    activity: this process in words, such as "a training"; the others read it.
    """
    with held(folder / LOCK, activity, remedy=remedy):
        yield


@contextmanager
def held(
    path: Path,
    activity: str,
    *,
    wait_s: float = 0.0,
    notice_s: float = 2.0,
    say: Wait = lambda text: None,
    remedy: str = "wait for it, or end it",
) -> Iterator[None]:
    """Hold the lock at `path`, after at most `wait_s` seconds; after `notice_s`, `say` is told whom it waits for.

    Raises ZooError where another process keeps it, and where `path` cannot be written or is no ordinary file.
    """
    from filelock import FileLock, Timeout  # it takes longer to import than most commands need that lock nothing

    lock = FileLock(checked_lock(path))
    try:
        try:
            lock.acquire(timeout=min(wait_s, notice_s))
        except Timeout:
            if not wait_s:
                raise
            say(f"waiting for {holder(path)}")
            lock.acquire(timeout=max(0.0, wait_s - notice_s))
    except Timeout:
        raise ZooError(f"{shown(path.parent)}: is held by {holder(path)}; {remedy}") from None
    except (OSError, NotImplementedError) as error:
        raise ZooError(f"{shown(path)}: cannot be locked: {reason(error)}; {remedy}") from None
    about = _about(path)
    try:
        with suppress(OSError):
            about.write_text(json.dumps(_self(activity)), encoding="utf-8")
        yield
    finally:
        with suppress(OSError):
            about.unlink(missing_ok=True)
        lock.release()


def is_free(path: Path) -> bool:
    """Whether no process holds the lock at `path`; True where there is none, False where it cannot be known."""
    from filelock import FileLock, Timeout

    try:
        if not path.exists():
            return True
        lock = FileLock(checked_lock(path))
        lock.acquire(timeout=0)
    except (Timeout, OSError, ZooError, NotImplementedError):
        return False
    lock.release()
    return True


def holder(path: Path) -> str:
    """Who holds the lock at `path`, in words."""
    with suppress(ZooError, KeyError, TypeError, ValueError):
        about = parse_json(read_text(_about(path), limit=4096), str(path))
        since = time.strftime("%H:%M", time.localtime(float(about["since"])))
        activity, host = one_line(about["what"], 60), one_line(about["host"], 60)
        return f"{activity} (process {int(about['process'])} on {host}, since {since})"
    return "another process"


def _about(path: Path) -> Path:
    return path.with_name(f"{path.name}.holder")


def _self(activity: str) -> dict[str, object]:
    import socket

    command = Path(sys.argv[0]).name if sys.argv else ""
    return {
        "what": activity,
        "process": os.getpid(),
        "host": socket.gethostname(),
        "since": time.time(),
        "command": command,
    }


def checked_lock(path: Path) -> Path:
    """The path of a lock, which may not be a link: opening it would empty what the link leads to."""
    for entry in (path, _about(path)):
        try:
            wrong = kind_of(entry.lstat().st_mode)
        except FileNotFoundError:
            continue
        except (OSError, ValueError) as error:
            raise ZooError(f"{shown(entry)}: cannot be locked: {reason(error)}; choose another folder") from None
        if wrong:
            raise ZooError(f"{shown(entry)}: is {wrong} where a lock must be; remove it")
    return path
