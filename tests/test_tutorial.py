"""The pages of docs/tutorial and docs/extending, executed in order: commands by `zoo.cli.main`, Python as it stands."""

import inspect
import re
import shlex
from pathlib import Path

import pytest

import hw_models.measure.run
import hw_models.measure.timing
import search.accuracy
import search.study.course
import search.study.samplers
import zoo.data.datasets
import zoo.data.synthetic
from hw_models.measure.timing import Effort
from search.study.engines.local import Inline
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


@pytest.fixture
def quick(monkeypatch):
    """Few scenes, trials without a process each, and timings of a few runs: the commands are the same."""
    for split in zoo.data.synthetic.COUNTS:
        monkeypatch.setitem(zoo.data.synthetic.COUNTS, split, 4)
    inline = lambda evaluator, decide, logs, limit_s: Inline(evaluator, decide)  # noqa: E731
    monkeypatch.setattr(search.study.course, "Processes", inline)
    monkeypatch.setattr(hw_models.measure.timing, "BURST_S", 0.002)
    monkeypatch.setattr(hw_models.measure.run, "IDLE_S", 0.1)
    monkeypatch.setattr(hw_models.measure.run, "VISIT", Effort(limit_s=0.05, bursts=6, least=2))


@pytest.mark.usefixtures("quick")
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
