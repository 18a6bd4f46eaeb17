"""Fixtures of all tests."""

import os
from pathlib import Path

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="write tests/golden anew; read the diff")


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
