"""Charts drawn beside the search: a process imports matplotlib while candidates are enumerated, then draws.

PNG and SVG are drawn at the same time, each in a process of its own. Where processes cannot be forked, or there
is one core, the chart is drawn here.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from pathlib import Path

from zoo.cli.terminal import say as note

FILES = ("pareto.png", "pareto.svg")

Draw = Callable[[Path], None]


def draw_here(folder: Path, files: tuple[str, ...] = FILES) -> None:
    """Draw the chart of a run; without matplotlib say so."""
    try:
        from search.report.figures import draw
    except ModuleNotFoundError as missing:
        if (missing.name or "").partition(".")[0] != "matplotlib":
            raise
        note("zoo: no charts: matplotlib is not installed; pip install '.[plots]', then zoo pareto RUN")
        return
    draw([folder], [folder / name for name in files])


@contextmanager
def drawing(wanted: bool = True) -> Iterator[Draw]:
    """A function that draws the chart of a run, made ready in the background where that is possible."""
    from search.forking import can_fork, context

    if not wanted or not can_fork():
        yield draw_here if wanted else lambda folder: None
        return
    ours, theirs = context().Pipe()
    process = context().Process(target=_artist, args=(theirs, ours), daemon=False)
    process.start()
    theirs.close()
    try:
        yield lambda folder: _ask(ours, folder)
    finally:
        ours.close()
        process.join()


def _ask(artist: Connection, folder: Path) -> None:
    """Have it drawn. Whatever fails in the other process is tried here, where it is reported."""
    done = False
    with suppress(EOFError, OSError):
        artist.send_bytes(str(folder).encode())
        done = artist.recv_bytes() == b"done"
    if not done:
        draw_here(folder)


def _in_silence(folder: Path, files: tuple[str, ...]) -> None:
    """Draw, or end with exit code 1."""
    try:
        draw_here(folder, files)
    except BaseException:
        sys.exit(1)


def _artist(asked: Connection, theirs: Connection) -> None:
    """In the other process: be ready, draw, say that it is done; end in silence where anything is wrong."""
    from search.forking import context

    theirs.close()
    with suppress(BaseException):
        import search.report.figures  # noqa: F401 - with it matplotlib

        folder = Path(asked.recv_bytes().decode())
        second = context().Process(target=_in_silence, args=(folder, FILES[1:]))
        second.start()
        draw_here(folder, FILES[:1])
        second.join()
        asked.send_bytes(b"done" if second.exitcode == 0 else b"failed")
