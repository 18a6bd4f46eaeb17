"""Reads untrusted image files: 8-bit RGB, or an error of one sentence.

Pillow decodes; only plain raster formats are tried, because some of the others run programs.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from zoo.errors import ZooError
from zoo.reading import kind_of, reason
from zoo.text import shown

Pixels = NDArray[np.uint8]
"""(H, W, 3) in RGB, or (H, W) of class indices; 8 bits a value."""

FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "WEBP", "PPM", "GIF")
"""Formats that are read."""

SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp", ".ppm", ".pgm", ".gif")
"""Endings, in lower case, of the names by which images are found in a folder."""

MAX_PIXELS = 2**30
"""Most pixels of an image that is decoded; a few kilobytes of PNG can claim any number."""

BYTES_PER_PIXEL = 8
"""Memory for each pixel while an image is read: Pillow's four bytes, our three, and a label."""

ORIENTATION = 274
"""EXIF tag of the orientation."""

TURNED = range(5, 9)
"""Orientations that exchange width and height."""

STRIP = 2**20
"""Pixels that are taken out of Pillow's memory at a time."""

_pillow = threading.Lock()


class ImageError(ZooError, ValueError):
    """A file that is not an image, or an image that cannot be used."""


def read_image(path: Path) -> Pixels:
    """Read an image as (H, W, 3), RGB, upright as its EXIF tag says.

    Grey, palette, CMYK and transparent images are converted; alpha is dropped; 16-bit grey keeps its upper
    8 bits; of an animation the first frame is read. Raises ImageError, naming the file, for what is no
    image, is damaged, or does not fit into memory.
    """
    with opened(path) as image:
        try:
            return _upright_rgb(image)
        except MemoryError:
            raise too_large(path, image.size) from None
        except ImageError as error:
            raise ImageError(f"{path}: {error}") from None
        except Exception as error:  # a damaged file may raise nearly anything
            raise ImageError(
                f"{path}: is cut off or damaged ({_first_line(error)}); replace it by an intact file"
            ) from None


def image_size(path: Path) -> tuple[int, int]:
    """Height and width of the upright image, without decoding. Raises ImageError."""
    with opened(path) as image:
        turned = orientation(image, path) in TURNED
        return (image.width, image.height) if turned else (image.height, image.width)


def orientation(image: Image.Image, path: Path) -> int:
    """The EXIF orientation, from 1 for upright to 8; 1 where there is none. Raises ImageError for a damaged image."""
    if image.format == "PNG" and not _png_says(image, path):
        return 1  # Pillow would decode the whole image to look for a tag behind its pixels
    try:
        value = image.getexif().get(ORIENTATION, 1)
    except Exception as error:  # a damaged file may raise nearly anything
        raise ImageError(f"{path}: is damaged ({_first_line(error)}); replace it by an intact file") from None
    return value if value in range(1, 9) else 1


def _png_says(image: Image.Image, path: Path) -> bool:
    """Whether a PNG file has anything that may hold an orientation, before its pixels or behind them."""
    if any("exif" in str(key).lower() or "xmp" in str(key).lower() for key in image.info):
        return True
    with path.open("rb") as file:
        file.seek(8)
        while len(head := file.read(8)) == 8:
            if head[4:] == b"eXIf":
                return True
            file.seek(int.from_bytes(head[:4], "big") + 4, 1)
    return False


@contextmanager
def opened(path: Path) -> Iterator[Image.Image]:
    """Open an image file whose header is sound and whose size is allowed. Raises ImageError."""
    try:
        mode = path.stat().st_mode
        wrong = kind_of(mode)
        if wrong:
            raise ImageError(f"{shown(path)}: cannot be read: Is {wrong}; give an image file")
        with _any_size_for_pillow():
            image = Image.open(path, formats=FORMATS)
    except ImageError:
        raise
    except OSError as error:
        raise ImageError(f"{shown(path)}: {_why(path, error)}") from None
    except Exception as error:  # a damaged header may raise nearly anything
        raise ImageError(f"{path}: is damaged ({_first_line(error)}); replace it by an intact file") from None
    with image:
        if image.width * image.height > MAX_PIXELS:
            size = f"{image.width}x{image.height} pixels"
            raise ImageError(f"{path}: claims {size}, and at most {MAX_PIXELS} are read; cut it into several files")
        yield image


@contextmanager
def _any_size_for_pillow() -> Iterator[None]:
    """Pillow's own limit is lower than ours, and only a global variable changes it."""
    with _pillow:
        before, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = before


def _why(path: Path, error: OSError) -> str:
    if error.errno:
        return f"cannot be read: {reason(error)}; check the path"
    if path.stat().st_size == 0:
        return "is empty; replace it by an image"
    return f"is not an image that can be read; use one of {', '.join(FORMATS)}"


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__


def _upright_rgb(image: Image.Image) -> Pixels:
    ImageOps.exif_transpose(image, in_place=True)
    if image.mode.startswith("I"):
        return np.repeat(_upper_bits(np.asarray(image))[:, :, None], 3, axis=2)
    if image.mode == "F":
        raise ImageError("holds floating-point pixels, whose range nobody knows; convert it to 8 or 16 bits")
    if image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")
    return _array(image if image.mode == "RGB" else image.convert("RGB"))


def _array(image: Image.Image) -> Pixels:
    """Pixels (H, W, 3) of an RGB image, strip by strip: Pillow would hold them twice more on the way."""
    pixels = np.empty((image.height, image.width, 3), np.uint8)
    if image.width * image.height <= STRIP:
        pixels[:] = np.asarray(image)
        return pixels
    rows = max(1, STRIP // image.width)
    for top in range(0, image.height, rows):
        bottom = min(top + rows, image.height)
        pixels[top:bottom] = np.asarray(image.crop((0, top, image.width, bottom)))
    return pixels


def _upper_bits(values: NDArray[np.integer]) -> Pixels:
    if values.min() < 0 or values.max() > 65535:
        raise ImageError(f"holds values from {values.min()} to {values.max()}; convert it to 8 or 16 bits")
    return (values >> 8).astype(np.uint8)


def class_counts(labels: Pixels, classes: int) -> list[int]:
    """Number of pixels (H, W) of each class; numpy's bincount would take eight bytes for each pixel.

    >>> class_counts(np.array([[0, 2], [2, 2]], np.uint8), 3)
    [1, 0, 3]
    """
    return Image.fromarray(labels).histogram()[:classes]


def too_large(path: Path, size: tuple[int, int], *, tiled: bool = False) -> ImageError:
    """Error for an image of `size` = (width, height) that does not fit into memory."""
    way_out = "cut it into several files" if tiled else "use --tile N to work in pieces"
    return ImageError(f"{path}: {size[0]}x{size[1]} pixels are more than memory holds at once; {way_out}")
