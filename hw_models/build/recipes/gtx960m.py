"""GTX 960M: no row of its own; a larger card of its generation lends the shape of the roofline."""

from collections.abc import Mapping
from typing import Any

from hw_models.build.recipes.common import (
    BENCHMARK,
    ENET,
    ESPNET,
    ESPNET_C3,
    HOST,
    KERNEL_SD,
    RESTS_ON,
    STACK_SD,
    TABLE_SD,
    Recipe,
    computed,
    single_clock,
    wanted_point,
)
from hw_models.build.sources import deepbench, deepbench_transposed
from hw_models.device import Number

GTX960M_CLOCK = 1176.0


def _gtx960m_points() -> tuple[Mapping[str, Any], ...]:
    figure: dict[str, Any] = {"device": "GTX960M(640)", "clock_mhz": GTX960M_CLOCK}
    blocks: dict[str, Any] = {"part": "blockSpeed", "group": "blocks"}
    return (
        wanted_point("espnet", "ESPNet", ESPNET, metric="fps", sd=0.3, part="notebook", **figure),
        wanted_point("espnet-c-3", "ESPNet-C/ESP", ESPNET_C3, metric="fps", sd=0.1, part="blockSpeed", **figure),
        wanted_point(
            "espnet-c-mobilenet",
            "ESPNet-C/MobileNet",
            ESPNET_C3 | {"block": "mobilenet", "downsample": "conv"},
            metric="fps",
            sd=0.1,
            **(figure | blocks),
        ),
        wanted_point(
            "espnet-c-resnet",
            "ESPNet-C/ResNet",
            ESPNET_C3 | {"block": "resnet", "downsample": "conv"},
            metric="fps",
            sd=0.1,
            **(figure | blocks),
        ),
        wanted_point("enet", "ENet", ENET, metric="fps", sd=0.5, part="derived", **figure),
        wanted_point("pspnet", "PSPNet", {"family": "pspnet"}, metric="fps", sd=0.3, part="FPS", **figure),
    )


GTX960M = Recipe(
    name="gtx960m",
    title="NVIDIA GeForce GTX 960M (GM107, 640 CUDA cores, GDDR5)",
    power_covers="card",
    power_note="No GTX 960M reports its power (the driver says N/A): wide bounds, up to the highest published TDP.",
    clocks=single_clock(GTX960M_CLOCK, "boost clock in TensorFlow logs (memoryClockRate(GHz) 1.176)"),
    numbers={
        "macs_per_cycle": computed(640, "MAC/cycle", "640 CUDA cores (notebookcheck.net), one MAC each: 1.505 TFLOP/s"),
        "memory_bandwidth": Number(80.2e9, "B/s", "spec", "128-bit GDDR5 at 5 Gb/s; some boards ship slower DDR3"),
        "idle_power": Number(
            5.0, "W", "assumed", "share of the limit that the same generation's desktop cards idle at"
        ),
        "power_limit": Number(75.0, "W", "spec", "TDP 65 W (hardwaredb.net) to 75 W (cputronic, sysrqmts)"),
        "frame_overhead": Number(5.0e-5, "s", "assumed", "one synchronisation a frame"),
    },
    table_macs_per_cycle=3072,
    table=lambda folder: deepbench(folder, "GTX TITAN X (Maxwell)", 1075.0, "proxy-device"),
    transposed=lambda folder: deepbench_transposed(folder, "GTX TITAN X (Maxwell)", 1075.0, "proxy-device"),
    extracts=(),
    table_prior={
        "efficiency": 0.8,
        "half_out": 4,
        "half_depth": 30,
        "half_work": 1e5,
        "winograd": 0.9,
        "pointwise": 1,
        "dilated": 1.5,
        "grouped": 2,
        "depthwise": 3,
        "transposed": 2.5,
        "bandwidth": 265e9,
        "bytes_per_cycle": 4000,
        "floor": 6e-6,
        "dispatch": 37e-6,
    },
    table_sd={**TABLE_SD, "bandwidth": 0.1, "bytes_per_cycle": 0.1},
    stack_prior={"floor": 6e-6, "bandwidth": 72e9, "bytes_per_cycle": 700, "half_work": 3e4},
    stack_sd={**STACK_SD, "bytes_per_cycle": 0.05},
    power_rows=None,
    power_prior={
        "energy_per_mac": 40e-12,
        "energy_per_byte": 120e-12,
        "active": 20.0,
        "ramp": 2e-4,
        "clock_exponent": 1.28,
    },
    power_sd={
        "energy_per_mac": 0.7,
        "energy_per_byte": 0.8,
        "active": 0.6,
        "ramp": 0.7,
        "clock_exponent": 0.1,
    },
    latency_network_sd=0.18,
    power_network_sd=0.35,
    kernel_sd=KERNEL_SD,
    rests_on=RESTS_ON,
    points=_gtx960m_points(),
    notes=(HOST, BENCHMARK),
)
