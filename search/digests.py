"""Hashes of what a search rests on: folders of devices, and the code that lowers and prices."""

from functools import cache
from hashlib import sha256
from pathlib import Path

import numpy as np

from search.space import digest
from zoo._version import version

ROOT = Path(__file__).resolve().parent.parent
"""Folder of the packages."""

TABLE_SOURCES = (
    *(f"zoo/{name}" for name in ("ops.py", "graph.py", "lowering.py", "specs.py", "registry.py")),
    *("zoo/models/*.py", "zoo/bulk/*.py", "hw_models/*.py", "hw_models/analytic/*.py", "hw_models/measured/*.py"),
)
"""Files of code that decide what is in a table."""


def folder_digest(folder: Path) -> str:
    """SHA-256 over the names and contents of a device's files."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return digest([[path.relative_to(folder).as_posix(), sha256(path.read_bytes()).hexdigest()] for path in files])


@cache
def code_digest(sources: tuple[str, ...] = TABLE_SOURCES) -> str:
    """SHA-256 over names and contents of our files that fit patterns, our version and numpy's."""
    whole = sha256(f"{version()} {np.__version__}".encode())
    for path in sorted({path for pattern in sources for path in ROOT.glob(pattern)}):
        whole.update(path.relative_to(ROOT).as_posix().encode() + sha256(path.read_bytes()).digest())
    return whole.hexdigest()
