"""Data sets in their usual folder layouts: which image goes with which mask."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from zoo.data.class_folders import folders
from zoo.data.classes import CAMVID, CATEGORIES, CITYSCAPES, PASCAL
from zoo.data.mask_folders import folder
from zoo.data.mask_values import (
    CAMVID_CODES,
    CITYSCAPES_CODES,
    CITYSCAPES_TRAIN_CODES,
    MAPILLARY_CODES,
    PASCAL_CODES,
)
from zoo.data.pairs import file_named, listing, pairs, samples_of
from zoo.data.split import DataError, DataSet, Sample, Split
from zoo.data.synthetic import Scenes
from zoo.errors import did_you_mean
from zoo.reading import exists, is_folder, read_text, reason
from zoo.text import one_line, shown


def _camvid(root: Path, split: str) -> DataSet:
    """SegNet: SPLIT/NAME.png and SPLITannot/NAME.png."""
    samples = pairs(root / split, root / f"{split}annot")
    return DataSet("camvid", split, CAMVID, samples, CAMVID_CODES)


def _cityscapes(root: Path, split: str) -> DataSet:
    """leftImg8bit/SPLIT/CITY/NAME_leftImg8bit.png and gtFine/SPLIT/CITY/NAME_gtFine_labelIds.png.

    Where there are no label ids, NAME_gtFine_labelTrainIds.png is read, in which 255 is void.
    """
    images, masks = root / "leftImg8bit" / split, root / "gtFine" / split
    ids, codes = listing(masks, "_gtFine_labelIds", deep=True), CITYSCAPES_CODES
    if not ids:
        ids, codes = listing(masks, "_gtFine_labelTrainIds", deep=True), CITYSCAPES_TRAIN_CODES
    samples = samples_of(listing(images, "_leftImg8bit", deep=True), ids, (images, masks))
    return DataSet("cityscapes", split, CITYSCAPES, samples, codes)


def _pascal(root: Path, split: str) -> DataSet:
    """VOC 2012: JPEGImages, SegmentationClass and ImageSets/Segmentation/SPLIT.txt.

    The split `trainaug` takes its masks from SegmentationClassAug (Hariharan et al., 2011).
    """
    inner = root / "VOCdevkit" / "VOC2012"
    root = inner if is_folder(inner) else root
    masks = root / ("SegmentationClassAug" if split == "trainaug" else "SegmentationClass")
    names = _names(root / "ImageSets" / "Segmentation" / f"{split}.txt")
    source = f"the list of the split {split}"
    samples = tuple(
        Sample(file_named(root / "JPEGImages", name, source), file_named(masks, name, source)) for name in names
    )
    return DataSet("pascal", split, PASCAL, samples, PASCAL_CODES)


def _names(path: Path) -> list[str]:
    if not exists(path):
        raise DataError(
            f"{shown(path)}: cannot be read (No such file or directory); expected JPEGImages, SegmentationClass and "
            f"ImageSets/Segmentation in {shown(path.parents[2])}, found {_found(path.parents[2])}"
        )
    names = [line.split()[0] for line in read_text(path, DataError).splitlines() if line.strip()]
    if not names:
        raise DataError(f"{path}: names no sample; a split must not be empty")
    return names


def _found(folder: Path) -> str:
    return ", ".join(sorted(x.name for x in folder.iterdir())[:8]) if is_folder(folder) else "nothing"


def _mapillary(root: Path, split: str) -> DataSet:
    """Vistas 1.2: training or validation, with images/NAME.jpg and labels/NAME.png, or v1.2/labels/NAME.png."""
    base = root / {"train": "training", "val": "validation"}.get(split, split)
    masks = base / "v1.2" / "labels"
    samples = pairs(base / "images", masks if is_folder(masks) else base / "labels")
    return DataSet("mapillary", split, CATEGORIES, samples, MAPILLARY_CODES)


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
    """A split of a data set: images with masks of class indices.

    Args:
        name: of a layout, a key of `LAYOUTS`; `scenes` is generated and needs no files.
        root: folder of the data set; None for one that is generated.
        split: such as `train` or `val`.

    Raises:
        DataError: the name or the split is unknown, the folder is missing, or its layout is not the expected one.

    >>> scenes = data_set("scenes", None, "val")
    >>> image, mask = scenes.load(0)
    >>> len(scenes), image.shape, mask.shape
    (16, (360, 480, 3), (360, 480))
    """
    if name not in LAYOUTS:
        raise DataError(f"data set {name!r} is unknown; {did_you_mean(name, LAYOUTS)}")
    if name in GENERATED:
        return LAYOUTS[name](Path(), split)
    if root is None or not is_folder(root):
        raise DataError(f"{shown(root or name)}: there is no such folder; give the folder of {name} with --data DIR")
    if not split or Path(split).name != split or split.startswith("."):
        raise DataError(f"split {one_line(split, 60)!r}: must be a name such as train or val; correct --split")
    try:
        return LAYOUTS[name](root, split)
    except OSError as error:
        raise DataError(f"{shown(error.filename or root)}: cannot be read: {reason(error)}; check it") from None


def names() -> Iterable[str]:
    """Names of the data sets."""
    return LAYOUTS
