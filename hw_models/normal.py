"""The normal distribution on arrays, with the standard library's accuracy."""

from math import erfc, sqrt
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

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
