"""What users see, kept as files; `pytest tests/test_golden.py --update-golden` writes them anew: read the diff."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

import zoo
from search.report.html_data import report_data
from search.runs.reader import load_run
from zoo.cli import commands, main

pytestmark = pytest.mark.usefixtures("shared_tables")

GOLDEN = Path(__file__).parent / "golden"
DIGITS = 9
"""Significant digits that are compared: the last ones differ between processors."""

SEARCH = ["search", "--space", "tiny", "--device", "tx2", "--max-params", "300k", "--clock-mhz", "850"]

PRINTED = {
    "list": ["list"],
    "list-published": ["list", "--published"],
    "show-espnet-c": ["show", "espnet-c", "--layers"],
    "show-espnetv2": ["show", "espnetv2-1.0"],
    "predict-espnet": ["predict", "espnet", "--device", "tx2", "--clock-mhz", "1134"],
    "predict-espnet-json": ["predict", "espnet", "--device", "titanx", "--json"],
    "device-tx2": ["device", "show", "tx2"],
    "validate-tx2": ["device", "validate", "tx2", "--json"],
    "search-tiny": [*SEARCH, "-o", "run"],
}


def rounded(value: Any) -> Any:
    """A JSON value with its floats rounded."""
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}")
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    return [rounded(item) for item in value] if isinstance(value, list) else value


def compared(text: str) -> str:
    """A text without what changes from run to run and from version to version."""
    text = re.sub(r"\b[0-9a-f]{64}\b", "SHA256", text.replace(zoo.__version__, "VERSION"))
    try:
        return json.dumps(rounded(json.loads(text)), indent=1, ensure_ascii=False)
    except ValueError:
        return re.sub(r"\d+\.\d{7,}(e-?\d+)?", lambda match: f"{float(match[0]):.{DIGITS}g}", text)


def check(name: str, text: str, *, update: bool) -> None:
    """Compare a text with the golden file of that name, or write it."""
    path = GOLDEN / name
    if update:
        path.parent.mkdir(exist_ok=True)
        path.write_text(text.rstrip("\n") + "\n", encoding="utf-8")
    assert path.exists(), f"{path} is missing; write it with --update-golden"
    assert text.rstrip("\n") + "\n" == path.read_text(encoding="utf-8")


@pytest.fixture
def update(request: pytest.FixtureRequest) -> bool:
    return bool(request.config.getoption("--update-golden"))


@pytest.fixture(autouse=True)
def narrow(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """80 columns, no colours, a folder of one's own."""
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("name", PRINTED)
def test_what_a_command_prints(name: str, update: bool, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(PRINTED[name]) == 0
    check(f"{name}.txt", compared(capsys.readouterr().out), update=update)


@pytest.mark.parametrize("command", [command.name for command in commands()])
def test_help(command: str, update: bool, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([command, "--help"])
    check(f"help-{command}.txt", capsys.readouterr().out, update=update)


def test_files_of_a_run(update: bool, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*SEARCH, "-o", "run"]) == 0
    for name in ("front.json", "certificate.json", "front.csv"):
        check(f"run-{name}", compared(Path("run", name).read_text(encoding="utf-8")), update=update)
    data = report_data(load_run(Path("run")))
    # Follows from the files above, and changes with the version that stands in them.
    data.pop("certificate_sha256")
    check("run-report-data.json", compared(json.dumps(data)), update=update)


def test_the_card_of_a_candidate(update: bool, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("onnx")
    assert main([*SEARCH, "-o", "run"]) == 0
    assert main(["export", "run#1", "--size", "256x128", "-o", "best.onnx"]) == 0
    cards = list(Path().rglob("best.md"))
    assert len(cards) == 1, cards
    check("run-card.md", compared(cards[0].read_text(encoding="utf-8")), update=update)
