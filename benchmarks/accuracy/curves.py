"""The learning curves of the bench, drawn."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from search.accuracy.bench.table import Measured
from zoo.errors import ConfigError
from zoo.files import atomic

KINDS = (".png", ".svg", ".pdf")


def draw_curves(networks: Sequence[Measured], path: Path) -> None:
    """The mIOU after each epoch, a line a run, coloured by the last one's mIOU. Raises ConfigError for another kind."""
    if path.suffix.lower() not in KINDS:
        raise ConfigError(f"{path}: the name must end in one of {', '.join(KINDS)}")
    figure = Figure(figsize=(7, 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    panel = figure.subplots()
    means = [one.mean for one in networks]
    colours = mpl.colormaps["viridis"]
    scale = mpl.colors.Normalize(min(means), max(means) + 1e-6)
    for one in networks:
        for run in one.runs:
            epochs = range(1, run.epochs + 1)
            panel.plot(epochs, run.curve, color=colours(scale(one.mean)), lw=1, alpha=0.8, marker=".", ms=3)
    protocols = sorted({run.protocol for one in networks for run in one.runs})
    panel.set_xlabel("epoch")
    panel.set_ylabel("mIOU on CamVid val, %")
    panel.set_title(f"{len(networks)} networks, {', '.join(protocols)}", fontsize=10)
    panel.grid(alpha=0.25)
    figure.colorbar(mpl.cm.ScalarMappable(scale, colours), ax=panel, label="mIOU after the last epoch, %")
    with mpl.rc_context({"svg.hashsalt": "zoo"}), atomic(path) as partial:
        figure.savefig(partial, format=path.suffix[1:].lower(), dpi=150, metadata=_undated(path))


def _undated(path: Path) -> dict[str, None]:
    """Equal tables give equal files."""
    return {} if path.suffix.lower() == ".png" else {"Date" if path.suffix.lower() == ".svg" else "CreationDate": None}
