"""Most probable parameters under Gaussian errors and a Gaussian prior, by damped Gauss-Newton steps.

Minimises (y - f(theta))' W (y - f(theta)) + (theta - prior)' P (theta - prior), where W and P are the inverses of the
errors' and the prior's covariance, with Levenberg's damping.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

CONVERGED = 1e-9
"""Largest step, in natural logarithms, at which a fit has converged."""

HOPELESS = 1e6
"""Damping beyond which no step improves a fit any more."""

Model = Callable[[Array], tuple[Array, Array]]
"""Parameters -> (logarithms of the predictions, their derivatives)."""


def map_fit(
    model: Model, observed: Array, error: Array, prior: Array, prior_covariance: Array, steps: int = 80
) -> tuple[Array, Array]:
    """Most probable parameters and their covariance.

    observed, error: logarithms of the measurements and the covariance of their errors, or their variances
    where they are independent.
    """
    theta, damping = prior.copy(), 1e-3
    tie = np.linalg.inv(prior_covariance)
    weight = np.linalg.inv(error) if error.ndim == 2 else 1.0 / error

    def weighted(slopes: Array) -> Array:
        return np.asarray(slopes.T @ weight if error.ndim == 2 else slopes.T * weight)

    def cost(values: Array, at: Array) -> float:
        miss, drift = observed - values, at - prior
        return float(weighted(miss) @ miss + drift @ tie @ drift)

    values, slopes = model(theta)
    best = cost(values, theta)
    for _ in range(steps):
        curvature = weighted(slopes) @ slopes + tie
        pull = weighted(slopes) @ (observed - values) - tie @ (theta - prior)
        step = np.linalg.solve(curvature + damping * np.diag(np.diag(curvature)), pull)
        new_values, new_slopes = model(theta + step)
        new = cost(new_values, theta + step)
        # To the last digits, so that a file does not depend on the machine that fitted it.
        if np.abs(step).max() < CONVERGED or damping > HOPELESS:
            break
        if new > best:
            damping *= 10
            continue
        theta, values, slopes, best, damping = theta + step, new_values, new_slopes, new, damping / 10
    return theta, np.linalg.inv(weighted(slopes) @ slopes + tie)
