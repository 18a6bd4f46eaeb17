"""`zoo list --published`: the published figures beside our own counts."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from zoo.cli.command import Arguments, config_of, emit, table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from zoo.published import Comparison, Figure


def list_published(args: Arguments) -> int:
    """Print every published network with our recount of its parameters and the difference, and then its scores."""
    from zoo.published import compare
    from zoo.registry import lower

    models = config_of(args).models
    rows = compare(lambda name: lower(models[name].spec).params if name in models else None)

    def show(console: "Console") -> None:
        columns = ("network", "published", "ours", "off by", "why")
        console.print(table("parameters in millions", columns, [_counts(row) for row in rows]))
        for title, figures in _by_protocol(rows).items():
            cells = [(name, _size(f), f.source, f"{f.value:.1f}") for name, f in figures]
            console.print(table(title, ("network", "input", "source", "%"), cells, left=3))
        console.print("zoo list --ablations prints the papers' ablations")

    emit(args, [_document(row) for row in rows], show)
    return 0


def list_ablations(args: Arguments) -> int:
    """Print what the papers say that one change of a network gains or costs."""
    from zoo.published import figures

    changed = [figure for figure in figures() if figure.change is not None]

    def show(console: "Console") -> None:
        cells = [(f.network, _change(f), LABELS.get(f.metric, f.metric), f"{f.value:+g}", _where(f)) for f in changed]
        columns = ("network", "change", "of", "by", "on")
        console.print(table("ablations, as published; --json has each source", columns, cells, left=3))

    emit(args, [_figure(figure) | {"network": figure.network, "change": _change(figure)} for figure in changed], show)
    return 0


LABELS = {
    "miou": "mIOU, %",
    "retrained_miou": "mIOU of a public re-training, %",
    "category_miou": "category mIOU, %",
    "class_average": "class average, %",
    "miou_change": "mIOU, points",
    "params_change_m": "parameters, millions",
    "params_change_percent": "parameters, %",
    "size_change_mb": "size, MB",
}
"""Metrics in print."""

OPEN = ("k", "alpha2", "alpha3")
"""What a source may leave open of an ESPNet."""

FAR = 0.02
"""Difference of a recount from which its row says why."""

REASONS: Mapping[str, str] = {
    "fpenet": "the paper leaves open in which blocks t expands: others count 0.12 and 0.36 M",
    "fast-scnn": "the paper leaves open how the pooled maps become 128 channels: 0.03 M here",
}
"""Why a recount differs, by model; the files of the families say more."""


def _change(figure: "Figure") -> str:
    field, before, after = figure.change or ("", "", "")
    return f"{field}: {before} to {after}"


def _where(figure: "Figure") -> str:
    parts = (figure.dataset, figure.split, f"{figure.epochs} epochs" if figure.epochs else None)
    return " ".join(filter(None, parts))


def _by_protocol(rows: "Sequence[Comparison]") -> "dict[str, list[tuple[str, Figure]]]":
    """Scores by data set, split and epochs, so that a column holds what may be compared."""
    by_title: dict[str, list[tuple[str, Figure]]] = {}
    for row in rows:
        for figure in row.figures:
            if figure.metric in ("miou", "retrained_miou", "category_miou", "class_average"):
                epochs = f"{figure.epochs} epochs" if figure.epochs else "epochs unknown"
                title = f"{LABELS[figure.metric][:-3]} on {figure.dataset} {figure.split}, {epochs}"
                by_title.setdefault(title, []).append((row.model or row.network, figure))
    return by_title


def _size(figure: "Figure") -> str:
    return "" if figure.size is None else f"{figure.size[1]}x{figure.size[0]}"


def _counts(row: "Comparison") -> tuple[str, ...]:
    return (
        row.model or row.network,
        "" if row.published_params is None else f"{row.published_params / 1e6:.3f}",
        "" if row.params is None else f"{row.params / 1e6:.3f}",
        "" if row.difference is None else f"{100 * row.difference:+.2f} %",
        _why(row) or "",
    )


def _why(row: "Comparison") -> str | None:
    """Why a recount is far from what was published; None where it is near."""
    if row.difference is None or abs(row.difference) < FAR:
        return None
    figure = next(f for f in row.figures if f.metric == "params_m")
    left = [name for name in OPEN if figure.variant and getattr(figure, name) is None]
    return f"the source leaves {' and '.join(left)} open" if left else REASONS.get(row.model or "", "not known")


def _document(row: "Comparison") -> dict[str, Any]:
    return {
        "network": row.network,
        "model": row.model,
        "published_params": row.published_params,
        "params": row.params,
        "difference": row.difference,
        "why": _why(row),
        "figures": [_figure(figure) for figure in row.figures],
    }


def _figure(figure: "Figure") -> dict[str, Any]:
    height, width = figure.size or (None, None)
    size = None if width is None else f"{width}x{height}"
    columns = {key: value for key, value in asdict(figure).items() if key not in ("network", "model", "change")}
    return columns | {"decoder": figure.decoder, "size": size}
