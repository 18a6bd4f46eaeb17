"""Jetsons with TensorRT in FP16; the TX2 also in FP32, the Nano also under PyTorch in FP16."""

from dataclasses import replace

from hw_models.build.recipes.boards import TILE, Board
from hw_models.build.whole_networks import Rows
from hw_models.device import Clocks, Number

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


def _idle(watts: float) -> Number:
    return Number(watts, "W", "assumed", "a fifth of the smallest power mode: no idle reading of this board was found")


def _largest_mode(watts: float, source: str) -> Number:
    return Number(watts, "W", "spec", f"largest power mode: {source}")


LOWEST = "; the lower end is an assumption"
"""The lowest clock of a board, which no source that was read gives."""


def _jetson(
    name: str,
    title: str,
    source_names: tuple[str, ...],
    macs: tuple[float, str],
    bandwidth: tuple[float, str],
    clocks: Clocks,
    power: tuple[Number, Number],
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
        idle_power=power[0],
        power_limit=power[1],
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
        (
            8192,
            "32 tensor cores (Jetson Orin Nano data sheet, scribd.com 673174036) of 256 FP16 MAC each: half the rate "
            "of INT8, of which the sheet gives 20 dense TOPS",
        ),
        (
            68e9,
            "128-bit LPDDR5 (the same sheet); 68 GB/s before JetPack 6.1, 102 in its 25 W mode "
            "(brojogopalsapui.com, Jetson Orin Nano Super)",
        ),
        Clocks(306.0, 625.0, 625.0, {"15W": 625.0}, f"at most 625 MHz (data sheet, scribd.com 673174036){LOWEST}"),
        (
            Number(2.6, "W", "measured", "forums.developer.nvidia.com 348662: idle board, trimmed for least power"),
            _largest_mode(15.0, "15 W before JetPack 6.1 (brojogopalsapui.com, Jetson Orin Nano Super)"),
        ),
        (6e-6, 1.2e-5),
        half_work=8 * TILE,
    ),
    _jetson(
        "agx-orin",
        "NVIDIA Jetson AGX Orin (2048 CUDA cores, 64 tensor cores)",
        ("Jetson AGX Orin",),
        (
            16384,
            "64 tensor cores (cores: NVIDIA's developer kit as GitHub projects quote it) of 256 FP16 MAC each, as on "
            "Orin Nano; the rate is an assumption",
        ),
        (204.8e9, "data sheet DS-10662-001 v1.8: 256-bit LPDDR5 at 3200 MHz, 204.8 GB/s"),
        Clocks(306.0, 1300.0, 1300.0, {"MAXN": 1300.0}, "1.3 GHz at most: an assumption, no stored page gives it"),
        (_idle(3.0), _largest_mode(60.0, "data sheet, page 7 (forums.developer.nvidia.com 324194)")),
        (4e-6, 6e-6),
        half_work=16 * TILE,
    ),
    _jetson(
        "xavier-nx",
        "NVIDIA Jetson Xavier NX (384 CUDA cores, 48 tensor cores)",
        ("Jetson NX",),
        (3072, "48 tensor cores (data sheet DA-09366-001, preliminary) of 64 FP16 MAC each (Volta)"),
        (
            59.7e9,
            "128-bit LPDDR4x, 59.7 GB/s (nvidia.com, Jetson Xavier series, as GitHub projects quote it); at the "
            "preliminary sheet's 1600 MHz it would be 51.2",
        ),
        Clocks(318.0, 1100.0, 1100.0, {"15W": 1100.0}, f"at most 1100 MHz (data sheet DA-09366-001){LOWEST}"),
        (_idle(2.0), _largest_mode(20.0, "10 to 20 W (nvidia.com, Jetson Xavier series)")),
        (6e-6, 1.2e-5),
        half_work=6 * TILE,
    ),
    _jetson(
        "agx-xavier",
        "NVIDIA Jetson AGX Xavier (512 CUDA cores, 64 tensor cores)",
        ("Jetson Xavier", "Jetson AGX Xavier"),
        (4096, "512 CUDA cores (deviceQuery, gist r7vme 7276929c), 64 tensor cores of 64 FP16 MAC each (Volta)"),
        (136.5e9, "256-bit LPDDR4x (the same deviceQuery), 137 GB/s (gist discort 2213fcd6)"),
        Clocks(
            318.0,
            1377.0,
            1377.0,
            {"MAXN": 1377.0},
            f"1377 MHz: the memory clock that deviceQuery prints, which is the GPU's on this board{LOWEST}",
        ),
        (_idle(2.0), _largest_mode(30.0, "10, 15 and 30 W (GitHub ShreyasSkandanS/nvidia_xavier_utils)")),
        (6e-6, 1.2e-5),
        ("densenet", "shufflenetv2"),
        half_work=8 * TILE,
    ),
    _jetson(
        "nano",
        "NVIDIA Jetson Nano (128 CUDA cores, Maxwell)",
        ("Jetson Nano",),
        (256, "128 CUDA cores (deviceQuery, gist bgulla 5d7afdb6), two FP16 MAC each: 472 GFLOP/s at 921.6 MHz"),
        (25.6e9, "64-bit LPDDR4, 25.6 GB/s (cpu-gpu.alldbin.com, Jetson Nano)"),
        Clocks(
            230.0,
            921.6,
            921.6,
            {"MAXN": 921.6, "5W": 640.0},
            "at most 922 MHz (deviceQuery, gist bgulla 5d7afdb6); the clock of the 5 W mode and the lower end are "
            "assumptions",
        ),
        (_idle(1.0), _largest_mode(10.0, "5 and 10 W (cpu-gpu.alldbin.com, Jetson Nano)")),
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
    bandwidth_source="128-bit LPDDR4 at 1866 MHz; 58.4 GB/s at hardwareluxx.de",
    clocks=Clocks(
        828.0,
        1300.0,
        1300.0,
        {"Max-N": 1300.0, "Max-P": 1120.0, "Max-Q": 850.0},
        "modes: jetsonhacks.com 2017/03/25 nvpmodel; gist ZekunZh 75fa8790",
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

TX2_TENSORRT_FP32 = replace(
    TX2_TENSORRT,
    name="tx2-tensorrt-fp32",
    title="NVIDIA Jetson TX2 (256 CUDA cores, 8 GB LPDDR4) with TensorRT in FP32",
    macs_per_cycle=256,
    macs_source="256 CUDA cores, one FP32 MAC each (compute capability 6.2)",
    rows=replace(TX2_TENSORRT.rows, precision="fp32"),
)
"""The same two classifiers in FP32, which QuTiBench timed beside the others."""

_NANO = next(board for board in JETSONS if board.name == "nano")

NANO_PYTORCH = replace(
    _NANO,
    name="nano-pytorch",
    title="NVIDIA Jetson Nano (128 CUDA cores, Maxwell) under PyTorch in FP16",
    stack="pytorch-eager",
    rows=replace(_NANO.rows, stack="pytorch", other_version=()),
    floor=3e-5,
    dispatch=1.5e-4,
    notes=(
        CLOCK_ASSUMED,
        "torch2trt timed these networks without an engine for comparison; what its loop adds to a call is inside.",
    ),
)
"""PyTorch launches each layer by itself, from a slower processor than the TX2's, whose prior is 120 µs an operation."""

JETSON_BOARDS = (*JETSONS, TX2_TENSORRT, TX2_TENSORRT_FP32, NANO_PYTORCH)
"""All Jetsons of this file."""
