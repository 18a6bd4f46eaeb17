"""Small-sample statistics without scipy, which the tests use as their oracle."""

import math
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def ranks(values: Sequence[float] | Floats) -> Floats:
    """Ranks from 0, the mean of their places for equal values.

    >>> ranks([10, 30, 20, 20]).tolist()
    [0.0, 3.0, 1.5, 1.5]
    """
    array = np.asarray(values, dtype=float)
    below = (array[None] < array[:, None]).sum(axis=1)
    equal = (array[None] == array[:, None]).sum(axis=1)
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
    """Kendall's tau-b: concordant less discordant pairs, as a share of the untied pairs.

    None below two values and where all of one side are equal.

    >>> kendall([1, 2, 3, 4], [10, 20, 40, 30])
    0.6666666666666666
    """
    x, y = (np.sign(np.subtract.outer(np.asarray(v, float), np.asarray(v, float))) for v in (a, b))
    untied = np.sqrt(float((x * x).sum()) * float((y * y).sum()))
    return float((x * y).sum() / untied) if untied else None


def jackknife_se(
    statistic: Callable[[Floats, Floats], float | None],
    a: Sequence[float] | Floats,
    b: Sequence[float] | Floats,
) -> float | None:
    """Jackknife standard error of a statistic of N pairs; None below three pairs or where it is undefined.

    Each pair is left out once: sqrt((N - 1) / N * sum of (s_i - mean s)²) (Efron and Tibshirani, 1993, equation 11.5).
    """
    x, y = np.asarray(a, float), np.asarray(b, float)
    left_out = [statistic(np.delete(x, i), np.delete(y, i)) for i in range(len(x))]
    if len(x) < 3 or statistic(x, y) is None or any(value is None for value in left_out):
        return None
    spread = np.array(left_out, float)
    return float(np.sqrt((len(x) - 1) / len(x) * ((spread - spread.mean()) ** 2).sum()))


def pooled_sd(groups: Iterable[Sequence[float]]) -> tuple[float, int] | None:
    """Standard deviation of one value, pooled over groups of repeats, and its degrees of freedom.

    None if nothing was repeated.

    >>> pooled_sd([[1.0, 3.0], [7.0], [4.0, 4.0]])
    (1.0, 2)
    """
    repeats = [np.asarray(group) for group in groups if len(group) > 1]
    freedom = sum(len(group) - 1 for group in repeats)
    if not freedom:
        return None
    return math.sqrt(sum(float(((group - group.mean()) ** 2).sum()) for group in repeats) / freedom), freedom


def normal_pdf(x: Any) -> Any:
    """Density of the standard normal distribution, elementwise."""
    return np.exp(-0.5 * np.square(x)) / math.sqrt(2 * math.pi)


def normal_cdf(x: Any) -> Any:
    """Distribution function of the standard normal, elementwise, to about 1e-15.

    >>> float(normal_cdf(0.0)), round(float(normal_cdf(1.959964)), 6)
    (0.5, 0.975)
    """
    return np.vectorize(lambda value: 0.5 * math.erfc(-value / math.sqrt(2)), otypes=[float])(x)


def expected_excess(u: Floats) -> Floats:
    """E[max(Z + u, 0)] of a standard normal Z, elementwise: its density at u plus u times its distribution function.

    The distribution function to 8e-8 (Abramowitz and Stegun, equation 26.2.17), which is fast on large arrays.
    """
    u = np.asarray(u, float)
    density = np.exp(-0.5 * u * u) * 0.3989422804014327
    t = 1 / (1 + 0.2316419 * np.abs(u))
    series = t * (0.319381530 + t * (-0.356563782 + t * (1.781477937 + t * (-1.821255978 + t * 1.330274429))))
    return np.maximum(density * (1 - np.abs(u) * series) + np.maximum(u, 0.0), 0.0)


def t_cdf(x: float, freedom: float) -> float:
    """Distribution function of Student's t.

    With the regularised incomplete beta function: 1 - I_v(freedom / 2, 1 / 2) / 2 at v = freedom / (freedom + x²) for
    x > 0 (Abramowitz and Stegun, 1964, equation 26.7.1); near zero by 1 - v, which does not round to zero.
    """
    if x * x < freedom:
        inside = _incomplete_beta(0.5, freedom / 2, x * x / (freedom + x * x))
        return 0.5 + math.copysign(0.5 * inside, x)
    tail = 0.5 * _incomplete_beta(freedom / 2, 0.5, freedom / (freedom + x * x))
    return 1 - tail if x > 0 else tail


@lru_cache(maxsize=4096)
def t_quantile(probability: float, freedom: float) -> float:
    """The value that Student's t with `freedom` degrees of freedom stays below with this probability.

    Raises ValueError unless 0 < probability < 1 and freedom > 0. Infinite freedom gives the normal quantile.

    >>> round(t_quantile(0.975, 3), 3), round(t_quantile(0.95, math.inf), 3)
    (3.182, 1.645)
    """
    if not (0 < probability < 1 and freedom > 0):
        raise ValueError(f"probability {probability} must be between 0 and 1 and freedom {freedom} above 0")
    if math.isinf(freedom):
        from statistics import NormalDist

        return NormalDist().inv_cdf(probability)
    if probability < 0.5:
        return -t_quantile(1 - probability, freedom)
    low, high = 0.0, 1.0
    while t_cdf(high, freedom) < probability:
        low, high = high, 2 * high
    for _ in range(200):
        middle = 0.5 * (low + high)
        if middle in (low, high):
            break
        low, high = (middle, high) if t_cdf(middle, freedom) < probability else (low, middle)
    return 0.5 * (low + high)


def _incomplete_beta(a: float, b: float, x: float) -> float:
    """Regularised incomplete beta function, by its continued fraction (Abramowitz and Stegun, equation 26.5.8)."""
    if x <= 0 or x >= 1:
        return float(x >= 1)
    front = math.exp(math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x))
    if x > (a + 1) / (a + b + 2):  # where the fraction converges slowly, its mirror image converges fast
        return 1 - front * _beta_fraction(b, a, 1 - x) / b
    return front * _beta_fraction(a, b, x) / a


TINY = 1e-300
"""Stands for a zero in Lentz's algorithm."""


def _beta_fraction(a: float, b: float, x: float) -> float:
    """The continued fraction 1 / (1 + d1 / (1 + d2 / ...)), by Lentz's algorithm."""
    c, d = 1.0, 1 / (1 - (a + b) * x / (a + 1) or TINY)
    value = d
    for m in range(1, 500):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        for numerator in (even, odd):
            d = 1 / (1 + numerator * d or TINY)
            c = 1 + numerator / c or TINY
            value *= c * d
        if abs(c * d - 1) < 1e-15:
            break
    return value


def nonnegative_least_squares(gram: Floats, pull: Floats) -> Floats:
    """The x >= 0 that minimises x'Gx / 2 - p'x, by active sets (Lawson and Hanson, 1974, algorithm NNLS).

    gram: G, symmetric and positive definite, shape (N, N). pull: p, shape (N,).
    """
    size = len(pull)
    x, free = np.zeros(size), np.zeros(size, dtype=bool)
    tolerance = 1e-10 * float(np.abs(pull).max(initial=1e-300))
    for _ in range(3 * size):
        slope = np.where(free, -np.inf, pull - gram @ x)
        enter = int(np.argmax(slope))
        if slope[enter] <= tolerance:
            break
        free[enter] = True
        while free.any():
            trial = np.zeros(size)
            trial[free] = np.linalg.solve(gram[np.ix_(free, free)], pull[free])
            below = free & (trial <= 0)
            if not below.any():
                x = trial
                break
            # As far towards the trial as nothing turns negative; what then is zero leaves.
            step = float(np.min(x[below] / (x[below] - trial[below])))
            x = x + step * (trial - x)
            free &= x > 1e-15 * max(float(x.max()), 1e-300)
            x = np.where(free, x, 0.0)
    return x
