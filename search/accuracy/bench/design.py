"""Design of the bench: a sample of specs that spreads over the space, chosen by rule."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from search.space import SearchSpace
from zoo.bulk.choices import Choices
from zoo.models.espnet import ESPNetSpec
from zoo.registry import lower

CHOICES = Choices(
    "espnet",
    {
        "variant": ("A", "B", "C", "ESPNet"),
        "image_path": ("none", "reinforcement"),
        "k": (2, 3, 4, 5, 6, 7, 8),
        "alpha2": (1, 2, 3, 4, 5),
        "alpha3": (1, 2, 3, 4, 5, 6, 7, 8, 10, 12),
        "widths": (
            (8, 32, 64), (8, 48, 96), (16, 32, 64), (16, 32, 128), (16, 48, 96), (16, 64, 128), (16, 64, 192),
            (16, 96, 128), (16, 128, 256), (24, 64, 128), (24, 96, 192), (32, 64, 128),
        ),
        "hff": (True, False),
        "block": ("esp", "mobilenet", "inception", "resnext"),
        "activation": ("prelu", "relu"),
        "reduce": ("pointwise", "3x3"),
    },
)  # fmt: skip
"""What varies. The search's own space has neither `hff` nor `block`."""

SIZE = (512, 1024)
MAX_MACS = 6.0e9
"""At 1024x512: 1.3 times ESPNet's with alpha3 = 8, so that no run takes longer than the others together."""

POOL, SPECS, REPEATED, SEED = 2000, 30, 8, 2026

ANCHORS = (
    ESPNetSpec(variant="ESPNet", alpha3=8),
    ESPNetSpec(variant="C", alpha3=8),
    ESPNetSpec(variant="ESPNet", alpha3=3),
    ESPNetSpec(variant="C", alpha3=3),
)
"""The networks that ship with weights trained for long: they say how well short runs rank long ones."""

SCALES = {"variant": 1.0, "image_path": 0.3, "hff": 0.4, "block": 0.5, "activation": 0.25, "reduce": 0.3}
"""How far apart two specs are that differ in one such choice, against the whole range of a number."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One run of the design."""

    spec: ESPNetSpec
    seed: int


def position(spec: ESPNetSpec) -> list[float]:
    """A spec's place, in units of each field's range; depths, widths and MACs by their logarithm."""
    macs = lower(spec, SIZE).macs
    place = [(spec.k - 2) / 6, math.log2(spec.alpha2) / 2.33, math.log2(spec.alpha3) / 3.6]
    place += [math.log2(width / low) / 2 for width, low in zip(spec.widths, (8, 32, 64), strict=True)]
    place.append(math.log(macs / 4e8) / math.log(MAX_MACS / 4e8))
    for name, scale in SCALES.items():
        values = CHOICES.values[name]
        place += [scale / math.sqrt(2) * (getattr(spec, name) == value) for value in values]
    return place


def pool() -> list[ESPNetSpec]:
    """Random valid specs within the limit on MACs: half of them of ESP units, the others shared by the other blocks."""
    space = SearchSpace(CHOICES, SIZE)
    blocks = CHOICES.values["block"]
    by_block: dict[str, list[ESPNetSpec]] = {str(block): [] for block in blocks}
    share = {block: POOL // 2 if block == "esp" else POOL // 2 // (len(blocks) - 1) for block in by_block}
    for row in space.sample(np.random.default_rng(SEED), 20 * POOL):
        spec = space.spec(int(row))
        assert isinstance(spec, ESPNetSpec)
        if len(by_block[spec.block]) < share[spec.block] and lower(spec, SIZE).macs <= MAX_MACS:
            by_block[spec.block].append(spec)
    return [spec for specs in by_block.values() for spec in specs]


def support(places: NDArray[np.float64], start: int, count: int) -> list[int]:
    """Indices of `count` rows that together stand for all: the first `start` ones, then one at a time.

    Each is the row that lowers the energy distance between the chosen ones and all most (support points:
    Mak, Joseph, Annals of Statistics 46(6A), 2018, one at a time): near the others, far from those taken.
    """
    distances = np.linalg.norm(places[:, None] - places[None], axis=2)
    typical = distances.mean(axis=1)
    chosen = list(range(start))
    while len(chosen) < count:
        gain = typical - distances[:, chosen].sum(axis=1) / (len(chosen) + 1)
        gain[chosen] = np.inf
        chosen.append(int(np.argmin(gain)))
    return chosen


def design() -> tuple[Entry, ...]:
    """The runs in their order: the anchors, then the support points, some of them with a second seed in between."""
    specs = [*ANCHORS, *pool()]
    chosen = support(np.array([position(spec) for spec in specs]), len(ANCHORS), SPECS)
    return tuple(with_repeats([specs[i] for i in chosen]))


def with_repeats(specs: Sequence[ESPNetSpec]) -> Iterator[Entry]:
    """A run for each spec, and for some spread over the whole a second one behind the first."""
    every = len(specs) // REPEATED
    for i, spec in enumerate(specs):
        yield Entry(spec, 0)
        if i % every == 0 and i // every < REPEATED:
            yield Entry(spec, 1)
