"""Gaussian process regression (Rasmussen and Williams, Gaussian Processes for Machine Learning, 2006).

Observations y at N places have the prior mean m and the covariance K + S, where K is the process's own and S the
noise's, mostly diagonal. With L L' = K + S (Cholesky), at places whose covariance with the observations is C (Q, N):

    mean       m* + C (K + S)^-1 (y - m)                               (equation 2.25)
    variance   prior variance - diag(C (K + S)^-1 C')                  (equation 2.26)
    log p(y)   -1/2 |L^-1 (y - m)|² - sum log L_ii - N/2 log 2 pi      (equation 2.30)
    left out   y_i - [(K + S)^-1 (y - m)]_i / [(K + S)^-1]_ii          (equations 5.10 to 5.12)

A linear part with a Gaussian prior on its coefficients is one more term F B F' of the covariance (section 2.7). Where
the kernels come from, and their parameters, is the caller's business.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

LEAST_VARIANCE = 1e-12
"""What is left where rounding would make a variance negative."""


def squared_exponential(a: Floats, b: Floats, length: float | Floats = 1.0) -> Floats:
    """exp(-|a - b|² / (2 length²)), shape (M, N) for places (M, D) and (N, D); length may be one for each of D.

    >>> squared_exponential(np.array([[0.0], [1.0]]), np.array([[0.0]])).round(3).tolist()
    [[1.0], [0.607]]
    """
    x, y = a / length, b / length
    squared = (x**2).sum(axis=1)[:, None] + (y**2).sum(axis=1) - 2 * x @ y.T
    out: Floats = np.exp(-0.5 * np.maximum(squared, 0.0))
    return out


@dataclass(frozen=True, eq=False)
class Posterior:
    """What observations teach: `covariance` is K + S of shape (N, N), `residual` is y - m of shape (N,).

    Raises numpy's LinAlgError where the covariance is not positive definite.

    >>> x = np.array([[0.0], [1.0]])
    >>> seen = Posterior(squared_exponential(x, x) + 1e-6 * np.eye(2), np.array([1.0, -1.0]))
    >>> seen.mean(squared_exponential(np.array([[0.0], [0.5], [50.0]]), x)).round(3).tolist()
    [1.0, -0.0, 0.0]
    """

    covariance: Floats
    residual: Floats

    @cached_property
    def _whiten(self) -> Floats:
        """Inverse of the Cholesky factor: with many places and few observations products beat solving."""
        return np.asarray(np.linalg.inv(np.linalg.cholesky(self.covariance)), np.float64)

    @cached_property
    def _white(self) -> Floats:
        return np.asarray(self._whiten @ self.residual, np.float64)

    def mean(self, cross: Floats) -> Floats:
        """By how much the mean moves from its prior at Q places; cross: (Q, N)."""
        return np.asarray((cross @ self._whiten.T) @ self._white, np.float64)

    def variance(self, cross: Floats, prior: Floats | float) -> Floats:
        """Variance at Q places, noise left out; prior: variances there, (Q,)."""
        half = cross @ self._whiten.T
        return np.asarray(np.maximum(prior - np.einsum("qn,qn->q", half, half), LEAST_VARIANCE), np.float64)

    def joint(self, cross: Floats, prior: Floats) -> Floats:
        """Covariance (Q, Q) among Q places; prior: theirs, (Q, Q)."""
        half = cross @ self._whiten.T
        return np.asarray(prior - half @ half.T, np.float64)

    def log_likelihood(self) -> float:
        """Logarithm of the density of the observations."""
        size = len(self.residual)
        return float(
            -0.5 * self._white @ self._white + np.log(np.diag(self._whiten)).sum() - 0.5 * size * np.log(2 * np.pi)
        )

    @cached_property
    def inverse(self) -> Floats:
        """(K + S)^-1."""
        return np.asarray(self._whiten.T @ self._whiten, np.float64)

    def left_out(self) -> tuple[Floats, Floats]:
        """For each observation given all others: observed less predicted, and the variance of that difference."""
        variance = 1 / np.diag(self.inverse)
        return np.asarray((self.inverse @ self.residual) * variance, np.float64), variance
