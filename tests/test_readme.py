"""The README's tables are what the registry, the manifest and the devices say."""

import importlib.util
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def test_the_tables_are_up_to_date():
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    generate = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generate)
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert generate.generated(text) == text, "run make docs"
    assert all(f"<!-- {name} -->" in text for name in generate.BLOCKS)
