"""Jointly normal errors of many candidates: what they share, and what each has of its own.

Differences of candidates are better known than their levels, because what is shared cancels.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class JointNormal:
    """`mean + loadings @ shared + own * independent[network]`, with standard normal `shared` and `independent`.

    mean (N,), loadings (N, F), own (N,). network (N,): rows of the same network have one independent error.
    """

    mean: Floats
    loadings: Floats
    own: Floats
    network: Ints

    def draw(self, rng: np.random.Generator, count: int) -> Floats:
        """Joint draws, (count, N)."""
        shared = rng.standard_normal((count, self.loadings.shape[1]))
        independent = rng.standard_normal((count, int(self.network.max()) + 1))
        return np.asarray(self.mean + shared @ self.loadings.T + self.own * independent[:, self.network])

    def covariance(self, i: int) -> Floats:
        """Covariance of every row with row `i`, (N,)."""
        same = self.network == self.network[i]
        return np.asarray(self.loadings @ self.loadings[i] + np.where(same, self.own * self.own[i], 0.0))

    @property
    def variance(self) -> Floats:
        """Variance of every row, (N,)."""
        return np.asarray((self.loadings**2).sum(axis=1) + self.own**2)

    def scores(self, i: int) -> Floats:
        """By how many standard deviations of the difference every row is above row `i`, (N,); 0 where nothing differs.

        >>> level = JointNormal(np.array([60.0, 61.0]), np.array([[3.0], [3.0]]), np.array([0.3, 0.4]), np.arange(2))
        >>> level.scores(0).round(9).tolist()
        [0.0, 2.0]
        """
        spread = self.variance + self.variance[i] - 2 * self.covariance(i)
        sd = np.sqrt(np.maximum(spread, 0.0))
        gap = self.mean - self.mean[i]
        return np.where(np.abs(gap) < 1e-12, 0.0, gap / np.maximum(sd, 1e-12))


def root(covariance: Floats) -> Floats:
    """A matrix whose product with its transpose is the covariance, which may be singular."""
    values, vectors = np.linalg.eigh(covariance)
    return np.asarray(vectors * np.sqrt(np.maximum(values, 0.0)))
