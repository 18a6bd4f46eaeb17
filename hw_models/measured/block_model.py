"""Time of a block: looked up if it was measured, else predicted from measured blocks, with an error.

The mean is a sum of counts (`block_features`) times rates that are fitted to be positive, so that times
add up and grow with the work. What the mean gets wrong on measured blocks of the same kind is interpolated
(a Gaussian process over `block_features.position`); its lengths and noise are those under which each block
is best predicted from the others, and its error is scaled to hold what it claims on structures left out.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import log
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hw_models.measured.block_features import BY_SIZE, FEATURES, features, position
from hw_models.measured.blocks import KINDS, Block
from zoo.errors import ZooError
from zoo.gp import squared_exponential
from zoo.statistics import nonnegative_least_squares

Array = NDArray[np.float64]

LENGTHS = (0.7, 1.0, 1.4, 2.0, 3.0, 4.5)
NOISES = (0.01, 0.02, 0.04, 0.08)
FEWEST = 6
"""Blocks of a kind from which their errors are interpolated; below, only the rates are used."""
FOLDS = 5
BORROWED = 0.02
"""Weight of blocks of other kinds when the rates of one kind are fitted."""
ROUNDS = 6
ENOUGH = 20
"""Blocks of a kind from which the interpolation's claim is checked; below, it is widened by UNPROVEN."""
UNPROVEN = 1.5


class Estimate(NamedTuple):
    """Seconds of a block, the standard deviation of their logarithm, whether it was measured itself."""

    seconds: float
    sd: float
    measured: bool


@dataclass(frozen=True, slots=True)
class Measured:
    """A timed block: central seconds with their 90 % interval."""

    block: Block
    batch: int
    seconds: float
    low: float
    high: float

    @property
    def sd(self) -> float:
        """Standard deviation of the logarithm of the seconds."""
        return max(log(self.high / self.low) / 3.29, 0.005)


@dataclass(frozen=True)
class _Kind:
    """Interpolated errors of one kind: positions, weights, inverse covariance, and the process's parameters."""

    positions: Array
    weights: Array
    inverse: Array
    signal: float
    length: float
    noise: float

    def at(self, place: Array) -> tuple[float, float]:
        """Mean and standard deviation of the log error there."""
        covariance = self.signal**2 * squared_exponential(self.positions, place[None, :], self.length)[:, 0]
        left = self.signal**2 - float(covariance @ self.inverse @ covariance)
        return float(covariance @ self.weights), (max(left, 0.0) + self.noise**2) ** 0.5


class BlockModel:
    """Times of blocks on one device, from its measured ones.

    call_s: what one call takes, whatever it runs. widening: factors on the interpolation's error by kind, by
    default those by which it holds 90 % of the structures left out.
    """

    def __init__(self, rows: Sequence[Measured], call_s: float, widening: Mapping[str, float] | None = None) -> None:
        if not rows:
            raise ZooError("no block was measured, so nothing can be predicted; run zoo measure")
        self.rows = tuple(rows)
        self.call_s = call_s
        self._known = {(row.block, row.batch): row for row in rows}
        counts, net = np.array([features(r.block, r.batch) for r in rows]), self._net(rows)
        kinds = np.array([r.block.kind for r in rows])
        self.rates = {kind: _rates(counts, net, np.where(kinds == kind, 1.0, BORROWED)) for kind in sorted(set(kinds))}
        self._any = _rates(counts, net, np.ones(len(rows)))
        self._kinds = self._fit_kinds()
        self._memo: dict[tuple[Block, int], Estimate] = {}
        self._widening = widening
        self._seen = counts.max(axis=0) > 0

    def estimate(self, block: Block, batch: int = 1) -> Estimate:
        """Seconds of a block inside a network."""
        key = (block, batch)
        if key not in self._memo:
            self._memo[key] = self._estimate(block, batch)
        return self._memo[key]

    def _estimate(self, block: Block, batch: int) -> Estimate:
        row = self._known.get((block, batch))
        if row is not None:
            return Estimate(self._net([row])[0], row.sd, True)
        return self.interpolate(block, batch)

    def interpolate(self, block: Block, batch: int = 1) -> Estimate:
        """The same without a look-up."""
        base = self._base(block, batch)
        kind = self._kinds.get(block.kind)
        if kind is None:
            return Estimate(base, self.base_sd, False)
        shift, sd = kind.at(position(block, batch))
        return Estimate(base * float(np.exp(shift)), sd * self.widening.get(block.kind, UNPROVEN), False)

    def unknown(self, block: Block) -> str:
        """What the block does that no measured block does; empty where there is nothing."""
        lacks = (features(block) > 0) & ~self._seen
        missing = (name for name, lack in zip(FEATURES, lacks, strict=True) if lack)
        return ", ".join(name for name in missing if name not in BY_SIZE)

    def _net(self, rows: Sequence[Measured]) -> Array:
        """Seconds without those of the call, of which at least a tenth is taken to be the block's own."""
        seconds = np.array([row.seconds for row in rows])
        calls = np.array([self.call_s / row.block.copies for row in rows])
        return np.asarray(np.maximum(seconds - calls, 0.1 * seconds))

    def _base(self, block: Block, batch: int) -> float:
        return float(features(block, batch) @ self.rates.get(block.kind, self._any)) or 1e-9

    @cached_property
    def base_sd(self) -> float:
        """Standard deviation of the log error of the rates alone."""
        return float(np.sqrt(np.mean(self._errors(self.rows) ** 2))) + 0.05

    def _errors(self, rows: Sequence[Measured]) -> Array:
        base = np.array([self._base(r.block, r.batch) for r in rows])
        return np.asarray(np.log(self._net(rows) / base))

    def _fit_kinds(self) -> dict[str, _Kind]:
        by_kind = {}
        for kind in KINDS:
            rows = [row for row in self.rows if row.block.kind == kind]
            if len(rows) >= FEWEST:
                positions = np.array([position(row.block, row.batch) for row in rows])
                by_kind[kind] = _fit(positions, self._errors(rows))
        return by_kind

    @cached_property
    def widening(self) -> Mapping[str, float]:
        """Factor on the interpolation's error, by kind, by which it holds 90 % of the structures left out."""
        if self._widening is not None:
            return self._widening
        factors = {}
        for kind in KINDS:
            z = [abs(error / sd) for block_kind, error, sd in self.held_out if block_kind == kind]
            if len(z) >= ENOUGH:
                factors[kind] = max(1.0, float(np.quantile(z, 0.9)) / 1.645)
        return factors

    def held_out_summary(self) -> dict[str, dict[str, float]]:
        """By kind: rows, errors of the structures left out, and the widening."""
        out = {}
        for kind in KINDS:
            errors = np.abs(np.expm1([error for block_kind, error, _ in self.held_out if block_kind == kind]))
            if len(errors):
                out[kind] = {
                    "rows": float(len(errors)),
                    "median_error": float(f"{np.median(errors):.3g}"),
                    "within_10_percent": float(f"{(errors < 0.1).mean():.3g}"),
                    "widening": float(f"{self.widening.get(kind, UNPROVEN):.3g}"),
                }
        return out

    @cached_property
    def held_out(self) -> tuple[tuple[str, float, float], ...]:
        """Kind, log error and claimed standard deviation of each row, its structure left out of the fit.

        A structure is a block whatever its size: its other sizes are left out with it.
        """
        structures = sorted({_structure(row.block) for row in self.rows})
        fold_of = {text: i % FOLDS for i, text in enumerate(structures)}
        out: list[tuple[str, float, float]] = []
        for fold in range(min(FOLDS, len(structures))):
            fitted_rows = [row for row in self.rows if fold_of[_structure(row.block)] != fold]
            left_out = [row for row in self.rows if fold_of[_structure(row.block)] == fold]
            if fitted_rows:
                out += _misses(fitted_rows, left_out, self.call_s)
        return tuple(out)


def _misses(
    fitted_rows: Sequence[Measured], left_out: Sequence[Measured], call_s: float
) -> Iterable[tuple[str, float, float]]:
    model = BlockModel(fitted_rows, call_s, dict.fromkeys(KINDS, 1.0))
    for row in left_out:
        guess = model.interpolate(row.block, row.batch)
        yield row.block.kind, log(float(model._net([row])[0]) / guess.seconds), guess.sd


def _structure(block: Block) -> str:
    """The block without its height and width."""
    entries = ",".join(str(layer.out_shape.channels) for layer in block.inputs)
    return entries + block.text.partition('"layers"')[2]


def _fit(positions: Array, errors: Array) -> _Kind:
    """The process under which each error is best predicted from the others (leave-one-out likelihood)."""
    signal = max(float(np.sqrt(np.mean(errors**2))), 0.05)
    best: tuple[float, _Kind] | None = None
    for length in LENGTHS:
        likeness = squared_exponential(positions, positions, length)
        for noise in NOISES:
            for scale in (1.0, 2.0):
                s = signal * scale
                inverse = np.asarray(
                    np.linalg.inv(s**2 * likeness + (noise**2 + 1e-6) * np.eye(len(errors))), np.float64
                )
                weights = inverse @ errors
                # Leave-one-out residuals and variances in closed form.
                variance = 1.0 / np.diag(inverse)
                miss = weights * variance
                score = float(np.sum(np.log(variance) + miss**2 / variance))
                if best is None or score < best[0]:
                    best = score, _Kind(positions, weights, inverse, s, length, noise)
    assert best is not None  # the grids are not empty
    return best[1]


def _rates(counts: Array, seconds: Array, weights: Array) -> Array:
    """Rates >= 0 under which the logarithm of counts @ rates is nearest to that of the seconds (reweighted squares)."""
    scale = np.maximum((counts / seconds[:, None]).max(axis=0), 1e-30)
    design = counts / scale
    guess, rates = seconds, np.zeros(counts.shape[1])
    for _ in range(ROUNDS):
        # (p - t)² / (p t) is symmetric in the ratio p / t, as the squared logarithm is.
        w = weights / (seconds * guess)
        gram = (design * w[:, None]).T @ design
        rates = nonnegative_least_squares(gram + 1e-9 * np.trace(gram) * np.eye(len(rates)), design.T @ (w * seconds))
        guess = np.maximum(design @ rates, 0.05 * seconds)
    return np.asarray(rates / scale)


def farthest(items: Sequence[Block], count: int, batch: int = 1, taken: Iterable[Block] = ()) -> list[Block]:
    """The `count` blocks that leave no other far from all of them; those `taken` count as chosen already."""
    if len(items) <= count:
        return list(items)
    places = np.array([position(block, batch) for block in items])
    chosen_places = np.array([position(block, batch) for block in taken])
    distance = (
        ((places - places.mean(axis=0)) ** 2).sum(axis=1) if not len(chosen_places) else _nearest(places, chosen_places)
    )
    chosen: list[int] = []
    while len(chosen) < count:
        at = int(np.argmax(np.round(distance, 9)))
        chosen.append(at)
        new = ((places - places[at]) ** 2).sum(axis=1)
        distance = new if len(chosen) == 1 and not len(chosen_places) else np.minimum(distance, new)
    return [items[i] for i in chosen]


def _nearest(places: Array, chosen_places: Array) -> Array:
    return np.asarray(((places[:, None, :] - chosen_places[None, :, :]) ** 2).sum(axis=-1).min(axis=1))


def structures(blocks: Iterable[Block]) -> dict[str, list[Block]]:
    """Blocks by their structure, which is all but height and width."""
    by_structure: dict[str, list[Block]] = {}
    for block in blocks:
        by_structure.setdefault(_structure(block), []).append(block)
    return by_structure


__all__ = ["FEATURES", "BlockModel", "Estimate", "Measured", "farthest", "structures"]
