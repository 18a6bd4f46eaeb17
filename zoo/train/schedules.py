"""Learning rates as functions of the epoch."""

from bisect import bisect_right
from collections.abc import Sequence

from zoo.errors import ZooError

HALVED_AT = (51, 101, 131, 161, 191, 221, 251, 281)
"""Epochs, counted from 1, from which ESPNetv2's learning rate is halved once more."""


def cyclic(
    epoch: int,
    *,
    lr_max: float = 0.5,
    lr_min: float = 0.1,
    period: int = 5,
    halved_at: Sequence[int] = HALVED_AT,
) -> float:
    """Learning rate with warm restarts that ESPNetv2's classifiers were trained with, 300 epochs long.

    Mehta et al., CVPR 2019, arXiv:1811.11431, section 4.1: lr_max - (t mod period) * lr_min in the epoch
    t = 0, 1, …, both rates being halved at each of `halved_at`, where epochs count from 1 as in the paper.
    `epoch` counts from 0, so that a halving falls on the beginning of a cycle.
    Raises ZooError for a negative epoch, and where a cycle would not stay above 0.

    >>> [round(cyclic(t), 3) for t in range(6)]
    [0.5, 0.4, 0.3, 0.2, 0.1, 0.5]
    >>> cyclic(45), cyclic(50)
    (0.5, 0.25)
    """
    if epoch < 0:
        raise ZooError(f"epoch must be at least 0, but is {epoch}")
    if period < 1 or lr_max - (period - 1) * lr_min <= 0:
        raise ZooError(
            f"a cycle of {period} epochs from {lr_max} in steps of {lr_min} must end above 0; shorten it or its steps"
        )
    halvings = bisect_right(sorted(halved_at), epoch + 1)
    return float((lr_max - epoch % period * lr_min) * 0.5**halvings)
