"""`zoo search`, `zoo verify`, `zoo pareto`: the exact front, its certificate, its chart."""

import argparse
import json
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo._version import version
from zoo.cli.charting import draw_here, drawing
from zoo.cli.command import (
    Arguments,
    Command,
    add_limits,
    add_size,
    config_of,
    emit,
    note,
    positive_argument,
    probability_argument,
    usage,
)
from zoo.cli.outputs import add_force, check_outputs, check_run_folder
from zoo.cli.shortlist import print_answer
from zoo.cli.study import configure_study, is_study, refresh, run_study
from zoo.progress import progress
from zoo.quantities import LIMITS
from zoo.reading import exists

if TYPE_CHECKING:
    from rich.console import Console

    from search.device_at import DeviceAt
    from search.query import Query
    from search.table_files import TableFiles
    from zoo.config import Config, Limits, SearchConfig

    Progress = Callable[[int, int], None]


def _configure_search(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "name", metavar="NAME", nargs="?", default="default", help="a search of zoo.yaml (default: default)"
    )
    parser.add_argument("--device", action="append", metavar="D", help="device, or DEVICE@MHZ; repeat for joint limits")
    parser.add_argument(
        "--clock-mhz", type=positive_argument, metavar="F", help="clock of the device (default: the search chooses)"
    )
    add_limits(parser, LIMITS.values())
    parser.add_argument("--confidence", type=probability_argument, metavar="C", help="probability that all limits hold")
    parser.add_argument("--objective", metavar="A,B,…", help="miou, latency, power, energy, size, params, macs, memory")
    parser.add_argument(
        "--space", metavar="S", action="append", help="a space of zoo.yaml; repeat for one front over several"
    )
    parser.add_argument(
        "--accuracy",
        choices=("published", "bench", "train"),
        help="where mIOU comes from: published (Cityscapes val), bench (short runs on CamVid), train",
    )
    parser.add_argument("--with-weights", action="store_true", help="list networks whose weights exist instead")
    add_size(parser, default=None)
    parser.add_argument("--top", type=int, metavar="N", help="rows of the front to print after the shortlist")
    parser.add_argument("--no-cache", action="store_true", help="lower, price and answer anew; keep nothing")
    parser.add_argument("--no-plots", action="store_true", help="do not draw pareto.png and pareto.svg")
    parser.add_argument("-o", dest="folder", metavar="RUN", help="folder of the run (default: one of its own in runs/)")
    add_force(parser)
    configure_study(parser)


def _query(args: Arguments) -> "Query":
    from search.query import Query
    from search.space import space_of
    from search.union import union_of

    config = config_of(args)
    preset = config.search(args.name)
    size = args.size or (preset.height, preset.width)
    given_limits = {f: getattr(args, f) for f in LIMITS if getattr(args, f) is not None}
    accuracy = args.accuracy or preset.accuracy
    return Query(
        space=union_of([space_of(config.space(name), size) for name in args.space or preset.spaces]),
        devices=_devices(args, preset, config),
        limits=_limits(preset.limits, given_limits),
        objectives=tuple(args.objective.split(",")) if args.objective else preset.objectives,
        confidence=args.confidence or preset.confidence,
        accuracy="published" if accuracy == "train" else accuracy,
    )


def _study_query(args: Arguments) -> "Query":
    """The question to a study, whose belief starts from the published figures: the bench is of another protocol."""
    query = _query(args)
    if query.accuracy == "bench":
        raise usage(
            "--accuracy bench is known of every candidate at once, so that a study has nothing to measure; search "
            "without --trials and the other options of a study, or measure with --accuracy train"
        )
    return query


def _limits(preset: "Limits", given_limits: dict[str, Any]) -> "Limits":
    return replace(preset, **{f.name: given_limits[f.name] for f in fields(preset) if f.name in given_limits})


def _devices(args: Arguments, preset: "SearchConfig", config: "Config") -> "tuple[DeviceAt, ...]":
    """Devices at the clock given with them, with --clock-mhz, in the named search, or in the section devices."""
    from search.device_ref import devices_at

    clock_mhz = args.clock_mhz or (None if args.device else preset.clock_mhz)
    devices_found = devices_at(args.device or preset.devices, clock_mhz)
    return tuple(replace(at, clock_mhz=at.clock_mhz or config.clock_mhz(at.name)) for at in devices_found)


def _list_with_weights(args: Arguments) -> int:
    """Released and shipped networks within the limits; nothing is written."""
    from search.with_weights import with_weights
    from zoo.cli.shortlist import print_with_weights

    query = _query(args)
    document = {"run": None, "query": query.describe(), "with_weights": with_weights(query)}
    emit(args, document, lambda console: print_with_weights(console, document))
    return 0


def _say_what_power_rests_on(query: "Query") -> None:
    """What a watt limit is worth on each device, where there is one."""
    from hw_models.device import load_device

    if query.limits.max_power_w or query.limits.max_energy_mj:
        for name in dict.fromkeys(device.name for device in query.devices):
            note(f"zoo: {load_device(name).power_basis}")


def _search(args: Arguments) -> int:
    if args.with_weights:
        return _list_with_weights(args)
    if is_study(args):
        return run_study(args, _study_query, progress, draw_here)
    from search.kept_answer import kept_answer
    from search.runs.folder import claimed, default_folder, write_texts
    from search.table_files import table_files_of

    query = _query(args)
    _say_what_power_rests_on(query)
    folder = Path(args.folder) if args.folder else default_folder(query)
    check_run_folder(args, folder)
    files = None if args.no_cache else table_files_of(query.families)
    with claimed(folder, query):
        texts = kept_answer(query, files)
        with drawing(None if args.no_plots else query, files, known=texts is not None) as draw:
            document = write_texts(texts or _answer(args, query, folder, files), folder)
            draw(folder)
    document = {"run": str(folder)} | document

    def show(console: "Console") -> None:
        print_answer(console, document, args.top)

    emit(args, document, show)
    return 0


def _answer(args: Arguments, query: "Query", folder: Path, files: "TableFiles | None") -> dict[str, str]:
    """The files of the answer, found and kept. Raises NothingFeasible, whose report `--json` prints."""
    from search.exact import NothingFeasible, answer
    from search.kept_answer import keep_answer
    from search.runs.writer import texts_of
    from search.tables import lowering_pool, tables_of

    try:
        with lowering_pool() as pool, progress("enumerating") as bar:
            result = answer(query, bar, tables_of(query.space, files, pool))
            texts = texts_of(query, result, pool)
    except NothingFeasible as infeasible:
        if args.json:
            print(json.dumps({"run": str(folder)} | infeasible.report, allow_nan=False, indent=2))
        raise
    keep_answer(query, texts, files)
    return texts


def _configure_run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run_folder", metavar="RUN", help="folder of a search")


def _configure_verify(parser: argparse.ArgumentParser) -> None:
    _configure_run(parser)
    parser.add_argument(
        "--one-by-one", action="store_true", help="lower and price every candidate on its own (minutes)"
    )


def _verify(args: Arguments) -> int:
    from search.certificate import FORMAT, NotVerified
    from search.runs.folder import read_json
    from search.verification import verify
    from zoo.errors import ConfigError

    folder = Path(args.run_folder)
    if exists(folder / "study.json"):
        raise ConfigError(
            f"{folder}: holds a study, whose front is of what was measured; only exact searches are verified"
        )
    try:
        with progress("verifying") as show:
            checked = verify(folder, one_by_one=args.one_by_one, progress=show)
    except NotVerified as wrong:
        if args.json:
            print(json.dumps({"ok": False, "checked": 0, "reason": str(wrong)}, indent=2))
        raise
    certificate = read_json(folder / "certificate.json")
    written_by = certificate["basis"]["version"]
    if certificate.get("format", 1) != FORMAT:
        note(
            f"zoo: {folder} was written by version {written_by}, whose certificate covers the "
            "front and its counts only; they were checked by its rule. Search again for a certificate of every file."
        )
    elif written_by != version():
        note(f"zoo: {folder} was written by version {written_by}; this is {version()}, which computes the same values")
    emit(
        args,
        {"ok": True, "checked": checked},
        lambda console: console.print(
            f"{folder}: verified; {checked:,} candidates checked, {certificate['front']:,} on the front: complete."
        ),
    )
    return 0


def _configure_pareto(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run_folder", metavar="RUN", nargs="+", help="folders of searches; several are overlaid")
    axes = "size, latency, power, energy, params, macs, memory; of one of several devices as latency@titanx"
    parser.add_argument("--x", metavar="AXIS", help=axes)
    parser.add_argument("--y", metavar="AXIS", default="miou", help="the other axis (default miou)")
    parser.add_argument("--sensitivity", metavar="AXIS", help="draw the best mIOU against the limit on AXIS instead")
    parser.add_argument(
        "-o", dest="output", metavar="FILE", help="PNG, SVG or PDF (default: pareto.png or sensitivity.png in the run)"
    )
    add_force(parser)
    width = "width of the chart in millimetres, as 80 for a column of a paper; narrow panels stand below each other"
    parser.add_argument("--width-mm", type=positive_argument, metavar="W", help=width)


def _pareto(args: Arguments) -> int:
    from search.report.figures import draw
    from search.report.limit_costs import draw_sensitivity

    folders = [Path(name) for name in args.run_folder]
    for folder in folders:
        refresh(folder)
    if args.sensitivity and args.x:
        raise usage("--x and --sensitivity are two charts; give one of them")
    output = Path(args.output) if args.output else folders[0] / f"{'sensitivity' if args.sensitivity else 'pareto'}.png"
    check_outputs(args, output)
    if args.sensitivity:
        draw_sensitivity(folders, [output], args.sensitivity, args.width_mm)
    else:
        draw(folders, [output], None if args.x is None else ((args.x, args.y),), args.width_mm)
    emit(args, {"path": str(output)}, lambda console: console.print(str(output)))
    return 0


COMMANDS = (
    Command(
        "search",
        "enumerate a space exactly and write the complete front within hard limits",
        "zoo search --device tx2 --max-latency-ms 150 --max-power-w 2 --max-params 400k",
        _search,
        _configure_search,
    ),
    Command(
        "verify",
        "check the certificate of a search by answering it again",
        "zoo verify runs/robot",
        _verify,
        _configure_verify,
    ),
    Command(
        "pareto",
        "draw the front of one or more searches",
        "zoo pareto runs/robot --x energy",
        _pareto,
        _configure_pareto,
    ),
)
