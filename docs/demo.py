"""Makes the picture and the shortlist of README.md from the folder of `make demo`: `python -m docs.demo runs/demo`.

Nothing of them is written by hand; a test searches again and compares.
"""

import io
import json
import re
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from zoo.cli.shortlist import print_answer

HERE = Path(__file__).resolve().parent
README = HERE.parent / "README.md"
BLOCK = re.compile(r"(?<=<!-- written by docs/demo.py -->\n```\n).*?(?=\n```\n)", re.DOTALL)
WIDTH = 116


def shortlist(document: Mapping[str, Any]) -> str:
    """The answer as the terminal shows it, without the column of specs."""
    text = io.StringIO()
    console = Console(file=text, width=WIDTH, color_system=None, force_terminal=False)
    print_answer(console, dict(document) | {"run": "runs/demo"}, None, specs=False)
    return "\n".join(line.rstrip() for line in text.getvalue().splitlines() if line.strip())


def main(run: Path) -> None:
    """Write README.md's block and docs/pareto.png."""
    document = json.loads((run / "front.json").read_text(encoding="utf-8"))
    page = README.read_text(encoding="utf-8")
    README.write_text(BLOCK.sub(lambda _: shortlist(document), page), encoding="utf-8")
    shutil.copyfile(run / "pareto.png", HERE / "pareto.png")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
