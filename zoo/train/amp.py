"""bfloat16 on a CPU: where it is faster, and a way around a wrong gradient."""

from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

BLOCK = 16
"""oneDNN works on blocks of this many channels."""


Amp = bool | Literal["auto"]
"""Whether to compute in bfloat16 where it is safe and the device has instructions for it; "auto" is silent if not."""

INSTRUCTIONS = ("avx512_bf16", "amx_bf16")
"""Flags of processors that multiply in bfloat16. Without them torch takes 3.7 times as long as in float32."""


def multiplies_bfloat16(device: str = "cpu") -> bool:
    """Whether a device has instructions for products in bfloat16."""
    if device.partition(":")[0] == "cuda":
        return torch.cuda.is_available() and torch.cuda.is_bf16_supported(including_emulation=False)
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return False
    flags = next((line.partition(":")[2].split() for line in text.splitlines() if line.startswith("flags")), [])
    return any(flag in flags for flag in INSTRUCTIONS)


def computes_in_bfloat16(amp: Amp, device: str = "cpu") -> bool:
    """Whether a training computes in bfloat16: if it may, and the device has instructions for it."""
    return amp is not False and multiplies_bfloat16(device)


def why_not(amp: Amp, device: str = "cpu") -> str | None:
    """One sentence where bfloat16 was asked for and is not used."""
    if amp is not True or multiplies_bfloat16(device):
        return None
    return f"bfloat16 is slower than float32 on this {device}, which has no instructions for it: float32 is used"


class PaddedConv(nn.Conv2d):
    """A convolution that sees its input padded with zero channels up to a whole number of blocks."""

    def forward(self, x: Tensor) -> Tensor:
        pad = (0, 0, 0, 0, 0, -self.in_channels % BLOCK)
        out: Tensor = self._conv_forward(functional.pad(x, pad), functional.pad(self.weight, pad), self.bias)
        return out


def pad_convolutions_(module: nn.Module) -> int:
    """Replace the dilated convolutions whose bfloat16 weight gradient is wrong; returns their number.

    With torch 2.13's oneDNN on AVX512-BF16 the gradient of a dilated, channels-last convolution holds
    garbage, often NaN, where the input has more than one block of channels and no whole number of them.
    Names and values of the parameters stay the same.
    """
    affected = [
        (parent, name, child)
        for parent in module.modules()
        for name, child in parent.named_children()
        if type(child) is nn.Conv2d
        and max(child.dilation) > 1
        and child.groups == 1
        and child.in_channels > BLOCK
        and child.in_channels % BLOCK
    ]
    for parent, name, child in affected:
        parent.add_module(name, _padded(child))
    return len(affected)


def _padded(conv: nn.Conv2d) -> PaddedConv:
    with torch.device("meta"):
        out = PaddedConv(
            conv.in_channels,
            conv.out_channels,
            conv.kernel_size,  # type: ignore[arg-type]
            stride=conv.stride,  # type: ignore[arg-type]
            padding=conv.padding,  # type: ignore[arg-type]
            dilation=conv.dilation,  # type: ignore[arg-type]
            bias=False,
        )
    out.weight, out.bias = conv.weight, conv.bias
    return out
