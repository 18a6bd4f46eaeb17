"""Reads the public measurements that the shipped devices are built from.

Each function takes the folder of the sources and gives rows or points in the form of a device's tables;
what the sources' caveats rule out is left out here, with the reason.
"""

import csv
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from math import exp
from pathlib import Path
from statistics import median
from typing import Any

from hw_models.tables import KernelRow, Point
from zoo.errors import ZooError

SYSIDENTIF_TRUSTED_S = {True: 1e-3, False: 3e-3}
"""Shortest latency to trust: rows timed with and without a synchronisation before the timer."""


def read_rows(path: Path) -> Iterator[dict[str, str]]:
    """Rows of a source. Raises ZooError where the file cannot be read."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            yield from csv.DictReader(file)
    except OSError as error:
        raise ZooError(f"{path}: cannot be read: {error.strerror}; give the folder of the sources") from None


def _pair(text: str) -> tuple[int, int]:
    first, _, second = text.partition("/")
    return int(float(first)), int(float(second or first))


def _kernel(
    r: Mapping[str, str], *, op: str, latency_s: float, sd: float, clock_mhz: float, stack: str, provenance: str
) -> KernelRow:
    """A row; `sd` is the standard deviation of the log latency and `power` is filled in by the caller."""
    pad = _pair(r["pad"])
    return KernelRow(
        op=op,
        in_channels=int(r["cin"]),
        out_channels=int(r["cout"]),
        groups=int(r["groups"]),
        kernel_h=int(r["kernel_h"]),
        kernel_w=int(r["kernel_w"]),
        stride=_pair(r["stride"])[0],
        pad_h=pad[0],
        pad_w=pad[1],
        dilation=_pair(r["dilation"])[0],
        height=int(r["h"]),
        width=int(r["w"]),
        batch=int(r["batch"]),
        clock_mhz=clock_mhz,
        stack=stack,
        precision="fp32",
        latency_s=significant(latency_s),
        latency_low_s=significant(latency_s * exp(-1.645 * sd)),
        latency_high_s=significant(latency_s * exp(1.645 * sd)),
        power_w=None,
        power_low_w=None,
        power_high_w=None,
        provenance=provenance,
        source=r["source"],
        n=1,
    )


def significant(value: float, digits: int = 6) -> float:
    """A value rounded to significant digits, so that files do not depend on the machine that wrote them."""
    return float(f"{value:.{digits}g}")


def sysidentif(folder: Path) -> list[KernelRow]:
    """Convolution, bias and ReLU on a Jetson TX2 under PyTorch, with GPU-rail power, where the time can be trusted."""
    trusted = []
    for r in read_rows(folder / "hw" / "tx2_conv_sysidentif.csv"):
        latency_s = float(r["latency_corrected_ms"]) * 1e-3
        synced = r["timing"].startswith("sync before")
        if latency_s < SYSIDENTIF_TRUSTED_S[synced] or int(r["h"]) < int(r["kernel_h"]):
            continue
        row = _kernel(
            r,
            op="conv+bias+relu",
            latency_s=latency_s,
            sd=0.05,
            clock_mhz=float(r["gpu_clock_mhz_inferred"]),
            stack="pytorch-eager",
            provenance="measured",
        )
        power = float(r["gpu_rail_power_w"])
        trusted.append(
            replace(row, power_w=power, power_low_w=significant(power * 0.95), power_high_w=significant(power * 1.05))
        )
    return trusted


def tophub(folder: Path, device: str, clock_mhz: float, provenance: str) -> list[KernelRow]:
    """Auto-tuned TVM convolutions of one device, the fastest schedule of each shape."""
    best: dict[tuple[Any, ...], KernelRow] = {}
    for r in read_rows(folder / "hw" / "tvm_tophub_conv.csv"):
        if r["device"] != device or r["precision"] != "fp32":
            continue
        row = _kernel(
            r,
            op="conv",
            latency_s=float(r["latency_ms"]) * 1e-3,
            sd=0.05,
            clock_mhz=clock_mhz,
            stack="tvm",
            provenance=provenance,
        )
        if row.key not in best or row.latency_s < best[row.key].latency_s:
            best[row.key] = row
    return list(best.values())


def deepbench(folder: Path, device: str, clock_mhz: float, provenance: str) -> list[KernelRow]:
    """Forward cuDNN convolutions of one device; of a shape that was timed twice, the faster."""
    best: dict[tuple[Any, ...], KernelRow] = {}
    for r in read_rows(folder / "hw" / "deepbench_conv.csv"):
        if r["device"] != device or r["direction"] != "fwd" or r["precision"] != "fp32":
            continue
        row = _kernel(
            r,
            op="conv",
            latency_s=float(r["latency_ms"]) * 1e-3,
            sd=0.05,
            clock_mhz=clock_mhz,
            stack="cudnn",
            provenance=provenance,
        )
        if row.key not in best or row.latency_s < best[row.key].latency_s:
            best[row.key] = row
    return list(best.values())


LEAST_CHANNELS = 8


def deepbench_transposed(folder: Path, device: str, clock_mhz: float, provenance: str) -> list[KernelRow]:
    """Backward-data cuDNN convolutions of stride 2 of one device: what a transposed convolution computes.

    Rows that lead back to an image, of fewer than eight channels, are left out: no network runs them forward.
    """
    best: dict[tuple[Any, ...], KernelRow] = {}
    for r in read_rows(folder / "hw" / "deepbench_conv.csv"):
        if r["device"] != device or r["direction"] != "bwd_data" or r["precision"] != "fp32" or r["stride"] != "2":
            continue
        if int(r["cin"]) < LEAST_CHANNELS:
            continue
        seconds = float(r["latency_ms"]) * 1e-3
        forward = _kernel(
            r, op="conv", latency_s=seconds, sd=0.05, clock_mhz=clock_mhz, stack="cudnn", provenance=provenance
        )
        out = forward.layer_op.shape(forward.in_shape)
        row = replace(
            forward,
            op="conv_transpose",
            in_channels=out.channels,
            out_channels=forward.in_channels,
            height=out.height,
            width=out.width,
        )
        if row.key not in best or row.latency_s < best[row.key].latency_s:
            best[row.key] = row
    return list(best.values())


IDLE_RAIL_W = 0.152
"""Reading of the TX2's GPU rail when idle."""
SETTLED_S = 0.05
"""Kernels shorter than this are over before the power sensor has settled."""


def sysidentif_power(folder: Path) -> list[KernelRow]:
    """Rows of `sysidentif` that ran long enough for their power to be read, without those read while idle."""
    rows = sysidentif(folder)
    return [row for row in rows if row.latency_s >= SETTLED_S and row.power_w and row.power_w > 2 * IDLE_RAIL_W]


FBNET_EXPANDED = 6
FBNET_CHANNELS = (16, 16, *(24,) * 4, *(32,) * 4, *(64,) * 4, *(112,) * 4, *(184,) * 4)
FBNET_SIDES = (*(32,) * 5, *(16,) * 4, *(8,) * 8, *(4,) * 5)
"""Input channels and output side of each layer of FBNet on 32x32 images, as HELP built it."""


def depthwise_rate(folder: Path) -> float:
    """Multiply-accumulates a second of PyTorch's depth-wise convolution on a TITAN X, by HELP's regression.

    In a block that expands its channels six times, a 5x5 kernel differs from a 3x3 one in the depth-wise
    convolution alone, by 16 taps: the difference of their latencies at batch 64 gives the rate of each
    layer, and the median layer's is taken.
    """
    latency = {
        (int(r["layer"]), r["op"]): float(r["latency_minus_skip_ms"]) * 1e-3
        for r in read_rows(folder / "hw" / "titanx_help_fbnet_lut.csv")
        if r["batch"] == "64"
    }
    rates = [
        16 * FBNET_EXPANDED * channels * side**2 * 64 / (latency[layer, "k5_e6"] - latency[layer, "k3_e6"])
        for layer, (channels, side) in enumerate(zip(FBNET_CHANNELS, FBNET_SIDES, strict=True))
    ]
    return median(rates)


def published(folder: Path, selector: Mapping[str, Any]) -> Point:
    """One published point, found by model, variant, device, clock, size, metric and part of its source.

    Raises ZooError unless exactly one row of the sources fits; `selector` gives `spec`, `group`, `use`,
    `reading_sd` (absolute, in the row's unit) beside what it is found by.
    """
    matches = [r for r in read_rows(folder / "figures" / "published_measurements.csv") if _fits(r, selector)]
    if len(matches) != 1:
        raise ZooError(
            f"published point {selector['model']} {selector['metric']}: {len(matches)} rows fit, there must be one"
        )
    (r,) = matches
    value = float(r["value"])
    as_time = r["metric"] in ("fps", "latency_ms")
    seconds = value * 1e-3 if r["metric"] == "latency_ms" else 1 / value
    return Point(
        network=selector["network"],
        group=selector["group"],
        spec=selector["spec"],
        width=int(float(r["width"])),
        height=int(float(r["height"])),
        batch=int(float(r["batch"])),
        clock_mhz=float(selector["clock_mhz"]),
        metric="latency_s" if as_time else "power_w",
        value=significant(seconds if as_time else value),
        relative_sd=significant(selector["reading_sd"] / value, 3),
        use=selector["use"],
        bound=selector.get("bound", "none"),
        source=readable(r["source"]),
    )


PRESS = "ESPNet paper (arXiv:1803.06815) as the press reported it"
"""What rows that were read in a report on the paper, not in the paper, are said to come from."""


def readable(source: str) -> str:
    """The plain name of a source: no local captures, no quoted prose, nothing on where its other columns come from.

    >>> readable('004_97dc01221b7a2970.txt ("about 1 FPS"); also notes file id 9479818603')
    'ESPNet paper (arXiv:1803.06815) as the press reported it'
    >>> readable('poster ECCV_18.pdf bar chart (image xref 42) digitised +-0.03; size 1024x512 per a note')
    'poster ECCV_18.pdf bar chart digitised ±0.03'
    """
    plain = re.sub(r"""[:]? *\(?"[^"]*"\)?""", "", source)
    plain = re.sub(r"; *(also notes|device from|size|3584 cores)[^;]*", "", plain)
    plain = re.sub(r" *\(image xref \d+\)", "", plain).replace("+-", "±")
    plain = re.sub(r"\b\d{3}_[0-9a-f]{16}\.txt", PRESS, plain)
    return "; ".join(dict.fromkeys(plain.split("; ")))


def _fits(r: Mapping[str, str], selector: Mapping[str, Any]) -> bool:
    width, height = selector.get("size", (1024, 512))
    clock = selector.get("row_clock")
    return (
        r["model"] == selector["model"]
        and r["device"] == selector["device"]
        and r["metric"] == selector["row_metric"]
        and r["width"] not in ("", None)
        and (float(r["width"]), float(r["height"])) == (width, height)
        and (clock is None or r["gpu_clock_mhz"] == clock)
        and selector.get("part", "") in r["source"]
    )


def spec_text(spec: Mapping[str, Any]) -> str:
    """A spec as one cell of a table."""
    return json.dumps(spec, sort_keys=True)
