"""The learning curve of a run as a picture."""

from collections.abc import Sequence
from pathlib import Path

from zoo.files import atomic
from zoo.ownership import NAME
from zoo.train.trainer import Row


def save_curve(path: Path, rows: Sequence[Row]) -> None:
    """Draw loss and mIOU, or top-1, over the epochs."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 3.6), layout="constrained")
    left = figure.add_subplot()
    right = left.twinx()
    epochs = [row.epoch for row in rows]
    left.plot(epochs, [row.loss for row in rows], color="tab:grey", label="loss")
    scored = [(row.epoch, row.score) for row in rows if row.score is not None]
    if scored:
        right.plot(*zip(*scored, strict=True), color="tab:blue", marker=".")
    left.set(xlabel="epoch", ylabel="training loss")
    name = "mIOU" if all(row.top1 is None for row in rows) else "top-1"
    right.set_ylabel(f"validation {name} (%)", color="tab:blue")
    with atomic(path) as partial:
        FigureCanvasAgg(figure).print_png(str(partial), metadata={"Software": NAME})  # type: ignore[no-untyped-call]
