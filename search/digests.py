"""Hashes of what a search rests on: folders of devices, and the code that lowers and prices."""

from functools import cache
from hashlib import sha256
from pathlib import Path

import numpy as np

from search.space import digest
from zoo._version import version

ROOT = Path(__file__).resolve().parent.parent
"""Folder of the packages."""

SOURCES = (
    ("zoo", ("ops.py", "graph.py", "lowering.py", "specs.py", "registry.py", "models/*.py", "bulk/*.py")),
    ("hw_models", ("*.py", "analytic/*.py", "measured/*.py")),
)
"""Files of code that decide what is in a table."""


def folder_digest(folder: Path) -> str:
    """SHA-256 over the names and contents of a device's files."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return digest([[path.relative_to(folder).as_posix(), sha256(path.read_bytes()).hexdigest()] for path in files])


@cache
def code_digest() -> str:
    """SHA-256 over the code that decides what is in a table, its version and numpy's."""
    whole = sha256(f"{version()} {np.__version__}".encode())
    for package, patterns in SOURCES:
        root = ROOT / package
        for path in sorted(path for pattern in patterns for path in root.glob(pattern)):
            whole.update(f"{path.relative_to(root)}".encode() + sha256(path.read_bytes()).digest())
    return whole.hexdigest()
