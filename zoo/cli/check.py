"""`zoo check`: whether a network fits a device within limits."""

import argparse
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from zoo.cli.command import (
    Arguments,
    Command,
    add_limits,
    add_model,
    add_model_size,
    emit,
    model_of,
    probability_argument,
    si,
    size_of,
)
from zoo.errors import NegativeAnswer
from zoo.quantities import LIMITED
from zoo.quantities import LIMITS as ALL_LIMITS

if TYPE_CHECKING:
    from rich.console import Console

    from hw_models.device import Device
    from hw_models.fit import Fitting


LIMITS = {name: limit for name, limit in ALL_LIMITS.items() if LIMITED[name].kind != "accuracy"}
"""Those of a device; a single network's mIOU is that of its weights."""


def _configure(parser: argparse.ArgumentParser) -> None:
    add_model(parser)
    parser.add_argument("--device", required=True, metavar="D", help="device, or DEVICE@MHZ")
    add_model_size(parser)
    add_limits(parser, LIMITS.values())
    parser.add_argument(
        "--confidence", type=probability_argument, default=0.9, metavar="C", help="that all limits hold (default 0.9)"
    )


def _check(args: Arguments) -> int:
    from hw_models.device import load_device
    from hw_models.fit import fitting
    from search.device_ref import device_at
    from zoo.cli.command import usage
    from zoo.config import Limits
    from zoo.registry import lower

    limits = {name: getattr(args, name) for name in LIMITS if getattr(args, name) is not None}
    if not limits:
        raise usage("zoo check needs a limit to hold the network against; give one, as --min-fps 30")
    model, at = model_of(args), device_at(args.device)
    device = load_device(at.name)
    height, width = size_of(args, model)
    size = f"{width}x{height}"
    result = fitting(lower(model.spec, (height, width)), device, Limits(**limits), at.clock_mhz, args.confidence)
    document: dict[str, Any] = {"model": model.name, "size": size, "device": args.device}
    document |= {"confidence": args.confidence, **asdict(result), "power_basis": device.power_basis}
    emit(args, document, lambda console: _print(console, f"{model.name} at {size}", device, args.confidence, result))
    if not result.fits:
        raise NegativeAnswer(f"{model.name} does not fit {args.device} within the limits; loosen one, or search")
    return 0


def _print(console: "Console", name: str, device: "Device", confidence: float, result: "Fitting") -> None:
    for limit, margin in result.margins.items():
        console.print(
            f"{LIMITS[limit].option} {margin.limit:g}: predicted {margin.value:.3g}, {margin.ratio:.0%} of the limit, "
            f"holds with probability {margin.probability:.2f}"
        )
    for sentence in result.unsupported:
        console.print(f"unsupported: {sentence}")
    for sentence in result.needs:
        console.print(f"needs: {sentence}")
    verdict = "fits" if result.fits else "does not fit"
    console.print(
        f"{name} {verdict} {device.name}: all hold with probability at least {result.probability:.2f} "
        f"({confidence:g} asked); {si(result.cost.latency_s.mean, 's')}, {si(result.cost.memory_bytes, 'B')}"
    )
    for sentence in result.cost.reading_notes:
        console.print(sentence, markup=False)
    if any(limit in result.margins for limit in ("max_power_w", "max_energy_mj")):
        console.print(device.power_basis)


COMMANDS = (
    Command(
        "check",
        "say whether a network fits a device within limits, by how much, and with what probability",
        "zoo check espnet --device orin-nano --min-fps 30 --max-memory-mb 200",
        _check,
        _configure,
    ),
)
