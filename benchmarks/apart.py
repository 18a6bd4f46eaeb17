"""A function in a process of its own, for what is set once for a whole process: the allocator, threads."""

import multiprocessing
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any


class Apart:
    """Calls what `factory(*args)` returned, in a process that starts here and waits in between; a context."""

    def __init__(self, factory: Callable[..., Callable[[], object]], *args: object) -> None:
        context = multiprocessing.get_context("spawn")
        self._ours, child_end = context.Pipe()
        self._process = context.Process(target=_serve, args=(child_end, factory, args))
        self._process.start()
        child_end.close()
        self._answer()

    def __call__(self) -> object:
        """What the function returns. Raises RuntimeError with the other process's traceback."""
        self._ours.send(True)
        return self._answer()

    def _answer(self) -> object:
        try:
            error, answer = self._ours.recv()
        except EOFError:
            raise RuntimeError("the process of a benchmark has ended") from None
        if error:
            raise RuntimeError(error)
        return answer

    def __enter__(self) -> "Apart":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._ours.close()
        self._process.join(timeout=10)
        self._process.kill()


def _serve(connection: Connection, factory: Callable[..., Callable[[], object]], args: tuple[Any, ...]) -> None:
    try:
        function = factory(*args)
        connection.send((None, None))
        while connection.recv():
            connection.send((None, function()))
    except (EOFError, KeyboardInterrupt):
        return
    except BaseException:
        connection.send((traceback.format_exc(), None))
