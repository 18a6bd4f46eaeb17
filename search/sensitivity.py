"""Sensitivity of mIOU to one limit, and the regret of one network for several devices.

Both enumerate the space again, so that they are exact for every value of the limit, not only for
candidates that happen to be on a front.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from search.clocks import settings_of
from search.infeasible import needed
from search.pricing import Evaluator, Priced
from search.query import Query
from zoo.errors import ConfigError, NegativeAnswer, did_you_mean
from zoo.quantities import LIMITED, LIMITS, QUANTITIES
from zoo.specs import Spec

Floats = NDArray[np.float64]

SENSITIVITIES: Mapping[str, str] = {
    quantity.name: quantity.limits[0].name for quantity in QUANTITIES if quantity.kind != "accuracy"
}
"""Axis -> the limit that bounds it."""

OPEN = 1e12
"""A limit in its own unit that nothing reaches."""


@dataclass(frozen=True, slots=True)
class Staircase:
    """The best predicted mIOU in percent as a function of a limit: constant from one step to the next.

    limit: values at which it rises, ascending; miou: its value from there on.
    """

    limit: Floats
    miou: Floats

    def at(self, limit: float) -> float | None:
        """Best mIOU within a limit; None where nothing is within it."""
        i = int(np.searchsorted(self.limit, limit, side="right"))
        return float(self.miou[i - 1]) if i else None


def staircase(limit: Floats, miou: Floats) -> Staircase:
    """Best of `miou` among rows whose `limit` is at most a value.

    >>> staircase(np.array([3.0, 1.0, 2.0, 4.0]), np.array([60.0, 50.0, 55.0, 58.0]))
    Staircase(limit=array([1., 2., 3.]), miou=array([50., 55., 60.]))
    """
    order = np.lexsort((-miou, limit))
    best = np.maximum.accumulate(miou[order])
    rises = np.concatenate([[True], best[1:] > best[:-1]]) if len(best) else np.zeros(0, dtype=bool)
    return Staircase(limit[order][rises], best[rises])


def sensitivity(query: Query, name: str, evaluator: Evaluator | None = None) -> Staircase:
    """Best mIOU against the limit called `name` (latency, power, …), the query's other limits as they are.

    The limit is in its own unit (ms, W, mJ, MB) and holds on every device, at any clock that the query leaves
    open; all limits hold together with the query's confidence, as in a search. evaluator: an evaluator of this space
    and these devices. Raises ConfigError for an unknown name, NegativeAnswer where the other limits admit nothing.
    """
    if name not in SENSITIVITIES:
        raise ConfigError(f"sensitivity to {name!r} is unknown; {did_you_mean(name, SENSITIVITIES)}")
    relaxed = _without(query, name)
    parts: list[tuple[Floats, Floats]] = []
    for rows in query.space.chunks():
        for at_setting in at_settings(relaxed, evaluator):
            priced = at_setting.price(rows)
            values = _needed(priced, name)
            inside = np.flatnonzero(np.isfinite(values))
            parts.append(_steps(values[inside], at_setting.miou(priced, inside).mean))
    return _checked(staircase(*(np.concatenate(column) for column in zip(*parts, strict=True))), name)


def measured_sensitivity(query: Query, name: str, specs: Sequence[Spec], miou: Floats) -> Staircase:
    """The same of some specs of the space alone, whose mIOU in percent, (N,), was measured. Raises as `sensitivity`."""
    if name not in SENSITIVITIES:
        raise ConfigError(f"sensitivity to {name!r} is unknown; {did_you_mean(name, SENSITIVITIES)}")
    rows = np.array([query.space.row(spec) for spec in specs], dtype=np.int64)
    values = [_needed(evaluator.price(rows), name) for evaluator in at_settings(_without(query, name))]
    least = np.min(values, axis=0)
    inside = np.isfinite(least)
    return _checked(staircase(least[inside], miou[inside]), name)


def _without(query: Query, name: str) -> Query:
    """The query with nothing but an open limit on a metric."""
    limit = SENSITIVITIES[name]
    remaining = dict(query.limits.given()) | {limit: OPEN}
    for sibling in LIMITED[limit].limits:
        if sibling.name != limit:
            remaining.pop(sibling.name, None)
    return replace(query, limits=type(query.limits)(**remaining))  # type: ignore[arg-type]


def _needed(priced: Priced, name: str) -> Floats:
    """The tightest limit, in its own unit, with which each row is within all limits, (N,)."""
    limit = SENSITIVITIES[name]
    places = [i for i, bound in enumerate(priced.query.bounds()) if bound.limit == limit]
    return np.asarray(needed(priced, places) / LIMITS[limit].scale)


def _checked(steps: Staircase, name: str) -> Staircase:
    if not len(steps.limit):
        raise NegativeAnswer(f"nothing is within the other limits, whatever the {name}; relax one of them")
    return steps


def _steps(limit: Floats, miou: Floats) -> tuple[Floats, Floats]:
    """The rows that the staircase of all needs."""
    steps = staircase(limit, miou)
    return steps.limit, steps.miou


def at_settings(query: Query, evaluator: Evaluator | None = None) -> list[Evaluator]:
    """An evaluator at each setting of the clocks that a query tries, fastest first; all share what they price."""
    return (evaluator or Evaluator(query)).at(query).at_settings(settings_of(query))


@dataclass(frozen=True, slots=True)
class Regret:
    """What one answer for all devices gives up on one of them, at equal limits.

    own: best mIOU in percent against latency on this device (its central estimate, in ms), among what is
    within the limits on it alone; joint: the same among what is within the limits on every device.
    """

    device: str
    own: Staircase
    joint: Staircase

    @property
    def best(self) -> float:
        """What the best candidate gives up, in points of mIOU; 0 or more."""
        return float(self.own.miou[-1] - self.joint.miou[-1])

    @property
    def largest(self) -> tuple[float, float]:
        """Most points of mIOU given up at any latency that a joint candidate reaches, and that latency in ms."""
        steps = np.union1d(self.own.limit, self.joint.limit)
        steps = steps[steps >= self.joint.limit[0]]
        lost = [(self.own.at(t) or 0.0) - (self.joint.at(t) or 0.0) for t in steps.tolist()]
        worst = int(np.argmax(lost))
        return lost[worst], float(steps[worst])


def regrets(query: Query, evaluator: Evaluator | None = None) -> tuple[Regret, ...]:
    """The regret of a joint query on each of its devices. Raises NegativeAnswer where nothing is feasible.

    evaluator: an evaluator of this space and these devices.
    """
    shared = evaluator or Evaluator(query)
    joint = _reached(query, at_settings(query, shared), len(query.devices))
    out = []
    for i, device in enumerate(query.devices):
        single = replace(query, devices=(device,))
        (own,) = _reached(single, at_settings(single, shared), 1)
        out.append(Regret(str(device), own, joint[i]))
    return tuple(out)


def _reached(query: Query, evaluators: Sequence[Evaluator], count: int) -> list[Staircase]:
    """Best mIOU against the latency on each device, in ms, among what is within all limits at any setting."""
    parts: list[list[tuple[Floats, Floats]]] = [[] for _ in range(count)]
    for rows in query.space.chunks():
        for evaluator in evaluators:
            priced = evaluator.price(rows)
            inside = evaluator.columns(priced, np.flatnonzero(priced.within))
            for i in range(count):
                parts[i].append(_steps(1e3 * inside.metric("latency_s", i), inside.miou["mean"]))
    steps = [staircase(*(np.concatenate(column) for column in zip(*part, strict=True))) for part in parts]
    if not len(steps[0].limit):
        raise NegativeAnswer("nothing is within the limits on every device; relax one of them")
    return steps
