"""Small plots of one style, as SVG that is the same for the same figures."""

from pathlib import Path
from typing import Any

from zoo.charts import save_figure

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Okabe and Ito's, which the colour-blind tell apart."""


_left_alone: list[bool] = []


def leave_alone() -> None:
    """Write no plots in this process."""
    _left_alone.append(True)


def figure(columns: int = 1, width: float = 4.2, height: float = 3.2) -> tuple[Any, tuple[Any, ...]]:
    """A figure and its axes, one beside the other."""
    import matplotlib as mpl

    mpl.use("Agg")
    from cycler import cycler
    from matplotlib import pyplot

    mpl.rcParams.update(
        {
            "font.size": 9,
            "axes.prop_cycle": cycler(color=COLOURS),
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.grid": True,
            "grid.color": "0.92",
        }
    )
    chart, axes = pyplot.subplots(1, columns, figsize=(width * columns, height), squeeze=False, layout="constrained")
    return chart, tuple(axes[0])


def save(chart: Any, path: Path) -> None:
    """Write the SVG, on white, whole or not at all; nothing where `leave_alone` was called."""
    from matplotlib import pyplot

    if _left_alone:
        pyplot.close(chart)
        return
    save_figure(chart, path, facecolor="white")
    pyplot.close(chart)
