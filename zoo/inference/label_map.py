"""From logits to classes at the size of an image, without resizing all of them."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from zoo.errors import ZooError
from zoo.inference.preprocess import resized_rows

Size = tuple[int, int]
"""Height and width in pixels."""

BAND_BYTES = 2**26
"""Labels are found in bands of rows that take about this much memory, whatever the size of the label map."""

INDEX_BYTES = 16
"""Memory for each pixel of a band in which places are compared and indexed."""

SPARSE = 0.5
"""Share of mixed pixels in a band up to which interpolating only those is faster than interpolating all."""


def labels_of(logits: Tensor, size: Size) -> NDArray[np.uint8]:
    """Index of the largest of logits (classes, h, w), resized bilinearly to `size` first: (height, width).

    Where the four logits that a pixel lies between agree on the largest, so does what is interpolated
    between them: only the other pixels, along the borders of classes, are interpolated. Raises ZooError where a
    largest one is not finite, or one is no number.
    """
    # torch's max is several times as fast as its argmax along the first axis, and hands on what is no number.
    largest = logits.max(0)
    # The ends of the largest say the same of all of them, in a sixth of the time; both hand on what is no number.
    if not torch.stack(largest.values.aminmax()).isfinite().all():
        raise ZooError("the network's output is not finite; its weights do not suit this input")
    coarse = largest.indices.to(torch.uint8)
    if tuple(logits.shape[1:]) == size:
        return _out(coarse)
    rows, columns = (_Axis.resized(logits.shape[i + 1], size[i], logits.device) for i in (0, 1))
    mixed = _mixed(coarse)
    step = max(1, BAND_BYTES // (INDEX_BYTES * size[1]))
    bands = []
    for start in range(0, size[0], step):
        band = rows.part(start, start + step)
        places = band.nearest(mixed, columns).nonzero()[:, 0]
        if len(places) > SPARSE * len(band.before) * size[1]:
            bands.append(_densely(logits, size, start, min(start + step, size[0])))
            continue
        labels = band.nearest(coarse, columns)
        for chunk in torch.split(places, max(1, BAND_BYTES // (INDEX_BYTES * len(logits)))):
            labels[chunk] = _interpolated(logits, band, columns, chunk)
        bands.append(labels.reshape(-1, size[1]))
    return _out(torch.cat(bands))


class _Axis:
    """For each place of a resized axis: its neighbours before and after it, and its share of the latter."""

    def __init__(self, before: Tensor, after: Tensor, share: Tensor) -> None:
        self.before, self.after, self.share = before, after, share

    @classmethod
    def resized(cls, length: int, to: int, device: torch.device) -> "_Axis":
        place = (torch.arange(to, dtype=torch.float64) + 0.5) * (length / to) - 0.5
        place = place.clamp(0, length - 1).to(device)
        before = place.floor().long()
        return cls(before, (before + 1).clamp(max=length - 1), (place - before).float())

    def part(self, start: int, stop: int) -> "_Axis":
        return _Axis(self.before[start:stop], self.after[start:stop], self.share[start:stop])

    def nearest(self, values: Tensor, columns: "_Axis") -> Tensor:
        """For every resized pixel, the value above it and to its left, in one line."""
        return values.index_select(1, columns.before).index_select(0, self.before).flatten()


def _mixed(labels: Tensor) -> Tensor:
    """Whether a place and its neighbours below, to the right and between the two differ."""
    below = torch.cat((labels[1:], labels[-1:]))
    differs = labels != below
    differs[:, :-1] |= (labels[:, :-1] != labels[:, 1:]) | (labels[:, :-1] != below[:, 1:])
    return differs


def _interpolated(logits: Tensor, rows: _Axis, columns: _Axis, places: Tensor) -> Tensor:
    """Labels at some places, counted along the rows of the resized map."""
    row, column = places // len(columns.before), places % len(columns.before)
    flat, width = logits.reshape(len(logits), -1), logits.shape[2]
    above, below, down = rows.before[row] * width, rows.after[row] * width, rows.share[row]
    first, second = (
        torch.lerp(flat.index_select(1, above + side), flat.index_select(1, below + side), down)
        for side in (columns.before[column], columns.after[column])
    )
    return torch.lerp(first, second, columns.share[column]).max(0).indices.to(torch.uint8)


def _densely(logits: Tensor, size: Size, start: int, stop: int) -> Tensor:
    """Labels of rows `start` to `stop`, every pixel interpolated."""
    rows = max(1, BAND_BYTES // (4 * len(logits) * size[1]))
    bands = [
        resized_rows(logits, size, first, min(first + rows, stop)).max(0).indices.to(torch.uint8)
        for first in range(start, stop, rows)
    ]
    return torch.cat(bands)


def _out(labels: Tensor) -> NDArray[np.uint8]:
    array: NDArray[np.uint8] = labels.cpu().numpy()
    return array
