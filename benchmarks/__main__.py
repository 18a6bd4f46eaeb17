"""`python -m benchmarks [NAME…]`: run benchmarks and write docs/benchmarks.md (all of them) or print (some)."""

import os
import platform
import sys
from importlib import import_module
from pathlib import Path

NAMES = ("counting", "searching")
"""The quick ones, which make the page; others (sampling, training, own_device) by name."""
PAGE = Path(__file__).resolve().parents[1] / "docs" / "benchmarks.md"


def machine() -> str:
    model = next(
        (line.partition(":")[2].strip() for line in _cpuinfo() if line.startswith("model name")), platform.processor()
    )
    return f"{model}, {os.cpu_count()} cores, Python {platform.python_version()}, {platform.system()}"


def _cpuinfo() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text().splitlines() if path.exists() else []


def main() -> None:
    names = sys.argv[1:] or list(NAMES)
    sections = [import_module(f"benchmarks.{name}").run() for name in names]
    text = (
        "# Benchmarks\n\nWritten by `make bench`. Every ratio was measured in one run, on one machine: "
        f"{machine()}.\n\n" + "\n".join(sections)
    )
    if names == list(NAMES):
        PAGE.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
