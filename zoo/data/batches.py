"""Batches of a data set: decoded once, augmented by seed, made ahead of the training step."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zoo.data.augment import generator
from zoo.data.split import Pixels, Split

CACHE_BYTES = 2**31
"""Decoded samples are kept up to this many bytes in all."""

Batch = tuple[NDArray[Any], ...]
"""Images, labels and, where a stored teacher is asked for, its answers."""

Augment = Callable[[Pixels, NDArray[Any], tuple[int, int], np.random.Generator], tuple[Pixels, NDArray[Any]]]
"""Image, labels, size and random generator to image and labels."""

Targets = Callable[[int, tuple[int, int], tuple[int, int], np.random.Generator], NDArray[Any]]
"""Index of a sample, shape of its image, size, and random generator to what a stored teacher says there."""


@dataclass
class Cache:
    """Samples of a data set, each decoded once while there is room."""

    data: Split
    room_bytes: int = CACHE_BYTES
    kept: dict[int, tuple[Pixels, Pixels]] = field(default_factory=dict)

    def __call__(self, index: int) -> tuple[Pixels, Pixels]:
        if index in self.kept:
            return self.kept[index]
        sample = self.data.load(index)
        size = sum(x.nbytes for x in sample)
        if size <= self.room_bytes:
            self.room_bytes -= size
            self.kept[index] = sample
        return sample


def order(
    count: int, batch: int, seed: int, epoch: int, groups: Sequence[int] | None = None
) -> list[NDArray[np.int64]]:
    """The samples of each batch of an epoch; an incomplete last batch is left out unless it is the only one.

    groups: of each sample; samples of one group (the tiles of a slide) then follow one another.
    """
    rng = np.random.default_rng((seed, epoch))
    shuffled = rng.permutation(count)
    if groups is not None:
        ranks = rng.permutation(max(groups) + 1)
        shuffled = shuffled[np.argsort(ranks[np.asarray(groups)[shuffled]], kind="stable")]
    return [shuffled[i : i + batch] for i in range(0, max(1, count - batch + 1), batch)]


@dataclass(frozen=True, slots=True)
class Maker:
    """Makes the batch of given samples: images (N, H, W, 3) uint8 in RGB, labels (N, H, W).

    targets: of a sample's index, its (height, width), the size asked for, and a generator in the state in which
    `augment` gets it, to one more array of the batch.
    """

    load: Callable[[int], tuple[Pixels, Pixels]]
    augment: Augment
    size: tuple[int, int]
    seed: int
    targets: Targets | None = None

    def __call__(self, epoch: int, indices: NDArray[np.int64]) -> Batch:
        samples = [self._sample(epoch, int(i)) for i in indices]
        return tuple(np.stack(arrays) for arrays in zip(*samples, strict=True))

    def _sample(self, epoch: int, index: int) -> tuple[NDArray[Any], ...]:
        image, labels = self.load(index)
        sample = self.augment(image, labels, self.size, generator(self.seed, epoch, index))
        if self.targets is None:
            return sample
        rng = generator(self.seed, epoch, index)
        return *sample, self.targets(index, (image.shape[0], image.shape[1]), self.size, rng)


def ahead(maker: Maker, epoch: int, batches: list[NDArray[np.int64]], workers: int) -> Iterator[Batch]:
    """The batches of an epoch in order, `workers` threads working ahead; with none, each when it is asked for."""
    if not workers:
        yield from (maker(epoch, indices) for indices in batches)
        return
    with ThreadPoolExecutor(workers) as pool:
        waiting: deque[Future[Batch]] = deque()
        for indices in batches:
            waiting.append(pool.submit(maker, epoch, indices))
            if len(waiting) > workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
