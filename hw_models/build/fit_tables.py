"""Fits the roofline and the power model to tables of single kernels, and measures the error on shapes left out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import log

import numpy as np
from numpy.typing import NDArray

from hw_models.analytic.features import bent, busy
from hw_models.analytic.residuals import position, row_work
from hw_models.analytic.roofline import INDEX, PARAMETERS, Chip, kernel_time
from hw_models.build.recipes import Recipe
from hw_models.kernels import Work, work_of
from hw_models.least_squares import map_fit
from hw_models.tables import KernelRow
from zoo.graph import ReLU

Array = NDArray[np.float64]


@dataclass(frozen=True)
class TableFit:
    """The model fitted to the tables, and the log errors of its rows when their group was left out."""

    theta: Array
    held_out: Mapping[str, Array]


def fit_tables(rows: Sequence[KernelRow], recipe: Recipe) -> TableFit:
    """Fit the roofline to rows; errors come from leaving out one group of shapes in five at a time."""
    folds = np.array([shape_group(row) % 5 for row in rows])
    theta = _fit_rows(rows, recipe)
    errors: dict[str, list[float]] = {}
    for fold in range(5):
        fitted_rows = [row for row, f in zip(rows, folds, strict=True) if f != fold]
        left_out = [row for row, f in zip(rows, folds, strict=True) if f == fold]
        # The error needs no more digits than a few steps give.
        at = _fit_rows(fitted_rows, recipe, steps=8).tolist()
        for row in left_out:
            errors.setdefault(row_work(row).kind, []).append(
                log(row.latency_s / _time(_works(row), row, at, recipe.table_chip)[0])
            )
    return TableFit(theta, {kind: np.array(e) for kind, e in errors.items()})


def with_transposed(fit: TableFit, rows: Sequence[KernelRow], recipe: Recipe) -> TableFit:
    """The fit with the factor of transposed convolutions that the median row has."""
    errors = np.array(
        [log(row.latency_s / _time(_works(row), row, fit.theta.tolist(), recipe.table_chip)[0]) for row in rows]
    )
    theta = fit.theta.copy()
    theta[INDEX["transposed"]] += np.median(errors)
    return TableFit(theta, {**fit.held_out, "transposed": errors - np.median(errors)})


def fit_power(rows: Sequence[KernelRow], recipe: Recipe) -> dict[str, float]:
    """Power parameters fitted to the power of single kernels; what rows cannot tell stays as the recipe has it."""
    names = tuple(recipe.power_prior)
    center = np.array([log(recipe.power_prior[name]) for name in names])
    works = [row_work(row) for row in rows]
    rates = np.array([work.macs * row.batch / row.latency_s for work, row in zip(works, rows, strict=True)])
    flows = np.array(
        [(work.activation_bytes + work.weight_bytes) / row.latency_s for work, row in zip(works, rows, strict=True)]
    )
    times = np.array([row.latency_s for row in rows])
    ratio = np.log([row.clock_mhz / recipe.clocks.default_mhz for row in rows])
    idle = recipe.numbers["idle_power"].value
    limit = recipe.numbers["power_limit"].value - idle

    def model(theta: Array) -> tuple[Array, Array]:
        per_mac, per_byte, active, ramp, exponent = np.exp(theta)
        scale = np.exp(exponent * ratio)
        busy_s, busy_slope = busy(times, ramp)
        whole = scale * np.exp(ratio) * active / times
        parts = np.stack([scale * per_mac * rates, scale * per_byte * flows, whole * busy_s])
        total = parts.sum(axis=0)
        power, slope = bent(total, limit)
        slopes = np.stack([*parts, whole * busy_slope, total * exponent * ratio]) * slope / power
        return np.log(power), slopes.T

    observed = np.log([row.power_w - idle for row in rows if row.power_w is not None])
    error = np.full(len(rows), 0.25**2)
    # Rows of different shapes say less on the clock than the pairs and the boards that its prior comes from.
    spread = np.diag([0.02**2 if name == "clock_exponent" else 1.0 for name in names])
    theta = map_fit(model, observed, error, center, spread)[0]
    return dict(zip(names, np.exp(theta).tolist(), strict=True))


def shape_group(row: KernelRow) -> int:
    """Rows of equal channels and kernel belong together: sizes of one layer are near-copies of each other."""
    return (7 * row.in_channels + 13 * row.out_channels + 31 * row.kernel_h + 3 * row.groups) // 2


def _fit_rows(rows: Sequence[KernelRow], recipe: Recipe, steps: int = 80) -> Array:
    center = np.array([log(recipe.table_prior[name]) for name in PARAMETERS])
    spread = np.diag([recipe.table_sd[name] ** 2 for name in PARAMETERS])
    observed = np.log([row.latency_s for row in rows])
    error = np.full(len(rows), 0.3**2)

    works = [_works(row) for row in rows]

    def model(theta: Array) -> tuple[Array, Array]:
        values = theta.tolist()
        pairs = [_time(work, row, values, recipe.table_chip) for work, row in zip(works, rows, strict=True)]
        times = np.array([t for t, _ in pairs])
        return np.log(times), np.array([g for _, g in pairs]) / times[:, None]

    # Far-off rows would bend the whole fit: a second pass trusts a row the less the farther it is off.
    first = map_fit(model, observed, error, center, spread, steps)[0]
    miss = np.abs(observed - model(first)[0])
    return map_fit(model, observed, 0.3**2 * np.maximum(miss / 0.5, 1.0), first, spread, steps)[0]


def _works(row: KernelRow) -> list[Work]:
    """What was timed in one go."""
    out = row.layer_op.shape(row.in_shape)
    return [row_work(row)] + ([work_of(ReLU(), (out,), out)] if row.op == "conv+bias+relu" else [])


def _time(works: Sequence[Work], row: KernelRow, theta: Sequence[float], chip: Chip) -> tuple[float, Array]:
    timings = [kernel_time(work, theta, chip, row.clock_mhz * 1e6, row.batch) for work in works]
    return sum(t.total_s for t in timings), np.array([t.gradient for t in timings]).sum(axis=0)


def extract(rows: Sequence[KernelRow], count: int) -> list[KernelRow]:
    """The `count` rows that lie farthest from each other, which is what the look-up needs to know its neighbours."""
    ordered = sorted(rows, key=lambda row: (row.latency_s, repr(row)))
    if len(ordered) <= count:
        return ordered
    positions = np.array([position(row_work(row), row.batch) for row in ordered])
    chosen = [0]
    distance = ((positions - positions[0]) ** 2).sum(axis=1)
    while len(chosen) < count:
        nearest = int(np.argmax(np.round(distance, 9)))
        chosen.append(nearest)
        distance = np.minimum(distance, ((positions - positions[nearest]) ** 2).sum(axis=1))
    return [ordered[i] for i in sorted(chosen)]
