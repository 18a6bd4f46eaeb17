"""Storage of trials: a journal in the run's folder, or any Optuna storage by URL."""

import json
import os
import re
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from filelock import FileLock, Timeout

from zoo import reading
from zoo.errors import ZooError
from zoo.locks import checked_lock
from zoo.reading import exists
from zoo.text import one_line, quoted, shown

JOURNAL = "trials.journal"
LOCK_S = 120.0
"""Seconds after which a lock that another process holds is an error."""


class FolderLock:
    """The lock of a run's folder; a process that dies lets go of it. May be taken again by its holder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        checked_lock(folder / ".study.lock")
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

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    if url is not None:
        with reachable(url):
            return _database(url)
    path = folder / JOURNAL
    with lock(), reachable(str(path)):
        if exists(path):
            with reading.opened(path, ZooError, follow=False):
                mend(path)
        backend = _backend(path, lock)
        try:
            return optuna.storages.JournalStorage(backend)
        except Exception:
            refuse_damaged(path)
            raise


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


def _backend(path: Path, lock: FolderLock) -> Any:
    """Optuna's journal in a file, in which blank lines are passed over and a damaged one is named."""
    from optuna.storages.journal import JournalFileBackend

    class Journal(JournalFileBackend):
        def read_logs(self, log_number_from: int) -> Generator[dict[str, Any], None, None]:
            number = log_number_from if log_number_from in self._log_number_offset else 0
            offset = self._log_number_offset[number]
            with path.open("rb") as file:
                file.seek(offset)
                for line in file:
                    if not line.endswith(b"\n"):
                        return  # another process is writing it
                    offset += len(line)
                    if not line.strip():
                        continue
                    if number >= log_number_from:
                        yield _record(line, path, offset - len(line))
                    number += 1
                    self._log_number_offset[number] = offset

    return Journal(str(path), _journal_lock(path, lock))


def _record(line: bytes, path: Path, offset: int) -> dict[str, Any]:
    """A line of a journal. Raises ZooError, with its number, for one that is damaged."""
    try:
        record = json.loads(line)
        if isinstance(record, dict) and isinstance(record.get("op_code"), int) and "worker_id" in record:
            return record
        why = "it is no record of a study"
    except (ValueError, RecursionError):
        why = "it is not valid JSON"
    with path.open("rb") as file:
        number = file.read(offset).count(b"\n") + 1
    raise damaged(path, number, why)


def damaged(path: Path, number: int, why: str) -> ZooError:
    """The error for a line of a journal, with the way to go on without it."""
    remove = f"sed -i.bak {number}d {quoted(path)}"
    return ZooError(
        f"{shown(path)}: line {number} is damaged ({one_line(why, 80)}); remove it, as by {remove}, and resume: "
        "the trial it belongs to is measured again"
    )


def refuse_damaged(path: Path) -> None:
    """Replay a journal line by line. Raises ZooError with the number of the first that does not follow the others."""
    from optuna.storages.journal._storage import JournalStorageReplayResult

    replay = JournalStorageReplayResult("")
    offset = 0
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                record = _record(line, path, offset)
                try:
                    replay.apply_logs([record])
                except Exception as error:  # whatever a record without its fields leads to
                    raise damaged(path, number, f"{type(error).__name__}: {error}") from None
            offset += len(line)


def masked(url: str) -> str:
    """A URL without its password, wherever it stands: before the last @, or in the query.

    >>> masked("postgresql://me:secret@host/studies")
    'postgresql://me:***@host/studies'
    >>> masked("postgresql://me:p@ss@host/x?sslpassword=s")
    'postgresql://me:***@host/x?sslpassword=***'
    """
    if re.match(r"sqlite(\+pysqlite)?:", url):
        return shown(url)
    url = re.sub(
        r"([?&;][^=&;]*(?:pass|pwd|secret|token|key|auth|cred)[^=&;]*=)[^&;]*", r"\1***", url, flags=re.IGNORECASE
    )
    return shown(re.sub(r"(://[^:/@]*):.*@", r"\1:***@", url))


def _secrets(url: str) -> list[str]:
    """Texts that must not be shown: passwords, as they are written and as they are meant, and parts of them."""
    if re.match(r"sqlite(\+pysqlite)?:", url):
        return []
    values = re.findall(
        r"[?&;][^=&;]*(?:pass|pwd|secret|token|key|auth|cred)[^=&;]*=([^&;]*)", url, flags=re.IGNORECASE
    )
    values += [match[1] for match in [re.search(r"://[^:/@]*:(.*)@", url)] if match]
    parts = {
        part for value in values for text in (value, unquote(value)) for part in (text, *re.split(r"[@:/?&]", text))
    }
    return sorted((part for part in parts if len(part) > 1), key=len, reverse=True)


def without_secrets(text: str, url: str) -> str:
    """A message of a driver, in which neither the URL nor a part of its password is left."""
    text = text.replace(url, masked(url))
    for secret in _secrets(url):
        text = text.replace(secret, "***")
    return one_line(text, 300)


def absolute(url: str) -> str:
    """A storage's URL in which a relative path of SQLite is absolute: one file, whatever the working directory.

    >>> absolute("sqlite:////a/b.db"), absolute("postgresql://h/x")
    ('sqlite:////a/b.db', 'postgresql://h/x')
    """
    match = re.fullmatch(r"(sqlite(?:\+\w+)?:///)([^/?:][^?]*)(\?.*)?", url)
    if match is None or re.match(r"[A-Za-z]:[/\\]", url.partition(":///")[2]):
        return url
    return f"{match[1]}{Path(match[2]).absolute().as_posix()}{match[3] or ''}"


@contextmanager
def reachable(url: str) -> Iterator[None]:
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
                f"{masked(url)}: needs the Python package {missing}; install it, or leave out --storage"
            ) from None
        text = without_secrets((str(error.__cause__ or error).splitlines() or [type(error).__name__])[0], url)
        raise ZooError(
            f"{masked(url)}: the storage cannot be reached or written ({text}); start it, free it, or correct --storage"
        ) from None


def _missing(error: BaseException | None) -> str | None:
    """The package whose absence is behind an error, if one is."""
    while error is not None:
        if isinstance(error, ModuleNotFoundError):
            return error.name
        error = error.__cause__ or error.__context__
    return None
