"""From an image to a map of its classes: in one piece, or in tiles that overlap."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from zoo.errors import ZooError
from zoo.inference.images import (
    BYTES_PER_PIXEL,
    ImageError,
    Pixels,
    class_counts,
    image_size,
    read_image,
    too_large,
)
from zoo.inference.label_map import labels_of
from zoo.inference.preprocess import Preprocessing, network_input
from zoo.inference.probabilities import Probabilities
from zoo.memory import free_bytes
from zoo.network import Network
from zoo.registry import lower
from zoo.specs import Spec

Size = tuple[int, int]
"""Height and width in pixels."""

MAX_CLASSES = 256
"""Outputs that a label of 8 bits can tell apart."""

SLACK = 1.5
"""Memory that torch takes for each byte of live tensors, with its convolutions' scratch space."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How to segment; raises ZooError for what contradicts itself.

    size: (height, width) of the network's input, instead of its preprocessing's. labels_at: `image` resizes
    the logits to the image before the arg-max; `network` to the network's input. tile: side of the square
    pieces in which the network sees the image at the image's own resolution (and each of which is resized
    to `size`, if one is given). overlap: pixels that neighbouring tiles share, a quarter of the tile unless
    given; half of it is cut off each of them, so it should be twice the reach of the network.
    """

    size: Size | None = None
    labels_at: Literal["image", "network"] = "image"
    tile: int | None = None
    overlap: int | None = None

    def __post_init__(self) -> None:
        if self.tile is None:
            if self.overlap is not None:
                raise ZooError("overlap means nothing without tiles; give --tile N too")
            return
        if self.tile < 1:
            raise ZooError(f"tile must be at least 1 pixel, but is {self.tile}")
        if not 0 <= self.shared < self.tile:
            raise ZooError(f"overlap must be from 0 to less than the tile ({self.tile}), but is {self.shared}")
        if self.labels_at == "network":
            raise ZooError("labels at the network's size need the whole image; leave out --tile or --labels-at")

    @property
    def shared(self) -> int:
        """The overlap in pixels."""
        if self.overlap is not None:
            return self.overlap
        return (self.tile or 0) // 4


DEFAULTS = Settings()

Track = Callable[[list[Any]], Iterable[Any]]
"""Passes on what it is given, and shows how far it is."""

Run = Callable[[Tensor], Any]
"""Images (1, 3, h, w) to logits (1, classes, h', w'), or to several outputs, of which those are the first."""


def segment_file(
    module: Network,
    path: Path,
    settings: Settings = DEFAULTS,
    *,
    preprocessing: Preprocessing | None = None,
    track: Track = list,
    run: Run | None = None,
    workers: int = 1,
    probabilities: Probabilities | None = None,
) -> tuple[Pixels, Pixels]:
    """Read an image and segment it: (its pixels (H, W, 3), its labels). Errors name the file."""
    height, width = image_size(path)
    if height * width * BYTES_PER_PIXEL > free_bytes():
        raise too_large(path, (width, height), tiled=settings.tile is not None)
    pixels = read_image(path)
    try:
        return pixels, segment(
            module,
            pixels,
            settings,
            preprocessing=preprocessing,
            track=track,
            run=run,
            workers=workers,
            probabilities=probabilities,
        )
    except ZooError as error:
        raise ImageError(f"{path}: {error}") from None
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "memory" not in str(error):
            raise
        raise too_large(path, (width, height), tiled=settings.tile is not None) from None


@torch.inference_mode()
def segment(
    module: Network,
    pixels: Pixels,
    settings: Settings = DEFAULTS,
    *,
    preprocessing: Preprocessing | None = None,
    track: Track = list,
    run: Run | None = None,
    workers: int = 1,
    probabilities: Probabilities | None = None,
) -> Pixels:
    """Class indices of an image: of each pixel the class with the largest logit.

    Memory beside image and labels: the network's activations at its input size, and `label_map.BAND_BYTES`; with tiles,
    at the size of one tile, whatever the size of the image.

    Args:
        module: in evaluation mode; gives logits (N, classes, h', w').
        pixels: the image, (H, W, 3) in RGB.
        settings: input size, tiles, and the size of the labels.
        preprocessing: of the image; by default the module's own.
        track: is given the tiles in order, to show how far they are.
        run: runs the network in place of the module itself, such as a `zoo.backends.session.Engine`; its `input_of`,
            where it has one, makes what it takes of an image.
        workers: images that are at work at the same time, for the check of memory.
        probabilities: is filled with those of the classes, at the labels' size.

    Returns:
        (H, W), or (h, w) where `settings.labels_at` is "network".

    Raises:
        ZooError: the network is in training mode or cannot take the size, or memory does not suffice.

    >>> from zoo import build
    >>> labels = segment(build("espnet-c").eval(), np.zeros((64, 96, 3), np.uint8))
    >>> labels.shape, labels.dtype
    ((64, 96), dtype('uint8'))
    """
    if module.training:
        raise ZooError("the network is in training mode; call module.eval() first")
    chosen = preprocessing or getattr(module, "preprocessing", None) or Preprocessing()
    run = run or plain(module)
    input_of = getattr(run, "input_of", network_input)
    if settings.tile is None:
        inner = settings.size or chosen.size or (pixels.shape[0], pixels.shape[1])
        check_size(module, inner, workers)
        logits = logits_of(run, input_of(pixels, chosen, inner))
        size = inner if settings.labels_at == "network" else (pixels.shape[0], pixels.shape[1])
        if probabilities is not None:
            probabilities.keep(logits, size)
        return labels_of(logits, size)
    tile = (settings.tile, settings.tile)
    inner = settings.size or tile
    check_size(module, inner, workers)
    labels = np.empty(pixels.shape[:2], np.uint8)
    rows, columns = (spans(labels.shape[i], settings.tile, settings.shared) for i in (0, 1))
    for row, column in track([(row, column) for row in rows for column in columns]):
        piece = padded(pixels[row.start : row.start + tile[0], column.start : column.start + tile[1]], tile)
        logits = logits_of(run, input_of(piece, chosen, inner))
        below, across = slice(row.first, row.last), slice(column.first, column.last)
        labels[below, across] = labels_of(logits, tile)[row.inside, column.inside]
        if probabilities is not None:
            probabilities.reserve(len(logits), (pixels.shape[0], pixels.shape[1]))
            probabilities.keep(logits, tile, below, across, (row.inside, column.inside))
    return labels


@dataclass(frozen=True, slots=True)
class Span:
    """One dimension of a tile: where it starts, and from where to where its labels are kept."""

    start: int
    first: int
    last: int

    @property
    def inside(self) -> slice:
        """What is kept, counted from the tile's start."""
        return slice(self.first - self.start, self.last - self.start)


def spans(length: int, tile: int, overlap: int) -> list[Span]:
    """Tiles that cover 0 … `length`; neighbours share at least `overlap` and meet in the middle of what they share.

    The last tile is moved back to end with the image, so that the network sees the image's true border.

    >>> spans(10, 6, 2)
    [Span(start=0, first=0, last=5), Span(start=4, first=5, last=10)]
    """
    end = max(0, length - tile)
    starts = [*range(0, end, tile - overlap), end]
    borders = [(start + tile + after) // 2 for start, after in pairwise(starts)]
    return [Span(*three) for three in zip(starts, [0, *borders], [*borders, length], strict=True)]


def padded(pixels: Pixels, size: Size) -> Pixels:
    """The image with its last row and column repeated up to `size`."""
    missing = [(0, size[i] - pixels.shape[i]) for i in (0, 1)]
    return np.pad(pixels, [*missing, (0, 0)], mode="edge") if any(map(any, missing)) else pixels


def check_size(module: Network, size: Size, workers: int = 1) -> None:
    """Raise ZooError where the network cannot take an input of `size`, or memory does not suffice for `workers`."""
    if module.spec is None:
        return
    needed, free = workers * SLACK * _peak_bytes(module.spec, size), free_bytes()
    if needed > free:
        need = f"a network input of {size[1]}x{size[0]} needs about {needed / 1e9:.1f} GB of memory"
        raise ZooError(f"{need} and {free / 1e9:.1f} GB are free; use --tile N, a smaller --size, or fewer --workers")


@lru_cache(maxsize=64)
def _peak_bytes(spec: Spec, size: Size) -> int:
    """Activations at `size`; asked for each image of a folder, while lowering takes milliseconds."""
    return lower(spec, size).peak_activation_bytes


def fitting(module: Network, settings: Settings, workers: int) -> int:
    """Of `workers` that segment at once, as many as memory suffices for, and at least one; all for unknown sizes."""
    own = getattr(getattr(module, "preprocessing", None), "size", None)
    size = settings.size or ((settings.tile, settings.tile) if settings.tile else own)
    if module.spec is None or size is None:
        return workers
    needed = SLACK * _peak_bytes(module.spec, size)
    return max(1, min(workers, int(free_bytes() / needed)))


def plain(module: Network) -> Run:
    """The module itself, on the device where its parameters are."""
    device = next(module.parameters()).device
    return lambda x: module(x.to(device))


def logits_of(run: Run, x: Tensor) -> Tensor:
    """Logits (classes, h', w') of an input (1, 3, h, w): the network's first output. Raises ZooError for no map."""
    out = run(x)
    logits: Tensor = (out if isinstance(out, Tensor) else out[0])[0]
    if logits.shape[1:] == (1, 1) and min(x.shape[2:]) >= 64:
        raise ZooError("the network gives one answer for the whole image; a map of classes needs one that segments")
    if len(logits) > MAX_CLASSES:
        raise ZooError(f"the network has {len(logits)} outputs, and a label of 8 bits holds {MAX_CLASSES}")
    return logits


def shares(labels: Pixels, names: tuple[str, ...]) -> dict[str, float]:
    """Share of the pixels, 0 to 1, for each class in order.

    >>> shares(np.array([[0, 2], [2, 2]], np.uint8), ("road", "car", "void"))
    {'road': 0.25, 'car': 0.0, 'void': 0.75}
    """
    counts = class_counts(labels, len(names))
    return {name: count / labels.size for name, count in zip(names, counts, strict=True)}
