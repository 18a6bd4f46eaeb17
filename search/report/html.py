"""HTML report of a search in one file: offline, responsive, with a dark theme, without external requests.

The charts are drawn as SVG by a small script of our own, not by plotly: 4.5 MB of foreign code in every report
would weigh fifteen times as much as the numbers, and the sliders need every chart, the table and the
selection to follow at once. The page asks for nothing from anywhere, and its content security policy lets the
browser run only the one script and style sheet whose hashes it names: neither a spec nor a run's name,
whatever is written in them, becomes code.
"""

import base64
import hashlib
import html
import re
from pathlib import Path
from typing import Any

from search.report.html_data import canonical, report_data
from search.runs.reader import load_run
from zoo.files import atomic

TEMPLATES = Path(__file__).parent / "templates"


def write_report(folder: Path, output: Path | None = None, rank: int | None = None) -> dict[str, Any]:
    """Write the report of a run, by default `report.html` in its folder.

    `rank` is the candidate whose layers and kernels are shown, by default the chosen one. Returns path,
    bytes, candidates, rank and regret (device, own, joint and lost mIOU; empty for one device). Raises
    ConfigError for a folder that is no run, or damaged.
    """
    path = output or folder / "report.html"
    data = report_data(load_run(folder), rank)
    page = render(data)
    with atomic(path) as partial:
        partial.write_text(page, encoding="utf-8")
    return {
        "path": str(path),
        "bytes": len(page.encode()),
        "candidates": len(data["front"]["params"]),
        "rank": data["breakdown"]["rank"],
        "regret": [{key: regret[key] for key in ("device", "own", "joint", "lost")} for regret in data["regret"]],
    }


def render(data: dict[str, Any]) -> str:
    """The page that shows `data`, of `report_data`."""
    style, script = (_read(name) for name in ("report.css", "report.js"))
    parts = {
        "POLICY": policy(style, script),
        "TITLE": html.escape(f"{data['run']}: {data['question']}"),
        "STYLE": style,
        "SCRIPT": script,
        "DATA": canonical(data),
    }
    # Every other piece is a name; what is put in is not searched again.
    pieces = re.split(r"\{\{(\w+)\}\}", _read("report.html"))
    return "".join(parts[piece] if i % 2 else piece for i, piece in enumerate(pieces))


def policy(style: str, script: str) -> str:
    """A content security policy that admits this style sheet and this script, and no request of any kind."""
    return (
        f"default-src 'none'; style-src '{_hash(style)}'; script-src '{_hash(script)}'; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _read(name: str) -> str:
    return (TEMPLATES / name).read_text(encoding="utf-8")
