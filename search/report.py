"""Charts of fronts: PNG, SVG or PDF, fit for a paper.

A panel shows, of each run, the candidates that nobody beats on its two axes, with their intervals, the
rest of the front, a sample of what was feasible, the published networks by name, and the chosen one.
"""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Annotation
from matplotlib.transforms import Bbox

from hw_models.predict import predict
from search.accuracy import published_points
from search.pareto import nondominated
from search.query import Query
from search.runs import query_from, read_json
from zoo.errors import ConfigError, ZooError, did_you_mean
from zoo.files import atomic
from zoo.registry import lower

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
"""Okabe and Ito's palette, which the colour-blind can tell apart."""

FORMATS = ("png", "svg", "pdf")


@dataclass(frozen=True, slots=True)
class Axis:
    """What is drawn along an axis: the key of a front entry, its unit and SI units in one of those, the better side."""

    key: str
    label: str
    unit: float
    better: int


AXES: Mapping[str, Axis] = {
    "miou": Axis("miou", "mIOU, % (predicted, Cityscapes val)", 1.0, -1),
    "size": Axis("weight_bytes", "weights, MB (32-bit floats)", 1e6, 1),
    "latency": Axis("latency_s", "latency, ms", 1e-3, 1),
    "power": Axis("power_w", "power, W", 1.0, 1),
    "energy": Axis("energy_j", "energy of an image, mJ", 1e-3, 1),
    "params": Axis("params", "parameters, thousands", 1e3, 1),
    "macs": Axis("macs", "MACs, G", 1e9, 1),
    "memory": Axis("memory_bytes", "weights and peak activations, MB", 1e6, 1),
}

DEFAULT_AXES = (("size", "miou"), ("latency", "miou"))


@dataclass(frozen=True)
class Run:
    """What is drawn of one search."""

    name: str
    query: Query
    front: list[dict[str, Any]]
    sample: list[dict[str, str]]
    chosen: int


def load_run(folder: Path) -> Run:
    """Read the folder of a search. Raises ConfigError."""
    document = read_json(folder / "front.json")
    try:
        with (folder / "sample.csv").open(newline="", encoding="utf-8") as file:
            sample = list(csv.DictReader(file))
    except OSError:
        sample = []
    return Run(folder.name, query_from(document["query"]), document["front"], sample, document["chosen"])


def draw(folders: Sequence[Path], outputs: Sequence[Path], axes: Sequence[tuple[str, str]] | None = None) -> None:
    """Draw one panel for each pair of axes (x, y) and write it to every output. Raises ZooError."""
    pairs = [(_axis(x), _axis(y)) for x, y in axes or DEFAULT_AXES]
    for output in outputs:
        if output.suffix[1:].lower() not in FORMATS:
            raise ZooError(f"{output}: charts are written as {', '.join(FORMATS)}; name the file so")
    runs = [load_run(folder) for folder in folders]
    figure = Figure(figsize=(6.2 * len(pairs), 5.0), dpi=150, layout="constrained")
    for i, (x, y) in enumerate(pairs):
        _panel(figure.add_subplot(1, len(pairs), i + 1), runs, x, y, legend=i == len(pairs) - 1)
    figure.suptitle(_title(runs), fontsize=10)
    for output in outputs:
        with atomic(output) as partial:
            figure.savefig(partial, format=output.suffix[1:].lower())


def _axis(name: str) -> Axis:
    if name not in AXES:
        raise ConfigError(f"axis {name!r} is unknown; {did_you_mean(name, AXES)}")
    return AXES[name]


def _title(runs: Sequence[Run]) -> str:
    query = runs[0].query
    limits = ", ".join(f"{name.replace('_', ' ')} {value:g}" for name, value in query.limits.given()) or "no limits"
    devices = ", ".join(sorted({str(device) for run in runs for device in run.query.devices}))
    height, width = query.space.size
    return f"{devices}, {width}x{height}, batch 1; {limits}; bars: {100 * query.confidence:g} % intervals"


def _values(entry: Mapping[str, Any], axis: Axis) -> tuple[float, float, float]:
    value = entry[axis.key]
    parts = (value["mean"], value["low"], value["high"]) if isinstance(value, Mapping) else (value,) * 3
    mean, low, high = (float(part) / axis.unit for part in parts)
    return mean, low, high


def _sampled(row: Mapping[str, str], axis: Axis) -> float:
    return float(row.get(f"{axis.key}.mean") or row[axis.key]) / axis.unit


def _panel(panel: Axes, runs: Sequence[Run], x: Axis, y: Axis, *, legend: bool) -> None:
    marks: list[tuple[float, float]] = []
    for run, colour in zip(runs, COLOURS * len(runs), strict=False):
        marks += _draw_run(panel, run, x, y, colour, alone=len(runs) == 1)
    names = _published(runs[0].query, x, y)
    if names:
        panel.scatter(
            [p[1] for p in names],
            [p[2] for p in names],
            marker="D",
            s=26,
            color="black",
            zorder=5,
            label="published mIOU",
        )
    panel.set_xlabel(
        x.label + (f" on {runs[0].query.devices[0]}" if x.key in ("latency_s", "power_w", "energy_j") else "")
    )
    panel.set_ylabel(y.label)
    panel.grid(alpha=0.25)
    panel.margins(0.08)
    if legend:
        panel.legend(fontsize=8, loc="lower right", framealpha=0.9)
    _place_labels(panel, names, marks)


def _draw_run(panel: Axes, run: Run, x: Axis, y: Axis, colour: str, *, alone: bool) -> list[tuple[float, float]]:
    if run.sample and alone:
        grey = [(_sampled(row, x), _sampled(row, y)) for row in run.sample]
        xs, ys = zip(*grey, strict=True)
        panel.scatter(xs, ys, s=4, color="0.8", zorder=1, label="feasible (sample)", rasterized=True)
    points = [(_values(entry, x), _values(entry, y)) for entry in run.front]
    means = np.array([(px[0], py[0]) for px, py in points])
    best = nondominated(means * np.array([x.better, y.better]))
    panel.scatter(
        means[~best, 0],
        means[~best, 1],
        s=7,
        color=colour,
        alpha=0.35,
        zorder=2,
        label="on the front of all objectives" if alone else None,
    )
    order = np.flatnonzero(best)[np.argsort(means[best, 0])]
    every = order[:: max(1, len(order) // 24)]
    panel.plot(*means[order].T, color=colour, lw=1.4, zorder=3, label="front of these two" if alone else run.name)
    for axis in (0, 1):
        values = [points[i][axis] for i in every]
        spread = np.array([(v[0] - v[1], v[2] - v[0]) for v in values]).T
        if np.any(spread > 0):
            xerr, yerr = (np.maximum(spread, 0), None) if axis == 0 else (None, np.maximum(spread, 0))
            xs, ys = means[every].T
            panel.errorbar(xs, ys, yerr, xerr, fmt="none", ecolor=colour, elinewidth=0.7, alpha=0.55, zorder=2)
    chosen = means[run.chosen - 1]
    panel.scatter(
        chosen[0],
        chosen[1],
        marker="*",
        s=190,
        color=colour,
        edgecolor="black",
        zorder=6,
        label="chosen (#1)" if alone else None,
    )
    return [(float(a), float(b)) for a, b in means[order]]


def _published(query: Query, x: Axis, y: Axis) -> list[tuple[str, float, float]]:
    """Published networks where one axis is their published mIOU and the other can be computed."""
    if "miou" not in (x.key, y.key):
        return []
    out = []
    for point in published_points():
        if point.spec.family != query.space.choices.family:
            continue
        graph = lower(point.spec, query.space.size)
        device = query.devices[0]
        cost = predict(graph, device=device.name, clock_mhz=device.clock_mhz)
        values = {
            "miou": point.miou,
            "weight_bytes": graph.weight_bytes,
            "params": graph.params,
            "macs": graph.macs,
            "memory_bytes": graph.weight_bytes + graph.peak_activation_bytes,
            "latency_s": cost.latency_s.mean,
            "power_w": cost.power_w.mean,
            "energy_j": cost.energy_j.mean,
        }
        out.append((point.name, values[x.key] / x.unit, values[y.key] / y.unit))
    return out


OFFSETS = [
    (r * dx, r * dy) for r in (7, 14, 24, 36) for dx, dy in ((1, -1), (-1, 1), (1, 1), (-1, -1), (1.4, 0), (-1.4, 0))
]


def _place_labels(panel: Axes, names: Sequence[tuple[str, float, float]], marks: Sequence[tuple[float, float]]) -> None:
    """Write names where they cover neither each other nor the line nor the other points."""
    figure = panel.figure
    assert isinstance(figure, Figure)
    figure.draw_without_rendering()  # constrained layout moves the axes; positions are known after that
    occupied = [
        Bbox.from_bounds(px - 4, py - 4, 8, 8)
        for px, py in panel.transData.transform([*marks, *((n[1], n[2]) for n in names)])
    ]
    inside = panel.get_window_extent()
    for name, at_x, at_y in names:
        trials: list[tuple[float, int, Annotation, Bbox]] = []
        for dx, dy in OFFSETS:
            align = {"ha": "left" if dx > 0 else "right", "va": "center" if dy == 0 else "bottom" if dy > 0 else "top"}
            text = panel.annotate(
                name,
                (at_x, at_y),
                (dx, dy),
                textcoords="offset points",
                fontsize=7.5,
                zorder=7,
                arrowprops={"arrowstyle": "-", "lw": 0.5, "color": "0.4", "shrinkA": 0, "shrinkB": 2},
                **align,  # type: ignore[arg-type]
            )
            box = text.get_window_extent()
            outside = not (inside.x0 < box.x0 and box.x1 < inside.x1 and inside.y0 < box.y0 and box.y1 < inside.y1)
            trials.append((sum(box.overlaps(other) for other in occupied) + 50 * outside, len(trials), text, box))
        best = min(trials, key=lambda trial: trial[:2])
        for trial in trials:
            if trial is not best:
                trial[2].remove()
        occupied.append(best[3])
