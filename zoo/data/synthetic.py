"""A small generated data set: street scenes with CamVid's 11 classes, the same on every machine.

It needs no files, so that training, evaluation and the demo run anywhere. It says nothing about real streets.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from zoo.data.classes import CAMVID, Colour, LabelSet
from zoo.data.split import DataError, Pixels
from zoo.errors import did_you_mean
from zoo.evaluate.metrics import VOID
from zoo.memory import refuse_beyond

COUNTS: Mapping[str, int] = {"train": 64, "val": 16, "test": 16}
"""Scenes of each split."""

FIRST_SEED: Mapping[str, int] = {"train": 0, "val": 1_000_000, "test": 2_000_000}
"""Seed of a split's first scene; the next ones count up."""

PAINT: Mapping[str, Colour] = {
    "sky": (215, 220, 225),
    "building": (120, 105, 95),
    "pole": (80, 80, 80),
    "road": (95, 90, 92),
    "pavement": (130, 122, 120),
    "tree": (62, 68, 45),
    "sign": (160, 140, 90),
    "fence": (95, 85, 70),
    "car": (90, 40, 45),
    "pedestrian": (55, 45, 55),
    "bicyclist": (60, 60, 75),
}
"""Colour that a class is painted in, before light, noise and its own variation."""

DASH: Colour = (205, 205, 205)
GLASS: Colour = (60, 66, 74)


@dataclass(frozen=True, slots=True)
class Scenes:
    """A split of generated scenes of `size` = (height, width): its first `count`, or all."""

    split: str
    size: tuple[int, int] = (360, 480)
    count: int | None = None

    def __post_init__(self) -> None:
        if self.split not in COUNTS:
            raise DataError(f"scenes has no split {self.split!r}; {did_you_mean(self.split, COUNTS)}")

    @property
    def name(self) -> str:
        """Name of the data set."""
        return "scenes"

    @property
    def labels(self) -> LabelSet:
        """CamVid's classes."""
        return CAMVID

    def __len__(self) -> int:
        return COUNTS[self.split] if self.count is None else self.count

    def load(self, index: int) -> tuple[Pixels, Pixels]:
        """Image and class indices of a scene."""
        return scene(FIRST_SEED[self.split] + index, self.size)


class _Canvas:
    """An image and its labels, painted together, in shares of the height and width."""

    def __init__(self, size: tuple[int, int], rng: np.random.Generator) -> None:
        self.height, self.width = size
        self.rng = rng
        self.image = Image.new("RGB", (self.width, self.height))
        self.mask = Image.new("L", (self.width, self.height), VOID)
        self.pens = ImageDraw.Draw(self.image), ImageDraw.Draw(self.mask)

    def polygon(self, name: str, points: list[tuple[float, float]], colour: Colour | None = None) -> None:
        """A polygon of (x, y) points in a class, in its own colour varied a little, or in the one given."""
        at = [(x * self.width, y * self.height) for x, y in points]
        self.pens[0].polygon(at, fill=colour or self._varied(PAINT[name]))
        self.pens[1].polygon(at, fill=CAMVID.index(name))

    def box(
        self, name: str, left: float, top: float, right: float, bottom: float, colour: Colour | None = None
    ) -> None:
        """An upright rectangle."""
        self.polygon(name, [(left, top), (right, top), (right, bottom), (left, bottom)], colour)

    def blob(self, name: str, x: float, y: float, radius: float) -> None:
        """A disc; the radius is a share of the height."""
        aspect = self.width / self.height
        turn = np.linspace(0, 2 * np.pi, 20, endpoint=False)
        self.polygon(name, [(x + radius / aspect * np.cos(a), y + radius * np.sin(a)) for a in turn])

    def _varied(self, colour: Colour) -> Colour:
        shift = self.rng.integers(-25, 26) + self.rng.integers(-8, 9, 3)  # brightness varies more than hue
        r, g, b = (int(c) for c in np.clip(np.array(colour) + shift, 0, 255))
        return (r, g, b)


SCENE_BYTES = 100
"""Memory for each pixel of a scene while its light and noise are computed."""


def scene(seed: int, size: tuple[int, int] = (360, 480)) -> tuple[Pixels, Pixels]:
    """Image (H, W, 3) and CamVid class indices (H, W) of a generated street; the same for the same seed and size.

    >>> image, classes = scene(1, (90, 120))
    >>> image.shape, sorted(set(CAMVID.classes[i] for i in np.unique(classes)))[:3]
    ((90, 120, 3), ['bicyclist', 'building', 'car'])
    """
    if min(size) < 16:
        raise DataError(f"a scene must be at least 16x16 pixels, but {size[1]}x{size[0]} was asked for")
    refuse_beyond(SCENE_BYTES * size[0] * size[1], f"a scene of {size[1]}x{size[0]}", "ask for a smaller one")
    rng = np.random.default_rng(seed)
    canvas = _Canvas(size, rng)
    horizon = rng.uniform(0.38, 0.5)
    centre = rng.uniform(0.4, 0.6)
    canvas.box("sky", 0, 0, 1, 1)
    _houses(canvas, horizon)
    _ground(canvas, horizon, centre)
    _verge(canvas, horizon)
    _traffic(canvas, horizon, centre)
    return _lit(canvas.image, rng), np.array(canvas.mask)


def _houses(canvas: _Canvas, horizon: float) -> None:
    rng, left = canvas.rng, 0.0
    while left < 1:
        right = left + rng.uniform(0.1, 0.25)
        top = horizon - rng.uniform(0.08, 0.33)
        canvas.box("building", left, top, right, horizon + 0.12)
        pane = 0.18 * (right - left)
        for y in np.arange(top + 0.03, horizon + 0.03, 0.07):
            for x in (left + pane, left + 3 * pane):
                canvas.box("building", x, y, x + pane, y + 0.03, GLASS)
        left = right + rng.choice([0.0, 0.0, 0.05])


def _ground(canvas: _Canvas, horizon: float, centre: float) -> None:
    canvas.box("pavement", 0, horizon + 0.08, 1, 1)
    canvas.polygon("road", [(centre - 0.06, horizon + 0.08), (centre + 0.06, horizon + 0.08), (1.15, 1), (-0.15, 1)])
    for y in np.linspace(horizon + 0.12, 0.95, 5):
        wide = 0.012 * (y - horizon)
        canvas.box("road", centre - wide, y, centre + wide, y + 0.06 * (y - horizon), DASH)


def _verge(canvas: _Canvas, horizon: float) -> None:
    """What stands beside the road: trees, a fence, poles, signs."""
    rng = canvas.rng
    foot = horizon + 0.1
    side = rng.choice([0.0, 0.72])
    canvas.box("fence", side, foot - 0.05, side + 0.28, foot + 0.03)
    for x in rng.choice([0.05, 0.12, 0.2, 0.8, 0.88, 0.95], 3, replace=False):
        canvas.box("tree", x - 0.008, foot - 0.12, x + 0.008, foot + 0.03)
        for _ in range(4):
            canvas.blob(
                "tree", x + rng.uniform(-0.03, 0.03), foot - 0.16 + rng.uniform(-0.06, 0.04), rng.uniform(0.04, 0.08)
            )
    for x in (rng.uniform(0.14, 0.3), rng.uniform(0.7, 0.86)):
        top = horizon - rng.uniform(0.12, 0.25)
        canvas.box("pole", x - 0.006, top, x + 0.006, foot + 0.08)
        canvas.box("sign", x - 0.022, top, x + 0.022, top + 0.06)


def _traffic(canvas: _Canvas, horizon: float, centre: float) -> None:
    """Cars and bicyclists on the road, pedestrians on the pavement; the nearer, the larger and the later."""
    rng = canvas.rng
    for depth in np.sort(rng.uniform(0.25, 0.8, rng.integers(1, 4))):
        foot = horizon + 0.08 + depth * (0.9 - horizon)
        _car(canvas, centre + rng.choice([-0.45, 0.45]) * depth, foot, 0.28 * depth)
    for depth, x in zip(rng.uniform(0.25, 0.6, 2), rng.choice([0.06, 0.1, 0.9, 0.94], 2, replace=False), strict=True):
        _walker(canvas, "pedestrian", x, horizon + 0.1 + 0.4 * depth, 0.35 * depth)
    depth = rng.uniform(0.3, 0.6)
    foot, x = horizon + 0.08 + 0.5 * depth, centre + rng.uniform(-0.2, 0.2) * depth
    canvas.blob("bicyclist", x, foot - 0.03, 0.07 * depth)
    _walker(canvas, "bicyclist", x, foot - 0.02, 0.3 * depth)


def _car(canvas: _Canvas, x: float, foot: float, size: float) -> None:
    canvas.box("car", x - size / 2, foot - 0.45 * size, x + size / 2, foot)
    canvas.box("car", x - 0.35 * size, foot - 0.75 * size, x + 0.35 * size, foot - 0.4 * size, GLASS)
    for wheel in (-0.3, 0.3):
        canvas.blob("car", x + wheel * size, foot, 0.12 * size)


def _walker(canvas: _Canvas, name: str, x: float, foot: float, size: float) -> None:
    canvas.box(name, x - 0.1 * size, foot - 0.8 * size, x + 0.1 * size, foot)
    canvas.blob(name, x, foot - 0.88 * size, 0.1 * size)


def _lit(image: Image.Image, rng: np.random.Generator) -> Pixels:
    """What a camera adds: a soft focus, surfaces with a grain, light that falls off to one side, noise."""
    x = np.asarray(image.filter(ImageFilter.GaussianBlur(0.7)), np.float64)
    for cell in (4, 16):
        x = x + 8 * _grain(x.shape[:2], cell, rng)[:, :, None]
    light = rng.uniform(0.75, 1.1) + rng.uniform(-0.2, 0.2) * np.linspace(-1, 1, x.shape[1])[None, :, None]
    out: Pixels = np.clip(x * light + rng.normal(0, 2, x.shape), 0, 255).astype(np.uint8)
    return out


def _grain(size: tuple[int, int], cell: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Smooth noise whose spots are `cell` pixels wide."""
    height, width = size
    coarse = rng.normal(0, 1, (height // cell + 2, width // cell + 2)).astype(np.float32)
    return np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BILINEAR))
