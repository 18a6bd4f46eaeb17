"""Pareto dominance: the non-dominated points of a set."""

from typing import Any

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
    keep = np.zeros(count, dtype=bool)
    places = _places(points)
    # In lexicographic order nobody is dominated by a later row, so one pass against the front so far is enough.
    order = np.lexsort(places.T[::-1])
    ranked = places[order]
    front = ranked[:0]
    for start in range(0, count, BLOCK):
        block = ranked[start : start + BLOCK]
        # A few of the front beat most of a block, the whole front nearly all; what is left is compared with itself.
        alive = np.flatnonzero(~_dominated(block, front[:: 1 + len(front) // FEW]))
        alive = alive[~_dominated(block[alive], front)]
        alive = alive[~_dominated(block[alive], block[alive])]
        keep[order[start + alive]] = True
        front = np.concatenate([front, block[alive]])
    return keep


def dominated_by(points: Floats, others: Floats) -> NDArray[np.bool_]:
    """Which rows of `points` some row of `others` dominates."""
    places = _places(np.concatenate([points, others]))
    return _dominated(places[: len(points)], places[len(points) :])


def _places(points: Floats) -> NDArray[np.integer[Any]]:
    """Every column as ranks of the least integer type, which compare several times faster than floats."""
    columns = [np.unique(column, return_inverse=True)[1].ravel() for column in points.T]
    kind = np.int16 if len(points) < np.iinfo(np.int16).max else np.int32
    return np.ascontiguousarray(np.stack(columns, axis=1).astype(kind))


def _dominated(points: NDArray[np.integer[Any]], others: NDArray[np.integer[Any]]) -> NDArray[np.bool_]:
    """Which rows of `points` some row of `others` dominates: nowhere higher, and lower in the sum of ranks."""
    out = np.zeros(len(points), dtype=bool)
    if not len(others):
        return out
    sums, other_sums = (rows.sum(axis=1, dtype=np.int64) for rows in (points, others))
    columns = np.ascontiguousarray(others.T)
    step = max(1, (1 << 22) // len(others))
    for start in range(0, len(points), step):
        part = points[start : start + step]
        dominates = other_sums < sums[start : start + step, None]
        for axis, column in enumerate(columns):
            dominates &= column <= part[:, axis, None]
        out[start : start + step] = dominates.any(axis=1)
    return out
