"""Trials on two real Ray nodes, which this file starts and ends."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

# Ray reads these when it is imported: the cluster of this file asks for a token.
os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0123456789abcdef" * 4}
pytest.importorskip("ray", reason="ray is not installed; pip install 'edgeseg-zoo[ray]'")
pytest.importorskip("optuna", reason="optuna is not installed; pip install 'edgeseg-zoo[optuna]'")
if sys.platform == "win32":
    pytest.skip("nodes are started as on Linux", allow_module_level=True)

from study_evaluators import Bad, KillsItsWorkerOnce, Steady, Writes
from test_study import QUERY

from search.study.config import StudyConfig
from search.study.engines.ray_cluster import on_ray
from search.study.study import so_far, start
from zoo.errors import ZooError
from zoo.testing import EngineContract

TESTS = str(Path(__file__).parent)
STORE = "100000000"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def node(name, log, *options):
    """A Ray node as a process of its own group, with a store of 100 MB and one CPU."""
    command = [sys.executable, "-c", "from ray.scripts.scripts import main; main()", "start", "--block", "--num-cpus=1"]
    environment = os.environ | {"STUDY_NODE": name, "PYTHONPATH": os.pathsep.join([TESTS, str(Path(TESTS).parent)])}
    with log.open("w") as file:
        return subprocess.Popen(
            [*command, f"--object-store-memory={STORE}", "--disable-usage-stats", *options],
            stdout=file,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,
        )


def await_port(port, seconds=60):
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.2)


def end(process):
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(30)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """Two nodes that ask for a token; the address of the head."""
    import ray

    folder = tmp_path_factory.mktemp("ray")
    port = free_port()
    nodes = [node("head", folder / "head.log", "--head", f"--port={port}", "--include-dashboard=false")]
    try:
        until = time.monotonic() + 60
        await_port(port)
        nodes.append(node("second", folder / "second.log", f"--address=127.0.0.1:{port}"))
        on_ray(address=f"127.0.0.1:{port}")
        while len(ray.nodes()) < 2 and time.monotonic() < until:
            time.sleep(0.2)
        assert ray.cluster_resources().get("CPU") == 2, (folder / "second.log").read_text()
        yield f"127.0.0.1:{port}"
    finally:
        ray.shutdown()
        for one in reversed(nodes):
            end(one)


def engine(cluster, evaluator):
    make = on_ray(address=cluster)
    return lambda planned, decide, logs, config: make(evaluator, decide, logs, config)


def marks(folder):
    """Evaluations of each trial, and the nodes that made any."""
    files = list(folder.iterdir())
    numbers = [int(path.name.partition("-")[0]) for path in files]
    return {n: numbers.count(n) for n in numbers}, {path.read_text() for path in files}


@pytest.mark.parametrize("always", [False, True], ids=["once", "always"])
def test_a_killed_workers_trial_is_retried_once(always, cluster, tmp_path):
    (tmp_path / "marks").mkdir()
    evaluator = KillsItsWorkerOnce(marks=str(tmp_path / "marks"), number=2, always=always, pause_s=0.3, epochs=2)
    result = start(QUERY, StudyConfig(trials=8, sampler="random"), tmp_path / "run", engine=engine(cluster, evaluator))
    states = [entry.state for entry in result.searched]
    assert states == ["complete", "complete", "failed" if always else "complete"] + ["complete"] * 5
    counts, nodes = marks(tmp_path / "marks")
    assert counts == {n: 2 if n == 2 else 1 for n in range(8)}
    assert nodes == {"head", "second"}, "both nodes worked"
    if always:
        assert "lost 2 times" in result.searched[2].error
        assert "Error" in (tmp_path / "run" / "logs" / "search" / "0002.failed.log").read_text()


@pytest.mark.skipif("ZOO_SLOW_TESTS" not in os.environ, reason="takes half a minute; ZOO_SLOW_TESTS=1 runs it")
def test_a_lost_machine_is_survived_and_a_new_one_joins(cluster, tmp_path):
    """A third machine goes in the middle; its trials are evaluated on the others, and what idled there is forgotten."""
    import ray

    def cpus(count):
        until = time.monotonic() + 90
        while ray.cluster_resources().get("CPU") != count:
            assert time.monotonic() < until, ray.cluster_resources()
            time.sleep(0.2)

    third = node("third", tmp_path / "third.log", f"--address={cluster}")
    try:
        cpus(3)
        (tmp_path / "marks").mkdir()
        lost = []

        def say(text):
            if text.startswith("search 4:"):
                os.killpg(third.pid, signal.SIGKILL)
                lost.append(text)

        evaluator = KillsItsWorkerOnce(marks=str(tmp_path / "marks"), pause_s=1.0, epochs=3)
        make = engine(cluster, evaluator)
        result = start(QUERY, StudyConfig(trials=14, sampler="random"), tmp_path / "run", engine=make, say=say)
    finally:
        end(third)
    assert lost
    assert [entry.state for entry in result.searched] == ["complete"] * 14
    counts, nodes = marks(tmp_path / "marks")
    assert sorted(counts) == list(range(14))
    assert max(counts.values()) <= 2, "evaluated again once at most"
    assert nodes == {"head", "second", "third"}
    cpus(2)


def test_a_hanging_trial_is_ended_and_others_go_on(cluster, tmp_path):
    config = StudyConfig(trials=3, sampler="random", limit_s=10.0)
    result = start(QUERY, config, tmp_path, engine=engine(cluster, Bad(way="hang")))
    assert [entry.state for entry in result.searched] == ["complete", "failed", "complete"]
    assert "time limit of 10 s" in result.searched[1].error


def test_an_interrupted_driver_goes_on(cluster, tmp_path):
    told = []

    def say(text):
        told.append(text)
        if len(told) == 4:
            raise KeyboardInterrupt

    make = engine(cluster, Steady(pause_s=0.1))
    with pytest.raises(KeyboardInterrupt):
        start(QUERY, StudyConfig(trials=8, sampler="random"), tmp_path, engine=make, say=say)
    result = start(QUERY, StudyConfig(trials=8, sampler="random"), tmp_path, engine=make, resume=True)
    assert [entry.state for entry in result.searched] == ["complete"] * 8
    assert len({entry.index for entry in result.searched}) == 8


def test_weights_come_back_from_a_machine_without_the_runs_folder(cluster, tmp_path):
    folder = tmp_path / "elsewhere" / "trained" / "short"
    make = engine(cluster, Writes(folder=folder))
    result = start(QUERY, StudyConfig(trials=1, sampler="random"), tmp_path / "run", engine=make)
    assert [entry.state for entry in result.searched] == ["complete"]
    assert [path.name for path in folder.rglob("*.*")] == ["best.safetensors"]
    assert (folder / "0000" / "best.safetensors").read_bytes() == b"weights"


@pytest.mark.skipif("ZOO_SLOW_TESTS" not in os.environ, reason="takes half a minute; ZOO_SLOW_TESTS=1 runs it")
def test_training_on_workers_gives_what_it_gives_here(cluster, tmp_path):
    """Data reach the workers through Ray, reports and weights come back."""
    pytest.importorskip("torch", reason="training needs torch")
    from test_trained_candidates import PLAN, QUERY, inline, made_data

    make, folder = on_ray(address=cluster), tmp_path / "ray"
    with made_data():
        here = start(QUERY, PLAN, tmp_path / "here", engine=inline)
        there = start(QUERY, PLAN, folder, engine=make)
    assert [e.state for e in there.searched + there.followed] == ["complete"] * len(here.searched + here.followed)
    for ours, theirs in ((here.searched, there.searched), (here.followed, there.followed)):
        expected = {(e.index, e.seed): e.reports for e in ours}
        assert {(e.index, e.seed): e.reports for e in theirs} == expected
    for e in there.followed:
        assert (folder / "trained" / "long" / f"{e.number:04}" / "best.safetensors").is_file()


def test_more_than_the_cluster_has_is_refused(cluster, tmp_path):
    with pytest.raises(ZooError, match=r"needs 64 CPUs and 0 GPUs, and the Ray cluster has 2 and 0"):
        start(QUERY, StudyConfig(trials=2, threads=64), tmp_path, engine=engine(cluster, Steady()))


def test_a_head_that_is_not_there_is_said_at_once():
    code = (
        "from search.study.engines.ray_cluster import connect\nfrom zoo.errors import ZooError\n"
        f"try: connect('127.0.0.1:{free_port()}')\nexcept ZooError as error: print(error)"
    )
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert "cannot be reached" in process.stdout
    assert "ray start --head" in process.stdout


def test_without_ray_the_command_says_what_to_install(monkeypatch, capsys, tmp_path):
    from zoo.cli import main

    class NoRay:
        @staticmethod
        def find_spec(name, path=None, target=None):
            if name == "ray":
                raise ModuleNotFoundError("No module named 'ray'", name="ray")

    monkeypatch.delitem(sys.modules, "ray")
    monkeypatch.setattr(sys, "meta_path", [NoRay, *sys.meta_path])
    argv = ["search", "--space", "tiny", "--trials", "2", "--engine", "ray", "-o", str(tmp_path / "run")]
    assert main(argv) == 1
    assert "'.[ray]'" in capsys.readouterr().err


@pytest.mark.slow
class TestOnRay(EngineContract):
    @pytest.fixture(autouse=True)
    def engines(self, cluster, tmp_path):
        make = on_ray(address=cluster)
        self.make = lambda evaluator, decide: make(evaluator, decide, tmp_path, StudyConfig(trials=3))


LOST = """
import os, signal, sys
from pathlib import Path
from study_evaluators import Steady
from test_study import QUERY
from search.study.config import StudyConfig
from search.study.engines import ray_cluster
from search.study.engines.ray_cluster import on_ray
from search.study.study import start
from zoo.errors import ZooError

ray_cluster.SILENT_S = float(sys.argv[4])
make = on_ray(address=sys.argv[1])

def say(text):
    if text.startswith("search 2:"):
        os.killpg(int(sys.argv[2]), signal.SIGKILL)

try:
    engine = lambda planned, decide, logs, config: make(Steady(pause_s=0.5), decide, logs, config)
    start(QUERY, StudyConfig(trials=40, sampler="random"), Path(sys.argv[3]), engine=engine, say=say)
except ZooError as error:
    print(f"zoo: {error}", flush=True)
"""


def test_a_cluster_that_is_lost_ends_in_a_sentence(tmp_path):
    """The head and all that it started are killed in the middle; what was told is kept."""
    port = free_port()
    head = node("head", tmp_path / "head.log", "--head", f"--port={port}", "--include-dashboard=false")
    try:
        await_port(port)
        path = os.pathsep.join([TESTS, str(Path(TESTS).parent)])
        command = [sys.executable, "-c", LOST, f"127.0.0.1:{port}", str(head.pid), str(tmp_path / "run"), "4"]
        process = subprocess.run(
            command, capture_output=True, text=True, timeout=120, env=os.environ | {"PYTHONPATH": path}, check=False
        )
        assert "zoo: the Ray cluster is lost (" in process.stdout, process.stdout + process.stderr
        assert "go on with --resume" in process.stdout and "Traceback" not in process.stderr
        assert process.returncode == 0
    finally:
        end(head)
    told = so_far(QUERY, StudyConfig(trials=40, sampler="random"), tmp_path / "run").searched
    assert sum(entry.state == "complete" for entry in told) >= 3, "trials 0 to 2 were told"
