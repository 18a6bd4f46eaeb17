"""Dominance against its definition and against moocore."""

import numpy as np
import pytest

from search.pareto import dominated_by, nondominated

CASES = [(1, 1), (7, 2), (60, 2), (300, 3), (5000, 3), (800, 4)]


def by_definition(points):
    return np.array([not any((q <= p).all() and (q < p).any() for q in points) for p in points])


@pytest.mark.parametrize(("count", "axes"), [case for case in CASES if case[0] < 1000])
@pytest.mark.parametrize("levels", [3, 1000])
def test_the_front_is_what_nobody_dominates(count, axes, levels):
    points = np.random.default_rng(count + axes).integers(0, levels, (count, axes)).astype(float)
    assert (nondominated(points) == by_definition(points)).all()


@pytest.mark.parametrize(("count", "axes"), CASES)
def test_moocore_finds_the_same_front(count, axes):
    moocore = pytest.importorskip("moocore")
    points = np.random.default_rng(1).random((count, axes))
    assert (nondominated(points) == moocore.is_nondominated(points, keep_weakly=True)).all()


def test_equal_points_stay_together():
    points = np.array([[1.0, 1.0]] * 5 + [[1.0, 2.0]] * 3)
    assert nondominated(points).tolist() == [True] * 5 + [False] * 3


def test_the_front_of_a_front_is_itself():
    points = np.random.default_rng(2).random((4000, 3))
    front = points[nondominated(points)]
    assert nondominated(front).all()


def test_order_does_not_matter():
    rng = np.random.default_rng(3)
    points = rng.integers(0, 20, (5000, 3)).astype(float)
    order = rng.permutation(len(points))
    assert (nondominated(points)[order] == nondominated(points[order])).all()


def test_dominated_by_is_the_definition():
    rng = np.random.default_rng(4)
    points, others = rng.integers(0, 5, (200, 3)).astype(float), rng.integers(0, 5, (30, 3)).astype(float)
    expected = [any((q <= p).all() and (q < p).any() for q in others) for p in points]
    assert dominated_by(points, others).tolist() == expected


def test_an_infinite_value_is_a_value():
    assert nondominated(np.array([[np.inf, 0.0], [1.0, 1.0], [np.inf, 1.0]])).tolist() == [True, True, False]
