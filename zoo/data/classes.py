"""Label sets: the classes of a data set in the order of a network's outputs, their colours, and maps between sets."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from zoo.errors import ZooError, did_you_mean
from zoo.text import one_line

Colour = tuple[int, int, int]
"""Red, green and blue, 0 to 255."""

BLACK: Colour = (0, 0, 0)


@dataclass(frozen=True, slots=True)
class LabelSet:
    """Classes in order and their colours.

    `groups` names coarser categories, one for each class, where the data set has them. Networks may have
    one more output than there are classes: that one is void.
    """

    name: str
    classes: tuple[str, ...]
    colours: tuple[Colour, ...]
    groups: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if len(self.classes) != len(self.colours) or len(self.groups) not in (0, len(self.classes)):
            raise ZooError(f"label set {self.name}: classes, colours and groups must be as many")

    @property
    def categories(self) -> tuple[str, ...]:
        """The coarser categories, in the order of their first class."""
        return tuple(dict.fromkeys(self.groups))

    def index(self, name: str) -> int:
        """Index of a class. Raises ZooError with the nearest name."""
        if name not in self.classes:
            raise ZooError(f"label set {self.name} has no class {name!r}; {did_you_mean(name, self.classes)}")
        return self.classes.index(name)


def palette(count: int) -> tuple[Colour, ...]:
    """The colours of PASCAL VOC: the bits of an index spread over red, green and blue, the highest first.

    >>> palette(4)
    ((0, 0, 0), (128, 0, 0), (0, 128, 0), (128, 128, 0))
    """

    def colour(index: int) -> Colour:
        channels = [0, 0, 0]
        for place in range(8):
            for channel in range(3):
                channels[channel] |= (index >> (3 * place + channel) & 1) << (7 - place)
        return (channels[0], channels[1], channels[2])

    return tuple(colour(i) for i in range(count))


def _set(name: str, rows: Mapping[str, tuple[Colour, str]]) -> LabelSet:
    groups = tuple(group for _, group in rows.values())
    return LabelSet(name, tuple(rows), tuple(c for c, _ in rows.values()), groups if all(groups) else ())


CITYSCAPES = _set(
    "cityscapes",
    {
        "road": ((128, 64, 128), "flat"),
        "sidewalk": ((244, 35, 232), "flat"),
        "building": ((70, 70, 70), "construction"),
        "wall": ((102, 102, 156), "construction"),
        "fence": ((190, 153, 153), "construction"),
        "pole": ((153, 153, 153), "object"),
        "traffic light": ((250, 170, 30), "object"),
        "traffic sign": ((220, 220, 0), "object"),
        "vegetation": ((107, 142, 35), "nature"),
        "terrain": ((152, 251, 152), "nature"),
        "sky": ((70, 130, 180), "sky"),
        "person": ((220, 20, 60), "human"),
        "rider": ((255, 0, 0), "human"),
        "car": ((0, 0, 142), "vehicle"),
        "truck": ((0, 0, 70), "vehicle"),
        "bus": ((0, 60, 100), "vehicle"),
        "train": ((0, 80, 100), "vehicle"),
        "motorcycle": ((0, 0, 230), "vehicle"),
        "bicycle": ((119, 11, 32), "vehicle"),
    },
)
"""The 19 train ids and 7 categories (cityscapesScripts, helpers/labels.py)."""

CAMVID = _set(
    "camvid",
    {
        "sky": ((128, 128, 128), "sky"),
        "building": ((128, 0, 0), "construction"),
        "pole": ((192, 192, 128), "object"),
        "road": ((128, 64, 128), "flat"),
        "pavement": ((60, 40, 222), "flat"),
        "tree": ((128, 128, 0), "nature"),
        "sign": ((192, 128, 128), "object"),
        "fence": ((64, 64, 128), "construction"),
        "car": ((64, 0, 128), "vehicle"),
        "pedestrian": ((64, 64, 0), "human"),
        "bicyclist": ((0, 128, 192), "human"),
    },
)
"""The 11 classes of the SegNet split; the categories are those of Cityscapes."""

PASCAL = LabelSet(
    "pascal",
    (
        "background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow",
        "dining table", "dog", "horse", "motorbike", "person", "potted plant", "sheep", "sofa", "train", "tv monitor",
    ),
    palette(21),
)  # fmt: skip
"""PASCAL VOC 2012: background and 20 classes."""

CATEGORIES = LabelSet(
    "categories",
    CITYSCAPES.categories,
    tuple(CITYSCAPES.colours[CITYSCAPES.groups.index(group)] for group in CITYSCAPES.categories),
)
"""The 7 categories of Cityscapes, each in the colour of its first class."""

LABEL_SETS: Mapping[str, LabelSet] = {labels.name: labels for labels in (CITYSCAPES, CAMVID, PASCAL, CATEGORIES)}


def label_set(name: str) -> LabelSet:
    """A label set by name. Raises ZooError with the nearest name."""
    if name not in LABEL_SETS:
        raise ZooError(f"label set {name!r} is unknown; {did_you_mean(name, LABEL_SETS)}")
    return LABEL_SETS[name]


MAX_CLASSES = 255
"""Most classes of a label set from a file: masks are bytes, and one value is void."""


def labels_about(labels: LabelSet) -> Any:
    """A label set for metadata: its name where it is declared, else all of it."""
    return labels.name if LABEL_SETS.get(labels.name) == labels else dataclasses.asdict(labels)


def labels_from(about: Any) -> LabelSet:
    """The label set that `labels_about` wrote. Raises ZooError where it is none."""
    if isinstance(about, str) and about in LABEL_SETS:
        return LABEL_SETS[about]
    try:
        if not isinstance(about, dict) or not 0 < len(about["classes"]) <= MAX_CLASSES:
            raise TypeError
        colours = tuple((int(r), int(g), int(b)) for r, g, b in about["colours"])
        return LabelSet(str(about["name"]), tuple(map(str, about["classes"])), colours, tuple(about.get("groups", ())))
    except (TypeError, KeyError, ValueError):
        raise ZooError(
            f"labels: must be one of {', '.join(LABEL_SETS)} or a whole label set, but is {one_line(repr(about), 80)}"
        ) from None


@dataclass(frozen=True, slots=True)
class LabelMap:
    """Which class of `target` each class of `source` stands for; None stands for no class of it."""

    source: LabelSet
    target: LabelSet
    names: Mapping[str, str | None]

    def __post_init__(self) -> None:
        missing = [name for name in self.source.classes if name not in self.names]
        if missing:
            raise ZooError(f"the map {self.source.name}-{self.target.name} says nothing of {', '.join(missing)}")
        for name, target in self.names.items():
            self.source.index(name)
            if target is not None:
                self.target.index(target)

    @property
    def name(self) -> str:
        """`SOURCE-TARGET`."""
        return f"{self.source.name}-{self.target.name}"

    @property
    def indices(self) -> tuple[int | None, ...]:
        """Index in `target` of each class of `source`."""
        target_names = [self.names[name] for name in self.source.classes]
        return tuple(None if name is None else self.target.index(name) for name in target_names)


CITYSCAPES_CAMVID = LabelMap(
    CITYSCAPES,
    CAMVID,
    {
        "road": "road", "sidewalk": "pavement", "building": "building", "wall": "building", "fence": "fence",
        "pole": "pole", "traffic light": "sign", "traffic sign": "sign", "vegetation": "tree", "terrain": None,
        "sky": "sky", "person": "pedestrian", "rider": "bicyclist", "car": "car", "truck": "car", "bus": "car",
        "train": None, "motorcycle": None, "bicycle": "bicyclist",
    },
)  # fmt: skip
"""CamVid's class `sign` includes traffic lights, `car` includes trucks and buses, `building` includes walls."""

CITYSCAPES_CATEGORIES = LabelMap(CITYSCAPES, CATEGORIES, dict(zip(CITYSCAPES.classes, CITYSCAPES.groups, strict=True)))
"""Each class to its category."""

CAMVID_CATEGORIES = LabelMap(CAMVID, CATEGORIES, dict(zip(CAMVID.classes, CAMVID.groups, strict=True)))
"""Each class to its category."""

LABEL_MAPS: Mapping[str, LabelMap] = {
    one.name: one for one in (CITYSCAPES_CAMVID, CITYSCAPES_CATEGORIES, CAMVID_CATEGORIES)
}


def label_map(name: str) -> LabelMap:
    """A label map by name, `cityscapes-camvid`. Raises ZooError with the nearest name."""
    if name not in LABEL_MAPS:
        raise ZooError(f"label map {name!r} is unknown; {did_you_mean(name, LABEL_MAPS)}")
    return LABEL_MAPS[name]
