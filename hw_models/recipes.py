"""How each shipped device is put together: its numbers, its tables, its published points, its priors.

A prior says what was known before the published whole-network points were seen, and how sure that was:
the tables were measured under other software stacks, and nearly no row has fewer than 32 channels.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hw_models.device import Clocks, Number
from hw_models.sources import deepbench, sysidentif, sysidentif_power, tophub
from hw_models.tables import KernelRow

Rows = Callable[[Path], list[KernelRow]]


@dataclass(frozen=True)
class Recipe:
    """What a device is built from.

    table: rows the roofline is fitted to, on a chip of table_macs_per_cycle. extracts: file name, rows, and
    how many of them ship.
    table_prior, table_sd: parameters before the tables. stack_sd: how far another stack may lie from them.
    kernel_sd: log error of one kernel where the tables have too few rows to measure it. rests_on: what the
    price of each kind rests on. network_sd: log error of a whole network, before networks were left out.
    points: published points, as `sources.published` finds them.
    """

    name: str
    title: str
    power_covers: str
    power_note: str
    clocks: Clocks
    numbers: Mapping[str, Number]
    table: Rows
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

    @property
    def peak_macs_s(self) -> float:
        """Peak of the default clock in multiply-accumulates a second."""
        return self.numbers["macs_per_cycle"].value * self.clocks.default_mhz * 1e6


MICROBENCH = "hw/microbench.csv"

ESPNET = {"family": "espnet", "variant": "ESPNet", "alpha3": 8}
ESPNET_C3 = {"family": "espnet", "variant": "C", "alpha3": 3}
ENET = {"family": "enet"}

_WIDE = {
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

RESTS_ON = dict.fromkeys(KERNEL_SD, "calibrated") | dict.fromkeys(("grouped", "linear", "resize"), "modelled")
"""The published networks that calibrate hold every kind but these, and depth-wise convolutions."""


def _point(
    network: str, model: str, spec: Mapping[str, Any], device: str, metric: str, sd: float, **more: Any
) -> dict[str, Any]:
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
    } | more


def _tx2_points() -> tuple[Mapping[str, Any], ...]:
    poster: dict[str, Any] = {"device": "JetsonTX2(256)", "part": "poster"}
    text: dict[str, Any] = {"device": "JetsonTX2(256)", "part": "824mhz"}
    points = []
    for clock in (828, 1134, 1300):
        for network, spec in (("ESPNet", ESPNET), ("ENet", ENET)):
            points.append(
                _point(
                    network.lower(),
                    network,
                    spec,
                    metric="fps",
                    sd=0.03,
                    clock_mhz=clock,
                    row_clock=str(clock),
                    **poster,
                )
            )
    for clock in (828, 1134):
        for network, spec in (("ESPNet", ESPNET), ("ENet", ENET)):
            points.append(
                _point(
                    network.lower(),
                    network,
                    spec,
                    metric="power_w",
                    sd=0.1,
                    clock_mhz=clock,
                    row_clock=str(clock),
                    **text,
                )
            )
    for size in ((640, 360), (768, 432)):
        points.append(
            _point(
                "espnet",
                "ESPNet",
                ESPNET,
                device="JetsonTX2(256)",
                metric="fps",
                sd=0.5,
                clock_mhz=1300,
                row_clock="1300",
                size=size,
                part="issue",
                use="check",
                bound="lower",
            )
        )
    return tuple(points)


def _single(clock: float, source: str) -> Clocks:
    return Clocks(clock, clock, clock, {}, source)


def _computed(value: float, unit: str, source: str) -> Number:
    return Number(value, unit, "computed", source)


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
        "macs_per_cycle": _computed(
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
    table_sd=_WIDE,
    stack_prior={"floor": 30e-6, "bandwidth": 40e9, "bytes_per_cycle": 60},
    stack_sd=STACK_SD,
    power_rows=sysidentif_power,
    power_prior={
        "energy_per_mac": 12e-12,
        "energy_per_byte": 40e-12,
        "active": 4.0,
        "dilated": 0.5,
        "clock_exponent": 1.28,
    },
    power_sd={
        "energy_per_mac": 0.5,
        "energy_per_byte": 0.7,
        "active": 0.3,
        "dilated": 1.0,
        "clock_exponent": 0.15,
    },
    latency_network_sd=0.15,
    power_network_sd=0.30,
    kernel_sd=KERNEL_SD,
    rests_on=RESTS_ON | {"depthwise": "proxy-device"},
    points=_tx2_points(),
    notes=(),
)

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
        points.append(_point(network.lower(), network, spec, metric="fps", sd=0.1, part="sota.jpeg", **sota))
        points.append(_point(network.lower(), network, spec, metric="power_w", sd=0.7, part="sotaPower", **sota))
    for network, spec in TORCH7:
        timed = {"size": (224, 224), "part": "cnn-benchmarks", "use": "check"} | sota
        points.append(_point(network.lower(), network, spec, metric="latency_ms", sd=0.1, **timed))
    points.append(
        _point("espnet", "ESPNet", ESPNET, metric="fps", sd=0.5, size=(512, 512), part="poster", use="check", **sota)
    )
    return tuple(points)


def _titanx_depthwise(folder: Path) -> list[KernelRow]:
    return [row for row in tophub(folder, "GTX 1080 Ti", TITANX_CLOCK, "proxy-device") if row.groups > 1]


TITANX = Recipe(
    name="titanx",
    title="NVIDIA TITAN X (Pascal, 3584 CUDA cores)",
    power_covers="card",
    power_note="The whole card as nvidia-smi reads it: 51 W when idle in the paper's figure.",
    clocks=_single(TITANX_CLOCK, "base-boost clock; the card chooses its own clock from 139 to 1910 MHz"),
    numbers={
        "macs_per_cycle": _computed(3584, "MAC/cycle", "3584 CUDA cores, one MAC each: 10.97 TFLOP/s at 1531 MHz"),
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
    table_sd={**_WIDE, "bandwidth": 0.1, "bytes_per_cycle": 0.1},
    stack_prior={"floor": 6e-6, "bandwidth": 370e9},
    stack_sd={**STACK_SD, "bytes_per_cycle": 0.05},
    power_rows=None,
    power_prior={
        "energy_per_mac": 25e-12,
        "energy_per_byte": 60e-12,
        "active": 60.0,
        "dilated": 0.5,
        "clock_exponent": 1.28,
    },
    power_sd={
        "energy_per_mac": 0.5,
        "energy_per_byte": 0.7,
        "active": 0.4,
        "dilated": 0.7,
        "clock_exponent": 0.1,
    },
    latency_network_sd=0.15,
    power_network_sd=0.20,
    kernel_sd=KERNEL_SD,
    rests_on=RESTS_ON | {"depthwise": "measured-other-stack"},
    points=_titanx_points(),
    notes=(),
)

GTX960M_CLOCK = 1176.0


def _gtx960m_points() -> tuple[Mapping[str, Any], ...]:
    figure: dict[str, Any] = {"device": "GTX960M(640)", "clock_mhz": GTX960M_CLOCK}
    blocks: dict[str, Any] = {"part": "blockSpeed", "group": "blocks"}
    return (
        _point("espnet", "ESPNet", ESPNET, metric="fps", sd=0.3, part="notebook", **figure),
        _point("espnet-c-3", "ESPNet-C/ESP", ESPNET_C3, metric="fps", sd=0.1, part="blockSpeed", **figure),
        _point(
            "espnet-c-mobilenet",
            "ESPNet-C/MobileNet",
            ESPNET_C3 | {"block": "mobilenet", "downsample": "conv"},
            metric="fps",
            sd=0.1,
            **(figure | blocks),
        ),
        _point(
            "espnet-c-resnet",
            "ESPNet-C/ResNet",
            ESPNET_C3 | {"block": "resnet", "downsample": "conv"},
            metric="fps",
            sd=0.1,
            **(figure | blocks),
        ),
        _point("enet", "ENet", ENET, metric="fps", sd=0.5, part="derived", **figure),
        _point("pspnet", "PSPNet", {"family": "pspnet"}, metric="fps", sd=0.3, part="FPS", **figure),
    )


GTX960M = Recipe(
    name="gtx960m",
    title="NVIDIA GeForce GTX 960M (GM107, 640 CUDA cores, GDDR5)",
    power_covers="card",
    power_note="No GTX 960M reports its power (the driver says N/A): wide bounds, up to the highest published TDP.",
    clocks=_single(GTX960M_CLOCK, "boost clock in TensorFlow logs (memoryClockRate(GHz) 1.176)"),
    numbers={
        "macs_per_cycle": _computed(
            640, "MAC/cycle", "640 CUDA cores (notebookcheck.net), one MAC each: 1.505 TFLOP/s"
        ),
        "memory_bandwidth": Number(80.2e9, "B/s", "spec", "128-bit GDDR5 at 5 Gb/s; some boards ship slower DDR3"),
        "idle_power": Number(
            5.0, "W", "assumed", "share of the limit that the same generation's desktop cards idle at"
        ),
        "power_limit": Number(75.0, "W", "spec", "TDP 65 W (hardwaredb.net) to 75 W (cputronic, sysrqmts)"),
        "frame_overhead": Number(5.0e-5, "s", "assumed", "one synchronisation a frame"),
    },
    table_macs_per_cycle=3072,
    table=lambda folder: deepbench(folder, "GTX TITAN X (Maxwell)", 1075.0, "proxy-device"),
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
    table_sd={**_WIDE, "bandwidth": 0.1, "bytes_per_cycle": 0.1},
    stack_prior={"floor": 6e-6, "bandwidth": 72e9, "bytes_per_cycle": 700, "half_work": 3e4},
    stack_sd={**STACK_SD, "bytes_per_cycle": 0.05},
    power_rows=None,
    power_prior={
        "energy_per_mac": 40e-12,
        "energy_per_byte": 120e-12,
        "active": 20.0,
        "dilated": 0.5,
        "clock_exponent": 1.28,
    },
    power_sd={
        "energy_per_mac": 0.7,
        "energy_per_byte": 0.8,
        "active": 0.6,
        "dilated": 0.7,
        "clock_exponent": 0.1,
    },
    latency_network_sd=0.18,
    power_network_sd=0.35,
    kernel_sd=KERNEL_SD,
    rests_on=RESTS_ON,
    points=_gtx960m_points(),
    notes=(),
)

RECIPES: Mapping[str, Recipe] = {recipe.name: recipe for recipe in (TX2, GTX960M, TITANX)}
"""The shipped devices."""
