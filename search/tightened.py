"""Every candidate that is on the front of a query, or of the same query under tighter limits.

A report answers from these at every position of its sliders. A candidate can be left out if another one is
nowhere worse in an objective and passes no limit with a higher probability, whatever the limit. Predictions are
log-normal (mIOU is normal in points), so that a probability is that of a normal score which is linear in the
logarithm of the limit: of two lines one is above the other on a whole range if it is so at both of its ends.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from hw_models.normal import score
from search.accuracy.linear import points
from search.exact import networks
from search.pareto import levels, nondominated
from search.pricing import Evaluator, Floats, Priced, spread_in_points
from search.query import CLOCK_TRADED, EXACT_METRICS, Query
from search.sensitivity import at_settings
from zoo.bulk.choices import Ints

MOST_ROWS = 60_000
"""Candidates at their clocks that are compared; of more the report shows the front of the search alone."""


@dataclass(frozen=True)
class Tightened:
    """Candidates, a row each: number in the space, place of its setting, and columns of (N,) float64 by name.

    Columns: `miou` in percent and `miou.sd` in points; the counted metrics; of each device, by its place, as
    `0.latency_s`, the median in SI units, and as `0.latency_s.sd` the standard deviation of its logarithm;
    `0.fastest` and `0.fastest.sd` of the latency at the fastest setting, which no slower one beats.
    """

    rows: Ints
    setting: Ints
    columns: Mapping[str, Floats]

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, index: Ints) -> "Tightened":
        """Some of the rows."""
        columns = {name: column[index] for name, column in self.columns.items()}
        return Tightened(self.rows[index], self.setting[index], columns)


def tightened(query: Query, evaluator: Evaluator | None = None) -> Tightened | None:
    """The candidates, each network once; evaluator: an evaluator of this space and these devices.

    None where predictions are not log-normal, where no model knows the mIOU, or where there are more than MOST_ROWS.
    """
    evaluators = at_settings(query, evaluator)
    if not all(prices.log_normal for prices in evaluators[0].predictors):
        return None
    parts: list[Tightened] = []
    for rows in query.space.chunks():
        for setting, at_setting in enumerate(evaluators):
            part = _within(at_setting, at_setting.price(rows), setting)
            if len(part):
                parts.append(_kept(query, part, evaluators))
            if sum(map(len, parts)) > MOST_ROWS:
                return None
    if not parts or not all(np.isfinite(part.columns["miou"]).all() for part in parts):
        return None
    return _each_network_once(query, _kept(query, _joined(parts), evaluators), evaluators)


def _within(evaluator: Evaluator, priced: Priced, setting: int) -> Tightened:
    """What is within the limits at one setting."""
    index = np.flatnonzero(priced.within)
    accuracy = evaluator.miou(priced, index)
    columns = {"miou": accuracy.mean, "miou.sd": spread_in_points(accuracy, priced.query.confidence)[1]}
    columns |= {name: priced.lowered.counts[name][index].astype(np.float64) for name in EXACT_METRICS}
    for d in range(len(priced.predictors)):
        for metric in priced.predictors[d].metrics:
            columns[f"{d}.{metric}"], columns[f"{d}.{metric}.sd"] = _log_normal(priced, d, metric, index)
        columns[f"{d}.fastest"], columns[f"{d}.fastest.sd"] = _log_normal(
            priced.fastest or priced, d, "latency_s", index
        )
    return Tightened(priced.rows[index], np.full(len(index), setting, dtype=np.int64), columns)


def _log_normal(priced: Priced, device: int, metric: str, index: Ints) -> tuple[Floats, Floats]:
    center, loadings, own = priced.predictors[device].errors(priced.terms[device][index], metric)
    return center, np.sqrt((loadings**2).sum(axis=-1) + own**2)


def _joined(parts: Sequence[Tightened]) -> Tightened:
    return Tightened(
        np.concatenate([part.rows for part in parts]),
        np.concatenate([part.setting for part in parts]),
        {name: np.concatenate([part.columns[name] for part in parts]) for name in parts[0].columns},
    )


def _kept(query: Query, part: Tightened, evaluators: Sequence[Evaluator]) -> Tightened:
    return part.take(np.flatnonzero(nondominated(_ranks(query, part, evaluators))))


def _ranks(query: Query, part: Tightened, evaluators: Sequence[Evaluator]) -> Floats:
    """What decides whether a candidate can be left out, all to be minimised, values that differ by rounding equal."""
    return levels(np.stack([*_objectives(query, part), *_failures(query, part, evaluators)], axis=1))


def _objectives(query: Query, part: Tightened) -> Iterator[Floats]:
    for metric, device, sign in query.axes():
        yield sign * part.columns[metric if device is None else f"{device}.{metric}"]


def _failures(query: Query, part: Tightened, evaluators: Sequence[Evaluator]) -> Iterator[Floats]:
    """Of every metric what orders the probabilities with which any limit on it is passed."""
    least = float(score(query.confidence))
    limits = {(bound.metric, bound.device): bound.bound for bound in query.bounds()}
    yield from (part.columns[name] for name in EXACT_METRICS)
    center, sd = points(part.columns["miou"]), part.columns["miou.sd"]
    highest = float((center - least * sd).max())
    yield (highest - center) / sd
    yield sd if ("miou", None) not in limits else (points(limits["miou", None]) - center) / sd
    for d in range(len(query.devices)):
        for metric in limited_metrics(query, evaluators[0], d):
            names = [f"{d}.{metric}", *([f"{d}.fastest"] if metric == "latency_s" else [])]
            scores = [list(_ends(part, name, limits.get((metric, d)), least)) for name in names]
            yield from scores[0]
            if len(scores) > 1 and len(evaluators) > 1:
                # Where a row's own line is the higher at both ends the other one never counts.
                binds = np.any([fast > own for own, fast in zip(*scores, strict=True)], axis=0)
                yield from (np.where(binds, fast, own) for own, fast in zip(*scores, strict=True))
        if "power_w" in limited_metrics(query, evaluators[0], d):
            yield _never_below(part, d, evaluators, least)


def limited_metrics(query: Query, evaluator: Evaluator, device: int) -> tuple[str, ...]:
    """Metrics of a device on which a tighter limit is answered.

    A first limit on power or energy would leave slower clocks open, which were not tried: none is answered then.
    """
    fixed = query.trades_clock or all(at.clock_mhz is not None for at in query.devices)
    return tuple(m for m in evaluator.predictors[device].metrics if fixed or m not in CLOCK_TRADED)


def _ends(part: Tightened, name: str, loosest: float | None, least: float) -> Iterator[Floats]:
    """Normal scores of passing the tightest limit that anything keeps, and the loosest; without one the spread."""
    center, sd = np.log(part.columns[name]), part.columns[f"{name}.sd"]
    tightest = float((center + least * sd).min())
    yield (center - tightest) / sd
    yield sd if loosest is None else (center - np.log(loosest)) / sd


def _never_below(part: Tightened, device: int, evaluators: Sequence[Evaluator], least: float) -> Floats:
    """The idle power at each row's setting, or the least limit on power that any row keeps where that is more."""
    idle = idle_powers(evaluators, device)[part.setting]
    quantile = part.columns[f"{device}.power_w"] * np.exp(least * part.columns[f"{device}.power_w.sd"])
    return np.asarray(np.maximum(idle, np.maximum(quantile, idle).min()))


def idle_powers(evaluators: Sequence[Evaluator], device: int) -> Floats:
    """Power of a device when idle, in W, at each setting."""
    at_settings_predictors = [evaluator.predictors[device] for evaluator in evaluators]
    return np.array([prices.device.idle_power(prices.clock_mhz) for prices in at_settings_predictors])


def _each_network_once(query: Query, part: Tightened, evaluators: Sequence[Evaluator]) -> Tightened:
    """Of specs that are the same network, which agree in everything, the first in the space."""
    order = np.lexsort((part.setting, part.rows))
    part = part.take(order)
    ranks = np.column_stack([_ranks(query, part, evaluators), part.setting])
    return part.take(np.array(sorted(i for i, _ in networks(query, part.rows, part.setting, ranks)), dtype=np.int64))
