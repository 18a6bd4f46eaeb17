"""What each op is in torch: a module for each, and `MODULES`, which `zoo.network` makes a network of.

Sizes are read from the tensors, so that a module takes any size and a trace may leave the size free.
"""

from collections.abc import Callable, Mapping
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from zoo import graph as ops
from zoo.graph import Shape

FIXED_SIZES: ContextVar[bool] = ContextVar("FIXED_SIZES", default=False)
"""Whether a trace may hold for one input size only, which spares it the arithmetic of sizes."""


class _OpModule(nn.Module):
    """A module without parameters that computes `op`."""

    def __init__(self, op: Any) -> None:
        super().__init__()
        self.op = op

    def extra_repr(self) -> str:
        return repr(self.op)


class Linear(nn.Linear):
    """Linear layer on the flattened input; (N, C, H, W) -> (N, out, 1, 1), so that all tensors have 4 axes."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.flatten(1))[:, :, None, None]


class Add(nn.Module):
    """Element-wise sum."""

    def forward(self, first: Tensor, *others: Tensor) -> Tensor:
        for x in others:
            first = first + x
        return first


class Scale(nn.Module):
    """Multiplication by one factor a channel, 1 at first."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.weight[None, :, None, None]


class Maximum(nn.Module):
    """Element-wise maximum."""

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        return torch.maximum(first, second)


class Multiply(nn.Module):
    """Element-wise product."""

    def forward(self, x: Tensor, factor: Tensor) -> Tensor:
        return x * factor


class Concat(nn.Module):
    """Concatenation along the channels."""

    def forward(self, *inputs: Tensor) -> Tensor:
        return torch.cat(inputs, 1)


class PadChannels(_OpModule):
    """Zero channels appended."""

    def forward(self, x: Tensor) -> Tensor:
        return functional.pad(x, (0, 0, 0, 0, 0, self.op.out_channels - x.shape[1]))


class SelectChannels(_OpModule):
    """Some channels, copied; the indices are no parameter, so checkpoints do not hold them."""

    def __init__(self, op: Any) -> None:
        super().__init__(op)
        self.register_buffer("channels", torch.tensor(op.channels), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return x.index_select(1, self.get_buffer("channels"))


class Complement(nn.Module):
    """1 - x."""

    def forward(self, x: Tensor) -> Tensor:
        return 1 - x


class SliceChannels(_OpModule):
    """Channels `start` up to `stop`."""

    def forward(self, x: Tensor) -> Tensor:
        return x[:, self.op.start : self.op.stop]


class ReduceChannels(_OpModule):
    """Mean or sum over the channels."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean(1, keepdim=True) if self.op.mode == "mean" else x.sum(1, keepdim=True)


class ChannelShuffle(_OpModule):
    """Channels (groups, n) transposed to (n, groups)."""

    def forward(self, x: Tensor) -> Tensor:
        n, channels, height, width = sides(x)
        grouped = x.reshape(n, self.op.groups, channels // self.op.groups, height, width)
        return grouped.transpose(1, 2).reshape(n, channels, height, width)


class SpaceToDepth(nn.Module):
    """Each 2x2 block of pixels as four times the channels."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat((x[..., ::2, ::2], x[..., 1::2, ::2], x[..., ::2, 1::2], x[..., 1::2, 1::2]), 1)


class MaxUnpool(nn.Module):
    """Values put back where `indices` say, in a tensor of the size of `source`.

    A scatter, because the ONNX exporter does not know torch's max_unpool2d.
    """

    def forward(self, x: Tensor, indices: Tensor, source: Tensor) -> Tensor:
        n, channels, height, width = sides(source)
        empty = x.new_zeros((n, channels, height * width))
        filled = empty.scatter(2, indices.reshape(n, channels, -1), x.reshape(n, channels, -1))
        return filled.reshape(n, channels, height, width)


class AdaptiveAvgPool(_OpModule):
    """Average pooling to the second input's size, to a fixed one, or to a relative one."""

    def forward(self, x: Tensor, like: Tensor | None = None) -> Tensor:
        height, width = self.op.size or target_size(self.op, x, like)
        lengths = tuple(zip(sides(x)[2:], (height, width), strict=True))
        whole = all(isinstance(size, int) and isinstance(out, int) and size % out == 0 for size, out in lengths)
        if torch.onnx.is_in_onnx_export() and self.op.size != (1, 1) and not whole:
            # The exporter pools only by whole factors. An adaptive pooling is one product for each axis.
            rows, columns = (averaging(*axis, x) for axis in lengths)
            return torch.matmul(torch.matmul(rows, x), columns.T)
        return functional.adaptive_avg_pool2d(x, (height, width))


class Resize(_OpModule):
    """Interpolation to the second input's size or to a relative one."""

    def forward(self, x: Tensor, like: Tensor | None = None) -> Tensor:
        corners = self.op.align_corners if self.op.mode == "bilinear" else None
        size = target_size(self.op, x, like)
        resized: Tensor = functional.interpolate(x, size, mode=self.op.mode, align_corners=corners)
        return resized


class Crop(_OpModule):
    """The first input cut to the second input's size."""

    def forward(self, x: Tensor, like: Tensor) -> Tensor:
        top, left = self.op.top, self.op.left
        _, _, height, width = sides(like)
        return x[:, :, top : top + height, left : left + width]


def target_size(op: Any, x: Tensor, like: Tensor | None) -> tuple[Any, Any]:
    """Height and width to resize to: those of `like` or, without it, relative to those of `x`."""
    _, _, height, width = sides(x if like is None else like)
    return (height, width) if like is not None else (scaled(height, op), scaled(width, op))


def sides(x: Tensor) -> tuple[Any, ...]:
    """Shape of `x`; its parts are tensors while torch traces, unless `FIXED_SIZES` makes them constants."""
    if torch.jit.is_tracing() and FIXED_SIZES.get():  # type: ignore[attr-defined, no-untyped-call]
        return tuple(map(int, x.shape))
    return tuple(x.shape)


def scaled(size: Any, op: Any) -> Any:
    """`graph.scaled`, which also takes the tensors that sizes are while torch traces."""
    if isinstance(size, Tensor):
        return torch.ceil(size.double() * op.scale).long().clamp(min=op.minimum)
    return ops.scaled(size, op)


def averaging(size: Any, out: Any, like: Tensor) -> Tensor:
    """Matrix (out, size) whose row i averages window i of an adaptive pooling.

    The window reaches from floor(i * size / out) up to ceil((i + 1) * size / out), exclusive.
    """
    row, column = torch.arange(out)[:, None], torch.arange(size)[None, :]
    inside = (column >= row * size // out) & (column < ((row + 1) * size + out - 1) // out)
    weights: Tensor = inside.to(like)
    return weights.div(weights.sum(1, keepdim=True))


def _dropout(op: ops.Dropout, *_: Shape) -> nn.Module:
    return nn.Dropout2d(op.p) if op.channelwise else nn.Dropout(op.p)


MODULES: Mapping[type[Any], Callable[..., nn.Module]] = {
    ops.Conv: lambda op, x: nn.Conv2d(
        x.channels,
        op.out_channels,
        op.kernel,
        stride=op.stride,
        padding=op.padding,
        dilation=op.dilation,
        groups=op.groups,
        bias=op.bias,
    ),
    ops.ConvTranspose: lambda op, x: nn.ConvTranspose2d(
        x.channels,
        op.out_channels,
        op.kernel,
        stride=op.stride,
        padding=op.padding,
        output_padding=op.output_padding,
        groups=op.groups,
        bias=op.bias,
    ),
    ops.Linear: lambda op, x: Linear(x.elements, op.out_channels, bias=op.bias),
    ops.BatchNorm: lambda op, x: nn.BatchNorm2d(x.channels, eps=op.eps),
    ops.PReLU: lambda op, x: nn.PReLU(x.channels),
    ops.Scale: lambda op, x: Scale(x.channels),
    ops.ReLU: lambda op, x: nn.ReLU(),
    ops.ELU: lambda op, x: nn.ELU(),
    ops.Sigmoid: lambda op, x: nn.Sigmoid(),
    ops.ReLU6: lambda op, x: nn.ReLU6(),
    ops.HardSigmoid: lambda op, x: nn.Hardsigmoid(),
    ops.HardSwish: lambda op, x: nn.Hardswish(),
    ops.SiLU: lambda op, x: nn.SiLU(),
    ops.Complement: lambda op, x: Complement(),
    ops.Dropout: _dropout,
    ops.Add: lambda op, *x: Add(),
    ops.Maximum: lambda op, *x: Maximum(),
    ops.Multiply: lambda op, *x: Multiply(),
    ops.Concat: lambda op, *x: Concat(),
    ops.PadChannels: lambda op, x: PadChannels(op),
    ops.SelectChannels: lambda op, x: SelectChannels(op),
    ops.SliceChannels: lambda op, x: SliceChannels(op),
    ops.ReduceChannels: lambda op, x: ReduceChannels(op),
    ops.ChannelShuffle: lambda op, x: ChannelShuffle(op),
    ops.SpaceToDepth: lambda op, x: SpaceToDepth(),
    ops.AvgPool: lambda op, x: nn.AvgPool2d(op.kernel, op.stride, op.padding),
    ops.MaxPool: lambda op, x: nn.MaxPool2d(op.kernel, op.stride, op.padding, ceil_mode=op.ceil),
    ops.MaxUnpool: lambda op, *x: MaxUnpool(),
    ops.AdaptiveAvgPool: lambda op, *x: AdaptiveAvgPool(op),
    ops.Resize: lambda op, *x: Resize(op),
    ops.Crop: lambda op, *x: Crop(op),
}
"""What each op is in torch: `MODULES[type(op)](op, *input_shapes)`. An `Input` computes nothing."""
