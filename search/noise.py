"""Noise of repeated runs."""

import math
from collections.abc import Iterable, Sequence

import numpy as np


def pooled_sd(groups: Iterable[Sequence[float]]) -> tuple[float, int] | None:
    """Standard deviation of one run, pooled over groups of repeats, and its degrees of freedom; None of no repeat.

    >>> pooled_sd([[1.0, 3.0], [7.0], [4.0, 4.0]])
    (1.0, 2)
    """
    repeats = [np.asarray(group) for group in groups if len(group) > 1]
    freedom = sum(len(group) - 1 for group in repeats)
    if not freedom:
        return None
    return math.sqrt(sum(float(((group - group.mean()) ** 2).sum()) for group in repeats) / freedom), freedom
