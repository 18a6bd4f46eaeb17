"""The examples in docstrings, executed: every module that has any, one test each."""

import doctest
import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("zoo", "search", "hw_models", "pretrained", "benchmarks", "docs")


def module_names() -> list[str]:
    """Modules whose text has an example."""
    files = [path for package in PACKAGES for path in (ROOT / package).rglob("*.py")]
    with_examples = [path.relative_to(ROOT) for path in files if ">>> " in path.read_text(encoding="utf-8")]
    return sorted(".".join(path.with_suffix("").parts).removesuffix(".__init__") for path in with_examples)


@pytest.mark.parametrize("name", module_names())
def test_examples_of(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] in PACKAGES:
            raise
        pytest.skip(f"{error.name} is not installed")
    runner, report, tried = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS), [], 0
    for example in doctest.DocTestFinder(exclude_empty=True).find(module, name):
        tried += runner.run(example, out=report.append).attempted
    assert tried, "the module's text has an example, but no docstring does"
    assert not runner.failures, "".join(report)
