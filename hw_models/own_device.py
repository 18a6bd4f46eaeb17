"""A device that was measured on the spot: a folder with `blocks.csv`, and how predictions are made from it.

A network is the sum of its blocks (`hw_models.blocks`): those measured are looked up, the others are
interpolated (`hw_models.block_model`). A whole network reaches a share of the speed of its single blocks;
that share, the parameter `efficiency`, is learned from the few whole networks in `points.csv`.

The errors of blocks of one kind are taken to be one and the same error, so that many equal units make an
interval no narrower; errors of different kinds are independent.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hw_models.block_model import BlockModel, Measured
from hw_models.blocks import KINDS, Block, blocks, from_text
from hw_models.calibrate import graph_of, usable
from hw_models.cost import KernelCost
from hw_models.device import Device, DeviceError, read_device
from hw_models.kernels import work_of
from hw_models.own_folder import NOT_MEASURED
from hw_models.predict import Predictor
from hw_models.roofline import INDEX
from hw_models.tables import PROVENANCES, Point, TableError, _read
from hw_models.terms import BYTES, DEVICE, DISPATCHES, GRADIENT, MACS, RESTS, TERMS
from zoo.graph import Layer

Array = NDArray[np.float64]

TABLE = "blocks.csv"
EFFICIENCY = INDEX["efficiency"]
LEAST_NETWORK_SD = 0.02


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
    return (device.folder / TABLE).is_file()


def read_blocks(folder: Path) -> tuple[BlockRow, ...]:
    """The table of blocks. Raises TableError; a table holds rows of one stack and no block twice."""
    path = folder / TABLE
    if folder.resolve() not in path.resolve().parents:
        raise TableError(f"{path}: lies outside the device's folder; copy the file into it")
    rows: list[BlockRow] = []
    seen: dict[tuple[str, int, float], int] = {}
    for line, values in _read(path, BlockRow):
        row = BlockRow(**values)
        where = f"{path}: line {line}"
        if not row.latency_low_s <= row.latency_s <= row.latency_high_s:
            raise TableError(f"{where}: latency_s {row.latency_s:g} must lie between latency_low_s and latency_high_s")
        if row.stack != (rows[0].stack if rows else row.stack):
            raise TableError(f"{where}: stack is {row.stack!r} in a table of {rows[0].stack!r}; measure each by itself")
        key = (row.block, row.batch, row.clock_mhz)
        if key in seen:
            raise TableError(f"{where}: the same block as in line {seen[key]}; keep one row, with n counting both")
        seen[key] = line
        rows.append(row)
    return tuple(rows)


def model_of(folder: Path) -> BlockModel:
    """The block model of a device folder; read anew when its table changes."""
    return _model_of(folder, (folder / TABLE).stat().st_mtime_ns)


@lru_cache(maxsize=8)
def _model_of(folder: Path, written: int) -> BlockModel:
    device = read_device(folder)
    rows = [
        Measured(from_text(row.block), row.batch, row.latency_s, row.latency_low_s, row.latency_high_s)
        for row in read_blocks(folder)
    ]
    widening = {kind: float(found["widening"]) for kind, found in device.held_out.items() if "widening" in found}
    return BlockModel(rows, device.value("frame_overhead"), widening)


class MeasuredPredictor(Predictor):
    """Prices networks by their blocks; terms of each kind's error stand in the places of derivatives."""

    def __init__(self, device: Device, clock_mhz: float, batch: int) -> None:
        super().__init__(device, clock_mhz, batch)
        self.model = model_of(device.folder)
        self._share = float(np.exp(device.latency.theta[EFFICIENCY]))
        self._priced: dict[Block, Array] = {}

    def terms(self, layers: Sequence[Layer]) -> Array:
        """Additive statistics of consecutive layers, shape (width,). Raises DeviceError for ops never measured."""
        total = np.zeros(TERMS)
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
        found = self.model.estimate(block, self.batch)
        seconds = found.seconds / self._share
        out = np.zeros(TERMS)
        out[DEVICE] = seconds
        out[DISPATCHES] = len(block.body)
        out[MACS] = block.macs * self.batch
        out[BYTES] = _bytes(block, self.batch)
        out[GRADIENT.start + KINDS.index(block.kind)] = seconds * found.sd
        out[RESTS.start + PROVENANCES.index("measured" if found.measured else "modelled")] = seconds
        return out

    def kernel_costs(self, layers: Sequence[Layer]) -> tuple[KernelCost, ...]:
        """Every block in the order of execution."""
        found = [(name, block, self.model.estimate(block, self.batch)) for name, block in blocks(layers)]
        total = sum(estimate.seconds for *_, estimate in found) / self._share
        peak = self.device.value("macs_per_cycle") * self.clock_mhz * 1e6
        out = []
        for name, block, estimate in found:
            macs, moved, seconds = block.macs * self.batch, _bytes(block, self.batch), estimate.seconds / self._share
            out.append(
                KernelCost(
                    name=name,
                    kind=block.kind,
                    macs=macs,
                    bytes=moved,
                    latency_s=seconds,
                    share=seconds / total,
                    provenance="measured" if estimate.measured else "modelled",
                    intensity=macs / moved,
                    of_peak=macs / peak / seconds,
                    of_bandwidth=moved / self.device.value("memory_bandwidth") / seconds,
                )
            )
        return tuple(out)

    def host_bound(self, terms: Array) -> bool:
        """Whether the host's dispatch takes longer than the device: it is part of the measured times."""
        return False

    def quantile(self, terms: Array, metric: str, probability: float) -> Array:
        """As `Predictor.quantile`. Raises DeviceError for power and energy where nothing was read."""
        if metric != "latency_s" and self.device.power_covers == NOT_MEASURED:
            raise DeviceError(
                f"device {self.device.name} has no reading of power, so {metric} cannot be limited; "
                "limit the latency, or measure where RAPL, NVML or INA sensors can be read"
            )
        return super().quantile(terms, metric, probability)

    def _latency(self, terms: Array) -> tuple[Array, Array]:
        device, fit = terms[..., DEVICE], self.device.latency
        time = device + self.device.value("frame_overhead")
        by_kind = terms[..., GRADIENT][..., : len(KINDS)]
        shared = (by_kind**2).sum(axis=-1) + device**2 * fit.covariance[EFFICIENCY, EFFICIENCY]
        return time, np.sqrt(shared / time**2 + fit.network_sd**2)


def _bytes(block: Block, batch: int) -> int:
    works = [work_of(layer.op, layer.in_shapes, layer.out_shape, layer.name) for layer in block.body]
    return sum(work.activation_bytes * batch + work.weight_bytes for work in works)


def calibrated(device: Device, points: Sequence[Point]) -> Device:
    """The device with its share of the single blocks' speed learned from whole networks; others are not touched.

    The share's prior is that of the device's file. What is left of the networks' errors, each network
    predicted from the others, is the error of a network that was not measured.
    """
    chosen = usable(points, "latency_s")
    before = device.latency
    plain = replace(device, latency=replace(before, theta=_with(before.theta, 0.0)))
    misses = np.array([np.log(p.value / _predicted(plain, p)) for p in chosen])
    prior_sd = float(before.prior_sd[EFFICIENCY])
    mean, variance = _posterior(misses, prior_sd, before.network_sd)
    covariance = before.covariance.copy()
    covariance[EFFICIENCY, EFFICIENCY] = variance
    fit = replace(before, theta=_with(before.theta, -mean), covariance=covariance)
    return replace(device, latency=fit)


def left_out_sd(device: Device, points: Sequence[Point]) -> float:
    """Standard deviation of the log errors of whole networks, each predicted from the others."""
    chosen = usable(points, "latency_s")
    if len(chosen) < 3:
        return device.latency.network_sd
    plain = replace(device, latency=replace(device.latency, theta=_with(device.latency.theta, 0.0)))
    misses = np.array([np.log(p.value / _predicted(plain, p)) for p in chosen])
    n = len(misses)
    others = (misses.sum() - misses) / (n - 1)
    return max(float(np.sqrt(np.mean((misses - others) ** 2))), LEAST_NETWORK_SD)


def _posterior(misses: Array, prior_sd: float, sd: float) -> tuple[float, float]:
    precision = prior_sd**-2 + len(misses) * sd**-2
    return float(misses.sum() * sd**-2 / precision), 1.0 / precision


def _with(theta: Array, value: float) -> Array:
    return np.where(np.arange(len(theta)) == EFFICIENCY, value, theta)


def _predicted(device: Device, point: Point) -> float:
    graph = graph_of(point)
    assert graph is not None  # `usable` leaves out families that are not known
    prices = MeasuredPredictor(device, device.clocks.default_mhz, point.batch)
    return float(prices.finish(prices.terms(graph.layers)).latency_s_mean)
