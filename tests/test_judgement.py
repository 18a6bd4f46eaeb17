"""The held-out test: its figures by definition, on synthetic truths; nothing is judged before the last is trained."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.accuracy.held_out import held_out
from benchmarks.accuracy.judgement import Predictions, held_out_text, judge, noise_ceiling, truth_noise
from benchmarks.accuracy.tasks import CANDIDATES, Task
from search.accuracy import AccuracyModel, accuracy_model
from zoo.models.espnet import ESPNetSpec
from zoo.specs import as_dict


def test_the_figures_are_those_of_their_definitions() -> None:
    stats = pytest.importorskip("scipy.stats")
    rng = np.random.default_rng(3)
    truth = rng.normal(60, 4, 12)
    values = truth + rng.normal(0, 2, 12)
    result = judge(Predictions("model", values, values - 3, values + 3), truth, [8, 9, 10, 11])
    assert result.kendall == pytest.approx(stats.kendalltau(values, truth).statistic)
    assert result.spearman == pytest.approx(stats.spearmanr(values, truth).statistic)
    assert result.band_kendall == pytest.approx(stats.kendalltau(values[8:], truth[8:]).statistic)
    assert result.error == pytest.approx(np.mean(np.abs(values - truth)))
    assert result.error_se == pytest.approx(stats.sem(np.abs(values - truth)))
    assert result.inside == pytest.approx(np.mean(np.abs(values - truth) <= 3))
    assert result.regret == pytest.approx(truth.max() - truth[values.argmax()])


def test_a_perfect_order_has_no_regret_and_a_score_no_error() -> None:
    truth = np.arange(12.0)
    result = judge(Predictions("score", truth**3), truth, range(4))
    assert (result.kendall, result.spearman, result.band_kendall, result.regret) == (1.0, 1.0, 1.0, 0.0)
    assert result.error is result.error_se is result.inside is None


def test_noise_lowers_the_ceiling() -> None:
    truth = np.random.default_rng(0).normal(60, 8, 12)
    ceilings = [noise_ceiling(truth, noise) for noise in (1e-9, 0.7, 2.0, 3.5)]
    assert ceilings[0] == pytest.approx(1.0)
    assert ceilings == sorted(ceilings, reverse=True) and ceilings[-1] > 0


class Linear:
    """A model whose predictions are those of `published`, under the truth's protocol."""

    name = "linear"

    def __init__(self, model: AccuracyModel) -> None:
        self.predict_spec = model.predict_spec


def finished(specs: list[ESPNetSpec], protocol: str, miou: Any, folder: Path) -> None:
    for i, spec in enumerate(specs):
        task = Task(protocol, spec)
        row = {"protocol": protocol, "spec": as_dict(spec), "miou": float(miou(i)), "cpu_seconds": 3600}
        (folder / f"{task.name}.json").write_text(json.dumps(row), encoding="utf-8")


def test_nothing_is_judged_before_the_last_is_trained(tmp_path: Path) -> None:
    specs = [spec for group in held_out().values() for spec in group]
    model: Any = Linear(accuracy_model("published"))
    finished(specs[:-1], "truth", lambda i: 60 + i, tmp_path)
    assert "11 of the 12 are trained; nothing is predicted" in held_out_text(model, tmp_path)
    finished(specs, "truth", lambda i: 60 + i, tmp_path)
    assert "nothing is predicted" in held_out_text(None, tmp_path)
    text = held_out_text(model, tmp_path)
    assert text.count("| front |") == text.count("| random |") == text.count("| band |") == 4
    assert all(name in text for name in ("`linear`", "`published`", "parameters", "MACs"))
    assert "trained as" not in text and "Noise" not in text
    finished(specs, CANDIDATES[0], lambda i: 50 - i, tmp_path)
    again = Task("truth", specs[0], 1).name
    (tmp_path / f"{again}.json").write_text(
        json.dumps({"protocol": "truth", "spec": as_dict(specs[0]), "miou": 61.0}), encoding="utf-8"
    )
    text = held_out_text(model, tmp_path)
    assert f"| trained as `{CANDIDATES[0]}` | -1.00 ± 0.00 | -1.00 ± 0.00 | – | – | -1.00 | 11.0 |" in text
    assert "Noise of one truth 0.71 points: Kendall at most 0.9" in text


def test_the_noise_of_the_truth_is_that_of_its_repeats_alone() -> None:
    row = {"protocol": "truth", "spec": {"family": "espnet"}, "miou": 60.0}
    rows = {"a": row, "b": row | {"miou": 62.0}, "c": row | {"protocol": "half-size", "miou": 10.0}}
    assert truth_noise(rows) == pytest.approx(2**0.5)
    assert truth_noise({"a": row}) is None
