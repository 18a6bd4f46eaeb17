"""Rank correlations."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def ranks(values: Sequence[float] | Floats) -> Floats:
    """Ranks from 0, the mean of their places for equal values.

    >>> ranks([10, 30, 20, 20]).tolist()
    [0.0, 3.0, 1.5, 1.5]
    """
    found = np.asarray(values, dtype=float)
    below = (found[None] < found[:, None]).sum(axis=1)
    equal = (found[None] == found[:, None]).sum(axis=1)
    out: Floats = below + (equal - 1) / 2
    return out


def spearman(a: Sequence[float] | Floats, b: Sequence[float] | Floats) -> float | None:
    """Spearman's rank correlation; None below three values and where all of one side are equal.

    >>> spearman([1, 2, 3, 4], [10, 20, 40, 30])
    0.8
    """
    x, y = ranks(a), ranks(b)
    if len(x) < 3 or x.std() == 0 or y.std() == 0:
        return None
    x, y = x - x.mean(), y - y.mean()
    return float(x @ y / np.sqrt((x @ x) * (y @ y)))


def kendall(a: Sequence[float] | Floats, b: Sequence[float] | Floats) -> float | None:
    """Kendall's tau-b: pairs in the same order less pairs in opposite order, as a share of the untied pairs.

    None below two values and where all of one side are equal.

    >>> kendall([1, 2, 3, 4], [10, 20, 40, 30])
    0.6666666666666666
    """
    x, y = (np.sign(np.subtract.outer(np.asarray(v, float), np.asarray(v, float))) for v in (a, b))
    untied = np.sqrt(float((x * x).sum()) * float((y * y).sum()))
    return float((x * y).sum() / untied) if untied else None
