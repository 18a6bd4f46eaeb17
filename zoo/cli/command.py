"""What every command shares: its declaration, its options, and how it prints."""

import argparse
import json
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.cli.terminal import console_of, say
from zoo.errors import ZooError
from zoo.text import one_line

if TYPE_CHECKING:
    from rich.console import Console

    from hw_models.cost import Interval
    from search.model_ref import Model
    from zoo.cli.tables import WordTable
    from zoo.config import Config
    from zoo.quantities import Limit

Arguments = argparse.Namespace

MAX_SIDE = 65_536
"""Longest side of an image in pixels, as in the registry, which is not imported for it."""

LEAST, MOST = 1e-12, 1e18
"""Bounds of positive numbers: what lies beyond them overflows on the way."""


@dataclass(frozen=True, slots=True)
class Command:
    """One command of `zoo`: how it is called and the function that runs it and returns the exit code.

    `example` is shown by --help, and so are `more`, one for each other task. Options --json and --config are added
    to every command.
    """

    name: str
    summary: str
    example: str
    run: Callable[[Arguments], int]
    configure: Callable[[argparse.ArgumentParser], None] = lambda parser: None
    more: tuple[str, ...] = ()

    @property
    def examples(self) -> tuple[str, ...]:
        """All of them."""
        return (self.example, *self.more)


def size_argument(text: str) -> tuple[int, int]:
    """`WIDTHxHEIGHT` as (height, width).

    >>> size_argument("1024x512")
    (512, 1024)
    """
    match = re.fullmatch(r"([0-9]{1,6})x([0-9]{1,6})", text.lower())
    width, height = map(int, match.groups()) if match else (0, 0)
    if not (1 <= width <= MAX_SIDE and 1 <= height <= MAX_SIDE):
        raise argparse.ArgumentTypeError(
            f"must be WIDTHxHEIGHT in pixels such as 1024x512, each at most {MAX_SIDE}, "
            f"but is {one_line(repr(text), 40)}"
        )
    return height, width


def count_argument(text: str) -> int:
    """A count, with k, M or G for thousands, millions, billions.

    >>> count_argument("400k")
    400000
    """
    from zoo.config import count

    try:
        return count(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"must be a positive count such as 400k, but is {one_line(repr(text), 40)}"
        ) from None


def positive_argument(text: str) -> float:
    """A positive number."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not LEAST <= value <= MOST:
        raise argparse.ArgumentTypeError(f"must be a positive number, but is {one_line(repr(text), 40)}")
    return value


def probability_argument(text: str) -> float:
    """A probability between 0 and 1, both excluded, and no nearer to either than a million draws could tell."""
    value = positive_argument(text)
    if not 1e-6 <= value <= 1 - 1e-6:
        raise argparse.ArgumentTypeError(f"must be between 0 and 1, both excluded, but is {one_line(repr(text), 40)}")
    return value


DEFAULT_SIZE = (512, 1024)
"""Height and width of an image where neither --size nor the model says another."""

MODEL_HELP = (
    "a name of `zoo list` with or without a weight tag, a spec (.yaml), a run of `zoo train`, its weights "
    "(.safetensors), a candidate of a search (RUN#RANK), or an exported network (.onnx)"
)


def add_limits(parser: argparse.ArgumentParser, limits: Iterable["Limit"]) -> None:
    """An option for each limit."""
    for limit in limits:
        kind, metavar = (count_argument, "N") if limit.count else (positive_argument, "X")
        parser.add_argument(limit.option, type=kind, metavar=metavar, help=limit.help)


def add_size(parser: argparse.ArgumentParser, default: tuple[int, int] | None = DEFAULT_SIZE, own: str = "") -> None:
    """--size, stored as (height, width); `own` says what holds without it."""
    text = f" (default {default[1]}x{default[0]})" if default else f" (default: {own})" if own else ""
    parser.add_argument("--size", type=size_argument, default=default, metavar="WxH", help=f"image size{text}")


def add_model_size(parser: argparse.ArgumentParser) -> None:
    """--size, without which a run, a file or a candidate has its own; see `size_of`."""
    add_size(parser, None, f"that of the weights, run or file, else {DEFAULT_SIZE[1]}x{DEFAULT_SIZE[0]}")


def size_of(args: Arguments, model: "Model") -> tuple[int, int]:
    """(height, width): the one asked for, the model's own, or `DEFAULT_SIZE`."""
    size: tuple[int, int] = args.size or model.conditions.size or DEFAULT_SIZE
    return size


def add_model(parser: argparse.ArgumentParser, nargs: str | None = None) -> None:
    """MODEL and --set."""
    parser.add_argument("model", metavar="MODEL", nargs=nargs, help=MODEL_HELP)
    add_settings(parser)


def add_settings(parser: argparse.ArgumentParser) -> None:
    """--set KEY=VALUE, repeatable."""
    parser.add_argument(
        "--set", dest="settings", action="append", default=[], metavar="KEY=VALUE", help="override a spec field"
    )


def config_of(args: Arguments) -> "Config":
    """The configuration that the command runs under."""
    from zoo.config import load_config, user_file

    config = load_config(args.config)
    if user_file(args.config):
        from search.device_ref import check_devices

        check_devices(config)
    return config


def model_of(args: Arguments, name: str | None = None) -> "Model":
    """The model that MODEL and --set name."""
    from search.model_ref import resolve

    return resolve(args.model if name is None else name, config_of(args), args.settings)


def named_models(args: Arguments, names: Iterable[str]) -> list[str]:
    """The names, patterns such as `espnet-c-*` replaced by all models of zoo.yaml that fit, without aliases.

    What exists as a file is no pattern. Raises ConfigError for a pattern that nothing fits.
    """
    return list(dict.fromkeys(model_name for name in names for model_name in _named(args, name)))


def _named(args: Arguments, name: str) -> list[str]:
    from zoo.errors import ConfigError

    if not any(sign in name for sign in "*?[") or Path(name).exists():
        return [name]
    fitting = [model_name for model_name, entry in config_of(args).models_like(name).items() if not entry.alias_of]
    if not fitting:
        raise ConfigError(f"no model's name fits the pattern {name!r}; `zoo list` prints all names")
    return fitting


def emit(args: Arguments, document: Any, show: Callable[["Console"], None]) -> None:
    """Print the JSON document with --json, else call `show` with a console on stdout."""
    if args.json:
        print(json.dumps(document, allow_nan=False, indent=2))
        return
    show(console_of(soft_wrap=not sys.stdout.isatty()))


def note(message: str) -> None:
    """A message for the user, on stderr."""
    say(message)


def write_text(path: Path, text: str) -> None:
    """Write a file whole or not at all. Raises ZooError where the folder cannot be written."""
    from zoo.files import atomic

    with atomic(path) as partial:
        partial.write_text(text, encoding="utf-8")


def table(title: str | None, columns: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1) -> "WordTable":
    """A table for a console; the first `left` columns are text, the others numbers."""
    from zoo.cli.tables import WordTable

    return WordTable(title, columns, rows, left)


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
