"""Scores of a network on a split: one pooled confusion matrix at the labels' own resolution."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from zoo.data.sets import DataSet, Pixels
from zoo.metrics import Matrix, Scores, confusion
from zoo.train.normalise import Normalise

Forward = Callable[[Tensor], Tensor]
Load = Callable[[int], tuple[Pixels, Pixels]]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Scores, the number of images, and the protocol under which they were made."""

    scores: Scores
    images: int
    protocol: dict[str, Any]


def predict(forward: Forward, normalise: Normalise, image: Pixels, size: tuple[int, int] | None = None) -> Tensor:
    """Logits (C, H, W) at the image's own size; the network sees it at `size`. Up-sampled bilinearly, half-pixel centres."""
    x = normalise(torch.from_numpy(image.copy())[None])
    if size is not None and x.shape[2:] != size:
        x = functional.interpolate(x, size=size, mode="bilinear", align_corners=False)
    logits = forward(x)
    if logits.shape[2:] != image.shape[:2]:
        logits = functional.interpolate(logits, size=image.shape[:2], mode="bilinear", align_corners=False)
    return logits[0]


def pooled(forward: Forward, normalise: Normalise, load: Load, count: int, classes: int) -> Matrix:
    """Confusion matrix over `count` samples, arg-max over the first `classes` outputs."""
    total = np.zeros((classes, classes), np.int64)
    with torch.inference_mode():
        for index in range(count):
            image, truth = load(index)
            labels: NDArray[Any] = predict(forward, normalise, image)[:classes].argmax(0).cpu().numpy()
            total += confusion(truth, labels, classes)
    return total
