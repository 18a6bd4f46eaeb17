"""How mIOU changes with the size of the image that a network is trained and run at.

    points(x, size) = points(x, 1024x512) - b(x) d        d = log2(sqrt(1024 * 512) / sqrt(height * width))

d counts the halvings of the image's side. The loss b(x) of a halving is read from networks that were published at
two sizes: ESPNetv2 on Cityscapes (1024x512 and 512x256) and on PASCAL VOC (384x384 and 256x256), all of them weights
trained at the size that they are used at. Their mean is that of the figures on Cityscapes. What it is off by has
three parts: what networks of one data set differ by, each network's own; what is shared by all networks of a family
of which no figure at two sizes is known (an assumption, `FAMILY_SD`); and beyond the evidence, above 1024x512 or
below 512x256, an error that grows with the distance (an assumption, `BEYOND_SD`). Above 1024x512 the mean stays
what it is at 1024x512: no figure says what more pixels gain. Of the image's aspect nothing is known either.
"""

from collections import defaultdict
from dataclasses import dataclass
from functools import cache
from math import log2, sqrt
from statistics import fmean

from search.accuracy.linear import Shift, points
from zoo.published import figures

PUBLISHED_SIZE = (512, 1024)
"""(height, width) of the published Cityscapes figures of both families."""

MEASURED_FAMILY = "espnetv2"
"""The family with figures at two sizes."""

FAMILY_SD = 3.0
"""Assumed standard deviation of another family's loss of a halving about ESPNetv2's, in points."""

BEYOND_SD = 4.0
"""Assumed standard deviation of what a halving or doubling beyond the evidence adds, in points."""


@dataclass(frozen=True, slots=True)
class Halving:
    """Loss of mIOU in points when the image's side is halved: its mean on Cityscapes, and standard deviations.

    mean_sd: of the mean. own_sd: of one network about the mean of its data set. networks: that the mean is of.
    """

    mean: float
    mean_sd: float
    own_sd: float
    networks: int


def halvings(size: tuple[int, int]) -> float:
    """Halvings of the image's side from the published size; negative for a larger image.

    >>> halvings((256, 512)), halvings((1024, 2048))
    (1.0, -1.0)
    """
    height, width = size
    return log2(sqrt(PUBLISHED_SIZE[0] * PUBLISHED_SIZE[1] / (height * width)))


@cache
def halving() -> Halving:
    """The loss of a halving, from all networks that were published on one data set at two sizes.

    >>> found = halving()
    >>> found.networks, round(found.mean, 1)
    (3, 8.1)
    """
    at: dict[tuple[str, str], dict[tuple[int, int], float]] = defaultdict(dict)
    for figure in figures():
        if figure.network == "ESPNetv2" and figure.metric == "miou" and figure.split == "val" and figure.size:
            at[str(figure.dataset), str(figure.model)][figure.size] = figure.value
    losses: dict[str, list[float]] = defaultdict(list)
    for (dataset, _), by_size in at.items():
        if len(by_size) == 2:
            (small, low), (large, high) = sorted(by_size.items())
            losses[dataset].append(float(points(high) - points(low)) / (halvings(small) - halvings(large)))
    squares = sum((loss - fmean(own)) ** 2 for own in losses.values() for loss in own)
    count = sum(map(len, losses.values()))
    own_sd = sqrt(squares / (count - len(losses)))
    cityscapes = losses["cityscapes"]
    return Halving(fmean(cityscapes), own_sd / sqrt(len(cityscapes)), own_sd, len(cityscapes))


def shift_at(family: str, size: tuple[int, int]) -> Shift:
    """What a size (height, width) adds to the mIOU of a family's networks as predicted at the published size.

    >>> shift_at("espnet", (512, 1024)).mean
    0.0
    >>> effect = shift_at("espnetv2", (256, 512))
    >>> round(effect.mean, 1), effect.assumed, shift_at("espnet", (256, 512)).assumed
    (-8.1, False, True)
    """
    if size == PUBLISHED_SIZE:
        return Shift()
    per_halving, distance = halving(), halvings(size)
    smaller = max(distance, 0.0)
    beyond = max(distance - 1, -distance, 0.0)
    foreign = 0.0 if family == MEASURED_FAMILY else FAMILY_SD * smaller
    shared = sqrt((per_halving.mean_sd * smaller) ** 2 + foreign**2 + (BEYOND_SD * beyond) ** 2)
    assumed = family != MEASURED_FAMILY or beyond > 0
    return Shift(
        -per_halving.mean * smaller, shared, per_halving.own_sd * smaller, _source(size, distance, per_halving), assumed
    )


def _source(size: tuple[int, int], distance: float, per_halving: Halving) -> str:
    height, width = size
    if distance <= 0:
        return f"at {width}x{height} as at 1024x512, since no figure says what more pixels gain"
    return (
        f"at {width}x{height} less {per_halving.mean * distance:.1f} points, "
        f"as {per_halving.networks} ESPNetv2 lost from 1024x512 to 512x256"
    )
