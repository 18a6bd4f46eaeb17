"""Charts of fronts with matplotlib: PNG, SVG or PDF.

A panel shows, of each run, the non-dominated candidates of its two axes, with their intervals, the
rest of the front, a sample of what was feasible, the limits, the published networks by name, and the chosen
one. Another chart shows what a limit costs: the best mIOU for every value of it.
"""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from search.accuracy import SCALES
from search.describe import question
from search.pareto import nondominated
from search.query import DEVICE_METRICS
from search.report.text_placement import Name, place
from search.runs.reader import (
    AXES,
    Axis,
    Run,
    axis,
    device_of,
    load_run,
    published,
    sampled,
    shortlisted,
    values,
)
from search.sensitivity import SENSITIVITIES, sensitivity
from zoo.errors import ZooError
from zoo.files import atomic
from zoo.ownership import NAME
from zoo.quantities import LIMITED, LIMITS

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
"""Okabe and Ito's palette, which the colour-blind can tell apart."""

STYLES = ("-", "--", "-.", ":")
"""Lines of overlaid runs, which a black and white print can tell apart."""

LIMIT_COLOUR = "#D55E00"

FORMATS = ("png", "svg", "pdf")

DEFAULT_AXES = (("size", "miou"), ("latency", "miou"))

FAR = 4.0
"""Runs whose medians differ by more than this factor are overlaid on a logarithmic axis."""

BARS = 18
"""Intervals drawn along a front; more would hide it."""

RC: Any = {"pdf.fonttype": 42, "svg.hashsalt": "zoo", "font.size": 9.0}
"""Text in PDF stays text; the same chart is the same file."""


def draw(folders: Sequence[Path], outputs: Sequence[Path], axes: Sequence[tuple[str, str]] | None = None) -> None:
    """Draw one panel for each pair of axes (x, y) and write it to every output; several runs are overlaid.

    An axis may name a device of several, as `latency@titanx`. Raises ConfigError for an axis, a run or a
    file format that cannot be.
    """
    _check(outputs)
    runs = [load_run(folder) for folder in folders]
    pairs = [(axis(x, runs), axis(y, runs)) for x, y in axes or DEFAULT_AXES]
    with mpl.rc_context(RC):
        figure = Figure(figsize=(6.2 * len(pairs), 5.2), dpi=150, layout="constrained")
        panels: list[Axes] = []
        for i, (_, y) in enumerate(pairs):
            alike = next((panel for panel, (_, other) in zip(panels, pairs, strict=False) if other == y), None)
            panels.append(figure.add_subplot(1, len(pairs), i + 1, sharey=alike))
        drawn = [_panel(panel, runs, x, y) for panel, (x, y) in zip(panels, pairs, strict=True)]
        _finish(figure, panels, _title(runs))
        for panel, (names, marks) in zip(panels, drawn, strict=True):
            place(panel, names, marks)
        _save(figure, outputs)


def draw_sensitivity(folders: Sequence[Path], outputs: Sequence[Path], name: str) -> None:
    """Draw the best mIOU of each run against a limit: latency, power, energy, params, macs, size or memory.

    Raises ConfigError for an unknown limit, and for a run whose mIOU was trained, not predicted.
    """
    _check(outputs)
    runs = [load_run(folder) for folder in folders]
    for run in runs:
        if not run.enumerable:
            raise ZooError(f"{run.folder}: mIOU is known of the trained candidates only; draw its front instead")
    with mpl.rc_context(RC):
        figure = Figure(figsize=(6.2, 4.6), dpi=150, layout="constrained")
        panel = figure.add_subplot()
        drawn: list[list[float]] = []
        for i, run in enumerate(runs):
            steps = sensitivity(run.query, name)
            limit = steps.limit / (1e6 if name == "params" else 1e9 if name == "macs" else 1.0)
            colour = COLOURS[i % len(COLOURS)]
            style = STYLES[i % len(STYLES)]
            panel.step(limit, steps.miou, where="post", color=colour, ls=style, lw=1.6, label=_label(run, runs))
            _own_limit(panel, run, name, colour, i == 0)
            drawn.append(limit.tolist())
        unit = {"params": "millions", "macs": "G"}.get(name, LIMITS[SENSITIVITIES[name]].unit)
        panel.set_xlabel(f"limit on {AXES[name].title}, {unit}; the other limits as they are")
        panel.set_ylabel("best mIOU within the limits, %")
        panel.grid(alpha=0.25)
        if _far_apart(drawn):
            _logarithmic(panel)
        _finish(figure, [panel], _limit_title(runs))
        _save(figure, outputs)


def _own_limit(panel: Axes, run: Run, name: str, colour: str, first: bool) -> None:
    """The run's own limit as a line."""
    given = dict(run.query.limits.given())
    value = given.get(SENSITIVITIES[name]) or (
        1e3 / given["min_fps"] if name == "latency" and "min_fps" in given else 0
    )
    if value:
        at, label = value / {"params": 1e6, "macs": 1e9}.get(name, 1.0), "limit of the search" if first else None
        panel.axvline(at, color=colour, ls=(0, (4, 3)), lw=1.0, alpha=0.8, label=label)


def _check(outputs: Sequence[Path]) -> None:
    for output in outputs:
        if output.suffix[1:].lower() not in FORMATS:
            raise ZooError(f"{output}: charts are written as {', '.join(FORMATS)}; name the file so")


def _save(figure: Figure, outputs: Sequence[Path]) -> None:
    for output in outputs:
        kind = output.suffix[1:].lower()
        about: dict[str, dict[str, Any]] = {
            "png": {"Software": NAME},
            "svg": {"Creator": NAME, "Date": None},
            "pdf": {"Creator": NAME, "CreationDate": None},
        }
        with atomic(output) as partial:
            figure.savefig(partial, format=kind, metadata=about[kind])


def _title(runs: Sequence[Run]) -> str:
    bars = f"bars: {100 * runs[0].query.confidence:g} % intervals"
    if all(run.study for run in runs):
        bars += ", of measured mIOU 95 %"
    return f"{question(runs[0].query)}; {bars}" if len(runs) == 1 else bars


def _limit_title(runs: Sequence[Run]) -> str:
    sure = f"all limits together with probability {runs[0].query.confidence:g}"
    return f"{question(runs[0].query)}; {sure}" if len(runs) == 1 else sure


def _finish(figure: Figure, panels: Sequence[Axes], title: str) -> None:
    """Title, and one legend below all panels, where it covers nothing."""
    figure.suptitle(title, fontsize=9)
    entries: dict[str, Any] = {}
    for panel in panels:
        entries |= {name: mark for mark, name in zip(*panel.get_legend_handles_labels(), strict=True)}
    columns = max(1, min(len(entries), 3 * len(panels)))
    figure.legend(
        list(entries.values()), list(entries), loc="outside lower center", ncols=columns, fontsize=8, frameon=False
    )
    figure.draw_without_rendering()  # constrained layout moves the axes; positions are known after that
    figure.set_layout_engine("none")  # and stay: every file would be laid out again otherwise


def _label(run: Run, runs: Sequence[Run]) -> str:
    """A run among others: its folder, and its devices where they differ."""
    several = len({other.devices for other in runs}) > 1
    return f"{run.name} ({', '.join(run.devices)})" if several else run.name


def _panel(panel: Axes, runs: Sequence[Run], x: Axis, y: Axis) -> tuple[list[Name], list[tuple[float, float]]]:
    """Draw; return the names to be placed, and what they must not cover."""
    marks: list[tuple[float, float]] = []
    for i, run in enumerate(runs):
        marks += _draw_run(panel, run, x, y, i, runs)
    names = _names(runs, x, y)
    if names:
        xs, ys = [n[1] for n in names], [n[2] for n in names]
        panel.scatter(xs, ys, marker="D", s=24, color="black", zorder=5, label="published mIOU")
    panel.set_xlabel(_axis_label(x, runs))
    panel.set_ylabel(_axis_label(y, runs))
    panel.grid(alpha=0.25)
    panel.margins(0.08)
    if _far_apart([[values(run, entry, x)[0] for entry in run.front] for run in runs]):
        _logarithmic(panel)
    if len(runs) == 1:
        _limits(panel, runs[0], x, y)
    return names, marks


def _far_apart(series: Sequence[Sequence[float]]) -> bool:
    """Whether runs, as those on devices of two kinds, would squeeze each other on a linear axis."""
    if len(series) < 2 or min(map(min, series)) <= 0:
        return False
    middles = [float(np.median(one)) for one in series]
    return max(middles) > FAR * min(middles)


def _logarithmic(panel: Axes) -> None:
    """A logarithmic x axis with its ticks as plain numbers."""
    panel.set_xscale("log")
    panel.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    panel.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    panel.xaxis.set_minor_formatter(NullFormatter())


def _axis_label(along: Axis, runs: Sequence[Run]) -> str:
    if along.metric == "miou":
        if not all(run.enumerable for run in runs):
            return along.label
        scales = sorted({SCALES[run.query.accuracy] for run in runs})
        warning = "" if len(scales) == 1 else ": not comparable"
        return f"{along.label} (predicted, {' and '.join(scales)}{warning})"
    devices = {run.devices[device_of(run, along)] for run in runs}
    one = along.metric in DEVICE_METRICS and len(devices) == 1
    return along.label + (f", on {next(iter(devices))}" if one else "")


def _draw_run(panel: Axes, run: Run, x: Axis, y: Axis, number: int, runs: Sequence[Run]) -> list[tuple[float, float]]:
    colour, alone = COLOURS[number % len(COLOURS)], len(runs) == 1
    if run.sample and alone:
        grey = [(sampled(run, row, x), sampled(run, row, y)) for row in run.sample]
        xs, ys = zip(*grey, strict=True)
        panel.scatter(
            xs,
            ys,
            s=4,
            lw=0,
            color="0.75",
            zorder=1,
            label="predicted (a sample)" if run.study else "feasible (a sample)",
            rasterized=True,
        )
    points = [(values(run, entry, x), values(run, entry, y)) for entry in run.front]
    means = np.array([(px[0], py[0]) for px, py in points])
    best = nondominated(means * np.array([x.better, y.better]))
    rest = "on the front of all objectives" if alone else None
    panel.scatter(means[~best, 0], means[~best, 1], s=7, color=colour, alpha=0.35, zorder=2, label=rest, lw=0)
    order = np.flatnonzero(best)[np.argsort(means[best, 0], kind="stable")]
    # Between two candidates of a front nothing can be had: the line is a staircase.
    panel.step(
        *means[order].T,
        where="post" if x.better == 1 else "pre",
        color=colour,
        ls=STYLES[number % len(STYLES)],
        lw=1.4,
        zorder=3,
        label="Pareto front of these two axes" if alone else _label(run, runs),
    )
    _bars(panel, means, points, order[:: max(1, -(-len(order) // BARS))], colour)
    chosen = means[run.chosen - 1]
    name = "chosen (#1)" if alone else "chosen, of each run" if number == 0 else None
    panel.scatter(
        chosen[0], chosen[1], marker="*", s=170, color=colour, edgecolor="black", lw=0.8, zorder=6, label=name
    )
    _numbers(panel, run, means, alone)
    _trained(panel, run, means, colour)
    _expected(panel, run, x, y, colour)
    _tried(panel, run, x, y)
    corners = [(means[b, 0], means[a, 1]) for a, b in pairwise(order)]
    return [(float(a), float(b)) for a, b in [*means[order], *corners, chosen]]


def _numbers(panel: Axes, run: Run, means: Any, alone: bool) -> None:
    """The shortlist by rank, where one run is drawn."""
    ranks = [one["rank"] for one in shortlisted(run)] if alone else []
    if ranks:
        places = means[[rank - 1 for rank in ranks]]
        panel.scatter(
            places[:, 0],
            places[:, 1],
            s=42,
            facecolor="none",
            edgecolor="black",
            lw=0.9,
            zorder=5,
            label="shortlist, by rank",
        )
    for rank in ranks:
        at = means[rank - 1]
        panel.annotate(f"{rank}", at, (4, -9), textcoords="offset points", fontsize=7, zorder=7)


def _bars(panel: Axes, means: Any, points: Sequence[Any], shown: Any, colour: str) -> None:
    for side in (0, 1):
        spread = np.array([(v[0] - v[1], v[2] - v[0]) for v in (points[i][side] for i in shown)]).T
        if np.any(spread > 0):
            xerr, yerr = (np.maximum(spread, 0), None) if side == 0 else (None, np.maximum(spread, 0))
            xs, ys = means[shown].T
            panel.errorbar(xs, ys, yerr, xerr, fmt="none", ecolor=colour, elinewidth=0.7, alpha=0.45, zorder=2)


def _trained(panel: Axes, run: Run, means: Any, colour: str) -> None:
    """Candidates whose mIOU was measured, apart from the predicted ones."""
    kinds = [str(entry.get("miou_source", "predicted")) for entry in run.front]
    found = [i for i, kind in enumerate(kinds) if not kind.startswith("predicted")]
    if found:
        xs, ys = means[found].T
        panel.scatter(xs, ys, marker="s", s=20, color=colour, edgecolor="black", lw=0.6, zorder=4, label="trained")


def _expected(panel: Axes, run: Run, x: Axis, y: Axis, colour: str) -> None:
    """The front that a study's trials lead one to expect, which nobody measured."""
    if run.predicted:
        xs, ys = zip(*((values(run, e, x)[0], values(run, e, y)[0]) for e in run.predicted), strict=True)
        panel.scatter(
            xs, ys, s=14, facecolor="none", edgecolor=colour, lw=0.7, zorder=2, label="expected from the trials"
        )


def _tried(panel: Axes, run: Run, x: Axis, y: Axis) -> None:
    """What was measured and is not on the front; mostly by a study's short protocol."""
    if run.tried:
        xs, ys = zip(*((values(run, e, x)[0], values(run, e, y)[0]) for e in run.tried), strict=True)
        name = "measured, not on the front"
        panel.scatter(xs, ys, marker="s", s=12, facecolor="none", edgecolor="0.35", lw=0.7, zorder=3, label=name)


def _limits(panel: Axes, run: Run, x: Axis, y: Axis) -> None:
    """Limits on what the axes show, as lines, where they are near what is drawn."""
    for name, value in run.query.limits.given():
        limit = LIMITS[name]
        for along, line, span in ((x, panel.axvline, panel.get_xlim()), (y, panel.axhline, panel.get_ylim())):
            at = limit.si(value) / along.scale
            if along.metric == LIMITED[name].key and at <= span[1] + 0.5 * (span[1] - span[0]):
                words = f"{limit.spelt(value)}, with probability {run.query.confidence:g}"
                line(at, color=LIMIT_COLOUR, ls=(0, (4, 3)), lw=1.2, zorder=2, label=words)


def _names(runs: Sequence[Run], x: Axis, y: Axis) -> list[Name]:
    """Published networks where one axis is their mIOU; of one device, as their cost depends on it."""
    first = runs[0]
    predicted = [along for along in (x, y) if along.metric in DEVICE_METRICS]
    devices = {run.devices[device_of(run, along)] for run in runs for along in predicted}
    if "miou" not in (x.metric, y.metric) or len(devices) > 1:
        return []
    return [(p["name"], values(first, p, x)[0], values(first, p, y)[0]) for p in published(first)]
