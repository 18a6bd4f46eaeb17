"""`zoo prune`: the same network without the channels that change nothing."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.cli.command import Arguments, Command, add_model, add_model_size, emit, model_of, si, size_of, table
from zoo.cli.outputs import add_force, check_outputs
from zoo.errors import ZooError

if TYPE_CHECKING:
    from rich.console import Console

    from search.model_ref import Model
    from search.opening import Opened
    from zoo.compress.prune import Pruned
    from zoo.graph import Graph

ENDING = ".safetensors"


def _configure(parser: argparse.ArgumentParser) -> None:
    add_model(parser)
    parser.add_argument(
        "--device", metavar="NAME[@MHZ]", default="tx2", help="where latency is predicted (default tx2)"
    )
    add_model_size(parser)
    parser.add_argument(
        "--near-zero", type=float, metavar="X", help="largest BN scale that counts as zero (default: 1e-6 or less)"
    )
    parser.add_argument(
        "--only-faster",
        action="store_true",
        help="keep dead channels where a copy of the others would move more bytes than it saves",
    )
    parser.add_argument(
        "-o", "--out", type=Path, metavar="FILE", help="file to write (default: MODEL.pruned.safetensors)"
    )
    add_force(parser)


def _prune(args: Arguments) -> int:
    from search.opening import open_model
    from zoo.compress.prune import prune

    model = model_of(args)
    path = args.out or Path(f"{Path(model.name).name.replace('#', '-').removesuffix(ENDING)}.pruned{ENDING}")
    if path.suffix != ENDING:
        raise ZooError(f"{path}: weights end with {ENDING}; name it {path.with_suffix(ENDING)}")
    if args.near_zero is not None and not 0 <= args.near_zero < 1:
        raise ZooError(f"--near-zero must be from 0 to less than 1, but is {args.near_zero:g}")
    check_outputs(args, path)
    opened = open_model(model)
    pruned = prune(opened.module, args.near_zero, only_faster=args.only_faster)
    _save(path, pruned, opened)
    document = {"path": str(path), "model": model.name} | _counts(pruned) | _costs(args, model, opened, pruned)
    emit(args, document, lambda console: _print(console, document))
    return 0


def _save(path: Path, pruned: "Pruned", opened: "Opened") -> None:
    from zoo.data.classes import labels_about
    from zoo.specs import as_dict
    from zoo.train.checkpoint import save_weights

    about = {
        "spec": as_dict(pruned.spec),
        "labels": labels_about(opened.labels),
        "preprocessing": opened.module.preprocessing.to_dict(),
        "dataset": opened.taken.dataset,
        "pruned_from": opened.taken.name,
        "pruned_from_sha256": opened.taken.sha256,
        "near_zero": pruned.near_zero,
    }
    save_weights(path, pruned.network.state_dict(), about)


def _counts(pruned: "Pruned") -> dict[str, Any]:
    from zoo.compress.prune import REASONS

    return {
        "dead": pruned.dead,
        "removed": pruned.removed,
        "stayed": pruned.stayed,
        "reasons": {key: REASONS[key] for key in pruned.stayed},
        "near_zero": pruned.near_zero,
        "max_abs_diff": pruned.max_abs_diff,
        "max_abs_diff_float32": pruned.rounding,
        "layers": [
            {
                "name": layer.name,
                "channels": layer.channels,
                "dead": layer.dead,
                "removed": layer.removed,
                "stayed": dict(layer.stayed),
            }
            for layer in pruned.layers
        ],
    }


def _costs(args: Arguments, model: "Model", opened: "Opened", pruned: "Pruned") -> dict[str, Any]:
    """Counts and prediction before and after, at the size asked for."""
    from hw_models.device import load_device
    from hw_models.predictors import predict
    from search.device_ref import device_at
    from zoo.registry import lower

    at = device_at(args.device)
    device = load_device(at.name)
    size = args.size or opened.module.preprocessing.size or size_of(args, model)
    specs = {"before": opened.module.spec, "after": pruned.spec}
    graphs: dict[str, Graph] = {key: lower(spec, size) for key, spec in specs.items()}
    latency = {key: predict(graph, device, at.clock_mhz).latency_s for key, graph in graphs.items()}
    return {
        "size": f"{size[1]}x{size[0]}",
        "device": at.name,
        "clock_mhz": device.clock(at.clock_mhz),
        "params": {key: graph.params for key, graph in graphs.items()},
        "macs": {key: graph.macs for key, graph in graphs.items()},
        "weight_bytes": {key: graph.weight_bytes for key, graph in graphs.items()},
        "latency_s": {key: {"mean": x.mean, "low": x.low, "high": x.high} for key, x in latency.items()},
    }


def _print(console: "Console", document: dict[str, Any]) -> None:
    removed, dead = document["removed"], document["dead"]
    console.print(
        f"{document['path']}: {removed} of {dead} dead channels removed; outputs differ by at most "
        f"{document['max_abs_diff']:.2g} ({document['max_abs_diff_float32']:.2g} in single precision)",
        markup=False,
    )
    for reason, count in document["stayed"].items():
        console.print(f"  {count} stay: {document['reasons'][reason]}", markup=False)
    latency = {key: interval["mean"] for key, interval in document["latency_s"].items()}
    rows = [
        _row("parameters", document["params"], ""),
        _row("MACs", document["macs"], ""),
        _row(f"latency, {document['device']}", latency, "s"),
    ]
    console.print(table(f"at {document['size']}", ("", "before", "after", "change"), rows))


def _row(name: str, values: dict[str, float], unit: str) -> list[str]:
    before, after = values["before"], values["after"]
    return [name, si(before, unit, 4), si(after, unit, 4), f"{after / before - 1:+.1%}"]


COMMANDS = (
    Command(
        "prune",
        "remove the channels that change nothing, exactly",
        "zoo prune espnet.cityscapes --device tx2 -o espnet.pruned.safetensors",
        _prune,
        _configure,
    ),
)
