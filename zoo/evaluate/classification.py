"""Scores of a classifier: how often the truth is its first answer, and how often it is among its first five."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from zoo.data.class_folders import Folders
from zoo.data.classes import LabelSet
from zoo.data.crops import centre
from zoo.data.split import Pixels
from zoo.errors import ZooError
from zoo.inference.preprocess import network_input

AT_ONCE = 32
"""Images that the network sees at a time."""

FIRST = 5
"""Answers among which the second score looks for the truth."""

CROP = "the middle 7/8 of the shorter side, resized bilinearly with antialiasing"
"""What the network sees of an image."""

Load = Callable[[int], tuple[Pixels, NDArray[Any]]]


@dataclass(frozen=True, slots=True)
class Ranking:
    """Images whose truth is the first answer, those whose truth is among the first five, and all."""

    first: int
    among_five: int
    images: int

    @property
    def top1(self) -> float:
        """Percent."""
        return 100.0 * self.first / self.images

    @property
    def top5(self) -> float:
        """Percent; 100 where there are no more than five classes."""
        return 100.0 * self.among_five / self.images


def ranking(
    logits: Callable[[Tensor], Tensor], load: Load, indices: Iterable[int], size: tuple[int, int]
) -> NDArray[np.int64]:
    """Fields of a `Ranking` over samples, as an array that can be summed.

    logits: (N, h, w, 3) uint8, of `size` = (h, w) -> (N, classes, 1, 1). load: image and class index of a sample.
    """
    total = np.zeros(3, np.int64)
    with torch.inference_mode():
        for images, truth in _batches(load, indices, size):
            answers = logits(images).flatten(1).cpu()
            right = answers.topk(min(FIRST, answers.shape[1])).indices == truth[:, None]
            total += [int(right[:, 0].sum()), int(right.sum()), len(truth)]
    return total


def evaluate_classes(
    module: Any, labels: LabelSet, data: Folders, size: tuple[int, int] | None = None
) -> dict[str, Any]:
    """Plain values for JSON: top1 and top5 in percent, images, and the protocol.

    module: a network with weights and `module.preprocessing`, in evaluation mode; labels: its classes.
    Raises ZooError where these are not the data's, and where the network gives maps.
    """
    if labels.classes != data.labels.classes:
        raise ZooError(
            f"the network's classes are {labels.name}'s and the data's {data.labels.name}'s, and they differ; "
            "give the data that it was trained on, or train it on these with --init"
        )
    out = module.graph.output_shapes[0]
    if (out.height, out.width) != (1, 1):
        raise ZooError(f"the network gives a map of {out.height}x{out.width}, and {data.name} a class an image")
    side = size or module.preprocessing.size

    def logits(images: Tensor) -> Tensor:
        inputs = [network_input(image.numpy(), module.preprocessing, side) for image in images]
        answers: Tensor = module(torch.cat(inputs))
        return answers

    scores = Ranking(*map(int, ranking(logits, data.load, range(len(data)), side)))
    protocol = {"dataset": data.name, "split": data.split, "crop": CROP, "input_size": f"{side[1]}x{side[0]}"}
    return {"top1": scores.top1, "top5": scores.top5, "images": scores.images, "protocol": protocol}


def _batches(load: Load, indices: Iterable[int], size: tuple[int, int]) -> Iterator[tuple[Tensor, Tensor]]:
    left = iter(indices)
    while part := list(islice(left, AT_ONCE)):
        images, truth = zip(
            *((centre(image, size), int(label.item())) for image, label in map(load, part)), strict=True
        )
        yield torch.from_numpy(np.stack(images)), torch.tensor(truth)
