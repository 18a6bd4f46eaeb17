"""`zoo bench`: whole networks on this machine."""

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from search.opening import has_weights, open_model
from zoo.cli.command import (
    MODEL_HELP,
    Arguments,
    Command,
    add_model_size,
    add_settings,
    config_of,
    emit,
    model_of,
    named_models,
    note,
    si,
    size_of,
    table,
    usage,
    write_text,
)
from zoo.cli.measure import MODELLED, add_running, settings_of
from zoo.cli.outputs import add_force, check_outputs
from zoo.cli.repeat import command_line
from zoo.errors import NegativeAnswer, ZooError

if TYPE_CHECKING:
    from rich.console import Console

    from hw_models.device import Device
    from hw_models.measure.networks import Bench
    from hw_models.measure.reproduce import Reproduction, Row
    from search.model_ref import Model


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("models", metavar="MODEL", nargs="*", help=MODEL_HELP)
    add_settings(parser)
    add_model_size(parser)
    parser.add_argument(
        "--device", metavar="D", help="show what is predicted for this device, NAME or NAME@MHZ, beside it"
    )
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="also write the JSON, for device calibrate")
    add_force(parser)
    parser.add_argument("--optimize", action="store_true", help="as passes rewrite it, which `zoo segment` runs")
    parser.add_argument(
        "--reproduce", metavar="ROW", help="measure FILE of -o, or its row FILE#N, again and say what differs"
    )
    add_running(parser, ("auto", *MODELLED))


def _bench(args: Arguments) -> int:
    if args.reproduce:
        return _reproduce(args)
    if not args.models:
        raise usage("bench: MODEL is missing; `zoo list` names the models")
    check_outputs(args, args.output)
    names = named_models(args, args.models)
    timed = [_timed(args, model_of(args, name)) for name in names]
    documents = [_document(args, network, name) for network, name in zip(timed, names, strict=True)]
    _say_busy(timed)
    if args.output:
        write_text(args.output, json.dumps(documents, indent=2) + "\n")
        note(f"wrote {args.output}")
    emit(args, documents, lambda console: _print_bench(console, timed, documents))
    return 0


def _timed(args: Arguments, model: "Model") -> "Bench":
    from hw_models.measure import power_meters
    from hw_models.measure.networks import bench

    if model.kind == "onnx":
        raise ZooError(f"{model.name}: an exported file is not timed by itself; give its weights, run or spec")
    size = size_of(args, model)
    note(f"timing {model.name} at {size[1]}x{size[0]}")
    device, clock_mhz = _device(args)
    return bench(
        model.name,
        model.spec,
        size,
        settings_of(args),
        weights=open_model(model).module if has_weights(model) else None,
        device=device,
        clock_mhz=clock_mhz,
        meter=power_meters.source(),
        max_spread=args.max_spread,
        optimized=args.optimize,
    )


def _device(args: Arguments) -> "tuple[Device | None, float | None]":
    from hw_models.device import load_device
    from search.device_ref import device_at

    if not args.device:
        return None, None
    at = device_at(args.device)
    return load_device(at.name), at.clock_mhz or config_of(args).clock_mhz(at.name)


def _document(args: Arguments, result: "Bench", name: str) -> dict[str, Any]:
    """The row, with the command that repeats it."""
    options = {
        "set": args.settings,
        "size": result.size,
        "backend": result.protocol["backend"],
        "threads": result.protocol["threads"],
        "batch": args.batch,
        "optimize": args.optimize,
        "device": args.device,
        "max_spread": args.max_spread,
    }
    return result.document() | {"conditions": {"command": command_line("bench", [name], options)}}


def _say_busy(results: "list[Bench]") -> None:
    from hw_models.measure.environment import busy_text

    loads = [result.protocol["others_load"] for result in results if result.protocol["others_load"] is not None]
    if busy := busy_text(max(loads, default=None), results[0].protocol["cores"]):
        note(f"{busy}; times and intervals may be too long")


def _reproduce(args: Arguments) -> int:
    """Measure a stored row again; NegativeAnswer where it comes out otherwise."""
    from hw_models.measure.reproduce import read_row, reproduced

    if args.models or args.settings or args.size:
        raise usage("--reproduce takes network and size from the row; leave out MODEL, --set and --size")
    check_outputs(args, args.output)
    row = read_row(args.reproduce)
    protocol = row.protocol
    args.backend, args.threads, args.batch = str(protocol["backend"]), protocol["threads"], protocol["batch"]
    args.size, args.optimize = row.size, str(protocol["network"]).startswith("rewritten")
    result = _timed(args, _model(args, row))
    document = _document(args, result, row.model)
    answer = reproduced(row, document)
    document["reproduced"] = answer.document(row.text)
    _say_busy([result])
    if args.output:
        write_text(args.output, json.dumps([document], indent=2) + "\n")
    if not answer.ok and args.json:
        print(json.dumps([document], allow_nan=False, indent=2))
    if not answer.ok:
        raise NegativeAnswer(f"{row.text}: {_in_words(row, result, answer)}")
    emit(args, [document], lambda console: console.print(_in_words(row, result, answer)))
    return 0


def _model(args: Arguments, row: "Row") -> "Model":
    """The network of a row; with trained weights it is found by its name, whose spec must still be the row's."""
    from search.model_ref import Model
    from zoo.registry import spec_from_dict

    spec = spec_from_dict(row.spec, f"{row.text}: spec")
    if not row.trained:
        return Model(row.model, row.model, spec, kind="spec")
    model = model_of(args, row.model)
    if model.spec != spec:
        raise ZooError(f"{row.text}: was measured of another network than {row.model} is now; measure it anew")
    return model


def _in_words(row: "Row", result: "Bench", answer: "Reproduction") -> str:
    changed = ", ".join(f"{key} was {old} and is {new}" for key, (old, new) in answer.differs.items())
    new = f"{si(result.timing.median_s, 's')} instead of {si(row.median_s, 's')} ({answer.ratio - 1:+.0%})"
    if answer.ok:
        return f"{row.model}: reproduced, {new}" + (f"; although {changed}" if changed else "")
    load = f"other programs took {result.protocol['others_load'] or 0:.0%} of a core now"
    return f"is not reproduced, {new}; {changed or f'no condition that is recorded differs, and {load}'}"


def _print_bench(console: "Console", results: "list[Bench]", documents: list[dict[str, Any]]) -> None:
    cells = []
    for result in results:
        t, p = result.timing, result.predicted
        row = [result.model, si(t.median_s, "s"), _span(t.low_s, t.high_s), _short(result.throughput)]
        row.append("" if result.memory_bytes is None else si(result.memory_bytes, "B"))
        row += [] if result.energy_j is None else [si(result.energy_j, "J")]
        row += [] if p is None else [si(p.mean, "s"), _span(p.low, p.high), f"{p.mean / t.median_s - 1:+.1%}"]
        cells.append(row)
    columns = ["model", "median", "90 %, ms", "images/s", "memory"]
    columns += [] if results[0].energy_j is None else ["energy"]
    columns += [] if results[0].predicted is None else ["predicted", "90 %, ms", "error"]
    console.print(table(None, columns, cells))
    for key, value in results[0].protocol.items():
        if value is not None and key not in ("runs", "spread"):
            plain = ", ".join(f"{k} {v}" for k, v in value.items()) if isinstance(value, dict) else value
            console.print(f"{key}: {plain}")
    for document in documents:
        console.print(f"repeat: {document['conditions']['command']}")


def _span(low: float, high: float) -> str:
    return f"{_short(1e3 * low)}–{_short(1e3 * high)}"


def _short(value: float) -> str:
    """Three digits, without an exponent."""
    return f"{value:.0f}" if value >= 1000 else f"{value:.3g}"


COMMANDS = (
    Command(
        "bench",
        "time whole networks on this machine, beside what is predicted",
        "zoo bench espnet-c espnet --backend onnxruntime --size 1024x512",
        _bench,
        _configure,
        ("zoo bench --reproduce row.json",),
    ),
)
