"""Large images as many samples: tiles, each slide decoded once while its tiles are read one after another."""

from dataclasses import dataclass, field
from functools import cached_property

from zoo.data.classes import LabelSet
from zoo.data.split import DataError, DataSet, Pixels, Sample
from zoo.inference.images import image_size, opened

SMALLEST, LARGEST = 4, 65_536
"""Sides that a tile may have: smaller ones make more tiles than memory can list, and show a network nothing."""

MAX_TILES = 2_000_000
"""Most tiles of a split."""


@dataclass(frozen=True)
class Tiles:
    """The tiles of `side` pixels of every image of a data set; the last ones of a row or column are moved back inside.

    One decoded slide is kept at a time. An image smaller than a tile is one sample, as it is.
    """

    data: DataSet
    side: int
    _kept: dict[int, tuple[Pixels, Pixels]] = field(default_factory=dict, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not SMALLEST <= self.side <= LARGEST:
            raise DataError(f"tile must be from {SMALLEST} to {LARGEST} pixels, but is {self.side}")

    @property
    def name(self) -> str:
        """Name of the data set."""
        return self.data.name

    @property
    def split(self) -> str:
        """Name of the split."""
        return self.data.split

    @property
    def labels(self) -> LabelSet:
        """The classes."""
        return self.data.labels

    @property
    def samples(self) -> tuple[Sample, ...]:
        """The slides."""
        return self.data.samples

    @cached_property
    def windows(self) -> tuple[tuple[int, int, int], ...]:
        """(slide, top, left) of each tile, slide by slide."""
        places: list[tuple[int, int, int]] = []
        for i, sample in enumerate(self.data.samples):
            height, width = upright_size(self.data, sample)
            if len(places) > MAX_TILES:
                raise DataError(f"tiles of {self.side} pixels are more than {MAX_TILES:,}; make them larger")
            places += [(i, top, left) for top in starts(height, self.side) for left in starts(width, self.side)]
        return tuple(places)

    @property
    def groups(self) -> tuple[int, ...]:
        """The slide of each tile."""
        return tuple(slide for slide, _, _ in self.windows)

    def __len__(self) -> int:
        return len(self.windows)

    def load(self, index: int) -> tuple[Pixels, Pixels]:
        """Image and class indices of a tile."""
        slide, top, left = self.windows[index]
        image_and_mask = self._kept.get(slide)
        if image_and_mask is None:
            image_and_mask = self.data.load(slide)
            self._kept.clear()
            self._kept[slide] = image_and_mask
        image, mask = (x[top : top + self.side, left : left + self.side].copy() for x in image_and_mask)
        return image, mask


def upright_size(data: DataSet, sample: Sample) -> tuple[int, int]:
    """Height and width of a slide as `DataSet.load` gives it."""
    if data.upright:
        return image_size(sample.image)
    with opened(sample.image) as image:
        return image.height, image.width


def starts(length: int, side: int) -> list[int]:
    """Where tiles begin.

    >>> starts(10, 4), starts(3, 4)
    ([0, 4, 6], [0])
    """
    last = max(0, length - side)
    return [*range(0, last, side), last]
