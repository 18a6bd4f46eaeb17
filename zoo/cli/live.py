"""A study while it runs, on stderr: a live table on a terminal, plain lines elsewhere."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from zoo.cli.command import note, si, table
from zoo.cli.specs import apart, settings
from zoo.cli.terminal import console_of

if TYPE_CHECKING:
    from rich.console import Console
    from rich.live import Live

    from search.study.progress import StudyProgress
    from search.study.trials import Trial

ROWS = 8
EVERY_S = 30.0
"""Seconds between plain lines."""


NONE_YET = ("search", 0)


class Watched:
    """`say` and `watch` of a study. console: of a terminal, or None. first: is called before anything is shown."""

    def __init__(self, console: "Console | None", first: Callable[[], None]) -> None:
        self.console, self.first = console, first
        self.live: Live | None = None
        self._seen: Any = None
        self._said = time.monotonic()

    def say(self, text: str) -> None:
        """Print a line, above the table where there is one."""
        self.first()
        if self.console is None:
            note(text)
        else:
            self.console.print(text, markup=False, highlight=False)

    def watch(self, outlook: "StudyProgress") -> None:
        """Show how a study stands."""
        self.first()
        if self.console is not None:
            self._table().update(view(outlook), refresh=True)
        elif time.monotonic() - self._said >= EVERY_S and (ended := _ended(outlook)) not in (self._seen, NONE_YET):
            self._seen, self._said = ended, time.monotonic()
            note(headline(outlook))

    def _table(self) -> "Live":
        from rich.live import Live

        if self.live is None:
            self.live = Live(console=self.console, transient=True, auto_refresh=False)
            self.live.start()
        return self.live

    def close(self) -> None:
        """Take the table away."""
        if self.live is not None:
            self.live.stop()


def _ended(outlook: "StudyProgress") -> Any:
    return outlook.stage, sum(e.ended for e in outlook.trials)


@contextmanager
def watching(first: Callable[[], None] = lambda: None) -> Iterator[Watched]:
    """Watch a study; the table goes when it ends."""
    console = console_of(stderr=True)
    watched = Watched(console if console.is_terminal else None, first)
    try:
        yield watched
    finally:
        watched.close()


def headline(outlook: "StudyProgress") -> str:
    """Stage, trials, time left and front in one line."""
    from search.study.progress import spelt

    ended, left, front = sum(e.ended for e in outlook.trials), outlook.left_s, outlook.front
    parts = [f"{outlook.stage}: {ended} of {outlook.due} trials"]
    if front:
        parts.append(f"{len(front)} on the front, best mIOU {front[0].mean:.1f} %")
    parts.append("time left is not known yet" if left is None else f"about {spelt(left)} left")
    return ", ".join(parts)


def view(outlook: "StudyProgress") -> Any:
    """The front so far and what runs, as rich draws it."""
    from rich.console import Group
    from rich.text import Text

    feasible, members = outlook.feasible, outlook.front[:ROWS]
    devices = [str(device) for device in feasible.query.devices]
    parts: list[Any] = []
    if members:
        columns = feasible.columns([m.index for m in members])
        _, specs = apart([_spec(outlook, m.index) for m in members])
        rows = [
            (
                spec,
                f"{repeats.mean:.1f}",
                si(int(columns.counts["params"][i]), ""),
                *(f"{1e3 * columns.devices[d]['latency_s']['mean'][i]:.1f} ms" for d in range(len(devices))),
            )
            for i, (repeats, spec) in enumerate(zip(members, specs, strict=True))
        ]
        heads = ("front so far", "mIOU, %", "parameters", *(f"latency, {name}" for name in devices))
        parts.append(table(None, heads, rows))
    if len(outlook.front) > ROWS:
        parts.append(Text(f"… and {len(outlook.front) - ROWS} more"))
    parts += [Text(f"running: {_state(outlook, e)}") for e in outlook.running[:ROWS]]
    return Group(*parts, Text(headline(outlook), style="bold"))


def _spec(outlook: "StudyProgress", index: int) -> dict[str, Any]:
    """The fields that vary, and of several spaces the space."""
    from search.study.feasible import SPACE

    feasible = outlook.feasible
    space = {SPACE: feasible.member(index).label} if len(feasible.members) > 1 else {}
    return space | feasible.values(index)


def _state(outlook: "StudyProgress", trial: "Trial") -> str:
    from search.study.progress import spelt

    reports, spec = trial.reports, _spec(outlook, trial.index)
    reached = f"epoch {max(reports)}, mIOU {reports[max(reports)]:.1f} %, " if reports else ""
    return f"{trial.number + 1} ({reached}{spelt(trial.age_s)}): {settings(spec, spec)}"
