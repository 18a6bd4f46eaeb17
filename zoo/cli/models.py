"""`zoo list`, `zoo show`, `zoo schema`: what there is, without torch."""

import argparse
import json
from typing import TYPE_CHECKING, Any

from zoo.cli.command import (
    Arguments,
    Command,
    add_settings,
    add_size,
    config_of,
    emit,
    model_of,
    si,
    table,
)

if TYPE_CHECKING:
    from rich.console import Console

    from zoo.graph import Graph


def _configure_list(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--published", action="store_true", help="print the published comparisons beside our counts instead"
    )


def _list(args: Arguments) -> int:
    if args.published:
        from zoo.cli.published import list_published

        return list_published(args)
    from pretrained import weights_of
    from zoo.registry import lower
    from zoo.spec import as_dict

    config = config_of(args)
    rows: list[dict[str, Any]] = [
        {
            "name": name,
            "family": entry.spec.family,
            "spec": as_dict(entry.spec),
            "alias_of": entry.alias_of,
            "params": lower(entry.spec).params,
            "weights": weights_of(entry.alias_of or name),
        }
        for name, entry in config.models.items()
    ]

    def show(console: "Console") -> None:
        cells = [(r["name"], r["alias_of"] or "", f"{r['params']:,}", _weights_text(r["weights"])) for r in rows]
        console.print(table(None, ("model", "alias of", "parameters", "weights (mIOU, data set)"), cells, left=2))

    emit(args, rows, show)
    return 0


def _weights_text(weights: list[dict[str, Any]]) -> str:
    return ", ".join(
        f"{w['tag']} ({w['miou']:g}, {w['dataset']})" if w["miou"] is not None else w["tag"] for w in weights
    )


def _configure_show(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", nargs="+", help="a name from zoo.yaml, a spec YAML, or RUN#RANK")
    add_settings(parser)
    add_size(parser)
    parser.add_argument("--layers", action="store_true", help="print every layer")
    parser.add_argument(
        "--count-with", choices=("fvcore", "ptflops", "torch"), help="a second opinion beside our count"
    )


def _show(args: Arguments) -> int:
    from zoo.registry import lower

    models = [model_of(args, name) for name in args.model]
    documents = []
    for model in models:
        graph = lower(model.spec, args.size)
        documents.append(_document(model.name, model.spec, graph, args))

    def show(console: "Console") -> None:
        _print_counts(console, documents)
        for document in documents:
            if args.layers:
                _print_layers(console, document)

    emit(args, documents[0] if len(documents) == 1 else documents, show)
    return 0


def _document(name: str, spec: Any, graph: "Graph", args: Arguments) -> dict[str, Any]:
    from zoo.spec import as_dict

    height, width = args.size
    document: dict[str, Any] = {
        "name": name,
        "spec": as_dict(spec),
        "size": f"{width}x{height}",
        "params": graph.params,
        "macs": graph.macs,
        "weight_bytes": graph.weight_bytes,
        "peak_activation_bytes": graph.peak_activation_bytes,
    }
    if args.layers:
        document["layers"] = [
            {
                "name": layer.name,
                "op": layer.kind,
                "in_shape": [str(shape) for shape in layer.in_shapes],
                "out_shape": str(layer.out_shape),
                "params": layer.params,
                "macs": layer.macs,
            }
            for layer in graph.layers
        ]
    if args.count_with:
        from zoo.counters import count_with

        document["second_opinion"] = count_with(args.count_with, spec, args.size)._asdict()
    return document


def _print_counts(console: "Console", documents: list[dict[str, Any]]) -> None:
    rows = []
    for key, label, unit in (
        ("params", "parameters", ""),
        ("macs", "MACs (convolutions and linear layers)", ""),
        ("weight_bytes", "weights, 32-bit floats", "B"),
        ("peak_activation_bytes", "peak activations, batch 1", "B"),
    ):
        rows.append((label, *(f"{d[key]:,} {unit}  ({si(d[key], unit or '')})" for d in documents)))
    console.print(table(f"at {documents[0]['size']}", ("", *(d["name"] for d in documents)), rows))
    for document in documents:
        fields = ", ".join(f"{key}={value}" for key, value in document["spec"].items())
        console.print(f"{document['name']}: {fields}")
        opinion = document.get("second_opinion")
        if opinion:
            console.print(f"{document['name']}: " + ", ".join(f"{key}: {value}" for key, value in opinion.items()))


def _print_layers(console: "Console", document: dict[str, Any]) -> None:
    rows = [
        (la["name"], la["op"], " ".join(la["in_shape"]), la["out_shape"], f"{la['params']:,}", f"{la['macs']:,}")
        for la in document["layers"]
    ]
    rows.append(("total", "", "", "", f"{document['params']:,}", f"{document['macs']:,}"))
    console.print(table(document["name"], ("layer", "op", "in", "out", "parameters", "MACs"), rows, left=4))


def _schema(args: Arguments) -> int:
    from zoo.config import schema

    print(json.dumps(schema(), indent=2))
    return 0


def _configure_none(parser: argparse.ArgumentParser) -> None:
    del parser


COMMANDS = (
    Command("list", "list the models of the zoo and their weights", "zoo list --published", _list, _configure_list),
    Command(
        "show",
        "count a network: parameters, MACs, memory, layers; several side by side",
        "zoo show espnet-c --set k=4 --set alpha3=5 --size 1024x512 --layers",
        _show,
        _configure_show,
    ),
    Command("schema", "print the JSON Schema of zoo.yaml for your editor", "zoo schema > zoo.schema.json", _schema),
)
