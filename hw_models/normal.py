"""The normal distribution on arrays, with the standard library's accuracy."""

from functools import lru_cache
from math import erfc, sqrt
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zoo.errors import ZooError

Array = NDArray[np.float64]

_ERFC = np.frompyfunc(erfc, 1, 1)
_INVERSE = np.frompyfunc(NormalDist().inv_cdf, 1, 1)


def upper_tail(z: Any) -> Array:
    """Probability that a standard normal variable exceeds z, elementwise.

    >>> upper_tail([0.0, 1.6448536269514722]).round(12).tolist()
    [0.5, 0.05]
    """
    scaled = np.asarray(z, dtype=np.float64) / sqrt(2)
    return np.asarray(0.5 * np.asarray(_ERFC(scaled), dtype=np.float64))


def score(probability: Any) -> Array:
    """The value that a standard normal variable stays below with each probability, all between 0 and 1.

    >>> score([0.5, 0.95]).round(4).tolist()
    [0.0, 1.6449]
    """
    return np.asarray(_INVERSE(np.asarray(probability, dtype=np.float64)), dtype=np.float64)


def check_confidence(confidence: float) -> float:
    """The probability itself. Raises ZooError unless it lies between 0 and 1."""
    if not 0 < confidence < 1:
        raise ZooError(f"confidence must be between 0 and 1, both excluded, but is {confidence!r}")
    return confidence


def root_of(covariance: Array) -> Array:
    """A matrix whose product with its transpose is the covariance, which may be singular."""
    return _root_of(np.asarray(covariance, dtype=np.float64).tobytes(), len(covariance))


@lru_cache(maxsize=64)
def _root_of(content: bytes, size: int) -> Array:
    values, vectors = np.linalg.eigh(np.frombuffer(content).reshape(size, size))
    return np.asarray(vectors * np.sqrt(np.maximum(values, 0.0)))
