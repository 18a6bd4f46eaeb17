"""`zoo measure`: a device of one's own."""

import argparse
from math import exp
from typing import TYPE_CHECKING, Any

from zoo.cli.command import (
    Arguments,
    Command,
    config_of,
    count_argument,
    emit,
    note,
    positive_argument,
    size_argument,
    table,
)
from zoo.cli.repeat import command_line
from zoo.progress import progress
from zoo.text import length_of_time

if TYPE_CHECKING:
    from rich.console import Console

    from hw_models.measure.new_device import Report
    from hw_models.measure.plan import Plan
    from hw_models.measure.runtimes import Settings

MODELLED = ("onnxruntime", "openvino", "torch", "torch-cuda")
"""Backends whose kernels a device of one's own can be made of."""


def add_running(parser: argparse.ArgumentParser, backends: tuple[str, ...]) -> None:
    """--backend, --threads, --batch and --max-spread."""
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
    add_running(parser, MODELLED)


def _measure(args: Arguments) -> int:
    from hw_models.device_writer import refuse_taken
    from hw_models.measure import plan
    from zoo.bulk.choices import Choices

    device_text = args.device
    args.device, clock_mhz = _name(device_text)
    refuse_taken(args.device, replaces=args.replace)
    config = config_of(args)
    space = config.space("default" if args.space == "espnet" else args.space)
    settings = settings_of(args)
    _check_clock(settings, clock_mhz)
    sizes = tuple(args.sizes or plan.SIZES)
    note("choosing what to time")
    todo = plan.plan(Choices(space.family, space.choices), sizes, args.count or plan.COUNT, networks=args.networks)
    recipe = {
        "space": args.space,
        "sizes": [list(size) for size in sizes],
        "blocks": len(todo.blocks),
        "networks": len(todo.networks),
    }
    report = _run(args, todo, settings, recipe)
    repeat_command = _again(args, device_text, settings, sizes)
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
        "conditions": {"command": repeat_command},
    }

    def show(console: "Console") -> None:
        _print_report(console, report)
        console.print(f"repeat: {repeat_command}", markup=False)

    emit(args, document, show)
    return 0


def _name(text: str) -> tuple[str, float | None]:
    """Name and clock of NAME or NAME@MHZ; a clock is what this machine must run at."""
    from search.device_ref import clock_of

    name, at, clock = text.partition("@")
    return name, clock_of(text, name, clock) if at else None


def _check_clock(settings: "Settings", clock_mhz: float | None) -> None:
    """Raise ZooError where this machine does not run at the clock asked for."""
    from hw_models.measure.environment import CLOCK_TOLERANCE, conditions
    from zoo.errors import ZooError

    now = conditions(settings.backend, settings.threads, settings.batch).clock_mhz
    if clock_mhz and abs(now / clock_mhz - 1) > CLOCK_TOLERANCE:
        raise ZooError(f"this machine runs at {now:.0f} MHz and not at {clock_mhz:g}; set its clock, or leave out @MHZ")


def _again(args: Arguments, device: str, settings: "Settings", sizes: tuple[tuple[int, int], ...]) -> str:
    """The command that repeats a measurement; device: NAME or NAME@MHZ, as it was asked for."""
    options = {
        "device": device,
        "space": args.space,
        "size": list(sizes),
        "count": args.count,
        "networks": args.networks,
        "backend": settings.backend,
        "threads": settings.threads,
        "batch": settings.batch,
        "max_spread": args.max_spread,
        "replace": True,
    }
    return command_line("measure", [], options)


def settings_of(args: Arguments) -> "Settings":
    """What runs the network, and how; `auto` is settled."""
    from hw_models.measure.runtimes import Settings
    from zoo.backends.choice import available_cores, candidates

    backend: Any = args.backend
    if backend != "torch-cuda":
        backend = candidates(backend)[0]
    if args.backend == "auto":
        note(f"zoo: {backend} runs the network")
    return Settings(backend, args.threads or available_cores(), args.batch)


def _run(args: Arguments, todo: "Plan", settings: "Settings", recipe: dict[str, Any]) -> "Report":
    from hw_models.measure import run as measure
    from hw_models.measure.environment import conditions
    from hw_models.measure.journal import Journal, journal_path
    from hw_models.measure.new_device import finish

    now = conditions(settings.backend, settings.threads, settings.batch)
    journal = Journal(journal_path(args.device))
    with journal.held():
        visits = journal.open(now, recipe, args.resume)
        announced_s = measure.seconds_ahead(todo, visits, settings)
        note(
            f"{len(todo.blocks)} blocks and {len(todo.networks)} networks, each at least {measure.PASSES} times: "
            f"about {length_of_time(announced_s)}{' more' * args.resume}; interrupt it when you like and continue with "
            "--resume"
        )
        with progress("measuring") as bar:
            measure.run(
                todo,
                visits,
                journal,
                settings,
                lambda visits_done, planned, left_s: bar(visits_done, planned),
                announced_s,
            )
        report = finish(args.device, todo, visits, now, args.max_spread, replaces=args.replace)
        journal.path.unlink()
    return report


def _print_report(console: "Console", report: "Report") -> None:
    device = report.device
    console.print(f"{device.title}: {report.rows} blocks in {report.seconds:.0f} s, in {device.folder}")
    for remark in device.notes:
        console.print(remark)
    cells = [
        (kind, f"{errors['rows']:.0f}", f"{errors['median_error']:.1%}", f"{errors['within_10_percent']:.0%}")
        for kind, errors in device.held_out.items()
    ]
    columns = ("blocks left out", "rows", "median error", "within 10 %")
    console.print(table(None, columns, cells))
    console.print(f"a network that was not measured is off by {device.latency.network_sd:.1%} (one standard deviation)")
    console.print(f"next: zoo predict espnet --device {device.name}; zoo search --device {device.name}")


COMMANDS = (
    Command(
        "measure",
        "time what a search space needs on this machine, and make a device of it",
        "zoo measure --device my-cpu --backend onnxruntime --space espnet",
        _measure,
        _configure_measure,
    ),
)
