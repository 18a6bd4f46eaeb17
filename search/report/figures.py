"""Charts of fronts with matplotlib: one panel for each pair of axes, PNG, SVG or PDF."""

from collections.abc import Callable, Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from search.describe import question
from search.report import layout
from search.report.layout import RC, check_formats, figure_of, finish, is_narrow
from search.report.panel import CLOCK_COLOURS, clocks_of_front, draw_panel, thin_out
from search.report.text_placement import place
from search.runs.reader import Run, axis, load_run
from zoo.errors import ConfigError
from zoo.text import shown

DEFAULT_AXES = (("size", "miou"), ("latency", "miou"))

MOST_TICKS = 12


def draw(
    folders: Sequence[Path],
    outputs: Sequence[Path],
    axes: Sequence[tuple[str, str]] | None = None,
    width_mm: float | None = None,
    save: Callable[[Figure, Sequence[Path]], None] | None = None,
) -> None:
    """Draw one panel for each pair of axes (x, y) and write it to every output; several runs are overlaid.

    An axis may name a device of several, as `latency@titanx`. width_mm: of the whole chart; panels narrower than
    NARROWEST_MM stand one below the other. save: writes a figure to outputs, by default `layout.save`. Raises
    ConfigError for an axis, a run or a file format that cannot be.
    """
    check_formats(outputs)
    runs = [load_run(folder) for folder in folders]
    pairs = [(axis(x, runs), axis(y, runs)) for x, y in axes or default_axes(runs)]
    for run in runs:
        if not run.knows_miou and any("miou" in (x.metric, y.metric) for x, y in pairs):
            raise ConfigError(f"{shown(run.folder)}: its mIOU is unknown; draw other axes, as --x size --y latency")
    with mpl.rc_context(RC):
        figure, rows, columns = figure_of(len(pairs), width_mm)
        panels: list[Axes] = []
        for i, (x, y) in enumerate(pairs):
            drawn_before = list(zip(panels, pairs, strict=False))
            same_x = next((panel for panel, (other, _) in drawn_before if other == x), None)
            same_y = next((panel for panel, (_, other) in drawn_before if other == y), None)
            panels.append(figure.add_subplot(rows, columns, i + 1, sharex=same_x, sharey=same_y))
        panel_marks = [draw_panel(panel, runs, x, y) for panel, (x, y) in zip(panels, pairs, strict=True)]
        _clock_bar(figure, panels, runs)
        finish(figure, panels, _title(runs))
        for panel, (names, marks) in zip(panels, panel_marks, strict=True):
            thin_out(panel)
            place(panel, names, marks)
        (save or layout.save)(figure, outputs)


def default_axes(runs: Sequence[Run]) -> tuple[tuple[str, str], ...]:
    """Pairs of (x, y): mIOU against size and latency, or the latter two where a run's mIOU is unknown."""
    return DEFAULT_AXES if all(run.knows_miou for run in runs) else (("size", "latency"),)


def _title(runs: Sequence[Run]) -> str:
    bars = f"bars: {100 * runs[0].query.confidence:g} % intervals"
    if all(run.study for run in runs):
        bars += ", of measured mIOU 95 %"
    return f"{question(runs[0].query)}; {bars}" if len(runs) == 1 else bars


def _clock_bar(figure: Figure, panels: Sequence[Axes], runs: Sequence[Run]) -> None:
    """What the colours of the front mean, where they are clocks."""
    clocks = clocks_of_front(runs[0]) if len(runs) == 1 else None
    if clocks:
        steps = sorted(set(clocks))
        shades = ScalarMappable(Normalize(steps[0], steps[-1]), CLOCK_COLOURS)
        ticks = steps if len(steps) <= MOST_TICKS else None
        side = "top" if is_narrow(figure) else "right"
        bar = figure.colorbar(shades, ax=list(panels), ticks=ticks, aspect=40, pad=0.01, location=side)
        size = 7 if is_narrow(figure) else None
        bar.set_label(f"clock of {runs[0].query.devices[0].name}, MHz", size=size)
        bar.ax.tick_params(labelsize=size)
        bar.formatter = FuncFormatter(lambda value, _: f"{value:g}")
        bar.update_ticks()
