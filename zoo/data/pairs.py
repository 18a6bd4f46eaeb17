"""Images and masks that belong together by their names."""

from collections.abc import Mapping
from pathlib import Path

from zoo.data.split import DataError, Sample

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp"})
"""Files that count as images."""


def pairs(images: Path, masks: Path) -> tuple[Sample, ...]:
    """Files of the same name in two folders, in the order of the names. Raises DataError for a missing half."""
    return samples_of(listing(images, "*"), listing(masks, "*"), (images, masks))


def listing(folder: Path, pattern: str, ending: str = "") -> dict[str, Path]:
    """Image files in a folder by their names without suffix and `ending`. Raises DataError where there is no folder."""
    if not folder.is_dir():
        above = next(x for x in folder.parents if x.is_dir())
        found = ", ".join(sorted(x.name for x in above.iterdir())[:8]) or "nothing"
        raise DataError(f"expected the folder {folder}; found in {above}: {found}; give the data set's own folder")
    files = (x for x in folder.glob(pattern) if x.suffix.lower() in SUFFIXES)
    return {x.stem.removesuffix(ending): x for x in sorted(files)}


def samples_of(images: Mapping[str, Path], masks: Mapping[str, Path], folders: tuple[Path, Path]) -> tuple[Sample, ...]:
    """Samples in the order of their names. Raises DataError for an empty split and for a file without its pair."""
    if not images and not masks:
        raise DataError(f"{folders[0]}: holds no images; a split must not be empty")
    alone = sorted(images.keys() ^ masks.keys())
    if alone:
        has, lacks = ("image", "mask") if alone[0] in images else ("mask", "image")
        path = ({**images, **masks})[alone[0]]
        where = folders[1] if has == "image" else folders[0]
        raise DataError(
            f"{path}: this {has} has no {lacks} in {where} ({len(alone)} such files); add it, or remove the {has}"
        )
    return tuple(Sample(images[name], masks[name]) for name in sorted(images))
