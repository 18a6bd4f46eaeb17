"""`zoo bench-table`: the mIOU that was measured for the search, queried and extended."""

import argparse
import csv
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.cli.command import Arguments, Command, count_argument, emit, note, si, table, usage

if TYPE_CHECKING:
    from rich.console import Console

    from search.accuracy.bench.protocol import Run
    from search.accuracy.bench.table import Measured


def _configure(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "--where",
        action="append",
        default=[],
        metavar="FIELD=VALUE",
        help="only such rows, also with !=, <, <=, >, >=, as variant=C, 'params<200k', widths=16,64,128; repeatable",
    )
    add("--sort", default="miou:desc", metavar="FIELD", help="or FIELD:desc (default miou:desc)")
    add("--each", action="store_true", help="a row a run, with its curve, instead of a row a network")
    add("--csv", action="store_true", help="print the rows as a table of the same form on stdout")
    add("--table", metavar="FILE", help="another table than the one that ships")
    group = parser.add_argument_group("measure what the table does not have yet; Ctrl-C loses the current run only")
    group.add_argument("--fill", action="store_true", help="train the bench's design on CamVid, row by row")
    group.add_argument("--data", metavar="DIR", help="folder of CamVid, in the layout of SegNet's split")
    group.add_argument("--runs", type=count_argument, metavar="N", help="at most so many runs now")


def _bench_table(args: Arguments) -> int:
    from search.accuracy.bench.protocol import TABLE

    path = Path(args.table) if args.table else TABLE
    if args.csv and args.json:
        raise usage("--csv and --json are two forms of the same rows; give one of them")
    if args.fill:
        return _fill(args, path)
    if args.data or args.runs:
        raise usage("--data and --runs are options of --fill")
    return _query(args, path)


def _fill(args: Arguments, path: Path) -> int:
    from search.accuracy.bench.design import design
    from search.accuracy.bench.protocol import PROTOCOL, fill, missing

    if not args.data:
        raise usage("--fill needs the folder of CamVid; give it with --data DIR")
    entries = design()
    measured = fill(entries, Path(args.data), note, path, args.runs)
    left = len(missing(entries, path))
    document = {"table": str(path), "protocol": PROTOCOL, "measured": measured, "missing": left}
    emit(args, document, lambda console: console.print(f"{path}: {measured} runs measured, {left} missing"))
    return 0


def _query(args: Arguments, path: Path) -> int:
    from search.accuracy.bench.protocol import read_runs
    from search.accuracy.bench.table import measured, ordered, where
    from zoo.errors import ConfigError

    if args.table and not path.exists():
        raise ConfigError(f"{path}: there is no such table; zoo bench-table --fill --data DIR --table {path} makes one")
    all_runs = read_runs(path)
    rows = ordered(where(all_runs, args.where), args.sort) if all_runs else ()
    networks = [
        network for protocol in dict.fromkeys(run.protocol for run in rows) for network in measured(rows, protocol)
    ]
    if args.csv:
        _print_csv(rows)
        return 0
    document = _document(path, rows, networks)
    emit(args, document, lambda console: _show(console, document, args.each, len(all_runs)))
    return 0


def _print_csv(rows: "tuple[Run, ...]") -> None:
    from search.accuracy.bench.protocol import FIELDS

    writer = csv.DictWriter(sys.stdout, FIELDS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(run.row() for run in rows)


def _document(path: Path, rows: "tuple[Run, ...]", networks: "list[Measured]") -> dict[str, Any]:
    from dataclasses import asdict

    from search.accuracy.bench.protocol import PROTOCOL, PROTOCOL_TEXT
    from search.accuracy.bench.table import noise

    pooled = noise(networks)
    return {
        "table": str(path),
        "protocols": {run.protocol: PROTOCOL_TEXT if run.protocol == PROTOCOL else None for run in rows},
        "noise_sd": pooled.sd if pooled else None,
        "noise_freedom": pooled.freedom if pooled else 0,
        "networks": [_network(network) for network in networks],
        "runs": [asdict(run) | {"curve": list(run.curve)} for run in rows],
    }


def _network(network: "Measured") -> dict[str, Any]:
    params, macs = network.counts
    return {
        "protocol": network.runs[0].protocol,
        "spec": network.runs[0].spec,
        "params": params,
        "macs": macs,
        "miou": network.mean,
        "sd": network.sd,
        "seeds": sorted(run.seed for run in network.runs),
        "seconds": sum(run.seconds for run in network.runs),
    }


def _show(console: "Console", document: dict[str, Any], per_run: bool, total: int) -> None:
    runs, networks = document["runs"], document["networks"]
    console.print(f"{len(runs)} of {total} runs, {len(networks)} networks")
    if not runs:
        return
    for protocol, text in document["protocols"].items():
        console.print(f"{protocol}: {text or 'not described here'}", markup=False)
    if len(document["protocols"]) > 1:
        console.print("Rows of different protocols do not compare.")
    if document["noise_sd"] is not None:
        sd, freedom = document["noise_sd"], document["noise_freedom"]
        console.print(f"noise of one run: standard deviation {sd:.2f} points of mIOU, {freedom} degrees of freedom")
    heads, cells = (RUN_HEADS, _run_cells) if per_run else (NETWORK_HEADS, _network_cells)
    several = len(document["protocols"]) > 1
    rows = [
        (_title(row), *([row["protocol"]] if several else []), *cells(row)) for row in (runs if per_run else networks)
    ]
    console.print(table(None, ("network", *(["protocol"] if several else []), *heads), rows))


RUN_HEADS = ("seed", "mIOU, %", "after each epoch", "seconds")
NETWORK_HEADS = ("params", "MACs", "seeds", "mIOU, %", "± a run", "s")


def _title(row: dict[str, Any]) -> str:
    from search.accuracy.bench.table import title
    from zoo.registry import spec_from_dict

    return title(spec_from_dict(row["spec"]))


def _run_cells(run: dict[str, Any]) -> tuple[str, ...]:
    curve = " ".join(f"{value:.0f}" for value in run["curve"])
    return str(run["seed"]), f"{run['miou']:.2f}", curve, f"{run['seconds']:.0f}"


def _network_cells(row: dict[str, Any]) -> tuple[str, ...]:
    return (
        si(row["params"], ""),
        si(row["macs"], ""),
        ",".join(map(str, row["seeds"])),
        f"{row['miou']:.2f}",
        "" if row["sd"] is None else f"{row['sd']:.2f}",
        f"{row['seconds']:.0f}",
    )


COMMANDS = (
    Command(
        "bench-table",
        "the mIOU that short trainings measured for the search: query it, extend it",
        "zoo bench-table --where variant=C --where 'params<200k' --sort params",
        _bench_table,
        _configure,
    ),
)
