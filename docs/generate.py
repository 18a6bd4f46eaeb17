"""Writes the tables of README.md from the registry, the manifest and the device folders.

`python docs/generate.py` rewrites them, `--check` exits with 1 if they are out of date.
"""

import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from hw_models.device import device_folders, load_device
from pretrained import weights_of
from zoo.config import load_config
from zoo.registry import lower

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"


def table(columns: tuple[str, ...], align: str, rows: Iterator[tuple[str, ...]]) -> str:
    """A Markdown table; `align` has l or r for each column."""
    rule = {"l": "---", "r": "--:"}
    lines = [columns, tuple(rule[a] for a in align), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


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
    return table(columns, "lrrrrl", rows())


def devices() -> str:
    """Every device that ships."""

    def rows() -> Iterator[tuple[str, ...]]:
        for name in device_folders():
            device = load_device(name)
            clocks = device.clocks
            span = (
                f"{clocks.low_mhz:g}"
                if clocks.low_mhz == clocks.high_mhz
                else f"{clocks.low_mhz:g}–{clocks.high_mhz:g}"
            )
            yield f"`{name}`", device.title, span, device.stack, device.power_covers

    return table(("device", "", "clock, MHz", "software", "power covers"), "lllll", rows())


BLOCKS: dict[str, Callable[[], str]] = {"models": models, "devices": devices}


def generated(text: str) -> str:
    """README text with every marked block written anew. Raises KeyError for an unknown block."""

    def block(match: "re.Match[str]") -> str:
        name = match.group(1)
        return f"<!-- {name} -->\n{BLOCKS[name]()}\n<!-- /{name} -->"

    return re.sub(r"<!-- (\w+) -->\n.*?<!-- /\1 -->", block, text, flags=re.DOTALL)


def main() -> int:
    """Rewrite the README, or check it."""
    old = README.read_text(encoding="utf-8")
    new = generated(old)
    if "--check" in sys.argv[1:]:
        return 0 if new == old else 1
    README.write_text(new, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
