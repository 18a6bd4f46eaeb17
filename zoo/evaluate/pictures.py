"""Pictures of a scoring: the confusion matrix, and images beside truth and prediction."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from zoo.data.classes import BLACK, LabelSet
from zoo.data.split import Pixels
from zoo.evaluate.metrics import Labels, Matrix
from zoo.files import atomic
from zoo.inference.overlay import save_png
from zoo.ownership import NAME

if TYPE_CHECKING:
    from PIL import Image

GAP = 4
"""Pixels between the parts of a side-by-side picture."""

TITLES = ("image", "truth", "prediction", "white where they differ")

VOID_SHADES = ((96, 96, 96), (160, 160, 160))
"""Stripes of void, which no class has the colour of."""

STRIPE = 4
"""Width of a stripe in pixels."""

BANNER = 20
"""Height of the titles, and of a row of the legend."""


def save_side_by_side(path: Path, image: Pixels, truth: Labels, predicted: Labels, labels: LabelSet) -> None:
    """Write image, truth, prediction and where they differ, each titled, above a legend; void is striped in grey."""
    from PIL import Image

    labelled = truth < len(labels.classes)
    wrong = np.where((labelled & (truth != predicted))[:, :, None], np.uint8(255), np.array(BLACK, np.uint8))
    wrong = np.where(labelled[:, :, None], wrong, _stripes(truth.shape))
    parts = [image, coloured(truth, labels), coloured(predicted, labels), wrong]
    gap = np.full((image.shape[0], GAP, 3), 255, np.uint8)
    row = np.concatenate([x for part in parts for x in (part, gap)][:-1], 1)
    picture = _framed(Image.fromarray(row), image.shape[1], _present(truth, predicted, labels), labels)
    save_png(path, picture)


def coloured(indices: Labels, labels: LabelSet) -> Pixels:
    """Class indices (H, W) in the classes' colours (H, W, 3); what is no class is striped."""
    colours = np.zeros((256, 3), np.uint8)
    colours[: len(labels.colours)] = labels.colours
    is_class = indices < len(labels.classes)
    picture: Pixels = np.where(is_class[:, :, None], colours[indices], _stripes(indices.shape))
    return picture


def _stripes(shape: tuple[int, ...]) -> Pixels:
    """Diagonal stripes (H, W, 3)."""
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    stripes: Pixels = np.array(VOID_SHADES, np.uint8)[(rows + columns) // STRIPE % 2]
    return stripes


def _present(truth: Labels, predicted: Labels, labels: LabelSet) -> list[int]:
    """Classes that occur, and one more for void."""
    return sorted({min(int(x), len(labels.classes)) for x in (*np.unique(truth), *np.unique(predicted))})


def _framed(picture: "Image.Image", width: int, present: list[int], labels: LabelSet) -> "Image.Image":
    """Titles above the parts, each `width` wide, and below them a legend."""
    from PIL import Image, ImageDraw, ImageFont

    font = ImageFont.load_default(BANNER * 3 // 5)
    names = [*labels.classes, "void"]
    cell = 2 * BANNER + max(int(font.getlength(names[i])) for i in present)
    columns = max(1, picture.width // cell)
    rows = -(-len(present) // columns)
    canvas = Image.new("RGB", (max(picture.width, cell), picture.height + BANNER * (1 + rows)), "white")
    canvas.paste(picture, (0, BANNER))
    draw = ImageDraw.Draw(canvas)
    for i, title in enumerate(TITLES):
        draw.text((i * (width + GAP) + 2, BANNER // 2), title, fill="black", font=font, anchor="lm")
    for place, i in enumerate(present):
        x, y = place % columns * cell, BANNER + picture.height + place // columns * BANNER
        swatch = coloured(np.full((BANNER - 6, BANNER), i, np.uint8), labels)
        canvas.paste(Image.fromarray(swatch), (x, y + 3))
        draw.text((x + BANNER + 4, y + BANNER // 2), names[i], fill="black", font=font, anchor="lm")
    return canvas


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
        FigureCanvasAgg(figure).print_png(str(partial), metadata={"Software": NAME})  # type: ignore[no-untyped-call]
