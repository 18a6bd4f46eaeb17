"""Boards under an inference engine: Jetsons with TensorRT in FP16, Raspberry Pis with TensorFlow Lite.

No table of single kernels was published for these stacks, so a device rests on whole networks alone: the priors
below say what the architecture lets expect, in shares of peak and of bandwidth, and how little that is.

Every number of a board names where it was read; one that was found nowhere, or differently in several places, is of
kind `assumed`, says so, and has a prior that is as wide as the difference (`UNSURE`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial

from hw_models.build.recipes.common import KERNEL_SD, Recipe, computed
from hw_models.build.whole_networks import Rows, points
from hw_models.device import Clocks, Number

ENGINE_PRIOR = {
    "efficiency": 0.6,
    "half_out": 24,
    "half_depth": 60,
    "winograd": 0.3,
    "pointwise": 1,
    "dilated": 1.3,
    "grouped": 2,
    "depthwise": 15,
    "transposed": 2,
}
"""Shape of the roofline under an engine; the rest is a share of the board's own numbers."""

TILE = 1e3
"""Outputs that a multiprocessor needs to be half as efficient as it can be: `half_work` of a board, over its number."""

ENGINE_SD = {
    "efficiency": 0.35,
    "half_out": 0.6,
    "half_depth": 0.6,
    "half_work": 0.7,
    "winograd": 0.6,
    "pointwise": 0.25,
    "dilated": 0.4,
    "grouped": 0.5,
    "depthwise": 0.8,
    "transposed": 0.5,
    "bandwidth": 0.25,
    "bytes_per_cycle": 0.4,
    "floor": 0.5,
    "dispatch": 0.5,
}
"""How far a board may lie from the prior, as standard deviations of logarithms."""

UNSURE = 0.4
"""Standard deviation of the log of a bandwidth on which sources differ by a factor of 1.6."""

ENGINE_KERNEL_SD = KERNEL_SD | {"dense": 0.4, "pointwise": 0.4}
"""Log error of one kernel: no table of these stacks says how large it is."""

RESTS_ON = dict.fromkeys(KERNEL_SD, "calibrated") | dict.fromkeys(
    ("dilated", "grouped", "transposed", "resize", "identity"), "modelled"
)
"""No network that calibrates has a dilated, grouped or transposed convolution, or a resize."""

NO_POWER = "Nobody published the power of a network on this board: the estimate goes from idle to the limit."


@dataclass(frozen=True, slots=True)
class Board:
    """What differs between the boards; bandwidth in B/s, power in W, floor and dispatch in s."""

    name: str
    title: str
    stack: str
    macs_per_cycle: float
    macs_source: str
    bandwidth: float
    bandwidth_source: str
    clocks: Clocks
    rows: Rows
    idle_power: Number
    power_limit: Number
    floor: float
    dispatch: float
    overhead: float
    prior: Mapping[str, float]
    power_covers: str = "board"
    power_note: str = NO_POWER
    power_prior: Mapping[str, float] | None = None
    idle_slope: Number | None = None
    bandwidth_kind: str = "spec"
    sd: Mapping[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def recipe(board: Board) -> Recipe:
    """The recipe of a board."""
    prior = ENGINE_PRIOR | {
        "bandwidth": 0.7 * board.bandwidth,
        # At the default clock the cores can ask for twice what the memory gives.
        "bytes_per_cycle": 2 * board.bandwidth / (board.clocks.default_mhz * 1e6),
        "floor": board.floor,
        "dispatch": board.dispatch,
        **board.prior,
    }
    room = board.power_limit.value - board.idle_power.value
    peak = board.macs_per_cycle * board.clocks.default_mhz * 1e6
    return Recipe(
        name=board.name,
        title=board.title,
        power_covers=board.power_covers,
        power_note=board.power_note,
        clocks=board.clocks,
        numbers={
            "macs_per_cycle": computed(board.macs_per_cycle, "MAC/cycle", board.macs_source),
            "memory_bandwidth": Number(board.bandwidth, "B/s", board.bandwidth_kind, board.bandwidth_source),
            "idle_power": board.idle_power,
            "power_limit": board.power_limit,
            **({"idle_power_slope": board.idle_slope} if board.idle_slope else {}),
            "frame_overhead": Number(board.overhead, "s", "assumed", "copies of one image and one result a frame"),
        },
        table=None,
        table_macs_per_cycle=board.macs_per_cycle,
        extracts=(),
        table_prior=prior,
        table_sd={**ENGINE_SD, **board.sd},
        stack_prior=prior,
        stack_sd={**ENGINE_SD, **board.sd},
        power_rows=None,
        power_prior=board.power_prior
        or {
            "energy_per_mac": 0.3 * room / peak,
            "energy_per_byte": 0.3 * room / board.bandwidth,
            "active": 0.2 * room,
            "ramp": 1e-4,
            "clock_exponent": 1.2,
        },
        power_sd={
            "energy_per_mac": 0.7,
            "energy_per_byte": 0.7,
            "active": 0.6,
            "ramp": 0.7,
            "clock_exponent": 0.15,
        },
        latency_network_sd=0.2,
        power_network_sd=0.35,
        kernel_sd=ENGINE_KERNEL_SD,
        rests_on=RESTS_ON,
        points=(),
        notes=board.notes,
        stack=board.stack,
        precision=board.rows.precision,
        whole_networks=partial(points, selection=board.rows),
    )
