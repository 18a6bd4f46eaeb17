"""Frames between a source and a network: decoded ahead of it, or only the newest."""

import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

AHEAD = 4
"""Frames of a file that are decoded before they are needed."""

Item = TypeVar("Item")


class _Thread(threading.Thread):
    """Runs a source; what it raises is raised again where its items are taken."""

    def __init__(self, source: Iterable[Item], put: "Callable[[Item], bool]", end: Callable[[], None]) -> None:
        super().__init__(daemon=True)
        self.source, self.put, self.end = source, put, end
        self.error: BaseException | None = None

    def run(self) -> None:
        """Take everything; stop where nobody wants more."""
        try:
            for item in self.source:
                if not self.put(item):
                    break
        except BaseException as error:
            self.error = error
        finally:
            self.end()


class Newest(Iterator[Item]):
    """Of a source that does not wait, always the newest item; `dropped` counts those that nobody took.

    >>> import time
    >>> newest = Newest(iter(range(5)))
    >>> time.sleep(0.2)
    >>> list(newest), newest.dropped
    ([4], 4)
    """

    def __init__(self, source: Iterable[Item]) -> None:
        self.dropped = 0
        self._held: list[Item] = []
        self._ended = self._closed = False
        self._changed = threading.Condition()
        self._thread = _Thread(source, self._put, self._end)
        self._thread.start()

    def _put(self, item: Item) -> bool:
        with self._changed:
            self.dropped += len(self._held)
            self._held[:] = [item]
            self._changed.notify()
            return not self._closed

    def _end(self) -> None:
        with self._changed:
            self._ended = True
            self._changed.notify()

    def __next__(self) -> Item:
        with self._changed:
            while not self._held and not self._ended:
                self._changed.wait()
            if self._held:
                return self._held.pop()
        if self._thread.error is not None:
            raise self._thread.error
        raise StopIteration

    def close(self) -> None:
        """Take no more from the source."""
        self._closed = True


def ahead(source: Iterable[Item], count: int = AHEAD) -> Iterator[Item]:
    """Every item in order; up to `count` are made in a thread before they are needed."""
    import queue

    waiting: queue.Queue[tuple[bool, Any]] = queue.Queue(count)
    closed = threading.Event()

    def put(item: Any, goes_on: bool = True) -> bool:
        while not closed.is_set():
            try:
                waiting.put((goes_on, item), timeout=0.1)
            except queue.Full:
                continue
            return True
        return False

    def end() -> None:
        put(None, goes_on=False)

    thread = _Thread(source, put, end)
    thread.start()
    try:
        while (entry := waiting.get())[0]:
            yield entry[1]
        if thread.error is not None:
            raise thread.error
    finally:
        closed.set()
