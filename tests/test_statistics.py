"""Statistics against scipy, and the Gaussian process against its definition."""

import math

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from zoo.gp import Posterior, squared_exponential
from zoo.statistics import (
    jackknife_se,
    kendall,
    nonnegative_least_squares,
    normal_cdf,
    normal_pdf,
    spearman,
    t_cdf,
    t_quantile,
)

stats = pytest.importorskip("scipy.stats")
VALUES = st.lists(st.integers(-5, 5), min_size=3, max_size=12)


@given(VALUES, st.randoms())
def test_rank_correlations_are_scipys(a: list[int], random: object) -> None:
    b = list(a)
    random.shuffle(b)  # type: ignore[attr-defined]
    if len(set(a)) < 2:
        assert spearman(a, b) is None and kendall(a, b) is None
        return
    assert spearman(a, b) == pytest.approx(stats.spearmanr(a, b).statistic, abs=1e-12)
    assert kendall(a, b) == pytest.approx(stats.kendalltau(a, b).statistic, abs=1e-12)


@settings(max_examples=60)
@given(st.floats(0.001, 0.999), st.floats(0.5, 200))
@example(0.5000000652557659, 139.02034050959838)  # so near the median that freedom / (freedom + x²) rounds to one
def test_t_is_scipys(probability: float, freedom: float) -> None:
    value = t_quantile(probability, freedom)
    assert value == pytest.approx(stats.t.ppf(probability, freedom), rel=1e-7, abs=1e-7)
    assert t_cdf(value, freedom) == pytest.approx(probability, abs=1e-9)


def test_infinite_freedom_is_normal_and_wrong_arguments_are_refused() -> None:
    assert t_quantile(0.975, math.inf) == pytest.approx(stats.norm.ppf(0.975))
    for probability, freedom in ((0.0, 3), (1.0, 3), (0.5, 0)):
        with pytest.raises(ValueError, match="must be"):
            t_quantile(probability, freedom)


def test_the_normal_distribution_is_scipys() -> None:
    x = np.linspace(-8, 8, 33)
    assert np.allclose(normal_cdf(x), stats.norm.cdf(x), rtol=1e-12)
    assert np.allclose(normal_pdf(x), stats.norm.pdf(x), rtol=1e-12)


def test_the_standard_error_of_kendall_shrinks_with_more_values() -> None:
    rng = np.random.default_rng(0)
    errors = []
    for count in (12, 48, 192):
        x = rng.normal(size=count)
        errors.append(jackknife_se(kendall, x, x + rng.normal(size=count)))
    assert errors[0] > errors[1] > errors[2] > 0
    # Against the spread of tau over many samples of 24.
    samples = [(x := rng.normal(size=24), x + rng.normal(size=24)) for _ in range(300)]
    spread = np.std([kendall(a, b) for a, b in samples])
    assert np.mean([jackknife_se(kendall, a, b) for a, b in samples]) == pytest.approx(spread, rel=0.2)


@given(st.integers(1, 8), st.integers(0, 1000))
def test_nonnegative_least_squares_is_scipys(size: int, seed: int) -> None:
    from scipy.optimize import nnls

    rng = np.random.default_rng(seed)
    design, target = rng.normal(size=(size + 4, size)), rng.normal(size=size + 4)
    ours = nonnegative_least_squares(design.T @ design, design.T @ target)
    assert np.allclose(ours, nnls(design, target)[0], atol=1e-8)


def process(seed: int, count: int = 9) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(count, 2))
    return x, squared_exponential(x, x, 0.8) + np.diag(rng.uniform(0.05, 0.2, count)), rng.normal(size=count)


@given(st.integers(0, 100))
def test_the_posterior_is_conditioning_of_the_joint_normal(seed: int) -> None:
    x, covariance, y = process(seed)
    places = x[:3] + 0.3
    cross, prior = squared_exponential(places, x, 0.8), squared_exponential(places, places, 0.8)
    seen = Posterior(covariance, y)
    assert np.allclose(seen.mean(cross), cross @ np.linalg.solve(covariance, y))
    expected = prior - cross @ np.linalg.solve(covariance, cross.T)
    assert np.allclose(seen.joint(cross, prior), expected)
    assert np.allclose(seen.variance(cross, np.diag(prior)), np.diag(expected))
    assert seen.log_likelihood() == pytest.approx(stats.multivariate_normal(cov=covariance).logpdf(y))


@given(st.integers(0, 100))
def test_left_out_is_fitting_without_it(seed: int) -> None:
    _, covariance, y = process(seed)
    miss, variance = Posterior(covariance, y).left_out()
    for i in range(len(y)):
        others = np.arange(len(y)) != i
        rest = Posterior(covariance[np.ix_(others, others)], y[others])
        cross = covariance[i, others][None]
        assert y[i] - miss[i] == pytest.approx(rest.mean(cross)[0])
        assert variance[i] == pytest.approx(rest.variance(cross, covariance[i, i])[0])
