"""Raspberry Pis with TensorFlow Lite in FP16.

The source also has times in INT8, which make no device: its two families of classifiers there run partly in floats,
as their times show (MobileNetV3-large takes 78 ms where FP16 takes 15, MixNet-l less than MixNet-m), and the networks
that gain from INT8, YOLOX, are kept back.
"""

from hw_models.build.recipes.boards import UNSURE, Board
from hw_models.build.whole_networks import Rows
from hw_models.device import Clocks, Number


def _pi(
    name: str,
    title: str,
    source: str,
    macs: tuple[float, str],
    bandwidth: tuple[float, str, str],
    clock: tuple[float, str],
    power: tuple[Number, Number],
) -> Board:
    return Board(
        name=name,
        title=title,
        stack="tflite",
        macs_per_cycle=macs[0],
        macs_source=macs[1],
        bandwidth=bandwidth[0],
        bandwidth_source=bandwidth[1],
        bandwidth_kind=bandwidth[2],
        sd={"bandwidth": UNSURE} if bandwidth[2] == "assumed" else {},
        clocks=Clocks(clock[0], clock[0], clock[0], {}, clock[1]),
        rows=Rows((source,), "tflite", "fp16", {"": clock[0]}),
        idle_power=power[0],
        power_limit=power[1],
        floor=1e-5,
        dispatch=5e-6,
        overhead=2e-4,
        prior={"half_out": 6, "half_depth": 20, "half_work": 2e3, "winograd": 0.05, "depthwise": 8},
        notes=(
            "TensorFlow Lite keeps FP16 weights in the file and computes in FP32 (TensorFlow's guide to float16 "
            "quantization); "
            "the clock is the processor's. The source does not state the threads.",
        ),
    )


PIS = (
    _pi(
        "rpi5",
        "Raspberry Pi 5 (4 Cortex-A76) with TensorFlow Lite",
        "Raspberry Pi 5",
        (
            32,
            "4 Cortex-A76 cores, two 128-bit FP32 multiply-accumulates a cycle each, 8 MAC: an assumption on the core",
        ),
        (17.1e9, "32-bit LPDDR4 at 4267 MT/s (circuitdigest.com on the Raspberry Pi 5)", "spec"),
        (2400.0, "processor at 2.4 GHz (circuitdigest.com on the Raspberry Pi 5)"),
        (
            Number(4.7, "W", "assumed", "about 4.7 W idle, 14.2 W loaded (devreviewhub.com); read by one site alone"),
            Number(25.0, "W", "spec", "supply of 5 V and 5 A (education.raspberrypiaustralia.online)"),
        ),
    ),
    _pi(
        "rpi4",
        "Raspberry Pi 4B (4 Cortex-A72) with TensorFlow Lite",
        "Raspberry Pi 4B",
        (16, "4 Cortex-A72 cores, one 128-bit FP32 multiply-accumulate a cycle each, 4 MAC: an assumption on the core"),
        (
            12.8e9,
            "32-bit LPDDR4 at 3200 MT/s (Official Raspberry Pi Beginner's Guide); other sites say 2000 "
            "(circuitdigest.com) and 2400 MT/s (Wikipedia), so the prior is wide",
            "assumed",
        ),
        (1500.0, "processor at 1.5 GHz (Official Raspberry Pi Beginner's Guide; 1.8 in its later revision)"),
        (
            Number(2.7, "W", "assumed", "2 to 3 W idle (pirouter-docs.pages.dev)"),
            Number(15.0, "W", "spec", "supply of 5 V and 3 A (pirouter-docs.pages.dev)"),
        ),
    ),
)
