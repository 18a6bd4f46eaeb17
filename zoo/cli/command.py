"""What every command shares: its declaration, its options, and how it prints."""

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.errors import ZooError

if TYPE_CHECKING:
    from rich.console import Console

    from hw_models.cost import Interval
    from search.model_ref import Model
    from zoo.config import Config

Arguments = argparse.Namespace


@dataclass(frozen=True, slots=True)
class Command:
    """One command of `zoo`: how it is called and the function that runs it and returns the exit code.

    `example` is shown by --help. Options --json and --config are added to every command.
    """

    name: str
    summary: str
    example: str
    run: Callable[[Arguments], int]
    configure: Callable[[argparse.ArgumentParser], None] = lambda parser: None


def size_argument(text: str) -> tuple[int, int]:
    """`WIDTHxHEIGHT` as (height, width).

    >>> size_argument("1024x512")
    (512, 1024)
    """
    width, x, height = text.lower().partition("x")
    if not x or not width.isdecimal() or not height.isdecimal() or not int(width) or not int(height):
        raise argparse.ArgumentTypeError(f"must be WIDTHxHEIGHT in pixels such as 1024x512, but is {text!r}")
    return int(height), int(width)


def count_argument(text: str) -> int:
    """A count, with k, M or G for thousands, millions, billions.

    >>> count_argument("400k")
    400000
    """
    scale = {"k": 10**3, "m": 10**6, "g": 10**9}.get(text[-1:].lower(), 1)
    try:
        value = float(text[:-1] if scale > 1 else text) * scale
    except ValueError:
        value = 0
    if not 1 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"must be a positive count such as 400k, but is {text!r}")
    return round(value)


def positive_argument(text: str) -> float:
    """A positive number."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"must be a positive number, but is {text!r}")
    return value


def probability_argument(text: str) -> float:
    """A probability between 0 and 1, both excluded."""
    value = positive_argument(text)
    if value >= 1:
        raise argparse.ArgumentTypeError(f"must be between 0 and 1, both excluded, but is {text!r}")
    return value


def add_size(parser: argparse.ArgumentParser, default: tuple[int, int] | None = (512, 1024)) -> None:
    """--size, stored as (height, width)."""
    text = f" (default {default[1]}x{default[0]})" if default else ""
    parser.add_argument("--size", type=size_argument, default=default, metavar="WxH", help=f"image size{text}")


def add_model(parser: argparse.ArgumentParser, nargs: str | None = None) -> None:
    """MODEL and --set."""
    text = "a name from zoo.yaml with or without a weight tag, a spec YAML, or RUN#RANK"
    parser.add_argument("model", metavar="MODEL", nargs=nargs, help=text)
    add_settings(parser)


def add_settings(parser: argparse.ArgumentParser) -> None:
    """--set KEY=VALUE, repeatable."""
    parser.add_argument(
        "--set", dest="settings", action="append", default=[], metavar="KEY=VALUE", help="override a spec field"
    )


def config_of(args: Arguments) -> "Config":
    """The configuration that the command runs under."""
    from zoo.config import load_config

    return load_config(args.config)


def model_of(args: Arguments, name: str | None = None) -> "Model":
    """The model that MODEL and --set name."""
    from search.model_ref import resolve

    return resolve(name or args.model, config_of(args), args.settings)


def emit(args: Arguments, document: Any, show: Callable[["Console"], None]) -> None:
    """Print the JSON document with --json, else call `show` with a console on stdout."""
    if args.json:
        print(json.dumps(document, allow_nan=False, indent=2))
        return
    from rich.console import Console

    show(Console(highlight=False, soft_wrap=not sys.stdout.isatty()))


def note(message: str) -> None:
    """A message for the user, on stderr."""
    print(message, file=sys.stderr)


def write_text(path: Path, text: str) -> None:
    """Write a file whole or not at all. Raises ZooError where the folder cannot be written."""
    from zoo.files import atomic

    with atomic(path) as partial:
        partial.write_text(text, encoding="utf-8")


def table(title: str | None, columns: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1) -> Any:
    """A rich table; the first `left` columns are text, the others numbers."""
    from rich import box
    from rich.table import Table

    out = Table(title=title, box=box.SIMPLE, title_justify="left", pad_edge=False)
    for i, column in enumerate(columns):
        out.add_column(column, justify="left" if i < left else "right", overflow="fold")
    for row in rows:
        out.add_row(*row)
    return out


def si(value: float, unit: str, digits: int = 3) -> str:
    """A number with an SI prefix.

    >>> si(0.0123, "s"), si(364569, ""), si(2.0, "W")
    ('12.3 ms', '365 k', '2 W')
    """
    prefixes: Mapping[int, str] = {-9: "n", -6: "µ", -3: "m", 0: "", 3: "k", 6: "M", 9: "G", 12: "T"}
    exponent = 0 if value == 0 else next((e for e in sorted(prefixes, reverse=True) if abs(value) >= 10.0**e), -9)
    return f"{value / 10.0**exponent:.{digits}g} {prefixes[exponent]}{unit}".strip()


def usage(message: str) -> ZooError:
    """An error of usage that only the command itself can see; exits with 2."""
    return UsageError(message)


class UsageError(ZooError):
    """The command was called in a way that means nothing (exit code 2)."""


def with_bounds(interval: "Interval", unit: str) -> str:
    """Estimate and bounds in one unit, as `114 ms (92–142)`."""
    text = si(interval.mean, unit)
    scale = float(text.partition(" ")[0]) / interval.mean
    return f"{text} ({_short(interval.low * scale)}–{_short(interval.high * scale)})"


def _short(value: float) -> str:
    """Three digits, without an exponent."""
    return f"{value:.0f}" if value >= 1000 else f"{value:.3g}"
