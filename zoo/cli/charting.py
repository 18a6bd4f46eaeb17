"""Charts drawn beside the search: a process imports matplotlib while candidates are enumerated, then draws.

PNG and SVG are written at the same time, each by a process of its own. Where processes cannot be forked, or there
is one core, the chart is drawn here. A chart that was drawn before of equal files is read from the cache.
"""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.cli.terminal import say as note

if TYPE_CHECKING:
    from search.query import Query
    from search.table_files import TableFiles

FILES = ("pareto.png", "pareto.svg")

Draw = Callable[[Path], None]


def draw_here(folder: Path) -> None:
    """Draw the chart of a run; without matplotlib say so."""
    try:
        from search.report.figures import draw
    except ModuleNotFoundError as missing:
        if (missing.name or "").partition(".")[0] != "matplotlib":
            raise
        note("zoo: no charts: matplotlib is not installed; pip install '.[plots]', then zoo pareto RUN")
        return
    draw([folder], _outputs(folder))


@contextmanager
def drawing(query: "Query | None", files: "TableFiles | None" = None, *, known: bool = False) -> Iterator[Draw]:
    """A function that draws the chart of a run, or reads it from `files`; without a query it draws nothing.

    known: whether the answer is there already, so that there is no time in which a process could get ready.
    """
    from search.report.kept_chart import keep_chart, kept_chart

    if query is None:
        yield lambda folder: None
        return
    with _artist() if not known else nullcontext(draw_here) as ask:

        def draw(folder: Path) -> None:
            if not kept_chart(folder, query, _outputs(folder), files):
                ask(folder)
                keep_chart(folder, query, _outputs(folder), files)

        yield draw


def _outputs(folder: Path) -> list[Path]:
    return [folder / name for name in FILES]


@contextmanager
def _artist() -> Iterator[Draw]:
    """A process that gets ready to draw, where that is possible."""
    from search.forking import can_fork, context

    if not can_fork():
        yield draw_here
        return
    parent_end, child_end = context().Pipe()
    process = context().Process(target=_wait_and_draw, args=(child_end, parent_end), daemon=False)
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


def _wait_and_draw(requests: Connection, parent_end: Connection) -> None:
    """In the other process: be ready, draw, say that it is done; end in silence where anything is wrong."""
    parent_end.close()
    with suppress(BaseException):
        from search.report.figures import draw

        folder = Path(requests.recv_bytes().decode())
        draw([folder], _outputs(folder), save=_save_at_once)
        requests.send_bytes(b"done")


def _save_at_once(figure: Any, outputs: Sequence[Path]) -> None:
    """Write a figure, each file by a process of its own. Raises OSError where one of them fails."""
    from search.forking import context
    from search.report.layout import save

    first, *others = outputs
    processes = [context().Process(target=_save_in_silence, args=(figure, output)) for output in others]
    for process in processes:
        process.start()
    save(figure, [first])
    for process in processes:
        process.join()
    if any(process.exitcode for process in processes):
        raise OSError("a chart was not written")


def _save_in_silence(figure: Any, output: Path) -> None:
    """Write a figure, or end with exit code 1."""
    from search.report.layout import save

    try:
        save(figure, [output])
    except BaseException:
        sys.exit(1)
