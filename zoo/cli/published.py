"""`zoo list --published`: the published figures beside our own counts."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from zoo.cli.command import Arguments, config_of, emit, table

if TYPE_CHECKING:
    from rich.console import Console

    from zoo.published import Comparison, Figure


def list_published(args: Arguments) -> int:
    """Print every published network with our recount of its parameters and the difference."""
    from zoo.published import compare
    from zoo.registry import lower

    models = config_of(args).models
    rows = compare(lambda name: lower(models[name].spec).params if name in models else None)

    def show(console: "Console") -> None:
        title = (
            "parameters in millions; mIOU on Cityscapes (cat.: of categories, on test; again: on val, by a public "
            "re-training of many networks); --json adds other data sets and each figure's source"
        )
        columns = ("network", "paper", "ours", "off, %", "val", "test", "cat.", "again")
        console.print(table(title, columns, [_cells(row) for row in rows]))

    emit(args, [_document(row) for row in rows], show)
    return 0


def _document(row: "Comparison") -> dict[str, Any]:
    return {
        "network": row.network,
        "model": row.model,
        "published_params": row.published_params,
        "params": row.params,
        "difference": row.difference,
        "figures": [_figure(figure) for figure in row.figures],
    }


def _figure(figure: "Figure") -> dict[str, Any]:
    height, width = figure.size or (None, None)
    size = None if width is None else f"{width}x{height}"
    known = {key: value for key, value in asdict(figure).items() if key not in ("network", "model", "change")}
    return known | {"decoder": figure.decoder, "size": size}


def _cells(row: "Comparison") -> tuple[str, ...]:
    return (
        row.model or row.network,
        "" if row.published_params is None else f"{row.published_params / 1e6:.3f}",
        "" if row.params is None else f"{row.params / 1e6:.3f}",
        "" if row.difference is None else f"{100 * row.difference:+.2f}",
        _score(row, "miou", "val"),
        _score(row, "miou", "test"),
        _score(row, "category_miou", "test"),
        _score(row, "retrained_miou", "val"),
    )


def _score(row: "Comparison", metric: str, split: str) -> str:
    wanted = (metric, "cityscapes", split)
    found = [f"{f.value:.1f}" for f in row.figures if (f.metric, f.dataset, f.split) == wanted]
    return found[0] if found else ""
