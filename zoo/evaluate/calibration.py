"""How far the probabilities of classes can be believed: expected calibration error, and a temperature that mends it.

Source: Guo, Pleiss, Sun, Weinberger, On Calibration of Modern Neural Networks, ICML 2017 (arXiv:1706.04599), equation
3 (bins of equal width) and section 4.2 (temperature scaling).
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import interpolate

from zoo.evaluate.metrics import VOID
from zoo.evaluate.metrics import Labels as Pixels

BINS = 15
"""Of confidence, equally wide, as in the paper."""

TEMPERATURES = tuple(2.0 ** (step / 8) for step in range(-8, 25))
"""What is tried: 1/2 to 8, each 9 % above the one before."""

STRIDE = 4
"""Of each image one pixel in STRIDE x STRIDE is taken, on a regular grid; neighbours tell the same."""

FIT, HELD_OUT = 0, 1
"""Images with an even index fit the temperature, those with an odd one say what it is worth."""

NONE = TEMPERATURES.index(1.0)


@dataclass(frozen=True, slots=True)
class Bins:
    """Of pixels by confidence: how many, the sum of their confidences, and how many are right, each (BINS,)."""

    count: NDArray[np.float64]
    confidence: NDArray[np.float64]
    right: NDArray[np.float64]

    @property
    def error(self) -> float:
        """Expected calibration error in percent: the gap of confidence and accuracy, weighed by pixels."""
        return 100 * float(np.abs(self.confidence - self.right).sum() / max(self.count.sum(), 1.0))


@dataclass
class Calibration:
    """Pixels seen so far, by half of the images and temperature: (2, temperatures, 3, BINS), and sums of -log p."""

    bins: NDArray[np.float64] = field(default_factory=lambda: np.zeros((2, len(TEMPERATURES), 3, BINS)))
    loss: NDArray[np.float64] = field(default_factory=lambda: np.zeros((2, len(TEMPERATURES))))

    def see(self, index: int, logits: Tensor, truth: Pixels) -> None:
        """Take an image into account: logits (classes, h, w), truth (H, W) with void pixels, which are left out."""
        height, width = truth.shape
        full = interpolate(logits[None].float(), (height, width), mode="bilinear", align_corners=False)[0]
        sparse, labels = full[:, ::STRIDE, ::STRIDE], np.ascontiguousarray(truth[::STRIDE, ::STRIDE])
        labelled = labels != VOID
        values = sparse[:, torch.from_numpy(labelled).to(sparse.device)].double()
        target = torch.from_numpy(labels[labelled].astype(np.int64)).to(values.device)
        if not len(target):
            return
        right = (values.argmax(dim=0) == target).cpu().numpy()
        for t, temperature in enumerate(TEMPERATURES):
            log_p = (values / temperature).log_softmax(dim=0)
            self.loss[index % 2, t] -= float(log_p.gather(0, target[None]).sum())
            self._add(index % 2, t, log_p.amax(dim=0).exp().cpu().numpy(), right)

    def _add(self, half: int, t: int, confidence: NDArray[np.float64], right: NDArray[np.bool_]) -> None:
        place = np.clip(np.ceil(confidence * BINS).astype(np.int64) - 1, 0, BINS - 1)
        for row, weights in enumerate((np.ones_like(confidence), confidence, right.astype(np.float64))):
            self.bins[half, t, row] += np.bincount(place, weights, BINS)

    def document(self) -> dict[str, Any] | None:
        """Plain values for JSON; None where no half has pixels. With one image alone nothing is held out."""
        pixels = self.bins[:, NONE, 0].sum(axis=1)
        if not pixels.sum():
            return None
        fit = FIT if pixels[FIT] else HELD_OUT
        best = int(self.loss[fit].argmin())
        held_out = self.bins[HELD_OUT] if pixels[FIT] and pixels[HELD_OUT] else None
        return {
            "error": Bins(*self.bins[:, NONE].sum(axis=0)).error,
            "temperature": TEMPERATURES[best],
            "held_out": None
            if held_out is None
            else {"error": Bins(*held_out[NONE]).error, "error_with_temperature": Bins(*held_out[best]).error},
            "pixels": int(pixels.sum()),
            "bins": BINS,
        }
