"""What the units of `zoo.models.blocks` cost, in the formulas of the ESPNet paper.

Mehta et al., ECCV 2018, arXiv:1803.06815, figure 4: parameters and memory of a unit's convolutions, and
how far one output sees. M and N are the channels before and after, K the branches, d = N / K, n the kernel,
g the groups, W and H the map's size. ResNet's block is not in that figure; its formulas follow the same way.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from zoo.errors import SpecError
from zoo.graph import BYTES_PER_VALUE
from zoo.models.blocks import SHUFFLE_GROUPS, UNITS


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """Sizes of one unit; the default map is level 3 of a 1024x512 image.

    Raises SpecError unless K divides N, and g divides M, N and d.
    """

    m: int = 100
    n_out: int = 100
    k: int = 5
    kernel: int = 3
    groups: int = SHUFFLE_GROUPS
    height: int = 64
    width: int = 128

    def __post_init__(self) -> None:
        if min(self.m, self.n_out, self.k, self.kernel, self.groups, self.height, self.width) < 1:
            raise SpecError(f"block: all sizes must be at least 1, but are {self}")
        if self.n_out % self.k:
            raise SpecError(f"block: K must divide N, but K is {self.k} and N is {self.n_out}; change one of them")
        if any(channels % self.groups for channels in (self.m, self.n_out, self.d)):
            raise SpecError(
                f"block: g must divide M, N and d, but g is {self.groups} and they are "
                f"{self.m}, {self.n_out} and {self.d}; change one of them"
            )

    @property
    def d(self) -> int:
        """Channels of a branch."""
        return self.n_out // self.k

    @property
    def area(self) -> int:
        """Positions of the map."""
        return self.height * self.width


@dataclass(frozen=True, slots=True)
class Formula:
    """A formula as printed, and as a function."""

    text: str
    of: Callable[[Setting], int]


@dataclass(frozen=True, slots=True)
class Costs:
    """Formulas of one unit: parameters, values in memory, side of the receptive field."""

    params: Formula
    memory: Formula
    field: Formula


_SINGLE = Formula("n", lambda s: s.kernel)
_TWO = Formula("2(n-1) + 1", lambda s: 2 * (s.kernel - 1) + 1)
_DILATED = Formula("(n-1) 2^(K-1) + 1", lambda s: (s.kernel - 1) * 2 ** (s.k - 1) + 1)

COSTS: Mapping[str, Costs] = {
    "esp": Costs(
        Formula("M d + K n² d²", lambda s: s.m * s.d + s.k * s.kernel**2 * s.d**2),
        Formula("W H d (K+1)", lambda s: s.area * s.d * (s.k + 1)),
        _DILATED,
    ),
    "mobilenet": Costs(
        Formula("M (n² + N)", lambda s: s.m * (s.kernel**2 + s.n_out)),
        Formula("W H (M + N)", lambda s: s.area * (s.m + s.n_out)),
        _SINGLE,
    ),
    "shufflenet": Costs(
        Formula("d (M + N) / g + n² d", lambda s: s.d * (s.m + s.n_out) // s.groups + s.kernel**2 * s.d),
        Formula("W H (2d + N)", lambda s: s.area * (2 * s.d + s.n_out)),
        _SINGLE,
    ),
    "inception": Costs(
        Formula("K (M d + n² d²)", lambda s: s.k * (s.m * s.d + s.kernel**2 * s.d**2)),
        Formula("2 K W H d", lambda s: 2 * s.k * s.area * s.d),
        _SINGLE,
    ),
    "resnext": Costs(
        Formula("K (M d + n² d² + d N)", lambda s: s.k * s.d * (s.m + s.kernel**2 * s.d + s.n_out)),
        Formula("K W H (2d + N)", lambda s: s.k * s.area * (2 * s.d + s.n_out)),
        _SINGLE,
    ),
    "resnet": Costs(
        Formula("n² N (M + N)", lambda s: s.kernel**2 * s.n_out * (s.m + s.n_out)),
        Formula("2 W H N", lambda s: 2 * s.area * s.n_out),
        _TWO,
    ),
    "asp": Costs(
        Formula("K M N n²", lambda s: s.k * s.m * s.n_out * s.kernel**2),
        Formula("K W H N", lambda s: s.k * s.area * s.n_out),
        _DILATED,
    ),
}
"""Formulas by the unit's name."""


@dataclass(frozen=True, slots=True)
class BlockRow:
    """One unit at one setting, and the formulas that gave its numbers.

    params: of its convolutions. memory_bytes: of its convolutions' outputs, as 32-bit floats.
    receptive_field: side in pixels of its own input.
    """

    block: str
    params_formula: str
    params: int
    memory_formula: str
    memory_bytes: int
    receptive_field_formula: str
    receptive_field: int


def block_rows(setting: Setting | None = None) -> list[BlockRow]:
    """Compare all units at one setting.

    >>> [(row.block, row.params, row.receptive_field) for row in block_rows()][:2]
    [('esp', 20000, 33), ('mobilenet', 10900, 3)]
    """
    setting = setting or Setting()
    return [
        BlockRow(
            name,
            costs.params.text,
            costs.params.of(setting),
            costs.memory.text,
            BYTES_PER_VALUE * costs.memory.of(setting),
            costs.field.text,
            costs.field.of(setting),
        )
        for name, costs in ((name, COSTS[name]) for name in UNITS)
    ]
