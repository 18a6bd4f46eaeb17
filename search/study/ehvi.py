"""Expected hypervolume improvement (EHVI) where one objective is uncertain and the others are known.

mIOU is maximised, the known objectives z = (z_1, …, z_m) are minimised. Seen from a reference point (floor, worst), a
front reaches at a point u of the known objectives the mIOU

    L(u) = max(floor, max {miou_i : known_i <= u}),

a step function with levels l_1 < … < l_n. A candidate at z with mIOU Y adds the height (Y - L(u))+ above every u
between z and worst. The expectation of what it adds is a finite sum, because L is constant on each level:

    EHVI(z) = ∫ E[(Y - L(u))+] du = Σ_j E[(Y - l_j)+] · A_j(z),    A_j(z) = volume of {u : z <= u <= worst, L(u) = l_j}

For Y ~ Normal(μ, σ²), with t = (μ - l) / σ, E[(Y - l)+] = σ (φ(t) + t Φ(t)) is the expected improvement over l (Jones,
Schonlau and Welch, Journal of Global Optimization 13, 1998, section 4.1). Emmerich, Deutz and Klinkenberg (CEC 2011)
have the general case of EHVI, where every objective is uncertain.

A front of one member with mIOU 60 at cost 2, seen from (50, 4); a candidate that surely has mIOU 70 at cost 1 adds
70 - 50 between the costs 1 and 2, and 70 - 60 between 2 and 4:

    mIOU
     70 |    +-----------+
        |    |///////////|
     60 |    |////+------+      20 · 1 + 10 · 2 = 40
        |    |////|
     50 +----+----+------+
        0    1    2      4  cost

>>> front = surface(np.array([60.0]), np.array([[2.0]]), (50.0, np.array([4.0])), np.array([0.0]))
>>> front.levels.tolist(), front.improvement(np.array([70.0]), np.array([1e-6]), np.array([[1.0]])).round(3).tolist()
([50.0, 60.0], [40.0])
"""

from dataclasses import dataclass
from functools import reduce
from itertools import product

import numpy as np
from numpy.typing import NDArray

from zoo.bulk.choices import Ints
from zoo.statistics import expected_excess

Floats = NDArray[np.float64]

MAX_CELLS = 4096
"""Cells of the grid; a front with more is laid on a coarser one."""

CHUNK = 4096
"""Candidates computed at once."""


@dataclass(frozen=True)
class Surface:
    """The step function L of a front.

    lines: coordinates of the members, which cut the known objectives into cells, one array an axis. levels: l_j, (n,).
    areas: A_j at every crossing of the lines, (n, lines of axis 1, …, lines of axis m).
    """

    lines: tuple[Floats, ...]
    levels: Floats
    areas: Floats

    def improvement(self, mean: Floats, sd: Floats, costs: Floats) -> Floats:
        """EHVI of candidates, (N,): mIOU is Normal(mean, sd²), (N,); known (N, axes)."""
        parts = [
            self._improvement(mean[s : s + CHUNK], sd[s : s + CHUNK], costs[s : s + CHUNK])
            for s in range(0, len(mean), CHUNK)
        ]
        return np.concatenate([*parts, np.empty(0)])

    def _improvement(self, mean: Floats, sd: Floats, costs: Floats) -> Floats:
        """Within a cell A_j(z) is linear in each z_k, so that it is interpolated exactly from the cell's corners."""
        excess = sd * expected_excess((mean - self.levels[:, None]) / sd)  # E[(Y - l_j)+], (n, N)
        cells, shares = zip(*(_place(line, costs[:, k]) for k, line in enumerate(self.lines)), strict=True)
        ehvi = np.zeros(len(mean))
        for corner in product((0, 1), repeat=len(self.lines)):
            weight = np.prod([s if c else 1 - s for c, s in zip(corner, shares, strict=True)], axis=0)
            crossing = (slice(None), *(cell + c for cell, c in zip(cells, corner, strict=True)))
            ehvi += weight * (excess * self.areas[crossing]).sum(axis=0)
        return ehvi


def surface(miou: Floats, costs: Floats, reference: tuple[float, Floats], best: Floats) -> Surface:
    """The surface of a front: mIOU (n,), the higher the better, and known objectives (n, axes), to be minimised.

    reference: floor and worst, from which on a candidate counts. best: the lowest value of each known objective.
    """
    floor, worst = reference
    members = (miou > floor) & (costs < worst).all(axis=1)
    miou, costs = miou[members], costs[members]
    axes = range(costs.shape[1])
    limit = max(2, int(MAX_CELLS ** (1 / max(1, len(axes)))))
    lines = tuple(_lines(costs[:, k], best[k], worst[k], limit) for k in axes)
    levels, level_of_cell = _steps(miou, costs, floor, lines)
    return Surface(lines, levels, _areas(level_of_cell, len(levels), lines))


def _steps(miou: Floats, costs: Floats, floor: float, lines: tuple[Floats, ...]) -> tuple[Floats, Ints]:
    """The levels of L, ascending, and which of them it has on each cell: the higher mIOU overwrite the lower."""
    candidates = np.unique(np.append(miou, floor))
    cells = np.zeros([len(line) - 1 for line in lines], dtype=np.int64)
    first_cell = [np.searchsorted(line, costs[:, k]) for k, line in enumerate(lines)]
    for i in np.argsort(miou, kind="stable"):
        cells[tuple(slice(int(first[i]), None) for first in first_cell)] = np.searchsorted(candidates, miou[i])
    reached, level_of_cell = np.unique(cells, return_inverse=True)
    return candidates[reached], level_of_cell.reshape(cells.shape)


def _areas(level_of_cell: Ints, count: int, lines: tuple[Floats, ...]) -> Floats:
    """A_j at every crossing: the volumes of the cells of level j, summed over all that lie beyond it."""
    volume = reduce(np.multiply.outer, [np.diff(line) for line in lines])
    areas = np.zeros((count, volume.size))
    areas[level_of_cell.ravel(), np.arange(volume.size)] = volume.ravel()
    areas = areas.reshape(count, *volume.shape)
    for k in range(1, areas.ndim):
        areas = np.flip(np.flip(areas, k).cumsum(axis=k), k)
    return np.pad(areas, [(0, 0)] + [(0, 1)] * len(lines))


def _lines(values: Floats, best: float, worst: float, limit: int) -> Floats:
    """Coordinates of cells along an axis, at most `limit`, from the best to the worst."""
    lines = np.unique(np.concatenate([values, [min(best, worst), worst]]))
    if len(lines) > limit:
        lines = lines[np.unique(np.linspace(0, len(lines) - 1, limit).round().astype(int))]
    return lines if len(lines) > 1 else np.array([worst, worst + 1e-12])


def _place(line: Floats, values: Floats) -> tuple[Ints, Floats]:
    """Cell of each value and how far it lies into it, from 0 to 1; beyond the last line nothing is left."""
    cell = np.clip(np.searchsorted(line, values, side="right") - 1, 0, len(line) - 2)
    return cell, np.clip((values - line[cell]) / (line[cell + 1] - line[cell]), 0.0, 1.0)
