"""From a manifest entry to a verified file in the cache.

The address upstream is tried first, mirrors after it: the ones given, then `ZOO_WEIGHTS_MIRROR`. Where a
mirror is at hand, a network that does not answer costs `Patience.connect_with_mirror_s` and no more. The
cache is itself laid out as a mirror: a copy of its `weights` folder serves machines without a network.

Nothing is parsed here. A file takes its place in the cache only when its length and its SHA-256 are the
manifest's, and one that is there already is hashed again before it is used.
"""

import hashlib
import logging
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from filelock import FileLock, Timeout

from pretrained.manifest import PACKAGE, Weights, manifest
from pretrained.transport import CHUNK_BYTES, Patience, TransferError, below, copy_from, is_url
from zoo.errors import ZooError
from zoo.files import atomic, make_folder
from zoo.folders import APP, cache_home

PATIENCE = Patience()
REMEDY = "set ZOO_HOME to a folder that you may write to and that has room"

log = logging.getLogger(__name__)

Advance = Callable[[int], None]
"""Told of every so many bytes."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """A verified file, and where it was taken from this time: `cache`, `package`, an address or a path."""

    path: Path
    taken_from: str


def fetch(entry: Weights, **how: Any) -> Path:
    """Path of the verified file; takes what `obtain` takes and raises what it raises."""
    return obtain(entry, **how).path


def obtain(
    entry: Weights,
    *,
    mirrors: Iterable[str] = (),
    from_file: Path | None = None,
    cache: Path | None = None,
    progress: bool = True,
    patience: Patience = PATIENCE,
) -> Fetched:
    """Find the file of `entry`: in this package or the cache, upstream, at a mirror, or carried here by hand.

    mirrors: folders or https:// URLs (http:// is taken at the user's word) that hold `entry.file`.
    from_file: used instead of any address. cache: instead of `cache_home()`. progress: draw a bar where
    stderr is a terminal. Any number of processes may ask at once; one of them downloads.

    Raises ZooError where the file cannot be had, where it is not the one that the manifest describes (both
    hashes are named, and nothing of it is kept), and where the cache cannot be written.
    """
    roots = [check_mirror(mirror) for mirror in mirrors]
    path = (cache or cache_home()) / "weights" / entry.file
    if from_file is not None:
        return _carried(from_file, path, entry, patience)
    if entry.bundled:
        return _bundled(entry)
    if is_intact(path, entry):
        return Fetched(path, "cache")
    with _locked(path, entry, patience):
        if is_intact(path, entry):
            return Fetched(path, "cache")
        roots += _mirror_of_environment()  # looked at only when it is needed: it may be a disk that is elsewhere
        places = [entry.origin, *(below(root, entry.file) for root in roots)]
        return Fetched(path, _first(places, path, entry, patience, progress))


def _carried(from_file: Path, path: Path, entry: Weights, patience: Patience) -> Fetched:
    with _locked(path, entry, patience):
        try:
            _store(path, entry, str(from_file), patience, progress=False)
        except TransferError as failure:
            raise ZooError(f"{from_file} {failure}; give the file of {entry.name}") from None
    return Fetched(path, str(from_file))


def _bundled(entry: Weights) -> Fetched:
    path = PACKAGE / entry.file
    wrong = wrong_with(path, entry)
    if wrong:
        raise ZooError(f"{path} {wrong}; install {APP} again")
    return Fetched(path, "package")


def check_mirror(text: str) -> str:
    """Accept a mirror: a folder that is there, or an http(s) URL. Raises ZooError for anything else."""
    if is_url(text):
        parts = urlsplit(text)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ZooError(f"mirror {text}: must be a folder or an https:// URL; give a folder by its path")
        if parts.username or parts.query or parts.fragment:
            raise ZooError(f"mirror on {parts.hostname}: paths must be addable to its URL; leave out @, ? and #")
    elif not Path(text).is_dir():
        raise ZooError(f"mirror {text}: is not a folder; give the one that holds encoder/, decoder/ and espnetv2/")
    return text


def _mirror_of_environment() -> list[str]:
    named = os.environ.get("ZOO_WEIGHTS_MIRROR")
    return [check_mirror(named)] if named else []


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal. Raises OSError."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def is_intact(path: Path, entry: Weights) -> bool:
    """Whether the file is there with the manifest's length and hash."""
    try:
        return path.stat().st_size == entry.bytes and sha256_of(path) == entry.sha256
    except OSError:
        return False


def check_bytes(data: bytes, path: Path, entry: Weights) -> None:
    """Raise ZooError, with both hashes, unless `data`, read from `path`, is what the manifest describes."""
    found = hashlib.sha256(data).hexdigest()
    if found != entry.sha256:
        raise ZooError(f"{path} {difference(entry, found, len(data))}; give the file of {entry.name}")


def wrong_with(path: Path, entry: Weights) -> str | None:
    """Why a file is not the one that the manifest describes, with both hashes, or None."""
    try:
        if path.exists() and not path.is_file():
            return "is not a file"
        size, found = path.stat().st_size, sha256_of(path)
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    return None if found == entry.sha256 else difference(entry, found, size)


def difference(entry: Weights, found: str, size: int) -> str:
    """What a file of another hash is: other weights, if they are known, or none."""
    known = manifest().with_sha256(found)
    if known:
        return f"holds {known.name} (SHA-256 {found}), not {entry.name} (SHA-256 {entry.sha256})"
    length = "" if size == entry.bytes else f" and {size} bytes instead of {entry.bytes}"
    return f"has the SHA-256 {found}{length}, but the manifest says {entry.sha256}"


@contextmanager
def _locked(path: Path, entry: Weights, patience: Patience) -> Iterator[None]:
    """Hold the lock of one cached file; what a killed process left beside it is removed."""
    make_folder(path.parent, REMEDY)
    lock = FileLock(path.parent / f".{path.name}.lock")
    try:
        try:
            lock.acquire(timeout=patience.notice_s)
        except Timeout:
            log.warning("%s: waiting for another process that is fetching it", entry.name)
            lock.acquire(timeout=patience.lock_s)
    except Timeout:
        raise ZooError(
            f"{lock.lock_file}: held by another process for {patience.lock_s:g} s; end that process"
        ) from None
    except OSError as error:
        raise ZooError(f"{lock.lock_file}: cannot be written: {error.strerror}; {REMEDY}") from None
    try:
        for left in path.parent.glob(f".{path.name}.*.part"):
            left.unlink(missing_ok=True)
        yield
    finally:
        lock.release()


def _first(places: Sequence[str], path: Path, entry: Weights, patience: Patience, progress: bool) -> str:
    """Store the file from the first address that has it, and return that address."""
    failures: dict[str, TransferError] = {}
    for turn in range(patience.rounds):
        for place in places:
            if place in failures and not failures[place].transient:
                continue
            try:
                _store(path, entry, place, patience, progress=progress, alone=len(places) == 1)
                _report(failures)
                return place
            except TransferError as failure:
                failures[place] = failure
        if turn + 1 == patience.rounds or not any(failure.transient for failure in failures.values()):
            break
        time.sleep(patience.pause_s * 2**turn)
    tried = "; ".join(f"{place} {failure}" for place, failure in failures.items())
    raise ZooError(
        f"{entry.name}: not in the cache and could not be fetched ({tried}); connect to the network, name a "
        "folder or URL that has it with --mirror, or carry the file here and give it with --from-file"
    )


def _report(failures: Mapping[str, TransferError]) -> None:
    for place, failure in failures.items():
        log.log(logging.INFO if failure.transient else logging.WARNING, "%s %s", place, failure)


def _store(path: Path, entry: Weights, place: str, patience: Patience, *, progress: bool, alone: bool = True) -> None:
    """Copy from one address into the cache, if it has the right bytes; else raise TransferError and keep nothing."""
    wrong = None if is_url(place) else wrong_with(Path(place), entry)
    if wrong:
        raise TransferError(wrong)
    connect_s = patience.connect_s if alone else patience.connect_with_mirror_s
    with atomic(path, REMEDY) as partial, _bar(entry, progress) as advance:
        with partial.open("wb") as out:
            found, size = copy_from(place, out, entry.bytes, connect_s=connect_s, patience=patience, advance=advance)
        if found != entry.sha256:
            # A shorter file from a URL is most often a broken connection; on a disk it will not grow.
            transient = size < entry.bytes and is_url(place)
            raise TransferError(f"{difference(entry, found, size)}, so it was removed", transient=transient)


@contextmanager
def _bar(entry: Weights, wanted: bool) -> Iterator[Advance]:
    """Draw a progress bar on stderr, if that is a terminal."""
    if not (wanted and sys.stderr.isatty()):
        yield lambda count: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(entry.name, total=entry.bytes)
        yield lambda count: bar.advance(task, count)
