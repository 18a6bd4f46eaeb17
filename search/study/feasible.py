"""The feasible set of a study: all candidates within the limits, with everything known before a trial."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from search.accuracy import AccuracyModel, accuracy_model
from search.accuracy.effects import EFFECTS
from search.accuracy.joint import JointNormal
from search.accuracy.linear import Accuracy, points
from search.clocks import settings_of
from search.exact import nothing_feasible
from search.pricing import ByFamily, Columns, Evaluator
from search.query import Query
from search.space import SearchSpace
from zoo.bulk.choices import Choices, Ints
from zoo.errors import ConfigError

Floats = NDArray[np.float64]
Progress = Callable[[int, int], None]

UNKNOWN_MIOU = (5.0, 50.0, 95.0)
"""Low, mean and high of the mIOU, in percent, of a family of which nothing is known."""


SPACE = "space"
"""Name of the parameter that says to which of several spaces a candidate belongs."""


@dataclass(frozen=True, slots=True)
class Member:
    """The candidates of one space of a feasible set: those at `start` to `stop` - 1; label: names the space."""

    label: str
    space: SearchSpace
    start: int
    stop: int

    @property
    def at(self) -> slice:
        """Their places."""
        return slice(self.start, self.stop)

    @property
    def counts(self) -> dict[str, int]:
        """Number of choices of each field that varies."""
        return {name: len(values) for name, values in self.space.choices.values.items() if len(values) > 1}


@dataclass(frozen=True)
class FeasibleSet:
    """Every candidate within the limits. Everything but mIOU is known of them before any is trained.

    query: with every clock settled. rows: numbers in the space or spaces, (N,), ascending. known: the objectives beside
    mIOU, to be minimised, (N, axes - 1), in the order of the query. miou: low, mean and high before any trial, in
    percent, (N, 3). failures: probability of passing each limit, (N, limits).
    """

    query: Query
    enumerated: int
    rows: Ints
    known: Floats
    miou: Floats
    failures: Floats

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def miou_axis(self) -> int:
        """Place of mIOU among the objectives."""
        return next(i for i, (metric, _, _) in enumerate(self.query.axes()) if metric == "miou")

    def points(self, index: Any, miou: Any, latency_s: Any = None) -> Floats:
        """Objectives of candidates, all to be minimised, given their mIOU in percent.

        latency_s: as measured on the only device, NaN where it was not.
        """
        costs = self.known[index]
        metrics = [metric for metric, _, _ in self.query.axes() if metric != "miou"]
        if latency_s is not None and "latency_s" in metrics:
            at, measured = metrics.index("latency_s"), np.asarray(latency_s, dtype=float)
            costs = costs.copy()
            costs[..., at] = np.where(np.isnan(measured), costs[..., at], measured)
        return np.insert(costs, self.miou_axis, -np.asarray(miou, dtype=float), axis=-1)

    @property
    def expected(self) -> float:
        """The best mIOU expected before any trial, in percent."""
        return float(self.miou[:, 1].max())

    @cached_property
    def members(self) -> tuple[Member, ...]:
        """The candidates by space, in the order of the spaces."""
        space = self.query.space
        edges = [*np.searchsorted(self.rows, space.firsts).tolist(), len(self)]
        return tuple(map(Member, space.labels, space.members, edges, edges[1:]))

    @cached_property
    def space(self) -> Ints:
        """Place of the space of each candidate among the members, (N,)."""
        return np.repeat(np.arange(len(self.members)), [member.stop - member.start for member in self.members])

    def member(self, index: int) -> Member:
        """The space of a candidate."""
        return self.members[int(self.space[index])]

    def parameter(self, member: Member, name: str) -> str:
        """Name of a field as a parameter: `field`, or `label.field` where there are several spaces."""
        return name if len(self.members) == 1 else f"{member.label}.{name}"

    @cached_property
    def counts(self) -> dict[str, int]:
        """Number of choices of each parameter; a parameter is a field of a space that varies."""
        return {self.parameter(member, name): n for member in self.members for name, n in member.counts.items()}

    @cached_property
    def codes(self) -> dict[str, Ints]:
        """Index into the choices of each parameter, (N,) each; -1 for the candidates of other spaces."""
        columns = {name: np.full(len(self), -1, dtype=np.int64) for name in self.counts}
        for member, first in zip(self.members, self.query.space.firsts, strict=True):
            own = member.space.choices.codes(self.rows[member.at] - first)
            for name in member.counts:
                columns[self.parameter(member, name)][member.at] = own[name]
        return columns

    @cached_property
    def positions(self) -> Floats:
        """The codes from 0 to 1, (N, parameters), and 0 for the parameters of other spaces.

        They compare candidates of one space only.
        """
        columns = [np.maximum(code, 0) / (self.counts[name] - 1) for name, code in self.codes.items()]
        return np.column_stack(columns) if columns else np.zeros((len(self), 1))

    def params(self, index: int) -> dict[str, Any]:
        """Parameters of a candidate: the codes of its fields and, of several spaces, the label of its own."""
        own = {name: int(code[index]) for name, code in self.codes.items() if code[index] >= 0}
        return own if len(self.members) == 1 else {SPACE: self.member(index).label} | own

    def values(self, index: int) -> dict[str, Any]:
        """Values of the fields that its space varies, as JSON has them."""
        member, out = self.member(index), {}
        for name in member.counts:
            value = member.space.choices.values[name][int(self.codes[self.parameter(member, name)][index])]
            out[name] = list(value) if isinstance(value, tuple) else value
        return out

    def index(self, row: int) -> int:
        """The place of a combination of the space. Raises ConfigError for one that the limits exclude."""
        at = int(np.searchsorted(self.rows, row))
        if at == len(self.rows) or self.rows[at] != row:
            raise ConfigError(f"candidate {row} of the space is not within the limits; the study is of another search")
        return at

    def columns(self, index: Any) -> Columns:
        """All that is known of some candidates."""
        rows, place = np.unique(self.rows[np.asarray(index, dtype=np.int64)], return_inverse=True)
        return evaluator(self.query)(rows).take(place.ravel())


class Unknown:
    """The accuracy model of a family without published figures: anything is possible."""

    name = "none"

    def predict(self, choices: Choices, codes: Any, confidence: float) -> Accuracy:
        """The same wide interval for every candidate."""
        count = len(next(iter(codes.values())))
        low, mean, high = (np.full(count, value) for value in UNKNOWN_MIOU)
        return Accuracy(mean, low, high)

    def predict_spec(self, spec: Any, confidence: float = 0.9) -> tuple[float, float, float]:
        """The same for one spec."""
        low, mean, high = UNKNOWN_MIOU
        return mean, low, high

    def joint(self, specs: Sequence[Any]) -> JointNormal:
        """Every spec by itself, from the same wide interval."""
        low, mean, high = points(np.array(UNKNOWN_MIOU))
        sd = np.full(len(specs), (high - low) / (2 * 1.645))
        return JointNormal(np.full(len(specs), mean), np.zeros((len(specs), 1)), sd, np.arange(len(specs)))

    def describe(self, family: str = "") -> dict[str, Any]:
        """Says that nothing is known."""
        return {"name": self.name, "family": family, "protocol": "no published figures of this family"}


def evaluator(query: Query) -> Evaluator:
    """An evaluator that also prices families without published figures."""
    model = accuracy_model(query.accuracy, query.space.size)
    models: dict[str, AccuracyModel] = {name: model if name in EFFECTS else Unknown() for name in query.families}
    return Evaluator(query, accuracy=ByFamily(models) if len(models) > 1 else next(iter(models.values())))


def feasible_set(query: Query, progress: Progress | None = None) -> FeasibleSet:
    """All candidates within the limits at one setting of the clocks.

    An open clock is settled where the best candidate is expected, of equal ones at the fastest setting.

    Raises NothingFeasible with its report, and ConfigError for objectives without mIOU or an empty space.
    """
    if "miou" not in query.objectives:
        raise ConfigError(
            f"objectives {', '.join(query.objectives)}: none of them is measured by training; add miou, or search "
            "exactly, without --trials and --sampler"
        )
    best: FeasibleSet | None = None
    for price in evaluator(query).at_settings(settings_of(query)):
        within = _within(price, progress)
        if len(within) and (best is None or within.expected > best.expected):
            best = within
    if best is None:
        exact_objectives = tuple(objective for objective in query.objectives if objective != "miou")
        raise nothing_feasible(replace(query, objectives=exact_objectives or ("params",)))
    return best


def _within(price: Evaluator, progress: Progress | None) -> FeasibleSet:
    query = price.query
    axes = [axis for axis in query.axes() if axis[0] != "miou"]
    rows, costs, miou, failures = [], [], [], []
    enumerated = 0
    for chunk in query.space.chunks():
        priced = price.price(chunk)
        enumerated += len(chunk)
        admitted = np.flatnonzero(priced.within)
        inside = price.columns(priced, admitted)
        rows.append(inside.rows)
        costs.append(np.array([sign * inside.metric(m, d).astype(float) for m, d, sign in axes]).reshape(len(axes), -1))
        miou.append(np.stack([inside.miou[part] for part in ("low", "mean", "high")], axis=1))
        failures.append(priced.failures[admitted])
        if progress:
            progress(int(chunk[-1]) + 1, query.space.combinations)
    if not rows:
        return FeasibleSet(
            query, 0, np.empty(0, np.int64), np.empty((0, len(axes))), np.empty((0, 3)), np.empty((0, 0))
        )
    joined = np.concatenate(costs, axis=1).T
    return FeasibleSet(query, enumerated, np.concatenate(rows), joined, np.concatenate(miou), np.concatenate(failures))
