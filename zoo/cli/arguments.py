"""Numbers of options, checked before any work begins, and a parser that prints foreign text safely.

`RANGES` holds for every command that has an option of the name, so that no command forgets to check.
"""

import argparse
import sys
from collections.abc import Mapping
from typing import Any, NoReturn

from zoo.cli.command import Arguments, usage
from zoo.text import one_line, printable

RANGES: Mapping[str, tuple[float, float]] = {
    "accumulate": (1, 4096),
    "batch": (1, 65_536),
    "colour": (0, 0.999),
    "count": (1, 1_000_000),
    "ema": (0, 0.999999),
    "epochs": (1, 1_000_000),
    "jaccard": (0, 1e6),
    "lr": (1e-12, 1e3),
    "opset": (1, 100),
    "overlap": (0, 65_536),
    "pictures": (0, 1_000_000),
    "score_every": (1, 1_000_000),
    "seed": (0, 2**32 - 1),
    "stop_after": (1, 1_000_000),
    "threads": (0, 4096),
    "tile": (1, 65_536),
    "top": (1, 1_000_000),
    "warmup": (0, 1e6),
    "weight_decay": (0, 1e3),
    "workers": (0, 1024),
}
"""Option -> the least and the largest value, both allowed."""


def check_numbers(args: Arguments) -> None:
    """Raise UsageError for a number outside its option's range; a number that is none lies outside, too."""
    for name, (least, most) in RANGES.items():
        value = getattr(args, name, None)
        if isinstance(value, (int, float)) and not isinstance(value, bool) and not least <= value <= most:
            option = "--" + name.replace("_", "-")
            rule = f"at most {most:g}" if value > most else f"at least {least:g}"
            raise usage(f"{option} must be {rule}, but is {one_line(value, 30)}")


class Parser(argparse.ArgumentParser):
    """An argument parser whose messages hold no escape codes of what was typed."""

    def error(self, message: str) -> NoReturn:
        super().error(printable(message))

    def _print_message(self, message: str, file: Any = None) -> None:
        if message:  # argparse itself passes over a disk that is full
            (file or sys.stderr).write(message)

    def _get_values(self, action: Any, arg_strings: Any) -> Any:
        try:
            return super()._get_values(action, arg_strings)
        except ValueError as error:  # an integer of more digits than python takes
            raise argparse.ArgumentError(action, one_line(error, 120)) from None
