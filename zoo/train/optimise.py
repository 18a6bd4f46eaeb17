"""Optimiser step and weight averaging."""

from typing import Any

import torch
from torch import nn

from zoo.errors import ZooError
from zoo.train.recipe import Recipe
from zoo.train.transfer import ENCODER

MOMENTUM = 0.9
"""Of SGD."""

FACTOR = "lr_factor"
"""Key of a group's factor on the learning rate."""


def optimizer_of(module: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """Adam, SGD with Nesterov's momentum, or AdamW, which decays kernels only, not the scales, shifts and slopes."""
    groups = [group for part in _parts(module, recipe) for group in _decayed(*part, recipe)]
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(groups, recipe.lr, momentum=MOMENTUM, nesterov=True)
    return (torch.optim.Adam if recipe.optimizer == "adam" else torch.optim.AdamW)(groups, recipe.lr)


def _parts(module: nn.Module, recipe: Recipe) -> list[tuple[list[nn.Parameter], float]]:
    """Parameters with their factor on the learning rate: the encoder's and the others'."""
    if recipe.encoder_lr == 1.0:
        return [(list(module.parameters()), 1.0)]
    named_parameters = list(module.named_parameters())
    encoder = [p for name, p in named_parameters if name.startswith(ENCODER)]
    if not encoder:
        raise ZooError(
            f"recipe.encoder_lr is {recipe.encoder_lr}, but the network has no part of that name; leave it at 1"
        )
    return [(encoder, recipe.encoder_lr), ([p for name, p in named_parameters if not name.startswith(ENCODER)], 1.0)]


def _decayed(parameters: list[nn.Parameter], factor: float, recipe: Recipe) -> list[dict[str, Any]]:
    """Groups of an optimiser; AdamW decays kernels only."""
    if recipe.optimizer != "adamw":
        return [{"params": parameters, "weight_decay": recipe.weight_decay, FACTOR: factor}]
    kernels, vectors = [p for p in parameters if p.dim() > 1], [p for p in parameters if p.dim() <= 1]
    return [
        {"params": kernels, "weight_decay": recipe.weight_decay, FACTOR: factor},
        {"params": vectors, "weight_decay": 0.0, FACTOR: factor},
    ]


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Set the learning rate of every group, the encoder's by its factor."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group.get(FACTOR, 1.0)


def average_(mean: nn.Module, module: nn.Module, decay: float) -> None:
    """Move the running mean of weights and BN statistics by 1 - decay towards the module, in place."""
    with torch.no_grad():
        for old, new in zip(mean.state_dict().values(), module.state_dict().values(), strict=True):
            if old.is_floating_point():
                old.lerp_(new, 1 - decay)
            else:
                old.copy_(new)
