"""Outputs: what zoo did not write is kept unless --force is given, and the same command twice works."""

import shutil
from pathlib import Path

import pytest

from zoo.cli import main
from zoo.ownership import is_ours

pytestmark = pytest.mark.usefixtures("shared_tables")

FOREIGN = "my thesis\n"

FILES = {
    "report.html": ("report", "RUN", "-o"),
    "pareto.png": ("pareto", "RUN", "-o"),
    "pareto.svg": ("pareto", "RUN", "-o"),
    "pareto.pdf": ("pareto", "RUN", "-o"),
    "sweep.png": ("predict", "espnet", "--device", "tx2", "--sweep", "batch", "-o"),
    "sweep.svg": ("predict", "espnet", "--device", "tx2", "--sweep", "batch", "-o"),
    "scenes/scene-7.png": ("scene", "--seed", "7", "--size", "32x16", "-o"),
    "scenes/scene-7.truth.png": ("scene", "--seed", "7", "--size", "32x16", "-o"),
    "net.pruned.safetensors": ("prune", "espnet-c-3.camvid", "--size", "64x32", "-o"),
    "get/espnet-c-3.camvid.safetensors": ("get", "espnet-c-3.camvid", "-o"),
    "get/espnet-c-3.camvid.pth": ("get", "espnet-c-3.camvid", "--format", "pth", "-o"),
    "net.onnx": ("export", "espnet-c-3.camvid", "--size", "64x32", "-o"),
    "net.deploy.md": ("export", "espnet-c-3.camvid", "--size", "64x32", "-o"),
    "net.infer.py": ("export", "espnet-c-3.camvid", "--size", "64x32", "-o"),
    "out/x.labels.png": ("segment", "IMAGE", "--model", "espnet-c-3.camvid", "--size", "64x32", "--overlay", "-o"),
    "out/x.probabilities.npz": ("segment", "IMAGE", "--model", "espnet-c-3.camvid", "--probabilities", "-o"),
    "out/x.overlay.png": ("segment", "IMAGE", "--model", "espnet-c-3.camvid", "--size", "64x32", "--overlay", "-o"),
}
"""File -> the command that writes it, or the folder that it stands in, where -o says."""


@pytest.fixture
def folder(tmp_path, small_run, monkeypatch):
    from PIL import Image

    shutil.copytree(small_run, tmp_path / "run")
    Image.new("RGB", (64, 32)).save(tmp_path / "x.png")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def argv_of(command: tuple[str, ...], path: Path, root: Path) -> list[str]:
    """The command, with -o PATH or, of a folder's file, its folder."""
    words = [{"RUN": "run", "IMAGE": "x.png"}.get(word, word) for word in command]
    exported = path.with_name("net.onnx") if command[0] == "export" else path
    return [*words, str(exported if path.parent == root else path.parent)]


@pytest.mark.parametrize("name", FILES)
def test_a_file_of_the_users_own_is_kept_and_ours_is_replaced(name, folder, capsys):
    path = folder / name
    argv = argv_of(FILES[name], path, folder)
    path.parent.mkdir(exist_ok=True)
    path.write_text(FOREIGN)
    assert main(argv) == 1
    message = capsys.readouterr().err.strip().splitlines()[-1]
    assert str(path) in message.replace("zoo: ", "", 1) or name in message
    assert "--force" in message and path.read_text() == FOREIGN

    assert main([*argv, "--force"]) == 0
    assert is_ours(path)
    assert main(argv) == 0, "the same command twice"


@pytest.mark.parametrize(
    "argv",
    [
        ("search", "--space", "tiny", "--device", "tx2", "--no-plots", "-o"),
        ("search", "--space", "tiny", "--device", "tx2", "--no-plots", "--trials", "2", "--sampler", "random", "-o"),
        ("train", "espnet-c-3", "--dataset", "scenes", "--size", "64x48", "--epochs", "1", "-o"),
    ],
    ids=["search", "study", "train"],
)
def test_a_folder_that_is_no_run_is_kept(argv, folder, capsys):
    mine = folder / "mine"
    mine.mkdir()
    (mine / "front.json").write_text(FOREIGN)
    assert main([*argv, str(mine)]) == 1
    assert "holds front.json and no run" in capsys.readouterr().err
    assert [path.name for path in mine.iterdir()] == ["front.json"] and (mine / "front.json").read_text() == FOREIGN


def test_hidden_files_and_empty_ones_are_in_nobodys_way(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ".DS_Store").write_text("x")
    assert main(["search", "--space", "tiny", "--device", "tx2", "--no-plots", "-o", "run", "--json"]) == 0
    (tmp_path / "a.png").touch()
    assert main(["pareto", "run", "-o", "a.png"]) == 0
