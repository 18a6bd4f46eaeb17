"""`zoo predict`: what networks cost on devices."""

import argparse
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.cli.command import (
    Arguments,
    Command,
    add_model,
    add_model_size,
    config_of,
    count_argument,
    emit,
    model_of,
    named_models,
    note,
    positive_argument,
    probability_argument,
    si,
    size_of,
    table,
    usage,
    with_bounds,
)
from zoo.cli.outputs import add_force, check_outputs

if TYPE_CHECKING:
    from rich.console import Console

    from hw_models.device import Device
    from hw_models.predictors import Cost, Interval
    from hw_models.sweep import Step
    from search.device_at import DeviceAt
    from search.model_ref import Model

TOP = 10
"""Kernels that `zoo predict` prints."""


@dataclass(frozen=True, slots=True)
class _Case:
    """A model on a device at a clock, for images of (height, width)."""

    model: "Model"
    device: "Device"
    clock_mhz: float | None
    size: tuple[int, int]


def _configure(parser: argparse.ArgumentParser) -> None:
    add_model(parser, "+")
    parser.add_argument(
        "--device",
        action="append",
        metavar="D",
        help="a name of `zoo device list`, or NAME@MHZ; repeatable (default: that of a candidate's run)",
    )
    parser.add_argument("--clock-mhz", type=positive_argument, metavar="F", help="GPU clock (default: the device's)")
    add_model_size(parser)
    parser.add_argument("--batch", type=count_argument, default=1, metavar="N", help="images at once (default 1)")
    parser.add_argument(
        "--confidence", type=probability_argument, default=0.9, metavar="C", help="of the intervals (default 0.9)"
    )
    parser.add_argument(
        "--system", action="store_true", help="sensitivity to the clock, utilisation, memory, top kernels"
    )
    parser.add_argument(
        "--host-dispatch-us", type=positive_argument, metavar="X", help="microseconds your host takes an operation"
    )
    parser.add_argument("--sweep", choices=("clock", "size", "batch"), help="the curve along one axis")
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="draw the sweep into a PNG or SVG file")
    add_force(parser)


def _predict(args: Arguments) -> int:
    check_outputs(args, args.output)
    cases = [case for name in named_models(args, args.model) for case in _cases(args, model_of(args, name))]
    if args.sweep:
        if len(cases) > 1:
            raise usage("--sweep draws one network on one device; give one of each")
        return _sweep(args, cases[0])
    if args.system:
        return _system(args, cases)
    costs = [_cost(args, case) for case in cases]
    documents = [_document(case, cost) for case, cost in zip(cases, costs, strict=True)]
    if len(cases) == 1:
        emit(args, documents[0], lambda console: _print_cost(console, cases[0], costs[0]))
    else:
        emit(args, documents, lambda console: _print_costs(console, cases, costs))
    return 0


def _cases(args: Arguments, model: "Model") -> Iterator[_Case]:
    from hw_models.device import load_device
    from hw_models.host import with_host_dispatch

    for at in _devices(args, model):
        device = load_device(at.name)
        if args.host_dispatch_us:
            device = with_host_dispatch(device, 1e-6 * args.host_dispatch_us)
        yield _Case(model, device, at.clock_mhz, size_of(args, model))
    if model.kind == "candidate" and not (args.size and args.device and args.clock_mhz):
        searched = ", ".join(map(str, model.conditions.devices))
        note(f"zoo: {model.name} was searched for {searched}; what is not given is taken from there")


def _devices(args: Arguments, model: "Model") -> "Iterator[DeviceAt]":
    """The devices asked for, else the run's; a clock is the one given, else the run's, else that of zoo.yaml."""
    from search.device_at import DeviceAt
    from search.device_ref import devices_at

    own = {at.name: at.clock_mhz for at in model.conditions.devices}
    if not args.device and not own:
        raise usage(f"predict {model.name}: --device is missing; `zoo device list` names the devices")
    config = config_of(args)
    for at in devices_at(args.device) if args.device else model.conditions.devices:
        clock_given = at.clock_mhz if args.device else None
        yield DeviceAt(at.name, clock_given or args.clock_mhz or own.get(at.name) or config.clock_mhz(at.name))


def _system(args: Arguments, cases: list[_Case]) -> int:
    """Print what the ESPNet paper measures of a whole system; one document a network and device."""
    from hw_models.system import system_figures
    from zoo.cli.system import print_system
    from zoo.registry import lower

    figures = [
        system_figures(lower(c.model.spec, c.size), c.device, c.clock_mhz, args.batch, c.model.spec.family)
        for c in cases
    ]
    documents = [
        {"model": case.model.name, "device": case.device.name, "size": f"{case.size[1]}x{case.size[0]}"}
        | asdict(case_figures)
        for case, case_figures in zip(cases, figures, strict=True)
    ]

    def show(console: "Console") -> None:
        for case, case_figures in zip(cases, figures, strict=True):
            if len(cases) > 1:
                console.print(f"{case.model.name} on {case.device.name}", markup=False)
            print_system(console, case_figures)

    emit(args, documents[0] if len(cases) == 1 else documents, show)
    return 0


def _cost(args: Arguments, case: _Case) -> "Cost":
    from hw_models.predictors import predict
    from zoo.registry import lower

    return predict(lower(case.model.spec, case.size), case.device, case.clock_mhz, args.batch, args.confidence)


def _document(case: _Case, cost: "Cost") -> dict[str, Any]:
    return {
        "model": case.model.name,
        "size": f"{case.size[1]}x{case.size[0]}",
        **asdict(cost),
        **({} if case.device.reads_power else {"power_w": None, "energy_j": None}),
        "stack": case.device.stack,
        "precision": case.device.precision,
        "scaled_by": list(case.device.scaled_by),
        "power_covers": case.device.power_covers,
        "power_basis": case.device.power_basis,
        "kinds": _share_by_kind(cost),
    }


def _print_costs(console: "Console", cases: list[_Case], costs: "list[Cost]") -> None:
    """One row a network and device."""
    sizes = {case.size for case in cases}
    rows = [
        (
            case.model.name,
            f"{case.device.name}@{cost.clock_mhz:g}" + ("" if len(sizes) == 1 else f" {case.size[1]}x{case.size[0]}"),
            with_bounds(cost.latency_s, "s"),
            *(
                (with_bounds(cost.power_w, "W"), with_bounds(cost.energy_j, "J"))
                if case.device.reads_power
                else ("not read", "not read")
            ),
        )
        for case, cost in zip(cases, costs, strict=True)
    ]
    title = f"predicted, with {costs[0].confidence:.0%} intervals"
    title += f", {cases[0].size[1]}x{cases[0].size[0]}" if len(sizes) == 1 else ""
    title += f", batch {costs[0].batch}" if costs[0].batch > 1 else ""
    console.print(table(title, ("model", "device@MHz", "latency", "power", "energy"), rows, left=2))
    for case, cost in zip(cases, costs, strict=True):
        for sentence in cost.reading_notes:
            console.print(f"{case.model.name} on {case.device.name}@{cost.clock_mhz:g}: {sentence}", markup=False)
    for device in dict.fromkeys(case.device.name for case in cases):
        device_described = next(case.device for case in cases if case.device.name == device)
        covers = f"{device}: power is that of the {device_described.power_covers}"
        console.print(covers if device_described.reads_power else device_described.power_basis, markup=False)


def _share_by_kind(cost: "Cost") -> dict[str, float]:
    shares: Counter[str] = Counter()
    for kernel in cost.kernels:
        shares[kernel.kind] += kernel.share  # type: ignore[assignment]  # Counter counts floats as well
    return dict(shares.most_common())


def _print_cost(console: "Console", case: _Case, cost: "Cost") -> None:
    name, device, (height, width) = case.model.name, case.device, case.size
    clock = f"{cost.clock_mhz:g} MHz" + (f", batch {cost.batch}" if cost.batch > 1 else "")
    rows = [("latency", *_cells(cost.latency_s, "s"))]
    if device.reads_power:
        rows.append((f"power ({device.power_covers})", *_cells(cost.power_w, "W")))
        rows.append(("energy", *_cells(cost.energy_j, "J")))
    title = f"{name} on {device.title}, {clock}, {width}x{height}"
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
    if "latency_s" not in cost.readings:
        console.print("rests on: " + ", ".join(f"{_in_words(p, device)} {v:.0%}" for p, v in cost.provenance.items()))
    for sentence in cost.reading_notes:
        console.print(sentence, markup=False)
    if device.reads_power:
        console.print(device.power_note)
    console.print(device.power_basis)


def _in_words(provenance: str, device: "Device") -> str:
    """`calibrated` says which networks scaled the model."""
    if provenance != "calibrated":
        return provenance
    return f"modelled, scaled by {', '.join(device.scaled_by)}" if device.scaled_by else "modelled"


def _cells(interval: "Interval", unit: str) -> tuple[str, str]:
    return si(interval.mean, unit), f"{si(interval.low, unit)} to {si(interval.high, unit)}"


def _sweep(args: Arguments, case: _Case) -> int:
    from hw_models.sweep import sensitivity, sweep
    from zoo.registry import lower

    name, spec, device = case.model.name, case.model.spec, case.device
    steps = sweep(
        args.sweep, lambda size: lower(spec, size), device, case.size, case.clock_mhz, args.batch, args.confidence
    )
    document: dict[str, Any] = {"model": name, "device": device.name, "sweep": args.sweep, "path": None}
    document["points"] = [
        {"at": step.at, "value": step.value}
        | {key: value for key, value in asdict(step.cost).items() if key != "kernels"}
        | ({} if device.reads_power else {"power_w": None, "energy_j": None})
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
            *((with_bounds(step.cost.power_w, "W"), si(step.cost.energy_j.mean, "J")) if device.reads_power else ()),
        )
        for step in steps
    ]
    columns = ("", "", "fps", "latency", *((f"power ({device.power_covers})", "energy") if device.reads_power else ()))
    console.print(table(f"{name} on {device.title}", columns, rows, left=2))


COMMANDS = (
    Command(
        "predict",
        "predict latency, power, energy and memory of networks on devices",
        "zoo predict espnet espnet-c --device tx2@1134 --device titanx --size 1024x512",
        _predict,
        _configure,
    ),
)
