"""A graph as a table of one screen: its parts by their names' first words, with shapes and counts."""

from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from zoo.graph import Graph, Layer

ROWS = 24
"""Most rows of parts."""


def graph_table(graph: "Graph") -> str:
    """Parts of the network in the order of execution, and the totals, in plain text."""
    depth = next((d for d in (3, 2) if len(_parts(graph.layers, d)) <= ROWS), 1)
    rows = [
        (name, str(layers[-1].out_shape), f"{sum(x.params for x in layers):,}", f"{sum(x.macs for x in layers):,}")
        for name, layers in _parts(graph.layers, depth)[:ROWS]
    ]
    heads = ("part", "output", "parameters", "MACs")
    total = ("total", str(graph.output_shapes[0]), f"{graph.params:,}", f"{graph.macs:,}")
    widths = [max(len(row[i]) for row in (heads, *rows, total)) for i in range(len(heads))]
    lines = [heads, *rows, total]
    return "\n".join(_line(row, widths) for row in lines)


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    cells = [
        cell.ljust(width) if i < 2 else cell.rjust(width)
        for i, (cell, width) in enumerate(zip(row, widths, strict=True))
    ]
    return "  ".join(cells).rstrip()


def _parts(layers: Sequence["Layer"], depth: int) -> "list[tuple[str, list[Layer]]]":
    """Layers whose names share their first `depth` words, as they follow each other."""

    def name(layer: "Layer") -> str:
        return ".".join(layer.name.split(".")[:depth])

    return [(part, list(group)) for part, group in groupby(layers, name)]
