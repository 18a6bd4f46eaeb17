"""What people see of a study while it runs."""

import io
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("optuna", reason="optuna is not installed; pip install 'edgeseg-zoo[optuna]'")

from rich.console import Console
from study_evaluators import Steady
from test_study import QUERY, entry, found, with_evaluator  # noqa: F401

import search.study.course
from search.pareto import nondominated
from search.study.config import StudyConfig
from search.study.progress import StudyProgress
from search.study.study import start
from zoo.cli import live
from zoo.cli.live import Watched, headline, view
from zoo.cli.specs import apart, settings

PLAN = StudyConfig(trials=10)
TRAIN = StudyConfig(accuracy="train", dataset="scenes", trials=10, epochs=4, long_epochs=12, promote=3, repeats=2)


def cost(one, seconds):
    return replace(one, seconds=seconds)


def running(number, index, age_s):
    return replace(entry(number, index, None, state="running"), age_s=age_s, reports={1: 20.0, 2: 31.0})


@pytest.fixture
def searched():
    return [cost(entry(n, n, 40.0 + n), 10.0) for n in range(4)]


def test_time_left_is_what_is_due_at_the_mean_cost(found, searched):  # noqa: F811
    assert StudyProgress(found, PLAN, [], [], 1, None).left_s is None
    assert StudyProgress(found, PLAN, searched, [], 1, None).left_s == 60
    assert StudyProgress(found, PLAN, searched, [], 3, None).left_s == 20
    assert StudyProgress(found, PLAN, searched, [], 1, 25.0).left_s == 25, "the budget ends it"
    begun = [*searched, running(4, 7, 4.0), running(5, 8, 99.0)]
    assert StudyProgress(found, PLAN, begun, [], 1, None).left_s == 60 - 4 - 10


def test_time_left_counts_the_follow_up(found, searched):  # noqa: F811
    follow = 3 * (1 + 2) * 10 * 12 / 4
    assert StudyProgress(found, TRAIN, searched, [], 1, None).left_s == 60 + follow
    done = [cost(entry(0, 3, 50.0), 36.0)]
    assert StudyProgress(found, TRAIN, searched, done, 1, None).left_s == pytest.approx(36 * 8)


def test_a_watcher_sees_trials_end_and_the_front_of_what_was_measured(tmp_path, monkeypatch, found):  # noqa: F811
    monkeypatch.setattr(search.study.course, "SHOWN_EVERY_S", 0.0)
    seen = []
    config = StudyConfig(trials=6, sampler="random")
    start(QUERY, config, tmp_path, engine=with_evaluator(Steady()), watch=seen.append)
    ended = [sum(e.ended for e in one.trials) for one in seen]
    assert ended == sorted(ended)
    assert ended[-1] >= 5
    last = seen[-1]
    complete = [e for e in last.searched if e.state == "complete"]
    points = found.points(np.array([e.index for e in complete]), [e.miou for e in complete])
    best = {e.index for e, keep in zip(complete, nondominated(points), strict=True) if keep}
    assert {m.index for m in last.front} == best


def test_a_terminal_gets_a_table_and_lines_above_it(found, searched):  # noqa: F811
    out = io.StringIO()
    watched = Watched(Console(file=out, force_terminal=True, width=110), lambda: None)
    watched.say("search 1: mIOU 40.00 %")
    watched.watch(StudyProgress(found, PLAN, [*searched, running(4, 7, 4.0)], [], 1, None))
    watched.close()
    text = out.getvalue()
    for part in ("search 1: mIOU 40.00 %", "front so far", "4 of 10 trials", "epoch 2, mIOU 31.0 %", "about 56 s left"):
        assert part in text


def test_elsewhere_there_are_plain_lines_now_and_then(found, searched, capsys, monkeypatch):  # noqa: F811
    watched = Watched(None, lambda: None)
    outlook = StudyProgress(found, PLAN, searched, [], 1, None)
    watched.watch(outlook)
    assert capsys.readouterr().err == "", "a moment ago"
    monkeypatch.setattr(live, "EVERY_S", 0.0)
    watched.watch(outlook)
    watched.watch(outlook)
    assert capsys.readouterr().err == headline(outlook) + "\n", "what has not changed is not said again"
    assert headline(outlook).startswith("search: 4 of 10 trials, ")


def test_nothing_measured_yet_is_no_error(found):  # noqa: F811
    outlook = StudyProgress(found, PLAN, [], [], 1, None)
    console = Console(file=io.StringIO(), width=100)
    console.print(view(outlook))
    assert "time left is not known yet" in console.file.getvalue()


def test_what_specs_share_is_said_once():
    specs = [{"k": 4, "widths": [16, 64], "hff": True}, {"k": 5, "widths": [16, 64], "hff": True}]
    assert apart(specs, ["k", "widths", "hff"]) == ("widths=16,64 hff=true", ["k=4", "k=5"])
    assert apart(specs[:1], ["k", "hff"]) == ("", ["k=4 hff=true"])
    assert settings(specs[0], ["widths"]) == "widths=16,64"
