"""Studies whose candidates are timed on this machine: limits and front take what was measured."""

from dataclasses import replace

import pytest

pytest.importorskip("optuna", reason="optuna is not installed; pip install 'edgeseg-zoo[optuna]'")

from test_study import QUERY, found  # noqa: F401

import search.study.study as study_module
from hw_models.cost import Interval
from hw_models.device import load_device
from hw_models.measure.environment import conditions
from search.device_at import DeviceAt
from search.study import measured_latency
from search.study.config import StudyConfig
from search.study.measured_latency import check_measurable, exceeding, keeps_limits
from search.study.results import StudyResults, write_results
from search.study.study import resumed, so_far, start
from zoo.cli import main
from zoo.config import Limits
from zoo.errors import ConfigError, NegativeAnswer, ZooError

TIMED = StudyConfig(trials=8, sampler="random", measure_latency=True)
LIMITED = replace(QUERY, limits=Limits(max_latency_ms=150))


@pytest.fixture
def clock(monkeypatch):
    """Candidates take what `clock["of"]` says of them, in seconds, known to 1 %."""
    taken = {"of": lambda spec: 0.01, "calls": 0}

    def timed(spec, query):
        taken["calls"] += 1
        seconds = taken["of"](spec)
        if seconds is None:
            raise NegativeAnswer("the machine is too noisy")
        return Interval(seconds, seconds * 0.99, seconds * 1.01)

    monkeypatch.setattr(measured_latency, "timed", timed)
    monkeypatch.setattr(study_module, "check_measurable", lambda query: None)
    return taken


def slow_with_decoder(spec):
    return 0.5 if spec.variant == "ESPNet" else 0.02


def test_a_latency_is_exceeded_as_its_interval_says():
    latency = Interval(0.1, 0.08, 0.125)
    assert exceeding(latency, 0.1) == pytest.approx(0.5)
    assert exceeding(latency, 0.125) == pytest.approx(0.05)
    assert exceeding(latency, 0.08) == pytest.approx(0.95)


def test_what_was_timed_replaces_what_was_predicted(clock, tmp_path):
    clock["of"] = slow_with_decoder
    result = start(LIMITED, TIMED, tmp_path)
    document = write_results(result, tmp_path)
    slow = [trial for trial in result.searched if trial.latency.mean == 0.5]
    assert slow, "the draw has both"
    assert document["trials"]["outside"] == len(slow)
    shown = [*document["front"], *document["tried"]]
    assert {cost["latency_s"]["mean"] for row in shown for cost in row["devices"].values()} <= {0.5, 0.02}
    for row in document["front"]:
        (cost,) = row["devices"].values()
        assert cost["latency_s"] == {"mean": 0.02, "low": 0.02 * 0.99, "high": 0.02 * 1.01}
        assert cost["latency_source"].startswith("measured")
        assert cost["predicted_latency_s"]["mean"] not in (0.5, 0.02)


def test_a_dashboard_sees_the_measured_limit_broken(clock, tmp_path):
    import optuna

    clock["of"] = slow_with_decoder
    storage = f"sqlite:///{tmp_path}/s.db"
    result = start(LIMITED, replace(TIMED, storage=storage), tmp_path / "run")
    (name,) = [n for n in optuna.get_all_study_names(storage) if n.endswith("-search")]
    kept = optuna.load_study(study_name=name, storage=storage).trials
    for trial, shown in zip(result.searched, kept, strict=True):
        (broken,) = shown.constraints.values()
        assert (broken > 0) == (trial.latency.mean == 0.5)
        assert shown.values[1] == trial.latency.mean


def test_without_a_limit_nothing_is_outside(clock, tmp_path):
    clock["of"] = slow_with_decoder
    assert write_results(start(QUERY, TIMED, tmp_path), tmp_path)["trials"]["outside"] == 0


def test_a_machine_too_busy_to_time_leaves_the_prediction(clock, tmp_path):
    clock["of"] = lambda spec: None
    said = []
    result = start(LIMITED, TIMED, tmp_path, say=said.append)
    assert all(trial.latency is None for trial in result.searched)
    assert any("not timed" in text for text in said)
    assert all(
        "latency_source" not in cost
        for row in StudyResults(result).document()["front"]
        for cost in row["devices"].values()
    )


def test_nothing_within_the_limits_here_is_an_answer_with_a_way_out(clock, tmp_path):
    clock["of"] = lambda spec: 0.4
    with pytest.raises(NegativeAnswer, match=r"none of the 8 measured networks .* up to 404 ms; .*--max-latency-ms"):
        start(LIMITED, TIMED, tmp_path)
    clock["of"] = lambda spec: 0.01
    result = start(LIMITED, replace(TIMED, trials=9), tmp_path, resume=True)
    assert len(StudyResults(result).front) == 1


def test_what_was_timed_is_kept(clock, tmp_path):
    result = start(LIMITED, TIMED, tmp_path)
    assert clock["calls"] == 8
    query, config = resumed(tmp_path)
    assert so_far(query, config, tmp_path).searched[3].latency == result.searched[3].latency
    start(query, config, tmp_path, resume=True)
    assert clock["calls"] == 8, "nothing is timed twice"


def test_a_study_does_not_begin_to_time_half_way(clock, tmp_path):
    start(LIMITED, replace(TIMED, measure_latency=False), tmp_path)
    with pytest.raises(ConfigError, match="measure_latency"):
        start(LIMITED, TIMED, tmp_path, resume=True)


def test_a_candidate_is_within_the_limits_with_the_confidence_asked_for(found):  # noqa: F811
    feasible = replace(found, query=LIMITED, failures=found.failures[:, :0].repeat(1, axis=1))
    feasible = replace(feasible, failures=found.known[:, :1] * 0)
    assert keeps_limits(feasible, 0, Interval(0.14, 0.13, 0.15)), "0.95 within"
    assert not keeps_limits(feasible, 0, Interval(0.145, 0.13, 0.162)), "0.7 within"
    assert keeps_limits(feasible, 0, None)


def test_only_this_machine_is_timed(monkeypatch):
    with pytest.raises(ConfigError, match=r"--measure-latency: tx2 was not measured on this machine; .*zoo measure"):
        check_measurable(QUERY)
    with pytest.raises(ConfigError, match="one device can be this machine"):
        check_measurable(replace(QUERY, devices=(DeviceAt("tx2"), DeviceAt("gtx960m"))))
    here = conditions("onnxruntime", 1)
    own = replace(load_device("tx2"), conditions=here.document())
    monkeypatch.setattr(measured_latency, "load_device", lambda name: own)
    check_measurable(QUERY)
    own = replace(own, conditions=here.document() | {"machine": "another"})
    with pytest.raises(ZooError, match=r"was measured with machine another, .*; set it back, or measure .* --replace"):
        check_measurable(QUERY)


def test_the_command_says_it_before_anything_is_measured(tmp_path, capsys):
    words = ["search", "--space", "tiny", "--device", "tx2", "--trials", "2", "--measure-latency"]
    assert main([*words, "-o", str(tmp_path / "run")]) == 1
    assert "was not measured on this machine" in capsys.readouterr().err


def test_a_study_with_nothing_within_the_limits_yet_says_so_where_it_is_read(clock, tmp_path):
    clock["of"] = lambda spec: 0.4
    with pytest.raises(NegativeAnswer, match="none of the 8"):
        start(LIMITED, TIMED, tmp_path)
    query, config = resumed(tmp_path)
    with pytest.raises(NegativeAnswer, match="none of the 8"):
        so_far(query, config, tmp_path)
    assert main(["report", str(tmp_path)]) == 3


def test_the_option_alone_makes_a_study(tmp_path, capsys):
    assert main(["search", "--space", "tiny", "--device", "tx2", "--measure-latency", "-o", str(tmp_path / "run")]) == 1
    assert "was not measured on this machine" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
