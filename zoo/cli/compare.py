"""`zoo compare`: networks and answers side by side, with probabilities."""

import argparse
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.cli.command import (
    Arguments,
    Command,
    add_size,
    config_of,
    emit,
    named_models,
    positive_argument,
    probability_argument,
    si,
    table,
    usage,
)
from zoo.cli.shortlist import reading_lines

if TYPE_CHECKING:
    from rich.console import Console

    from search.compare import Subject
    from search.device_at import DeviceAt
    from zoo.config import Config


def _configure(parser: argparse.ArgumentParser) -> None:
    text = "a model, a model with its weights (espnet-8.cityscapes), the folder of a search, or RUN#RANK"
    parser.add_argument("subjects", metavar="A", nargs="+", help=text)
    parser.add_argument("--device", metavar="D", help="device, or DEVICE@MHZ (default: that of each run)")
    parser.add_argument("--clock-mhz", type=positive_argument, metavar="F", help="clock of the device")
    add_size(parser, default=None)
    parser.add_argument(
        "--confidence", type=probability_argument, default=0.9, metavar="C", help="of the intervals (default 0.9)"
    )


def _compare(args: Arguments) -> int:
    from search.compare import compare

    subjects = named_models(args, args.subjects)
    if len(subjects) < 2:
        raise usage("zoo compare needs two or more networks or runs; name another")
    device = _device(args)
    document = compare([_subject(args, text, device) for text in subjects], args.confidence)
    emit(args, document, lambda console: _print(console, document))
    return 0


def _device(args: Arguments) -> "DeviceAt | None":
    from search.device_ref import device_at

    if args.device is None:
        return None
    at = device_at(args.device, args.clock_mhz)
    return replace(at, clock_mhz=at.clock_mhz or config_of(args).clock_mhz(at.name))


def _subject(args: Arguments, text: str, device: "DeviceAt | None") -> "Subject":
    folder, _, rank = text.rpartition("#") if "#" in text else (text, "", "")
    if (Path(folder) / "front.json").is_file():
        return _of_run(text, folder, rank, args.size, device)
    return _of_model(text, config_of(args), args.size, device)


def _of_run(text: str, folder: str, rank: str, size: "tuple[int, int] | None", device: "DeviceAt | None") -> "Subject":
    from search.compare import Subject
    from search.runs.reader import conditions_of, load_run

    run = load_run(Path(folder))
    name = text if rank else f"{folder}#{run.chosen}"
    own = conditions_of(name)
    place = int(name.rpartition("#")[2])
    return Subject(name, run.spec(place), size or own.size, device or own.devices[0], None, run.query.accuracy)


def _of_model(text: str, config: "Config", size: "tuple[int, int] | None", device: "DeviceAt | None") -> "Subject":
    from search.compare import Subject, weights_named
    from search.model_ref import resolve

    if device is None:
        raise usage(f"{text}: a model has no device of its own; name one with --device")
    model = resolve(text, config)
    weights = weights_named(model.canonical, model.tag) if model.tag else None
    own = weights.preprocessing.size if weights else None
    return Subject(text, model.spec, size or own or (512, 1024), device, weights)


def _print(console: "Console", document: Mapping[str, Any]) -> None:
    from hw_models.device import shows_power

    rows = [
        (
            row["name"],
            row["size"],
            row["device"],
            _interval(row["miou"], 1.0, 1),
            row["miou_of"],
            si(row["params"], ""),
            _interval(row["latency_s"], 1e3, 1),
            _interval(row["power_w"], 1.0, 2) if shows_power(row["device"].partition("@")[0]) else "not read",
        )
        for row in document["rows"]
    ]
    heads = ("name", "size", "device", "mIOU, %", "of", "parameters", "latency, ms", "power, W")
    console.print(table(None, heads, rows, left=3))
    for row in document["rows"]:
        if row["miou_assumes"]:
            console.print(f"{row['name']}: its mIOU assumes: {', '.join(row['miou_assumes'])}")
    readings = [(row["name"], {row["device"]: row["readings"]}) for row in document["rows"]]
    for line in reading_lines(readings):
        console.print(line)
    metrics = ("miou", "latency", "power", "energy")
    chances = [(pair.replace(">", " better than "), *(_chance(p[m]) for m in metrics)) for pair, p in _pairs(document)]
    console.print(table("probability of being better in", ("", *metrics), chances))


def _pairs(document: Mapping[str, Any]) -> list[tuple[str, Mapping[str, float | None]]]:
    """Each pair once, in the order of the rows."""
    names = [row["name"] for row in document["rows"]]
    return [(f"{a}>{b}", document["better"][f"{a}>{b}"]) for i, a in enumerate(names) for b in names[i + 1 :]]


def _interval(parts: Mapping[str, float] | None, scale: float, digits: int) -> str:
    if parts is None:
        return "unknown"
    mean, low, high = (f"{scale * parts[part]:.{digits}f}" for part in ("mean", "low", "high"))
    return mean if low == high else f"{mean} ({low}–{high})"


def _chance(value: float | None) -> str:
    return "–" if value is None else f"{value:.0%}"


COMMANDS = (
    Command(
        "compare",
        "networks or searches side by side, with the probability that one is better than another",
        "zoo compare espnet-8.cityscapes espnetv2-2.0.cityscapes --device tx2@1134",
        _compare,
        _configure,
    ),
)
