"""Fixtures of all tests."""

import os
from pathlib import Path

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")

SLOW_FILES = frozenset(
    {
        "test_backends",
        "test_bench",
        "test_benchmarks",
        "test_classification",
        "test_eval",
        "test_export",
        "test_lowest",
        "test_measure",
        "test_ray",
        "test_train",
        "test_trained_candidates",
        "test_tutorial",
        "test_wheel",
    }
)
"""Files whose tests train, export, time or start processes; `-m "not slow"` leaves them out."""

SLOW_TESTS = frozenset({"test_onnx_file_computes_the_same", "test_onnx_file_can_leave_sizes_free"})
"""The same of every family."""

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="write tests/golden anew; read the diff")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what is slow, so that the reasons stand in one place."""
    for item in items:
        if item.path.stem in SLOW_FILES or getattr(item, "originalname", item.name) in SLOW_TESTS:
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with published checkpoints, figures and images, which only a developer's machine has."""
    if not SHARED.is_dir():
        pytest.skip("../shared with the published files is not on this machine")
    return SHARED


@pytest.fixture(autouse=True)
def own_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reads or writes the user's cache, configuration or mirrors."""
    monkeypatch.setenv("ZOO_HOME", str(tmp_path_factory.mktemp("home")))
    monkeypatch.delenv("ZOO_CONFIG", raising=False)
    monkeypatch.delenv("ZOO_WEIGHTS_MIRROR", raising=False)


@pytest.fixture(scope="session")
def small_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an exact search of the space `tiny`; copy it before you change it."""
    from zoo.cli import main

    folder = tmp_path_factory.mktemp("small") / "run"
    limits = ["--max-params", "300k", "--max-latency-ms", "150"]
    assert main(["search", "--space", "tiny", "--device", "tx2", *limits, "-o", str(folder), "--json"]) == 0
    return folder


@pytest.fixture(scope="session")
def small_study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a study of the space `tiny`: eight trials by the accuracy model; copy it before you change it."""
    pytest.importorskip("optuna", reason="optuna is not installed; pip install 'edgeseg-zoo[optuna]'")
    from zoo.cli import main

    folder = tmp_path_factory.mktemp("small") / "study"
    plan = ["--trials", "8", "--sampler", "random", "--seed", "0"]
    assert main(["search", "--space", "tiny", "--device", "tx2", *plan, "-o", str(folder), "--json"]) == 0
    return folder
