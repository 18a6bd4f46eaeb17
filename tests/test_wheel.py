"""The built wheel, alone in a fresh environment with the base dependencies."""

import json
import os
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

pytest.importorskip("hatchling", reason="hatchling is not installed; pip install -e '.[dev]'")

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)], cwd=ROOT, check=True)
    return next(folder.glob("*.whl"))


def test_it_has_the_data_and_the_types_and_no_maintainers_code(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    for package in ("zoo", "search", "hw_models", "pretrained"):
        assert f"{package}/py.typed" in names
    assert {"zoo/zoo.yaml", "pretrained/manifest.yaml", "hw_models/devices/tx2/device.yaml"} <= names
    assert "search/report/templates/report.js" in names and "zoo/testing/sampler.py" in names
    outside = ("hw_models/build/", "benchmarks/", "tests/", "docs/")
    assert not [name for name in names if name.startswith(outside)]


def test_it_lists_and_searches_in_an_environment_of_its_own(wheel, tmp_path):
    venv.create(tmp_path / "env")
    binaries = tmp_path / "env" / ("Scripts" if os.name == "nt" else "bin")
    pip = [sys.executable, "-m", "pip", "--python", tmp_path / "env"]  # its own pip would take longer than the rest
    installed = subprocess.run(
        [*pip, "install", "--quiet", "--no-compile", wheel], check=False, capture_output=True, text=True
    )
    if "No matching distribution" in installed.stderr or "NewConnectionError" in installed.stderr:
        pytest.skip("no package index can be reached to install the base dependencies from")
    assert installed.returncode == 0, installed.stderr

    def zoo(*arguments):
        clean = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
        process = subprocess.run(
            [binaries / "zoo", *arguments], cwd=tmp_path, env=clean, check=False, capture_output=True, text=True
        )
        assert process.returncode == 0, process.stderr
        return json.loads(process.stdout)

    assert "espnet-c-8" in {row["name"] for row in zoo("list", "--json")}
    found = zoo("search", "--space", "tiny", "--device", "tx2", "--max-params", "300k", "-o", "run", "--json")
    assert found["complete"] and found["front"]
    assert zoo("verify", "run", "--json")["ok"]
