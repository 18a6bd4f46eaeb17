"""Expected hypervolume improvement where one objective is uncertain and the others are known.

A candidate with known objectives z and mIOU Y adds, for every point u of the known objectives beyond z, what
Y is above the best mIOU L(u) that the front reaches at u. The expectation is the integral of
E[(Y - L(u))+] over u, which is a finite sum: L is constant on the cells between the coordinates of the
front's members (Emmerich, Deutz and Klinkenberg, CEC 2011, for the general case).
"""

from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from zoo.statistics import expected_excess

Floats = NDArray[np.float64]

MAX_CELLS = 4096
"""Cells of the grid; a front with more is laid on a coarser one."""

CHUNK = 4096


@dataclass(frozen=True)
class Surface:
    """The best mIOU that a front reaches everywhere, as a grid over the known objectives.

    lines: coordinates of the grid, one array an axis. levels: the distinct mIOU, ascending, the reference first.
    areas: for each level, the volume where it is reached of all that lies beyond each crossing of the lines.
    """

    lines: tuple[Floats, ...]
    levels: Floats
    areas: Floats

    def improvement(self, mean: Floats, sd: Floats, known: Floats) -> Floats:
        """Expected improvement of candidates: mIOU is Normal(mean, sd), (N,); known (N, axes)."""
        parts = [
            self._improvement(mean[s : s + CHUNK], sd[s : s + CHUNK], known[s : s + CHUNK])
            for s in range(0, len(mean), CHUNK)
        ]
        return np.concatenate([*parts, np.empty(0)])

    def _improvement(self, mean: Floats, sd: Floats, known: Floats) -> Floats:
        gain = sd * expected_excess((mean - self.levels[:, None]) / sd)
        cells, shares = zip(*(_place(line, known[:, k]) for k, line in enumerate(self.lines)), strict=True)
        out = np.zeros(len(mean))
        for corner in product((0, 1), repeat=len(self.lines)):
            weight = np.prod([s if c else 1 - s for c, s in zip(corner, shares, strict=True)], axis=0)
            beyond = (slice(None), *(cell + c for cell, c in zip(cells, corner, strict=True)))
            out += weight * (gain * self.areas[beyond]).sum(axis=0)
        return out


def surface(miou: Floats, known: Floats, reference: tuple[float, Floats], best: Floats) -> Surface:
    """The surface of a front: mIOU (n,), the higher the better, and known objectives (n, axes), to be minimised.

    reference: the mIOU and the known objectives from which on a candidate counts. best: the lowest value of
    each known objective.
    """
    floor, worst = reference
    counts = np.flatnonzero((miou > floor) & (known < worst).all(axis=1))
    miou, known = miou[counts], known[counts]
    limit = max(2, int(MAX_CELLS ** (1 / max(1, known.shape[1]))))
    lines = tuple(_lines(known[:, k], best[k], worst[k], limit) for k in range(known.shape[1]))
    shape = tuple(len(line) - 1 for line in lines)
    level = np.zeros(shape, dtype=np.int64)
    levels = np.unique(np.append(miou, floor))
    starts = [np.searchsorted(line, known[:, k]) for k, line in enumerate(lines)]
    for i in np.argsort(miou, kind="stable"):
        level[tuple(slice(int(s[i]), None) for s in starts)] = np.searchsorted(levels, miou[i])
    present, where = np.unique(level, return_inverse=True)
    volume = np.ones(shape)
    for k, line in enumerate(lines):
        volume = volume * np.diff(line).reshape([-1 if i == k else 1 for i in range(len(lines))])
    areas = np.zeros((len(present), *shape))
    areas.reshape(len(present), -1)[where.ravel(), np.arange(volume.size)] = volume.ravel()
    for k in range(1, areas.ndim):
        areas = np.flip(np.flip(areas, k).cumsum(axis=k), k)
    return Surface(lines, levels[present], np.pad(areas, [(0, 0)] + [(0, 1)] * len(lines)))


def _lines(values: Floats, best: float, worst: float, limit: int) -> Floats:
    lines = np.unique(np.concatenate([values, [min(best, worst), worst]]))
    if len(lines) > limit:
        lines = lines[np.unique(np.linspace(0, len(lines) - 1, limit).round().astype(int))]
    return lines if len(lines) > 1 else np.array([worst, worst + 1e-12])


def _place(line: Floats, values: Floats) -> tuple[NDArray[np.int64], Floats]:
    """Cell of each value and how far it lies into it, from 0 to 1; beyond the last line nothing is left."""
    cell = np.clip(np.searchsorted(line, values, side="right") - 1, 0, len(line) - 2)
    return cell, np.clip((values - line[cell]) / (line[cell + 1] - line[cell]), 0.0, 1.0)
