"""The pyramidal recurrent unit: an LSTM whose two linear transformations are replaced by cheaper ones.

Source: Mehta, Koncel-Kedziorski, Rastegari, Hajishirzi, Pyramidal Recurrent Unit for Language Modeling, EMNLP 2018
(arXiv:1808.09029), and what its authors released (sacmehta/PRU). The input is transformed at several resolutions, as
the EESP unit of ESPNetv2 looks at an image; the context by groups.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool1d

GATES = 4
"""Of an LSTM: forget, candidate, input, output."""

State = tuple[Tensor, Tensor]
"""Output and memory, each (batch, hidden)."""


def level_widths(inputs: int, hidden: int, levels: int) -> list[tuple[int, int]]:
    """Values that each level of a pyramid takes and gives: halves, quarters …; the first level takes the remainder.

    >>> level_widths(32, 32, 3)
    [(32, 20), (16, 8), (8, 4)]
    """
    inputs_at = [-(-inputs // 2**i) for i in range(levels)]
    outputs_at = [-(-hidden // 2 ** (i + 1)) for i in range(levels)]
    outputs_at[0] += hidden - sum(outputs_at)
    return list(zip(inputs_at, outputs_at, strict=True))


class PyramidalTransform(nn.Module):
    """Inputs (…, n) to the four gates (…, 4, hidden): each level sees the level before at half the resolution.

    Levels are averaged with kernels of 3 at the last, 5 at the one before, and so on. Where both widths agree, the
    input is added to every gate.
    """

    def __init__(self, inputs: int, hidden: int, levels: int) -> None:
        super().__init__()
        widths = level_widths(inputs, hidden, levels)
        self.kernels = [0, *(2 * (levels - i) + 1 for i in range(1, levels))]
        linears = [nn.Linear(width_in, GATES * width_out) for width_in, width_out in widths]
        for linear in linears:
            nn.init.orthogonal_(linear.weight)
            nn.init.zeros_(linear.bias)
        self.linears = nn.ModuleList(linears)
        self.residual = inputs == hidden

    def forward(self, x: Tensor) -> Tensor:
        """The gates' parts that depend on the input."""
        level, parts = x, []
        for kernel, linear in zip(self.kernels, self.linears, strict=True):
            if kernel:
                flat = level.reshape(-1, 1, level.shape[-1])
                level = avg_pool1d(flat, kernel, 2, kernel // 2).reshape(*x.shape[:-1], -1)
            parts.append(linear(level).reshape(*x.shape[:-1], GATES, -1))
        gates = torch.cat(parts, -1)
        return gates + x.unsqueeze(-2) if self.residual else gates


class GroupedTransform(nn.Module):
    """A context (batch, hidden) to the four gates (batch, 4, hidden): each group sees only its own part."""

    def __init__(self, hidden: int, groups: int) -> None:
        super().__init__()
        width = hidden // groups
        self.weight = nn.Parameter(torch.empty(groups, width, GATES * width))
        self.bias = nn.Parameter(torch.zeros(groups, 1, GATES * width))
        for group in self.weight:
            nn.init.orthogonal_(group)

    def forward(self, h: Tensor) -> Tensor:
        """The gates' parts that depend on the context."""
        groups, batch = self.weight.shape[0], h.shape[0]
        out = torch.baddbmm(self.bias, h.reshape(batch, groups, -1).transpose(0, 1), self.weight)
        return out.reshape(groups, batch, GATES, -1).permute(1, 2, 0, 3).flatten(2)


class PyramidalLayer(nn.Module):
    """One layer over time: inputs (time, batch, n) and a state to outputs (time, batch, hidden) and the state after."""

    def __init__(self, inputs: int, hidden: int, levels: int, groups: int) -> None:
        super().__init__()
        self.pyramid = PyramidalTransform(inputs, hidden, levels)
        self.context = GroupedTransform(hidden, groups)

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Only the context's transformation waits for the step before; that of the inputs is done at once."""
        h, c = state
        outputs = []
        for projected in self.pyramid(x):
            forget, candidate, entry, out = (projected + self.context(h)).unbind(1)
            c = forget.sigmoid() * c + entry.sigmoid() * candidate.tanh()
            h = out.sigmoid() * c.tanh()
            outputs.append(h)
        return torch.stack(outputs), (h, c)


class LSTMLayer(nn.Module):
    """torch's LSTM with the same calls as `PyramidalLayer`."""

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(inputs, hidden)

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Outputs over time and the state after."""
        outputs, (h, c) = self.lstm(x, (state[0][None], state[1][None]))
        return outputs, (h[0], c[0])
