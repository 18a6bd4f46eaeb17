"""What recipes share: their type, priors, and how a published point is written."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hw_models.analytic.roofline import Chip
from hw_models.device import Clocks, Number
from hw_models.tables import KernelRow, Point

Rows = Callable[[Path], list[KernelRow]]


@dataclass(frozen=True)
class Recipe:
    """What a device is built from.

    table: rows the roofline is fitted to, on a chip of table_macs_per_cycle; without it, the prior is what is
    written here. extracts: file name, rows, and how many of them ship.
    table_prior, table_sd: parameters before the tables. stack_sd: how far another stack may lie from them.
    kernel_sd: log error of one kernel where the tables have too few rows to measure it. rests_on: what the
    price of each kind rests on. network_sd: log error of a whole network, before networks were left out.
    points: published points, as `sources.published` finds them. whole_networks: rows of today's devices.
    transposed: rows that the factor of transposed convolutions is read from, with all else as the table has it.
    """

    name: str
    title: str
    power_covers: str
    power_note: str
    clocks: Clocks
    numbers: Mapping[str, Number]
    table: Rows | None
    table_macs_per_cycle: float
    extracts: tuple[tuple[str, Rows, int], ...]
    table_prior: Mapping[str, float]
    table_sd: Mapping[str, float]
    stack_prior: Mapping[str, float]
    stack_sd: Mapping[str, float]
    power_rows: Rows | None
    power_prior: Mapping[str, float]
    power_sd: Mapping[str, float]
    latency_network_sd: float
    power_network_sd: float
    kernel_sd: Mapping[str, float]
    rests_on: Mapping[str, str]
    points: tuple[Mapping[str, Any], ...]
    notes: tuple[str, ...]
    stack: str = "pytorch-eager"
    precision: str = "fp32"
    transposed: Rows | None = None
    whole_networks: Callable[[Path], list[Point]] | None = None

    @property
    def table_chip(self) -> Chip:
        """The chip of the table's rows, at the device's default clock."""
        return Chip(self.table_macs_per_cycle, self.clocks.default_mhz * 1e6)

    @property
    def peak_macs_s(self) -> float:
        """Peak of the default clock in multiply-accumulates a second."""
        return self.numbers["macs_per_cycle"].value * self.clocks.default_mhz * 1e6


ESPNET = {"family": "espnet", "variant": "ESPNet", "alpha3": 8}
ESPNET_C3 = {"family": "espnet", "variant": "C", "alpha3": 3}
ENET = {"family": "enet"}
ERFNET = {"family": "erfnet"}

TABLE_SD = {
    "efficiency": 0.5,
    "half_out": 0.7,
    "half_depth": 0.7,
    "half_work": 1.0,
    "winograd": 0.7,
    "pointwise": 0.3,
    "dilated": 0.4,
    "grouped": 0.5,
    "depthwise": 0.7,
    "transposed": 0.3,
    "bandwidth": 0.3,
    "bytes_per_cycle": 0.7,
    "floor": 0.5,
    "dispatch": 0.4,
}
"""How little is known of a parameter before the tables, as standard deviations of logarithms."""

STACK_SD = {
    "efficiency": 0.30,
    "half_out": 0.60,
    "half_depth": 0.50,
    "half_work": 0.60,
    "winograd": 0.60,
    "pointwise": 0.25,
    "dilated": 0.40,
    "grouped": 0.50,
    "depthwise": 0.40,
    "transposed": 0.50,
    "bandwidth": 0.15,
    "bytes_per_cycle": 0.40,
    "floor": 0.40,
    "dispatch": 0.40,
}
"""How far PyTorch of 2018 may lie from the tables' stacks, as standard deviations of logarithms."""


KERNEL_SD = {
    "dense": 0.3,
    "pointwise": 0.3,
    "dilated": 0.4,
    "grouped": 0.5,
    "depthwise": 0.5,
    "transposed": 0.4,
    "linear": 0.4,
    "normalisation": 0.2,
    "activation": 0.2,
    "add": 0.2,
    "concat": 0.2,
    "copy": 0.25,
    "pool": 0.3,
    "resize": 0.35,
    "identity": 0.2,
}
"""Log error of one kernel, where the tables have too few rows to measure it."""

RESTS_ON = dict.fromkeys(KERNEL_SD, "calibrated") | dict.fromkeys(("grouped", "linear", "resize"), "modelled")
"""The published networks that calibrate hold every kind but these, and depth-wise convolutions."""


def wanted_point(
    network: str, model: str, spec: Mapping[str, Any], device: str, metric: str, sd: float, **overrides: Any
) -> dict[str, Any]:
    """How `sources.published` finds a point; `sd` is its reading error in the unit of the source's row."""
    return {
        "network": network,
        "group": spec["family"],
        "model": model,
        "spec": dict(spec),
        "device": device,
        "metric": "power_w" if metric.startswith("power") else "latency_s",
        "row_metric": metric,
        "reading_sd": sd,
        "use": "calibration",
    } | overrides


NARROW = 20.0
"""`half_out` of a card of the Pascal generation, from convolutions with few outputs.

DeepBench has one row with fewer than 32 outputs, so its fit says nothing on them (4 channels). Here are 2,500 that took
more than 0.5 ms on a GTX 1080 Ti, most with fewer than 32 outputs (CDECatapult/ml-performance-prediction, Apache-2.0);
TensorFlow's two copies between layouts, one for the bias and the activation, 0.15 ms a call and one factor of the stack
are taken off. The median error falls from 18 percent at 4 channels to 14 at 16 to 24.

On a Tesla M60 (Maxwell) it falls from 19 to 13 percent at 24 to 32 channels. With 28 as its prior the GTX 960M's
left-out error fell from 14.8 to 11.0 percent, but ESPNet-C of MobileNet's blocks became 10 percent faster than of ESP
blocks, where the paper measured 3 percent less: it is not used there.
"""

BENCHMARK = (
    "No source states whether cudnn.benchmark was on. It made FCN-32s 1.28 times as fast on a TITAN X (Pascal; 42.6 "
    "against 54.5 ms at 640x480), so times of a setting that differs lie that far from these."
)
"""A condition of PyTorch's times that the published points do not record."""

HOST = (
    "The host issues the operations, not the card: 57 µs each were seen on a Xeon E5-2630 v4, 29 on another host with "
    "a card of this generation. `zoo predict --host-dispatch-us` states your own."
)
"""What bounds small networks on a desktop's card."""


def single_clock(clock: float, source: str) -> Clocks:
    """Clocks of a device that is described at one clock only."""
    return Clocks(clock, clock, clock, {}, source)


def computed(value: float, unit: str, source: str) -> Number:
    """A number that follows from others, which the source names."""
    return Number(value, unit, "computed", source)
