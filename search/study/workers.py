"""Processes that evaluate trials, as others see them: alive, gone, or not to be seen from here."""

import os
import re
import socket
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock

from zoo.errors import ZooError
from zoo.files import make_folder
from zoo.locks import is_free
from zoo.reading import exists, read_proc, read_text
from zoo.text import one_line

LEASE_S = 6 * 3600.0
"""Seconds after which a trial of a worker that cannot be seen, without a time limit, belongs to nobody."""

_LOCK = re.compile(r"\d+-[0-9a-f]{8}\.lock")
"""Name of a worker's lock: nothing else of what a storage says of a worker is taken for a file."""


class Worker:
    """A process that evaluates trials: alive while it holds its lock. Raises ZooError where it cannot be made.

    name: host, lock, folder and machine with process, by which others tell whether it is alive.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = make_folder(folder / "workers")
        self.path = (self.folder / f"{os.getpid()}-{uuid.uuid4().hex[:8]}.lock").absolute()
        self._lock = FileLock(self.path)
        self._lock.acquire()
        self.name = [socket.gethostname(), self.path.name, folder_id(self.folder), f"{machine()} {_process()}"]

    def close(self) -> None:
        """Be gone."""
        self._lock.release()
        self.path.unlink(missing_ok=True)


@dataclass(frozen=True, slots=True)
class Sight:
    """What is seen of a worker. left_s: seconds until its trial belongs to nobody, None where it is seen alive."""

    host: str
    gone: bool
    left_s: float | None = None


def seen(name: Any, workers: Path, age_s: float, limit_s: float | None) -> Sight:
    """Whether the process that evaluates a trial is no more.

    In this folder its lock says so, whatever the host is called, and on this machine the process does; of any other,
    only that the trial is long overdue. Paths that a storage names are not followed.
    """
    host, lock, folder, process = _parts(name)
    this_machine = machine()
    if this_machine and process.partition(" ")[0] == this_machine and folder != folder_id(workers):
        return Sight(host, gone=not _runs(process.partition(" ")[2]))
    if _LOCK.fullmatch(lock) and (exists(workers / lock) or folder == folder_id(workers)):
        path = workers / lock
        if is_free(path):
            path.unlink(missing_ok=True)
            return Sight(host, gone=True)
        return Sight(host, gone=False)
    left = (LEASE_S if limit_s is None else 2 * limit_s + 60) - age_s
    return Sight(host, gone=left <= 0, left_s=max(0.0, left))


def _parts(name: Any) -> tuple[str, str, str, str]:
    """Host, lock, folder and process; empty where a storage says nothing or something else."""
    texts = [part if isinstance(part, str) else "" for part in name] if isinstance(name, (list, tuple)) else []
    host, lock, folder, process = [*texts, "", "", "", ""][:4]
    return one_line(host, 60) or "an unknown host", Path(lock).name if "\0" not in lock else "", folder, process


def folder_id(workers: Path) -> str:
    """A name of a folder of workers that no other has, however it is mounted; made when it is first asked for."""
    path = workers / "id"
    for _ in range(2):
        try:
            text = read_text(path, limit=64).strip()
            if re.fullmatch(r"[0-9a-f]{32}", text):
                return text
        except ZooError:
            pass
        try:
            with path.open("x", encoding="ascii") as file:
                file.write(uuid.uuid4().hex)
        except OSError:
            time.sleep(0.05)  # another process makes it
    return ""


def machine() -> str:
    """A name of the present machine since its start, and of the container in it; empty where nothing says."""
    boot = read_proc("/proc/sys/kernel/random/boot_id").strip()
    try:
        return f"{boot}-{os.stat('/proc/self/ns/pid').st_ino}" if boot else ""  # noqa: PTH116
    except OSError:
        return ""


def _process() -> str:
    return f"{os.getpid()}:{_started(os.getpid())}"


def _runs(process: str) -> bool:
    number, _, started = process.partition(":")
    return number.isdecimal() and len(number) < 12 and _started(int(number)) == started


def _started(process: int) -> str:
    """When a process began, in the kernel's ticks; empty for one that is no more or is only waited for."""
    fields = read_proc(f"/proc/{process}/stat").rpartition(")")[2].split()
    return fields[19] if len(fields) > 19 and fields[0] not in ("Z", "X") else ""
