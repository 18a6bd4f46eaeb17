"""`zoo predict`: what a network costs, where, and what that rests on."""

import argparse
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.cli.command import (
    Arguments,
    Command,
    add_model,
    add_size,
    count_argument,
    emit,
    model_of,
    note,
    positive_argument,
    probability_argument,
    si,
    table,
    with_bounds,
)

if TYPE_CHECKING:
    from rich.console import Console

    from hw_models.device import Device
    from hw_models.predictors import Cost, Interval
    from hw_models.sweep import Step
    from zoo.specs import Spec

TOP = 10
"""Kernels that `zoo predict` prints."""


def _configure_predict(parser: argparse.ArgumentParser) -> None:
    add_model(parser)
    parser.add_argument("--device", required=True, metavar="NAME", help="a name from `zoo device list`, or NAME@MHZ")
    parser.add_argument("--clock-mhz", type=positive_argument, metavar="F", help="GPU clock (default: the device's)")
    add_size(parser)
    parser.add_argument("--batch", type=count_argument, default=1, metavar="N", help="images at once (default 1)")
    parser.add_argument(
        "--confidence", type=probability_argument, default=0.9, metavar="C", help="of the intervals (default 0.9)"
    )
    parser.add_argument(
        "--system", action="store_true", help="sensitivity to the clock, utilisation, memory, top kernels"
    )
    parser.add_argument("--sweep", choices=("clock", "size", "batch"), help="the curve along one axis")
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="draw the sweep into a PNG or SVG file")


def _predict(args: Arguments) -> int:
    from hw_models.device import device_at
    from hw_models.predictors import predict
    from zoo.registry import lower

    model, (device, clock_mhz) = model_of(args), device_at(args.device)
    args.clock_mhz = args.clock_mhz or clock_mhz
    if args.sweep:
        return _sweep(args, model.name, device)
    if args.system:
        return _system(args, model.name, model.spec, device)
    cost = predict(lower(model.spec, args.size), device, args.clock_mhz, args.batch, args.confidence)
    document = _cost_document(model.name, args.size, cost, device)
    emit(args, document, lambda console: _print_cost(console, model.name, cost, device))
    return 0


def _system(args: Arguments, name: str, spec: "Spec", device: "Device") -> int:
    from hw_models.system import system_figures
    from zoo.registry import lower

    figures = system_figures(lower(spec, args.size), device, args.clock_mhz, args.batch, spec.family)
    document = {"model": name, "size": f"{args.size[1]}x{args.size[0]}", **asdict(figures)}

    def show(console: "Console") -> None:
        if figures.sensitivity is not None and figures.sensitivity_clocks_mhz:
            low, high = figures.sensitivity_clocks_mhz
            paper = figures.published.get("sensitivity")
            beside = f" (the paper's: {paper:.2f})" if paper else ""
            console.print(f"sensitivity to the clock, {low:g} to {high:g} MHz: {figures.sensitivity:.2f}{beside}")
        console.print(", ".join(f"{who} busy {share:.0%}" for who, share in figures.utilisation.items()))
        console.print(f"memory: {si(figures.memory_bytes, 'B')} of weights and activations, without the runtime's own")
        rows = [(kernel.name, f"{kernel.share:.1%}") for kernel in figures.top_kernels]
        console.print(table(None, ("kernels of a kind and size", "share"), rows))
        console.print(f"not modelled: {figures.not_modelled}")

    emit(args, document, show)
    return 0


def _cost_document(name: str, size: tuple[int, int], cost: "Cost", device: "Device") -> dict[str, Any]:
    return {
        "model": name,
        "size": f"{size[1]}x{size[0]}",
        **asdict(cost),
        "stack": device.stack,
        "precision": device.precision,
        "scaled_by": list(device.scaled_by),
        "power_covers": device.power_covers,
        "power_basis": device.power_basis,
        "kinds": _share_by_kind(cost),
    }


def _share_by_kind(cost: "Cost") -> dict[str, float]:
    shares: Counter[str] = Counter()
    for kernel in cost.kernels:
        shares[kernel.kind] += kernel.share  # type: ignore[assignment]  # Counter counts floats as well
    return dict(shares.most_common())


def _print_cost(console: "Console", name: str, cost: "Cost", device: "Device") -> None:
    clock = f"{cost.clock_mhz:g} MHz" + (f", batch {cost.batch}" if cost.batch > 1 else "")
    rows = [
        ("latency", *_cells(cost.latency_s, "s")),
        (f"power ({device.power_covers})", *_cells(cost.power_w, "W")),
        ("energy", *_cells(cost.energy_j, "J")),
    ]
    title = f"{name} on {device.title}, {clock}"
    console.print(table(title, ("", "predicted", f"{cost.confidence:.0%} interval"), rows))
    bound = "the host's dispatch" if cost.host_bound else "the device"
    console.print(
        f"{cost.fps:.3g} frames/s, {si(cost.memory_bytes, 'B')} of weights and activations; "
        f"{cost.dispatches:.0f} operations, bound by {bound}\n"
    )
    top = sorted(cost.kernels, key=lambda k: k.latency_s, reverse=True)[:TOP]
    cells = [
        (k.name, k.kind, si(k.latency_s, "s"), f"{k.share:.1%}", f"{k.of_peak:.0%}", f"{k.of_bandwidth:.0%}")
        for k in top
    ]
    columns = ("most expensive kernels", "kind", "time", "share", "of peak", "of bandwidth")
    console.print(table(None, columns, cells, left=2))
    console.print("time by kind: " + ", ".join(f"{k} {v:.0%}" for k, v in list(_share_by_kind(cost).items())[:6]))
    console.print("rests on: " + ", ".join(f"{_in_words(p, device)} {v:.0%}" for p, v in cost.provenance.items()))
    console.print(device.power_note)
    console.print(device.power_basis)


def _in_words(provenance: str, device: "Device") -> str:
    """`calibrated` says which networks scaled the model."""
    if provenance != "calibrated":
        return provenance
    return f"modelled, scaled by {', '.join(device.scaled_by)}" if device.scaled_by else "modelled"


def _cells(interval: "Interval", unit: str) -> tuple[str, str]:
    return si(interval.mean, unit), f"{si(interval.low, unit)} to {si(interval.high, unit)}"


def _sweep(args: Arguments, name: str, device: "Device") -> int:
    from hw_models.sweep import sensitivity, sweep
    from zoo.registry import lower

    spec = model_of(args).spec
    steps = sweep(
        args.sweep, lambda size: lower(spec, size), device, args.size, args.clock_mhz, args.batch, args.confidence
    )
    document: dict[str, Any] = {"model": name, "device": device.name, "sweep": args.sweep, "path": None}
    document["points"] = [
        {"at": step.at, "value": step.value}
        | {key: value for key, value in asdict(step.cost).items() if key != "kernels"}
        for step in steps
    ]
    if args.sweep == "clock":
        first, last = steps[0], steps[-1]
        document["sensitivity"] = sensitivity(first.cost.fps, last.cost.fps, first.value, last.value)
    if args.output:
        from hw_models.plots import draw_sweep

        document["path"] = str(draw_sweep(steps, f"{name} on {device.title}", args.sweep, args.output))
        note(f"wrote {args.output}")

    def show(console: "Console") -> None:
        _print_sweep(console, name, device, steps)
        if "sensitivity" in document:
            console.print(
                f"sensitivity to the clock (gain in frame rate over gain in clock): {document['sensitivity']:.2f}"
            )

    emit(args, document, show)
    return 0


def _print_sweep(console: "Console", name: str, device: "Device", steps: "tuple[Step, ...]") -> None:
    longest = max(step.cost.fps for step in steps)
    rows = [
        (
            step.at,
            "#" * max(1, round(10 * step.cost.fps / longest)),
            f"{step.cost.fps:.3g}",
            with_bounds(step.cost.latency_s, "s"),
            with_bounds(step.cost.power_w, "W"),
            si(step.cost.energy_j.mean, "J"),
        )
        for step in steps
    ]
    columns = ("", "", "fps", "latency", f"power ({device.power_covers})", "energy")
    console.print(table(f"{name} on {device.title}", columns, rows, left=2))


COMMANDS = (
    Command(
        "predict",
        "predict latency, power, energy and memory of a network on a device",
        "zoo predict espnet --device tx2 --clock-mhz 1134 --size 1024x512",
        _predict,
        _configure_predict,
    ),
)
