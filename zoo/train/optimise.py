"""What follows a gradient: the optimiser's step, and the running mean of the weights."""

import torch
from torch import nn

from zoo.train.recipe import Recipe

MOMENTUM = 0.9
"""Of SGD."""


def optimizer_of(module: nn.Module, how: Recipe) -> torch.optim.Optimizer:
    """Adam, SGD with Nesterov's momentum, or AdamW, which decays kernels only, not the scales, shifts and slopes."""
    if how.optimizer == "sgd":
        return torch.optim.SGD(
            module.parameters(), how.lr, momentum=MOMENTUM, nesterov=True, weight_decay=how.weight_decay
        )
    if how.optimizer == "adam":
        return torch.optim.Adam(module.parameters(), how.lr, weight_decay=how.weight_decay)
    kernels = [p for p in module.parameters() if p.dim() > 1]
    others = [p for p in module.parameters() if p.dim() <= 1]
    groups = [{"params": kernels, "weight_decay": how.weight_decay}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, how.lr)


def average_(mean: nn.Module, module: nn.Module, decay: float) -> None:
    """Move the running mean of weights and BN statistics by 1 - decay towards the module, in place."""
    with torch.no_grad():
        for old, new in zip(mean.state_dict().values(), module.state_dict().values(), strict=True):
            if old.is_floating_point():
                old.lerp_(new, 1 - decay)
            else:
                old.copy_(new)
