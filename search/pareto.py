"""Pareto dominance: the non-dominated points of a set."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
BLOCK = 2048
FEW = 64
"""Members of a front that a block is compared with first."""


ROUNDING = 1e-9
"""Relative difference that two ways of adding the same numbers up may make."""


def levels(points: Floats, tolerance: float = ROUNDING) -> Floats:
    """Every column of `points` (n, objectives) as ranks, equal for values that differ by rounding only.

    Neighbours in ascending order that differ by at most `tolerance`, relative to the larger, share a rank.

    >>> levels(np.array([[1.0], [3.0], [1.0 + 1e-12], [2.0]])).ravel().tolist()
    [0.0, 2.0, 0.0, 1.0]
    """
    out = np.empty_like(points, dtype=np.float64)
    for axis, column in enumerate(points.T):
        order = np.argsort(column, kind="stable")
        ranked = column[order]
        rises = np.diff(ranked) > tolerance * np.maximum(np.abs(ranked[1:]), np.abs(ranked[:-1]))
        out[order, axis] = np.concatenate([[0], np.cumsum(rises)])
    return out


def nondominated(points: Floats) -> NDArray[np.bool_]:
    """Which rows of `points` (n, objectives), all to be minimised, no other row dominates.

    A row dominates another if it is nowhere worse and somewhere better. Equal rows do not dominate each
    other: either all of them are in the front, or none.

    >>> nondominated(np.array([[1.0, 2.0], [2.0, 1.0], [2.0, 2.0], [1.0, 2.0]])).tolist()
    [True, True, False, True]
    """
    count = len(points)
    # In lexicographic order nobody is dominated by a later row, so one pass against the front so far is enough.
    order = np.lexsort(points.T[::-1])
    ranked = points[order]
    keep = np.zeros(count, dtype=bool)
    front = np.empty((0, points.shape[1]))
    for start in range(0, count, BLOCK):
        block = ranked[start : start + BLOCK]
        # A few of the front beat most of a block, the whole front nearly all; what is left is compared with itself.
        alive = np.flatnonzero(~dominated_by(block, front[:: 1 + len(front) // FEW]))
        alive = alive[~dominated_by(block[alive], front)]
        alive = alive[~dominated_by(block[alive], block[alive])]
        keep[order[start + alive]] = True
        front = np.concatenate([front, block[alive]])
    return keep


def dominated_by(points: Floats, others: Floats) -> NDArray[np.bool_]:
    """Which rows of `points` some row of `others` dominates."""
    out = np.zeros(len(points), dtype=bool)
    if not len(others):
        return out
    step = max(1, (1 << 22) // len(others))
    for start in range(0, len(points), step):
        part = points[start : start + step]
        no_worse = np.ones((len(part), len(others)), dtype=bool)
        better = np.zeros_like(no_worse)
        for axis in range(points.shape[1]):
            no_worse &= others[:, axis] <= part[:, axis, None]
            better |= others[:, axis] < part[:, axis, None]
        out[start : start + step] = (no_worse & better).any(axis=1)
    return out
