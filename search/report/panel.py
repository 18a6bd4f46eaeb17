"""One panel of a chart: runs along two axes.

Of each run it shows the non-dominated candidates of its two axes, with their intervals, the rest of the front, a sample
of what was feasible, the limits, the published networks by name, and the chosen one.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize, to_rgba
from numpy.typing import NDArray

from search.accuracy import SCALES
from search.pareto import Floats, nondominated
from search.query import DEVICE_METRICS
from search.report.layout import COLOURS, STYLES, far_apart, label_of, logarithmic
from search.report.text_placement import Name
from search.runs.reader import Axis, Run, device_of, published, sampled, shortlisted, values
from zoo.bulk.choices import Ints
from zoo.quantities import LIMITED, LIMITS

LIMIT_COLOUR = "#D55E00"

CLOCK_COLOURS = "viridis"

BARS = 18
"""Intervals drawn along a front; more would hide it."""


def clocks_of_front(run: Run) -> list[float] | None:
    """The clock of the first device by rank, in MHz, where a search tried several and its front has more than one."""
    clocks = [run.setting(rank)[0].clock_mhz for rank in range(1, len(run.front) + 1)] if not run.study else []
    values = [mhz for mhz in clocks if mhz is not None]
    return values if len(values) == len(run.front) and len(set(values)) > 1 else None


def _shades(run: Run, colour: str, single: bool) -> Any:
    """A colour for each of the front: its clock's where clocks differ."""
    clocks = clocks_of_front(run) if single else None
    if clocks is None:
        return np.array([to_rgba(colour)] * len(run.front))
    return mpl.colormaps[CLOCK_COLOURS](Normalize(min(clocks), max(clocks))(clocks))


def draw_panel(panel: Axes, runs: Sequence[Run], x: Axis, y: Axis) -> tuple[list[Name], list[tuple[float, float]]]:
    """Draw; return the names to be placed, and what they must not cover."""
    marks: list[tuple[float, float]] = []
    for i, run in enumerate(runs):
        marks += _draw_run(panel, run, x, y, i, runs)
    names = _names(runs, x, y)
    if names:
        xs, ys = [n[1] for n in names], [n[2] for n in names]
        panel.scatter(xs, ys, marker="D", s=24, color="black", zorder=5, label="published mIOU")
    panel.set_xlabel(axis_label(x, runs))
    panel.set_ylabel(axis_label(y, runs))
    panel.grid(alpha=0.25)
    panel.margins(0.08)
    if far_apart([[values(run, entry, x)[0] for entry in run.front] for run in runs]):
        logarithmic(panel)
    for i, run in enumerate(runs):
        _limits(panel, run, x, y, LIMIT_COLOUR if len(runs) == 1 else COLOURS[i % len(COLOURS)], len(runs) > 1)
    return names, marks


def axis_label(along: Axis, runs: Sequence[Run]) -> str:
    """What an axis shows, on which device, and by which scale of mIOU."""
    if along.metric == "miou":
        protocols = sorted({miou_protocol(run) for run in runs})
        warning = "" if len(protocols) == 1 else ": not comparable"
        return f"{along.label} ({' and '.join(protocols)}{warning})"
    devices = {run.devices[device_of(run, along)] for run in runs}
    on_one_device = along.metric in DEVICE_METRICS and len(devices) == 1
    return along.label + (f", on {next(iter(devices))}" if on_one_device else "")


def miou_protocol(run: Run) -> str:
    """What the mIOU of a run is, in a few words: predicted or measured, and on which data."""
    accuracy = str((run.plan or {}).get("accuracy", run.query.accuracy))
    if accuracy in SCALES:
        return f"predicted, {SCALES[accuracy]}"
    dataset = (run.plan or {}).get("dataset")
    return f"measured, {dataset} val" if isinstance(dataset, str) and NAME.fullmatch(dataset) else "measured"


NAME = re.compile(r"[\w.-]{1,40}")
"""What a chart writes of a data set's name, which a file gives: no mark-up."""


@dataclass(frozen=True)
class FrontOfAxes:
    """The front of a run along two axes: what is drawn of it, apart from how.

    intervals: mean, low and high of each member along both axes, (N, 2, 3). best: which members no other dominates on
    these two axes, (N,). order: the best by their place on the horizontal axis.
    """

    intervals: Floats
    best: NDArray[np.bool_]

    @classmethod
    def of(cls, run: Run, x: Axis, y: Axis) -> "FrontOfAxes":
        """The front of a run."""
        intervals = np.array([(values(run, entry, x), values(run, entry, y)) for entry in run.front], dtype=float)
        return cls(intervals, nondominated(intervals[:, :, 0] * np.array([x.better, y.better])))

    @property
    def means(self) -> Floats:
        """(N, 2)."""
        return self.intervals[:, :, 0]

    @property
    def order(self) -> Ints:
        """Indices of the best from left to right."""
        best = np.flatnonzero(self.best)
        return best[np.argsort(self.means[best, 0], kind="stable")]

    def marks(self, chosen: int) -> list[tuple[float, float]]:
        """What names must not cover: the best, the corners of the staircase between them, the chosen one."""
        means, order = self.means, self.order
        corners = [(means[right, 0], means[left, 1]) for left, right in pairwise(order)]
        return [(float(u), float(v)) for u, v in [*means[order], *corners, means[chosen]]]


def _draw_run(panel: Axes, run: Run, x: Axis, y: Axis, number: int, runs: Sequence[Run]) -> list[tuple[float, float]]:
    """Draw a run, layer by layer from the back; returns what names must not cover."""
    colour, single = COLOURS[number % len(COLOURS)], len(runs) == 1
    front, shades = FrontOfAxes.of(run, x, y), _shades(run, colour, single)
    if single:
        _sample(panel, run, x, y)
    _members(panel, run, front, shades, single)
    _staircase(panel, front, x, colour, STYLES[number % len(STYLES)], None if single else label_of(run, runs))
    _bars(panel, front, colour)
    _chosen(panel, front.means[run.chosen - 1], colour, "chosen (#1)" if single else CHOSEN_OF_EACH[min(number, 1)])
    _numbers(panel, run, front.means, single)
    _trained(panel, run, front.means, colour)
    _expected(panel, run, x, y, colour)
    _tried(panel, run, x, y)
    return front.marks(run.chosen - 1)


CHOSEN_OF_EACH = ("chosen, of each run", None)
"""Label of the chosen one of the first run, and of the others."""


def _sample(panel: Axes, run: Run, x: Axis, y: Axis) -> None:
    """Some of all candidates, in grey."""
    if run.sample:
        xs, ys = zip(*((sampled(run, row, x), sampled(run, row, y)) for row in run.sample), strict=True)
        name = "predicted (a sample)" if run.study else "feasible (a sample)"
        panel.scatter(xs, ys, s=4, lw=0, color="0.75", zorder=1, label=name, rasterized=True)


def _members(panel: Axes, run: Run, front: FrontOfAxes, shades: Any, single: bool) -> None:
    """The members of the front: pale where another dominates them on these axes; the best by family or by clock."""
    means, best = front.means, front.best
    dominated_label = "on the front of all objectives" if single and not best.all() else None
    panel.scatter(
        means[~best, 0], means[~best, 1], s=7, color=shades[~best], alpha=0.45, zorder=2, label=dominated_label, lw=0
    )
    if single and len(run.query.families) > 1:
        _by_family(panel, run, means, best, shades)
    elif single and clocks_of_front(run):
        panel.scatter(means[best, 0], means[best, 1], s=13, color=shades[best], zorder=4, lw=0)


def _staircase(panel: Axes, front: FrontOfAxes, x: Axis, colour: str, style: Any, label: str | None) -> None:
    """The front as a line: between two candidates of it nothing can be had."""
    panel.step(
        *front.means[front.order].T,
        where="post" if x.better == 1 else "pre",
        color=colour,
        ls=style,
        lw=1.4,
        zorder=3,
        label=label or "Pareto front of these two axes",
    )


def _chosen(panel: Axes, at: Any, colour: str, label: str | None) -> None:
    panel.scatter(at[0], at[1], marker="*", s=170, color=colour, edgecolor="black", lw=0.8, zorder=6, label=label)


MARKERS = "ovPXd"
"""Shapes of the families of one search, which a black and white print can tell apart."""


def _by_family(panel: Axes, run: Run, means: Any, best: Any, shades: Any) -> None:
    """The front of two axes with a shape for each family, and a colour where colours are not clocks."""
    own = np.array([entry["spec"]["family"] for entry in run.front])
    for k, name in enumerate(run.query.families):
        rows = best & (own == name)
        if not rows.any():
            continue
        colour = shades[rows] if clocks_of_front(run) else COLOURS[k % len(COLOURS)]
        marker, (xs, ys) = MARKERS[k % len(MARKERS)], means[rows].T
        panel.scatter(xs, ys, s=18, marker=marker, color=colour, zorder=4, lw=0, label=name)


def _numbers(panel: Axes, run: Run, means: Any, single: bool) -> None:
    """The shortlist by rank, where one run is drawn."""
    ranks = [row["rank"] for row in shortlisted(run)] if single else []
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
        panel.annotate(f"{rank}", at, (4, -9), textcoords="offset points", fontsize=7, zorder=7, gid=RANK)


RANK = "rank"


def thin_out(panel: Axes) -> None:
    """Hide the rank of a candidate where it would cover that of a better one; its circle stays."""
    visible: list[Any] = []
    for text in panel.texts:
        if text.get_gid() == RANK:
            box = text.get_window_extent()
            text.set_visible(not any(box.overlaps(box_drawn) for box_drawn in visible))
            visible += [box] if text.get_visible() else []


def _bars(panel: Axes, front: FrontOfAxes, colour: str) -> None:
    """The intervals of some members, spread over the front, along both axes."""
    members = front.order[:: max(1, -(-len(front.order) // BARS))]
    xs, ys = front.means[members].T
    for side in (0, 1):
        mean, low, high = front.intervals[members, side].T
        spread = np.stack([mean - low, high - mean])
        if np.any(spread > 0):
            xerr, yerr = (np.maximum(spread, 0), None) if side == 0 else (None, np.maximum(spread, 0))
            panel.errorbar(xs, ys, yerr, xerr, fmt="none", ecolor=colour, elinewidth=0.7, alpha=0.45, zorder=2)


def _trained(panel: Axes, run: Run, means: Any, colour: str) -> None:
    """Candidates whose mIOU was measured, apart from the predicted ones."""
    kinds = [str(entry.get("miou_source", "predicted")) for entry in run.front]
    trained = [i for i, kind in enumerate(kinds) if not kind.startswith(("predicted", "unknown"))]
    if trained:
        xs, ys = means[trained].T
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


def _limits(panel: Axes, run: Run, x: Axis, y: Axis, colour: str, overlaid: bool) -> None:
    """Limits on what the axes show, as lines; one that is far from all that is drawn, as an arrow towards it."""
    of = f" ({run.name})" if overlaid else f", with probability {run.query.confidence:g}"
    for name, value in run.query.limits.given():
        limit = LIMITS[name]
        for along, line, span in ((x, panel.axvline, panel.get_xlim()), (y, panel.axhline, panel.get_ylim())):
            at = limit.si(value) / along.scale
            reach = 0.5 * (span[1] - span[0])
            if along.metric != LIMITED[name].key:
                continue
            if span[0] - reach <= at <= span[1] + reach:
                line(at, color=colour, ls=(0, (4, 3)), lw=1.2, zorder=2, label=f"{limit.spelt(value)}{of}")
            else:
                _arrow(panel, along is x, at > span[1], limit.spelt(value), colour)


def _arrow(panel: Axes, horizontal: bool, beyond: bool, words: str, colour: str) -> None:
    """Names a limit that is outside a panel at the edge that is nearest to it."""
    if horizontal:
        text, place, side = (f"{words} →", (0.99, 0.02), "right") if beyond else (f"← {words}", (0.01, 0.02), "left")
    else:
        text, place, side = (f"{words} ↑", (0.01, 0.98), "left") if beyond else (f"{words} ↓", (0.01, 0.02), "left")
    vertical = "top" if place[1] > 0.5 else "bottom"
    panel.text(*place, text, transform=panel.transAxes, ha=side, va=vertical, color=colour, fontsize=7, zorder=7)


def _names(runs: Sequence[Run], x: Axis, y: Axis) -> list[Name]:
    """Published networks where one axis is their mIOU; of one device, as their cost depends on it."""
    first = runs[0]
    predicted = [along for along in (x, y) if along.metric in DEVICE_METRICS]
    devices = {run.devices[device_of(run, along)] for run in runs for along in predicted}
    if "miou" not in (x.metric, y.metric) or len(devices) > 1:
        return []
    return [(p["name"], values(first, p, x)[0], values(first, p, y)[0]) for p in published(first)]
