"""Augmentation as published: random scale, crop and flip (arXiv:1803.06815, section 4.1), and colour on request.

Each sample draws from a generator of its own, made from the run's seed, the epoch and the sample's place,
so that a run is the same whatever the order of loading, the number of workers, or where it was resumed.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from zoo.errors import ZooError
from zoo.evaluate.metrics import VOID

Pixels = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Placement:
    """A window on a scaled image: the image's height and width, the window's corner, and whether it is mirrored."""

    height: int
    width: int
    top: int
    left: int
    mirrored: bool


@dataclass(frozen=True, slots=True)
class Augmentation:
    """What happens to a sample: ranges are (low, high); a factor of 1 changes nothing.

    `scale` is drawn log-uniformly; at 1 an image just fills the size that the network sees, as it does when
    it is scored. `flip` mirrors left and right with that probability. `colour` scales
    brightness, contrast and saturation by up to this share each.
    """

    scale: tuple[float, float] = (0.5, 2.0)
    flip: float = 0.5
    colour: float = 0.0

    def __post_init__(self) -> None:
        if not 0 < self.scale[0] <= self.scale[1]:
            raise ZooError(f"augmentation scale must be LOW,HIGH with 0 < LOW <= HIGH, but is {self.scale}")
        if not 0 <= self.flip <= 1 or not 0 <= self.colour < 1:
            raise ZooError(f"flip ({self.flip}) must be from 0 to 1 and colour ({self.colour}) from 0 up to 1")

    def __call__(
        self, image: Pixels, mask: Pixels, size: tuple[int, int], rng: np.random.Generator
    ) -> tuple[Pixels, Pixels]:
        """An image (H, W, 3) and its labels (H, W), changed and cut or padded to `size` = (height, width)."""
        if image.shape[:2] != mask.shape:
            raise ZooError(
                f"an image of {image.shape[1]}x{image.shape[0]} has labels of {mask.shape[1]}x{mask.shape[0]}; "
                "a class a pixel is needed here, and folders, which hold a class an image, are for `zoo train`"
            )
        place = self.placement((mask.shape[0], mask.shape[1]), size, rng)
        image, mask = _scaled_crop(image, mask, place, size)
        if place.mirrored:
            image, mask = image[:, ::-1], mask[:, ::-1]
        if self.colour:
            image = coloured(image, rng.uniform(1 - self.colour, 1 + self.colour, 3))
        return np.ascontiguousarray(image), np.ascontiguousarray(mask)

    def placement(self, shape: tuple[int, int], size: tuple[int, int], rng: np.random.Generator) -> Placement:
        """Where a window of `size` lies on an image of `shape`, both (height, width): the generator's first draws."""
        fill = max(window / image_side for window, image_side in zip(size, shape, strict=True))
        factor = fill * float(np.exp(rng.uniform(*np.log(self.scale))))
        height, width = (max(1, round(side * factor)) for side in shape)
        top, left = (_offset(image_side, window, rng) for image_side, window in zip((height, width), size, strict=True))
        return Placement(height, width, top, left, mirrored=rng.random() < self.flip)


NONE = Augmentation(scale=(1.0, 1.0), flip=0.0)
"""Nothing but the cut to size."""


def generator(seed: int, epoch: int, index: int) -> np.random.Generator:
    """The random generator of one sample in one epoch."""
    return np.random.default_rng((seed, epoch, index))


def _scaled_crop(image: Pixels, mask: Pixels, place: Placement, size: tuple[int, int]) -> tuple[Pixels, Pixels]:
    """Scale, then cut the window of `size`; what the image does not fill is grey and void."""
    if (place.height, place.width) != mask.shape:
        image = np.asarray(Image.fromarray(image).resize((place.width, place.height), Image.Resampling.BILINEAR))
        mask = np.asarray(Image.fromarray(mask).resize((place.width, place.height), Image.Resampling.NEAREST))
    return _window(image, place.top, place.left, size, 128), _window(mask, place.top, place.left, size, VOID)


def _offset(image_side: int, window: int, rng: np.random.Generator) -> int:
    low, high = min(0, image_side - window), max(0, image_side - window)
    return int(rng.integers(low, high + 1))


def _window(array: Any, top: int, left: int, size: tuple[int, int], fill: int) -> Any:
    """`size` pixels from (top, left), which may lie outside the array."""
    height, width = size
    inside = array[max(0, top) : top + height, max(0, left) : left + width]
    if inside.shape[:2] == size:
        return inside
    out = np.full((*size, *array.shape[2:]), fill, array.dtype)
    y, x = max(0, -top), max(0, -left)
    out[y : y + inside.shape[0], x : x + inside.shape[1]] = inside
    return out


def coloured(image: Pixels, factors: NDArray[np.float64]) -> Pixels:
    """Brightness, contrast and saturation multiplied by `factors`."""
    brightness, contrast, saturation = factors.astype(np.float32)
    x = image.astype(np.float32) * brightness
    grey = x.mean(2, keepdims=True)
    x = grey + (x - grey) * saturation
    mean = grey.mean()
    out: Pixels = np.clip(mean + (x - mean) * contrast, 0, 255).astype(np.uint8)
    return out
