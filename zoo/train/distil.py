"""Distillation: a trained network's answers as a second target (Hinton et al., arXiv:1503.02531)."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from zoo.preprocess import Preprocessing
from zoo.train.normalise import Normalise


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

    def loss(self, logits: Tensor, images: Tensor) -> Tensor:
        """Kullback-Leibler divergence from the teacher, mean over pixels, at the student's resolution.

        logits: (N, C, h, w). images: (N, H, W, 3) uint8.
        """
        with torch.no_grad():
            target = self.module(self.normalise(images))[:, : self.classes].float()
        if target.shape[2:] != logits.shape[2:]:
            target = functional.interpolate(target, size=logits.shape[2:], mode="bilinear", align_corners=False)
        log_p = functional.log_softmax(logits / self.temperature, 1)
        log_q = functional.log_softmax(target / self.temperature, 1)
        divergence = (log_q.exp() * (log_q - log_p)).sum(1).mean()
        # The square keeps the gradients' size independent of the temperature.
        return self.weight * self.temperature**2 * divergence
