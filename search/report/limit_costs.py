"""Chart of what a limit costs: the best mIOU for every value of it."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes

from search.describe import question
from search.report import layout
from search.report.layout import COLOURS, RC, STYLES, check_formats, far_apart, figure_of, finish, label_of, logarithmic
from search.runs.reader import AXES, Run, load_run
from search.sensitivity import SENSITIVITIES, Staircase, measured_sensitivity, sensitivity
from zoo.quantities import LIMITS
from zoo.registry import spec_from_dict


def draw_sensitivity(
    folders: Sequence[Path], outputs: Sequence[Path], name: str, width_mm: float | None = None
) -> None:
    """Draw the best mIOU of each run against a limit: latency, power, energy, params, macs, size or memory.

    Of a study the best that was measured and, dashed, the best that its trials lead one to expect. Raises
    ConfigError for an unknown limit.
    """
    check_formats(outputs)
    runs = [load_run(folder) for folder in folders]
    with mpl.rc_context(RC):
        figure, rows, columns = figure_of(1, width_mm)
        panel = figure.add_subplot(rows, columns, 1)
        curves: list[list[float]] = []
        for i, run in enumerate(runs):
            colour = COLOURS[i % len(COLOURS)]
            for steps, suffix, style in _staircases(run, name, STYLES[i % len(STYLES)]):
                limit = steps.limit / (1e6 if name == "params" else 1e9 if name == "macs" else 1.0)
                label = label_of(run, runs) + suffix
                panel.step(limit, steps.miou, where="post", color=colour, ls=style, lw=1.6, label=label)
                if len(limit) == 1:
                    panel.plot(limit, steps.miou, marker="s", ms=4, color=colour)
                curves.append(limit.tolist())
            _own_limit(panel, run, name, colour, i == 0)
        unit = {"params": "millions", "macs": "G"}.get(name, LIMITS[SENSITIVITIES[name]].unit)
        panel.set_xlabel(f"limit on {AXES[name].title}, {unit}; the other limits as they are")
        panel.set_ylabel("best mIOU within the limits, %")
        panel.grid(alpha=0.25)
        if far_apart(curves):
            logarithmic(panel)
        finish(figure, [panel], _limit_title(runs))
        layout.save(figure, outputs)


def _staircases(run: Run, name: str, style: str) -> list[tuple[Staircase, str, str]]:
    """What is drawn of a run, what is added to its name, and the style of the line."""
    if run.enumerable:
        return [(sensitivity(run.query, name), "", style)]
    kinds = ((run.front, ", measured", style), (run.predicted, ", expected from the trials", ":"))
    out = []
    for entries, suffix, own_style in kinds:
        specs = [spec_from_dict(entry["spec"], str(run.folder)) for entry in entries]
        miou = np.array([entry["miou"]["mean"] for entry in entries])
        if specs:
            out.append((measured_sensitivity(run.query, name, specs, miou), suffix, own_style))
    return out


def _own_limit(panel: Axes, run: Run, name: str, colour: str, first: bool) -> None:
    """The run's own limit as a line."""
    limits = dict(run.query.limits.given())
    value = limits.get(SENSITIVITIES[name]) or (
        1e3 / limits["min_fps"] if name == "latency" and "min_fps" in limits else 0
    )
    if value:
        at, label = value / {"params": 1e6, "macs": 1e9}.get(name, 1.0), "limit of the search" if first else None
        panel.axvline(at, color=colour, ls=(0, (4, 3)), lw=1.0, alpha=0.8, label=label)


def _limit_title(runs: Sequence[Run]) -> str:
    sure = f"all limits together with probability {runs[0].query.confidence:g}"
    return f"{question(runs[0].query)}; {sure}" if len(runs) == 1 else sure
