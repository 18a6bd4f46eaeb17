"""README, CONTRIBUTING and the generated pages are true: links lead somewhere, tables are up to date."""

import importlib.util
import json
import re
from pathlib import Path

import pytest

from zoo.cli import main

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


@pytest.mark.slow
def test_the_shortlist_in_the_readme_is_that_of_make_demo(tmp_path, capsys):
    demo = script("demo")
    command = re.search(r"\$\(BIN\)/zoo (search .*) -o \$\(RUN\)", (ROOT / "Makefile").read_text(encoding="utf-8"))[1]
    assert main([*command.split(), "--no-plots", "-o", str(tmp_path / "run")]) == 0
    document = json.loads((tmp_path / "run" / "front.json").read_text(encoding="utf-8"))
    assert 1 < len(document["shortlist"]) <= 10
    (block,) = demo.BLOCK.findall(demo.README.read_text(encoding="utf-8"))
    assert block == demo.shortlist(document), "run make demo, then python -m docs.demo runs/demo"


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
