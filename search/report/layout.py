"""Layout of static charts: sizes, colours, text that stays inside the frame, legends, files."""

import textwrap
from collections.abc import Sequence
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from search.runs.reader import Run
from zoo.charts import save_figure
from zoo.errors import ZooError
from zoo.quantities import LIMITS

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
"""Okabe and Ito's palette, which the colour-blind can tell apart."""

STYLES = ("-", "--", "-.", ":")
"""Lines of overlaid runs, which a black and white print can tell apart."""

FORMATS = ("png", "svg", "pdf")

FAR = 4.0
"""Runs whose medians differ by more than this factor are overlaid on a logarithmic axis."""

RC: Any = {"pdf.fonttype": 42, "font.size": 9.0}
"""Text in PDF stays text; the same chart is the same file."""


NARROWEST_MM = 75.0
"""Panels that would be narrower stand one below the other."""

MM = 1 / 25.4


def figure_of(panels: int, width_mm: float | None) -> tuple[Figure, int, int]:
    """A figure for some panels, and its rows and columns."""
    columns = panels if width_mm is None else max(1, min(panels, int(width_mm / NARROWEST_MM)))
    rows = ceil(panels / columns)
    width = 6.2 * columns if width_mm is None else width_mm * MM
    height = 5.2 * rows if width_mm is None else rows * max(0.84 * width / columns, 70 * MM) + 0.6
    return Figure(figsize=(width, height), dpi=150 if width_mm is None else 300, layout="constrained"), rows, columns


def check_formats(outputs: Sequence[Path]) -> None:
    """Raises ZooError for a file that is no PNG, SVG or PDF by its name."""
    for output in outputs:
        if output.suffix[1:].lower() not in FORMATS:
            raise ZooError(f"{output}: charts are written as {', '.join(FORMATS)}; name the file so")


def save(figure: Figure, outputs: Sequence[Path]) -> None:
    """Write a figure to every output, without the time at which it was drawn."""
    for output in outputs:
        save_figure(figure, output)


def finish(figure: Figure, panels: Sequence[Axes], title: str) -> None:
    """Title, and one legend below all panels, where it covers nothing."""
    inches = float(figure.get_size_inches()[0])
    figure.suptitle(wrapped(title, inches), fontsize=7 if is_narrow(figure) else 9)
    if is_narrow(figure):
        for panel in panels:
            panel.set_ylabel(panel.get_ylabel().replace(" (", "\n("), fontsize=7)
            panel.set_xlabel(panel.get_xlabel(), fontsize=7)
            panel.tick_params(labelsize=7)
    entries: dict[str, Any] = {}
    for panel in panels:
        entries |= {name: mark for mark, name in zip(*panel.get_legend_handles_labels(), strict=True)}
    words = [wrapped(name, inches, LEGEND_MARK) for name in entries]
    longest = max((len(line) for name in words for line in name.splitlines()), default=1)
    columns = max(1, min(len(entries), int(inches * LETTERS_AN_INCH / (longest + LEGEND_MARK))))
    size = 7 if is_narrow(figure) else 8
    figure.legend(
        list(entries.values()), words, loc="outside lower center", ncols=columns, fontsize=size, frameon=False
    )
    figure.draw_without_rendering()  # constrained layout moves the axes; positions are known after that


def is_narrow(figure: Figure) -> bool:
    """Whether it is no wider than a column of a paper, so that its text must be small."""
    return float(figure.get_size_inches()[0]) < 2 * NARROWEST_MM * MM


LETTERS_AN_INCH = 15.0
"""Letters of the legend's size that surely fit in an inch."""

LEGEND_MARK = 7
"""Letters that the mark of a legend's entry takes."""


def wrapped(text: str, inches: float, indent: int = 0) -> str:
    """A text in lines that fit in a width."""
    return textwrap.fill(
        text, max(20, int(inches * LETTERS_AN_INCH) - indent), break_long_words=False, break_on_hyphens=False
    )


def label_of(run: Run, runs: Sequence[Run]) -> str:
    """A run among others: its folder, its devices and its limits."""
    if len(runs) == 1:
        return run.name
    limits = ", ".join(LIMITS[name].spelt(value) for name, value in run.query.limits.given()) or "no limits"
    return f"{run.name}: {', '.join(run.devices)}; {limits}"


def far_apart(series: Sequence[Sequence[float]]) -> bool:
    """Whether runs, as those on devices of two kinds, would squeeze each other on a linear axis."""
    if len(series) < 2 or min(map(min, series)) <= 0:
        return False
    middles = [float(np.median(values)) for values in series]
    return max(middles) > FAR * min(middles)


def logarithmic(panel: Axes) -> None:
    """A logarithmic x axis with its ticks as plain numbers."""
    panel.set_xscale("log")
    panel.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    panel.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    panel.xaxis.set_minor_formatter(NullFormatter())
