"""The worked example of docs/adding-a-family.md, run as it stands."""

import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import zoo.models
from zoo.lowering import Family
from zoo.registry import FAMILIES, lower

PAGE = Path(__file__).resolve().parents[1] / "docs" / "adding-a-family.md"
BLOCKS = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


class Results:
    """Collects the outcomes of an inner pytest run."""

    def __init__(self) -> None:
        self.outcomes: list[tuple[str, str]] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call" or report.failed:
            self.outcomes.append((report.nodeid, report.outcome))


@pytest.fixture
def unet(monkeypatch: pytest.MonkeyPatch) -> Family:
    """The page's family, registered by the page's line."""
    module = ModuleType("zoo.models.unet")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(zoo.models, "unet", module, raising=False)
    exec(compile(BLOCKS[0], "zoo/models/unet.py", "exec"), vars(module))
    scope: dict[str, Any] = {"unet": module}
    exec(f"entries = {{{BLOCKS[1]}}}", scope)
    for name, family in scope["entries"].items():
        monkeypatch.setitem(FAMILIES, name, family)  # type: ignore[arg-type]
    return FAMILIES["unet"]


def test_page_has_one_file_one_line_and_ten_lines() -> None:
    file, line, test = (len(block.splitlines()) for block in BLOCKS)
    assert (file < 90, line, test) == (True, 1, 10)


def test_family_lowers(unet: Family) -> None:
    graph = lower(unet.spec(), (32, 48))
    assert str(graph.output_shapes[0]) == "2x32x48"


def test_familys_test_passes(unet: Family, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    (tmp_path / "test_unet.py").write_text(BLOCKS[2], encoding="utf-8")
    results = Results()
    assert pytest.main(["-q", "-p", "no:cacheprovider", "--rootdir", str(tmp_path), str(tmp_path)], [results]) == 0
    assert len(results.outcomes) > 10
    assert {outcome for _, outcome in results.outcomes} == {"passed"}
