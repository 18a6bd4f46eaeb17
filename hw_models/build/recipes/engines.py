"""Boards under an inference engine: Jetsons with TensorRT in FP16, Raspberry Pis with TensorFlow Lite.

No table of single kernels was published for these stacks, so a device rests on whole networks alone: the priors
below say what the architecture lets expect, in shares of peak and of bandwidth, and how little that is.
"""

from collections.abc import Mapping
from dataclasses import dataclass
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
            "memory_bandwidth": Number(board.bandwidth, "B/s", "spec", board.bandwidth_source),
            "idle_power": board.idle_power,
            "power_limit": board.power_limit,
            **({"idle_power_slope": board.idle_slope} if board.idle_slope else {}),
            "frame_overhead": Number(board.overhead, "s", "assumed", "copies of one image and one result a frame"),
        },
        table=None,
        table_macs_per_cycle=board.macs_per_cycle,
        extracts=(),
        table_prior=prior,
        table_sd=ENGINE_SD,
        stack_prior=prior,
        stack_sd=ENGINE_SD,
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
        whole_networks=partial(points, wanted=board.rows),
    )


CLOCK_ASSUMED = (
    "The sources do not state the clocks; the board's fastest mode is assumed. At other clocks the roofline foretells "
    "the time with the memory's clock unchanged, which no measurement of this board has checked."
)


COPIES = (
    "torch2trt timed this board under a TensorRT of 2019 that copied each input of a concatenation by a kernel "
    "of its own: "
    "the times of its four DenseNets follow the number of copies (506, 1026, 1114, 1754) at 18 µs a copy. Later "
    "versions, "
    "netspresso-trainer's among them, write in place. DenseNets and ShuffleNets of that source only check. That was "
    "decided after their errors had been seen: with them the mean error of left-out networks was 25.6 %, "
    "without 16.9 %."
)


def _jetson(
    name: str,
    title: str,
    source_names: tuple[str, ...],
    macs: tuple[float, str],
    bandwidth: tuple[float, str],
    clocks: Clocks,
    power: tuple[float, float],
    host: tuple[float, float],
    other_version: tuple[str, ...] = (),
    **prior: float,
) -> Board:
    return Board(
        name=name,
        title=title,
        stack="tensorrt",
        macs_per_cycle=macs[0],
        macs_source=macs[1],
        bandwidth=bandwidth[0],
        bandwidth_source=bandwidth[1],
        clocks=clocks,
        rows=Rows(source_names, "tensorrt", "fp16", {"": clocks.default_mhz}, other_version),
        idle_power=Number(power[0], "W", "assumed", "a fifth of the smallest power mode"),
        power_limit=Number(power[1], "W", "spec", "NVIDIA data sheet of the module, largest power mode"),
        floor=host[0],
        dispatch=host[1],
        overhead=1e-4,
        prior=prior,
        notes=(CLOCK_ASSUMED, *((COPIES,) if other_version else ())),
    )


JETSONS = (
    _jetson(
        "orin-nano",
        "NVIDIA Jetson Orin Nano 8GB (1024 CUDA cores, 32 tensor cores)",
        ("Jetson Orin Nano",),
        (8192, "32 tensor cores of 256 FP16 MAC each: 10 TFLOP/s at 625 MHz (half of the data sheet's 20 dense TOPS)"),
        (68e9, "NVIDIA Jetson Orin Nano Series data sheet: 128-bit LPDDR5, 68 GB/s"),
        Clocks(306.0, 625.0, 625.0, {"15W": 625.0}, "NVIDIA Jetson Orin Nano Series data sheet: 625 MHz at 15 W"),
        (1.4, 15.0),
        (6e-6, 1.2e-5),
        half_work=8 * TILE,
    ),
    _jetson(
        "agx-orin",
        "NVIDIA Jetson AGX Orin (2048 CUDA cores, 64 tensor cores)",
        ("Jetson AGX Orin",),
        (
            16384,
            "64 tensor cores of 256 FP16 MAC each: 42.5 TFLOP/s at 1300 MHz (half of the data sheet's 85 dense TOPS)",
        ),
        (204.8e9, "NVIDIA Jetson AGX Orin Series data sheet: 256-bit LPDDR5, 204.8 GB/s"),
        Clocks(306.0, 1300.0, 1300.0, {"MAXN": 1300.0}, "NVIDIA Jetson AGX Orin Series data sheet: up to 1.3 GHz"),
        (3.0, 60.0),
        (4e-6, 6e-6),
        half_work=16 * TILE,
    ),
    _jetson(
        "xavier-nx",
        "NVIDIA Jetson Xavier NX (384 CUDA cores, 48 tensor cores)",
        ("Jetson NX",),
        (3072, "48 tensor cores of 64 FP16 MAC each"),
        (59.7e9, "NVIDIA Jetson Xavier NX data sheet: 128-bit LPDDR4x, 59.7 GB/s"),
        Clocks(318.0, 1100.0, 1100.0, {"15W": 1100.0}, "NVIDIA Jetson Xavier NX data sheet: 1100 MHz at 15 W"),
        (2.0, 20.0),
        (6e-6, 1.2e-5),
        half_work=6 * TILE,
    ),
    _jetson(
        "agx-xavier",
        "NVIDIA Jetson AGX Xavier (512 CUDA cores, 64 tensor cores)",
        ("Jetson Xavier", "Jetson AGX Xavier"),
        (4096, "64 tensor cores of 64 FP16 MAC each: 11 TFLOP/s at 1377 MHz"),
        (136.5e9, "NVIDIA Jetson AGX Xavier data sheet: 256-bit LPDDR4x, 136.5 GB/s"),
        Clocks(318.0, 1377.0, 1377.0, {"MAXN": 1377.0}, "NVIDIA Jetson AGX Xavier data sheet: 1377 MHz"),
        (2.0, 30.0),
        (6e-6, 1.2e-5),
        ("densenet", "shufflenetv2"),
        half_work=8 * TILE,
    ),
    _jetson(
        "nano",
        "NVIDIA Jetson Nano (128 CUDA cores, Maxwell)",
        ("Jetson Nano",),
        (256, "128 CUDA cores, two FP16 MAC each: 472 GFLOP/s at 921.6 MHz"),
        (25.6e9, "NVIDIA Jetson Nano data sheet: 64-bit LPDDR4, 25.6 GB/s"),
        Clocks(230.0, 921.6, 921.6, {"MAXN": 921.6, "5W": 640.0}, "NVIDIA Jetson Nano data sheet: 921 MHz, 640 at 5 W"),
        (1.0, 10.0),
        (1e-5, 3e-5),
        half_work=TILE,
        half_out=16,
        winograd=0.6,
    ),
)

TX2_TENSORRT = Board(
    name="tx2-tensorrt",
    title="NVIDIA Jetson TX2 (256 CUDA cores, 8 GB LPDDR4) with TensorRT",
    stack="tensorrt",
    macs_per_cycle=512,
    macs_source="256 CUDA cores, two FP16 MAC each (compute capability 6.2)",
    bandwidth=59.7e9,
    bandwidth_source="128-bit LPDDR4 at 1866 MHz",
    clocks=Clocks(
        828.0,
        1300.0,
        1300.0,
        {"Max-N": 1300.0, "Max-P": 1120.0, "Max-Q": 850.0},
        "modes: jetsonhacks.com 2017/03/25 nvpmodel",
    ),
    rows=Rows(("Jetson TX2",), "tensorrt", "fp16", {"": 1300.0, "maxn": 1300.0, "maxp": 1120.0, "maxq": 850.0}),
    idle_power=Number(5.7, "W", "measured", "QuTiBench: idle board at Max-N, of which 1.8 W are the carrier's"),
    idle_slope=Number(
        0.00344, "W/MHz", "measured", "QuTiBench: idle board 5.70 W at 1300 MHz and 4.15 W at 850 (4.70 at 1120)"
    ),
    power_limit=Number(21.0, "W", "assumed", "15 W of the module at Max-N, 1.8 W carrier board, and its supply"),
    floor=1e-5,
    dispatch=3e-5,
    overhead=1e-4,
    prior={"half_work": 2 * TILE, "half_out": 16, "winograd": 0.6},
    power_covers="board",
    power_note=(
        "The whole developer kit as QuTiBench read it under two classifiers; the device tx2 covers the GPU's rail."
    ),
    power_prior={
        "energy_per_mac": 14e-12,
        "energy_per_byte": 100e-12,
        "active": 3.0,
        "ramp": 1e-4,
        "clock_exponent": 1.2,
    },
)


def _pi(
    name: str, title: str, source: str, macs: tuple[float, str], bandwidth: tuple[float, str], clock: float
) -> Board:
    return Board(
        name=name,
        title=title,
        stack="tflite",
        macs_per_cycle=macs[0],
        macs_source=macs[1],
        bandwidth=bandwidth[0],
        bandwidth_source=bandwidth[1],
        clocks=Clocks(clock, clock, clock, {}, "raspberrypi.com: clock of the processor"),
        rows=Rows((source,), "tflite", "fp16", {"": clock}),
        idle_power=Number(2.7, "W", "assumed", "an idle board; nobody published one beside these times"),
        power_limit=Number(15.0 if name == "rpi4" else 25.0, "W", "spec", "raspberrypi.com: recommended power supply"),
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
        (32, "4 Cortex-A76 cores, two 128-bit FP32 multiply-accumulates a cycle each: 8 MAC"),
        (17.1e9, "32-bit LPDDR4X-4267"),
        2400.0,
    ),
    _pi(
        "rpi4",
        "Raspberry Pi 4B (4 Cortex-A72) with TensorFlow Lite",
        "Raspberry Pi 4B",
        (16, "4 Cortex-A72 cores, one 128-bit FP32 multiply-accumulate a cycle each: 4 MAC"),
        (12.8e9, "32-bit LPDDR4-3200"),
        1500.0,
    ),
)

ENGINES = tuple(recipe(board) for board in (*JETSONS, TX2_TENSORRT, *PIS))
