"""Successive halving over the non-dominated rank: which trials continue.

After each of a few epochs, a trial is compared with all that came as far, by their mIOU then and the
objectives that are known; it goes on while fewer than a share of them are of a better rank (asynchronous
successive halving, Li et al., MLSys 2020, with the rank of Deb et al., 2002, as the score).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from search.pareto import nondominated
from zoo.errors import ConfigError

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Halving:
    """At each epoch of `rungs`, the best `keep` of the trials that reached it train on; fewer than `peers` all do."""

    rungs: tuple[int, ...] = ()
    keep: float = 0.5
    peers: int = 4

    def __post_init__(self) -> None:
        if not 0 < self.keep <= 1 or self.peers < 2 or any(rung < 1 for rung in self.rungs):
            raise ConfigError(
                f"halving: rungs {self.rungs}, keep {self.keep}, peers {self.peers}: rungs count from 1, "
                "keep is above 0 and up to 1, peers at least 2"
            )

    def goes_on(self, points: Floats, own: int) -> bool:
        """Whether the trial `own` among `points` (n, objectives), all to be minimised, trains on."""
        if len(points) < self.peers:
            return True
        rank = ranks(points)
        return bool((rank < rank[own]).sum() < self.keep * len(points))


def rungs(epochs: int) -> tuple[int, ...]:
    """A quarter and a half of the epochs.

    >>> rungs(12), rungs(2), rungs(1)
    ((3, 6), (1,), ())
    """
    return tuple(sorted({rung for rung in (epochs // 4, epochs // 2) if 1 <= rung < epochs}))


def ranks(points: Floats) -> NDArray[np.int64]:
    """Non-dominated rank of each row, 0 for the front, 1 for the front of the rest, and so on.

    >>> ranks(np.array([[1.0, 1.0], [2.0, 2.0], [0.0, 3.0], [3.0, 3.0]])).tolist()
    [0, 1, 0, 2]
    """
    out = np.full(len(points), -1)
    rank = 0
    while (out < 0).any():
        left = np.flatnonzero(out < 0)
        out[left[nondominated(points[left])]] = rank
        rank += 1
    return out
