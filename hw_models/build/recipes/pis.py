"""Raspberry Pis with TensorFlow Lite, in FP16, and the Raspberry Pi 4B in INT8.

In INT8 the source times five classifiers of two families, which take longer than in FP16, and YOLOX, which takes a
third. What an ESPNet gains is unknown, so that YOLOX calibrates as well, nothing is left for a check, and the interval
is as wide as these families lie apart. The Raspberry Pi 5's readings contradict each other (MixNet-l takes less than
MixNet-m, MobileNetV3-large eleven times what -small takes): the same fit was off by 94 % on families left out, with
intervals of a factor of ten, and is not shipped.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from hw_models.build.recipes.boards import UNSURE, Board
from hw_models.build.whole_networks import Rows
from hw_models.device import Clocks, Number

FP16_NOTE = (
    "TensorFlow Lite keeps FP16 weights in the file and computes in FP32 (TensorFlow's guide to float16 quantization); "
    "the clock is the processor's. The source does not state the threads."
)
INT8_NOTE = (
    "Two families of classifiers, which take longer than in FP16, and one detector, which takes a third, are the "
    "evidence: they lie far apart, and the interval says so. The clock is the processor's. The source does not state "
    "the threads."
)

PRIOR: Mapping[str, float] = {"half_out": 6, "half_depth": 20, "half_work": 2e3, "winograd": 0.05, "depthwise": 8}

INT8_SD = {"efficiency": 0.7, "depthwise": 1.2, "pointwise": 0.5}
"""In INT8 no source says how near its own peak an operation comes, and depth-wise ones least of all."""


@dataclass(frozen=True)
class _Pi:
    """A board: its name in the source, bandwidth in B/s with its source and kind, clock in MHz, power."""

    name: str
    title: str
    source: str
    bandwidth: tuple[float, str, str]
    clock: tuple[float, str]
    idle_power: Number
    power_limit: Number

    def board(self, precision: str, macs: tuple[float, str]) -> Board:
        """The board in a precision; macs: multiply-accumulates a cycle, and what they rest on."""
        bandwidth, bandwidth_source, kind = self.bandwidth
        int8 = precision == "int8"
        return Board(
            name=f"{self.name}-int8" if int8 else self.name,
            title=f"{self.title} with TensorFlow Lite{' in INT8' if int8 else ''}",
            stack="tflite",
            macs_per_cycle=macs[0],
            macs_source=macs[1],
            bandwidth=bandwidth,
            bandwidth_source=bandwidth_source,
            bandwidth_kind=kind,
            sd=({"bandwidth": UNSURE} if kind == "assumed" else {}) | (INT8_SD if int8 else {}),
            clocks=Clocks(self.clock[0], self.clock[0], self.clock[0], {}, self.clock[1]),
            rows=Rows((self.source,), "tflite", precision, {"": self.clock[0]}, keep_back=not int8),
            idle_power=self.idle_power,
            power_limit=self.power_limit,
            floor=1e-5,
            dispatch=5e-6,
            overhead=2e-4,
            prior=PRIOR,
            notes=(INT8_NOTE if int8 else FP16_NOTE,),
        )


PI5 = _Pi(
    "rpi5",
    "Raspberry Pi 5 (4 Cortex-A76)",
    "Raspberry Pi 5",
    (17.1e9, "32-bit LPDDR4 at 4267 MT/s (circuitdigest.com on the Raspberry Pi 5)", "spec"),
    (2400.0, "processor at 2.4 GHz (circuitdigest.com on the Raspberry Pi 5)"),
    Number(4.7, "W", "assumed", "about 4.7 W idle, 14.2 W loaded (devreviewhub.com); read by one site alone"),
    Number(25.0, "W", "spec", "supply of 5 V and 5 A (education.raspberrypiaustralia.online)"),
)
PI4 = _Pi(
    "rpi4",
    "Raspberry Pi 4B (4 Cortex-A72)",
    "Raspberry Pi 4B",
    (
        12.8e9,
        "32-bit LPDDR4 at 3200 MT/s (Official Raspberry Pi Beginner's Guide); other sites say 2000 "
        "(circuitdigest.com) and 2400 MT/s (Wikipedia), so the prior is wide",
        "assumed",
    ),
    (1500.0, "processor at 1.5 GHz (Official Raspberry Pi Beginner's Guide; 1.8 in its later revision)"),
    Number(2.7, "W", "assumed", "2 to 3 W idle (pirouter-docs.pages.dev)"),
    Number(15.0, "W", "spec", "supply of 5 V and 3 A (pirouter-docs.pages.dev)"),
)

PIS = (
    PI5.board(
        "fp16",
        (
            32,
            "4 Cortex-A76 cores, two 128-bit FP32 multiply-accumulates a cycle each, 8 MAC: an assumption on the core",
        ),
    ),
    PI4.board(
        "fp16",
        (16, "4 Cortex-A72 cores, one 128-bit FP32 multiply-accumulate a cycle each, 4 MAC: an assumption on the core"),
    ),
    PI4.board(
        "int8",
        (32, "4 Cortex-A72 cores, one 128-bit product of bytes a cycle each, 8 MAC: an assumption on the core"),
    ),
)
