"""Jointly normal errors of many candidates: what they share, and what each has of its own.

Differences of candidates are better known than their levels, because what is shared cancels.
"""

from collections.abc import Sequence
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


def side_by_side(parts: Sequence[tuple[Ints, JointNormal]]) -> JointNormal:
    """Candidates of several models whose errors are independent; with each part the places of its rows.

    >>> one = JointNormal(np.array([60.0]), np.array([[3.0]]), np.array([0.3]), np.zeros(1, dtype=np.int64))
    >>> both = side_by_side([(np.array([1]), one), (np.array([0]), one)])
    >>> both.covariance(0).round(2).tolist(), both.network.tolist()
    ([9.09, 0.0], [1, 0])
    """
    order = np.argsort(np.concatenate([rows for rows, _ in parts]))
    width = sum(part.loadings.shape[1] for _, part in parts)
    loadings, networks = [], []
    column = first = 0
    for _, part in parts:
        wide = np.zeros((len(part.mean), width))
        wide[:, column : column + part.loadings.shape[1]] = part.loadings
        loadings.append(wide)
        networks.append(part.network + first)
        column, first = column + part.loadings.shape[1], first + int(part.network.max(initial=-1)) + 1
    mean, own = (np.concatenate([getattr(part, name) for _, part in parts]) for name in ("mean", "own"))
    return JointNormal(mean[order], np.concatenate(loadings)[order], own[order], np.concatenate(networks)[order])


def root(covariance: Floats) -> Floats:
    """A matrix whose product with its transpose is the covariance, which may be singular."""
    values, vectors = np.linalg.eigh(covariance)
    return np.asarray(vectors * np.sqrt(np.maximum(values, 0.0)))
