"""Jetson TX2: the one device with rows and power readings of its own under PyTorch."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hw_models.build.recipes.common import (
    BENCHMARK,
    ENET,
    ERFNET,
    ESPNET,
    KERNEL_SD,
    RESTS_ON,
    STACK_SD,
    TABLE_SD,
    Recipe,
    computed,
    wanted_point,
)
from hw_models.build.sources import sysidentif, sysidentif_power, tophub
from hw_models.device import Clocks, Number
from hw_models.tables import KernelRow

NETWORKS = (("ESPNet", ESPNET), ("ENet", ENET), ("ERFNet", ERFNET))


def _tx2_points() -> tuple[Mapping[str, Any], ...]:
    board: dict[str, Any] = {"device": "JetsonTX2(256)"}
    speed: dict[str, Any] = board | {"metric": "fps", "sd": 0.03, "part": "poster"}
    power: dict[str, Any] = board | {"metric": "power_w", "sd": 0.1, "part": "824mhz"}
    points = [
        wanted_point(network.lower(), network, spec, clock_mhz=clock, row_clock=str(clock), **published)
        for published, clocks in ((speed, (828, 1134, 1300)), (power, (828, 1134)))
        for clock in clocks
        for network, spec in NETWORKS
    ]
    least: dict[str, Any] = board | {"metric": "fps", "sd": 0.5, "part": "issue", "use": "check", "bound": "lower"}
    for size in ((640, 360), (768, 432)):
        points.append(wanted_point("espnet", "ESPNet", ESPNET, clock_mhz=1300, row_clock="1300", size=size, **least))
    return tuple(points)


def _tx2_tvm(folder: Path) -> list[KernelRow]:
    # Another stack, but it alone has depth-wise rows and short sums, which PyTorch's rows leave out.
    return tophub(folder, "Jetson TX2", 1300.0, "measured-other-stack")


TX2 = Recipe(
    name="tx2",
    title="NVIDIA Jetson TX2 (256 CUDA cores, 8 GB LPDDR4)",
    power_covers="GPU rail",
    power_note="The GPU's supply rail as the board's own sensor reads it, not the board: 0.15 W when idle.",
    clocks=Clocks(
        828.0,
        1300.0,
        1300.0,
        {"Max-N": 1300.0, "Max-P": 1120.0, "Max-Q": 850.0},
        "modes: jetsonhacks.com 2017/03/25 nvpmodel; 828 and 1134 MHz: ESPNet's power and speed figures",
    ),
    numbers={
        "macs_per_cycle": computed(
            256, "MAC/cycle", "256 CUDA cores (deviceQuery, compute capability 6.2), one MAC each"
        ),
        "memory_bandwidth": Number(59.7e9, "B/s", "spec", "128-bit LPDDR4 at 1866 MHz"),
        "idle_power": Number(0.152, "W", "measured", "tegrastats dumps; SysIdentif: GPU rail"),
        "power_limit": Number(15.0, "W", "spec", "Jetson TX2 module, Max-N budget"),
        "frame_overhead": Number(2.0e-4, "s", "assumed", "one synchronisation and copy of the result a frame"),
    },
    table_macs_per_cycle=256,
    table=lambda folder: sysidentif(folder)[::5] + _tx2_tvm(folder),
    extracts=(
        ("kernels_pytorch.csv", sysidentif, 60),
        ("kernels_tvm.csv", _tx2_tvm, 60),
    ),
    table_prior={
        "efficiency": 0.6,
        "half_out": 8,
        "half_depth": 30,
        "half_work": 2e4,
        "winograd": 0.5,
        "pointwise": 1,
        "dilated": 1.5,
        "grouped": 2,
        "depthwise": 3,
        "transposed": 2.5,
        "bandwidth": 40e9,
        "bytes_per_cycle": 60,
        "floor": 30e-6,
        "dispatch": 120e-6,
    },
    table_sd=TABLE_SD,
    stack_prior={"floor": 30e-6, "bandwidth": 40e9, "bytes_per_cycle": 60},
    stack_sd=STACK_SD,
    power_rows=sysidentif_power,
    power_prior={
        "energy_per_mac": 12e-12,
        "energy_per_byte": 40e-12,
        "active": 4.0,
        "ramp": 1e-3,
        # Paired convolutions: power x0.39 from 1300 to 850 MHz (SysIdentif); boards less idle: 9.64 to 3.82 W
        # (QuTiBench).
        "clock_exponent": 1.2,
    },
    power_sd={
        "energy_per_mac": 0.7,
        "energy_per_byte": 1.2,
        "active": 0.5,
        "ramp": 0.5,
        "clock_exponent": 0.15,
    },
    latency_network_sd=0.15,
    power_network_sd=0.30,
    kernel_sd=KERNEL_SD,
    rests_on=RESTS_ON | {"depthwise": "proxy-device"},
    points=_tx2_points(),
    notes=(
        "Published power: three networks at two clocks, of the GPU's rail (the module alone draws more than "
        "ESPNet's 1 W; "
        "under single convolutions the same rail reads 4.3 to 9.0 W at 1300 MHz). From 828 to 1134 MHz it grows "
        "2.2 times "
        "with ESPNet, 3.1 with ENet and 2.3 with ERFNet, while paired convolutions (SysIdentif) and whole boards "
        "(QuTiBench) give a power of the clock near 2.2, which is 2.0 times. The law of the clock is therefore those "
        "sources', and two readings of one network may differ by its own error.",
        "A watt limit is as good as the readings for the three networks that were read, assumes that networks like "
        "them err alike, and only ranks others. Three networks are the evidence of every interval of power, so their "
        "quantiles are Student's. The spreads of this prior were chosen among six settings, with these readings in "
        "view, as one that keeps the published order of the three networks.",
        BENCHMARK,
    ),
)
