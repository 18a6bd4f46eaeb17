"""Worker processes that begin as copies of this one, where the system allows it and there are cores for them."""

import multiprocessing
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def cores() -> int:
    """Processors that this process may use, 8 at most."""
    affinity = getattr(os, "sched_getaffinity", None)
    return max(1, min(8, len(affinity(0)) if affinity else os.cpu_count() or 1))


def can_fork() -> bool:
    """Whether workers are worth it and safe: macOS has a fork that its own libraries do not survive."""
    return cores() > 1 and hasattr(os, "fork") and os.uname().sysname == "Linux"


def context() -> Any:
    """The context that forks."""
    return multiprocessing.get_context("fork")


def forked_map(function: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    """`function(item)` of every item in order, on all cores where processes can be forked.

    The workers begin as copies of this process, so that the function may hold whatever it likes: only its results
    are sent, and must be plain enough for that. What fails in a worker is raised here; where a worker is killed, all
    is done here.

    >>> forked_map(lambda item: item * item, [1, 2, 3])
    [1, 4, 9]
    """
    if not can_fork() or len(items) < 2:
        return [function(item) for item in items]
    try:
        with ProcessPoolExecutor(cores(), context(), _begin, (function, items)) as pool:
            return list(pool.map(_call, range(len(items))))
    except BrokenProcessPool:
        return [function(item) for item in items]


_tasks: list[tuple[Callable[[Any], Any], Sequence[Any]]] = []
"""In a worker, last: what to call, and with what."""


def _begin(function: Callable[[Any], Any], items: Sequence[Any]) -> None:
    _tasks.append((function, items))


def _call(i: int) -> Any:
    function, items = _tasks[-1]
    return function(items[i])
