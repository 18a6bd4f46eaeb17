"""README, CONTRIBUTING and the generated pages are true: links lead somewhere, tables are up to date."""

import importlib.util
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def script(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / "docs" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_generated_pages_are_up_to_date():
    assert script("generate").outdated() == [], "run make docs"


def test_drawings_are_up_to_date():
    drawings = script("drawings")
    for name, parts in drawings.DRAWINGS.items():
        assert (ROOT / "docs" / name).read_text(encoding="utf-8") == drawings.svg(*parts), "run python -m docs.drawings"


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "SECURITY.md"])
def test_relative_links_lead_to_files(page):
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", (ROOT / page).read_text(encoding="utf-8"))
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_paths_in_the_table_of_rooms_exist():
    table = re.findall(r"^\| (`.*?) \|", (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"), re.MULTILINE)
    paths = [path for cell in table for path in re.findall(r"`([^` ]+)`", cell)]
    assert len(paths) > 10 and [path for path in paths if not (ROOT / path).exists()] == []


def test_every_module_imported_by_the_drawings_exists():
    drawings = script("drawings")
    for box in (*drawings.SEARCH, *drawings.STUDY):
        first = box.module.partition(",")[0]
        assert (ROOT / first).exists(), first
