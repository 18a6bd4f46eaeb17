"""Studies that zoo.yaml describes."""

import json

import jsonschema
import pytest

pytest.importorskip("optuna", reason="optuna is not installed; pip install 'edgeseg-zoo[optuna]'")

from zoo.cli import main, parser
from zoo.cli.search import _query
from zoo.cli.study import _configured, is_study
from zoo.config import schema
from zoo.config_study import StudySection

pytestmark = pytest.mark.usefixtures("shared_tables")

OWN = """
searches:
  quick: {space: tiny, limits: {max_params: 300000}, study: {trials: 3, sampler: random, seed: 4}}
  camvid:
    space: tiny
    accuracy: train
    study:
      dataset: camvid
      data: camvid
      trials: 12
      budget: 2h
      time_limit: 10m
      width: 240
      height: 184
      epochs: 4
      long_epochs: 12
      promote: 3
      repeats: 1
      halving: false
      train_set: [lr=2e-3, amp=true, schedule=poly]
"""


@pytest.fixture
def own(tmp_path):
    path = tmp_path / "zoo.yaml"
    path.write_text(OWN)
    return str(path)


def planned(own, *words):
    args = parser().parse_args(["search", *words, "--config", own])
    assert is_study(args)
    return _configured(args, _query(args))


def test_a_named_search_is_a_study_where_it_says_so(own, tmp_path, capsys):
    run = str(tmp_path / "run")
    assert main(["search", "quick", "--config", own, "--no-plots", "-o", run, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["trials"]["complete"] == 3
    assert document["plan"]["seed"] == 4
    assert document["sampler"]["name"] == "random"


def test_options_come_before_the_section(own):
    _, plan, _ = planned(own, "quick", "--trials", "7")
    assert (plan.trials, plan.sampler, plan.seed) == (7, "random", 4)


def test_everything_in_the_section_reaches_the_plan(own):
    query, plan, _ = planned(own, "camvid")
    assert (plan.accuracy, plan.dataset, plan.data, plan.trials) == ("train", "camvid", "camvid", 12)
    assert (plan.budget_s, plan.limit_s, plan.size) == (7200.0, 600.0, (184, 240))
    assert (plan.epochs, plan.long_epochs, plan.promote, plan.repeats, plan.halving) == (4, 12, 3, 1, False)
    assert plan.changes == {"lr": 0.002, "amp": True, "schedule": "poly"}
    assert query.accuracy == "published", "the belief starts there"


def test_another_accuracy_asks_for_the_exact_search(own):
    args = parser().parse_args(["search", "camvid", "--config", own, "--accuracy", "published"])
    assert not is_study(args)


WRONG = {
    "{trails: 3}": "searches.s.study.trails: unknown key (did you mean 'trials'?)",
    "{trials: many}": "searches.s.study.trials: must be",
    "{budget: 2}": "searches.s.study.budget: must be",
    "{budget: 2x}": "searches.s.study.budget: must be a duration such as 90s, 30m or 2h, but is '2x'",
    "{width: 240}": "searches.s.study.width: and height belong together",
    "{train_set: [lr]}": "searches.s.study.train_set: must be KEY=VALUE",
    "3": "searches.s.study: must be a mapping, but is 3",
}


@pytest.mark.parametrize("section", WRONG)
def test_a_wrong_section_is_one_sentence(section, tmp_path, capsys):
    path = tmp_path / "zoo.yaml"
    path.write_text(f"searches: {{s: {{space: tiny, study: {section}}}}}")
    assert main(["search", "s", "--config", str(path)]) == 1
    assert WRONG[section] in capsys.readouterr().err


def test_a_study_without_a_data_set_is_refused(tmp_path, capsys):
    path = tmp_path / "zoo.yaml"
    path.write_text("searches: {s: {space: tiny, accuracy: train}}")
    assert main(["search", "s", "--config", str(path)]) == 1
    assert "--dataset" in capsys.readouterr().err


def test_the_schema_knows_the_section():
    validator = jsonschema.Draft202012Validator(schema())
    study = {"trials": 3, "budget": "2h", "train_set": ["lr=2e-3"], "halving": True}
    assert validator.is_valid({"searches": {"s": {"study": study}}})
    assert not validator.is_valid({"searches": {"s": {"study": {"trails": 3}}}})


def test_an_empty_section_changes_nothing():
    assert StudySection().given() == {}
