"""Zero-cost proxies: what a network's weights at initialisation say of it, for a second and without training.

`python -m benchmarks.accuracy.proxies` scores every spec of the bench's design on generated scenes and writes
proxies.csv. Greater is meant to be better.
"""

import sys
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.accuracy.proxy_scores import PROXIES, read_proxies, write_proxies
from search.accuracy.bench.design import design
from search.trainable import trained_spec
from zoo.data.classes import CAMVID
from zoo.data.synthetic import Scenes
from zoo.network import Network
from zoo.specs import Spec
from zoo.train.loss import Loss
from zoo.train.normalise import Normalise
from zoo.train.start import SCRATCH, begin

SIZE, BATCH, SEEDS = (96, 128), 8, (0, 1, 2)
"""(height, width) of the scenes, how many, and the initialisations that a score is the mean of."""


def proxies(spec: Spec) -> dict[str, float]:
    """All proxies of a spec as it would be trained, by name."""
    by_seed = [{name: score(_network(spec, seed), *_batch()) for name, score in SCORES.items()} for seed in SEEDS]
    return {name: float(np.mean([scores[name] for scores in by_seed])) for name in SCORES}


def _network(spec: Spec, seed: int) -> Callable[[], Network]:
    return lambda: begin(trained_spec(spec), CAMVID, SIZE, seed).module


def _batch() -> tuple[Tensor, Tensor]:
    samples = [Scenes("train", SIZE).load(i) for i in range(BATCH)]
    images, labels = (torch.from_numpy(np.stack(part)) for part in zip(*samples, strict=True))
    return Normalise(SCRATCH)(images), labels.long()


def synflow(make: Callable[[], Network], images: Tensor, labels: Tensor) -> float:
    """Logarithm of the flow through all paths, with every parameter's sign dropped (arXiv:2006.05467, section 5)."""
    network = make().double().eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.abs_()
    network(torch.ones(1, *images.shape[1:], dtype=torch.float64)).sum().backward()
    return float(torch.log(_products(network)))


def grad_norm(make: Callable[[], Network], images: Tensor, labels: Tensor) -> float:
    """Logarithm of the norm of the loss' gradient (arXiv:2101.08134, section 3)."""
    network = _with_gradients(make, images, labels)
    return float(torch.log(sum(torch.sum(g**2) for g in _gradients(network)).sqrt()))  # type: ignore[union-attr]


def snip(make: Callable[[], Network], images: Tensor, labels: Tensor) -> float:
    """Logarithm of the sum of how much each weight matters to the loss (arXiv:1810.02340, section 4)."""
    return float(torch.log(_products(_with_gradients(make, images, labels))))


def naswot(make: Callable[[], Network], images: Tensor, labels: Tensor) -> float:
    """Log-determinant of how alike images switch the rectifiers (arXiv:2006.04647, version 3, section 3).

    A PReLU switches at 0 like a ReLU.
    """
    network = make().train()
    kernel = torch.zeros(len(images), len(images), dtype=torch.float64)

    def switches(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        on = (inputs[0].detach().flatten(1) > 0).double()
        kernel.add_(on @ on.T + (1 - on) @ (1 - on).T)

    for module in network.modules():
        if isinstance(module, (nn.ReLU, nn.PReLU)):
            module.register_forward_pre_hook(switches)
    with torch.no_grad():
        network(images)
    return float(torch.linalg.slogdet(kernel).logabsdet)


def jacobian(make: Callable[[], Network], images: Tensor, labels: Tensor) -> float:
    """How little the gradients of images by their own pixels correlate (arXiv:2006.04647, version 1, section 3)."""
    network = make().train()
    inputs = images.clone().requires_grad_()
    network(inputs).sum().backward()
    assert inputs.grad is not None
    values = torch.linalg.eigvalsh(torch.corrcoef(inputs.grad.flatten(1).double())) + 1e-5
    return -float((values.log() + 1 / values).sum())


SCORES: Mapping[str, Callable[[Callable[[], Network], Tensor, Tensor], float]] = {
    "synflow": synflow,
    "naswot": naswot,
    "jacobian": jacobian,
    "snip": snip,
    "grad_norm": grad_norm,
}


def _with_gradients(make: Callable[[], Network], images: Tensor, labels: Tensor) -> Network:
    network = make().train()
    Loss()(network(images), labels).backward()
    return network


def _gradients(network: Network) -> list[Tensor]:
    return [p.grad for p in network.parameters() if p.grad is not None]


def _products(network: Network) -> Tensor:
    total: Any = sum((p.grad * p.detach()).abs().sum() for p in network.parameters() if p.grad is not None)
    out: Tensor = total
    return out


def main() -> None:
    """Score what proxies.csv does not have yet."""
    torch.set_num_threads(1)
    scores = read_proxies()
    for spec in dict.fromkeys(entry.spec for entry in design()):
        if spec not in scores:
            scores[spec] = proxies(spec)
            print(f"{len(scores)}: {scores[spec]}", file=sys.stderr)
    assert tuple(SCORES) == PROXIES
    write_proxies(scores)


if __name__ == "__main__":
    main()
