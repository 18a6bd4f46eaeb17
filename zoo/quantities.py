"""What a network is judged by: one record a quantity, which limits, objectives, axes, options and tables read.

To add one: a record here, a field in `zoo.config.Limits` for each of its limits, and what computes it
(docs/extending/quantity.md).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

MINIMIZE, MAXIMIZE = 1, -1


@dataclass(frozen=True, slots=True)
class Limit:
    """A hard limit on a quantity, as users write it.

    name: of the option, with its unit. title, unit: in words. scale: SI units in one of its own. lower: whether it
    bounds what it names from below. inverse: whether it bounds the quantity's inverse, as a frame rate does a
    latency. count: whether values are whole numbers that may end in k, M or G. prefix: with which it is
    spelt. key: its name in SI units, where that is not the quantity's. help: in the command's help.
    """

    name: str
    title: str
    unit: str
    scale: float
    help: str
    prefix: str = ""
    lower: bool = False
    inverse: bool = False
    count: bool = False
    key: str | None = None

    @property
    def option(self) -> str:
        """On the command line."""
        return "--" + self.name.replace("_", "-")

    def si(self, value: float) -> float:
        """The bound of the quantity in SI units.

        >>> LIMITS["max_latency_ms"].si(150), LIMITS["min_fps"].si(4)
        (0.15, 0.25)
        """
        return 1.0 / value if self.inverse else value * self.scale

    def own(self, bound: float) -> float:
        """The inverse of `si`: a bound of the quantity in SI units, in the limit's own."""
        return 1.0 / bound if self.inverse else bound / self.scale

    def spelt(self, value: float) -> str:
        """In words.

        >>> LIMITS["max_latency_ms"].spelt(150.0), LIMITS["max_params"].spelt(400000), LIMITS["max_macs"].spelt(5.429e9)
        ('latency ≤ 150 ms', 'parameters ≤ 400,000', 'MACs ≤ 5.429 G')
        """
        value = value / self.multiple
        number = f"{value:,.0f}" if value >= 1e5 else f"{value:g}"
        return f"{self.title} {'≥' if self.lower else '≤'} {number} {self.prefix}{self.unit}".strip()

    @property
    def multiple(self) -> float:
        """What the prefix multiplies the unit by; 1 without one."""
        return {"": 1.0, "k": 1e3, "M": 1e6, "G": 1e9}[self.prefix]


@dataclass(frozen=True, slots=True)
class Quantity:
    """A quantity: its name as objective and axis, its key in SI units, how it is shown, which side is better.

    kind: `predicted` for a device and with an interval; `counted`, and certain; `accuracy`, predicted or measured.
    unit, scale: those of axes and tables, and SI units in one of them. direction: MINIMIZE or MAXIMIZE. clocked:
    whether a slower clock may lower it.
    """

    name: str
    key: str
    title: str
    unit: str
    scale: float
    kind: Literal["predicted", "counted", "accuracy"]
    limits: tuple[Limit, ...]
    direction: int = MINIMIZE
    clocked: bool = False

    @property
    def label(self) -> str:
        """Title and unit, for an axis."""
        return f"{self.title}, {self.unit}" if self.unit else self.title


QUANTITIES: tuple[Quantity, ...] = (
    Quantity(
        *("latency", "latency_s", "latency", "ms", 1e-3, "predicted"),
        limits=(
            Limit("max_latency_ms", "latency", "ms", 1e-3, "latency of one image in milliseconds, on every device"),
            Limit(
                *("min_fps", "frames a second", "", 1.0, "images a second at batch 1, on every device"),
                lower=True,
                inverse=True,
                key="fps",
            ),
        ),
    ),
    Quantity(
        *("power", "power_w", "power", "W", 1.0, "predicted"),
        limits=(Limit("max_power_w", "power", "W", 1.0, "power in watts, on every device"),),
        clocked=True,
    ),
    Quantity(
        *("energy", "energy_j", "energy", "mJ", 1e-3, "predicted"),
        limits=(Limit("max_energy_mj", "energy", "mJ", 1e-3, "energy of one image in millijoules, on every device"),),
        clocked=True,
    ),
    Quantity(
        *("params", "params", "parameters", "thousands", 1e3, "counted"),
        limits=(Limit("max_params", "parameters", "", 1.0, "parameters, as 400k", count=True),),
    ),
    Quantity(
        *("macs", "macs", "MACs", "G", 1e9, "counted"),
        limits=(Limit("max_macs", "MACs", "", 1.0, "multiply-accumulate operations, as 3G", "G", count=True),),
    ),
    Quantity(
        *("size", "weight_bytes", "weights", "MB", 1e6, "counted"),
        limits=(Limit("max_weight_mb", "weights", "MB", 1e6, "weights in MB of 10^6 bytes, 32-bit floats"),),
    ),
    Quantity(
        *("memory", "memory_bytes", "memory", "MB", 1e6, "counted"),
        limits=(Limit("max_memory_mb", "memory", "MB", 1e6, "weights and peak activations in MB, batch 1"),),
    ),
    Quantity(
        *("miou", "miou", "mIOU", "%", 1.0, "accuracy"),
        limits=(Limit("min_miou", "mIOU", "%", 1.0, "predicted mIOU in percent", lower=True),),
        direction=MAXIMIZE,
    ),
)

BY_NAME: Mapping[str, Quantity] = {quantity.name: quantity for quantity in QUANTITIES}
"""Name of an objective or an axis -> its quantity."""

BY_KEY: Mapping[str, Quantity] = {quantity.key: quantity for quantity in QUANTITIES}
"""Key in SI units -> its quantity."""

LIMITS: Mapping[str, Limit] = {limit.name: limit for quantity in QUANTITIES for limit in quantity.limits}
"""Name of a limit -> the limit."""

LIMITED: Mapping[str, Quantity] = {limit.name: quantity for quantity in QUANTITIES for limit in quantity.limits}
"""Name of a limit -> the quantity that it bounds."""


def keys(kind: str) -> tuple[str, ...]:
    """Keys of all quantities of a kind.

    >>> keys("predicted")
    ('latency_s', 'power_w', 'energy_j')
    """
    return tuple(quantity.key for quantity in QUANTITIES if quantity.kind == kind)
