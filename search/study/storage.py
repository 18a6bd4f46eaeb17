"""Storage of trials: a journal in the run's folder, or any Optuna storage by URL."""

import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from zoo.errors import ZooError

JOURNAL = "trials.journal"
LOCK_S = 120.0
"""Seconds after which a lock that another process holds is an error."""


class FolderLock:
    """The lock of a run's folder; a process that dies lets go of it. May be taken again by its holder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = FileLock(folder / ".study.lock")

    @contextmanager
    def __call__(self) -> Iterator[None]:
        """Hold the lock."""
        self.acquire()
        try:
            yield
        finally:
            self.release()

    def release(self) -> None:
        """Let go of what was acquired last."""
        self._lock.release()

    def acquire(self) -> None:
        """Take the lock. Raises ZooError where another process does not let go of it."""
        try:
            self._lock.acquire(timeout=LOCK_S)
        except Timeout:
            raise ZooError(
                f"{self.folder}: another process has held the study's lock for {LOCK_S:g} s; end it, or choose "
                "another folder with -o"
            ) from None
        except OSError as error:
            raise ZooError(f"{self.folder}: cannot be locked: {error.strerror}; choose another with -o") from None


def open_storage(folder: Path, url: str | None, lock: FolderLock) -> Any:
    """An Optuna storage. Raises ZooError, without the URL's password, where it cannot be reached."""
    import optuna
    from optuna.storages.journal import JournalFileBackend

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    if url is not None:
        with reachable(url):
            return _database(url)
    path = folder / JOURNAL
    with lock(), reachable(str(path)):
        mend(path)
        backend = JournalFileBackend(str(path), _journal_lock(path, lock))
        return optuna.storages.JournalStorage(backend)


def _database(url: str, tries: int = 5) -> Any:
    """Another process may make the tables at the same moment; the one that comes second finds them made."""
    import optuna

    while True:
        tries -= 1
        try:
            return optuna.storages.RDBStorage(url, engine_kwargs=_engine(url))
        except Exception as error:
            if tries == 0 or not any(word in str(error).lower() for word in ("exist", "unique", "duplicate")):
                raise
            time.sleep(0.3)


def _engine(url: str) -> dict[str, Any]:
    if url.startswith("sqlite"):
        return {"connect_args": {"timeout": LOCK_S}}
    return {"pool_pre_ping": True}


def _journal_lock(path: Path, lock: FolderLock) -> Any:
    """Optuna's lock interface over the folder's lock; its own is a file, which outlives a killed process."""
    from optuna.storages.journal._file import BaseJournalFileLock

    class Held(BaseJournalFileLock):
        def acquire(self) -> bool:
            lock.acquire()
            mend(path)
            return True

        def release(self) -> None:
            lock.release()

    return Held()


def mend(path: Path) -> None:
    """Cut off a last line that was not written to its end, so that the next one starts on its own."""
    if not path.exists() or not path.stat().st_size:
        return
    with path.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        if file.read(1) == b"\n":
            return
        file.seek(0)
        whole = file.read().rfind(b"\n") + 1
        file.truncate(whole)


def masked(url: str) -> str:
    """A URL without its password.

    >>> masked("postgresql://me:secret@host/studies")
    'postgresql://me:***@host/studies'
    """
    return re.sub(r"(://[^:/@]*):[^@]*@", r"\1:***@", url)


@contextmanager
def reachable(where: str) -> Iterator[None]:
    """Errors of a storage as one sentence."""
    try:
        yield
    except (ZooError, KeyboardInterrupt):
        raise
    except Exception as error:  # each driver has its own
        missing = _missing(error)
        if missing == "optuna":
            raise
        if missing:
            raise ZooError(
                f"{masked(where)}: needs the Python package {missing}; install it, or leave out --storage"
            ) from None
        text = (str(error.__cause__ or error).splitlines() or [type(error).__name__])[0].replace(where, masked(where))
        raise ZooError(
            f"{masked(where)}: the storage cannot be reached or written ({text}); "
            "start it, free it, or correct --storage"
        ) from None


def _missing(error: BaseException | None) -> str | None:
    """The package whose absence is behind an error, if one is."""
    while error is not None:
        if isinstance(error, ModuleNotFoundError):
            return error.name
        error = error.__cause__ or error.__context__
    return None
