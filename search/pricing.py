"""Prices all candidates of a space at once: columns of costs and expected mIOU."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hw_models.normal import score, upper_tail
from hw_models.predictors import Predictor
from search.accuracy import Accuracy, AccuracyModel, accuracy_model, assumptions_of
from search.accuracy.joint import JointNormal, side_by_side
from search.accuracy.linear import points
from search.device_at import DeviceAt
from search.query import DEVICE_METRICS, EXACT_METRICS, Bound, Query
from search.tables import Tables, UnionTables, tables_of
from zoo.bulk.choices import Choices, Ints
from zoo.errors import ZooError
from zoo.graph import BYTES_PER_VALUE
from zoo.specs import Spec

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Columns:
    """One row a candidate.

    `rows` are numbers in the space, `setting` the places of the clocks among those that the search tried.
    `counts` has params, macs, weight_bytes, memory_bytes; `miou` (percent; NaN where no model knows the family)
    and, for each device, latency_s, power_w, energy_j have the parts mean, low, high. `within` says whether all
    limits hold together with the confidence asked for.
    """

    rows: Ints
    setting: Ints
    counts: Mapping[str, Ints]
    miou: Mapping[str, Floats]
    devices: tuple[Mapping[str, Mapping[str, Floats]], ...]
    within: NDArray[np.bool_]

    def metric(self, name: str, device: int | None) -> NDArray[Any]:
        """Point estimates of a metric."""
        if name == "miou":
            return self.miou["mean"]
        return self.counts[name] if device is None else self.devices[device][name]["mean"]

    def take(self, index: NDArray[Any]) -> "Columns":
        """Some of the rows."""
        return Columns(
            self.rows[index],
            self.setting[index],
            {name: column[index] for name, column in self.counts.items()},
            {part: column[index] for part, column in self.miou.items()},
            tuple({m: {p: c[index] for p, c in parts.items()} for m, parts in d.items()} for d in self.devices),
            self.within[index],
        )


def join(parts: list[Columns]) -> Columns:
    """Columns one below the other."""
    first = parts[0]
    return Columns(
        np.concatenate([p.rows for p in parts]),
        np.concatenate([p.setting for p in parts]),
        {name: np.concatenate([p.counts[name] for p in parts]) for name in first.counts},
        {name: np.concatenate([p.miou[name] for p in parts]) for name in first.miou},
        tuple(
            {
                m: {x: np.concatenate([p.devices[i][m][x] for p in parts]) for x in first.devices[i][m]}
                for m in DEVICE_METRICS
            }
            for i in range(len(first.devices))
        ),
        np.concatenate([p.within for p in parts]),
    )


@dataclass(frozen=True, slots=True)
class Lowered:
    """What does not depend on the query: codes and counts of candidates of one space."""

    choices: Choices
    codes: Mapping[str, Ints]
    counts: Mapping[str, Ints]

    def take(self, index: Ints) -> "Lowered":
        """Some of the rows."""
        return Lowered(
            self.choices,
            {name: column[index] for name, column in self.codes.items()},
            {name: column[index] for name, column in self.counts.items()},
        )


class Evaluator:
    """Evaluates candidates of one query. What was lowered and priced is in `tables`, which evaluators may share.

    fastest: the evaluator of the same query at its fastest clocks, where this one is of slower ones. Where a query has
    several spaces, the combinations of a call are all of one of them.
    """

    def __init__(
        self,
        query: Query,
        tables: Tables | UnionTables | None = None,
        accuracy: AccuracyModel | None = None,
        fastest: "Evaluator | None" = None,
    ) -> None:
        self.query, self._fastest = query, fastest
        self.tables = tables or tables_of(query.space)
        self.accuracy: AccuracyModel = accuracy or accuracy_of(query)
        self._last: Priced | None = None

    @property
    def predictors(self) -> tuple[Predictor, ...]:
        """One for each device of the query."""
        return tuple(self.tables.predictors[device] for device in self.query.devices)

    def at(self, query: Query) -> "Evaluator":
        """An evaluator of another query to the same space, which shares all that this one has lowered and priced."""
        return Evaluator(query, self.tables, self.accuracy)

    def at_settings(self, settings: Sequence[Sequence[DeviceAt]]) -> "list[Evaluator]":
        """One at each setting of the clocks, the first being the fastest, which no slower one beats in latency."""
        first = self.at(self.query.at(settings[0]))
        others = [Evaluator(self.query.at(s), self.tables, self.accuracy, fastest=first) for s in settings[1:]]
        return [first, *others]

    def lowered(self, rows: Ints) -> Lowered:
        """Codes and counts of combinations."""
        counts = self.tables.table(rows, self.query.devices).counts
        order = {
            "params": counts["params"],
            "macs": counts["macs"],
            "weight_bytes": BYTES_PER_VALUE * counts["params"],
            "memory_bytes": counts["memory_bytes"],
        }
        space, own = self.query.space.local(rows)
        return Lowered(space.choices, space.choices.codes(own), order)

    def countable(self, rows: Ints) -> NDArray[np.bool_]:
        """Which combinations are within the limits on what is counted."""
        counts = self.lowered(rows).counts
        inside = np.ones(len(rows), dtype=bool)
        for bound in self.query.bounds():
            if bound.metric in EXACT_METRICS:
                inside &= counts[bound.metric] <= bound.bound
        return inside

    def price(self, rows: Ints) -> "Priced":
        """What decides whether the valid combinations `rows` are within the limits."""
        if self._last is not None and self._last.rows is rows:
            return self._last
        fastest = self._fastest.price(rows) if self._fastest else None
        priced = self._price(rows, None, self.lowered(rows), fastest)
        if self._fastest is None:
            self._last = priced
        return priced

    def price_some(self, rows: Ints, index: Ints, fastest: "Priced | None" = None) -> "Priced":
        """The same of some of the combinations `rows`; fastest: these at the fastest setting."""
        return self._price(rows, index, self.lowered(rows).take(index), fastest)

    def _price(self, rows: Ints, index: Ints | None, lowered: Lowered, fastest: "Priced | None") -> "Priced":
        terms = tuple(self.tables.terms(rows, device, index) for device in self.query.devices)
        own = rows if index is None else rows[index]
        return Priced(self.query, own, lowered, terms, self.predictors, self._miou(lowered), fastest)

    def _miou(self, lowered: Lowered) -> Accuracy | None:
        """Of all rows where a limit asks for it; otherwise it is predicted of the feasible only."""
        query = self.query
        if query.limits.min_miou is None:
            return None
        return self.accuracy.predict(lowered.choices, lowered.codes, query.confidence)

    def miou(self, priced: "Priced", index: Ints) -> Accuracy:
        """Predicted mIOU of some of the priced combinations."""
        codes = {name: column[index] for name, column in priced.lowered.codes.items()}
        return self.accuracy.predict(priced.lowered.choices, codes, self.query.confidence)

    def columns(self, priced: "Priced", index: Ints, setting: int = 0) -> Columns:
        """Columns of some of the priced combinations, at the clocks of place `setting`."""
        query, lowered = self.query, priced.lowered
        accuracy = self.miou(priced, index)
        costs = [
            prices.finish(terms[index], confidence=query.confidence)
            for prices, terms in zip(self.predictors, priced.terms, strict=True)
        ]
        return Columns(
            priced.rows[index],
            np.full(len(index), setting, dtype=np.int64),
            {name: column[index] for name, column in lowered.counts.items()},
            {"mean": accuracy.mean, "low": accuracy.low, "high": accuracy.high},
            tuple(
                {
                    metric: {part: getattr(cost, f"{metric}_{part}") for part in ("mean", "low", "high")}
                    for metric in DEVICE_METRICS
                }
                for cost in costs
            ),
            priced.within[index],
        )

    def __call__(self, rows: Ints) -> Columns:
        """Columns of the valid combinations `rows`, ascending where they are of several spaces."""
        return join([self.columns(self.price(part), np.arange(len(part))) for part in self.query.space.parts(rows)])


@dataclass(frozen=True)
class Priced:
    """Lowered candidates at one setting of the clocks, with the additive terms of their cost on each device.

    fastest: the same at the fastest setting. A network is not sooner done at a slower clock, so that a latency is
    passed there with no less probability, whatever the widths of two intervals say.
    """

    query: Query
    rows: Ints
    lowered: Lowered
    terms: tuple[Floats, ...]
    predictors: tuple[Predictor, ...]
    miou: Accuracy | None
    fastest: "Priced | None" = None

    def take(self, index: Ints) -> "Priced":
        """Some of the rows, at the fastest setting."""
        miou = self.miou and Accuracy(self.miou.mean[index], self.miou.low[index], self.miou.high[index])
        terms = tuple(column[index] for column in self.terms)
        part = Priced(self.query, self.rows[index], self.lowered.take(index), terms, self.predictors, miou)
        vars(part)["failures"] = self.failures[index]
        return part

    def chance(self, bound: Bound, value: Any = None) -> Floats:
        """Probability that each row passes a limit, (N,); value: another than its own, in SI units, one or (N,)."""
        at = bound.bound if value is None else value
        if bound.device is not None:
            own = self.predictors[bound.device].exceeding(self.terms[bound.device], bound.metric, at)
            slower = self.fastest is not None and bound.metric == "latency_s"
            return np.maximum(own, self.fastest._known_chance(bound, value)) if self.fastest and slower else own
        if bound.metric == "miou":
            assert self.miou is not None
            center, sd = spread_in_points(self.miou, self.query.confidence)
            return upper_tail((center - points(at)) / sd)
        return np.asarray(self.lowered.counts[bound.metric] > at, dtype=np.float64)

    def _known_chance(self, bound: Bound, value: Any) -> Floats:
        """The same, from `failures` where the limit is one of the query's own."""
        own = self.query.bounds()
        return self.failures[:, own.index(bound)] if value is None and bound in own else self.chance(bound, value)

    def quantile(self, bound: Bound, probability: Floats) -> Floats:
        """What the metric of a limit on a device stays below with each row's probability, in SI units, (N,)."""
        device = bound.device or 0
        own = self.predictors[device].quantile(self.terms[device], bound.metric, probability)
        slower = self.fastest is not None and bound.metric == "latency_s"
        return np.maximum(own, self.fastest.quantile(bound, probability)) if self.fastest and slower else own

    @cached_property
    def failures(self) -> Floats:
        """Probability that each row passes each limit, (N, bounds): 0 or 1 for what is counted."""
        chances = [self.chance(bound) for bound in self.query.bounds()]
        return np.stack(chances, axis=1) if chances else np.zeros((len(self.rows), 0))

    @cached_property
    def failure(self) -> Floats:
        """Bound of the probability that a row passes any limit: the sum over what the limits are on, (N,)."""
        return self.query.failure(self.failures)

    @property
    def within(self) -> NDArray[np.bool_]:
        """Which rows are within all limits with the confidence asked for."""
        return self.query.admits(self.failure)

    @cached_property
    def hopeless(self) -> NDArray[np.bool_]:
        """Which rows pass a limit on what is counted or on latency too probably, so that no slower clock helps."""
        bounds = self.query.bounds()
        clocked = [i for i, b in enumerate(bounds) if b.metric not in ("latency_s", *EXACT_METRICS)]
        return ~self.query.admits(self.query.failure(self.failures, clocked))


def spread_in_points(accuracy: Accuracy, confidence: float) -> tuple[Floats, Floats]:
    """Centre and standard deviation of predicted mIOU in points, in which its distribution is normal."""
    reach = float(score((1 + confidence) / 2))
    return points(accuracy.mean), (points(accuracy.high) - points(accuracy.low)) / (2 * reach)


class UnknownAccuracy:
    """Where no model predicts the family's mIOU and the question does not ask for it: NaN."""

    name = "none"

    def predict(self, choices: Choices, codes: Mapping[str, Ints], confidence: float) -> Accuracy:
        """NaN for every candidate."""
        unknown = np.full(len(next(iter(codes.values()))), np.nan)
        return Accuracy(unknown, unknown, unknown)

    def predict_spec(self, spec: Spec, confidence: float = 0.9) -> tuple[float, float, float]:
        """NaN."""
        return np.nan, np.nan, np.nan

    def joint(self, specs: Sequence[Spec]) -> JointNormal:
        """NaN."""
        unknown = np.full(len(specs), np.nan)
        return JointNormal(unknown, np.zeros((len(specs), 1)), unknown, np.arange(len(specs)))

    def describe(self, family: str = "") -> dict[str, Any]:
        """Says that nothing is known."""
        return {"name": self.name, "family": family, "protocol": "no accuracy model knows this family"}


class ByFamily:
    """The accuracy models of several families as one; their errors are independent of each other."""

    def __init__(self, models: Mapping[str, AccuracyModel]) -> None:
        self.models = models
        self.name = next((model.name for model in models.values() if model.name != UnknownAccuracy.name), "none")

    def predict(self, choices: Choices, codes: Mapping[str, Ints], confidence: float) -> Accuracy:
        """By the model of the family."""
        return self.models[choices.family].predict(choices, codes, confidence)

    def predict_spec(self, spec: Spec, confidence: float = 0.9) -> tuple[float, float, float]:
        """By the model of its family."""
        return self.models[spec.family].predict_spec(spec, confidence)

    def joint(self, specs: Sequence[Spec]) -> JointNormal:
        """Of specs of any of the families."""
        families = [spec.family for spec in specs]
        own = {name: np.flatnonzero([family == name for family in families]) for name in dict.fromkeys(families)}
        return side_by_side(
            [(rows, self.models[name].joint([specs[i] for i in rows.tolist()])) for name, rows in own.items()]
        )

    def assumptions(self, spec: Spec) -> tuple[str, ...]:
        """By the model of its family."""
        return assumptions_of(self.models[spec.family], spec)

    def describe(self, family: str = "") -> dict[str, Any]:
        """Of one family."""
        return self.models[family].describe(family)


def accuracy_of(query: Query) -> AccuracyModel:
    """The accuracy model of a query. Raises ZooError where it needs one and none knows one of its families."""
    model = accuracy_model(query.accuracy, query.space.size)
    if query.needs_miou and len(query.families) == 1:
        return model
    models = {member.choices.family: _known(model, member.choices, query) for member in query.space.members}
    return ByFamily(models) if len(models) > 1 else next(iter(models.values()))


def _known(model: AccuracyModel, choices: Choices, query: Query) -> AccuracyModel:
    """The model where it knows the family. Raises ZooError where it does not and the query needs mIOU."""
    try:
        model.predict(choices, choices.codes(np.zeros(1, dtype=np.int64)), query.confidence)
    except ZooError:
        if query.needs_miou:
            raise
        return UnknownAccuracy()
    return model
