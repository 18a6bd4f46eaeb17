"""Predictor of a measured device: reads `blocks.csv`, prices networks by their blocks.

A block b of kind k(b) took t_b seconds on its own, measured or interpolated (`hw_models.measured.block_model`). A
network is the sum of its blocks (`hw_models.measured.blocks`), each at a share of the speed that it has alone:

    T = Σ_b t_b / s_k(b) + o

The shares s_k of the kinds of blocks are learned from the whole networks in `points.csv`
(`hw_models.measured.network_speed`). Two units of 4 ms and a share of 0.8 give 10 ms and the overhead o of a frame.
The terms have the places of `hw_models.analytic.features`, with two differences: SHARE_GRADIENT, −dT / d log s, takes
the place of GRADIENT, as a measured device has no roofline, and BLOCK_ERRORS, t_b times the relative error of t_b by
kind, stand after the others.

The interval is that which holds the networks that were measured whole, each predicted from the others. It
widens where a network's own blocks are less sure than theirs. For that, the errors of blocks of one kind
are taken to be one and the same error, so that many equal units make an interval no narrower; errors of
different kinds are independent.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hw_models.analytic.features import BUSY, BYTES, DEVICE, DISPATCHES, GRADIENT, MACS, RESTS, TERMS
from hw_models.analytic.predictor import Predictor
from hw_models.analytic.readings import Readings
from hw_models.cost import KernelCost
from hw_models.device import BLOCKS, Device, DeviceError, read_device
from hw_models.kernels import work_of
from hw_models.measured.block_model import BlockModel, Estimate, Measured
from hw_models.measured.blocks import KINDS, Block, blocks, from_text
from hw_models.measured.network_speed import Whole, fitted, gradient_of, has_prelu, learned, share_of
from hw_models.points import graph_of, usable
from hw_models.schema import SHARES
from hw_models.tables import PROVENANCES, Point, TableError, _read
from zoo.graph import Graph, Layer
from zoo.reading import exists, inside

Array = NDArray[np.float64]

TABLE = BLOCKS
NETWORK = "network"
"""Whole networks, among the kinds of `Device.held_out`."""
SHARE_GRADIENT = slice(GRADIENT.start, GRADIENT.start + len(SHARES))
"""Places of the derivatives by the logarithms of SHARES, in s; no longer than GRADIENT."""
BLOCK_ERRORS = slice(TERMS, TERMS + len(KINDS))
"""Places of the errors of blocks by kind, in s."""


@dataclass(frozen=True, slots=True)
class BlockRow:
    """One timed block: `block` as `blocks.from_text` reads it; the interval is of 90 %."""

    block: str
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


def is_measured(device: Device) -> bool:
    """Whether a device predicts from measured blocks."""
    return exists(device.folder / TABLE)


def read_blocks(folder: Path) -> tuple[BlockRow, ...]:
    """The table of blocks. Raises TableError; a table holds rows of one stack and no block twice."""
    path = inside(folder, TABLE, folder, TableError, "device's folder")
    rows: list[BlockRow] = []
    lines: dict[tuple[str, int, float], int] = {}
    for line, values in _read(path, BlockRow):
        row = BlockRow(**values)
        location = f"{path}: line {line}"
        if not row.latency_low_s <= row.latency_s <= row.latency_high_s:
            raise TableError(
                f"{location}: latency_s {row.latency_s:g} must lie between latency_low_s and latency_high_s"
            )
        if row.stack != (rows[0].stack if rows else row.stack):
            raise TableError(
                f"{location}: stack is {row.stack!r} in a table of {rows[0].stack!r}; measure each by itself"
            )
        key = (row.block, row.batch, row.clock_mhz)
        if key in lines:
            raise TableError(f"{location}: the same block as in line {lines[key]}; keep one row, with n counting both")
        lines[key] = line
        rows.append(row)
    return tuple(rows)


def model_of(folder: Path) -> BlockModel:
    """The block model of a device folder; read anew when its table changes."""
    return _model_of(folder, inside(folder, TABLE, folder, TableError, "device's folder").stat().st_mtime_ns)


@lru_cache(maxsize=8)
def _model_of(folder: Path, modified_ns: int) -> BlockModel:
    device = read_device(folder)
    rows = [
        Measured(from_text(row.block), row.batch, row.latency_s, row.latency_low_s, row.latency_high_s)
        for row in read_blocks(folder)
    ]
    widening = {kind: float(summary["widening"]) for kind, summary in device.held_out.items() if "widening" in summary}
    return BlockModel(rows, device.value("frame_overhead"), widening)


class MeasuredPredictor(Predictor):
    """Prices networks by their blocks; derivatives by shares stand in the places of those by parameters."""

    width = BLOCK_ERRORS.stop

    def __init__(self, device: Device, clock_mhz: float, batch: int) -> None:
        super().__init__(device, clock_mhz, batch)
        self.model = model_of(device.folder)
        self._usual = float(device.held_out.get(NETWORK, {}).get("usual_sd", 0.0))
        self._priced: dict[Block, Array] = {}

    def terms(self, layers: Sequence[Layer]) -> Array:
        """Additive statistics of consecutive layers, shape (width,). Raises DeviceError for ops never measured."""
        total = np.zeros(self.width)
        for name, block in blocks(layers):
            if block not in self._priced:
                self._priced[block] = self._terms(name, block)
            total += self._priced[block]
        return total

    def _terms(self, name: str, block: Block) -> Array:
        missing = self.model.unknown(block)
        if missing:
            raise DeviceError(
                f"{name}: device {self.device.name} has no measurement of {missing}; "
                f"measure a space that has it: zoo measure --device {self.device.name} --space NAME --resume"
            )
        estimate = self._estimate(block)
        out = np.zeros(self.width)
        out[DEVICE] = estimate.seconds
        out[DISPATCHES] = len(block.body)
        out[BUSY] = estimate.seconds
        out[MACS] = block.macs * self.batch
        out[BYTES] = _bytes(block, self.batch)
        out[SHARE_GRADIENT] = gradient_of(block, estimate.seconds)
        out[RESTS.start + PROVENANCES.index("measured" if estimate.measured else "modelled")] = estimate.seconds
        out[BLOCK_ERRORS.start + KINDS.index(block.kind)] = estimate.seconds * estimate.sd
        return out

    def _estimate(self, block: Block) -> Estimate:
        """A block inside a network."""
        in_isolation = self.model.estimate(block, self.batch)
        return in_isolation._replace(seconds=in_isolation.seconds / share_of(self.device.latency.theta, block))

    def kernel_costs(self, layers: Sequence[Layer]) -> tuple[KernelCost, ...]:
        """Every block in the order of execution."""
        estimates = [(name, block, self._estimate(block)) for name, block in blocks(layers)]
        total = sum(estimate.seconds for *_, estimate in estimates)
        peak = self.device.value("macs_per_cycle") * self.clock_mhz * 1e6
        bandwidth = self.device.value("memory_bandwidth")
        out = []
        for name, block, (seconds, _, measured) in estimates:
            macs, moved = block.macs * self.batch, _bytes(block, self.batch)
            out.append(
                KernelCost.of(
                    name,
                    block.kind,
                    macs=macs,
                    moved=moved,
                    seconds=seconds,
                    total_s=total,
                    peaks=(peak, bandwidth),
                    provenance="measured" if measured else "modelled",
                )
            )
        return tuple(out)

    def host_bound(self, terms: Array) -> bool:
        """Whether the host's dispatch takes longer than the device: it is part of the measured times."""
        return False

    @property
    def metrics(self) -> tuple[str, ...]:
        """Latency alone where no power was read."""
        return ("latency_s",) if not self.device.reads_power else super().metrics

    def _distribution(self, terms: Array, metric: str) -> tuple[Array, Array]:
        """As of any predictor. Raises DeviceError for power and energy where nothing was read."""
        if metric != "latency_s" and not self.device.reads_power:
            raise DeviceError(
                f"device {self.device.name} has no reading of power, so {metric} cannot be limited; "
                "limit the latency, or measure where RAPL, NVML or INA sensors can be read"
            )
        return super()._distribution(terms, metric)

    def _loadings(self, terms: Array, metric: str) -> Array:
        """Nothing of the error is known to be shared."""
        return np.zeros((*terms.shape[:-1], 1))

    def unsure(self, terms: Array) -> Array:
        """Standard deviation of the log latency by what is not known of blocks and shares."""
        by_kind, gradient = terms[..., BLOCK_ERRORS], terms[..., SHARE_GRADIENT]
        shared = ((gradient @ self.device.latency.covariance) * gradient).sum(axis=-1)
        return np.asarray(np.sqrt((by_kind**2).sum(axis=-1) + np.maximum(shared, 0.0)) / self.modelled(terms))

    def readings(self, metric: str) -> Readings:
        """None: what was measured whole taught the shares of the blocks."""
        return Readings((), self.clock_mhz, 0.0)

    def _student(self, metric: str) -> float:
        # Its errors were measured on many blocks and on whole networks of this machine.
        return 1.0

    def modelled(self, terms: Array) -> Array:
        """Seconds of a frame: the blocks' and the constant."""
        return np.asarray(terms[..., DEVICE] + self.device.value("frame_overhead"))

    def _latency(self, terms: Array, wider: float = 1.0) -> tuple[Array, Array]:
        # What is not known of the usual network is in its left-out error already.
        beyond = np.maximum(self.unsure(terms) ** 2 - self._usual**2, 0.0)
        return self.modelled(terms), np.sqrt(self.device.latency.network_sd**2 + beyond)


def _bytes(block: Block, batch: int) -> int:
    works = [work_of(layer.op, layer.in_shapes, layer.out_shape, layer.name) for layer in block.body]
    return sum(work.activation_bytes * batch + work.weight_bytes for work in works)


def calibrated(device: Device, points: Sequence[Point]) -> Device:
    """The device with its shares learned from these whole networks; the error that it claims stays."""
    networks = [_whole(device, point) for point in usable(points, "latency_s")]
    return replace(device, latency=fitted(device.latency, networks, device.value("frame_overhead")))


def learn(device: Device) -> Device:
    """The device with its shares, and the error of networks that were not measured, learned from its own points."""
    points = usable(device.points, "latency_s")
    networks = [_whole(device, point) for point in points]
    fit, errors = learned(device.latency, networks, device.value("frame_overhead"))
    if not len(errors):
        return replace(device, latency=fit)
    learned_device = replace(device, latency=fit)
    off = np.abs(np.expm1(errors))
    summary = {
        "rows": float(len(errors)),
        "median_error": float(f"{np.median(off):.3g}"),
        "within_10_percent": float(f"{(off < 0.1).mean():.3g}"),
        "usual_sd": float(f"{_usual_sd(learned_device, points):.3g}"),
    }
    return replace(learned_device, held_out={**device.held_out, NETWORK: summary})


def _usual_sd(device: Device, points: Sequence[Point]) -> float:
    """What is not known of blocks and shares of the networks that were measured whole."""
    squares = []
    for point in points:
        prices = MeasuredPredictor(device, device.clocks.default_mhz, point.batch)
        squares.append(float(prices.unsure(prices.terms(_graph(point).layers))) ** 2)
    return float(np.sqrt(np.mean(squares)))


def _whole(device: Device, point: Point) -> Whole:
    model = model_of(device.folder)
    seconds = np.zeros((len(KINDS), 2))
    for _, block in blocks(_graph(point).layers):
        seconds[KINDS.index(block.kind), int(has_prelu(block))] += model.estimate(block, point.batch).seconds
    return Whole(seconds, point.value, point.relative_sd)


def _graph(point: Point) -> Graph:
    graph = graph_of(point)
    assert graph is not None  # `usable` leaves out families that are not known
    return graph
