"""Bytes from an address: an https:// URL, a mirror's http:// URL, or a path, with limits on time and length.

An address is trusted with nothing: redirects may not leave https, no more is read than the manifest says,
and the caller gets its bytes only with their hash.
"""

import hashlib
import queue
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from ssl import SSLCertVerificationError
from typing import IO, Any, BinaryIO, TypeVar
from urllib import request
from urllib.error import HTTPError, URLError
from urllib.parse import quote, urlsplit

from zoo.reading import kind_of
from zoo.text import one_line, shown

T = TypeVar("T")

CHUNK_BYTES = 1 << 16
TRANSIENT_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504})
"""HTTP answers that may be different a second later."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long to wait, in seconds, and how often to try.

    connect_s bounds the wait for an answer, name resolution included, and connect_with_mirror_s does where
    there is another address; read_s bounds a silence within an answer, total_s one file with all
    its addresses. All addresses are
    tried in up to `rounds` rounds, with pause_s between them, doubled each time. A process that another one
    keeps waiting says so after notice_s and gives up after lock_s. An answer that after slow_s has given less than
    least_bytes_per_s is given up for good.
    """

    connect_s: float = 8.0
    connect_with_mirror_s: float = 3.0
    read_s: float = 15.0
    total_s: float = 900.0
    slow_s: float = 30.0
    least_bytes_per_s: float = 1024.0
    rounds: int = 3
    pause_s: float = 0.5
    notice_s: float = 2.0
    lock_s: float = 900.0


class TransferError(Exception):
    """An address did not give the file; `transient` if it may do so later."""

    def __init__(self, reason: str, *, transient: bool = False) -> None:
        super().__init__(reason)
        self.transient = transient


def is_url(text: str) -> bool:
    """Whether an address is a URL and not a path.

    >>> is_url("https://example.org/w"), is_url("/mnt/w"), is_url("C:/w")
    (True, False, False)
    """
    return "://" in text


def public(place: str) -> str:
    """An address in a message: a URL without user, password, query and fragment.

    >>> public("https://me:secret@example.org/w?key=1"), public("/mnt/w")
    ('https://example.org/w', '/mnt/w')
    """
    if not is_url(place):
        return shown(place)
    scheme, _, remainder = place.partition("://")
    remainder = re.split(r"[?#]", remainder)[0]
    authority, slash, path = remainder.partition("/")
    return shown(f"{scheme}://{authority.rpartition('@')[2]}{slash}{path.rpartition('@')[2]}")


def below(root: str, file: str) -> str:
    """Address of a file below a mirror.

    >>> below("https://example.org/w/", "encoder/a b.pth")
    'https://example.org/w/encoder/a%20b.pth'
    """
    return f"{root.rstrip('/')}/{quote(file)}" if is_url(root) else str(Path(root) / file)


def copy_from(
    place: str,
    out: BinaryIO,
    limit_bytes: int,
    *,
    connect_s: float,
    patience: Patience,
    advance: Callable[[int], None],
    until: float | None = None,
) -> tuple[str, int]:
    """Copy what is at `place` to `out`; returns its SHA-256 and its length in bytes.

    Raises TransferError where the address does not answer, and where there are more than `limit_bytes`,
    which is where it stops reading, where it is slower than `patience.least_bytes_per_s`, and after `until`, a time of
    `time.monotonic()`. OSError is left to mean that `out` cannot be written.
    """
    digest, size = hashlib.sha256(), 0
    with closing(_open(place, connect_s, patience.read_s)) as source:
        started = time.monotonic()
        for chunk in _chunks(source, min(started + patience.total_s, until or float("inf"))):
            size += len(chunk)
            spent = time.monotonic() - started
            if is_url(place) and spent > patience.slow_s and size < spent * patience.least_bytes_per_s:
                raise TransferError(f"was too slow: {size:,} bytes in {spent:.0f} s")
            if size > limit_bytes:
                raise TransferError(f"is longer than the {limit_bytes} bytes that the manifest says")
            digest.update(chunk)
            out.write(chunk)
            advance(len(chunk))
    return digest.hexdigest(), size


def _chunks(source: IO[bytes], deadline: float) -> Iterator[bytes]:
    read = getattr(source, "read1", source.read)  # one system call at a time, so that the deadline is seen
    while True:
        if time.monotonic() > deadline:
            raise TransferError("was too slow", transient=True)
        try:
            chunk = read(CHUNK_BYTES)
        except (OSError, HTTPException) as error:
            raise TransferError(_reason(error), transient=True) from None
        if not chunk:
            return
        yield chunk


def _open(place: str, connect_s: float, read_s: float) -> IO[bytes]:
    if not is_url(place):
        try:
            mode = Path(place).stat().st_mode
            if kind_of(mode):
                raise TransferError(f"is {kind_of(mode)}")
            return Path(place).open("rb")
        except (OSError, ValueError) as error:
            raise TransferError(_reason(error)) from None
    try:
        return _within(connect_s, lambda: _opener().open(place, timeout=read_s))
    except HTTPError as error:
        error.close()
        if str(error.reason).startswith("The HTTP server returned a redirect error"):
            raise TransferError("redirects in a circle") from None
        answer = one_line(error.reason, 160)
        raise TransferError(f"answered {error.code} {answer}", transient=error.code in TRANSIENT_STATUS) from None
    except (ValueError, UnicodeError) as error:
        raise TransferError(f"cannot be asked: {one_line(error, 80)}") from None
    except (OSError, HTTPException) as error:
        untrusted = isinstance(getattr(error, "reason", error), SSLCertVerificationError)
        raise TransferError(_reason(error), transient=not untrusted) from None


def _within(seconds: float, call: Callable[[], T]) -> T:
    """The result of `call`, or TimeoutError; a socket's own timeout does not cover name resolution."""
    answers: queue.SimpleQueue[tuple[T | None, BaseException | None]] = queue.SimpleQueue()

    def work() -> None:
        try:
            answers.put((call(), None))
        except BaseException as error:
            answers.put((None, error))

    threading.Thread(target=work, daemon=True).start()
    try:
        value, error = answers.get(timeout=seconds)
    except queue.Empty:
        raise TimeoutError(f"no answer within {seconds:g} s") from None
    if error is not None:
        raise error
    return value  # type: ignore[return-value]


def _reason(error: BaseException) -> str:
    """What went wrong, in a few words."""
    inner = error.reason if isinstance(error, URLError) else error
    if isinstance(inner, OSError) and inner.strerror:
        return one_line(inner.strerror, 120)
    return one_line(inner, 120) or type(inner).__name__


class _Redirects(request.HTTPRedirectHandler):
    """Follows redirects to https, and from the http of a user's own mirror to http."""

    def redirect_request(self, req: request.Request, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        if "@" in newurl.partition("://")[2].partition("/")[0]:
            raise TransferError(f"redirects to {public(newurl)} with a password, which is not followed")
        scheme = urlsplit(newurl).scheme
        if scheme != "https" and not (scheme == req.type == "http"):
            raise TransferError(f"redirects to {public(newurl)}, which is not https")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _opener() -> request.OpenerDirector:
    """An opener for http and https alone: urllib's own also opens file:, ftp: and data:."""
    opener = request.OpenerDirector()
    for handler in (
        request.ProxyHandler(),
        request.HTTPHandler(),
        request.HTTPSHandler(),
        request.HTTPDefaultErrorHandler(),
        _Redirects(),
        request.HTTPErrorProcessor(),
        request.UnknownHandler(),
    ):
        opener.add_handler(handler)
    return opener
