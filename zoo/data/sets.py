"""Data sets in their usual folder layouts: which image goes with which mask, and what a mask's values mean."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from zoo.data.labels import CAMVID, LabelSet
from zoo.errors import ZooError, did_you_mean
from zoo.metrics import VOID

Pixels = NDArray[np.uint8]


class DataError(ZooError, ValueError):
    """A data set that is not what its layout says."""


@dataclass(frozen=True, slots=True)
class Sample:
    """An image file and its mask file."""

    image: Path
    mask: Path


@dataclass(frozen=True, slots=True)
class DataSet:
    """One split: its samples, its classes, and `codes`, the value in a mask of each class or void.

    `codes` maps the values that a mask may hold to class indices, VOID for void; another value is an error.
    """

    name: str
    split: str
    labels: LabelSet
    samples: tuple[Sample, ...]
    codes: Mapping[int, int]

    def __len__(self) -> int:
        return len(self.samples)

    def load(self, index: int) -> tuple[Pixels, Pixels]:
        """Image (H, W, 3) in RGB and class indices (H, W), VOID where void.

        Raises DataError, with the file's name, for a file that cannot be read, sizes that differ, and a
        value that is no class.
        """
        sample = self.samples[index]
        image, mask = _read(sample.image, "RGB"), _read(sample.mask, None)
        if image.shape[:2] != mask.shape:
            sizes = [f"{x.shape[1]}x{x.shape[0]}" for x in (image, mask)]
            raise DataError(
                f"{sample.mask} is {sizes[1]} and {sample.image} is {sizes[0]}; an image and its mask must be of one size"
            )
        return image, self._classes(mask, sample.mask)

    def _classes(self, mask: NDArray[Any], path: Path) -> Pixels:
        table = np.full(int(max(mask.max(), *self.codes)) + 1, -1, np.int16)
        table[list(self.codes)] = list(self.codes.values())
        out = table[mask]
        if out.min() < 0:
            value = int(mask[out < 0][0])
            raise DataError(f"{path}: the value {value} is no class of {self.name}; {_ranges(self.codes)} are known")
        return out.astype(np.uint8)


def _ranges(codes: Mapping[int, int]) -> str:
    return ", ".join(map(str, sorted(codes)))


def _read(path: Path, mode: str | None) -> NDArray[Any]:
    """Pixels of a file: (H, W, 3) in mode RGB, else (H, W) values or palette indices."""
    try:
        with Image.open(path) as file:
            array = np.asarray(file.convert(mode) if mode else file)
    except FileNotFoundError:
        raise DataError(f"{path}: there is no such file, although its pair is there; add it or remove the pair") from None
    except (OSError, SyntaxError, ValueError) as error:
        raise DataError(f"{path}: cannot be read as an image ({error}); replace the file") from None
    if array.ndim != (3 if mode else 2):
        raise DataError(f"{path}: a mask must hold one value a pixel, but it has {array.shape[-1]} channels")
    return array


def _camvid(root: Path, split: str) -> DataSet:
    """The SegNet layout: SPLIT/NAME.png and SPLITannot/NAME.png, values 0 to 10, and 11 for void."""
    codes = {i: i for i in range(11)} | {11: VOID}
    return DataSet("camvid", split, CAMVID, _pairs(root / split, root / f"{split}annot"), codes)


def _pairs(images: Path, masks: Path) -> tuple[Sample, ...]:
    """Files of the same name in two folders."""
    for folder in (images, masks):
        if not folder.is_dir():
            there = sorted(x.name for x in folder.parent.iterdir())[:8] if folder.parent.is_dir() else None
            found = "nothing" if not there else ", ".join(there)
            raise DataError(
                f"{folder}: there is no such folder; expected {images.name}/ and {masks.name}/ in {folder.parent}, "
                f"found {found}"
            )
    names = {x.stem: x for x in images.iterdir() if x.suffix.lower() in SUFFIXES}
    truths = {x.stem: x for x in masks.iterdir() if x.suffix.lower() in SUFFIXES}
    lonely = sorted(names.keys() ^ truths.keys())
    if lonely:
        has, lacks = ("image", "mask") if lonely[0] in names else ("mask", "image")
        raise DataError(
            f"{(names | truths)[lonely[0]]}: this {has} has no {lacks} ({len(lonely)} such files in "
            f"{images} and {masks}); add it or remove the {has}"
        )
    if not names:
        raise DataError(f"{images}: holds no images ({', '.join(sorted(SUFFIXES))}); a split must not be empty")
    return tuple(Sample(names[key], truths[key]) for key in sorted(names))


SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff"})

LAYOUTS: Mapping[str, Callable[[Path, str], DataSet]] = {"camvid": _camvid}


def data_set(name: str, root: Path, split: str) -> DataSet:
    """A split of a data set below `root`. Raises DataError where the layout is not the expected one."""
    if name not in LAYOUTS:
        raise DataError(f"data set {name!r} is unknown; {did_you_mean(name, LAYOUTS)}")
    if not root.is_dir():
        raise DataError(f"{root}: there is no such folder; give the folder of {name} with --data")
    return LAYOUTS[name](root, split)
