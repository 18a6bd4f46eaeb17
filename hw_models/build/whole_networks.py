"""Whole networks of today's devices: which row of the source is which reference network, and which are kept back.

The source (`hw/today_whole_networks.csv`) has no segmentation network. YOLOX comes nearest to one: its images have
640x640 pixels, and it joins three scales. All its rows but those in INT8 (`Rows.keep_back`) are therefore kept back:
they calibrate nothing, the list was committed before any device was fitted, and no prediction of them was computed
until the engines' priors were final (docs/hardware.md, "Kept back"). Their times stand in the same table as the
others' and could be read there.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from hw_models.build.sources import read_rows, significant
from hw_models.tables import Point

KEPT_BACK: Mapping[str, Mapping[str, Any]] = {
    "YOLOX-s": {"family": "yolox", "variant": "s", "classes": 4},
    "YOLOX-m": {"family": "yolox", "variant": "m", "classes": 4},
    "YOLOX-l": {"family": "yolox", "variant": "l", "classes": 4},
}
"""Networks of the source that only check, on every device, with their specs."""

NETSPRESSO: Mapping[str, Mapping[str, Any]] = {
    "MixNet-s": {"family": "mixnet", "variant": "small", "classes": 3},
    "MixNet-m": {"family": "mixnet", "variant": "medium", "classes": 3},
    "MixNet-l": {"family": "mixnet", "variant": "large", "classes": 3},
    "MobileNetV3-small": {"family": "mobilenetv3", "variant": "small", "classes": 3},
    "MobileNetV3-large": {"family": "mobilenetv3", "variant": "large", "classes": 3},
    "ResNet18": {"family": "resnet", "depth": 18, "classes": 3},
    "ResNet34": {"family": "resnet", "depth": 34, "classes": 3},
    "ResNet50": {"family": "resnet", "depth": 50, "classes": 3},
}
"""Classifiers of three classes timed by netspresso-trainer's authors; their transformers have no family here."""

TORCH2TRT: Mapping[str, Mapping[str, Any]] = {
    "alexnet": {"family": "alexnet"},
    "squeezenet1_0": {"family": "squeezenet", "version": "1.0"},
    "squeezenet1_1": {"family": "squeezenet", "version": "1.1"},
    **{f"resnet{depth}": {"family": "resnet", "depth": depth} for depth in (18, 34, 50, 101, 152)},
    "densenet121": {"family": "densenet"},
    "densenet161": {"family": "densenet", "units": [6, 12, 36, 24], "width": 96, "growth": 48},
    "densenet169": {"family": "densenet", "units": [6, 12, 32, 32]},
    "densenet201": {"family": "densenet", "units": [6, 12, 48, 32]},
    **{f"vgg{depth}": {"family": "vgg", "depth": depth} for depth in (11, 13, 16, 19)},
    **{f"vgg{depth}_bn": {"family": "vgg", "depth": depth, "bn": True} for depth in (11, 13, 16, 19)},
    "mobilenet_v2": {"family": "mobilenetv2"},
    **{f"shufflenet_v2_x{s[0]}_{s[2]}": {"family": "shufflenetv2", "scale": s} for s in ("0.5", "1.0", "1.5", "2.0")},
    **{
        f"mnasnet{name}": {"family": "mobilenetv2", "stages": "mnasnet", "scale": scale}
        for name, scale in (("0_5", 0.5), ("0_75", 0.75), ("1_0", 1.0), ("1_3", 1.3))
    },
}
"""torchvision's classifiers of 1000 classes as NVIDIA's torch2trt benchmark names them."""

QUTIBENCH: Mapping[str, Mapping[str, Any]] = {
    "GoogLeNetv1": {"family": "googlenet"},
    "ResNet-50": {"family": "resnet", "depth": 50},
}
"""Classifiers that QuTiBench timed on a TX2 at batches of 1 to 128 and three clocks, with the board's power."""

SPECS: Mapping[str, Mapping[str, Any]] = {**NETSPRESSO, **TORCH2TRT, **QUTIBENCH, **KEPT_BACK}
"""Every network of the source that has a family, by its name there."""


CALL = "torch2trt"
BATCHES = (1, 8, 64)
"""Batches of QuTiBench that are used: each network has eight, which are near-copies of each other."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Which rows of the source are one device's.

    names: the device's names there. clocks: GPU clock in MHz by what the column `software` says, "" for others.
    other_version: families whose times under torch2trt are another version's of the engine, and only check.
    keep_back: whether the networks of KEPT_BACK only check; where they are a third of the evidence, they calibrate.
    """

    names: tuple[str, ...]
    stack: str
    precision: str
    clocks: Mapping[str, float]
    other_version: tuple[str, ...] = ()
    keep_back: bool = True


def points(folder: Path, selection: Rows) -> list[Point]:
    """Points of one device, stack and precision: latencies, and power where it was read.

    torch2trt's times include Python's call and the synchronisation after it: the median difference to
    netspresso-trainer's times of the same ResNets on the same device is taken off.
    """
    rows = [r for r in read_rows(folder / "hw" / "today_whole_networks.csv") if _is_of(r, selection)]
    call_s = _call_s(rows)
    return [point for r in rows for point in _points(r, selection, call_s if CALL in r["source"] else 0.0)]


def _is_of(r: Mapping[str, str], selection: Rows) -> bool:
    return (
        r["device"].strip() in selection.names
        and (r["stack"], r["precision"]) == (selection.stack, selection.precision)
        and r["network"] in SPECS
        and ("Qutibench" not in r["source"] or int(r["batch"]) in BATCHES)
    )


def _call_s(rows: list[dict[str, str]]) -> float:
    """Median excess of torch2trt's times over netspresso-trainer's on ResNet-18, 34 and 50; 0 without both."""
    times = {(CALL in r["source"], r["network"].lower()): float(r["latency_ms"]) * 1e-3 for r in rows}
    excess = [
        times[True, name] - times[False, name] for _, name in times if (True, name) in times and (False, name) in times
    ]
    return max(0.0, significant(median(excess), 2)) if excess else 0.0


def _points(r: Mapping[str, str], selection: Rows, call_s: float) -> Iterator[Point]:
    name, spec = r["network"], SPECS[r["network"]]
    source = f"{r['source']} ({r['licence']})"
    other_version = CALL in r["source"] and spec["family"] in selection.other_version
    if call_s:
        source += f", less {call_s * 1e3:g} ms of the call"
    values = {"latency_s": float(r["latency_ms"]) * 1e-3 - call_s}
    if r["power_w"]:
        values["power_w"] = float(r["power_w"])
    for metric, value in values.items():
        yield Point(
            network=name.lower(),
            group=str(spec["family"]),
            spec=spec,
            width=int(r["width"]),
            height=int(r["height"]),
            batch=int(r["batch"]),
            clock_mhz=selection.clocks.get(r["software"], selection.clocks[""]),
            metric=metric,
            value=significant(value),
            relative_sd=READING_SD,
            use="check" if (name in KEPT_BACK and selection.keep_back) or other_version else "calibration",
            bound="none",
            source=source,
        )


DLINFBENCH: Mapping[str, Mapping[str, Any]] = {
    "alexnet": {"family": "alexnet"},
    "vgg16": {"family": "vgg", "depth": 16},
    "resnet50": {"family": "resnet", "depth": 50},
}
"""Networks of DLInfBench that have a family, with its names."""

DLINFBENCH_BATCHES = (1, 2, 8, 32, 128)
"""Batches of DLInfBench that are used: neighbours are near-copies of each other."""


def dlinfbench(folder: Path, card: str, clock_mhz: float) -> list[Point]:
    """Latencies of PyTorch 0.1.12 on a card at batches from 1 to 128, as checks.

    Copies to the card and the loop's own work are inside, so that a network takes at most as long.
    """
    return [
        Point(
            network=r["network"],
            group=str(DLINFBENCH[r["network"]]["family"]),
            spec=DLINFBENCH[r["network"]],
            width=224,
            height=224,
            batch=int(r["batch"]),
            clock_mhz=clock_mhz,
            metric="latency_s",
            value=significant(float(r["latency_ms"]) * 1e-3),
            relative_sd=READING_SD,
            use="check",
            bound="lower",
            source="nicklhy/DLInfBench (Apache-2.0): PyTorch 0.1.12, copies to the card included",
        )
        for r in read_rows(folder / "hw" / "dlinfbench.csv")
        if (r["device"], r["framework"], r["dtype"]) == (card, "pytorch", "float32")
        and r["network"] in DLINFBENCH
        and int(r["batch"]) in DLINFBENCH_BATCHES
    ]


READING_SD = 0.02
"""Relative standard deviation of one reading of these sources, which state none."""
