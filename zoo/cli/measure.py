"""`zoo measure` and `zoo bench`: a device of one's own, and whole networks on it."""

import argparse
import sys
import time
from math import exp
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.cli.command import (
    Arguments,
    Command,
    add_settings,
    add_size,
    config_of,
    count_argument,
    emit,
    model_of,
    note,
    positive_argument,
    si,
    size_argument,
    table,
)
from zoo.cli.outputs import add_force, check_outputs

if TYPE_CHECKING:
    from rich.console import Console

    from hw_models.measure.networks import Bench
    from hw_models.measure.new_device import Report
    from hw_models.measure.plan import Plan
    from hw_models.measure.runtimes import Settings

MODELLED = ("onnxruntime", "openvino", "torch", "torch-cuda")
"""Backends whose kernels a device of one's own can be made of."""


def _add_running(parser: argparse.ArgumentParser, backends: tuple[str, ...]) -> None:
    parser.add_argument("--backend", choices=backends, default="onnxruntime", help="what runs it (onnxruntime)")
    parser.add_argument("--threads", type=count_argument, metavar="N", help="threads (default: all cores)")
    parser.add_argument("--batch", type=count_argument, default=1, metavar="N", help="images at once (default 1)")
    parser.add_argument(
        "--max-spread",
        type=positive_argument,
        default=0.25,
        metavar="X",
        help="largest spread of runs that is still believed (default 0.25, a quarter)",
    )


def _configure_measure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--device", required=True, metavar="NAME", help="name of the new device")
    parser.add_argument("--space", default="espnet", metavar="NAME", help="search space of zoo.yaml (espnet: default)")
    parser.add_argument(
        "--size",
        dest="sizes",
        action="append",
        type=size_argument,
        metavar="WxH",
        help="image size to time at, repeatable (default 256x128, 512x256, 1024x512)",
    )
    parser.add_argument("--count", type=count_argument, metavar="N", help="blocks to time (default 280)")
    parser.add_argument("--networks", type=count_argument, metavar="N", help="whole networks to time (default 20)")
    parser.add_argument("--resume", action="store_true", help="continue an interrupted measurement")
    parser.add_argument("--replace", action="store_true", help="replace a device that you measured before")
    _add_running(parser, MODELLED)


def _measure(args: Arguments) -> int:
    from hw_models.device_writer import refuse_taken
    from hw_models.measure import plan
    from zoo.bulk.choices import Choices

    refuse_taken(args.device, replaces=args.replace)
    config = config_of(args)
    space = config.space("default" if args.space == "espnet" else args.space)
    settings = _settings(args)
    sizes = tuple(args.sizes or plan.SIZES)
    note("choosing what to time")
    todo = plan.plan(Choices(space.family, space.choices), sizes, args.count or plan.COUNT, networks=args.networks)
    _say_length(todo, settings)
    recipe = {
        "space": args.space,
        "sizes": [list(size) for size in sizes],
        "blocks": len(todo.blocks),
        "networks": len(todo.networks),
    }
    report = _run(args, todo, settings, recipe)
    document = {
        "device": report.device.name,
        "rows": report.rows,
        "skipped": report.skipped,
        "seconds": report.seconds,
        "path": str(report.device.folder),
        "drift": report.drift,
        "spread": report.spread,
        "held_out": dict(report.device.held_out),
        "efficiency": exp(report.device.latency.theta[0]),
        "network_sd": report.device.latency.network_sd,
        "notes": list(report.device.notes),
    }
    emit(args, document, lambda console: _print_report(console, report))
    return 0


def _settings(args: Arguments) -> "Settings":
    from hw_models.measure.runtimes import Settings
    from zoo.backends.choice import available_cores, candidates

    backend: Any = args.backend
    if backend != "torch-cuda":
        backend = candidates(backend)[0]
    if args.backend == "auto":
        note(f"zoo: {backend} runs the network")
    return Settings(backend, args.threads or available_cores(), args.batch)


def _say_length(todo: "Plan", settings: "Settings") -> None:
    from hw_models.measure.run import PASSES, seconds_ahead

    minutes = seconds_ahead(todo, settings) / 60
    note(
        f"{len(todo.blocks)} blocks and {len(todo.networks)} networks, each at least {PASSES} times: "
        f"about {max(1, round(minutes))} minutes; interrupt it when you like and continue with --resume"
    )


def _run(args: Arguments, todo: "Plan", settings: "Settings", recipe: dict[str, Any]) -> "Report":
    from hw_models.measure import run as measure
    from hw_models.measure.environment import conditions
    from hw_models.measure.journal import Journal, journal_path
    from hw_models.measure.new_device import finish

    now = conditions(settings.backend, settings.threads, settings.batch)
    journal = Journal(journal_path(args.device))
    with journal.held():
        visits = journal.open(now, recipe, args.resume)
        measure.run(todo, visits, journal, settings, _progress())
        report = finish(args.device, todo, visits, now, args.max_spread, replaces=args.replace)
        journal.path.unlink()
    return report


def _progress() -> Any:
    shown = [0.0]

    def show(done: int, planned: int, left: float) -> None:
        now = time.monotonic()
        if now - shown[0] > (2 if sys.stderr.isatty() else 30):
            shown[0] = now
            end = "\r" if sys.stderr.isatty() else "\n"
            print(f"{done} of about {planned} visits, about {left:.0f} s left   ", end=end, file=sys.stderr, flush=True)

    return show


def _print_report(console: "Console", report: "Report") -> None:
    device = report.device
    console.print(f"{device.title}: {report.rows} blocks in {report.seconds:.0f} s, in {device.folder}")
    for remark in device.notes:
        console.print(remark)
    cells = [
        (kind, f"{found['rows']:.0f}", f"{found['median_error']:.1%}", f"{found['within_10_percent']:.0%}")
        for kind, found in device.held_out.items()
    ]
    columns = ("blocks left out", "rows", "median error", "within 10 %")
    console.print(table(None, columns, cells))
    console.print(f"a network that was not measured is off by {device.latency.network_sd:.1%} (one standard deviation)")
    console.print(f"next: zoo predict espnet --device {device.name}; zoo search --device {device.name}")


def _configure_bench(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("models", metavar="MODEL", nargs="+", help="names from zoo.yaml with or without a weight tag")
    add_settings(parser)
    add_size(parser)
    parser.add_argument("--device", metavar="NAME", help="show what is predicted for this device beside it")
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="also write the JSON, for device calibrate")
    add_force(parser)
    parser.add_argument("--optimize", action="store_true", help="as passes rewrite it, which `zoo segment` runs")
    _add_running(parser, ("auto", *MODELLED))


def _bench(args: Arguments) -> int:
    import json

    from hw_models.device import load_device
    from hw_models.measure import power_meters as energy
    from hw_models.measure.environment import busy_text
    from hw_models.measure.networks import bench
    from zoo.cli.command import write_text

    check_outputs(args, args.output)
    settings = _settings(args)
    device = load_device(args.device) if args.device else None
    meter = energy.source()
    found = []
    for name in args.models:
        model = model_of(args, name)
        note(f"timing {name} at {args.size[1]}x{args.size[0]}")
        weights = _weights(model.canonical, model.tag)
        found.append(
            bench(
                name,
                model.spec,
                args.size,
                settings,
                weights=weights,
                device=device,
                meter=meter,
                max_spread=args.max_spread,
                optimized=args.optimize,
            )
        )
    documents = [one.document() for one in found]
    loads = [one.protocol["others_load"] for one in found if one.protocol["others_load"] is not None]
    if busy := busy_text(max(loads, default=None), found[0].protocol["cores"]):
        note(f"{busy}; times and intervals may be too long")
    if args.output:
        write_text(args.output, json.dumps(documents, indent=2) + "\n")
        note(f"wrote {args.output}")
    emit(args, documents, lambda console: _print_bench(console, found))
    return 0


def _weights(name: str, tag: str | None) -> Any:
    if tag is None:
        return None
    from pretrained import load

    return load(f"{name}.{tag}")


def _print_bench(console: "Console", found: "list[Bench]") -> None:
    cells = []
    for one in found:
        t, p = one.timing, one.predicted
        row = [one.model, si(t.median_s, "s"), _span(t.low_s, t.high_s), _short(one.throughput)]
        row.append("" if one.memory_bytes is None else si(one.memory_bytes, "B"))
        row += [] if one.energy_j is None else [si(one.energy_j, "J")]
        row += [] if p is None else [si(p.mean, "s"), _span(p.low, p.high), f"{p.mean / t.median_s - 1:+.1%}"]
        cells.append(row)
    columns = ["model", "median", "90 %, ms", "images/s", "memory"]
    columns += [] if found[0].energy_j is None else ["energy"]
    columns += [] if found[0].predicted is None else ["predicted", "90 %, ms", "error"]
    console.print(table(None, columns, cells))
    for key, value in found[0].protocol.items():
        if value is not None and key not in ("runs", "spread"):
            plain = ", ".join(f"{k} {v}" for k, v in value.items()) if isinstance(value, dict) else value
            console.print(f"{key}: {plain}")


def _span(low: float, high: float) -> str:
    return f"{_short(1e3 * low)}–{_short(1e3 * high)}"


def _short(value: float) -> str:
    """Three digits, without an exponent."""
    return f"{value:.0f}" if value >= 1000 else f"{value:.3g}"


COMMANDS = (
    Command(
        "measure",
        "time what a search space needs on this machine, and make a device of it",
        "zoo measure --device my-cpu --backend onnxruntime --space espnet",
        _measure,
        _configure_measure,
    ),
    Command(
        "bench",
        "time whole networks on this machine, beside what is predicted",
        "zoo bench espnet-c espnet --backend onnxruntime --size 1024x512",
        _bench,
        _configure_bench,
    ),
)
