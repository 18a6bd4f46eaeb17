"""CSV tables of a device: measured kernels and published whole-network points, each row with its source.

Every column of a quantity carries its unit in its name. A table that breaks a rule is refused with the
file, the line and the rule; nothing is dropped or guessed.
"""

import csv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any

from hw_models.kernels import STACKS, VALUE_BYTES
from zoo.errors import ZooError, did_you_mean
from zoo.graph import Conv, ConvTranspose, Linear, Op, Shape
from zoo.reading import csv_reader, parse_json
from zoo.text import one_line

LARGEST = 1e30
"""Bound of every number of a table, and its reciprocal the least, in SI units."""

PROVENANCES = ("measured", "measured-other-stack", "proxy-device", "calibrated", "modelled")
"""What a number rests on, best first."""

OPS = ("conv", "conv_transpose", "linear", "conv+bias+relu")
"""Ops that rows of kernels may have; `conv+bias+relu` is what some sources timed in one go."""

OWN = "own"
"""Use of a point that the user measured on the own machine."""

METRICS: Mapping[str, str] = {"latency_s": "s", "power_w": "W"}
"""Metrics that a published point may have."""


class TableError(ZooError, ValueError):
    """A table that breaks its schema."""


@dataclass(frozen=True, slots=True)
class KernelRow:
    """One timed kernel. latency_s is the central value; low and high its 90 % interval, as is power's."""

    op: str
    in_channels: int
    out_channels: int
    groups: int
    kernel_h: int
    kernel_w: int
    stride: int
    pad_h: int
    pad_w: int
    dilation: int
    height: int
    width: int
    batch: int
    clock_mhz: float
    stack: str
    precision: str
    latency_s: float
    latency_low_s: float
    latency_high_s: float
    power_w: float | None
    power_low_w: float | None
    power_high_w: float | None
    provenance: str
    source: str
    n: int

    @property
    def key(self) -> tuple[Any, ...]:
        """What may be measured once only in a table."""
        return (self.layer_op, self.in_shape, self.op, self.batch, self.clock_mhz, self.precision)

    @property
    def in_shape(self) -> Shape:
        """Shape of the input."""
        return Shape(self.in_channels, self.height, self.width)

    @property
    def layer_op(self) -> Op:
        """The op as a graph has it."""
        kernel, stride, pad = (self.kernel_h, self.kernel_w), (self.stride, self.stride), (self.pad_h, self.pad_w)
        if self.op == "linear":
            return Linear(self.out_channels)
        if self.op == "conv_transpose":
            return ConvTranspose(self.out_channels, kernel, stride, pad, (0, 0), self.groups)
        bias = self.op == "conv+bias+relu"
        return Conv(self.out_channels, kernel, stride, pad, (self.dilation, self.dilation), self.groups, bias)


@dataclass(frozen=True, slots=True)
class Point:
    """One published whole-network measurement.

    spec: the network as `zoo.registry.spec_from_dict` reads it. group: points of one group are one
    network when a network is left out. relative_sd: reading error. use: `calibration`, or `check` for a
    point that never enters a fit, or OWN. bound: `lower` where the source gives a lower bound of the frame rate.
    """

    network: str
    group: str
    spec: Mapping[str, Any]
    width: int
    height: int
    batch: int
    clock_mhz: float
    metric: str
    value: float
    relative_sd: float
    use: str
    bound: str
    source: str


_INTEGERS = {
    *("in_channels", "out_channels", "groups", "kernel_h", "kernel_w", "stride", "dilation"),
    *("height", "width", "batch", "n"),
}
_ZERO_ALLOWED = {"pad_h", "pad_w"}
_NUMBERS = {"clock_mhz", "latency_s", "latency_low_s", "latency_high_s", "value", "relative_sd"}
_OPTIONAL = {"power_w", "power_low_w", "power_high_w"}
_WORDS: Mapping[str, tuple[str, ...]] = {
    "op": OPS,
    "stack": STACKS,
    "precision": tuple(VALUE_BYTES),
    "provenance": PROVENANCES,
    "metric": tuple(METRICS),
    "use": ("calibration", "check", OWN),
    "bound": ("none", "lower"),
}


def read_kernels(path: Path) -> tuple[KernelRow, ...]:
    """Rows of a kernel table. Raises TableError; a table holds rows of one stack and no shape twice."""
    rows: list[KernelRow] = []
    lines: dict[tuple[Any, ...], int] = {}
    for line, values in _read(path, KernelRow):
        row = KernelRow(**values)
        location = f"{path}: line {line}"
        _check_row(row, location)
        if row.stack != (rows[0].stack if rows else row.stack):
            raise TableError(
                f"{location}: stack is {row.stack!r} in a table of {rows[0].stack!r}; "
                f"put each stack in a file of its own"
            )
        if row.key in lines:
            raise TableError(
                f"{location}: the same kernel as in line {lines[row.key]}; keep one row, with n counting both"
            )
        lines[row.key] = line
        rows.append(row)
    return tuple(rows)


def _check_row(row: KernelRow, location: str) -> None:
    if not row.latency_low_s <= row.latency_s <= row.latency_high_s:
        raise TableError(f"{location}: latency_s {row.latency_s:g} must lie between latency_low_s and latency_high_s")
    powers = (row.power_w, row.power_low_w, row.power_high_w)
    if any(p is None for p in powers) != all(p is None for p in powers):
        raise TableError(
            f"{location}: power_w, power_low_w and power_high_w must be given together or left empty together"
        )
    try:
        row.layer_op.shape(row.in_shape)
    except ValueError as error:
        raise TableError(f"{location}: {error}") from None


def read_points(path: Path) -> tuple[Point, ...]:
    """Published points. Raises TableError."""
    points = []
    for _, values in _read(path, Point):
        points.append(Point(**values))
    return tuple(points)


def _read(path: Path, row_type: type) -> Iterator[tuple[int, dict[str, Any]]]:
    columns = list(row_type.__dataclass_fields__)  # type: ignore[attr-defined]
    reader = csv_reader(path, TableError)
    try:
        _check_header(list(reader.fieldnames or ()), columns, path)
        for cells in reader:
            yield reader.line_num, _parse(cells, columns, f"{path}: line {reader.line_num}")
    except csv.Error as error:
        raise TableError(f"{path}: line {reader.line_num}: is no line of a CSV table: {error}; correct it") from None


def _check_header(header: list[str], columns: list[str], path: Path) -> None:
    for name in header:
        if name in columns:
            continue
        with_unit = [c for c in columns if c.startswith(f"{name}_") and c in _NUMBERS | _OPTIONAL]
        if with_unit:
            raise TableError(f"{path}: column {name!r} has no unit; name it {with_unit[0]!r}")
        raise TableError(f"{path}: column {name!r} is unknown; {did_you_mean(name, columns)}")
    missing = [name for name in columns if name not in header]
    if missing:
        raise TableError(f"{path}: column {missing[0]!r} is missing; add it")


def _parse(cells: Mapping[str | None, Any], columns: list[str], location: str) -> dict[str, Any]:
    if None in cells or any(cells[name] is None for name in columns):
        raise TableError(f"{location}: must have {len(columns)} cells; quote cells that contain commas")
    return {name: _cell(name, str(cells[name]), f"{location}: {name}") for name in columns}


def _cell(name: str, text: str, location: str) -> Any:
    if name in _OPTIONAL and not text:
        return None
    if name in _INTEGERS | _ZERO_ALLOWED:
        return int(_number(text, location, whole=True, zero=name in _ZERO_ALLOWED))
    if name in _NUMBERS | _OPTIONAL:
        return _number(text, location)
    if name in _WORDS and text not in _WORDS[name]:
        raise TableError(f"{location}: {text!r} is unknown; {did_you_mean(text, _WORDS[name])}")
    if name == "spec":
        return _spec(text, location)
    if not text:
        raise TableError(f"{location}: is empty; say it")
    return text


def _number(text: str, location: str, *, whole: bool = False, zero: bool = False) -> float:
    try:
        value = float(text)
    except ValueError:
        raise TableError(f"{location}: must be a number, but is {text!r}") from None
    if not isfinite(value):
        raise TableError(f"{location}: must be finite, but is {text}")
    if abs(value) > LARGEST or 0 < abs(value) < 1 / LARGEST:
        raise TableError(f"{location}: must be from {1 / LARGEST:g} to {LARGEST:g}, but is {one_line(text, 40)}")
    if value < 0 or (value == 0 and not zero):
        raise TableError(f"{location}: must be positive, but is {text}")
    if whole and value != int(value):
        raise TableError(f"{location}: must be a whole number, but is {text}")
    return value


def _spec(text: str, location: str) -> dict[str, Any]:
    spec = parse_json(text, location, TableError)
    if not isinstance(spec, dict):
        raise TableError(f"{location}: must be a JSON object with the fields of a spec, but is {one_line(text, 60)!r}")
    return spec
