"""The pages of docs/tutorial and docs/extending, executed in order: commands by `zoo.cli.main`, Python as it stands."""

import inspect
import re
import shlex
from pathlib import Path

import pytest

import search.accuracy
import search.study.samplers
import zoo.data.datasets
from zoo.cli import main

DOCS = Path(__file__).resolve().parents[1] / "docs"
TUTORIALS = sorted((DOCS / "tutorial").glob("*.md"))
PAGES = [DOCS / "index.md", *sorted((DOCS / "extending").glob("*.md"))]
TOO_NOISY = 3
TABLES = (zoo.data.datasets.LAYOUTS, search.study.samplers.SAMPLERS, search.accuracy.MODELS, search.accuracy.SCALES)
"""What the pages add to; taken out again after each."""


SMALL = """
spaces:
  default:
    family: espnet
    choices: {variant: [A, C, ESPNet], image_path: [none, reinforcement], k: [4, 5, 8], alpha3: [1, 3, 8]}
"""
"""The shipped space has 112,000 specs; the commands are the same on this one."""


def blocks(page: Path, language: str) -> list[str]:
    text = page.read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", TUTORIALS, ids=lambda page: page.stem)
def test_commands_of_a_tutorial_work(page, tmp_path, monkeypatch):
    for extra in ("torch", "onnx", "onnxruntime", "optuna", "matplotlib"):
        pytest.importorskip(extra, reason="the tutorial uses all extras")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "zoo.yaml").write_text(SMALL, encoding="utf-8")
    commands = [line for block in blocks(page, "sh") for line in block.splitlines()]
    assert commands
    for line in commands:
        name, *arguments = shlex.split(line)
        assert name == "zoo", line
        code = main(arguments)
        if code == TOO_NOISY and arguments[0] in ("measure", "bench"):
            pytest.skip("this machine is too noisy to be measured")
        assert code == 0, line


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "python")], ids=lambda page: page.stem)
def test_python_of_a_page_works_and_meets_its_contract(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = [(table, set(table)) for table in TABLES]
    scope: dict[str, object] = {"__name__": "page"}
    try:
        for number, block in enumerate(blocks(page, "python")):
            exec(compile(block, f"{page.name}:{number}", "exec"), scope)
        classes = [made for name, made in scope.items() if name.startswith("Test") and inspect.isclass(made)]
        for made in classes:
            for name in dir(made):
                if name.startswith("test_"):
                    getattr(made(), name)()
    finally:
        for table, names in before:
            for name in set(table) - names:
                del table[name]
