"""From a detector's maps to boxes: anchors, decoding, non-maximum suppression.

The single-shot detector of Liu et al., ECCV 2016, arXiv:1512.02325, with the anchors and variances of
sacmehta/EdgeNets. Everything is numpy, so that the maps may come from torch or from an exported network.
Boxes are left, top, right, bottom; positions and sizes are fractions of the image unless said otherwise.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from zoo.errors import ZooError
from zoo.graph import Pair

Floats = NDArray[np.floating]
Ints = NDArray[np.int64]

RATIOS = (2.0, 3.0)
"""Aspect ratios of the anchors, each of which also appears upright."""

SMALLEST, LARGEST = 0.1, 1.05
"""Sides of the square anchors, as fractions of the image's shorter side, before the first and after the last map."""

CENTRE_VARIANCE, SIZE_VARIANCE = 0.1, 0.2
"""Scales of the box offsets."""


@dataclass(frozen=True, slots=True, eq=False)
class Detections:
    """Objects in one image, best first.

    boxes: (n, 4), left, top, right, bottom as fractions of the image; classes: (n,), from 1, as 0 is the
    background; scores: (n,), probabilities.
    """

    boxes: Floats
    classes: Ints
    scores: Floats


def sides(levels: int, shorter: int) -> list[int]:
    """Sides in pixels of the square anchors: `levels` + 1 whole numbers, evenly spread.

    >>> sides(6, 300)
    [30, 77, 125, 172, 220, 267, 315]
    """
    first, last = math.ceil(round(SMALLEST * shorter, 6)), math.ceil(round(LARGEST * shorter, 6))
    return [int(first + (last - first) * i / levels) for i in range(levels + 1)]


def anchors(maps: Sequence[Pair], size: Pair) -> Floats:
    """Anchors of all maps: (n, 4), centre x, centre y, width, height (section 2.2 of the SSD paper).

    `maps` are (height, width) of the maps, finest first; `size` is (height, width) of the image in
    pixels. The order is that of the maps' channels: map, row, column, shape. The six shapes are a square,
    one of the geometric mean of this map's side and the next one's, and the first at each of `RATIOS`,
    wide and upright. Anchors larger than the image are cut to its size.
    """
    edges = sides(len(maps), min(size))
    parts = []
    for (rows, columns), side, following in zip(maps, edges[:-1], edges[1:], strict=True):
        shapes = [(side, side), (math.sqrt(side * following),) * 2]
        for ratio in map(math.sqrt, RATIOS):
            shapes += [(side * ratio, side / ratio), (side / ratio, side * ratio)]
        extent = np.array(shapes) / (size[1], size[0])
        y, x = np.meshgrid((np.arange(rows) + 0.5) / rows, (np.arange(columns) + 0.5) / columns, indexing="ij")
        centres = np.stack((x, y), axis=-1)[:, :, None, :]
        boxes = np.broadcast_arrays(centres, extent)
        parts.append(np.concatenate(boxes, axis=-1).reshape(-1, 4))
    return np.asarray(np.concatenate(parts).clip(0.0, 1.0))


def boxes_from(offsets: Floats, around: Floats) -> Floats:
    """Boxes that `offsets` (…, 4) make of anchors (…, 4), as left, top, right, bottom."""
    centre = around[..., :2] + CENTRE_VARIANCE * offsets[..., :2] * around[..., 2:]
    half = around[..., 2:] * np.exp(SIZE_VARIANCE * offsets[..., 2:]) / 2
    return np.concatenate((centre - half, centre + half), axis=-1)


def offsets_to(boxes: Floats, around: Floats) -> Floats:
    """Offsets that make `boxes` (…, 4) of anchors (…, 4): the inverse of `boxes_from`, for training."""
    centre, extent = (boxes[..., :2] + boxes[..., 2:]) / 2, boxes[..., 2:] - boxes[..., :2]
    move = (centre - around[..., :2]) / around[..., 2:] / CENTRE_VARIANCE
    return np.concatenate((move, np.log(extent / around[..., 2:]) / SIZE_VARIANCE), axis=-1)


def overlap(box: Floats, boxes: Floats) -> Floats:
    """Intersection over union of one box (4,) with each of (n, 4); 0 where both are empty."""
    low, high = np.maximum(box[:2], boxes[:, :2]), np.minimum(box[2:], boxes[:, 2:])
    shared = np.prod(np.clip(high - low, 0.0, None), axis=1)
    union = np.prod(box[2:] - box[:2]) + np.prod(boxes[:, 2:] - boxes[:, :2], axis=1) - shared
    return np.asarray(np.divide(shared, union, out=np.zeros_like(shared), where=union > 0))


def suppress(boxes: Floats, scores: Floats, max_overlap: float = 0.45, limit: int = 200) -> Ints:
    """Greedy non-maximum suppression: indices of the boxes kept, best first.

    The best box is kept, those that overlap it by more than `max_overlap` are dropped, and so on, until
    `limit` are kept. Equal scores keep their order.
    """
    waiting = np.argsort(-scores, kind="stable")
    chosen: list[int] = []
    while len(waiting) and len(chosen) < limit:
        best, waiting = waiting[0], waiting[1:]
        chosen.append(int(best))
        waiting = waiting[overlap(boxes[best], boxes[waiting]) <= max_overlap]
    return np.array(chosen, dtype=np.int64)


def softmax(scores: Floats) -> Floats:
    """Probabilities along the last axis."""
    powers = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True))


def flatten(maps: Sequence[Floats], values: int) -> Floats:
    """Maps (N, shapes * values, H, W) as one array (N, anchors, values), in the anchors' order."""
    return np.concatenate([x.transpose(0, 2, 3, 1).reshape(len(x), -1, values) for x in maps], axis=1)


def decode(
    outputs: Sequence[Floats],
    size: Pair,
    *,
    min_score: float = 0.01,
    max_overlap: float = 0.45,
    limit: int = 200,
) -> list[Detections]:
    """Objects in each image of a batch.

    `outputs` is what the network returns: class scores of all maps, then box offsets of all maps, each
    (N, channels, H, W); `size` is (height, width) of the input in pixels. For each class but the
    background, the boxes whose probability is at least `min_score` go through `suppress`; the best
    `limit` over all classes are returned. Raises ZooError where the maps do not belong together.
    """
    levels = len(outputs) // 2
    scored, located = [np.asarray(x) for x in outputs[:levels]], [np.asarray(x) for x in outputs[levels:]]
    shapes = 2 + 2 * len(RATIOS)
    classes = scored[0].shape[1] // shapes if levels else 0
    for scores, offsets in zip(scored, located, strict=False):
        fits = (len(scores), shapes * 4, *scores.shape[2:]) == offsets.shape and scores.shape[1] == shapes * classes
        if not fits:
            raise ZooError(
                f"detection maps must be class scores (N, {shapes} x classes, H, W) and box offsets "
                f"(N, {shapes * 4}, H, W), but are {scores.shape} and {offsets.shape}; pass all outputs of the network"
            )
    if not levels or len(outputs) % 2 or classes < 2:
        raise ZooError(f"{len(outputs)} detection maps of {classes} classes are no detector's; pass all outputs")
    boxes = boxes_from(flatten(located, 4), anchors([x.shape[2:] for x in scored], size))
    scores = softmax(flatten(scored, classes))
    return [_detect(*image, min_score, max_overlap, limit) for image in zip(boxes, scores, strict=True)]


def _detect(boxes: Floats, scores: Floats, min_score: float, max_overlap: float, limit: int) -> Detections:
    box_indices, labels = [], []
    for label in range(1, scores.shape[1]):
        above = np.flatnonzero(scores[:, label] >= min_score)
        chosen = above[suppress(boxes[above], scores[above, label], max_overlap, limit)]
        box_indices.append(chosen)
        labels.append(np.full(len(chosen), label, dtype=np.int64))
    index, classes = np.concatenate(box_indices), np.concatenate(labels)
    best = np.argsort(-scores[index, classes], kind="stable")[:limit]
    index, classes = index[best], classes[best]
    return Detections(np.clip(boxes[index], 0.0, 1.0), classes, scores[index, classes])
