"""Places names beside points in a matplotlib panel without overlaps."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from math import hypot

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.path import Path
from matplotlib.patheffects import withStroke
from matplotlib.transforms import Bbox

Name = tuple[str, float, float]
"""Text, and the point in data units that it belongs to."""

FONT_SIZE = 7.5
PADDING = 2.0
"""Points of free space around a name."""
MARK = 7.0
"""Points across of a mark that names keep off."""

REACHES = (7, 12, 18, 26, 36, 48, 62, 80)
DIRECTIONS = (
    *((1, -0.7), (-1, 0.7), (1, 0.7), (-1, -0.7), (1.3, 0), (-1.3, 0)),
    *((0.2, 1.3), (0.2, -1.3), (-0.2, 1.3), (-0.2, -1.3), (1, -1.6), (-1, 1.6)),
)


@dataclass(frozen=True)
class Spot:
    """Where a name may stand, in pixels: its box, and where its leader starts and ends."""

    box: Bbox
    point: tuple[float, float]
    end: tuple[float, float]

    @property
    def leader(self) -> Path:
        """The line from the point to the box."""
        return Path([self.point, self.end])

    @property
    def length(self) -> float:
        """Length of the leader."""
        return hypot(self.end[0] - self.point[0], self.end[1] - self.point[1])


def place(panel: Axes, names: Sequence[Name], marks: Sequence[tuple[float, float]]) -> list[Bbox]:
    """Write names next to their points, off each other, off `marks` and what is written already, inside the panel.

    The layout must be final. Returns the boxes of the names, in pixels, in the order of `names`.
    """
    figure = panel.figure
    assert isinstance(figure, Figure)
    pixels = figure.dpi / 72
    at = [(float(x), float(y)) for x, y in panel.transData.transform([(x, y) for _, x, y in names] or [(0, 0)])]
    mark_points = [(float(x), float(y)) for x, y in panel.transData.transform(list(marks) or [(0, 0)])]
    occupied = [_around(point, MARK * pixels / 2) for point in [*at, *mark_points]]
    occupied += [text.get_window_extent() for text in panel.texts if text.get_visible()]
    placed: dict[int, Spot] = {}
    inside = panel.get_window_extent()
    for i in sorted(range(len(names)), key=lambda i: (len(names[i][0]), i)):
        size = _written(panel, names[i][0], at[i])
        placed[i] = _cheapest(_spots(at[i], size, pixels), occupied, list(placed.values()), inside, pixels)
        occupied.append(placed[i].box.padded(PADDING * pixels))
        _write(panel, names[i], placed[i], pixels)
    return [placed[i].box for i in range(len(names))]


def _written(panel: Axes, text: str, at: tuple[float, float]) -> tuple[float, float]:
    """Width and height of a text, in pixels."""
    probe = panel.text(*at, text, fontsize=FONT_SIZE)
    box = probe.get_window_extent()
    probe.remove()
    return box.width, box.height


def _write(panel: Axes, name: Name, spot: Spot, pixels: float) -> None:
    text, x, y = name
    box, (at_x, at_y), (end_x, end_y) = spot.box, spot.point, spot.end
    panel.annotate(
        text,
        (x, y),
        ((box.x0 - at_x) / pixels, (box.y0 - at_y) / pixels),
        textcoords="offset points",
        fontsize=FONT_SIZE,
        zorder=7,
        path_effects=[withStroke(linewidth=2, foreground="white")],
        arrowprops={
            "arrowstyle": "-",
            "lw": 0.6,
            "color": "0.35",
            "shrinkA": 0,
            "shrinkB": 2.5,
            "patchA": None,
            "relpos": ((end_x - box.x0) / box.width, (end_y - box.y0) / box.height),
        },
    )


def _around(at: tuple[float, float], half: float) -> Bbox:
    return Bbox.from_extents(at[0] - half, at[1] - half, at[0] + half, at[1] + half)


def _spots(point: tuple[float, float], size: tuple[float, float], pixels: float) -> Iterator[Spot]:
    """Where a name of this size may stand."""
    (x, y), (width, height) = point, size
    for reach in REACHES:
        for right, up in DIRECTIONS:
            left = x + right * reach * pixels - (width if right < 0 else 0)
            bottom = y + up * reach * pixels - (height if up < 0 else height / 2 if up == 0 else 0)
            box = Bbox.from_bounds(left, bottom, width, height)
            end = (min(max(x, box.x0), box.x1), min(max(y, box.y0), box.y1))
            yield Spot(box, point, end)


def _cheapest(
    spots: Iterator[Spot], occupied: Sequence[Bbox], names: Sequence[Spot], inside: Bbox, pixels: float
) -> Spot:
    """The first of the cheapest; a spot whose leader alone costs as much as another in all is not looked at."""
    best, least = next(spots), float("inf")
    for spot in chain([best], spots):
        if _way(spot, pixels) < least:
            cost = _cost(spot, occupied, names, inside, pixels)
            best, least = (spot, cost) if cost < least else (best, least)
    return best


def _way(spot: Spot, pixels: float) -> float:
    """What the way from the point costs."""
    return spot.length / pixels / 10


def _cost(spot: Spot, occupied: Sequence[Bbox], names: Sequence[Spot], inside: Bbox, pixels: float) -> float:
    """Overlaps first, then crossings, then the way from the point."""
    box = spot.box
    outside = not (inside.x0 < box.x0 and box.x1 < inside.x1 and inside.y0 < box.y0 and box.y1 < inside.y1)
    crossings = sum(spot.leader.intersects_bbox(name.box, filled=False) for name in names)
    crossings += sum(name.leader.intersects_bbox(box, filled=False) for name in names)
    crossings += sum(spot.leader.intersects_path(name.leader, filled=False) for name in names)
    return 1000.0 * outside + 20.0 * box.count_overlaps(list(occupied)) + 6.0 * crossings + _way(spot, pixels)
