"""Distillation: a trained network's answers as a second target (Hinton et al., arXiv:1503.02531)."""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from zoo.data.augment import Augmentation
from zoo.inference.preprocess import Preprocessing
from zoo.train.normalise import Normalise


class Teaches(Protocol):
    """What a run distils from."""

    def loss(self, logits: Tensor, images: Tensor, *stored: Tensor) -> Tensor:
        """The loss of a student's logits (N, C, h, w) on images (N, H, W, 3) uint8."""


class Teacher:
    """A trained network whose softened probabilities the student is to match.

    module: (N, 3, H, W) -> (N, outputs, h, w), of which the first `classes` are the student's classes.
    weight: factor of its loss. temperature: by which both networks' logits are divided.
    """

    def __init__(
        self,
        module: nn.Module,
        preprocessing: Preprocessing,
        classes: int,
        *,
        weight: float = 1.0,
        temperature: float = 2.0,
    ) -> None:
        self.module = module.eval()
        self.normalise = Normalise(preprocessing)
        self.classes = classes
        self.weight = weight
        self.temperature = temperature

    def loss(self, logits: Tensor, images: Tensor, *stored: Tensor) -> Tensor:
        """Kullback-Leibler divergence from the teacher, mean over pixels, at the student's resolution.

        logits: (N, C, h, w). images: (N, H, W, 3) uint8.
        """
        with torch.no_grad():
            target = self.module(self.normalise(images))[:, : self.classes].float()
        if target.shape[2:] != logits.shape[2:]:
            target = functional.interpolate(target, size=logits.shape[2:], mode="bilinear", align_corners=False)
        return self.weight * divergence(logits, target, self.temperature).mean()


def divergence(logits: Tensor, target: Tensor, temperature: float) -> Tensor:
    """Kullback-Leibler divergence of softened answers a pixel: (N, C, h, w) twice -> (N, h, w).

    The square of the temperature keeps the gradients' size independent of it.
    """
    log_p = functional.log_softmax(logits / temperature, 1)
    log_q = functional.log_softmax(target / temperature, 1)
    return (log_q.exp() * (log_q - log_p)).sum(1) * temperature**2


STRIDE = 4
"""Pixels of an image, each way, for which a stored teacher has one answer."""


@dataclass(frozen=True, slots=True)
class StoredTeacher:
    """A teacher whose answers to the whole training images were computed once, in the order of the split.

    The augmentation moves them as it moves the labels (a fixed label map: Yun et al., arXiv:2101.05022), so that a
    step costs no pass of the teacher, and a student at a lower size learns from what the teacher sees at its own.

    maps: (N, C, ceil(H / 4), ceil(W / 4)) logits. augment: the run's own.
    """

    maps: NDArray[np.float16]
    augment: Augmentation
    weight: float = 1.0
    temperature: float = 2.0

    def targets(
        self, index: int, shape: tuple[int, int], size: tuple[int, int], rng: np.random.Generator
    ) -> NDArray[np.float16]:
        """The answers under a sample's window, (C, ceil(h / 4), ceil(w / 4)); NaN where that leaves the image."""
        place = self.augment.placement(shape, size, rng)
        rows = _under(size[0], place.top, shape[0] / place.height, shape[0])
        columns = _under(size[1], place.left, shape[1] / place.width, shape[1])
        if place.mirrored:
            columns = columns[::-1]
        window = _interpolated(_interpolated(self.maps[index].astype(np.float32), rows, 1), columns, 2)
        window[:, np.isnan(rows)] = np.nan
        window[:, :, np.isnan(columns)] = np.nan
        return window.astype(np.float16)

    def loss(self, logits: Tensor, images: Tensor, *stored: Tensor) -> Tensor:
        """Mean divergence over the places that the teacher has seen."""
        target = stored[0].float()
        if logits.shape[2:] != target.shape[2:]:
            logits = functional.interpolate(logits, size=target.shape[2:], mode="bilinear", align_corners=False)
        inside = ~target[:, 0].isnan()
        per_pixel = divergence(logits, target.nan_to_num(), self.temperature)
        return self.weight * (per_pixel * inside).sum() / inside.sum().clamp(min=1)


def _under(length: int, start: int, scale: float, side: int) -> NDArray[np.float64]:
    """Places of a window's answers along one axis, in answers of the whole image; NaN beyond its `side` pixels.

    >>> _under(8, 0, 1.0, 8)
    array([0., 1.])
    """
    pixels = (start + STRIDE * (np.arange(-(-length // STRIDE)) + 0.5)) * scale
    return np.where((pixels >= 0) & (pixels <= side), pixels / STRIDE - 0.5, np.nan)


def _interpolated(array: NDArray[np.float32], places: NDArray[np.float64], axis: int) -> NDArray[np.float32]:
    """Linear interpolation along one axis, clamped at its ends."""
    last = array.shape[axis] - 1
    at = np.nan_to_num(places).clip(0, last)
    low = np.floor(at).astype(int)
    share = (at - low).astype(np.float32).reshape([-1 if i == axis else 1 for i in range(array.ndim)])
    out: NDArray[np.float32] = array.take(low, axis) * (1 - share) + array.take(np.minimum(low + 1, last), axis) * share
    return out


def stored_answers(teacher: nn.Module, preprocessing: Preprocessing, images: Any, classes: int) -> NDArray[np.float16]:
    """What a network answers to `images` (H, W, 3) uint8 at their own size: maps of a `StoredTeacher`."""
    normalise, maps = Normalise(preprocessing), []
    with torch.inference_mode():
        for image in images:
            logits = teacher.eval()(normalise(torch.from_numpy(image)[None]))[:, :classes].float()
            logits = functional.interpolate(logits, size=image.shape[:2], mode="bilinear", align_corners=False)
            pooled = functional.avg_pool2d(logits, STRIDE, ceil_mode=True)[0]
            maps.append(pooled.numpy().astype(np.float16))
    return np.stack(maps)
