"""Standard streams that are full, closed or gone, a working directory and a home that are not there."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

pytestmark = pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full and a POSIX shell")


def shell(script: str, folder: Path, **environment: str) -> tuple[int, str]:
    """Exit code and stderr of a script in which `zoo` is this package."""
    zoo = f"{sys.executable} -m zoo"
    env = {key: value for key, value in os.environ.items() if key != "HOME"}
    env |= {"PYTHONPATH": str(ROOT), "HOME": str(folder), "PYTHONSAFEPATH": "1"} | environment
    process = subprocess.run(
        ["bash", "-c", script.replace("ZOO", zoo)],
        cwd=folder,
        env=env,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return process.returncode, process.stderr


@pytest.mark.parametrize(
    ("script", "codes", "said"),
    [
        ("ZOO list > /dev/full", (1,), "No space left"),
        ("ZOO list --json > /dev/full", (1,), "No space left"),
        ("ZOO --help > /dev/full", (1,), "No space left"),
        ("ZOO list >&-", (1,), "standard output is closed"),
        ("ZOO bench-table --csv >&-", (1,), "standard output is closed"),
        ("ZOO show nope 2> /dev/full", (1,), ""),
        ("set -o pipefail; ZOO list | true", (0, 141), ""),
        ("set -o pipefail; ZOO --help | true", (0, 141), ""),
        ("set -o pipefail; ZOO show pspnet --layers | head -1 > /dev/null", (0, 141), ""),
        ("mkdir gone; cd gone; rmdir ../gone; ZOO list --config x.yaml", (1,), "cannot be read"),
        ("mkdir gone; cd gone; rmdir ../gone; ZOO list > /dev/null", (0,), ""),
    ],
)
def test_streams(script, codes, said, tmp_path):
    code, err = shell(script, tmp_path)
    assert code in codes, err
    assert said in err
    assert "Traceback" not in err and "Exception ignored" not in err


def test_shipped_devices_need_no_home(tmp_path):
    lost = "import os; os.environ.pop('HOME'); os.environ.pop('ZOO_HOME', None); import pathlib\n"
    lost += "pathlib.Path.home = classmethod(lambda cls: (_ for _ in ()).throw(RuntimeError('no home')))\n"
    lost += "from zoo.cli import main; raise SystemExit(main(['device', 'list']))"
    env = {key: value for key, value in os.environ.items() if key != "ZOO_HOME"} | {
        "HOME": "/x",
        "PYTHONPATH": str(ROOT),
    }
    process = subprocess.run(
        [sys.executable, "-c", lost], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=120, check=False
    )
    assert process.returncode == 0, process.stderr
    assert "tx2" in process.stdout


@pytest.mark.parametrize("named", ["~/zh", "a" * 5000])
def test_one_rule_for_the_home_of_weights_and_devices(named, tmp_path, monkeypatch):
    from hw_models.device import device_folders, home
    from pretrained.download import cache_home

    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("ZOO_HOME", named)
    assert home().parent == cache_home()
    assert "tx2" in device_folders()
    if named.startswith("~"):
        assert cache_home() == tmp_path / "zh"
