"""Many images, some at once: reading, the network and writing of different images overlap."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from zoo.errors import ZooError
from zoo.inference.images import SUFFIXES, ImageError
from zoo.reading import is_folder

AHEAD = 2
"""Images for each worker that are begun, or wait to be, before the first of them is done."""

WAITING = 1
"""Images at once beyond those that a network has: one is read or written meanwhile, and waits for the disk."""

Found = TypeVar("Found")
Outcome = tuple[Path, Found | ImageError]
"""An image, and what was made of it or what is wrong with it."""


def images_in(paths: Iterable[Path], own_endings: tuple[str, ...] = ()) -> list[Path]:
    """The files named, and the images in each folder and in its folders, by name, but for those that end as `ours` do.

    Hidden ones are left out. Each is there once. Raises ZooError for a folder without images.
    """
    files: list[Path] = []
    for path in paths:
        if not is_folder(path):
            files.append(path)
            continue
        try:
            inside = sorted(
                x for x in _walked(path) if x.suffix.lower() in SUFFIXES and not x.name.endswith(own_endings)
            )
        except OSError as error:
            raise ZooError(f"{path}: cannot be read: {error.strerror}; check its permissions") from None
        if not inside:
            raise ZooError(f"{path}: holds no images; give a folder with files such as *.png or *.jpg")
        files += inside
    return list(dict.fromkeys(files))


def _walked(folder: Path) -> Iterator[Path]:
    """Files below a folder; links to folders are not followed, and what is hidden is left out."""
    for path in folder.iterdir():
        if path.name.startswith("."):
            continue
        if path.is_dir():
            if not path.is_symlink():
                yield from _walked(path)
        else:
            yield path


def in_order(images: Iterable[Path], work: Callable[[Path], Found], workers: int = 1) -> Iterator[Outcome[Found]]:
    """Do `work` on each image, on `workers` at once, each in a thread; yields in the images' order.

    An ImageError is an outcome; any other error ends it all, once the images that are begun are done. Nothing
    is begun that is far ahead of what was yielded.
    """
    if workers == 1:
        for image in images:
            yield image, _tried(work, image)
        return
    pool = ThreadPoolExecutor(workers, "image")
    waiting: deque[tuple[Path, Future[Found | ImageError]]] = deque()
    try:
        for image in images:
            waiting.append((image, pool.submit(_tried, work, image)))
            if len(waiting) >= AHEAD * workers:
                yield _next(waiting)
        while waiting:
            yield _next(waiting)
    finally:
        pool.shutdown(cancel_futures=True)


def _next(waiting: "deque[tuple[Path, Future[Found | ImageError]]]") -> Outcome[Found]:
    image, future = waiting.popleft()
    return image, future.result()


def _tried(work: Callable[[Path], Found], image: Path) -> Found | ImageError:
    try:
        return work(image)
    except ImageError as error:
        return error
