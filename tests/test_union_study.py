"""Studies over several spaces: each candidate knows its space, and nothing is compared across spaces but objectives."""

import csv
import json
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("optuna", reason="optuna is not installed; pip install 'edgeseg-zoo[optuna]'")

import optuna
from rich.console import Console
from study_evaluators import Lowers, Steady
from test_study import play, with_evaluator

from search.accuracy.linear import points
from search.device_at import DeviceAt
from search.exact import objectives
from search.exact import search as exact
from search.query import Query
from search.runs.writer import query_from
from search.space import SearchSpace
from search.study.config import StudyConfig
from search.study.feasible import SPACE, feasible_set
from search.study.progress import StudyProgress
from search.study.results import StudyResults, write_results
from search.study.samplers import SAMPLERS, Exhausted, Setting
from search.study.storage import FolderLock, open_storage
from search.study.study import resumed, start
from search.study.surrogate import Scale, Surrogate, observations_of, prior
from search.union import union_of
from zoo.bulk.choices import Choices
from zoo.cli import main
from zoo.cli.live import view
from zoo.config import Limits
from zoo.errors import ConfigError

pytestmark = pytest.mark.usefixtures("shared_tables")

SIZE = (256, 512)


def space(family="espnet", **choices):
    return SearchSpace(Choices(family, choices), SIZE)


LOW = space(variant=("C", "ESPNet"), k=(3, 5), alpha3=(2, 3), alpha2=(1,))
HIGH = space(variant=("ESPNet", "A"), k=(5, 8), alpha3=(4, 5), image_path=("none", "reinforcement"))
V2 = space("espnetv2", scale=(0.5, 1.0), depth4=(1, 3, 7), decoder_width=(8, 16))
FPENET = space("fpenet", depth3=(3, 5), growth=(1, 2))


def query(*spaces, **changes):
    return Query(space=union_of(spaces), devices=(DeviceAt("tx2", 1300.0),), **changes)


LIMITED = query(LOW, HIGH, V2, limits=Limits(max_params=350_000))
TRAINED = query(LOW, V2, FPENET)
SEVERAL = [name for name in SAMPLERS if name != "gp"]


@pytest.fixture(scope="module")
def found():
    return feasible_set(LIMITED)


@pytest.fixture(scope="module")
def trained():
    return feasible_set(TRAINED)


@pytest.fixture(scope="module")
def setting(found):
    return Setting(found, prior(found, same_protocol=True), Scale(), 0, 20)


# The feasible set


def test_parameters_name_the_space_and_its_fields_and_are_the_candidate(found):
    assert [member.label for member in found.members] == ["espnet", "espnet-2", "espnetv2"]
    members = {member.label: member.space for member in found.members}
    for index in range(len(found)):
        params = found.params(index)
        label, own = params.pop(SPACE), members[found.member(index).label]
        assert label == found.member(index).label
        codes = dict.fromkeys(own.choices.values, 0) | {name.removeprefix(f"{label}."): c for name, c in params.items()}
        spec = found.query.space.spec(int(found.rows[index]))
        assert own.spec(own.row(spec)) == spec
        assert own.choices.spec_values(codes) == {name: getattr(spec, name) for name in own.choices.spec_values(codes)}
        assert found.values(index) == {name.partition(".")[2]: getattr(spec, name.partition(".")[2]) for name in params}


def test_one_space_has_parameters_without_a_label():
    alone = feasible_set(query(LOW))
    assert alone.params(3).keys() == {"variant", "k", "alpha3"}


def test_columns_stand_in_the_order_asked_for(found):
    index = np.random.default_rng(0).permutation(len(found))[:9]
    together = found.columns([*index, index[0]])
    for place, at in enumerate([*index, index[0]]):
        assert together.rows[place] == found.rows[at]
        assert together.counts["params"][place] == found.columns([at]).counts["params"][0]
        assert together.miou["mean"][place] == pytest.approx(found.miou[at, 1])


# The surrogate


def test_what_trials_of_one_space_teach_is_as_in_a_study_of_that_space(trained):
    """Two families: the posterior of each is that of its own study, whatever was measured of the others."""
    told, scale = [], Scale(1.5, 0.4)
    rng = np.random.default_rng(1)
    for member in trained.members:
        told += [(int(i), float(rng.uniform(30, 70)), 0.0) for i in range(member.start, member.stop, 2)]
    together = Surrogate(prior(trained, same_protocol=False), observations_of(told), scale)
    for member in trained.members:
        alone = feasible_set(query(member.space))
        assert len(alone) == member.stop - member.start
        own = [(i - member.start, miou, extra) for i, miou, extra in told if member.start <= i < member.stop]
        surrogate = Surrogate(prior(alone, same_protocol=False), observations_of(own), scale)
        for whole, part in zip(
            together.points_at(np.arange(member.start, member.stop)),
            surrogate.points_at(np.arange(len(alone))),
            strict=True,
        ):
            assert whole == pytest.approx(part)


def test_spaces_of_one_family_share_its_effects_and_nothing_else(found):
    """The conditional of a joint normal whose covariance between two spaces is that of the effects alone."""
    own, at = prior(found, same_protocol=True), found.members[0].start
    after = Surrogate(own, observations_of([(at, 20.0, 0.0)]), Scale(1.5, 0.4))
    linear = own.features @ own.covariance @ own.features[at]
    centre = own.features @ own.mean
    expected = centre + linear / (linear[at] + 1.5**2 + 0.4**2) * (points(20.0) - centre[at])
    for member in found.members[1:]:
        places = np.arange(member.start, member.stop)
        assert after.points_at(places)[0] == pytest.approx(expected[places])
    other_family = slice(found.members[2].start, found.members[2].stop)
    assert not linear[other_family].any()
    assert linear[found.members[1].start : found.members[1].stop].all()


# Samplers


@pytest.mark.parametrize("name", SEVERAL)
def test_a_sampler_asks_each_candidate_once_and_goes_on_as_if_never_stopped(name, setting, found):
    whole = play(SAMPLERS[name](setting), found, len(found))
    assert sorted(t.index for t in whole) == list(range(len(found)))
    again = play(SAMPLERS[name](setting), found, 12, whole[:9])
    assert [t.index for t in again] == [t.index for t in whole[:12]]
    with pytest.raises(Exhausted):
        play(SAMPLERS[name](setting), found, len(found) + 1, whole)


@pytest.mark.parametrize("name", SEVERAL)
def test_a_sampler_looks_into_each_space(name, setting, found):
    tried = play(SAMPLERS[name](setting), found, 16)
    assert {found.member(t.index).label for t in tried} == set(found.query.space.labels)


def test_a_sampler_that_needs_one_space_is_refused_before_anything_is_made(tmp_path):
    with pytest.raises(ConfigError, match=r"gp: takes one space.*has 3; use ehvi"):
        start(LIMITED, StudyConfig(sampler="gp"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


# Studies


@pytest.fixture(scope="module")
def everything(tmp_path_factory):
    """A study that measured all candidates."""
    folder = tmp_path_factory.mktemp("study") / "run"
    done = start(LIMITED, StudyConfig(trials=1000, sampler="random"), folder)
    return folder, done, write_results(done, folder)


def test_with_every_candidate_measured_the_front_is_the_exact_one(everything):
    _, done, document = everything
    result = exact(LIMITED)
    assert len(done.searched) == len(done.feasible) == result.feasible
    measured = {
        (-row["miou"]["mean"], row["latency_s"]["mean"], float(row["weight_bytes"])) for row in document["front"]
    }
    expected = {tuple(point) for point in objectives(LIMITED, result.columns).tolist()}
    assert np.array(sorted(measured)) == pytest.approx(np.array(sorted(expected)))
    assert {row["spec"]["family"] for row in document["front"]} == {"espnet", "espnetv2"}


def test_a_folder_says_of_each_trial_its_space(everything):
    folder, done, _ = everything
    with (folder / "trials.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    for row, trial in zip(rows, done.searched, strict=True):
        spec = done.feasible.query.space.spec(int(done.feasible.rows[trial.index]))
        assert row["family"] == spec.family
        assert row["scale"] == (str(spec.scale) if spec.family == "espnetv2" else "")
    storage = open_storage(folder, None, FolderLock(folder))
    for trial in optuna.load_study(storage=storage, study_name="search").trials:
        label = trial.params[SPACE]
        assert all(name == SPACE or name.startswith(f"{label}.") for name in trial.params)
        assert {f"spec.{name.removeprefix(f'{label}.')}" for name in trial.params if name != SPACE} <= {
            *trial.user_attrs
        }


def test_a_run_of_several_spaces_reads_back_as_the_study_it_is(everything):
    folder, done, _ = everything
    again, config = resumed(folder)
    assert again == done.feasible.query
    assert query_from(again.describe()) == again
    assert config.trials == 1000


@pytest.mark.parametrize("name", ["random", "ehvi", "tpe"])
def test_an_interrupted_study_goes_on_as_if_it_had_not_been(name, tmp_path):
    whole = start(LIMITED, StudyConfig(trials=8, sampler=name), tmp_path / "whole")
    start(LIMITED, StudyConfig(trials=5, sampler=name), tmp_path / "cut")
    again, config = resumed(tmp_path / "cut")
    more = start(again, replace(config, trials=8), tmp_path / "cut", resume=True)
    assert [(t.index, t.seed, t.miou) for t in more.searched] == [(t.index, t.seed, t.miou) for t in whole.searched]


def test_families_without_figures_are_measured_beside_those_that_have_them(tmp_path):
    counting = with_evaluator(Lowers(images=SIZE))
    done = start(TRAINED, StudyConfig(trials=14, sampler="ehvi"), tmp_path / "run", engine=counting)
    measured = {done.feasible.member(trial.index).label for trial in done.searched}
    assert measured == {"espnet", "espnetv2", "fpenet"}
    document = StudyResults(done).document()
    assert {row["spec"]["family"] for row in document["predicted"]} <= measured


def test_the_live_view_names_the_space_of_each_candidate(tmp_path):
    steady = with_evaluator(Steady(images=SIZE))
    done = start(LIMITED, StudyConfig(trials=6, sampler="random"), tmp_path / "run", engine=steady)
    console = Console(file=None, width=160, record=True)
    with console.capture() as out:
        console.print(view(StudyProgress(done.feasible, done.config, done.searched, [], 1, None)))
    for index in {repeats.index for repeats in StudyResults(done).front[:8]}:
        assert f"space={done.feasible.member(index).label}" in out.get()


# The command

OWN = """
spaces:
  small: {choices: {k: [3, 5], alpha3: [2, 3]}}
  second: {family: espnetv2, choices: {scale: [0.5, 1.0]}}
searches:
  both: {space: [small, second], width: 512, height: 256, study: {trials: 4, sampler: random}}
"""


def test_command_and_named_search_are_the_same_study(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "zoo.yaml").write_text(OWN)
    spaces = ["--space", "second", "--space", "small"]
    answers = []
    for arguments in (["both"], [*spaces, "--size", "512x256", "--trials", "4", "--sampler", "random", "-o", "typed"]):
        assert main(["search", *arguments, "--no-plots", "--json"]) == 0
        answers.append(json.loads(capsys.readouterr().out))
    first, second = ({k: v for k, v in a.items() if k not in ("run", "trials")} for a in answers)
    assert first == second
    assert main(["search", "--resume", answers[0]["run"], "--trials", "6", "--no-plots"]) == 0
    assert "family=espnet" in capsys.readouterr().out.replace("\n", " ")
    for command in (["predict", "typed#1"], ["report", "typed"], ["pareto", "typed"]):
        assert main(command) == 0, command
    assert main(["verify", "typed"]) == 1


def test_a_study_by_figures_of_a_family_without_any_is_refused(tmp_path, capsys):
    run = tmp_path / "run"
    assert main(["search", "--space", "tiny", "--space", "fpenet", "--trials", "3", "-o", str(run)]) == 1
    assert "fpenet" in capsys.readouterr().err
    assert not run.exists()
