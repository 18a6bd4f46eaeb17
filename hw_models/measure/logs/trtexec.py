"""trtexec: its JSON files of times and of layers, and the text that it prints (TensorRT 5 to 10)."""

import json
import re
from collections.abc import Mapping
from math import isfinite
from typing import Any

from hw_models.measure.logs.common import KernelTime, Log, Source

STACK = "tensorrt"

_OWN_FIELDS = ("startEnqMs", "startInMs", "startH2dMs", "h2dMs", "inMs", "endToEndMs")
"""Fields of `--exportTimes` that no other tool writes: TensorRT 8 and later, and before."""


def read_json(text: str, source: Source) -> Log:
    """`--exportTimes` (an object a run) or `--exportProfile` (a count, then an object a layer)."""
    try:
        rows = json.loads(text)
    except ValueError as error:
        raise source.cut(getattr(error, "lineno", text.count("\n") + 1)) from None
    except RecursionError:
        raise source.error("is nested too deeply to be a log") from None
    if not isinstance(rows, list) or not rows or not all(isinstance(row, dict) for row in rows):
        raise source.error("is not a list of objects as trtexec writes it; use --exportTimes or --exportProfile")
    if "count" in rows[0]:
        layers = [_layer(row, source, i) for i, row in enumerate(rows[1:], 2) if "name" in row]
        if not layers:
            raise source.error("has no layer; use --exportProfile while the network runs")
        return Log(source.tool, kernels=tuple(layers), per_run=True, stack=STACK)
    times = tuple(1e-3 * _number(row, "latencyMs", source, i) for i, row in enumerate(rows, 1))
    own = any(name in rows[0] for name in _OWN_FIELDS)
    return Log(source.tool if own else "runs", latencies_s=times, stack=STACK if own else None)


def _layer(row: Mapping[str, Any], source: Source, entry: int) -> KernelTime:
    return KernelTime(str(row["name"]), 1, 1e-3 * _number(row, "averageMs", source, entry))


def _number(row: Mapping[str, Any], name: str, source: Source, entry: int) -> float:
    value = row.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value) or value < 0:
        raise source.error(f"entry {entry}: {name} must be a number of at least 0, but is {value!r}")
    return float(value)


_MEDIAN = (
    re.compile(r"\] (?:Host )?Latency: .*?\bmedian = ([\d.]+) ms"),
    re.compile(r"\] median: ([\d.]+) ms"),
    re.compile(r"Average over \d+ runs is ([\d.]+) ms"),
)
"""The latency from input to output: TensorRT 8 and later, 7, and before (there the mean of a few runs)."""
_SHAPE = re.compile(r"Created input binding for \S+ with dimensions (\d+)x(\d+)x(\d+)x(\d+)")
_PRECISION = re.compile(r"\] Precision: (\S+)")


def read_text(text: str, source: Source) -> Log:
    """What trtexec prints: the median of its performance summary, the precision and the shape of the input."""
    if "FAILED TensorRT" in text:
        raise source.error("is of a run that failed; see its last lines, and record it anew")
    medians = next((times for pattern in _MEDIAN if (times := pattern.findall(text))), [])
    if not medians:
        raise source.error("has no performance summary, so the run ended early; record it anew")
    shape, precision = _SHAPE.search(text), _PRECISION.search(text)
    return Log(
        source.tool,
        latencies_s=(1e-3 * source.number(medians[0], 1),),
        stack=STACK,
        precision=None if precision is None else _precision(precision[1]),
        input_shape=None if shape is None else tuple(int(n) for n in shape.groups()),  # type: ignore[arg-type]
    )


def _precision(text: str) -> str:
    """The narrowest of `FP32+FP16+INT8`: TensorRT may use it wherever that is faster."""
    names = text.upper().split("+")
    return next((name.lower() for name in ("INT8", "FP16") if name in names), "fp32")
