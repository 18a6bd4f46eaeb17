"""Files that nobody vouches for: opened only where they are ordinary files, and read up to a bound.

A directory, a pipe, a device node, a loop of links, a name that is too long, a file that is too large, binary or
nested too deeply, a number that is not finite or has more than 64 bits: each is one sentence, raised as the
class that the caller gives.
"""

import csv
import errno
import io
import json
import math
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from zoo.errors import ConfigError, ZooError
from zoo.text import one_line, shown

MAX_BYTES = 64 * 2**20
"""Longest text file that is read."""

MAX_DEPTH = 64
"""Deepest nesting of a document."""

MAX_INTEGER = 2**64
"""Bound of the magnitude of whole numbers in documents."""

_KINDS = (
    (stat.S_ISDIR, "a directory"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISCHR, "a device node"),
    (stat.S_ISBLK, "a device node"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISLNK, "a link"),
)

Kind = type[ZooError]
"""The class of the errors that a function raises."""


def is_file(path: Path | str) -> bool:
    """Whether there is an ordinary file; False for whatever cannot be looked at, such as a name that is too long."""
    return os.path.isfile(path)  # noqa: PTH113 - Path.is_file raises for long names and loops


def is_folder(path: Path | str) -> bool:
    """Whether there is a folder; False for whatever cannot be looked at."""
    return os.path.isdir(path)  # noqa: PTH112 - as above


def exists(path: Path | str) -> bool:
    """Whether there is anything, a dangling link included; False for whatever cannot be looked at."""
    return os.path.lexists(path)


def kind_of(mode: int) -> str | None:
    """What a file is that is not ordinary, from `st_mode`; None for an ordinary one.

    >>> kind_of(stat.S_IFIFO), kind_of(stat.S_IFREG)
    ('a pipe', None)
    """
    if stat.S_ISREG(mode):
        return None
    return next((name for test, name in _KINDS if test(mode)), "no ordinary file")


def reason(error: BaseException) -> str:
    """Why the system refused, in a few words."""
    if isinstance(error, OSError):
        number = error.errno
        if number == errno.ENAMETOOLONG:
            return "the name is too long"
        if number == errno.ELOOP:
            return "its links lead in a circle"
        return error.strerror or one_line(error, 120) or type(error).__name__
    return one_line(error, 120) or type(error).__name__


@contextmanager
def opened(path: Path, error: Kind = ConfigError, *, follow: bool = True) -> Iterator[BinaryIO]:
    """An ordinary file opened for reading; never waits for a pipe. Raises `error`.

    follow: whether a link at `path` may be followed.
    """
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
    try:
        wrong = kind_of((path.stat() if follow else path.lstat()).st_mode)
        descriptor = os.open(path, flags) if wrong is None else -1
    except (OSError, ValueError) as failure:
        raise error(f"{shown(path)}: cannot be read: {reason(failure)}; check the path") from None
    if wrong is not None:
        raise error(f"{shown(path)}: cannot be read: Is {wrong}; give an ordinary file")
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):  # exchanged between the look and the opening
            raise error(f"{shown(path)}: cannot be read: Is no ordinary file; give one")
        yield file


def read_bytes(path: Path, error: Kind = ConfigError, limit: int = MAX_BYTES) -> bytes:
    """The content of an ordinary file of at most `limit` bytes. Raises `error`."""
    with opened(path, error) as file:
        try:
            data = file.read(limit + 1)
        except OSError as failure:
            raise error(f"{shown(path)}: cannot be read: {reason(failure)}; check the path") from None
    if len(data) > limit:
        raise error(f"{shown(path)}: is longer than {limit:,} bytes, the most that is read; check the path")
    return data


def read_text(path: Path, error: Kind = ConfigError, limit: int = MAX_BYTES) -> str:
    """A text file in UTF-8, without a byte order mark, lines ending as they are. Raises `error`."""
    return decoded(read_bytes(path, error, limit), shown(path), error)


def decoded(data: bytes, source: str, error: Kind = ConfigError) -> str:
    """Bytes as text. Raises `error`."""
    if b"\0" in data:
        raise error(f"{source}: cannot be read: it is not UTF-8 text; check the path")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise error(f"{source}: cannot be read: it is not UTF-8 text; check the path") from None


def read_json(path: Path, error: Kind = ConfigError, limit: int = MAX_BYTES, *, finite: bool = True) -> Any:
    """A JSON document. Raises `error`."""
    return parse_json(read_text(path, error, limit), shown(path), error, finite=finite)


def parse_json(text: str, source: str, error: Kind = ConfigError, *, finite: bool = True) -> Any:
    """JSON with numbers of at most 64 bits, nested at most `MAX_DEPTH` deep; `source` names it in errors.

    finite: whether NaN and infinity are refused here, or left to the caller, who can name the key.
    """

    def refuse(name: str) -> float:
        raise ValueError(f"{name} is not a finite number")

    def whole(digits: str) -> int:
        if len(digits) > 21 or abs(value := int(digits)) > MAX_INTEGER:
            raise ValueError(f"{one_line(digits, 30)} has more than 64 bits")
        return value

    def number(digits: str) -> float:
        value = float(digits)
        return value if math.isfinite(value) or not finite else refuse(one_line(digits, 30))

    try:
        value = json.loads(text, parse_constant=refuse if finite else float, parse_int=whole, parse_float=number)
    except RecursionError:
        raise error(f"{source}: is nested too deeply to be read; flatten it") from None
    except ValueError as failure:
        raise error(f"{source}: is not valid JSON: {one_line(failure, 120)}; correct it") from None
    check_depth(value, source, error)
    return value


def check_depth(value: Any, source: str, error: Kind = ConfigError) -> None:
    """Raise `error` where lists and mappings are nested more than `MAX_DEPTH` deep."""
    level = [value]
    for _ in range(MAX_DEPTH + 1):
        level = [
            inner
            for outer in level
            if isinstance(outer, (dict, list))
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
        if not level:
            return
    raise error(f"{source}: is nested too deeply to be read; flatten it")


def read_lines(path: Path, error: Kind = ConfigError) -> list[tuple[int, dict[str, Any]]]:
    """A journal: JSON mappings, one a line, with the numbers of their lines; blank lines are passed over.

    Raises `error` with the line's number for any other line.
    """
    rows = []
    for number, line in enumerate(read_text(path, error).split("\n"), 1):
        if not line.strip():
            continue
        location = f"{shown(path)}: line {number}"
        try:
            row = parse_json(line, location, error)
        except error as failure:
            why = str(failure).removeprefix(f"{location}: ")
            raise error(f"{location}: is damaged ({why}); remove the line, or the file to start anew") from None
        if not isinstance(row, dict):
            raise error(f"{location}: must be a mapping, but is {one_line(repr(row), 60)}; remove the line")
        rows.append((number, row))
    return rows


def csv_reader(path: Path, error: Kind = ConfigError) -> "csv.DictReader[str]":
    """Rows of a CSV file by the names in its first line; iterating may raise csv.Error."""
    return csv.DictReader(io.StringIO(read_text(path, error), newline=""))


def inside(
    folder: Path, name: object, source: Path | str, error: Kind = ConfigError, folder_kind: str = "folder"
) -> Path:
    """The path of an ordinary file in `folder` that `source` names; neither it nor a folder above it is a link.

    Raises `error` for a path that leads outside, a link, and whatever is no ordinary file.
    """
    if not isinstance(name, str) or not name or "\0" in name or Path(name).is_absolute() or ".." in Path(name).parts:
        raise error(
            f"{shown(source)}: {one_line(repr(name), 80)} lies outside the {folder_kind}; copy the file into it"
        )
    path = folder
    for part in Path(name).parts:
        path = path / part
        try:
            mode = path.lstat().st_mode
        except (OSError, ValueError) as failure:
            why = "does not exist" if isinstance(failure, FileNotFoundError) else f"cannot be read: {reason(failure)}"
            raise error(f"{shown(source)}: {one_line(name, 80)} {why}; add the file, or remove its name") from None
        if stat.S_ISLNK(mode):
            raise error(
                f"{shown(source)}: {one_line(name, 80)} is a link, which lies outside the {folder_kind}; "
                f"copy the file into it"
            )
    wrong = kind_of(mode)
    if wrong:
        raise error(f"{shown(source)}: {one_line(name, 80)} is {wrong}; put an ordinary file there")
    return path


def read_proc(path: str) -> str:
    """A file of the system's own, such as /proc/meminfo; empty where there is none."""
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
