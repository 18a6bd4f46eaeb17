"""Images in a folder for each class, as ImageNet is usually unpacked.

    ROOT/train/CLASS/*    ROOT/val/CLASS/*

A sample's label is an array of one entry, (1, 1), so that what reads maps of labels reads it too. Labels are
not of 8 bits, and none is void: ImageNet has 1000 classes.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zoo.data.classes import LabelSet, palette
from zoo.data.pairs import files_in, is_systems
from zoo.data.split import DataError, Pixels
from zoo.inference.images import SUFFIXES, read_image
from zoo.reading import is_folder

TRAIN = "train"
"""The split whose folders are the classes."""


@dataclass(frozen=True, slots=True)
class Folders:
    """One split: files, and the index of the class of each."""

    name: str
    split: str
    labels: LabelSet
    samples: tuple[tuple[Path, int], ...]

    def __len__(self) -> int:
        return len(self.samples)

    def load(self, index: int) -> tuple[Pixels, NDArray[Any]]:
        """Image (H, W, 3) and class index (1, 1). Raises ImageError, with the file's name, for what is no image."""
        path, label = self.samples[index]
        return read_image(path), np.full((1, 1), label, np.int32)


def folders(root: Path, split: str) -> Folders:
    """A split; its classes are the sorted names of the folders in ROOT/train, and those of all splits.

    Raises DataError for a missing folder, a class that ROOT/train lacks, and a class or a split without an image.
    """
    classes = _classes(root / TRAIN)
    if len(classes) < 2:
        raise DataError(f"{root / TRAIN}: expected a folder for each of at least two classes, found {len(classes)}")
    indices = {name: i for i, name in enumerate(classes)}
    samples: list[tuple[Path, int]] = []
    for name in _classes(root / split):
        if name not in indices:
            raise DataError(f"{root / split / name}: is a class that {root / TRAIN} lacks; add it there, or remove it")
        files = sorted(x for x in files_in(root / split / name) if x.suffix.lower() in SUFFIXES)
        if split == TRAIN and not files:
            raise DataError(f"{root / split / name}: holds no image; add some, or remove the class")
        samples += [(path, indices[name]) for path in files]
    if not samples:
        raise DataError(f"{root / split}: holds no image in a folder of a class; a split must not be empty")
    labels = LabelSet(root.resolve().name, classes, palette(len(classes)))
    return Folders(labels.name, split, labels, tuple(samples))


def _classes(folder: Path) -> tuple[str, ...]:
    if not is_folder(folder):
        raise DataError(f"expected the folder {folder}, with a folder of images for each class in it; add it")
    return tuple(sorted(x.name for x in folder.iterdir() if is_folder(x) and not is_systems(x)))
