"""`zoo device`: devices that predictions are made for, and what their numbers rest on."""

import argparse
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.cli.command import (
    Arguments,
    Command,
    add_size,
    count_argument,
    emit,
    model_of,
    note,
    positive_argument,
    probability_argument,
    si,
    table,
    usage,
    with_bounds,
)

if TYPE_CHECKING:
    from rich.console import Console

    from hw_models.device import Device
    from hw_models.measurements import Subject
    from hw_models.validate import Validation


TOOLS = ("tegrastats", "trtexec", "nsys", "nvprof", "nvidia-smi")
"""Tools whose logs are read (`hw_models.measure.logs.TOOLS`)."""
STACKS = ("pytorch-eager", "tensorrt", "tflite", "onnxruntime", "openvino")
"""Runtimes that a log may be of, as `hw_models.kernels.STACKS` has them."""


def _configure_device(parser: argparse.ArgumentParser) -> None:
    below = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    for name, summary in (
        ("list", "devices that predictions can be made for"),
        ("show", "a device's numbers with their sources, and what a model's prediction rests on"),
        ("add", "check a device folder and add it to your devices"),
        ("validate", "predictions beside published points, with each network left out of the calibration in turn"),
        ("calibrate", "make a device of your own machine, from whole networks that you measured"),
        ("remove", "remove one of your own devices"),
    ):
        sub = below.add_parser(name, help=summary, description=summary)
        if name in ("show", "validate", "calibrate", "remove"):
            sub.add_argument("name", metavar="NAME", help="a name of `zoo device list`, or a device's folder as ./NAME")
        if name == "show":
            sub.add_argument("--model", default="espnet-8", metavar="MODEL", help="whose kernels to count (espnet-8)")
        if name == "validate":
            sub.add_argument("--confidence", type=probability_argument, default=0.9, metavar="C")
        if name == "calibrate":
            _configure_calibrate(sub)
        if name == "add":
            sub.add_argument("folder", metavar="FOLDER", type=Path)
        # Both places are allowed: `zoo device --json list` and `zoo device list --json`.
        sub.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help="print one JSON document")
        sub.add_argument("--config", metavar="FILE", default=argparse.SUPPRESS, help="your own zoo.yaml")


def _configure_calibrate(sub: argparse.ArgumentParser) -> None:
    file = sub.add_mutually_exclusive_group(required=True)
    file.add_argument("--bench", type=Path, metavar="FILE", help="JSON of zoo bench, or a log of --model")
    file.add_argument("--log", type=Path, metavar="FILE", help="a log of --model by another tool")
    sub.add_argument("--model", metavar="MODEL", help=f"the network of a log of {', '.join(TOOLS)}")
    add_size(sub)
    sub.add_argument("--batch", type=count_argument, default=1, metavar="N", help="images at once in a log (default 1)")
    sub.add_argument("--clock-mhz", type=positive_argument, metavar="F", help="GPU clock while the log was recorded")
    sub.add_argument("--stack", choices=STACKS, help="runtime of a log that does not tell it")
    sub.add_argument("--precision", choices=("fp32", "fp16", "int8"), help="of a log that does not tell it")
    sub.add_argument("--images", type=count_argument, metavar="N", help="images run in a profile of nvprof or nsys")
    sub.add_argument("--rail", metavar="NAME", help="rail or card of a log of power, where there are several")
    sub.add_argument("--name", dest="new_name", metavar="NEW", help="name of your copy (default: NAME-calibrated)")
    sub.add_argument("--force", action="store_true", help="take a measurement that is far off its prediction")


def _device(args: Arguments) -> int:
    actions = {
        "list": _device_list,
        "show": _device_show,
        "add": _device_add,
        "validate": _device_validate,
        "calibrate": _device_calibrate,
        "remove": _device_remove,
    }
    return actions[args.action](args)


def _device_list(args: Arguments) -> int:
    from hw_models.device import device_folders, load_device

    devices = [load_device(name) for name in sorted(device_folders())]
    documents = [
        {
            "name": d.name,
            "title": d.title,
            "stack": d.stack,
            "clock_mhz": {"low": d.clocks.low_mhz, "high": d.clocks.high_mhz, "default": d.clocks.default_mhz},
            "power_covers": d.power_covers,
            "rows": len(d.rows),
            "points": len(d.points),
        }
        for d in devices
    ]
    cells = [
        (
            d.name,
            d.title,
            _range(d.clocks.low_mhz, d.clocks.high_mhz),
            d.power_covers,
            str(len(d.rows)),
            str(len(d.points)),
        )
        for d in devices
    ]
    columns = ("device", "what it is", "clock", "power of", "rows", "points")
    emit(args, documents, lambda console: console.print(table(None, columns, cells, left=4)))
    return 0


def _range(low: float, high: float) -> str:
    return f"{low:g} MHz" if low == high else f"{low:g}–{high:g} MHz"


def _device_show(args: Arguments) -> int:
    from hw_models.device import load_device
    from hw_models.predictors import predict
    from search.device_ref import device_at
    from zoo.registry import lower

    at = device_at(args.name)
    device, model = load_device(at.name), model_of(_without_settings(args), args.model)
    cost = predict(lower(model.spec), device, at.clock_mhz)
    counts = Counter((kernel.provenance, kernel.kind) for kernel in cost.kernels)
    coverage: list[dict[str, Any]] = [
        {"provenance": p, "kind": k, "kernels": n} for (p, k), n in sorted(counts.items())
    ]
    document = {
        "name": device.name,
        "title": device.title,
        "stack": device.stack,
        "clocks": asdict(device.clocks),
        "clock_mhz": device.clock(at.clock_mhz),
        "numbers": {name: asdict(number) for name, number in device.numbers.items()},
        "power_covers": device.power_covers,
        "power_note": device.power_note,
        "rows": len(device.rows),
        "points": len(device.points),
        "notes": list(device.notes),
        "model": model.name,
        "coverage": coverage,
        "provenance": dict(cost.provenance),
    }

    def show(console: "Console") -> None:
        numbers = [(name, f"{si(n.value, n.unit)}", n.kind, n.source) for name, n in device.numbers.items()]
        console.print(table(device.title, ("number", "value", "kind", "source"), numbers, left=4))
        console.print(f"clock: {_range(device.clocks.low_mhz, device.clocks.high_mhz)} ({device.clocks.source})")
        console.print(f"power covers: {device.power_covers}. {device.power_note}")
        for remark in device.notes:
            console.print(remark)
        cells = [(c["provenance"], c["kind"], str(c["kernels"])) for c in coverage]
        console.print(table(f"kernels of {model.name}", ("rests on", "kind", "kernels"), cells, left=2))

    emit(args, document, show)
    return 0


def _without_settings(args: Arguments) -> Arguments:
    args.settings = []
    return args


def _device_add(args: Arguments) -> int:
    from hw_models.device_writer import add_device

    device = add_device(args.folder)
    emit(args, {"name": device.name, "path": str(device.folder)}, lambda console: console.print(f"added {device.name}"))
    return 0


def _device_validate(args: Arguments) -> int:
    from hw_models.device import load_device
    from hw_models.validate import validate
    from search.device_ref import device_at

    device = load_device(device_at(args.name).name)
    result = validate(device, args.confidence)
    document = {
        "device": device.name,
        "confidence": args.confidence,
        "points": [_point_document(c) for c in result.checks],
        **_summary(result, "latency_s"),
        "by_metric": {metric: _summary(result, metric) for metric in ("latency_s", "power_w")},
        "missing": list(result.missing),
        "protocol": "mape, coverage and spearman are of predictions whose own network was left out of the calibration",
    }
    emit(args, document, lambda console: _print_validation(console, device, result, args.confidence))
    return 0


def _device_calibrate(args: Arguments) -> int:
    from hw_models import measurements, recalibrate
    from hw_models.device import load_device
    from search.device_ref import device_at

    device = load_device(device_at(args.name).name)
    if args.log and not args.model:
        raise usage("--log FILE needs --model MODEL: a log does not say which network ran")
    if args.model:
        measured = measurements.from_log(args.log or args.bench, _subject(args), device.power_covers)
    else:
        measured = measurements.from_bench(args.bench)
    own = measurements.own_points(measured, device)
    for remark in own.remarks:
        note(remark)
    result = recalibrate.recalibrate(own.device, own.points, args.new_name, force=args.force)
    document = recalibrate.document(result)
    emit(args, document, lambda console: _print_recalibration(console, document))
    return 0


def _subject(args: Arguments) -> "Subject":
    from hw_models.measurements import Subject

    model = model_of(_without_settings(args), args.model)
    return Subject(
        network=model.name,
        spec=model.spec,
        size=args.size,
        batch=args.batch,
        clock_mhz=args.clock_mhz,
        stack=args.stack,
        precision=args.precision,
        images=args.images,
        rail=args.rail,
    )


def _device_remove(args: Arguments) -> int:
    from hw_models.device_writer import remove_device

    folder = remove_device(args.name)
    emit(args, {"name": args.name, "path": str(folder)}, lambda console: console.print(f"removed {args.name}"))
    return 0


def _print_recalibration(console: "Console", document: dict[str, Any]) -> None:
    units = {"latency_s": "s", "power_w": "W"}
    cells = []
    for point in document["points"]:
        unit = units[point["metric"]]
        intervals = [
            f"{si(i['mean'], unit)} ({si(i['low'], unit)} to {si(i['high'], unit)})"
            for i in (point["before"], point["after"])
        ]
        size = f"{point['width']}x{point['height']}, {point['clock_mhz']:g} MHz"
        cells.append((point["network"], size, point["metric"].split("_")[0], si(point["measured"], unit), *intervals))
    columns = ("network", "size, clock", "metric", "measured", "published device", "from your other networks")
    console.print(table(f"{document['device']}, in {document['path']}", columns, cells, left=3))
    for moment, label in (("before", "published device"), ("after", "your device, networks left out")):
        errors = document[moment]
        console.print(f"{label}: mean error {errors['error']:.1%}, intervals ±{errors['interval']:.0%}")


def _point_document(check: Any) -> dict[str, Any]:
    document = asdict(check)
    predicted = document.pop("predicted")
    return document | {"predicted": predicted["mean"], "low": predicted["low"], "high": predicted["high"]}


def _summary(result: "Validation", metric: str) -> dict[str, float | None]:
    return {
        "mape": result.mape(metric),
        "coverage": result.coverage(metric),
        "spearman": result.spearman(metric),
    }


def _print_validation(console: "Console", device: "Device", result: "Validation", confidence: float) -> None:
    units = {"latency_s": "s", "power_w": "W"}
    cells = [
        (
            f"{c.network} {c.width}x{c.height}" + ("" if c.used_for_calibration else " *"),
            f"{c.clock_mhz:g}",
            ("<= " if c.bound == "lower" else "") + si(c.published, units[c.metric]),
            si(c.predicted.mean, units[c.metric]),
            with_bounds(c.left_out, units[c.metric]),
            "" if c.bound == "lower" else f"{c.error:+.0%}",
        )
        for c in result.checks
    ]
    columns = ("network", "MHz", "published", "predicted", "network left out", "error")
    console.print(table(device.title, columns, cells, left=1))
    console.print("* never calibrates")
    for metric in units:
        summary = _summary(result, metric)
        if summary["mape"] is not None:
            rank = "" if summary["spearman"] is None else f", rank correlation {summary['spearman']:.2f}"
            console.print(
                f"{metric.split('_')[0]}, networks left out: mean error {summary['mape']:.1%}, "
                f"interval holds {summary['coverage']:.0%}{rank}"
            )
    if result.missing:
        note(f"not in the registry, so not predicted: {', '.join(result.missing)}")


COMMANDS = (
    Command(
        "device",
        "list, show, add, validate, calibrate and remove devices",
        "zoo device calibrate tx2 --bench times.json --model espnet --size 1024x512",
        _device,
        _configure_device,
    ),
)
