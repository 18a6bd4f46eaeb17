"""Pictures of label maps: indexed PNG, and the image with its classes in colour and a legend."""

from dataclasses import dataclass
from pathlib import Path
from zlib import Z_DEFAULT_STRATEGY, Z_RLE

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from PIL.PngImagePlugin import PngInfo

from zoo.data.classes import BLACK, Colour, LabelSet
from zoo.errors import ZooError
from zoo.files import atomic
from zoo.inference.images import Pixels, class_counts
from zoo.ownership import NAME

VOID_NAME = "void"
"""Name of the output that a network may have beyond the classes of its label set."""

MAX_OVERLAY_SIDE = 4096
"""Longest side of an overlay in pixels; larger images are shrunk for it."""

OPACITY = 0.5
"""Share of the class's colour in an overlay."""


@dataclass(frozen=True, slots=True)
class Legend:
    """Names and colours of a network's outputs, in order."""

    names: tuple[str, ...]
    colours: tuple[Colour, ...]


def legend(labels: LabelSet, outputs: int) -> Legend:
    """Names and colours of `outputs` outputs: the set's classes, and void if there is one more. Raises ZooError."""
    classes = len(labels.classes)
    if outputs not in (classes, classes + 1):
        raise ZooError(
            f"label set {labels.name} has {classes} classes, but the network has {outputs} outputs; "
            f"{classes} or, with void, {classes + 1} would fit"
        )
    void = outputs - classes
    return Legend(labels.classes + (VOID_NAME,) * void, labels.colours + (BLACK,) * void)


def save_png(path: Path, picture: Image.Image, *, level: int = 6, strategy: int = Z_DEFAULT_STRATEGY) -> None:
    """Write a picture whole or not at all, as a PNG that names its author (`zoo.ownership`).

    level: of zlib, 0 to 9. strategy: one of zlib's.
    """
    about = PngInfo()
    about.add_text("Software", NAME)
    with atomic(path) as partial:
        picture.save(partial, format="PNG", pnginfo=about, compress_level=level, compress_type=strategy)


def save_labels(path: Path, labels: Pixels, key: Legend, *, level: int | None = None) -> None:
    """Write class indices as an 8-bit PNG whose palette holds the classes' colours.

    level: of zlib, 0 to 9; without one, runs of equal pixels are compressed and nothing else, which makes files of
    streets a tenth larger than level 6 does, three times as fast.
    """
    picture = Image.fromarray(labels)
    # All 256 entries, because a short palette would make a PNG of fewer bits.
    flat = [value for colour in key.colours for value in colour]
    picture.putpalette(flat + [0] * (768 - len(flat)))
    if level is None:
        save_png(path, picture, level=1, strategy=Z_RLE)
    else:
        save_png(path, picture, level=level)


def save_overlay(
    path: Path, pixels: Pixels, labels: Pixels, key: Legend, *, legend: bool = True, level: int = 6
) -> None:
    """Write the image with its classes in colour and, unless without it, the legend below, as an RGB PNG.

    level: of zlib, 0 to 9.
    """
    picture = overlay(pixels, labels, key, legend=legend)
    save_png(path, picture, level=level)


def overlay(pixels: Pixels, labels: Pixels, key: Legend, *, legend: bool = True) -> Image.Image:
    """The image (H, W, 3), tinted with its classes' colours, above a legend of the classes that occur.

    `labels` (h, w) may be of another size. At most `MAX_OVERLAY_SIDE` pixels a side, without the legend.
    """
    height, width = pixels.shape[:2]
    scale = min(1.0, MAX_OVERLAY_SIDE / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    coarse = max(1, int(1 / scale))  # of a very large image, not even Pillow's copy fits
    picture = Image.fromarray(np.ascontiguousarray(pixels[::coarse, ::coarse]))
    if picture.size != size:
        picture = picture.resize(size, Image.Resampling.BILINEAR)
    indices = np.asarray(Image.fromarray(labels).resize(size, Image.Resampling.NEAREST))
    colours = np.array(key.colours, np.uint8)[indices]
    tinted = Image.blend(picture, Image.fromarray(colours), OPACITY)
    if not legend:
        return tinted
    return _stacked(tinted, _drawn(key, class_counts(labels, len(key.names)), size[0]))


def _drawn(key: Legend, counts: list[int], width: int) -> Image.Image:
    """Draw a legend of the classes that occur, most frequent first, in as many columns as fit."""
    present = sorted((i for i, count in enumerate(counts) if count), key=lambda i: -counts[i])
    lines = [f"{key.names[i]}  {_percent(counts[i] / sum(counts))}" for i in present]
    text = min(32, max(12, width // 64))
    font = ImageFont.load_default(text)
    cell_width = 3 * text + max(int(font.getlength(line)) for line in lines)
    cell_height = 2 * text
    columns = min(len(lines), max(1, width // cell_width))
    rows = -(-len(lines) // columns)
    picture = Image.new("RGB", (max(width, columns * cell_width), rows * cell_height), "white")
    draw = ImageDraw.Draw(picture)
    for place, (index, line) in enumerate(zip(present, lines, strict=True)):
        x, y = place // rows * cell_width + text // 2, place % rows * cell_height + text // 2
        draw.rectangle((x, y, x + text, y + text), fill=key.colours[index], outline="black")
        draw.text((x + 3 * text // 2, y + text // 2), line, fill="black", font=font, anchor="lm")
    return picture


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %" if share >= 0.0005 else "< 0.1 %"


def _stacked(above: Image.Image, below: Image.Image) -> Image.Image:
    canvas = Image.new("RGB", (max(above.width, below.width), above.height + below.height), "white")
    canvas.paste(above, (0, 0))
    canvas.paste(below, (0, above.height))
    return canvas


def output_paths(images: list[Path], folder: Path, ending: str) -> list[Path]:
    """A file in `folder` for each image, named after it; numbered where two are alike, and never an image itself.

    >>> [p.name for p in output_paths([Path("a/x.png"), Path("b/x.jpg")], Path("out"), ".labels.png")]
    ['x.labels.png', 'x-2.labels.png']
    """
    used = {_identity(image) for image in images}
    paths = []
    for image in images:
        number, path = 1, folder / f"{image.stem}{ending}"
        while _identity(path) in used:
            number += 1
            path = folder / f"{image.stem}-{number}{ending}"
        used.add(_identity(path))
        paths.append(path)
    return paths


def _identity(path: Path) -> str:
    # Some file systems do not tell x.png from X.png.
    return str(path.resolve()).casefold()
