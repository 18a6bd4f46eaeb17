"""What reaches the terminal: foreign text as text, and streams that may be full, closed or gone."""

import contextlib
import logging
import os
import sys
from typing import IO, TYPE_CHECKING, Any

from zoo.errors import ZooError
from zoo.reading import reason
from zoo.text import one_line, printable

if TYPE_CHECKING:
    from rich.console import Console

LONGEST = 2000
"""Most characters of an error that are printed."""

LOST = "standard output is closed, so that the answer is lost; leave it open, or send it to a file"


class OutputError(ZooError):
    """Standard output cannot take what is printed."""


def console_of(stream: IO[str] | None = None, **options: Any) -> "Console":
    """A rich console that prints strings as they are: no markup, no escape codes of theirs, no emoji names."""
    from rich.console import Console

    class Plain(Console):
        def render_str(self, text: str, **settings: Any) -> Any:
            return super().render_str(printable(text), **settings | {"markup": False, "emoji": False})

        def on_broken_pipe(self) -> None:
            raise BrokenPipeError

    return Plain(file=stream, markup=False, emoji=False, highlight=False, **options)


def say(message: str) -> None:
    """A message on stderr; lost where that is full or closed, which must not end the work."""
    try:
        print(printable(message), file=sys.stderr, flush=True)
    except (OSError, ValueError, AttributeError):
        detach(sys.stderr)


def say_error(error: object) -> None:
    """An error as one line on stderr."""
    say(f"zoo: {one_line(error, LONGEST)}")


def open_missing_descriptors() -> bool:
    """Open /dev/null in place of closed standard streams, so that no file takes their numbers.

    Returns whether standard output was closed.
    """
    closed = []
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            closed.append(descriptor)
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115, PTH123
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115, PTH123
    return 1 in closed


def flush() -> None:
    """Write out what was printed. Raises BrokenPipeError where the reader is gone, OutputError without room."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        detach(sys.stdout)
        raise
    except (OSError, ValueError) as error:
        detach(sys.stdout)
        raise OutputError(
            f"standard output cannot be written: {reason(error)}; free some space, or send it elsewhere"
        ) from None


def detach(stream: IO[str] | None) -> None:
    """Send what a stream still holds to /dev/null, so that python does not complain when it ends."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())  # type: ignore[union-attr]
        os.close(null)


class _Handler(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        say_error(record.getMessage())


def log_warnings() -> None:
    """Print what our modules log as warnings."""
    for name in ("pretrained", "zoo", "search", "hw_models"):
        logger = logging.getLogger(name)
        if not any(isinstance(handler, _Handler) for handler in logger.handlers):
            logger.addHandler(_Handler(logging.WARNING))
