"""The process over several protocols: laws, its definition, and what it gains from a cheap protocol."""

import numpy as np
import pytest

from search.accuracy.multi_task import Features, MultiTask, Scales, Task, fit
from zoo.statistics import kendall

TRUTH, LABEL = Task(noise_sd=0.5, level=60), Task(rho=0.8, own_sd=0.6, noise_sd=0.5, level=45)
SCALES = Scales({"truth": TRUTH, "label": LABEL}, sd=2.0, length=1.0)


def features(count: int, seed: int = 0) -> Features:
    values = np.random.default_rng(seed).normal(size=(count, 3))
    return Features(values, np.array([1.0, 0.0, 0.0]), np.array([1.0, 1.0, 1.0]))


def world(seed: int, where: Features) -> tuple[np.ndarray, np.ndarray]:
    """One draw of the truth and of what the cheap protocol makes of it, in points."""
    rng, count = np.random.default_rng(seed), len(where)
    empty = MultiTask(SCALES, where.take([]), np.empty(0, np.int64), np.empty(0), np.zeros(0))
    both = Features(np.tile(where.values, (2, 1)), where.slope, where.slope_sd)
    index = np.repeat([0, 1], count)
    mean, covariance = empty._mean(both, index), empty._covariance(both, index, both, index)
    draw = mean + np.linalg.cholesky(covariance + 1e-9 * np.eye(2 * count)) @ rng.normal(size=2 * count)
    return draw[:count], draw[count:]


def test_left_out_groups_are_predictions_from_the_others() -> None:
    where = features(9)
    truth, label = world(1, where)
    task, points = np.repeat([0, 1], 9), np.concatenate([truth, label])
    known = Features(np.tile(where.values, (2, 1)), where.slope, where.slope_sd)
    groups = list(range(9)) * 2  # both runs of a spec are left out together
    mean, variance = MultiTask(SCALES, known, task, points, np.zeros(18)).left_out(groups)
    for i in (0, 4):
        rest = np.array([k for k in range(18) if groups[k] != i])
        model = MultiTask(SCALES, known.take(rest), task[rest], points[rest], np.zeros(16))
        for run, name in ((i, "truth"), (i + 9, "label")):
            expected, spread = model.at(where.take([i]), name)
            assert mean[run] == pytest.approx(expected[0])
            assert variance[run] == pytest.approx(spread[0] + SCALES.tasks[name].noise_sd ** 2)


def test_intervals_hold_and_labels_help() -> None:
    where = features(40, 3)
    held, without, taus = [], [], []
    for seed in range(25):
        truth, label = world(seed, where)
        rng = np.random.default_rng(100 + seed)
        known = Features(np.concatenate([where.values[:6], where.values[:30]]), where.slope, where.slope_sd)
        task = np.repeat([0, 1], [6, 30])
        points = np.concatenate([truth[:6], label[:30]]) + 0.5 * rng.normal(size=36)
        new = where.take(slice(30, 40))
        mean, variance = MultiTask(SCALES, known, task, points, np.zeros(36)).at(new)
        few = MultiTask(SCALES, known.take(slice(0, 6)), task[:6], points[:6], np.zeros(6)).at(new)[0]
        held.append(np.abs(truth[30:] - mean) <= 1.645 * np.sqrt(variance))
        without.append(np.abs(truth[30:] - few).mean() - np.abs(truth[30:] - mean).mean())
        taus.append(kendall(mean, truth[30:]))
    assert 0.83 <= np.mean(held) <= 0.97
    assert np.mean(without) > 0.3
    assert np.mean(taus) > 0.5


def test_joint_agrees_with_single_ones() -> None:
    where = features(12, 5)
    truth, _ = world(2, where)
    model = MultiTask(SCALES, where.take(slice(0, 8)), np.zeros(8, np.int64), truth[:8], np.zeros(8))
    new = where.take(slice(8, 12))
    mean, variance = model.at(new)
    together, covariance = model.joint(new)
    assert np.allclose(mean, together) and np.allclose(variance, np.diag(covariance))
    assert np.linalg.eigvalsh(covariance).min() > -1e-9


def test_a_fit_finds_that_a_protocol_says_nothing() -> None:
    """Labels that are the truth keep their share; labels of pure noise are found to be the protocol's own affair."""
    where = features(36, 7)
    truth, _ = world(4, where)
    rng = np.random.default_rng(8)
    known = Features(np.tile(where.values, (2, 1)), where.slope, where.slope_sd)
    task = np.repeat([0, 1], 36)
    start = Scales({"truth": Task(level=60), "label": Task(level=45)})

    def fitted(label: np.ndarray) -> Task:
        points = np.concatenate([truth + 0.3 * rng.normal(size=36), label])
        return fit(start, known, task, points, np.zeros(72)).tasks["label"]

    same = fitted(truth - 15 + 0.3 * rng.normal(size=36))
    other = fitted(45 + world(99, where)[0] - truth.mean())
    assert same.rho / (same.own_sd + 0.1) > 2 * other.rho / (other.own_sd + 0.1)
    assert same.rho == pytest.approx(1.0, abs=0.15)
