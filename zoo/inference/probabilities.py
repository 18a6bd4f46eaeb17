"""Class probabilities a pixel: the softmax of logits over a temperature, at the size of an image.

Source of the temperature: Guo, Pleiss, Sun, Weinberger, On Calibration of Modern Neural Networks, ICML 2017
(arXiv:1706.04599), section 4.2. It changes how sure a network is, never which class it takes.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from zoo._version import version
from zoo.errors import ZooError
from zoo.files import atomic
from zoo.inference.label_map import BAND_BYTES
from zoo.inference.preprocess import resized_rows
from zoo.memory import free_bytes

Size = tuple[int, int]
"""Height and width in pixels."""

Halves = NDArray[np.float16]

WHOLE = slice(None)

TEMPERATURES = (0.01, 100.0)
"""What a temperature may be; beyond, every probability is 0, 1 or the same."""


class Probabilities:
    """Filled by `zoo.inference.segment.segment`: `values` (classes, H, W), float16, which sum to 1 at every pixel.

    temperature: what the logits are divided by. Raises ZooError for one that is not within TEMPERATURES.
    """

    def __init__(self, temperature: float = 1.0) -> None:
        if not TEMPERATURES[0] <= temperature <= TEMPERATURES[1]:
            least, most = TEMPERATURES
            raise ZooError(f"a temperature must be from {least:g} to {most:g}, but is {temperature:g}")
        self.temperature = temperature
        self.values: Halves = np.empty((0, 0, 0), np.float16)

    def reserve(self, classes: int, size: Size) -> None:
        """Make room for an image of `size`, unless there is. Raises ZooError where memory does not suffice."""
        if self.values.shape == (classes, *size):
            return
        needed, free = 2 * classes * size[0] * size[1], free_bytes()
        if needed > free:
            raise ZooError(
                f"probabilities of {classes} classes for {size[1]}x{size[0]} pixels need {needed / 1e9:.1f} GB of "
                f"memory and {free / 1e9:.1f} GB are free; segment smaller images, or leave --probabilities out"
            )
        self.values = np.empty((classes, *size), np.float16)

    def keep(
        self,
        logits: Tensor,
        size: Size,
        rows: slice = WHOLE,
        columns: slice = WHOLE,
        inside: tuple[slice, slice] = (WHOLE, WHOLE),
    ) -> None:
        """Take over logits (classes, h, w) of a piece of `size`: its part `inside` stands at `rows` and `columns`."""
        if not self.values.size:
            self.reserve(len(logits), size)  # of an image in one piece
        self.values[:, rows, columns] = softmax_of(logits, size, self.temperature)[:, inside[0], inside[1]]


def softmax_of(logits: Tensor, size: Size, temperature: float = 1.0) -> Halves:
    """Probabilities (classes, H, W) of logits (classes, h, w), resized bilinearly to `size` first: (height, width).

    >>> import torch
    >>> softmax_of(torch.tensor([[[0.0]], [[2.0]]]), (1, 1), temperature=2.0).ravel().tolist()
    [0.26904296875, 0.73095703125]
    """
    out: Halves = np.empty((len(logits), *size), np.float16)
    step = max(1, BAND_BYTES // (8 * len(logits) * size[1]))
    for start in range(0, size[0], step):
        stop = min(start + step, size[0])
        band = resized_rows(logits.float(), size, start, stop) / temperature
        out[:, start:stop] = band.softmax(0).half().cpu().numpy()
    return out


def save_probabilities(path: Path, probabilities: Probabilities, classes: tuple[str, ...]) -> None:
    """Write a compressed NumPy archive: `probabilities`, `classes` (names by channel), `temperature`, `zoo_version`.

    The last one says who wrote it, so that the next run may replace it.
    """
    names = np.array(classes[: len(probabilities.values)])
    arrays = {
        "probabilities": probabilities.values,
        "classes": names,
        "temperature": np.float64(probabilities.temperature),
    }
    arrays["zoo_version"] = np.array(version())
    with atomic(path) as partial, partial.open("wb") as file:
        np.savez_compressed(file, **arrays)
