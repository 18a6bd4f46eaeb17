"""What the values in a data set's masks mean: tables from a mask's value to a class, or to void."""

from collections.abc import Mapping

from zoo.data.classes import CATEGORIES
from zoo.evaluate.metrics import VOID

Codes = Mapping[int, int]
"""Class index, or VOID, of each value that a mask may hold."""

CITYSCAPES_IDS = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
"""Label id of each of the 19 train ids: what masks hold, and what a submission must hold (cityscapesScripts)."""

CAMVID_CODES: Codes = {i: i for i in range(11)} | {11: VOID}
"""The SegNet split: 11 is void."""

CITYSCAPES_CODES: Codes = dict.fromkeys((*range(34), VOID), VOID) | {v: i for i, v in enumerate(CITYSCAPES_IDS)}
"""Label ids 0 to 33, of which those that are not evaluated are void."""

CITYSCAPES_TRAIN_CODES: Codes = {i: i for i in range(len(CITYSCAPES_IDS))} | {VOID: VOID}
"""Train ids 0 to 18, and 255, which is void."""

PASCAL_CODES: Codes = {i: i for i in range(21)} | {255: VOID}
"""Class indices; 255 is the contour that is left out."""

VOID_NAME = "void"

MAPILLARY: Mapping[str, str] = {
    "bird": VOID_NAME, "ground animal": VOID_NAME,
    "curb": "flat", "fence": "construction", "guard rail": "construction", "barrier": "construction",
    "wall": "construction", "bike lane": "flat", "crosswalk plain": "flat", "curb cut": "flat", "parking": "flat",
    "pedestrian area": "flat", "rail track": "flat", "road": "flat", "service lane": "flat", "sidewalk": "flat",
    "bridge": "construction", "building": "construction", "tunnel": "construction",
    "person": "human", "bicyclist": "human", "motorcyclist": "human", "other rider": "human",
    "lane marking crosswalk": "flat", "lane marking general": "flat",
    "mountain": VOID_NAME, "sand": "nature", "sky": "sky", "snow": VOID_NAME, "terrain": "nature",
    "vegetation": "nature", "water": VOID_NAME,
    "banner": VOID_NAME, "bench": VOID_NAME, "bike rack": VOID_NAME, "billboard": VOID_NAME, "catch basin": VOID_NAME,
    "cctv camera": VOID_NAME, "fire hydrant": VOID_NAME, "junction box": VOID_NAME, "mailbox": VOID_NAME,
    "manhole": "flat", "phone booth": VOID_NAME, "pothole": "flat", "street light": "object", "pole": "object",
    "traffic sign frame": "object", "utility pole": "object", "traffic light": "object",
    "traffic sign back": "object", "traffic sign front": "object", "trash can": VOID_NAME,
    "bicycle": "vehicle", "boat": VOID_NAME, "bus": "vehicle", "car": "vehicle", "caravan": "vehicle",
    "motorcycle": "vehicle", "on rails": "vehicle", "other vehicle": "vehicle", "trailer": "vehicle",
    "truck": "vehicle", "wheeled slow": "vehicle", "car mount": VOID_NAME, "ego vehicle": VOID_NAME,
    "unlabeled": VOID_NAME,
}  # fmt: skip
"""Category of Cityscapes of each of the 66 classes of Mapillary Vistas 1.2, in the order of the values of its masks.

The papers score networks on these categories and do not list the map; this one is ours. What Cityscapes
calls void, or does not name, is void.
"""

MAPILLARY_CODES: Codes = {
    i: VOID if category == VOID_NAME else CATEGORIES.index(category) for i, category in enumerate(MAPILLARY.values())
}
"""Values 0 to 65."""
