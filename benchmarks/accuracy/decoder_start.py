"""Starts a decoder, on any trained encoder, from a decoder that is trained: the core copied, the seams fitted.

ESPNet's decoder squeezes everything through units of a few channels and takes hundreds of epochs from random weights. A
trained decoder's core (transposed convolutions, merging units, batch norms) does not depend on the encoder; only the
three convolutions that read the encoder's features do. These are fitted, by ridge regression over some training
images, to what the trained network's own convolutions answer at the same place.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from zoo.network import Network

SEAMS = ("encoder.classifier.conv", "level3_C.conv", "conv.conv")
"""Convolutions that read what an encoder makes, in the order of a pass."""

RIDGE = 1e-3
"""Penalty on the fitted weights, in variances of their inputs."""

ROWS = 200_000
"""Places of feature maps that a fit is made from, at most."""


def start_decoder(
    module: Network, trained: Network, images: Sequence[Tensor], targets: Sequence[Tensor], ridge: float = RIDGE
) -> list[str]:
    """Give `module`, whose encoder is trained, the decoder of `trained`; returns the names of what was copied.

    images, targets: the same pictures as inputs (1, 3, H, W) of the one and of the other, whose feature maps may be
    larger.
    """
    copied = _copy_core(module, trained)
    module.eval()
    trained.eval()
    for seam in SEAMS:
        _fit(module, trained, seam, images, targets, ridge)
    return copied


def _copy_core(module: Network, trained: Network) -> list[str]:
    """Copy what both have in one shape, but encoder and seams."""
    source, own, copied = trained.state_dict(), module.state_dict(), []
    outside = ("encoder.", *(f"{seam}." for seam in SEAMS))
    with torch.no_grad():
        for name, tensor in own.items():
            if not name.startswith(outside) and name in source and source[name].shape == tensor.shape:
                tensor.copy_(source[name])
                copied.append(name)
    return copied


@torch.no_grad()
def _fit(
    module: Network, trained: Network, seam: str, images: Sequence[Tensor], targets: Sequence[Tensor], ridge: float
) -> None:
    conv = module.get_submodule(seam)
    assert isinstance(conv, nn.Conv2d) and not isinstance(conv.padding, str)
    width = conv.weight[0].numel()
    gram, moments, rows = torch.zeros(width, width), torch.zeros(width, conv.out_channels), 0
    rows_per_image = max(1, ROWS // len(images))
    for image, target in zip(images, targets, strict=True):
        answer = _at(trained, seam, target)[1]
        features = _at(module, seam, image)[0]
        height, across = features.shape[-2:]
        target_map = functional.adaptive_avg_pool2d(answer, (height, across))
        x = functional.unfold(features, conv.kernel_size, padding=conv.padding)[0].T
        y = target_map[0].flatten(1).T
        step = max(1, len(x) // rows_per_image)
        gram += x[::step].T @ x[::step]
        moments += x[::step].T @ y[::step]
        rows += len(x[::step])
    penalty = ridge * gram.diagonal().mean() * torch.eye(width)
    conv.weight.copy_(torch.linalg.solve(gram + penalty, moments).T.reshape(conv.weight.shape))


def _at(module: Network, name: str, image: Tensor) -> tuple[Tensor, Tensor]:
    """What a convolution takes in and gives out."""
    caught: list[tuple[Tensor, Tensor]] = []
    hook = module.get_submodule(name).register_forward_hook(lambda _, x, y: caught.append((x[0], y)))
    try:
        module(image)
    finally:
        hook.remove()
    return caught[0]
