"""`zoo list`, `zoo show`, `zoo schema`: what there is, without torch."""

import argparse
import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from zoo.cli.command import (
    MODEL_HELP,
    Arguments,
    Command,
    UsageError,
    add_model_size,
    add_settings,
    config_of,
    emit,
    model_of,
    named_models,
    si,
    size_of,
    table,
)

if TYPE_CHECKING:
    from rich.console import Console

    from zoo.graph import Graph


def _configure_list(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--published", action="store_true", help="print the published comparisons beside our counts instead"
    )
    parser.add_argument("--ablations", action="store_true", help="print the papers' ablations instead")


def _list(args: Arguments) -> int:
    if args.published or args.ablations:
        from zoo.cli.published import list_ablations, list_published

        return list_ablations(args) if args.ablations else list_published(args)
    from zoo.registry import lower
    from zoo.specs import as_dict

    config = config_of(args)
    rows: list[dict[str, Any]] = [
        {
            "name": name,
            "family": entry.spec.family,
            "spec": as_dict(entry.spec),
            "alias_of": entry.alias_of,
            "params": lower(entry.spec).params,
            "weights": _weights(entry.alias_of or name),
        }
        for name, entry in config.models.items()
    ]

    def show(console: "Console") -> None:
        cells = [(r["name"], r["alias_of"] or "", _weights_text(r["weights"]), f"{r['params']:,}") for r in rows]
        console.print(table(None, ("model", "alias of", "weights, val mIOU %", "parameters"), cells, left=3))
        console.print("* taken where no tag is named, by `zoo segment`, `eval` and `get`")

    emit(args, rows, show)
    return 0


def _weights(model: str) -> list[dict[str, Any]]:
    """A model's weights, of which one is the default."""
    from pretrained import find, weights_of

    rows = weights_of(model)
    default = find(model).tag if rows else None
    return [row | {"default": row["tag"] == default} for row in rows]


def _weights_text(weights: list[dict[str, Any]]) -> str:
    """A line for each: tag, mIOU, and the data set where the tag does not begin with it."""
    lines = []
    for w in weights:
        on = "" if w["tag"].startswith(w["dataset"]) else f" {w['dataset']}"
        lines.append(f"{w['tag']}{'*' * w['default']}" + ("" if w["miou"] is None else f" {w['miou']:g}{on}"))
    return "\n".join(lines)


def _configure_show(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", nargs="*", help=MODEL_HELP)
    parser.add_argument("--blocks", action="store_true", help="compare the papers' units by their formulas instead")
    add_settings(parser)
    add_model_size(parser)
    parser.add_argument("--cite", action="store_true", help="print the paper of each network as BibTeX")
    parser.add_argument("--layers", action="store_true", help="print every layer")
    parser.add_argument(
        "--count-with", choices=("fvcore", "ptflops", "torch"), help="a second opinion beside our count"
    )


def _show(args: Arguments) -> int:
    from zoo.registry import lower

    if args.blocks:
        return _show_blocks(args)
    if not args.model:
        raise UsageError("show needs at least one MODEL, or --blocks; zoo list names them")
    models = [model_of(args, name) for name in named_models(args, args.model)]
    documents = []
    for model in models:
        graph = lower(model.spec, size_of(args, model))
        document = _document(model.name, model.spec, graph, args)
        if len(models) > 1:
            document |= {"cost": _costs(graph, args), "published": _published(model.canonical)}
        documents.append(document)

    def show(console: "Console") -> None:
        if args.cite:
            for entry in dict.fromkeys(document["citation"] or "" for document in documents):
                console.print(entry, markup=False)
            return
        _print_counts(console, documents)
        for document in documents:
            if args.layers:
                _print_layers(console, document)

    emit(args, documents[0] if len(documents) == 1 else documents, show)
    return 0


def _show_blocks(args: Arguments) -> int:
    from zoo.models.block_costs import Setting, block_rows

    rows = block_rows()

    def show(console: "Console") -> None:
        cells = [
            (
                r.block,
                f"{r.params_formula} = {r.params:,}",
                f"{r.memory_formula} = {si(r.memory_bytes / 4, '')}",
                f"{r.receptive_field_formula} = {r.receptive_field}",
            )
            for r in rows
        ]
        at = Setting()
        title = (
            f"units with M = {at.m}, N = {at.n_out}, K = {at.k}, n = {at.kernel}, g = {at.groups}, "
            f"{at.width}x{at.height}"
        )
        columns = ("block", "parameters", "values in memory", "side of the receptive field")
        console.print(table(title, columns, cells, left=4))

    emit(args, [asdict(row) for row in rows], show)
    return 0


def _document(name: str, spec: Any, graph: "Graph", args: Arguments) -> dict[str, Any]:
    from zoo.citations import citation
    from zoo.specs import as_dict

    shape = graph.input_shape
    height, width = shape.height, shape.width
    document: dict[str, Any] = {
        "name": name,
        "spec": as_dict(spec),
        "citation": citation(spec.family),
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

        document["second_opinion"] = count_with(args.count_with, spec, (height, width))._asdict()
    return document


def _costs(graph: "Graph", args: Arguments) -> dict[str, Any]:
    from hw_models import predict

    costs: dict[str, Any] = {}
    for name, device in config_of(args).devices.items():
        cost = predict(graph, name, clock_mhz=device.clock_mhz)
        costs[name] = {metric: asdict(getattr(cost, metric)) for metric in ("latency_s", "power_w")} | {
            "clock_mhz": cost.clock_mhz
        }
    return costs


def _published(model: str) -> list[dict[str, Any]]:
    from zoo.published import figures

    return [
        {"miou": f.value, "dataset": f.dataset, "split": f.split, "epochs": f.epochs, "source": f.source}
        for f in figures()
        if f.model == model and f.metric == "miou" and f.change is None
    ]


def _print_counts(console: "Console", documents: list[dict[str, Any]]) -> None:
    rows = []
    for key, label, unit in (
        ("params", "parameters", ""),
        ("macs", "MACs (convolutions and linear layers)", ""),
        ("weight_bytes", "weights, 32-bit floats", "B"),
        ("peak_activation_bytes", "peak activations, batch 1", "B"),
    ):
        rows.append((label, *(f"{d[key]:,} {unit}  ({si(d[key], unit or '')})" for d in documents)))
    for device in documents[0].get("cost", {}):
        for metric, unit in (("latency_s", "s"), ("power_w", "W")):
            costs = [d["cost"][device] for d in documents]
            label = f"{device} at {costs[0]['clock_mhz']:g} MHz, {metric[:-2]}, predicted"
            rows.append((label, *(f"{si(c[metric]['mean'], unit)} ({_span(c[metric], unit)})" for c in costs)))
    if "published" in documents[0]:
        rows.append(("published mIOU, %", *("; ".join(map(_miou_text, d["published"])) for d in documents)))
    sizes = list(dict.fromkeys(d["size"] for d in documents))
    rows += [("image size", *(d["size"] for d in documents))] if len(sizes) > 1 else []
    console.print(table(f"at {' and '.join(sizes)}", ("", *(d["name"] for d in documents)), rows))
    for document in documents:
        fields = ", ".join(f"{key}={value}" for key, value in document["spec"].items())
        console.print(f"{document['name']}: {fields}")
        opinion = document.get("second_opinion")
        if opinion:
            console.print(f"{document['name']}: " + ", ".join(f"{key}: {value}" for key, value in opinion.items()))


def _span(interval: dict[str, float], unit: str) -> str:
    return f"{si(interval['low'], unit)} – {si(interval['high'], unit)}"


def _miou_text(figure: dict[str, Any]) -> str:
    return f"{figure['miou']:g} ({figure['dataset']} {figure['split']})"


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
