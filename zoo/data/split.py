"""One split of a data set: samples of an image and a mask, read and checked."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from zoo.data.classes import Colour, LabelSet
from zoo.data.mask_values import Codes
from zoo.errors import ZooError
from zoo.inference.images import ImageError, opened, orientation, read_image
from zoo.reading import exists
from zoo.text import one_line

Pixels = NDArray[np.uint8]


class DataError(ZooError, ValueError):
    """A data set that is not what its layout says."""


class Split(Protocol):
    """What training and evaluation read: samples of classes in order.

    >>> from zoo.data.synthetic import Scenes
    >>> data: Split = Scenes("val", count=2, size=(48, 64))
    >>> image, classes = data.load(0)
    >>> len(data), image.shape, classes.shape
    (2, (48, 64, 3), (48, 64))
    """

    @property
    def name(self) -> str:
        """Name of the data set."""

    @property
    def split(self) -> str:
        """Name of the split."""

    @property
    def labels(self) -> LabelSet:
        """The classes."""

    def __len__(self) -> int: ...

    def load(self, index: int) -> tuple[Pixels, Pixels]:
        """Image (H, W, 3) in RGB and class indices (H, W), VOID where void."""


@dataclass(frozen=True, slots=True)
class Sample:
    """An image file and its mask file."""

    image: Path
    mask: Path


@dataclass(frozen=True, slots=True)
class DataSet:
    """A split that lies in files.

    Args:
        name: of the data set.
        split: of the split.
        labels: the classes.
        samples: an image and a mask each.
        codes: class index, or VOID, of each value that a mask may hold; another value is an error.
        colours: the value for which each colour of an RGB mask stands, where masks are RGB.
        window: the values of 16-bit grey images that become black and white; without one the upper 8 bits are kept.
        upright: whether images and masks are turned as the EXIF tag of each says.

    >>> import numpy as np
    >>> from PIL import Image
    >>> Image.new("RGB", (4, 2)).save("image.png")
    >>> Image.fromarray(np.array([[7, 7, 8, 8], [8, 8, 7, 7]], np.uint8)).save("mask.png")
    >>> labels = LabelSet("two", ("road", "sky"), ((0, 0, 0), (255, 255, 255)))
    >>> data = DataSet("mine", "val", labels, (Sample(Path("image.png"), Path("mask.png")),), codes={7: 0, 8: 1})
    >>> data.load(0)[1].tolist()
    [[0, 0, 1, 1], [1, 1, 0, 0]]
    """

    name: str
    split: str
    labels: LabelSet
    samples: tuple[Sample, ...]
    codes: Codes
    colours: Mapping[Colour, int] | None = None
    window: tuple[float, float] | None = None
    upright: bool = True

    def __len__(self) -> int:
        return len(self.samples)

    def load(self, index: int) -> tuple[Pixels, Pixels]:
        """Image and class indices of a sample.

        Raises DataError, with the file's name, for a file that cannot be read, sizes that differ, and a
        value that is no class.
        """
        sample = self.samples[index]
        image = _image(sample.image, self.window, upright=self.upright)
        values = _mask(sample.mask, self.colours, upright=self.upright)
        if image.shape[:2] != values.shape:
            sizes = [f"{x.shape[1]}x{x.shape[0]}" for x in (image, values)]
            turned = self._turned(sample)
            raise DataError(
                f"{sample.mask} is {sizes[1]} and {sample.image} is {sizes[0]}{turned}; both must be of one size"
            )
        return image, self._classes(values, sample.mask)

    def _turned(self, sample: Sample) -> str:
        """What EXIF tags have to do with sizes that differ."""
        tags = orientations(sample) if self.upright else (1, 1)
        if tags[0] == tags[1]:
            return ""
        return f", turned by EXIF orientation {tags[0]} of the image and {tags[1]} of the mask"

    def _classes(self, values: NDArray[Any], path: Path) -> Pixels:
        beyond = max(self.codes) + 1
        table = np.full(beyond + 1, -1, np.int16)
        table[list(self.codes)] = list(self.codes.values())
        classes = table[np.clip(values, -1, beyond)]  # -1 is the last place, as beyond is
        if classes.min() < 0:
            wrong = int(values[classes < 0][0])
            value_spans = spans(self.codes)
            raise DataError(
                f"{path}: holds the value {wrong}, which is no class of {self.name}; known are {value_spans}"
            )
        out: Pixels = classes.astype(np.uint8)
        return out


def spans(values: Mapping[int, int]) -> str:
    """Integers as ranges.

    >>> spans({0: 0, 1: 0, 2: 0, 255: 0})
    '0 to 2, 255'
    """
    ordered = sorted(values)
    runs = np.split(ordered, np.flatnonzero(np.diff(ordered) > 1) + 1)
    return ", ".join(f"{run[0]} to {run[-1]}" if len(run) > 1 else str(run[0]) for run in runs)


def orientations(sample: Sample) -> tuple[int, int]:
    """EXIF orientations of image and mask, 1 for none. Raises DataError."""
    values = []
    for path in (sample.image, sample.mask):
        try:
            with opened(path) as file:
                values.append(orientation(file, path))
        except ImageError as error:
            raise DataError(str(error)) from None
    return values[0], values[1]


def _image(path: Path, window: tuple[float, float] | None, *, upright: bool) -> Pixels:
    try:
        if window is None and upright:
            pixels: Pixels = read_image(path)
            return pixels
        if window is None:
            with opened(path) as file:
                file.getexif().clear()
                return np.asarray(file.convert("RGB"))
        with opened(path) as file:
            grey = _array(file, np.float32, upright=upright)
    except (ImageError, OSError, SyntaxError, ValueError) as error:
        raise DataError(_about(path, error)) from None
    if grey.ndim != 2:
        raise DataError(f"{path}: a window is for grey images, and this one has {grey.shape[2]} channels; leave it out")
    low, high = window
    scaled = np.clip((grey - low) * (255.0 / (high - low)), 0, 255).round().astype(np.uint8)
    return np.repeat(scaled[:, :, None], 3, axis=2)


def _array(file: Image.Image, kind: Any = None, *, upright: bool) -> NDArray[Any]:
    """Pixels of an image, turned as its EXIF tag says where that is wanted."""
    if upright:
        file = ImageOps.exif_transpose(file)
    return np.asarray(file, kind)


def _mask(path: Path, colours: Mapping[Colour, int] | None, *, upright: bool) -> NDArray[Any]:
    try:
        with opened(path) as file:
            turned = ImageOps.exif_transpose(file) if upright else file
            array = np.asarray(turned.convert("RGB") if colours else turned)
    except (ImageError, OSError, SyntaxError, ValueError) as error:
        raise DataError(_about(path, error)) from None
    if colours:
        return _decoded(array, colours, path)
    if array.ndim != 2 or array.dtype.kind not in "bui":
        raise DataError(
            f"{path}: a mask must hold one whole number a pixel; give the classes' colours if it is in colour"
        )
    return array.astype(np.int64)


def _decoded(array: NDArray[Any], colours: Mapping[Colour, int], path: Path) -> NDArray[Any]:
    packed = (array.astype(np.int64) * (65536, 256, 1)).sum(2)
    keys = np.array([r * 65536 + g * 256 + b for r, g, b in colours])
    by_key = np.argsort(keys)
    at = np.searchsorted(keys, packed, sorter=by_key).clip(max=len(keys) - 1)
    places = by_key[at]
    wrong = keys[places] != packed
    if wrong.any():
        raise DataError(f"{path}: holds the colour {tuple(map(int, array[wrong][0]))}, which is no class; add it")
    values: NDArray[np.int64] = np.array(list(colours.values()))[places]
    return values


def _about(path: Path, error: Exception) -> str:
    if not exists(path):
        return f"{path}: there is no such file, although its pair is there; add it, or remove the pair"
    text = one_line(error)
    return text if text.startswith(str(path)) else f"{path}: cannot be read ({text}); replace it by an intact file"
