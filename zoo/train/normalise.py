"""uint8 images to what a network expects, as a batch on the network's device."""

import torch
from torch import Tensor, nn

from zoo.inference.preprocess import Preprocessing


class Normalise(nn.Module):
    """(N, H, W, 3) uint8 in RGB -> (N, 3, H, W) float32, as a `Preprocessing` says, but for the size."""

    mean: Tensor
    std: Tensor

    def __init__(self, preprocessing: Preprocessing) -> None:
        super().__init__()
        self.flip = preprocessing.channels == "BGR"
        # ((x * maximum / 255) - mean) / std / divisor, in one subtraction and one division.
        unit = 255.0 / preprocessing.maximum
        self.register_buffer("mean", torch.tensor(preprocessing.mean)[:, None, None] * unit)
        self.register_buffer("std", torch.tensor(preprocessing.std)[:, None, None] * (unit * preprocessing.divisor))

    def forward(self, images: Tensor) -> Tensor:
        x = images.permute(0, 3, 1, 2).float()
        return ((x.flip(1) if self.flip else x) - self.mean) / self.std
