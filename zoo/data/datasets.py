"""Data sets in their usual folder layouts: which image goes with which mask."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from zoo.data.class_folders import folders
from zoo.data.classes import CAMVID, CATEGORIES, CITYSCAPES, PASCAL
from zoo.data.mask_folders import folder
from zoo.data.mask_values import CAMVID_CODES, CITYSCAPES_CODES, MAPILLARY_CODES, PASCAL_CODES
from zoo.data.pairs import listing, pairs, samples_of
from zoo.data.split import DataError, DataSet, Sample, Split
from zoo.data.synthetic import Scenes
from zoo.errors import did_you_mean


def _camvid(root: Path, split: str) -> DataSet:
    """SegNet: SPLIT/NAME.png and SPLITannot/NAME.png."""
    found = pairs(root / split, root / f"{split}annot")
    return DataSet("camvid", split, CAMVID, found, CAMVID_CODES)


def _cityscapes(root: Path, split: str) -> DataSet:
    """leftImg8bit/SPLIT/CITY/NAME_leftImg8bit.png and gtFine/SPLIT/CITY/NAME_gtFine_labelIds.png."""
    images, masks = root / "leftImg8bit" / split, root / "gtFine" / split
    found = samples_of(
        listing(images, "*/*_leftImg8bit.png", "_leftImg8bit"),
        listing(masks, "*/*_gtFine_labelIds.png", "_gtFine_labelIds"),
        (images, masks),
    )
    return DataSet("cityscapes", split, CITYSCAPES, found, CITYSCAPES_CODES)


def _pascal(root: Path, split: str) -> DataSet:
    """VOC 2012: JPEGImages, SegmentationClass and ImageSets/Segmentation/SPLIT.txt.

    The split `trainaug` takes its masks from SegmentationClassAug (Hariharan et al., 2011).
    """
    inner = root / "VOCdevkit" / "VOC2012"
    root = inner if inner.is_dir() else root
    masks = root / ("SegmentationClassAug" if split == "trainaug" else "SegmentationClass")
    names = _names(root / "ImageSets" / "Segmentation" / f"{split}.txt")
    found = tuple(Sample(root / "JPEGImages" / f"{name}.jpg", masks / f"{name}.png") for name in names)
    for sample in found:
        for path in (sample.image, sample.mask):
            if not path.is_file():
                raise DataError(f"{path}: the list of the split {split} names it and it is not there; add it")
    return DataSet("pascal", split, PASCAL, found, PASCAL_CODES)


def _names(path: Path) -> list[str]:
    try:
        names = path.read_text(encoding="utf-8").split()
    except OSError as error:
        raise DataError(
            f"{path}: cannot be read ({error.strerror}); expected JPEGImages, SegmentationClass and "
            f"ImageSets/Segmentation in {path.parents[2]}, found {_found(path.parents[2])}"
        ) from None
    if not names:
        raise DataError(f"{path}: names no sample; a split must not be empty")
    return names


def _found(folder: Path) -> str:
    return ", ".join(sorted(x.name for x in folder.iterdir())[:8]) if folder.is_dir() else "nothing"


def _mapillary(root: Path, split: str) -> DataSet:
    """Vistas 1.2: training or validation, with images/NAME.jpg and labels/NAME.png, or v1.2/labels/NAME.png."""
    base = root / {"train": "training", "val": "validation"}.get(split, split)
    masks = base / "v1.2" / "labels"
    found = pairs(base / "images", masks if masks.is_dir() else base / "labels")
    return DataSet("mapillary", split, CATEGORIES, found, MAPILLARY_CODES)


def _scenes(root: Path, split: str) -> Split:
    return Scenes(split)


LAYOUTS: Mapping[str, Callable[[Path, str], Split]] = {
    "camvid": _camvid,
    "cityscapes": _cityscapes,
    "pascal": _pascal,
    "mapillary": _mapillary,
    "folder": folder,
    "folders": folders,
    "scenes": _scenes,
}
"""Every data set, by name: a function from its folder and a split."""

GENERATED = frozenset({"scenes"})
"""Data sets that need no folder."""


def data_set(name: str, root: Path | None, split: str) -> Split:
    """A split of a data set below `root`. Raises DataError where the layout is not the expected one."""
    if name not in LAYOUTS:
        raise DataError(f"data set {name!r} is unknown; {did_you_mean(name, LAYOUTS)}")
    if name in GENERATED:
        return LAYOUTS[name](Path(), split)
    if root is None or not root.is_dir():
        raise DataError(f"{root or name}: there is no such folder; give the folder of {name} with --data DIR")
    return LAYOUTS[name](root, split)


def names() -> Iterable[str]:
    """Names of the data sets."""
    return LAYOUTS
