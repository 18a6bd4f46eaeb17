"""Progress bars of long work: on stderr, and only on a terminal."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from rich.console import Console

T = TypeVar("T")
Progress = Callable[[int, int], None]
"""Is told what is done, and of how much."""


@contextmanager
def progress(label: str, *columns: Any, console: "Console | None" = None) -> Iterator[Progress]:
    """A bar that disappears at the end. columns: rich's, in place of its own."""
    from rich.console import Console
    from rich.progress import Progress as Bar

    errors = console or Console(stderr=True)
    with Bar(
        *(columns or Bar.get_default_columns()), console=errors, transient=True, disable=not errors.is_terminal
    ) as bar:
        task = bar.add_task(label, total=None)
        yield lambda count, total: bar.update(task, completed=count, total=total)


def tracked(items: Iterable[T], label: str, count: int) -> Iterable[T]:
    """The items one by one, with a bar."""
    from rich.console import Console
    from rich.progress import track

    errors = Console(stderr=True)
    return track(items, label, total=count, console=errors, transient=True, disable=not errors.is_terminal)
