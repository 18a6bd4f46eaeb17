"""What a network's input must be, as a value that is kept beside its weights, and how an image becomes it."""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from zoo.errors import ConfigError, ZooError, did_you_mean

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image as PILImage
    from torch import Tensor

Triple = tuple[float, float, float]

MAX_SIDE = 65_536
"""Longest side of a network's input in pixels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Preprocessing:
    """From 8-bit pixels to a network's input; raises ConfigError for values that cannot be.

    The pixels' channels are put in the order `channels`, scaled from 0…255 to 0…`maximum`; `mean` is
    subtracted and the difference divided by `std`, for each channel in that order; the result is resized
    to `size` = (height, width), bilinearly with half-pixel centres and no antialiasing, and divided by
    `divisor`. Without a size the network takes images as they are. With `antialias` the 8-bit pixels are
    resized first, as Pillow does, which smooths what it shrinks: `zoo train` shows a network such images.

    Called with an image, it makes the network's input of it.
    """

    channels: Literal["RGB", "BGR"] = "RGB"
    maximum: float = 1.0
    mean: Triple = (0.0, 0.0, 0.0)
    std: Triple = (1.0, 1.0, 1.0)
    divisor: float = 1.0
    size: tuple[int, int] | None = None
    antialias: bool = False

    def __call__(self, image: "NDArray[np.uint8] | PILImage", size: tuple[int, int] | None = None) -> "Tensor":
        """Input (1, 3, h, w), float32, of an image (H, W, 3) in RGB, 8 bits a channel, or a Pillow image."""
        import numpy as np

        pixels = image if isinstance(image, np.ndarray) else np.array(image.convert("RGB"))
        if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != np.uint8:
            raise ZooError(
                f"an image must be (height, width, 3) of uint8 in RGB, but is {pixels.shape} of {pixels.dtype}"
            )
        return network_input(pixels, self, size)

    def __post_init__(self) -> None:
        if self.channels not in ("RGB", "BGR"):
            raise ConfigError(f"preprocessing.channels: must be RGB or BGR, but is {self.channels!r}")
        if not isinstance(self.antialias, bool):
            raise ConfigError(f"preprocessing.antialias: must be true or false, but is {self.antialias!r}")
        for name in ("maximum", "divisor"):
            _check_numbers(name, (getattr(self, name),), 1, positive=True)
        _check_numbers("mean", self.mean, 3, positive=False)
        _check_numbers("std", self.std, 3, positive=True)
        if self.size is not None and not _is_size(self.size):
            raise ConfigError(f"preprocessing.size: must be height and width in pixels, but is {self.size!r}")

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Preprocessing":
        """Read what `to_dict` writes; missing keys take their defaults. Raises ConfigError.

        >>> Preprocessing.from_dict({"channels": "BGR", "size": [512, 1024]}).size
        (512, 1024)
        """
        names = [field.name for field in dataclasses.fields(cls)]
        if not isinstance(values, Mapping):
            raise ConfigError(f"preprocessing: must be a mapping with keys of {', '.join(names)}, but is {values!r}")
        for key in values:
            if key not in names:
                raise ConfigError(f"preprocessing.{key}: unknown key ({did_you_mean(str(key), names)})")
        fields: dict[str, Any] = {key: tuple(x) if isinstance(x, list) else x for key, x in values.items()}
        return cls(**fields)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for YAML and JSON; `antialias` only where it is true, as files of before lack it."""
        values = dataclasses.asdict(self)
        if not self.antialias:
            del values["antialias"]
        return {key: list(value) if isinstance(value, tuple) else value for key, value in values.items()}


def _is_size(value: object) -> bool:
    if not isinstance(value, tuple) or len(value) != 2:
        return False
    return all(type(side) is int and 1 <= side <= MAX_SIDE for side in value)


def _check_numbers(name: str, values: object, count: int, *, positive: bool) -> None:
    fits = isinstance(values, tuple) and len(values) == count
    numbers = fits and all(type(x) in (int, float) and math.isfinite(x) for x in values)  # type: ignore[attr-defined]
    if not numbers or (positive and min(values) <= 0):  # type: ignore[call-overload]
        kind = f"{'positive ' if positive else ''}number"
        rule = f"a {kind}" if count == 1 else f"{count} {kind}s"
        shown_value = values[0] if count == 1 else values  # type: ignore[index]
        raise ConfigError(f"preprocessing.{name}: must be {rule}, but is {shown_value!r}")


def network_input(
    pixels: "NDArray[np.uint8]", preprocessing: Preprocessing, size: tuple[int, int] | None = None
) -> "Tensor":
    """Turn an image (H, W, 3) in RGB, 8 bits a channel, into a network's input (1, 3, h, w), float32.

    (h, w) is `size`, else the preprocessing's, else (H, W). Beside the image, memory is that of `h` rows
    of it as floats: bilinear resizing reads no more.
    """
    import torch

    height, width = size or preprocessing.size or pixels.shape[:2]
    if preprocessing.antialias:
        pixels = smoothed(pixels, (height, width))
    rows, columns = pixels.shape[:2]
    order = [0, 1, 2] if preprocessing.channels == "RGB" else [2, 1, 0]
    # The channels of a row lie side by side: one long line is computed with several times as fast as three planes.
    mean, std = (
        torch.tensor([x[i] for i in order], dtype=torch.float32).repeat(columns)
        for x in (preprocessing.mean, preprocessing.std)
    )

    def normalised(lines: "Tensor") -> "Tensor":
        values = lines.float()
        if preprocessing.maximum != 255:
            values *= preprocessing.maximum / 255
        return values.sub_(mean).div_(std)

    if not pixels.flags.writeable:
        pixels = pixels.copy()  # torch warns of memory that it must not write to
    image = torch.from_numpy(pixels).reshape(1, rows, 3 * columns)
    lines = resized_rows(image, (height, 3 * columns), 0, height, normalised)
    planes = lines.reshape(height, columns, 3).permute(2, 0, 1)[order]
    return resized_rows(planes, (height, width), 0, height).div_(preprocessing.divisor)[None]


def resized_pixels(
    pixels: "NDArray[np.uint8]", preprocessing: Preprocessing, size: tuple[int, int] | None = None
) -> "Tensor":
    """An image (H, W, 3) as pixels (1, h, w, 3), float32 from 0 to 255: what comes before all but the resizing.

    Resizing and normalising may change places, as both are linear.
    """
    import torch

    height, width = size or preprocessing.size or pixels.shape[:2]
    if preprocessing.antialias:
        pixels = smoothed(pixels, (height, width))
    rows, columns = pixels.shape[:2]
    image = torch.from_numpy(pixels if pixels.flags.writeable else pixels.copy()).reshape(1, rows, 3 * columns)
    lines = resized_rows(image, (height, 3 * columns), 0, height, lambda chunk: chunk.float())
    planes = lines.reshape(height, columns, 3).permute(2, 0, 1)
    return resized_rows(planes, (height, width), 0, height).permute(1, 2, 0)[None]


def smoothed(pixels: "NDArray[np.uint8]", size: tuple[int, int]) -> "NDArray[np.uint8]":
    """An image (H, W, 3) at `size` = (height, width), bilinear with antialiasing; itself where that is its size."""
    import numpy as np
    from PIL import Image

    if pixels.shape[:2] == size:
        return pixels
    return np.array(Image.fromarray(pixels).resize((size[1], size[0]), Image.Resampling.BILINEAR))


def resized_rows(
    x: "Tensor", size: tuple[int, int], start: int, stop: int, convert: Any = lambda rows: rows
) -> "Tensor":
    """Rows `start` to `stop` of `x` (C, H, W) resized bilinearly to `size`, with half-pixel centres.

    The whole is what torch's `interpolate(align_corners=False)` gives. `convert` makes floats of the rows
    of `x` that are needed.
    """
    import torch
    from torch.nn.functional import interpolate

    height, width = size
    rows: Tensor
    if x.shape[1] == height:
        rows = convert(x[:, start:stop])
    else:
        place = (torch.arange(start, stop, dtype=torch.float64) + 0.5) * (x.shape[1] / height) - 0.5
        place = place.clamp(0, x.shape[1] - 1).to(x.device)
        above = place.floor().long()
        below = (above + 1).clamp(max=x.shape[1] - 1)
        share = (place - above).float()[:, None]
        rows = torch.lerp(convert(x[:, above]), convert(x[:, below]), share)
    if x.shape[2] == width:
        return rows
    across: Tensor = interpolate(rows[None], (stop - start, width), mode="bilinear", align_corners=False)[0]
    return across
