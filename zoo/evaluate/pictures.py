"""Pictures of a scoring: the confusion matrix, and images beside truth and prediction."""

from pathlib import Path

import numpy as np

from zoo.data.classes import BLACK, LabelSet
from zoo.data.split import Pixels
from zoo.evaluate.metrics import Labels, Matrix
from zoo.files import atomic

GAP = 4
"""Pixels between the parts of a side-by-side picture."""


def save_side_by_side(path: Path, image: Pixels, truth: Labels, found: Labels, labels: LabelSet) -> None:
    """Write image, truth, prediction and, in white, where they differ; void is black."""
    from PIL import Image

    colours = np.zeros((256, 3), np.uint8)
    colours[: len(labels.colours)] = labels.colours
    known = truth < len(labels.classes)
    wrong = np.where((known & (truth != found))[:, :, None], np.uint8(255), np.array(BLACK, np.uint8))
    parts = [image, colours[truth], colours[found], np.broadcast_to(wrong, image.shape)]
    gap = np.full((image.shape[0], GAP, 3), 255, np.uint8)
    row = [x for part in parts for x in (part, gap)][:-1]
    with atomic(path) as partial:
        Image.fromarray(np.concatenate(row, 1)).save(partial, format="PNG")


def save_confusion(path: Path, matrix: Matrix, labels: LabelSet) -> None:
    """Draw the confusion matrix, each row in percent of the true class's pixels."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    names = [*labels.classes, *["void"] * (len(matrix) - len(labels.classes))]
    shares = 100 * matrix / np.maximum(1, matrix.sum(1, keepdims=True))
    side = 2 + 0.45 * len(names)
    figure = Figure(figsize=(side, side), layout="constrained")
    axes = figure.add_subplot()
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=100)
    axes.set(xlabel="prediction", ylabel="truth")
    axes.set_xticks(range(len(names)), names, rotation=90)
    axes.set_yticks(range(len(names)), names)
    for (i, j), share in np.ndenumerate(shares):
        if share >= 0.5:
            axes.text(j, i, f"{share:.0f}", ha="center", va="center", size=7, color="white" if share > 50 else "black")
    with atomic(path) as partial:
        FigureCanvasAgg(figure).print_png(str(partial))  # type: ignore[no-untyped-call]
