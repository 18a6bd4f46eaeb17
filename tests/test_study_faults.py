"""Studies through faults: dead workers, damaged journals, and folders that come from strangers."""

import json
import socket
from dataclasses import replace
from pathlib import Path

import pytest

optuna = pytest.importorskip("optuna")

from test_study import QUERY  # noqa: E402

from search.study import workers  # noqa: E402
from search.study.config import StudyConfig  # noqa: E402
from search.study.results import write_results  # noqa: E402
from search.study.storage import absolute  # noqa: E402
from search.study.study import resumed, start  # noqa: E402
from search.study.workers import Worker, seen  # noqa: E402
from zoo.cli import main  # noqa: E402
from zoo.errors import ConfigError, ZooError  # noqa: E402


def study(folder: Path, trials: int = 2, *, resume: bool = False):
    done = start(QUERY, StudyConfig(trials=trials, sampler="random"), folder, resume=resume)
    write_results(done, folder)
    return done


# Workers


def test_a_worker_of_this_process_is_alive_and_then_gone(tmp_path):
    worker = Worker(tmp_path)
    assert not seen(worker.name, worker.folder, 0, None).gone
    worker.close()
    assert seen(worker.name, worker.folder, 0, None).gone, "closed in a process that lives on"
    elsewhere = [*worker.name[:3], "another-machine 1:1"]
    assert seen(elsewhere, worker.folder, 0, None).gone, "its lock is gone from the folder that both have"


def test_a_renamed_host_does_not_keep_its_trials(tmp_path, monkeypatch):
    """A container that was killed and made anew has another name, another machine and the same folder."""
    worker = Worker(tmp_path)
    name = ["old-container", *worker.name[1:3], "old-container 7:7"]
    assert not seen(name, worker.folder, 0, None).gone, "its lock is held"
    worker._lock.release()
    assert seen(name, worker.folder, 0, None).gone


def test_another_machine_of_the_same_host_name_keeps_its_trials(tmp_path):
    worker = Worker(tmp_path / "here")
    name = [socket.gethostname(), "123-0123abcd.lock", "f" * 32, "another-machine 123:1"]
    sight = seen(name, worker.folder, 10.0, 60.0)
    assert not sight.gone and sight.left_s == 2 * 60 + 60 - 10
    assert seen(name, worker.folder, 1000.0, 60.0).gone
    worker.close()


@pytest.mark.parametrize(
    "name", [None, 7, [], ["h"], ["h", 3], ["h", "/etc/passwd"], ["h", "../x.lock"], ["\x1b[31m", "a\0"]]
)
def test_what_a_storage_says_of_a_worker_is_never_a_path(name, tmp_path):
    precious = tmp_path / "x.lock"
    precious.write_text("mine")
    worker = Worker(tmp_path / "run")
    for entry in (name, [socket.gethostname(), str(precious)], [socket.gethostname(), str(precious), "", ""]):
        assert not seen(entry, worker.folder, 0, None).gone
    assert precious.read_text() == "mine"
    worker.close()


def test_a_trial_of_a_dead_worker_is_measured_again(tmp_path, monkeypatch):
    study(tmp_path, 2)
    lines = (tmp_path / "trials.journal").read_text().splitlines()
    ends = [i for i, line in enumerate(lines) if '"outcome"' in line or json.loads(line)["op_code"] == 6]
    kept = [line for i, line in enumerate(lines) if i < ends[-2]]  # the last trial never ended
    (tmp_path / "trials.journal").write_text("\n".join(kept) + "\n")
    monkeypatch.setattr(socket, "gethostname", lambda: "another-name")
    monkeypatch.setattr(workers, "machine", lambda: "another-machine")
    done = study(tmp_path, 3, resume=True)
    assert [entry.state for entry in done.searched] == ["complete"] * 3


# Journals


def test_blank_lines_are_passed_over(tmp_path):
    study(tmp_path)
    journal = tmp_path / "trials.journal"
    journal.write_bytes(b"\n" + journal.read_bytes().replace(b"\n", b"\n\n  \r\n"))
    assert len(study(tmp_path, 4, resume=True).searched) == 4


@pytest.mark.parametrize(
    "damage",
    [
        b'{"op_code": 4, {"op_code": 4}',
        b"\0\0\0\0",
        b'{"op_code":0,"worker_id":"x"}',
        b"7",
        b'{"op_code":99,"worker_id":"x"}',
    ],
    ids=["twice-begun", "zeros", "without-its-name", "number", "unknown"],
)
def test_a_damaged_line_is_named_with_the_way_on(damage, tmp_path):
    study(tmp_path)
    journal = tmp_path / "trials.journal"
    lines = journal.read_bytes().splitlines()
    whole = journal.read_bytes()
    journal.write_bytes(b"\n".join([*lines[:3], damage, *lines[3:]]) + b"\n")
    with pytest.raises(ZooError, match=r"trials\.journal: line 4 is damaged .* sed -i\.bak 4d .* measured again"):
        study(tmp_path, 3, resume=True)
    journal.write_bytes(whole)
    assert len(study(tmp_path, 3, resume=True).searched) == 3


def test_a_study_without_its_journal_is_not_begun_anew_over_its_results(tmp_path):
    study(tmp_path)
    (tmp_path / "trials.journal").unlink()
    before = (tmp_path / "trials.csv").read_bytes()
    with pytest.raises(ConfigError, match=r"trials\.journal is missing, and trials\.csv is there"):
        study(tmp_path, 3, resume=True)
    assert (tmp_path / "trials.csv").read_bytes() == before


# Folders of strangers


def strange(folder: Path, **config: object) -> Path:
    """A study's folder from elsewhere, without its results."""
    study(folder)
    document = json.loads((folder / "study.json").read_text())
    document["plan"] |= config
    (folder / "study.json").write_text(json.dumps(document))
    for name in ("front.json", "trials.journal", "trials.csv"):
        (folder / name).unlink()
    return folder


def test_a_database_that_a_folder_names_is_not_made(tmp_path, capsys):
    elsewhere = tmp_path / "elsewhere.db"
    folder = strange(tmp_path / "run", storage=f"sqlite:///{elsewhere}")
    for command in (("report", str(folder)), ("pareto", str(folder)), ("search", "--resume", str(folder))):
        assert main(list(command)) in (1, 2)
        assert "not begun here" in capsys.readouterr().err
    assert not elsewhere.exists()


def test_a_study_that_began_here_goes_on_alone(tmp_path):
    config = StudyConfig(trials=2, sampler="random", storage=f"sqlite:///{tmp_path}/s.db")
    start(QUERY, config, tmp_path / "run")
    assert main(["search", "--resume", str(tmp_path / "run"), "--trials", "3", "--no-plots"]) == 0


def test_a_study_does_not_overwrite_another_kind_of_work(tmp_path):
    (tmp_path / "certificate.json").write_text("{}")
    with pytest.raises(ZooError, match="holds a search, and a study would overwrite"):
        study(tmp_path)


def test_a_relative_database_is_one_file_whatever_the_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert absolute("sqlite:///s.db") == f"sqlite:///{tmp_path.as_posix()}/s.db"
    assert StudyConfig(storage="sqlite:///s.db").storage == absolute("sqlite:///s.db")
    assert absolute("sqlite://") == "sqlite://"


@pytest.mark.parametrize(
    "change", [{"trials": "x"}, {"trials": 10**30}, {"seed": -1}, {"size": 3}, {"accuracy": []}, {"x": 1}]
)
def test_a_damaged_plan_is_one_sentence(change, tmp_path):
    study(tmp_path)
    document = json.loads((tmp_path / "study.json").read_text())
    document["plan"] |= change
    (tmp_path / "study.json").write_text(json.dumps(document))
    with pytest.raises(ConfigError):
        resumed(tmp_path)


def test_optuna_sees_constraints_and_the_specs_own_fields(tmp_path):
    query = replace(QUERY)
    study(tmp_path, 2)
    backend = optuna.storages.journal.JournalFileBackend(str(tmp_path / "trials.journal"))
    loaded = optuna.load_study(study_name="search", storage=optuna.storages.JournalStorage(backend))
    trial = loaded.trials[0]
    field, values = next(iter(query.space.choices.values.items()))
    assert trial.user_attrs[f"spec.{field}"] == trial.user_attrs["spec"][field]
    assert trial.user_attrs[f"spec.{field}"] in [list(v) if isinstance(v, tuple) else v for v in values]
    assert (tmp_path / "trials.journal").exists()
