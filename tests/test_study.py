"""Studies: samplers against definitions, and nothing lost whatever happens."""

import csv
import json
import os
import random
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from study_evaluators import Bad, NeedsFile, Steady

pytest.importorskip("optuna", reason="optuna is not installed; pip install 'edgeseg-zoo[optuna]'")
moocore = pytest.importorskip("moocore", reason="moocore is not installed; pip install 'edgeseg-zoo[optuna]'")

import search.study.storage  # noqa: E402
from search.accuracy.linear import percent  # noqa: E402
from search.device_at import DeviceAt  # noqa: E402
from search.exact import NothingFeasible  # noqa: E402
from search.exact import search as exact  # noqa: E402
from search.query import Query  # noqa: E402
from search.space import SearchSpace  # noqa: E402
from search.study.config import StudyConfig  # noqa: E402
from search.study.ehvi import surface  # noqa: E402
from search.study.engines.local import Inline, Processes, Task, attempt  # noqa: E402
from search.study.evaluators import Held, Published, Train  # noqa: E402
from search.study.feasible import feasible_set  # noqa: E402
from search.study.halving import Halving, ranks  # noqa: E402
from search.study.observations import history  # noqa: E402
from search.study.promotion import follow_ups  # noqa: E402
from search.study.repeats import Noise  # noqa: E402
from search.study.results import StudyResults, write_results  # noqa: E402
from search.study.samplers import SAMPLERS, Exhausted, History, Setting, Tried, choose  # noqa: E402
from search.study.storage import FolderLock, mend  # noqa: E402
from search.study.study import local, resumed, start  # noqa: E402
from search.study.surrogate import (  # noqa: E402
    NO_OBSERVATIONS,
    Observations,
    Scale,
    Surrogate,
    conflict,
    fit,
    observations_of,
    prior,
)
from search.study.trials import Trial  # noqa: E402
from zoo.bulk.choices import Choices  # noqa: E402
from zoo.cli import main  # noqa: E402
from zoo.config import Limits  # noqa: E402
from zoo.errors import ConfigError, ZooError  # noqa: E402

SPACE = SearchSpace(
    Choices("espnet", {"variant": ("C", "ESPNet"), "k": (4, 5, 8), "alpha2": (1, 2), "alpha3": (3, 5, 8)}), (256, 512)
)
LIMITS = Limits(max_params=300_000)
QUERY = Query(space=SPACE, devices=(DeviceAt("tx2"),), limits=LIMITS)


def with_evaluator(evaluator, **options):
    """An engine for `start` that measures by another evaluator."""

    def make(planned, decide, logs, config):
        if not evaluator.isolated:
            return Inline(evaluator, decide)
        return Processes(evaluator, decide, logs, limit_s=config.limit_s, **options)

    return make


@pytest.fixture(scope="module")
def found():
    return feasible_set(QUERY)


@pytest.fixture(scope="module")
def setting(found):
    return Setting(found, prior(found, same_protocol=True), Scale(), 0, 20)


def rows_of(folder):
    with (folder / "trials.csv").open(newline="") as file:
        return [{k: v for k, v in row.items() if k != "seconds"} for row in csv.DictReader(file)]


# The candidates


def test_candidates_are_what_the_exact_search_finds_feasible(found):
    result = exact(found.query)
    assert (found.enumerated, len(found)) == (result.enumerated, result.feasible)
    front = {int(row) for row in result.columns.rows}
    points = found.points(np.arange(len(found)), found.miou[:, 1])
    assert {int(r) for r in found.rows[ranks(points) == 0]} == front


def test_objectives_without_miou_need_no_study():
    with pytest.raises(ConfigError, match="none of them is measured"):
        feasible_set(replace(QUERY, objectives=("latency", "size")))


def test_nothing_feasible_is_said_with_what_would_help():
    with pytest.raises(NothingFeasible, match="binds") as caught:
        feasible_set(replace(QUERY, limits=Limits(max_params=1000)))
    assert caught.value.report["binding"] == ["max_params"]


def test_a_family_without_published_figures_is_searched_as_well():
    space = SearchSpace(Choices("enet", {"classes": (5, 12, 19)}), (256, 512))
    query = Query(space=space, devices=(DeviceAt("tx2"),))
    found = feasible_set(query)
    assert len(found) == 3
    mean, sd = Surrogate(prior(found, same_protocol=False), NO_OBSERVATIONS, Scale()).at(np.arange(3))
    assert (sd > 5).all()
    assert mean == pytest.approx([50.0] * 3)


# Expected improvement and belief, against their definitions


@pytest.mark.parametrize("axes", [1, 2, 3])
@pytest.mark.parametrize("size", [0, 1, 7])
def test_expected_improvement_is_the_mean_of_hypervolume_improvements(axes, size):
    rng = np.random.default_rng(axes * 10 + size)
    known, miou = rng.uniform(0, 1, (size, axes)), rng.uniform(40, 70, size)
    floor, worst = 45.0, np.full(axes, 0.9)
    z, mean, sd = rng.uniform(0, 1.1, (6, axes)), rng.uniform(45, 70, 6), rng.uniform(0.5, 5, 6)

    def volume(points):
        inside = points[(points < [-floor, *worst]).all(axis=1)] if len(points) else points
        return moocore.hypervolume(inside, ref=[-floor, *worst]) if len(inside) else 0.0

    front = np.column_stack([-miou, known])
    quantiles = (np.arange(2000) + 0.5) / 2000
    from statistics import NormalDist

    normal = np.array([NormalDist().inv_cdf(q) for q in quantiles])
    expected = [
        np.mean([volume(np.vstack([front, [-(m + s * n), *point]])) for n in normal[:: 1 if size < 2 else 10]])
        - volume(front)
        for m, s, point in zip(mean, sd, z, strict=True)
    ]
    result = surface(miou, known, (floor, worst), np.minimum(z.min(axis=0), known.min(axis=0, initial=1)))
    assert result.improvement(mean, sd, z) == pytest.approx(expected, rel=0.03, abs=0.02)


def test_a_belief_is_the_conditional_of_the_joint_normal(setting):
    told = observations_of([(0, 50.0, 0.0), (7, 55.0, 0.0), (3, 48.0, 1.0)])
    belief = Surrogate(setting.prior, told, Scale(1.5, 0.4))
    own = setting.prior
    everyone = np.arange(len(setting.feasible))
    distance = ((own.positions[:, None] - own.positions) ** 2).sum(axis=2)
    joint = own.features @ own.covariance @ own.features.T + 1.5**2 * np.exp(-distance / (2 * 0.6**2))
    from search.accuracy.linear import points

    observed = joint[np.ix_(told.index, told.index)] + np.diag(0.4**2 + told.extra)
    gain = joint[:, told.index] @ np.linalg.inv(observed)
    centre = own.features @ own.mean
    mean = centre + gain @ (points(told.miou) - centre[told.index])
    variance = np.diag(joint - gain @ joint[told.index])
    assert belief.points_at(everyone)[0] == pytest.approx(mean)
    assert belief.points_at(everyone)[1] == pytest.approx(variance)


def test_trials_that_follow_the_published_figures_leave_the_prior_its_weight(setting):
    own = setting.prior
    index = np.array([0, 3, 7, 11, 15, 19])
    told = Observations(index, percent(own.features[index] @ own.mean), np.zeros(len(index)))
    scale = fit(own, told)
    assert scale.weight == 1.0
    assert conflict(own, told, scale) == 1.0


def test_trials_against_the_published_figures_take_weight_from_the_prior(setting):
    own = setting.prior
    index = np.arange(0, len(setting.feasible), 2)
    against = 2 * own.mean[0] - own.features[index] @ own.mean  # every effect with the other sign
    told = Observations(index, percent(against), np.zeros(len(index)))
    scale = fit(own, told)
    assert scale.weight < 1.0
    # The ratio of two densities, each of a joint normal.
    likely = [Surrogate(own, told, replace(scale, weight=w)).log_likelihood() for w in (scale.weight, 1.0)]
    assert conflict(own, told, scale) == pytest.approx(np.exp(min(likely[0] - likely[1], 300.0)))
    assert conflict(own, told, scale) > 7
    # Whoever raises a Gaussian prior to a power divides its covariance.
    wider = replace(own, covariance=own.covariance / scale.weight)
    full = Surrogate(wider, told, replace(scale, weight=1.0)).points_at(index)
    for one, other in zip(Surrogate(own, told, scale).points_at(index), full, strict=True):
        assert one == pytest.approx(other)


def test_left_out_is_a_fit_without_the_trial(setting):
    told = observations_of([(0, 50.0, 0.0), (7, 55.0, 0.0), (3, 48.0, 0.0), (11, 51.0, 0.0)])
    scale = Scale(1.0, 0.5)
    mean, sd = Surrogate(setting.prior, told, scale).left_out()
    for i in range(4):
        rest = np.delete(np.arange(4), i)
        without = Surrogate(setting.prior, Observations(told.index[rest], told.miou[rest], told.extra[rest]), scale)
        m, _ = without.at([told.index[i]])
        v = without.points_at([told.index[i]])[1] + scale.noise**2
        assert mean[i] == pytest.approx(m[0])
        assert sd[i] == pytest.approx(np.sqrt(v[0]) * m[0] * (100 - m[0]) / 2500)


def test_a_likelier_scale_is_found(setting):
    rng = np.random.default_rng(0)
    own, index = setting.prior, np.arange(len(setting.feasible))
    from search.accuracy.linear import percent

    truth = own.features @ rng.multivariate_normal(own.mean, own.covariance)
    noisy = observations_of([(int(i), float(percent(truth[i] + rng.normal(0, 1.6))), 0.0) for i in np.tile(index, 4)])
    clean = observations_of([(int(i), float(percent(truth[i])), 0.0) for i in index])
    assert fit(own, noisy).noise >= 0.8
    assert fit(own, clean).noise == 0.05


# Samplers


def play(sampler, found, count, start_at=()):
    tried = list(start_at)
    for number in range(len(tried), count):
        told = observations_of([(t.index, t.miou, 0.0) for t in tried])
        taken = np.array([t.index for t in tried], np.int64)
        proposal = sampler(History(tuple(tried), told, np.empty(0, np.int64), taken), number)
        tried.append(Tried(proposal.index, float(found.miou[proposal.index, 1]), dict(proposal.notes)))
    return tried


@pytest.mark.parametrize("name", [name for name in SAMPLERS if name != "gp"])
def test_a_sampler_never_asks_twice_and_goes_on_as_if_never_stopped(name, setting, found):
    whole = play(SAMPLERS[name](setting), found, len(found))
    assert sorted(t.index for t in whole) == list(range(len(found))), "all of them, each once"
    again = play(SAMPLERS[name](setting), found, 14, whole[:11])
    assert [t.index for t in again] == [t.index for t in whole[:14]]
    with pytest.raises(Exhausted):
        play(SAMPLERS[name](setting), found, len(found) + 1, whole)


def test_optunas_gp_asks_within_the_limits(setting, found):
    pytest.importorskip("torch", reason="Optuna's GPSampler needs torch")
    tried = play(SAMPLERS["gp"](setting), found, 11)
    assert len({t.index for t in tried}) == 11


def test_running_trials_are_not_asked_again_and_spread_the_proposals(setting, found):
    sampler = SAMPLERS["ehvi"](setting)
    running = np.empty(0, np.int64)
    for number in range(5):
        running = np.append(running, sampler(History((), NO_OBSERVATIONS, running, running), number).index)
    assert len(set(running.tolist())) == 5


def test_improvement_finds_the_front_sooner_than_chance(setting, found):
    points = found.points(np.arange(len(found)), found.miou[:, 1])
    span = np.ptp(points, axis=0)
    unit = (points - points.min(axis=0)) / span

    def share(name):
        tried = play(SAMPLERS[name](setting), found, 6)
        return moocore.hypervolume(unit[[t.index for t in tried]], ref=[1.1] * 3)

    assert share("ehvi") > share("random")


def test_auto_says_why():
    assert choose(30, 70_000)[0] == "ehvi"
    assert "30 trials" in choose(30, 70_000)[1]
    assert choose(100, 100)[0] == "random"


def test_an_unknown_sampler_has_a_nearest_name():
    with pytest.raises(ConfigError, match="did you mean 'ehvi'"):
        StudyConfig(sampler="ehiv")


# Successive halving


def test_ranks_peel_fronts():
    rng = np.random.default_rng(3)
    points = rng.integers(0, 6, (40, 3)).astype(float)
    found = ranks(points)
    for i, p in enumerate(points):
        beaten_by = [found[j] for j, q in enumerate(points) if (q <= p).all() and (q < p).any()]
        assert found[i] == max(beaten_by, default=-1) + 1


def test_what_lags_is_stopped_and_a_front_goes_on():
    line = np.array([[i, i] for i in range(8)], dtype=float)
    halving = Halving((1,), keep=0.5)
    assert [halving.goes_on(line, i) for i in range(8)] == [True] * 4 + [False] * 4
    front = np.array([[i, -i] for i in range(8)], dtype=float)
    assert all(halving.goes_on(front, i) for i in range(8))
    assert all(halving.goes_on(line[:3], i) for i in range(3)), "too few to judge"


def test_stopped_trials_keep_what_they_reported_and_count_as_stopped(tmp_path, found, monkeypatch):
    monkeypatch.setattr(Published, "epochs", 8)
    config = StudyConfig(trials=len(found), sampler="random", promote=0)
    monkeypatch.setattr("search.study.config.Published", lambda images: Steady(epochs=8, images=images))
    done = start(QUERY, config, tmp_path)
    states = {e.state for e in done.searched}
    assert states == {"complete", "stopped"}
    for entry in done.searched:
        assert max(entry.reports) == (8 if entry.state == "complete" else max(entry.reports))
        assert entry.state == "complete" or max(entry.reports) in (2, 4)
    told = history(done.searched, done.feasible).told
    assert len(told) > sum(e.state == "complete" for e in done.searched), "stopped trials are evidence too"
    final = {e.index: found.miou[e.index, 1] for e in done.searched}
    raised = [abs(m - final[i]) for i, m, x in zip(told.index, told.miou, told.extra, strict=True) if x]
    assert np.median(raised) < 5, "raised by what the others gained"


# Nothing is lost

SCRIPT = """
import sys
from pathlib import Path
sys.path[:0] = [{root!r}, {tests!r}]
from test_study import QUERY, with_evaluator
from study_evaluators import Steady
from search.study.results import write_results
from search.study.config import StudyConfig
from search.study.study import resumed, start
folder, resume = Path(sys.argv[1]), (Path(sys.argv[1]) / "study.json").exists()
config = StudyConfig(trials={trials}, sampler={sampler!r}, seed=3, storage={storage!r})
done = start(QUERY, config, folder, engine=with_evaluator(Steady(pause_s={pause})), resume=resume)
write_results(done, folder)
"""


def process(folder, *, trials=12, sampler="ehvi", pause=0.05, storage=None):
    root = str(Path(__file__).resolve().parents[1])
    code = SCRIPT.format(root=root, tests=f"{root}/tests", trials=trials, sampler=sampler, pause=pause, storage=storage)
    return subprocess.Popen([sys.executable, "-c", code, str(folder)], stderr=subprocess.PIPE, text=True)


def finish(child):
    _, err = child.communicate(timeout=120)
    assert child.returncode == 0, err


KILLS = 50 if os.environ.get("ZOO_SLOW_TESTS") else 3


def test_killed_at_any_moment_it_ends_as_if_never_interrupted(tmp_path):
    """ZOO_SLOW_TESTS=1 kills 50 times."""
    trials = 12 if KILLS < 50 else 22
    finish(process(tmp_path / "whole", trials=trials, pause=0))
    chance = random.Random(5)
    for _ in range(KILLS):
        child = process(tmp_path / "killed", trials=trials)
        journal, before = tmp_path / "killed" / "trials.journal", 0
        before = journal.stat().st_size if journal.exists() else 0
        until = time.monotonic() + 60
        while child.poll() is None and time.monotonic() < until:
            if journal.exists() and journal.stat().st_size > before:
                time.sleep(chance.uniform(0, 0.15))
                break
            time.sleep(0.005)
        child.kill()
        child.wait()
        child.stderr.close()
    finish(process(tmp_path / "killed", trials=trials, pause=0))
    whole, killed = rows_of(tmp_path / "whole"), rows_of(tmp_path / "killed")
    assert len(whole) == trials
    assert killed == whole


def test_two_processes_share_a_study(tmp_path):
    first = process(tmp_path, trials=16, pause=0.15)
    while not (tmp_path / "study.json").exists():
        assert first.poll() is None, first.communicate()[1]
        time.sleep(0.01)
    second = process(tmp_path, trials=16, pause=0.15)
    finish(first)
    finish(second)
    rows = rows_of(tmp_path)
    assert len(rows) == 16
    assert [row["state"] for row in rows] == ["complete"] * 16
    specs = [json.dumps({k: row[k] for k in ("variant", "k", "alpha2", "alpha3")}) for row in rows]
    assert len(set(specs)) == 16, "no candidate twice"


@pytest.mark.parametrize("url", ["sqlite:///{folder}/studies.db", os.environ.get("ZOO_TEST_STORAGE")])
def test_machines_without_a_common_folder_share_a_database(url, tmp_path):
    """ZOO_TEST_STORAGE is the URL of an empty PostgreSQL or MySQL database."""
    if url is None:
        pytest.skip("ZOO_TEST_STORAGE names no database")
    storage = url.format(folder=tmp_path)
    children = [process(tmp_path / name, trials=14, pause=0.1, storage=storage) for name in "ab"]
    for child in children:
        finish(child)
    rows = rows_of(tmp_path / "a")
    assert rows == rows_of(tmp_path / "b")
    assert [row["state"] for row in rows] == ["complete"] * 14
    assert len({tuple(row[k] for k in ("variant", "k", "alpha2", "alpha3")) for row in rows}) == 14


def test_a_database_gives_what_the_journal_gives(tmp_path):
    for name, storage in (("journal", None), ("database", f"sqlite:///{tmp_path}/studies.db")):
        done = start(QUERY, StudyConfig(trials=5, sampler="nsga2", storage=storage), tmp_path / name)
        write_results(done, tmp_path / name)
    assert rows_of(tmp_path / "journal") == rows_of(tmp_path / "database")


def test_an_ended_study_goes_on_with_more_trials_as_if_it_had_more_from_the_start(tmp_path):
    for trials, resume in ((4, False), (9, True)):
        done = start(QUERY, StudyConfig(trials=trials, sampler="ehvi"), tmp_path / "more", resume=resume)
    write_results(done, tmp_path / "more")
    write_results(start(QUERY, StudyConfig(trials=9, sampler="ehvi"), tmp_path / "whole"), tmp_path / "whole")
    assert rows_of(tmp_path / "more") == rows_of(tmp_path / "whole")


def test_a_torn_last_line_is_cut_off(tmp_path):
    start(QUERY, StudyConfig(trials=3), tmp_path)
    journal = tmp_path / "trials.journal"
    whole = journal.read_bytes()
    journal.write_bytes(whole + b'{"op_code": 4, "wor')
    done = start(QUERY, StudyConfig(trials=4), tmp_path, resume=True)
    assert [e.state for e in done.searched] == ["complete"] * 4
    assert journal.read_bytes().startswith(whole)
    for line in journal.read_bytes().splitlines():
        json.loads(line)
    empty = tmp_path / "empty"
    empty.write_bytes(b"")
    mend(empty)
    assert empty.read_bytes() == b""


def test_optuna_understands_the_study(tmp_path):
    import optuna
    from optuna.storages.journal import JournalFileBackend

    start(QUERY, StudyConfig(trials=5), tmp_path)
    storage = optuna.storages.JournalStorage(JournalFileBackend(str(tmp_path / "trials.journal")))
    study = optuna.load_study(study_name="search", storage=storage)
    assert study.metric_names == ["miou", "latency_s", "weight_bytes"]
    assert [d.name for d in study.directions] == ["MAXIMIZE", "MINIMIZE", "MINIMIZE"]
    assert len(study.trials) == 5
    for trial in study.trials:
        assert trial.constraints["max_params"] <= 0
        assert SPACE.row(SPACE.spec(trial.user_attrs["row"])) == trial.user_attrs["row"]
    assert study.best_trials


# What may go wrong


@pytest.mark.parametrize(
    ("way", "says"),
    [
        ("raise", "ValueError: no such layer"),
        ("memory", "MemoryError: no memory left"),
        ("nan", "mIOU of nan"),
        ("hang", "time limit of 8 s"),
        ("killed", "SIGKILL"),
        ("exit", "exit code 3"),
    ],
)
def test_a_trial_that_fails_is_kept_with_its_log(way, says, tmp_path):
    if way in ("raise", "memory", "nan"):  # no process of its own is needed to see these
        outcome = attempt(Bad(way=way), Task(1, SPACE.spec(0), 0), lambda epoch, miou: True)
        assert outcome.state == "failed"
        assert says in outcome.error
        return
    config = StudyConfig(trials=3 if way == "killed" else 2, sampler="random", limit_s=8.0 if way == "hang" else 60.0)
    done = start(QUERY, config, tmp_path, engine=with_evaluator(Bad(way=way)))
    assert [e.state for e in done.searched] == ["complete", "failed", "complete"][: config.trials]
    assert says in done.searched[1].error
    log = (tmp_path / "logs" / "search" / "0001.failed.log").read_text()
    assert "evaluating 1" in log


def test_a_study_of_failures_only_says_so(tmp_path):
    class AllBad(Steady):
        def evaluate(self, spec, number, seed, report):
            raise ValueError("no such layer")

    with pytest.raises(ZooError, match="all 3 trials failed, the last with: ValueError: no such layer"):
        start(QUERY, StudyConfig(trials=3), tmp_path, engine=with_evaluator(AllBad()))


def test_a_data_set_that_vanishes_stops_the_study_and_loses_no_trial(tmp_path):
    path = tmp_path / "data"
    path.touch()
    with pytest.raises(ZooError, match="no such data set; what was told is kept: go on with --resume"):
        start(QUERY, StudyConfig(trials=4), tmp_path / "run", engine=with_evaluator(NeedsFile(path=str(path))))
    done = start(QUERY, StudyConfig(trials=4), tmp_path / "run", resume=True)
    assert [e.state for e in done.searched] == ["complete"] * 4


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"devices": (DeviceAt("titanx"),)}, "devices"),
        ({"space": replace(SPACE, size=(512, 1024))}, "space.size is '512x256' there and '1024x512' here"),
        ({"limits": Limits(max_params=200_000)}, "limits.max_params is 300000 there and 200000 here"),
    ],
)
def test_a_study_of_another_search_is_refused(changes, says, tmp_path):
    start(QUERY, StudyConfig(trials=2), tmp_path)
    with pytest.raises(ConfigError, match="made for another search") as caught:
        start(replace(QUERY, **changes), StudyConfig(trials=2), tmp_path, resume=True)
    assert says in str(caught.value)
    (tmp_path / "study.json").unlink()  # the storage itself knows as well
    with pytest.raises(ConfigError, match="made for another search"):
        start(replace(QUERY, **changes), StudyConfig(trials=2), tmp_path)


def test_a_folder_with_a_study_is_not_begun_again(tmp_path):
    start(QUERY, StudyConfig(trials=2), tmp_path)
    with pytest.raises(ZooError, match="--resume"):
        start(QUERY, StudyConfig(trials=2), tmp_path)


@pytest.mark.parametrize(
    "url",
    [
        "sqlite:////nowhere/at/all/studies.db",
        "postgresql+none://me:secret@host/x",
        "postgresql+pg8000://me:secret@127.0.0.1:1/x",
        "rubbish",
    ],
)
def test_a_storage_out_of_reach_is_one_sentence_without_the_password(url, tmp_path):
    with pytest.raises(ZooError, match=r"cannot be reached|needs the Python package") as caught:
        start(QUERY, StudyConfig(trials=2, storage=url), tmp_path)
    assert "secret" not in str(caught.value)
    assert "secret" not in (tmp_path / "study.json").read_text()


def test_a_database_that_another_process_holds_is_an_error(tmp_path, monkeypatch):
    import sqlite3

    path = tmp_path / "studies.db"
    start(QUERY, StudyConfig(trials=1, storage=f"sqlite:///{path}"), tmp_path / "run")
    monkeypatch.setattr(search.study.storage, "LOCK_S", 0.05)
    holder = sqlite3.connect(path)
    holder.execute("BEGIN EXCLUSIVE")
    config = StudyConfig(trials=2, storage=f"sqlite:///{path}")
    with pytest.raises(ZooError, match=r"cannot be reached or written .*locked.*free it"):
        start(QUERY, config, tmp_path / "run", resume=True)
    holder.close()
    done = start(QUERY, config, tmp_path / "run", resume=True)
    assert [e.state for e in done.searched] == ["complete"] * 2


def test_a_lock_that_is_never_let_go_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(search.study.storage, "LOCK_S", 0.05)
    with FolderLock(tmp_path)(), pytest.raises(ZooError, match="another process has held"):
        start(QUERY, StudyConfig(trials=2), tmp_path)


def test_a_budget_too_small_for_one_trial_is_said(tmp_path):
    with pytest.raises(ZooError, match="budget of 1e-09 s is too small for one trial"):
        start(QUERY, StudyConfig(trials=2, budget_s=1e-9), tmp_path)
    done = start(QUERY, StudyConfig(trials=2), tmp_path, resume=True)
    assert [e.state for e in done.searched] == ["complete"] * 2


@pytest.mark.parametrize("wrong", [{"trials": 0}, {"accuracy": "train"}, {"accuracy": "guess"}, {"promote": -1}])
def test_a_plan_that_means_nothing_is_refused(wrong):
    with pytest.raises(ConfigError):
        StudyConfig(**wrong)


def test_a_folder_without_a_study_cannot_be_resumed(tmp_path):
    with pytest.raises(ConfigError, match="holds no study"):
        resumed(tmp_path)


# Follow-up and findings


def entry(number, index, miou, *, state="complete", seed=0):
    return Trial(number, state, index, seed, miou, {}, {}, 1.0, None, None, 0.0, void=False)


def test_the_best_train_longer_and_their_front_again_with_other_seeds(found):
    config = StudyConfig(accuracy="train", dataset="scenes", promote=3, repeats=2, seed=5)
    index = np.argsort(found.known[:, 0])[:6]
    searched = [entry(n, int(i), 40.0 + 3 * n) for n, i in enumerate(index)]
    first = follow_ups(found, searched, [], config)
    assert len(first) == 3
    assert all(seed == 5 for _, seed in first)
    rank = ranks(found.points(index, [e.miou for e in searched]))
    assert {i for i, _ in first} <= {int(i) for i, r in zip(index, rank, strict=True) if r == 0}
    done = [entry(n, i, 50.0 + n, seed=5) for n, (i, _) in enumerate(first)]
    done[0] = replace(done[0], state="failed", miou=None)
    due = follow_ups(found, searched, done, config)
    assert due[:3] == first
    assert {seed for _, seed in due[3:]} == {6, 7}
    assert done[0].index not in {i for i, _ in due[3:]}


def test_noise_is_pooled_and_differences_within_it_are_said(tmp_path, found):
    config = StudyConfig(accuracy="train", dataset="scenes")
    done = start(QUERY, StudyConfig(trials=4), tmp_path)
    best, other = found.known[:, 0].argsort()[[8, 0]]
    followed = [
        entry(0, int(best), 60.0),
        entry(1, int(best), 62.0),
        entry(2, int(other), 58.0),
        entry(3, int(other), 58.5),
    ]
    findings = StudyResults(replace(done, followed=followed, config=config))
    pooled = np.sqrt((2 * 1.0**2 + 2 * 0.25**2) / 2)
    assert findings.noise == Noise(pytest.approx(pooled), 2)
    assert findings.noise.reach(2, 2) == pytest.approx(4.303 * pooled, rel=1e-3)
    document = findings.document()
    assert [e["miou"]["mean"] for e in document["front"]] == [61.0, 58.25]
    assert document["differences"] == [
        {"ranks": [1, 2], "difference": 2.75, "noise": pytest.approx(4.303 * pooled, rel=1e-3), "exceeds_noise": False}
    ]
    assert all(e["miou_source"].startswith("predicted") for e in document["predicted"])


def test_training_reports_every_epoch_and_goes_on_from_its_checkpoint(tmp_path):
    pytest.importorskip("torch", reason="training needs torch")
    from zoo.data.classes import CAMVID

    rng = np.random.default_rng(0)
    samples = tuple(
        (rng.integers(0, 255, (32, 64, 3), dtype=np.uint8), rng.integers(0, 11, (32, 64), dtype=np.uint8))
        for _ in range(4)
    )
    sets = (Held("made", "train", CAMVID, samples), Held("made", "val", CAMVID, samples[:2]))
    evaluator = Train("made", None, 2, (32, 64), tmp_path, changes={"batch": 2}, sets=sets)
    spec = Choices("espnet", {"variant": ("C",), "alpha3": (0,)})
    space = SearchSpace(spec, (64, 128))
    whole: list[tuple[int, float]] = []

    def keep(epoch, miou):
        whole.append((epoch, miou))

    score = evaluator.evaluate(space.spec(0), 0, 7, keep)
    assert [epoch for epoch, _ in whole] == [1, 2]
    assert score == max(miou for _, miou in whole)

    def interrupted(epoch, miou):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        evaluator.evaluate(space.spec(0), 1, 7, interrupted)
    again: list[tuple[int, float]] = []
    assert evaluator.evaluate(space.spec(0), 1, 7, lambda e, m: again.append((e, m))) == score
    assert again == whole


# The command


def test_the_command_measures_and_goes_on(tmp_path, capsys):
    run = str(tmp_path / "run")
    argv = ["search", "--space", "tiny", "--device", "tx2", "--max-params", "300k", "--trials", "4", "--no-plots"]
    assert main([*argv, "-o", run, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert {"run", "enumerated", "feasible", "front", "complete", "chosen"} <= document.keys()
    assert document["complete"] is False
    assert document["trials"]["complete"] == 4
    assert {"rank", "spec", "miou", "params", "weight_bytes", "macs", "latency_s", "power_w", "energy_j"} <= document[
        "front"
    ][0].keys()
    assert main(["search", "--resume", run, "--trials", "6", "--no-plots", "--json"]) == 0
    more = json.loads(capsys.readouterr().out)
    assert more["trials"]["complete"] == 6
    assert main(["search", "--resume", run, "--no-plots"]) == 0
    assert "6 measured" in capsys.readouterr().out
    assert main(["verify", run]) == 1
    assert "only exact searches are verified" in capsys.readouterr().err


def test_an_interrupted_study_shows_what_was_told(tmp_path, capsys, monkeypatch):
    run, told = tmp_path / "run", []

    def interrupted(watched, text):
        told.append(text)
        if text.startswith("search 3:"):
            raise KeyboardInterrupt

    monkeypatch.setattr("zoo.cli.live.Watched.say", interrupted)
    argv = ["search", "--space", "tiny", "--device", "tx2", "--trials", "6", "--no-plots", "-o", str(run)]
    assert main(argv) not in (0, 1, 2, 3)
    assert "what was measured so far" in capsys.readouterr().err
    assert json.loads((run / "front.json").read_text())["trials"]["complete"] == 3
    (run / "front.json").unlink()
    assert main(["report", str(run), "--json"]) == 0, "a study without its front is read anew"
    monkeypatch.undo()
    capsys.readouterr()
    assert main(["search", "--resume", str(run), "--no-plots", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["trials"]["complete"] == 6


def test_the_command_refuses_what_means_nothing(tmp_path, capsys):
    run = str(tmp_path / "run")
    tiny = ["search", "--space", "tiny", "--no-plots", "-o", run]
    assert main([*tiny, "--trials", "2", "--max-params", "10"]) == 3
    assert main([*tiny, "--accuracy", "train"]) == 1
    assert "--dataset" in capsys.readouterr().err
    assert main([*tiny, "--accuracy", "train", "--dataset", "camvid", "--data", str(tmp_path / "none")]) == 1
    assert str(tmp_path / "none") in capsys.readouterr().err
    assert main(["search", "--resume", run, "--device", "tx2"]) == 2
    assert main([*tiny, "--trials", "2", "--address", "auto"]) == 2
    assert main(["search", "--resume", str(tmp_path)]) == 1


def test_local_runs_trained_candidates_in_processes(tmp_path):
    config = StudyConfig(accuracy="train", dataset="scenes")
    short, long = config.evaluators(tmp_path, QUERY.space.size)
    assert (short.epochs, long.epochs) == (10, 40)
    assert isinstance(local(short, lambda *a: True, tmp_path, config), Processes)
    assert isinstance(local(Published(), lambda *a: True, tmp_path, config), Inline)
