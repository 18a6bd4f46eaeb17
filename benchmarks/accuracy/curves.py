"""The learning curves of the bench, drawn: `python -m benchmarks.accuracy.curves FILE`."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from search.accuracy.bench.protocol import TABLE, read_runs
from search.accuracy.bench.table import Measured, measured
from zoo.charts import save_figure
from zoo.errors import ConfigError, ZooError

KINDS = (".png", ".svg", ".pdf")


def draw_curves(networks: Sequence[Measured], path: Path) -> None:
    """The mIOU after each epoch, a line a run, coloured by the last one's. Raises ConfigError for another kind."""
    if path.suffix.lower() not in KINDS:
        raise ConfigError(f"{path}: the name must end in one of {', '.join(KINDS)}")
    if not networks:
        raise ConfigError(f"{path}: the table has no row to draw; fill it with zoo bench-table --fill")
    figure = Figure(figsize=(7, 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    panel = figure.subplots()
    means = [network.mean for network in networks]
    colours = mpl.colormaps["viridis"]
    scale = mpl.colors.Normalize(min(means), max(means) + 1e-6)
    for network in networks:
        for run in network.runs:
            epochs = range(1, run.epochs + 1)
            panel.plot(epochs, run.curve, color=colours(scale(network.mean)), lw=1, alpha=0.8, marker=".", ms=3)
    protocols = sorted({run.protocol for network in networks for run in network.runs})
    panel.set_xlabel("epoch")
    panel.set_ylabel("mIOU on CamVid val, %")
    panel.set_title(f"{len(networks)} networks, {', '.join(protocols)}", fontsize=10)
    panel.grid(alpha=0.25)
    figure.colorbar(mpl.cm.ScalarMappable(scale, colours), ax=panel, label="mIOU after the last epoch, %")
    save_figure(figure, path, dpi=150)


def main(argv: Sequence[str] | None = None) -> int:
    """Draw the table's curves into a file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path, help="PNG, SVG or PDF")
    parser.add_argument("--table", type=Path, default=TABLE, help="another table than the one that ships")
    args = parser.parse_args(argv)
    try:
        draw_curves(measured(read_runs(args.table)), args.file)
    except ZooError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
