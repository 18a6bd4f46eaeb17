"""Writes docs/models.md, docs/budget.md, docs/devices.md and docs/reference/cli.md from what they describe.

`python -m docs.generate` writes them, `--check` exits with 1 if one is out of date.
"""

import argparse
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from unittest.mock import patch

from docs import budget
from hw_models.device import SHIPPED, device_folders, load_device
from pretrained import weights_of
from zoo.cli import commands, parser
from zoo.config import load_config
from zoo.markdown import table
from zoo.registry import lower

HERE = Path(__file__).resolve().parent
NOTE = "<!-- written by docs/generate.py -->"


def models() -> str:
    """Every model of zoo.yaml that has a name of its own: counts at 1024x512 and weights."""
    config = load_config()

    def rows() -> Iterator[tuple[str, ...]]:
        for name, entry in config.models.items():
            if entry.alias_of:
                continue
            graph = lower(entry.spec, (512, 1024))
            names = ", ".join((f"`{name}`", *(f"`{alias}`" for alias in config.aliases(name))))
            weights = "<br>".join(
                f"`{w['tag']}`" + (f" {w['miou']:g}" if w["miou"] is not None else "") for w in weights_of(name)
            )
            yield (
                names,
                f"{graph.params:,}",
                f"{graph.macs / 1e9:.3f}",
                f"{graph.weight_bytes / 1e6:.2f}",
                f"{graph.peak_activation_bytes / 1e6:.1f}",
                weights,
            )

    columns = ("model", "parameters", "GMACs", "weights, MB", "peak activations, MB", "weights: tag, mIOU %")
    return table(columns, rows(), "lrrrrl")


def devices() -> str:
    """Every device that ships."""

    def rows() -> Iterator[tuple[str, ...]]:
        for name in (name for name, folder in device_folders().items() if folder.parent == SHIPPED):
            device = load_device(name)
            clocks = device.clocks
            span = (
                f"{clocks.low_mhz:g}"
                if clocks.low_mhz == clocks.high_mhz
                else f"{clocks.low_mhz:g}–{clocks.high_mhz:g}"
            )
            yield f"`{name}`", device.title, span, device.stack, device.power_covers

    return table(("device", "", "clock, MHz", "software", "power covers"), rows(), "lllll")


MODELS = """# Models

Counts at 1024x512, batch 1. One MAC is one multiply and one add, of convolutions and linear layers; weights and
activations are 32-bit floats; MB is 10^6 bytes. mIOU is on the validation split of the data set that the tag names; the
manifest (`pretrained/manifest.yaml`) has the protocol and the source of each.

{table}

`zoo list --published` prints these counts beside those of the papers, `zoo show --blocks` the papers' units beside each
other. The recurrent unit of the ESPNetv2 paper is [a family of its own](text.md), for texts.
"""

DEVICES = """# Devices

{table}

`zoo device show NAME` prints every number of a device with its source. [What predictions rest on](hardware.md) has the
errors on networks that the fit had not seen. Your own device: [Measuring a device](measuring.md).
"""

EXIT = """Every command prints one JSON document with `--json`; data go to stdout, messages to stderr. Exit codes:
0 done, 1 an error that you can correct, 2 usage, 3 a valid question with a negative answer, 130 interrupted.
"""


def reference() -> str:
    """The help of every command, as an 80-column terminal shows it."""
    root = parser()
    below = next(action for action in root._actions if isinstance(action, argparse._SubParsersAction))
    out = ["# Commands", "", EXIT]
    for command in commands():
        with patch.dict(os.environ, {"COLUMNS": "80", "NO_COLOR": "1"}):
            text = below.choices[command.name].format_help().rstrip()
        out += [f"## zoo {command.name}", "", f"{command.summary[0].upper()}{command.summary[1:]}.", ""]
        out += ["```", text, "```", ""]
    return "\n".join(out)


PAGES: Mapping[str, Callable[[], str]] = {
    "models.md": lambda: MODELS.format(table=models()),
    "budget.md": budget.page,
    "devices.md": lambda: DEVICES.format(table=devices()),
    "reference/cli.md": reference,
}
"""Page below docs -> its text."""


def outdated() -> list[str]:
    """Pages that are not what would be written."""
    return [name for name, page in PAGES.items() if not _same(HERE / name, f"{NOTE}\n\n{page()}")]


def _same(path: Path, text: str) -> bool:
    return path.is_file() and path.read_text(encoding="utf-8") == text


def main() -> int:
    """Write the pages, or check them."""
    if "--check" in sys.argv[1:]:
        return 1 if outdated() else 0
    for name, page in PAGES.items():
        (HERE / name).write_text(f"{NOTE}\n\n{page()}", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
