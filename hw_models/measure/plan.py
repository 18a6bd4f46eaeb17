"""Sampling plan of a search space: the blocks to time, so that none is far from a timed one, and some networks.

The blocks of a space are more than one wants to wait for, and a network at another size has others. So a
subset is timed, and the rest is interpolated (`hw_models.measured.block_model`).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import prod, sqrt
from typing import TypeVar

import numpy as np

from hw_models.measured.block_features import features
from hw_models.measured.block_model import farthest
from hw_models.measured.blocks import KINDS, Block, blocks, distinct, renamed
from zoo.bulk.choices import Choices
from zoo.errors import SpecError, ZooError
from zoo.graph import GraphBuilder, Shape
from zoo.registry import family, lower
from zoo.specs import Spec

SIZES = ((128, 256), (256, 512), (512, 1024))
"""Image sizes (height, width) at which blocks are timed; a network at a size between them is interpolated."""
COUNT = 280
"""Blocks that are timed, by default."""
SIMPLE = 0.4
"""Largest part of them that are no units: they are quick to time, and few."""
NETWORKS = 20
"""Whole networks that are timed."""
SAMPLED = 600
"""Specs from which the blocks of a space are gathered."""
LEAST_OF_KIND = 12


_Item = TypeVar("_Item")


@dataclass(frozen=True)
class Plan:
    """What is timed: blocks, whole networks with their sizes, and the block by which drift is seen."""

    blocks: tuple[Block, ...]
    networks: tuple[tuple[Spec, tuple[int, int]], ...]
    reference: Block
    call: Block


def plan(
    choices: Choices,
    sizes: Sequence[tuple[int, int]] = SIZES,
    count: int = COUNT,
    *,
    networks: int | None = None,
    seed: int = 0,
) -> Plan:
    """What to time for a space: the same for the same arguments."""
    specs = sample_specs(choices, SAMPLED, seed, sizes[0])
    candidates = distinct(lower(spec, size).layers for size in sizes for spec in specs if _fits(choices, spec, size))
    chosen = _choose(candidates, count)
    order = np.random.default_rng(seed).permutation(len(chosen))
    whole = whole_networks(choices, sizes, networks or NETWORKS, seed)
    return Plan(tuple(chosen[i] for i in order), whole, _reference(chosen), call_block())


def whole_networks(
    choices: Choices, sizes: Sequence[tuple[int, int]] = SIZES, count: int = NETWORKS, seed: int = 0
) -> tuple[tuple[Spec, tuple[int, int]], ...]:
    """The networks of a space that are timed whole, with their sizes."""
    at = between(sizes)
    specs = enumerate(sample_specs(choices, count, seed + 1, sizes[0]))
    return tuple((spec, at[i % len(at)]) for i, spec in specs if _fits(choices, spec, at[i % len(at)]))


def between(sizes: Sequence[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    """The sizes, and one between each and the next larger: there, whole networks' blocks are interpolated.

    >>> between([(128, 256), (512, 1024)])
    ((128, 256), (256, 512), (512, 1024))
    """
    ordered = sorted(set(sizes), key=prod)
    middle = [(_middle(a[0], b[0]), _middle(a[1], b[1])) for a, b in pairwise(ordered)]
    return tuple(sorted({*ordered, *middle}, key=lambda size: (prod(size), size)))


def _middle(a: int, b: int) -> int:
    """About the geometric mean, and a multiple of 8 as most networks ask."""
    return max(8, 8 * round(sqrt(a * b) / 8))


def sample_specs(choices: Choices, count: int, seed: int, size: tuple[int, int] = SIZES[0]) -> list[Spec]:
    """Valid specs of a space, drawn uniformly; the same for the same seed. Raises ZooError where there are none."""
    rng, kind = np.random.default_rng(seed), family(choices.family)
    specs: list[Spec] = []
    for _ in range(100 * count):
        codes = choices.codes(np.array([int(rng.integers(choices.size))]))
        try:
            spec = kind.spec(**choices.spec_values({name: int(column[0]) for name, column in codes.items()}))
        except SpecError:
            continue
        if kind.check_size(spec, *size) is None:
            specs.append(spec)
        if len(specs) == count:
            return specs
    if not specs:
        raise ZooError(f"the space of {choices.family} has no valid spec at {size[1]}x{size[0]}; choose another --size")
    return specs


def _fits(choices: Choices, spec: Spec, size: tuple[int, int]) -> bool:
    return family(choices.family).check_size(spec, *size) is None


def _choose(candidates: Iterable[Block], count: int) -> list[Block]:
    """At most `count` blocks, spread over those known: of each simple kind as many as it has among them."""
    by_kind: dict[str, list[Block]] = {kind: [] for kind in KINDS}
    for block in candidates:
        by_kind[block.kind].append(block)
    simple = {kind: kind_blocks for kind, kind_blocks in by_kind.items() if kind != "unit" and kind_blocks}
    total = sum(map(len, simple.values()))
    room = min(total, round(SIMPLE * count))
    chosen = []
    for kind_blocks in simple.values():
        # Few of a kind are all timed, for nothing near would stand in for them.
        chosen += farthest(
            kind_blocks, max(round(room * len(kind_blocks) / total), min(len(kind_blocks), LEAST_OF_KIND))
        )
    chosen += farthest(by_kind["unit"], max(count - len(chosen), 1))
    return chosen + _uncovered(by_kind, chosen)


def _uncovered(by_kind: Mapping[str, Sequence[Block]], chosen: Sequence[Block]) -> list[Block]:
    """The smallest block of each way of computing that none of the chosen has, so that nothing stays unknown."""
    counts = {block: features(block) > 0 for blocks in by_kind.values() for block in blocks}
    covered = np.any([counts[block] for block in chosen], axis=0)
    added: list[Block] = []
    for block in sorted(counts, key=lambda block: (block.macs, block.text)):
        if (counts[block] & ~covered).any():
            added.append(block)
            covered |= counts[block]
    return added


def _reference(blocks: Sequence[Block]) -> Block:
    ordered = sorted(blocks, key=lambda block: (block.macs, block.text))
    return ordered[len(ordered) // 2]


def call_block() -> Block:
    """A block of next to no work, whose time is that of the call."""
    g = GraphBuilder()
    g.act(g.input("x", Shape(1, 1, 1)), "y", "relu")
    return renamed(g.layers)


REFERENCE_SHARE = 0.1
"""Visits to the reference block, for each other visit."""
PILOTS, PILOT_NETWORKS = 9, 3
"""Blocks and networks that are visited to learn how long a visit takes."""

Visit = tuple[float, float]
"""Work of what was visited, and the seconds that the visit took with all its preparation."""


def pilots(todo: Plan) -> tuple[list[Block], list[tuple[Spec, tuple[int, int]]]]:
    """Blocks and networks from the least work to the most, whose visits tell how long all of them take."""
    blocks = sorted(todo.blocks, key=lambda block: (block_work(block), block.text))
    networks = sorted(todo.networks, key=lambda network: network_work(*network))
    return _spread(blocks, PILOTS), _spread(networks, PILOT_NETWORKS)


def _spread(ordered: Sequence[_Item], count: int) -> list[_Item]:
    if not ordered:
        return []
    return [ordered[place] for place in np.unique(np.linspace(0, len(ordered) - 1, count).round().astype(int))]


def seconds_of(
    todo: Plan,
    blocks: Sequence[Visit],
    networks: Sequence[Visit],
    block_visits: Sequence[float],
    network_visits: Sequence[float],
) -> float:
    """A guess of what measuring takes, from visits to some blocks and networks: between them, along their work.

    block_visits, network_visits: how many each block and network of the plan still gets, two on a quiet machine and
    up to four on a restless one.
    """
    seconds = _seconds([block_work(block) for block in todo.blocks], blocks, block_visits)
    seconds += _seconds([network_work(*network) for network in todo.networks], networks, network_visits)
    return (1 + REFERENCE_SHARE) * seconds


def _seconds(works: Sequence[float], visits: Sequence[Visit], counts: Sequence[float]) -> float:
    if not works or not visits:
        return 0.0
    known_works, seconds = np.array(sorted(visits)).T
    return float(np.interp(works, known_works, seconds) @ np.asarray(counts))


def block_work(block: Block) -> float:
    """What a visit to a block costs, in arbitrary units."""
    return block.copies * _work(block)


def network_work(spec: Spec, size: tuple[int, int]) -> float:
    """The same of a network."""
    return sum(_work(block) for _, block in blocks(lower(spec, size).layers))


def _work(block: Block) -> float:
    return block.macs + float(features(block).sum())
