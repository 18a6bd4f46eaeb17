"""Images and masks that belong together: by their names in two folders, or by a list."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

from zoo.data.split import DataError, Sample
from zoo.inference.images import SUFFIXES
from zoo.reading import is_file, is_folder, read_text
from zoo.text import one_line, shown

SYSTEM = frozenset({"__macosx", "@eadir", "thumbs.db", "desktop.ini", "$recycle.bin", "system volume information"})
"""Names, in lower case, that operating systems leave in folders."""

MAX_FILES = 5_000_000
"""Most entries of a folder that are looked at."""

LISTS = (".txt", ".lst", ".csv", ".tsv")
"""Endings of lists of pairs, named after their split."""


def pairs(images: Path, masks: Path, *, deep: bool = False) -> tuple[Sample, ...]:
    """Files of the same name in two folders, in the order of the names; all masks may share an ending, as NAME_mask.

    deep: also those in folders inside, where they have the same path. Raises DataError for a missing half.
    """
    images_by_name, truth = listing(images, deep=deep), listing(masks, deep=deep)
    return samples_of(images_by_name, _without_ending(truth, images_by_name), (images, masks))


def listing(folder: Path, ending: str = "", *, deep: bool = False) -> dict[str, Path]:
    """Image files of a folder by their names without suffix and `ending`, which all must have in any case of letters.

    deep: by their paths in the folder and those in it. Hidden files and those of operating systems are left out.
    Raises DataError where there is no folder.
    """
    if not is_folder(folder):
        above = next((x for x in folder.parents if is_folder(x)), Path())
        neighbours = one_line(", ".join(sorted(x.name for x in above.iterdir())[:8]), 200) or "nothing"
        raise DataError(
            f"expected the folder {shown(folder)}; found in {shown(above)}: {neighbours}; "
            f"give the data set's own folder"
        )
    files: dict[str, Path] = {}
    for path in sorted(files_in(folder, deep=deep)):
        if path.suffix.lower() not in SUFFIXES or not path.stem.lower().endswith(ending.lower()):
            continue
        stem = path.stem[: len(path.stem) - len(ending)]
        key = (path.parent.relative_to(folder) / stem).as_posix() if deep else stem
        if key in files:
            raise DataError(f"{shown(path)}: {shown(files[key].name)} beside it has the same name; keep one of the two")
        files[key] = path
    return files


def files_in(folder: Path, *, deep: bool = False) -> Iterator[Path]:
    """Files that people put into a folder, in no order."""
    count = 0
    waiting = [folder]
    while waiting:
        for path in waiting.pop().iterdir():
            count += 1
            if count > MAX_FILES:
                raise DataError(
                    f"{shown(folder)}: holds more than {MAX_FILES:,} entries; give the data set's own folder"
                )
            if is_systems(path):
                continue
            if deep and is_folder(path) and not path.is_symlink():
                waiting.append(path)
            else:
                yield path


def is_systems(path: Path) -> bool:
    """Whether a file or folder is hidden or an operating system's own.

    >>> is_systems(Path("a/._x.png")), is_systems(Path("a/x.png"))
    (True, False)
    """
    return path.name.startswith(".") or path.name.lower() in SYSTEM


def _without_ending(masks: Mapping[str, Path], images: Mapping[str, Path]) -> Mapping[str, Path]:
    """Masks by the names of their images, where all have one ending that the images lack."""
    if masks.keys() & images.keys() or not masks or not images:
        return masks
    first = min(masks)
    for stem in sorted((name for name in images if first.startswith(name)), key=len, reverse=True):
        ending = first[len(stem) :]
        if all(name.endswith(ending) for name in masks):
            return {name.removesuffix(ending): path for name, path in masks.items()}
    return masks


def samples_of(images: Mapping[str, Path], masks: Mapping[str, Path], folders: tuple[Path, Path]) -> tuple[Sample, ...]:
    """Samples in the order of their names. Raises DataError for an empty split and for a file without its pair."""
    if not images and not masks:
        raise DataError(f"{shown(folders[0])}: holds no images; a split must not be empty")
    unpaired = sorted(images.keys() ^ masks.keys())
    if unpaired:
        kind, missing_kind = ("image", "mask") if unpaired[0] in images else ("mask", "image")
        path = ({**images, **masks})[unpaired[0]]
        location = folders[1] if kind == "image" else folders[0]
        raise DataError(
            f"{shown(path)}: this {kind} has no {missing_kind} in {shown(location)} ({len(unpaired)} such files); "
            f"add it, "
            f"or remove the {kind}"
        )
    return tuple(Sample(images[name], masks[name]) for name in sorted(images))


def list_of(root: Path, split: str) -> Path | None:
    """The list of a split's pairs in the data set's folder, if there is one."""
    return next((path for ending in LISTS if is_file(path := root / f"{split}{ending}")), None)


def listed_pairs(path: Path, root: Path) -> tuple[Sample, ...]:
    """The pairs of a list: a line each of an image and a mask, separated by a comma, a semicolon, a tab or spaces.

    Paths are relative to `root`, or absolute as they were on another machine, where their ends are looked for in
    `root`; none leads outside. Raises DataError with the line's number.
    """
    samples = []
    for number, line in enumerate(read_text(path, DataError).splitlines(), 1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        cells = _cells(text)
        location = f"{shown(path)}: line {number}"
        if len(cells) != 2:
            raise DataError(f"{location}: must name an image and its mask, but is {one_line(text, 80)!r}")
        if number == 1 and not any(Path(cell).suffix.lower() in SUFFIXES for cell in cells):
            continue  # a heading
        samples.append(Sample(*(below(root, cell, location) for cell in cells)))
    if not samples:
        raise DataError(f"{shown(path)}: names no pair; a split must not be empty")
    twice, count = Counter(sample.image for sample in samples).most_common(1)[0]
    if count > 1:
        raise DataError(f"{shown(path)}: names {shown(twice)} {count} times; name each image once")
    return tuple(samples)


def _cells(text: str) -> list[str]:
    for separator in ("\t", ";", ","):
        if separator in text:
            return [cell.strip().strip('"') for cell in text.split(separator)]
    cells = text.split()
    if len(cells) > 2:  # names with spaces: an ending, then a space, is where the first ends
        endings = "|".join(re.escape(suffix) for suffix in SUFFIXES)
        match = re.fullmatch(rf"(.*?(?:{endings}))\s+(\S.*)", text, re.IGNORECASE)
        return list(match.groups()) if match else cells
    return cells


def below(root: Path, text: str, location: str) -> Path:
    """The file in `root` that a list names. Raises DataError where there is none, or the name leads outside."""
    parts = Path(text.replace("\\", "/")).parts
    if ".." in parts or "\0" in text:
        raise DataError(f"{location}: {one_line(text, 120)} leads out of {shown(root)}; name files below it")
    if Path(text).is_absolute():
        ends = [root.joinpath(*parts[i:]) for i in range(1, len(parts))]
        file = next((path for path in ends if is_file(path)), None)
    else:
        file = path if is_file(path := root.joinpath(*parts)) else None
    if file is None:
        raise DataError(
            f"{location}: names {one_line(text, 120)}, which is not in {shown(root)}; add it, or remove the line"
        )
    return file


def file_named(folder: Path, name: str, location: str) -> Path:
    """The image file of a name without suffix, such as a list of names has. Raises DataError."""
    if name != Path(name).name or name in ("", ".", ".."):
        raise DataError(f"{location}: {one_line(name, 120)} leads out of {shown(folder)}; give names without folders")
    for suffix in SUFFIXES:
        for path in (folder / f"{name}{suffix}", folder / f"{name}{suffix.upper()}"):
            if is_file(path):
                return path
    raise DataError(f"{shown(folder / name)}.*: {location} names it and it is not there; add it")
