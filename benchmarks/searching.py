"""The search of the README from shell prompt to written front, and the start-up of light commands."""

import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

COMMANDS = {
    "`zoo --help`": ["--help"],
    "`zoo list`": ["list"],
    "`zoo show espnet`": ["show", "espnet"],
    "`zoo predict espnet --device tx2`": ["predict", "espnet", "--device", "tx2"],
    "`zoo search --device tx2 …`, no charts": ["search", "--device", "tx2", "--max-latency-ms", "150", "--no-plots"],
    "`zoo search --device tx2 …`, with charts": ["search", "--device", "tx2", "--max-latency-ms", "150"],
}


def seconds(argv: list[str], folder: Path, number: int) -> float:
    target = ["-o", str(folder / str(number))] if argv[0] == "search" else []
    start = time.perf_counter()
    done = subprocess.run([sys.executable, "-m", "zoo", *argv, *target], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return time.perf_counter() - start


def run() -> str:
    """A Markdown section."""
    times: dict[str, list[float]] = {name: [] for name in COMMANDS}
    with tempfile.TemporaryDirectory() as name:
        for turn in range(3):
            for i, (command, argv) in enumerate(COMMANDS.items()):
                times[command].append(seconds(argv, Path(name), 10 * turn + i))
    rows = [f"| {command} | {median(t):.2f} s | {min(t):.2f}–{max(t):.2f} s |" for command, t in times.items()]
    head = "| command | median | range |\n| --- | --: | --: |\n"
    protocol = "From shell prompt to prompt, three interleaved runs each, default space.\n\n"
    return "## Commands\n\n" + protocol + head + "\n".join(rows) + "\n"
