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

from pretrained.manifest import PACKAGE, Weights, manifest
from pretrained.transport import CHUNK_BYTES, Patience, TransferError, below, copy_from, is_url, public
from zoo.errors import ZooError
from zoo.files import atomic, make_folder
from zoo.folders import APP, cache_home
from zoo.locks import held
from zoo.progress import progress
from zoo.reading import is_folder, kind_of, opened, reason
from zoo.text import one_line, shown

PATIENCE = Patience()
MOST_HASHED = 100
"""A file that is longer than this many times what it should be is not even hashed."""

REMEDY = "set ZOO_HOME to a folder that you may write to and that has room"

log = logging.getLogger(__name__)

Advance = Callable[[int], None]
"""Called with the bytes received so far."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """A verified file, and where it was taken from this time: `cache`, `package`, an address or a path."""

    path: Path
    taken_from: str


def fetch(entry: Weights, **options: Any) -> Path:
    """Path of the verified file; takes what `obtain` takes and raises what it raises."""
    return obtain(entry, **options).path


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
        try:
            parts = urlsplit(text)
            host = (parts.hostname or "").encode("idna")
            port = parts.port
        except (ValueError, UnicodeError) as error:
            raise ZooError(f"mirror {public(text)}: is no URL: {one_line(error, 80)}; correct it") from None
        if parts.scheme not in ("http", "https") or not host or port == 0:
            raise ZooError(f"mirror {public(text)}: must be a folder or an https:// URL; give a folder by its path")
        if parts.username or parts.password or parts.query or parts.fragment or "@" in parts.netloc:
            raise ZooError(f"mirror on {parts.hostname}: paths must be addable to its URL; leave out @, ? and #")
    elif not is_folder(text):
        raise ZooError(
            f"mirror {shown(text)}: is not a folder; give the one that holds encoder/, decoder/ and espnetv2/"
        )
    return text


def _mirror_of_environment() -> list[str]:
    mirror = os.environ.get("ZOO_WEIGHTS_MIRROR")
    return [check_mirror(mirror)] if mirror else []


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal. Raises OSError."""
    digest = hashlib.sha256()
    with opened(path, ZooError) as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def is_intact(path: Path, entry: Weights) -> bool:
    """Whether the file is there with the manifest's length and hash."""
    try:
        return path.stat().st_size == entry.bytes and sha256_of(path) == entry.sha256
    except (OSError, ZooError):
        return False


def check_bytes(data: bytes, path: Path, entry: Weights) -> None:
    """Raise ZooError, with both hashes, unless `data`, read from `path`, is what the manifest describes."""
    digest = hashlib.sha256(data).hexdigest()
    if digest != entry.sha256:
        raise ZooError(f"{path} {difference(entry, digest, len(data))}; give the file of {entry.name}")


def wrong_with(path: Path, entry: Weights) -> str | None:
    """Why a file is not the one that the manifest describes, with both hashes, or None."""
    try:
        about = path.stat()
        if kind_of(about.st_mode):
            return "is not a file"
        if about.st_size > MOST_HASHED * entry.bytes:
            return f"has {about.st_size:,} bytes and not {entry.bytes:,}"
        size, digest = about.st_size, sha256_of(path)
    except (OSError, ValueError) as error:
        return f"cannot be read: {reason(error)}"
    return None if digest == entry.sha256 else difference(entry, digest, size)


def difference(entry: Weights, digest: str, size: int) -> str:
    """What a file of another hash is: other weights, if they are known, or none."""
    other_weights = manifest().with_sha256(digest)
    if other_weights:
        return f"holds {other_weights.name} (SHA-256 {digest}), not {entry.name} (SHA-256 {entry.sha256})"
    length = "" if size == entry.bytes else f" and {size} bytes instead of {entry.bytes}"
    return f"has the SHA-256 {digest}{length}, but the manifest says {entry.sha256}"


@contextmanager
def _locked(path: Path, entry: Weights, patience: Patience) -> Iterator[None]:
    """Hold the lock of one cached file; what a killed process left beside it is removed."""
    make_folder(path.parent, REMEDY)

    def say(text: str) -> None:
        log.warning("%s: %s that is fetching it", entry.name, text)

    lock = path.parent / f".{path.name}.lock"
    with held(lock, f"a download of {entry.name}", wait_s=patience.lock_s, notice_s=patience.notice_s, say=say):
        for left in path.parent.glob(f".{path.name}.*.part"):
            left.unlink(missing_ok=True)
        yield


def _first(places: Sequence[str], path: Path, entry: Weights, patience: Patience, progress: bool) -> str:
    """Store the file from the first address that has it, and return that address; all within `patience.total_s`."""
    failures: dict[str, TransferError] = {}
    until = time.monotonic() + patience.total_s
    for turn in range(patience.rounds):
        for place in places:
            if place in failures and not failures[place].transient:
                continue
            try:
                _store(path, entry, place, patience, progress=progress, only_place=len(places) == 1, until=until)
                _report(failures)
                return place
            except TransferError as failure:
                failures[place] = failure
        if turn + 1 == patience.rounds or not any(failure.transient for failure in failures.values()):
            break
        if time.monotonic() > until:
            break
        time.sleep(patience.pause_s * 2**turn)
    tried = "; ".join(f"{public(place)} {one_line(failure)}" for place, failure in failures.items())
    raise ZooError(
        f"{entry.name}: not in the cache and could not be fetched ({tried}); connect to the network, name a "
        "folder or URL that has it with --mirror, or carry the file here and give it with --from-file"
    )


def _report(failures: Mapping[str, TransferError]) -> None:
    for place, failure in failures.items():
        log.log(logging.INFO if failure.transient else logging.WARNING, "%s %s", public(place), one_line(failure))


def _store(
    path: Path,
    entry: Weights,
    place: str,
    patience: Patience,
    *,
    progress: bool,
    only_place: bool = True,
    until: float | None = None,
) -> None:
    """Copy from one address into the cache, if it has the right bytes; else raise TransferError and keep nothing."""
    wrong = None if is_url(place) else wrong_with(Path(place), entry)
    if wrong:
        raise TransferError(wrong)
    connect_s = patience.connect_s if only_place else patience.connect_with_mirror_s
    with atomic(path, REMEDY) as partial, _bar(entry, progress) as advance:
        with partial.open("wb") as out:
            digest, size = copy_from(
                place, out, entry.bytes, connect_s=connect_s, patience=patience, advance=advance, until=until
            )
        if digest != entry.sha256:
            # A shorter file from a URL is most often a broken connection; on a disk it will not grow.
            transient = size < entry.bytes and is_url(place)
            raise TransferError(f"{difference(entry, digest, size)}, so it was removed", transient=transient)


@contextmanager
def _bar(entry: Weights, enabled: bool) -> Iterator[Advance]:
    """Draw a progress bar on stderr, if that is a terminal."""
    if not (enabled and sys.stderr.isatty()):
        yield lambda count: None
        return
    from rich.progress import BarColumn, DownloadColumn, TextColumn, TransferSpeedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with progress(entry.name, *columns) as show:
        received = [0]

        def advance(count: int) -> None:
            received[0] += count
            show(received[0], entry.bytes)

        yield advance
