"""Charts of costs; the only module of this package that needs matplotlib."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from hw_models.predictors import Interval
from hw_models.sweep import Step
from hw_models.validate import Validation
from zoo.charts import save_figure
from zoo.errors import ZooError

FORMATS = (".png", ".svg", ".pdf")
AXIS_LABELS = {"clock": "GPU clock (MHz)", "size": "image (pixels)", "batch": "images at once"}

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "^", "s", "D")
"""Of devices: Okabe and Ito's palette, which the colour-blind can tell apart, once for each shape."""


def draw_sweep(steps: Sequence[Step], title: str, axis: str, path: Path) -> Path:
    """Latency, power and energy along a sweep with their intervals. Raises ZooError for an unknown format."""
    if path.suffix not in FORMATS:
        raise ZooError(f"{path}: the chart's format must be one of {', '.join(FORMATS)}, but is {path.suffix!r}")
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 3.4), layout="constrained")
    panels = figure.subplots(1, 3)
    for panel, (name, label, scale) in zip(
        panels,
        (("latency_s", "latency (ms)", 1e3), ("power_w", "power (W)", 1.0), ("energy_j", "energy (mJ)", 1e3)),
        strict=True,
    ):
        intervals: list[Interval] = [getattr(step.cost, name) for step in steps]
        at = [step.value for step in steps]
        panel.fill_between(at, [i.low * scale for i in intervals], [i.high * scale for i in intervals], alpha=0.2)
        panel.plot(at, [i.mean * scale for i in intervals], marker="o", markersize=3)
        panel.set_xlabel(AXIS_LABELS[axis])
        panel.set_ylabel(label)
        panel.set_ylim(bottom=0)
        panel.grid(alpha=0.3)
        if axis != "clock":
            panel.set_xscale("log", base=2)
    figure.suptitle(title, fontsize=10)
    return save_figure(figure, path)


def draw_validation(results: Mapping[str, Validation], path: Path) -> Path:
    """Left-out predictions against published values, one panel a metric, with 90 % intervals."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 5.0), layout="constrained")
    panels = figure.subplots(1, 2)
    looks = {
        name: (COLOURS[i % len(COLOURS)], MARKERS[i // len(COLOURS) % len(MARKERS)]) for i, name in enumerate(results)
    }
    for panel, (metric, label, scale) in zip(
        panels, (("latency_s", "latency (ms)", 1e3), ("power_w", "power (W)", 1.0)), strict=True
    ):
        drawn_values: list[float] = []
        for device, result in results.items():
            checks = result.of(metric)
            if not checks:
                continue
            published = [c.published * scale for c in checks]
            middle = [c.left_out.mean * scale for c in checks]
            below = [(c.left_out.mean - c.left_out.low) * scale for c in checks]
            above = [(c.left_out.high - c.left_out.mean) * scale for c in checks]
            panel.errorbar(
                published,
                middle,
                yerr=[below, above],
                fmt=looks[device][1],
                markersize=4,
                linewidth=1,
                label=device,
                color=looks[device][0],
            )
            drawn_values += published + middle
        ends = [min(drawn_values) * 0.7, max(drawn_values) * 1.4]
        panel.plot(ends, ends, color="grey", linewidth=0.8)
        panel.set(
            xscale="log", yscale="log", xlabel=f"published {label}", ylabel=f"predicted, network left out: {label}"
        )
        panel.grid(alpha=0.3)
    entries = {
        name: handle for panel in panels for handle, name in zip(*panel.get_legend_handles_labels(), strict=True)
    }
    figure.legend(entries.values(), entries.keys(), loc="outside lower center", ncols=len(COLOURS), fontsize=8)
    return save_figure(figure, path)
