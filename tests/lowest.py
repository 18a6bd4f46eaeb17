"""Prints the lowest versions of the base dependencies as pip constraints: `numpy==1.26`, one a line.

Read line by line, since Python 3.10 has no reader of TOML.
"""

import re
from pathlib import Path

text = (Path(__file__).resolve().parents[1] / "pyproject.toml").read_text(encoding="utf-8")
base = text.partition("\ndependencies = [")[2].partition("\n]")[0]
for name, floor in re.findall(r'"([\w-]+)>=([\w.]+)', base):
    print(f"{name}=={floor}")
