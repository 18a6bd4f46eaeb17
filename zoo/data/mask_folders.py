"""Any pair of image and mask folders, described by a `classes.yaml` beside them.

    ROOT/classes.yaml
    ROOT/SPLIT/images/NAME.*    ROOT/SPLIT/masks/NAME.*    with folders inside, if you like; all masks may share an
                                                           ending, as NAME_mask.png
    ROOT/SPLIT.txt              instead of the folders: IMAGE, MASK in each line

`classes.yaml` lists the classes in order, and what is void:

    classes:
      - {name: background, value: 0, colour: [0, 0, 0]}
      - {name: stroma, value: 1, colour: [0, 0, 255]}
    void: [255]            # values, or colours where masks are RGB; optional
    masks: values          # or colours: masks are RGB
    window: [0, 4095]      # optional, for 16-bit grey images
    tile: 1024             # optional: samples are tiles of this side, for slides
    exif: upright          # or ignore: neither images nor masks are turned as their EXIF tags say
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from zoo.data.classes import Colour, LabelSet, palette
from zoo.data.pairs import list_of, listed_pairs, pairs
from zoo.data.split import DataError, DataSet, Sample, Split
from zoo.data.tiles import Tiles
from zoo.errors import did_you_mean
from zoo.evaluate.metrics import VOID
from zoo.reading import exists, is_folder
from zoo.text import one_line, printable, shown
from zoo.yaml_strict import read_yaml

KEYS = ("classes", "void", "masks", "window", "tile", "exif")
CLASS_KEYS = ("name", "value", "colour")
MASKS, EXIF = ("values", "colours"), ("upright", "ignore")

LARGEST_VALUE = 65_535
"""Of a mask: 16 bits."""

LONGEST_NAME = 100


def folder(root: Path, split: str) -> Split:
    """A split of a data set of one's own. Raises DataError, with the file and the key, for a wrong description."""
    path = root / "classes.yaml"
    if not exists(path):
        raise DataError(
            f"expected {shown(path)}, which lists the classes, and {shown(root / split)}/images and masks; add it"
        )
    about = _mapping(read_yaml(path), KEYS, str(path))
    masks, exif = (_word(about, key, words, path) for key, words in (("masks", MASKS), ("exif", EXIF)))
    rows = [_mapping(row, CLASS_KEYS, f"{path}: classes[{i}]") for i, row in enumerate(_list(about, "classes", path))]
    names, values = _names(rows, path), _values(rows, path)
    colours = _colours(rows, path)
    codes = {value: i for i, value in enumerate(values)}
    by_colour = dict(zip(colours, values, strict=True)) if masks == "colours" else None
    _add_void(codes, by_colour, about.get("void", []), path)
    labels = LabelSet(root.resolve().name, names, colours)
    window = _window(about.get("window"), path)
    samples = _samples(root, split)
    data = DataSet(labels.name, split, labels, samples, codes, by_colour, window, exif == "upright")
    return Tiles(data, _whole(about["tile"], f"{path}: tile")) if "tile" in about else data


def _samples(root: Path, split: str) -> tuple[Sample, ...]:
    images, masks = root / split / "images", root / split / "masks"
    listed = list_of(root, split)
    if listed is not None and not is_folder(images):
        return listed_pairs(listed, root)
    return pairs(images, masks, deep=True)


def _mapping(value: Any, allowed: tuple[str, ...], location: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise DataError(f"{location}: must be a mapping with keys of {', '.join(allowed)}, but is {_shown(value)}")
    for key in value:
        if key not in allowed:
            raise DataError(f"{location}.{key}: unknown key ({did_you_mean(str(key), allowed)})")
    return value


def _list(about: Mapping[str, Any], key: str, path: Path) -> list[Any]:
    value = about.get(key)
    if not isinstance(value, list):
        raise DataError(f"{path}: {key}: must be a list, but is {_shown(value)}")
    return value


def _word(about: Mapping[str, Any], key: str, words: tuple[str, ...], path: Path) -> str:
    value = about.get(key, words[0])
    if value not in words:
        raise DataError(f"{path}: {key}: must be {' or '.join(words)}, but is {_shown(value)}")
    return str(value)


def _names(rows: Sequence[Mapping[str, Any]], path: Path) -> tuple[str, ...]:
    if not 1 <= len(rows) < VOID or any("name" not in row for row in rows):
        raise DataError(f"{path}: classes: 1 to {VOID - 1} entries are needed, each with a name")
    if len(rows) == 1:
        raise DataError(
            f"{path}: classes: with one class there is nothing to tell apart; list what is around it as a second "
            "class, such as background, instead of calling it void"
        )
    names: dict[str, int] = {}
    for i, row in enumerate(rows):
        name = row["name"]
        if not isinstance(name, str) or not 1 <= len(name) <= LONGEST_NAME or printable(name) != name or "\n" in name:
            raise DataError(
                f"{path}: classes[{i}].name: must be a text of 1 to {LONGEST_NAME} characters, but is {_shown(name)}; "
                "quote it if it looks like a number"
            )
        if name in names:
            raise DataError(
                f"{path}: classes[{i}].name: {name!r} is the name of classes[{names[name]}] too; rename one"
            )
        names[name] = i
    return tuple(names)


def _values(rows: Sequence[Mapping[str, Any]], path: Path) -> tuple[int, ...]:
    values = [_whole(row.get("value", i), f"{path}: classes[{i}].value") for i, row in enumerate(rows)]
    for i, value in enumerate(values):
        if value in values[:i]:
            first = values.index(value)
            raise DataError(
                f"{path}: classes[{i}].value: two classes have one value, {value}, as classes[{first}]; "
                "give each its own"
            )
    return tuple(values)


def _colours(rows: Sequence[Mapping[str, Any]], path: Path) -> tuple[Colour, ...]:
    own_colours = {
        i: _colour(row["colour"], f"{path}: classes[{i}].colour") for i, row in enumerate(rows) if "colour" in row
    }
    free = (colour for colour in palette(256) if colour not in own_colours.values())
    own = palette(len(rows))
    colours: list[Colour] = []
    for i in range(len(rows)):
        colour = own_colours.get(i, own[i] if own[i] not in own_colours.values() else next(free))
        if i in own_colours and colour in colours:
            first = colours.index(colour)
            raise DataError(
                f"{path}: classes[{i}].colour: {list(colour)} is the colour of classes[{first}] too; give each its own"
            )
        while colour in colours:
            colour = next(free)
        colours.append(colour)
    return tuple(colours)


def _add_void(codes: dict[int, int], by_colour: dict[Colour, int] | None, void: Any, path: Path) -> None:
    """Enter what is void; a colour gets a value that no class has."""
    if not isinstance(void, list):
        raise DataError(f"{path}: void: must be a list, as [255], but is {_shown(void)}")
    for i, entry in enumerate(void):
        location = f"{path}: void[{i}]"
        if isinstance(entry, list):
            colour = _colour(entry, location)
            if by_colour is None:
                raise DataError(f"{location}: is a colour, and masks hold values; give a value, or masks: colours")
            if colour in by_colour:
                raise DataError(f"{location}: {list(colour)} is the colour of a class, too; it is one or the other")
            value = next(v for v in range(LARGEST_VALUE, 0, -1) if v not in codes)
            by_colour[colour] = value
        else:
            value = _whole(entry, location)
        if codes.get(value, VOID) != VOID:
            raise DataError(f"{location}: {value} is the value of classes[{codes[value]}], too; it is one or the other")
        codes[value] = VOID


def _whole(value: Any, location: str) -> int:
    if type(value) is not int or not 0 <= value <= LARGEST_VALUE:
        raise DataError(
            f"{location}: must be a whole number of at least 0, at most {LARGEST_VALUE}, but is {_shown(value)}"
        )
    return value


def _colour(value: Any, location: str) -> Colour:
    if not isinstance(value, list) or len(value) != 3 or not all(type(x) is int and 0 <= x <= 255 for x in value):
        raise DataError(f"{location}: must be three numbers from 0 to 255, as [128, 0, 64], but is {_shown(value)}")
    return (value[0], value[1], value[2])


def _window(value: Any, path: Path) -> tuple[float, float] | None:
    if value is None:
        return None
    numbers = isinstance(value, list) and len(value) == 2 and all(type(x) in (int, float) for x in value)
    if not numbers or not -1e9 <= value[0] < value[1] <= 1e9:
        raise DataError(f"{path}: window: must be [LOW, HIGH] with numbers LOW < HIGH, but is {_shown(value)}")
    return (value[0], value[1])


def _shown(value: Any) -> str:
    return one_line(repr(value), 80)
