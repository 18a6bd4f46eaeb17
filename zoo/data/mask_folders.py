"""Any pair of image and mask folders, described by a `classes.yaml` beside them.

    ROOT/classes.yaml
    ROOT/SPLIT/images/NAME.*    ROOT/SPLIT/masks/NAME.*

`classes.yaml` lists the classes in order, and what is void:

    classes:
      - {name: background, value: 0, colour: [0, 0, 0]}
      - {name: stroma, value: 1, colour: [0, 0, 255]}
    void: [255]            # values, optional
    masks: values          # or colours: masks are RGB
    window: [0, 4095]      # optional, for 16-bit grey images
    tile: 1024             # optional: samples are tiles of this side, for slides
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from zoo.data.classes import Colour, LabelSet, palette
from zoo.data.pairs import pairs
from zoo.data.split import DataError, DataSet, Split
from zoo.data.tiles import Tiles
from zoo.errors import did_you_mean
from zoo.evaluate.metrics import VOID
from zoo.yaml_strict import read_yaml

KEYS = ("classes", "void", "masks", "window", "tile")
CLASS_KEYS = ("name", "value", "colour")


def folder(root: Path, split: str) -> Split:
    """A split of a data set of one's own. Raises DataError, with the file and the key, for a wrong description."""
    path = root / "classes.yaml"
    if not path.is_file():
        raise DataError(f"expected {path}, which lists the classes, and {root / split}/images and masks; add it")
    about = _checked(read_yaml(path), KEYS, str(path))
    rows = [_checked(row, CLASS_KEYS, f"{path}: classes[{i}]") for i, row in enumerate(_list(about, "classes", path))]
    if not 1 <= len(rows) < VOID or any("name" not in row for row in rows):
        raise DataError(f"{path}: classes: 1 to {VOID - 1} entries are needed, each with a name")
    codes = {_integer(row.get("value", i), f"{path}: classes[{i}].value"): i for i, row in enumerate(rows)}
    if len(codes) != len(rows):
        raise DataError(f"{path}: classes: two classes have one value; give each its own")
    codes |= {_integer(value, f"{path}: void"): VOID for value in about.get("void", [])}
    colours = tuple(_colour(row.get("colour", palette(len(rows))[i]), path) for i, row in enumerate(rows))
    labels = LabelSet(root.resolve().name, tuple(str(row["name"]) for row in rows), colours)
    data = DataSet(
        labels.name,
        split,
        labels,
        pairs(root / split / "images", root / split / "masks"),
        codes,
        dict(zip(colours, codes, strict=False)) if about.get("masks") == "colours" else None,
        _window(about.get("window"), path),
    )
    return Tiles(data, _integer(about["tile"], f"{path}: tile")) if "tile" in about else data


def _checked(value: Any, known: tuple[str, ...], where: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise DataError(f"{where}: must be a mapping with keys of {', '.join(known)}, but is {value!r}")
    for key in value:
        if key not in known:
            raise DataError(f"{where}.{key}: unknown key ({did_you_mean(str(key), known)})")
    return value


def _list(about: Mapping[str, Any], key: str, path: Path) -> list[Any]:
    value = about.get(key)
    if not isinstance(value, list):
        raise DataError(f"{path}: {key}: must be a list, but is {value!r}")
    return value


def _integer(value: Any, where: str) -> int:
    if type(value) is not int or value < 0:
        raise DataError(f"{where}: must be a whole number of at least 0, but is {value!r}")
    return value


def _colour(value: Any, path: Path) -> Colour:
    if len(value) != 3 or not all(type(x) is int and 0 <= x <= 255 for x in value):
        raise DataError(f"{path}: colour: must be three numbers from 0 to 255, but is {value!r}")
    return (value[0], value[1], value[2])


def _window(value: Any, path: Path) -> tuple[int, int] | None:
    if value is None:
        return None
    if not isinstance(value, list) or len(value) != 2 or not value[0] < value[1]:
        raise DataError(f"{path}: window: must be [LOW, HIGH] with LOW < HIGH, but is {value!r}")
    return (int(value[0]), int(value[1]))
