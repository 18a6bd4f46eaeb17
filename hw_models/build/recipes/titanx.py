"""TITAN X (Pascal): cuDNN rows of its own; what is bound by the host is seen in its published points."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hw_models.build.recipes.common import (
    BENCHMARK,
    ENET,
    ESPNET,
    HOST,
    KERNEL_SD,
    NARROW,
    RESTS_ON,
    STACK_SD,
    TABLE_SD,
    Recipe,
    computed,
    single_clock,
    wanted_point,
)
from hw_models.build.sources import deepbench, deepbench_transposed, tophub
from hw_models.build.whole_networks import dlinfbench
from hw_models.device import Number
from hw_models.tables import KernelRow

TITANX_CLOCK = 1531.0

# Host dispatch on a desktop: at most 36 µs an operation (ESPNet at 640x360 on a GTX 1080 Ti, 144 frames/s,
# tahaemara/LiteSeg); about 45 µs under PyTorch of 2021 (HayeonLee/HELP). 37 µs is the prior below.


TORCH7 = (
    ("VGG-16", {"family": "vgg", "depth": 16}),
    ("VGG-19", {"family": "vgg", "depth": 19}),
    ("ResNet-50", {"family": "resnet", "depth": 50}),
    ("ResNet-101", {"family": "resnet", "depth": 101}),
    ("ResNet-152", {"family": "resnet", "depth": 152}),
)
"""Classifiers timed at batch 16 under Torch7, PyTorch's predecessor on the same cuDNN: checks only."""


def _titanx_points() -> tuple[Mapping[str, Any], ...]:
    sota: dict[str, Any] = {"device": "TitanX-Pascal(3584)", "clock_mhz": TITANX_CLOCK}
    points = []
    for network, spec in (
        ("ESPNet", ESPNET),
        ("ENet", ENET),
        ("SegNet", {"family": "segnet"}),
        ("FCN-8s", {"family": "fcn"}),
        ("PSPNet", {"family": "pspnet"}),
    ):
        points.append(wanted_point(network.lower(), network, spec, metric="fps", sd=0.1, part="sota.jpeg", **sota))
        points.append(wanted_point(network.lower(), network, spec, metric="power_w", sd=0.7, part="sotaPower", **sota))
    for network, spec in TORCH7:
        timed = {"size": (224, 224), "part": "cnn-benchmarks", "use": "check"} | sota
        points.append(wanted_point(network.lower(), network, spec, metric="latency_ms", sd=0.1, **timed))
    points.append(
        wanted_point(
            "espnet", "ESPNet", ESPNET, metric="fps", sd=0.5, size=(512, 512), part="poster", use="check", **sota
        )
    )
    return tuple(points)


def _titanx_depthwise(folder: Path) -> list[KernelRow]:
    return [row for row in tophub(folder, "GTX 1080 Ti", TITANX_CLOCK, "proxy-device") if row.groups > 1]


def _titanx_transposed(folder: Path) -> list[KernelRow]:
    return deepbench_transposed(folder, "TITAN X (Pascal)", TITANX_CLOCK, "measured-other-stack")


TITANX = Recipe(
    name="titanx",
    title="NVIDIA TITAN X (Pascal, 3584 CUDA cores)",
    power_covers="card",
    power_note="The whole card as nvidia-smi reads it: 51 W when idle in the paper's figure.",
    clocks=single_clock(TITANX_CLOCK, "base-boost clock; the card chooses its own clock from 139 to 1910 MHz"),
    numbers={
        "macs_per_cycle": computed(3584, "MAC/cycle", "3584 CUDA cores, one MAC each: 10.97 TFLOP/s at 1531 MHz"),
        "memory_bandwidth": Number(480e9, "B/s", "spec", "384-bit GDDR5X at 10 Gb/s"),
        "idle_power": Number(
            51.0, "W", "measured", "sacmehta/ESPNet webfigures/sotaPower.jpeg: idle mode (16 W elsewhere)"
        ),
        "power_limit": Number(250.0, "W", "spec", "nvidia-smi"),
        "frame_overhead": Number(5.0e-5, "s", "assumed", "one synchronisation a frame"),
    },
    table_macs_per_cycle=3584,
    table=lambda folder: (
        deepbench(folder, "TITAN X (Pascal)", TITANX_CLOCK, "measured-other-stack") + _titanx_depthwise(folder)
    ),
    transposed=_titanx_transposed,
    extracts=(
        (
            "kernels_cudnn.csv",
            lambda folder: deepbench(folder, "TITAN X (Pascal)", TITANX_CLOCK, "measured-other-stack"),
            94,
        ),
        ("kernels_tvm.csv", _titanx_depthwise, 60),
    ),
    table_prior={
        "efficiency": 0.8,
        "half_out": 4,
        "half_depth": 30,
        "half_work": 2e5,
        "winograd": 0.9,
        "pointwise": 1,
        "dilated": 1.5,
        "grouped": 2,
        "depthwise": 3,
        "transposed": 2.5,
        "bandwidth": 370e9,
        "bytes_per_cycle": 4000,
        "floor": 6e-6,
        "dispatch": 37e-6,
    },
    table_sd={**TABLE_SD, "bandwidth": 0.1, "bytes_per_cycle": 0.1},
    stack_prior={"floor": 6e-6, "bandwidth": 370e9, "half_out": NARROW},
    stack_sd={**STACK_SD, "bytes_per_cycle": 0.05},
    power_rows=None,
    power_prior={
        "energy_per_mac": 25e-12,
        "energy_per_byte": 60e-12,
        "active": 60.0,
        "ramp": 1e-4,
        "clock_exponent": 1.28,
    },
    power_sd={
        "energy_per_mac": 0.5,
        "energy_per_byte": 0.7,
        "active": 0.4,
        "ramp": 0.7,
        "clock_exponent": 0.1,
    },
    latency_network_sd=0.15,
    power_network_sd=0.20,
    kernel_sd=KERNEL_SD,
    rests_on=RESTS_ON | dict.fromkeys(("depthwise", "transposed"), "measured-other-stack"),
    points=_titanx_points(),
    whole_networks=lambda folder: dlinfbench(folder, "titan_x_pascal", TITANX_CLOCK),
    notes=(HOST, BENCHMARK),
)
