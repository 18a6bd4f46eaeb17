"""The loss: weighted cross-entropy and, beside it, a soft Jaccard index, which is what the score measures."""

from collections.abc import Callable
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from zoo.evaluate.metrics import VOID


def class_weights(pixels: NDArray[np.int64]) -> NDArray[np.float32]:
    """Weights 1 / ln(1.10 + frequency) from pixel counts (arXiv:1803.06815, section 4.1).

    A class that never occurs has frequency 0 and so the largest weight, which no pixel uses.

    >>> [round(float(w), 3) for w in class_weights(np.array([3, 1]))]
    [1.626, 3.332]
    """
    frequency = pixels / max(1, int(pixels.sum()))
    return (1.0 / np.log(1.10 + frequency)).astype(np.float32)


class Loss(nn.Module):
    """Logits (N, C, h, w) and labels (N, H, W), `void` being ignored, to a scalar; 0 where all is void.

    With `at` "image" the logits are up-sampled bilinearly to the labels, with "network" the labels are
    sub-sampled by nearest neighbour to the logits.
    """

    weights: Tensor | None

    def __init__(
        self,
        weights: Tensor | None = None,
        *,
        jaccard: float = 0.0,
        at: Literal["image", "network"] = "image",
        void: int = VOID,
    ) -> None:
        super().__init__()
        self.register_buffer("weights", weights)
        self.jaccard = jaccard
        self.at = at
        self.void = void

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        if not (labels != self.void).any():
            return logits.float().sum() * 0.0  # nothing to learn from, and no gradient; a mean would be 0 / 0
        return self.of_labelled(logits, labels)

    def of_labelled(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The loss where at least one pixel has a label."""
        logits, labels = self.aligned(logits, labels)
        labelled = labels != self.void
        if self.at == "network" and not labelled.any():  # none is left of them at the network's size
            return logits.sum() * 0.0
        log_p = functional.log_softmax(logits, 1)
        loss = functional.nll_loss(log_p, labels, self.weights, ignore_index=self.void)
        return loss + self.jaccard * jaccard_loss(log_p, labels) if self.jaccard else loss

    def aligned(self, logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Logits, in float32, and labels of one size."""
        logits = logits.float().contiguous()  # in NHWC the loss takes twice as long
        if logits.shape[2:] != labels.shape[1:]:
            if self.at == "image":
                logits = functional.interpolate(logits, size=labels.shape[1:], mode="bilinear", align_corners=False)
            else:
                labels = functional.interpolate(labels[:, None].float(), size=logits.shape[2:])[:, 0].long()
        return logits, labels

    def compiled(self) -> Callable[[Tensor, Tensor], Tensor]:
        """The same, compiled but for resizing, of which torch 2.13 makes slower code on a CPU than its own."""
        whole = torch.compile(self.of_labelled)

        def loss(logits: Tensor, labels: Tensor) -> Tensor:
            if logits.shape[2:] != labels.shape[1:]:
                logits, labels = self.aligned(logits, labels)
            if not (labels != self.void).any():
                return logits.float().sum() * 0.0
            value: Tensor = whole(logits, labels)
            return value

        return loss


def jaccard_loss(log_p: Tensor, labels: Tensor) -> Tensor:
    """1 - mean soft IOU over the classes that occur in the batch; (N, C, H, W) log-probabilities.

    The intersection of a class is the sum of its probability over its own pixels (Rahman & Wang, 2016).
    """
    classes = log_p.shape[1]
    labelled = labels != VOID
    index = torch.where(labelled, labels, 0)
    p = log_p.exp() * labelled[:, None]
    own = p.gather(1, index[:, None])[:, 0]
    intersection = own.new_zeros(classes).scatter_add(0, index.flatten(), own.flatten())
    truth = own.new_zeros(classes).scatter_add(0, index.flatten(), labelled.flatten().to(own.dtype))
    union = p.sum((0, 2, 3)) + truth - intersection
    present = truth > 0
    iou = torch.where(present, intersection / union.clamp(min=1.0), 0.0)
    return 1 - iou.sum() / present.sum().clamp(min=1)
