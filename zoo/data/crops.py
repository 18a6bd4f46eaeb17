"""What a classifier sees of an image: a random part of it in training, its middle when it is scored."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from zoo.data.augment import Augmentation, Pixels, coloured

ASPECT = (3 / 4, 4 / 3)
"""Width by height of a random part, beside the shape that is asked for."""

TRIES = 10
"""Parts that are drawn until one fits into the image."""

MARGIN = 8 / 7
"""The shorter side, by that of the middle that is cut out: 256 for 224."""


@dataclass(frozen=True, slots=True)
class RandomPart:
    """A random part of the image resized, mirrored and coloured (the crop of Szegedy et al., arXiv:1409.4842).

    `how.scale` is the range of the part's share of the area, here uniform and at most 1.
    """

    how: Augmentation

    def __call__(
        self, image: Pixels, label: NDArray[Any], size: tuple[int, int], rng: np.random.Generator
    ) -> tuple[Pixels, NDArray[Any]]:
        """An image (H, W, 3) as `size` = (height, width); the label stays."""
        image = resized(image, size, self._box(image.shape[1], image.shape[0], size[1] / size[0], rng))
        if rng.random() < self.how.flip:
            image = image[:, ::-1]
        if self.how.colour:
            image = coloured(image, rng.uniform(1 - self.how.colour, 1 + self.how.colour, 3))
        return np.ascontiguousarray(image), label

    def _box(self, width: int, height: int, shape: float, rng: np.random.Generator) -> tuple[float, ...]:
        for _ in range(TRIES):
            area = width * height * min(1.0, rng.uniform(*self.how.scale))
            aspect = shape * math.exp(rng.uniform(*np.log(ASPECT)))
            w, h = math.sqrt(area * aspect), math.sqrt(area / aspect)
            if w <= width and h <= height:
                left, top = rng.uniform(0, width - w), rng.uniform(0, height - h)
                return (left, top, left + w, top + h)
        return middle(width, height, shape)


def middle(width: int, height: int, shape: float, share: float = 1.0) -> tuple[float, ...]:
    """Box (left, top, right, bottom) in the middle, of width by height `shape`; `share` of the longest that fits.

    >>> middle(200, 100, 1.0)
    (50.0, 0.0, 150.0, 100.0)
    """
    w, h = min(width, height * shape) * share, min(height, width / shape) * share
    return ((width - w) / 2, (height - h) / 2, (width + w) / 2, (height + h) / 2)


def centre(image: Pixels, size: tuple[int, int]) -> Pixels:
    """The middle 7/8 of an image's shorter side as `size`: 224 of 256."""
    height, width = image.shape[:2]
    return resized(image, size, middle(width, height, size[1] / size[0], 1 / MARGIN))


def resized(image: Pixels, size: tuple[int, int], box: tuple[float, ...]) -> Pixels:
    """A part of an image as `size` = (height, width), bilinear with antialiasing."""
    part = Image.fromarray(image).resize((size[1], size[0]), Image.Resampling.BILINEAR, box=box)  # type: ignore[arg-type]
    return np.asarray(part)
