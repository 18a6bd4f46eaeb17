"""Segmentation scores from one pooled confusion matrix.

The matrix is summed over the whole split before anything is divided: averaging per image or per batch
gives another figure. Rows are the truth, columns the prediction, entries pixels.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zoo.errors import ZooError

VOID = 255
"""Label of pixels that belong to no class; they are left out of every score."""

Labels = NDArray[Any]
Matrix = NDArray[np.int64]


def confusion(truth: Labels, predicted: Labels, classes: int) -> Matrix:
    """Confusion matrix (classes, classes) of two label arrays of one shape; pixels whose truth is VOID are left out.

    Raises ZooError for other shapes and for labels that are no class.

    >>> confusion(np.array([0, 1, 255]), np.array([0, 0, 1]), 2).tolist()
    [[1, 0], [1, 0]]
    """
    if truth.shape != predicted.shape:
        raise ZooError(f"truth is {truth.shape} and prediction {predicted.shape}; both must have one shape")
    labelled = truth != VOID
    truth, predicted = truth[labelled].astype(np.int64), predicted[labelled].astype(np.int64)
    for name, values in (("truth", truth), ("prediction", predicted)):
        if values.size and not 0 <= values.min() <= values.max() < classes:
            worst = values.max() if values.max() >= classes else values.min()
            raise ZooError(f"{name} holds the label {worst}; it must be from 0 to {classes - 1}, or {VOID} for void")
    return np.bincount(truth * classes + predicted, minlength=classes**2).reshape(classes, classes)


@dataclass(frozen=True)
class Scores:
    """Scores, in percent, of a confusion matrix; a class without a pixel has none and leaves the means alone.

    `counted` keeps the means to the first classes, where others (such as void) only take part in the unions.
    """

    matrix: Matrix
    counted: int | None = None

    @cached_property
    def per_class_iou(self) -> tuple[float | None, ...]:
        """Intersection over union: TP / (TP + FP + FN)."""
        right = np.diag(self.matrix)
        return _percent(right, self.matrix.sum(0) + self.matrix.sum(1) - right)[: self.counted]

    @cached_property
    def per_class_recall(self) -> tuple[float | None, ...]:
        """Share of a class's pixels that were found: TP / (TP + FN)."""
        return _percent(np.diag(self.matrix), self.matrix.sum(1))[: self.counted]

    @property
    def miou(self) -> float:
        """Mean of the IOUs."""
        return _mean(self.per_class_iou)

    @property
    def class_average(self) -> float:
        """Mean of the recalls, which the CamVid literature calls class average."""
        return _mean(self.per_class_recall)

    @property
    def pixel_accuracy(self) -> float:
        """Share of the pixels that are right."""
        return 100.0 * float(np.trace(self.matrix)) / max(1, int(self.matrix.sum()))


def _percent(part: Matrix, whole: Matrix) -> tuple[float | None, ...]:
    return tuple(100.0 * float(p) / float(w) if w else None for p, w in zip(part, whole, strict=True))


def _mean(values: Sequence[float | None]) -> float:
    defined = [value for value in values if value is not None]
    if not defined:
        raise ZooError("no pixel has a label, so that there is nothing to score; check the label maps and the mapping")
    return sum(defined) / len(defined)


def merged(matrix: Matrix, groups: Sequence[int | None]) -> Matrix:
    """The matrix of coarser classes: `groups[i]` is the group of class i, None leaves its true pixels out.

    >>> merged(np.array([[3, 1, 0], [0, 2, 0], [0, 1, 5]]), [0, 0, 1]).tolist()
    [[6, 0], [1, 5]]
    """
    count = max((g for g in groups if g is not None), default=-1) + 1
    onto = np.zeros((len(groups), count), np.int64)
    for i, group in enumerate(groups):
        if group is not None:
            onto[i, group] = 1
    merged_matrix: Matrix = onto.T @ matrix @ onto
    return merged_matrix


def near_boundary(truth: Labels, distance: int) -> NDArray[np.bool_]:
    """Where a pixel of another class lies within `distance` rows and columns: the band of a trimap.

    Edges of the image and void pixels count as no boundary.
    """
    change = np.zeros(truth.shape, bool)
    for axis in (0, 1):
        first = np.take(truth, range(truth.shape[axis] - 1), axis)
        second = np.take(truth, range(1, truth.shape[axis]), axis)
        differs = (first != second) & (first != VOID) & (second != VOID)
        pad = [(0, 0), (0, 0)]
        pad[axis] = (0, 1)
        change |= np.pad(differs, pad)
        pad[axis] = (1, 0)
        change |= np.pad(differs, pad)
    reach = distance - 1
    for axis in (0, 1):
        change = _dilate(change, reach, axis)
    return change


def _dilate(mask: NDArray[np.bool_], reach: int, axis: int) -> NDArray[np.bool_]:
    pad = [(0, 0), (0, 0)]
    pad[axis] = (reach + 1, reach)
    total = np.cumsum(np.pad(mask, pad), axis=axis, dtype=np.int32)
    size = mask.shape[axis]
    last = np.take(total, range(2 * reach + 1, 2 * reach + 1 + size), axis)
    spread: NDArray[np.bool_] = last > np.take(total, range(size), axis)
    return spread
