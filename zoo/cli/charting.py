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
def drawing(enabled: bool = True) -> Iterator[Draw]:
    """A function that draws the chart of a run, made ready in the background where that is possible."""
    from search.forking import can_fork, context

    if not enabled or not can_fork():
        yield draw_here if enabled else lambda folder: None
        return
    parent_end, child_end = context().Pipe()
    process = context().Process(target=_artist, args=(child_end, parent_end), daemon=False)
    process.start()
    child_end.close()
    try:
        yield lambda folder: _ask(parent_end, folder)
    finally:
        parent_end.close()
        process.join()


def _ask(artist: Connection, folder: Path) -> None:
    """Have it drawn. Whatever fails in the other process is tried here, where it is reported."""
    drawn_there = False
    with suppress(EOFError, OSError):
        artist.send_bytes(str(folder).encode())
        drawn_there = artist.recv_bytes() == b"done"
    if not drawn_there:
        draw_here(folder)


def _in_silence(folder: Path, files: tuple[str, ...]) -> None:
    """Draw, or end with exit code 1."""
    try:
        draw_here(folder, files)
    except BaseException:
        sys.exit(1)


def _artist(requests: Connection, parent_end: Connection) -> None:
    """In the other process: be ready, draw, say that it is done; end in silence where anything is wrong."""
    from search.forking import context

    parent_end.close()
    with suppress(BaseException):
        import search.report.figures  # noqa: F401 - with it matplotlib

        folder = Path(requests.recv_bytes().decode())
        second = context().Process(target=_in_silence, args=(folder, FILES[1:]))
        second.start()
        draw_here(folder, FILES[:1])
        second.join()
        requests.send_bytes(b"done" if second.exitcode == 0 else b"failed")
