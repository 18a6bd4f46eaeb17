"""Commands from shell prompt to shell prompt, each in a process of its own, in turn."""

import subprocess
import sys
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from benchmarks.machine import installed_environment
from benchmarks.page import Section
from benchmarks.side_by_side import MAX_OTHERS, Comparison, duration, markdown, side_by_side

SEARCH = ("search", "--device", "tx2", "--max-latency-ms", "150")
COMMANDS: dict[str, tuple[str, ...]] = {
    "python -c pass": (),
    "zoo --help": ("--help",),
    "zoo list": ("list",),
    "zoo show espnet --layers": ("show", "espnet", "--layers"),
    "zoo device list": ("device", "list"),
    "zoo predict espnet --device tx2": ("predict", "espnet", "--device", "tx2"),
    "zoo search --device tx2 …, no charts": (*SEARCH, "--no-plots", "-o", "{number}"),
    "zoo search --device tx2 …": (*SEARCH, "-o", "{number}"),
    "zoo verify RUN": ("verify", "run"),
    "zoo pareto RUN": ("pareto", "run", "-o", "front.png"),
    "zoo report RUN": ("report", "run"),
    "zoo scene": ("scene",),
    "zoo get espnet-c-3 --pretrained": ("get", "espnet-c-3", "--pretrained", "camvid", "-o", "weights"),
    "zoo segment IMAGE, 480x360": ("segment", "street.png", "--model", "espnet-c-3.camvid", "-o", "out"),
    "zoo export espnet-c-3 --size 480x360": ("export", "espnet-c-3", "--size", "480x360", "-o", "network.onnx"),
}
"""Arguments of each; python alone comes first."""

LONG = ("zoo search --device tx2 …", "zoo verify RUN", "zoo pareto RUN", "zoo report RUN")
"""Left out of a quick run."""


def zoo(folder: Path, *argv: str) -> None:
    """One command in a folder. Raises RuntimeError with its message where it fails."""
    command = [sys.executable, *(("-m", "zoo", *argv) if argv else ("-c", "pass"))]
    process = subprocess.run(
        command, cwd=folder, env=installed_environment(), capture_output=True, text=True, check=False
    )
    if process.returncode:
        raise RuntimeError(f"zoo {' '.join(argv)} failed: {process.stderr}")


class Numbered:
    """A command whose folder is a new one at each call."""

    def __init__(self, folder: Path, argv: tuple[str, ...]) -> None:
        self.folder, self.argv, self.number = folder, argv, 0

    def __call__(self) -> None:
        self.number += 1
        name = f"{id(self)}-{self.number}"
        zoo(self.folder, *(name if word == "{number}" else word for word in self.argv))


def compared(names: Sequence[str], rounds: int) -> Comparison:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        zoo(folder, *SEARCH, "--no-plots", "-o", "run")
        zoo(folder, "scene", "--seed", "1")
        (folder / "scene-1.png").rename(folder / "street.png")
        functions = {
            command: Numbered(folder, argv) if "{number}" in argv else partial(zoo, folder, *argv)
            for command, argv in ((name, COMMANDS[name]) for name in names)
        }
        return side_by_side(functions, rounds=rounds, least_s=0.0)


def run(full: bool) -> Section:
    """A Markdown section."""
    names = [name for name in COMMANDS if full or name not in LONG]
    comparison = compared(names, rounds=5 if full else 3)
    rows = [
        (
            f"`{name}`",
            duration(comparison.median_s(name)),
            duration(min(comparison.seconds[name])),
            f"{comparison.spread(name):.0%}",
        )
        for name in names
    ]
    noisy = comparison.others is not None and comparison.others > MAX_OTHERS
    verdict = f" {comparison.verdict()}" if noisy else ""
    text = f"""\
## Commands

From shell prompt to prompt, python's own start included; the space is `default`, with 150 ms as the limit; weights are
those that ship.{verdict}

{markdown([("command", "median", "fastest", "spread"), *rows])}
"""
    return Section(text, {"commands": comparison.document()})
