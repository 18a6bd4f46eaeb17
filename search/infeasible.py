"""What to say when nothing is within all limits: what binds, and the smallest relaxation that helps."""

from collections.abc import Sequence
from dataclasses import replace
from math import ceil, floor, isfinite, log10
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hw_models.normal import score
from search.accuracy.linear import percent
from search.clocks import Setting
from search.pricing import Priced, spread_in_points
from search.query import SLACK, Bound, Query
from zoo.config import Limits
from zoo.errors import NegativeAnswer
from zoo.quantities import LIMITED, LIMITS, MAXIMIZE

Floats = NDArray[np.float64]

DIGITS = 4
"""Significant digits of a relaxation that is no count."""


class NothingFeasible(NegativeAnswer):
    """No candidate is within all limits; `report` says what binds and what would help."""

    def __init__(self, message: str, report: dict[str, Any]) -> None:
        super().__init__(message)
        self.report = report


def needed(priced: Priced, places: Sequence[int]) -> Floats:
    """The tightest value, in SI units, of one limit with which each row is within all limits, (N,).

    places: of the limit among the query's, one for each device that it holds on; the other limits stay as they
    are. Infinite where no value helps (minus infinity for mIOU, which is bounded from below).
    """
    query = priced.query
    bounds = [query.bounds()[i] for i in places]
    spare = query.spare(query.failure(priced.failures, places))
    helps = spare >= -SLACK
    if bounds[0].metric == "miou":
        assert priced.miou is not None
        center, sd = spread_in_points(priced.miou, query.confidence)
        return np.where(helps, percent(center - sd * score(1 - _inside(spare))), -np.inf)
    if not bounds[0].uncertain:
        return np.where(helps, priced.lowered.counts[bounds[0].metric], np.inf)
    same = [_same_metric(priced, i, places) for i in places]
    lowest = _largest(priced, bounds, [spare + chance for chance in same])
    if len(bounds) > 1:
        highest = _largest(priced, bounds, [spare / len(bounds) + chance for chance in same])
        lowest = _bisected(priced, bounds, same, spare, lowest, highest)
    return np.where(helps & (lowest > 0), lowest, np.inf)


def _same_metric(priced: Priced, place: int, left_out: Sequence[int]) -> Floats:
    """Probability with which the tightest other limit on the same metric is passed, which the sum counts already."""
    group = next(group for group in priced.query.groups if place in group)
    others = [i for i in group if i not in left_out]
    return np.asarray(priced.failures[:, others].max(axis=1, initial=0.0))


def _inside(probability: Floats) -> Floats:
    return np.clip(probability, 1e-15, 1 - 1e-15)


def _largest(priced: Priced, bounds: Sequence[Bound], allowed: Sequence[Floats]) -> Floats:
    """The largest value over the devices that each passes with the probability allowed on it."""
    values = [priced.quantile(b, 1 - _inside(chance)) for b, chance in zip(bounds, allowed, strict=True)]
    return np.asarray(np.max(values, axis=0))


def _bisected(
    priced: Priced, bounds: Sequence[Bound], same: Sequence[Floats], spare: Floats, low: Floats, high: Floats
) -> Floats:
    """The least value of a limit on several devices whose failures use up what is to spare; too large by 1e-9."""
    low, high = low.copy(), high * (1 + 1e-9)
    for _ in range(40):
        middle = np.sqrt(low * high)
        chances = [np.maximum(priced.chance(b, middle) - s, 0.0) for b, s in zip(bounds, same, strict=True)]
        holds = np.sum(chances, axis=0) <= spare + SLACK
        low, high = np.where(holds, low, middle), np.where(holds, middle, high)
    return high


def safe(limit: str, needed_si: float) -> float:
    """The limit in its own unit, rounded to the side on which it helps: counts exactly, others to DIGITS digits.

    >>> safe("max_latency_ms", 0.06123456), safe("min_fps", 0.06123456), safe("max_params", 364569.0)
    (61.24, 16.33, 364569)
    """
    bound = Bound(limit, "", 0.0, None)
    own = bound.spell(needed_si)
    if LIMITS[limit].count:
        return ceil(own - 1e-6)
    step = 10.0 ** (floor(log10(own)) + 1 - DIGITS)
    below = LIMITS[limit].lower
    count = floor(own / step) if below else ceil(own / step)
    value = float(f"{count * step:.{DIGITS + 2}g}")
    holds = value <= own if below else value >= own
    return value if holds else float(f"{(count + (-1 if below else 1)) * step:.{DIGITS + 2}g}")


class Nearest:
    """Follows an enumeration to say, if nothing is feasible, what would have to give."""

    def __init__(self, query: Query, settings: Sequence[Setting]) -> None:
        self.query, self.settings = query, settings
        self.places: dict[str, list[int]] = {}
        for i, bound in enumerate(query.bounds()):
            self.places.setdefault(bound.limit, []).append(i)
        self.helps = dict.fromkeys(self.places, np.inf)
        self.alone = dict.fromkeys(self.places, np.inf)
        self.together: tuple[float, int, int, dict[str, float]] = (np.inf, -1, 0, {})

    def see(self, priced: Priced, setting: int) -> None:
        """Take the combinations of one chunk at one setting of the clocks into account."""
        if not self.places:
            return
        shared = {}
        for limit, places in self.places.items():
            sign = float(LIMITED[limit].direction)
            self.helps[limit] = min(self.helps[limit], float((sign * needed(priced, places)).min()))
            only = Limits(**{limit: dict(self.query.limits.given())[limit]})  # type: ignore[arg-type]
            single = replace(priced, query=replace(priced.query, limits=only))
            count = len(single.query.bounds())
            self.alone[limit] = min(self.alone[limit], float((sign * needed(single, range(count))).min()))
            shared[limit] = needed(self._sharing(single), range(count))
        excess = np.max([self._excess(limit, values) for limit, values in shared.items()], axis=0)
        best = int(excess.argmin())
        if excess[best] < self.together[0]:
            values = {limit: float(column[best]) for limit, column in shared.items()}
            self.together = (float(excess[best]), int(priced.rows[best]), setting, values)

    def _sharing(self, priced: Priced) -> Priced:
        """With as much confidence as each of all limits needs for all to hold together."""
        limits = {limit for limit, places in self.places.items() if self.query.bounds()[places[0]].uncertain}
        confidence = 1 - (1 - self.query.confidence) / max(1, len(limits))
        miou = priced.miou  # its intervals are of the query's own confidence
        if miou is not None:
            center, sd = spread_in_points(miou, self.query.confidence)
            reach = float(score((1 + confidence) / 2)) * sd
            miou = replace(miou, low=percent(center - reach), high=percent(center + reach))
        return replace(priced, query=replace(priced.query, confidence=confidence), miou=miou)

    def _excess(self, limit: str, values: Floats) -> Floats:
        """By which factor the limit would have to give."""
        bound = self.query.bounds()[self.places[limit][0]].bound
        return bound / np.maximum(values, 1e-9) if LIMITED[limit].direction == MAXIMIZE else values / bound

    def error(self, enumerated: int, nearest: dict[str, Any]) -> NothingFeasible:
        """The report and its sentence; nearest: the entry of the candidate for which all limits give least."""
        relaxations = [self._relaxation(limit) for limit in self.places]
        unreachable = [r for r in relaxations if r["unreachable"]]
        binding = unreachable or [r for r in relaxations if r["smallest_that_helps"] is not None] or relaxations
        report = {
            "enumerated": enumerated,
            "feasible": 0,
            "front": [],
            "binding": [r["limit"] for r in binding],
            "limits": relaxations,
            "together": self._all_given(),
            "nearest": nearest,
        }
        return NothingFeasible(self._sentence(enumerated, binding, relaxations), report)

    def _relaxation(self, limit: str) -> dict[str, Any]:
        sign = float(LIMITED[limit].direction)
        bound = self.query.bounds()[self.places[limit][0]]
        helps, best = sign * self.helps[limit], sign * self.alone[limit]
        return {
            "limit": limit,
            "device": str(self.query.devices[bound.device]) if bound.device is not None else None,
            "value": bound.spell(bound.bound),
            "best_in_space": bound.spell(best),
            "nearest_candidate": bound.spell(self.together[3][limit]),
            "smallest_that_helps": safe(limit, helps) if isfinite(helps) else None,
            "unreachable": self.alone[limit] > sign * bound.bound * (1 + sign * SLACK),
        }

    def _all_given(self) -> dict[str, float]:
        """Limits, in their own units, that the nearest candidate is within."""
        out = {}
        for limit, value in self.together[3].items():
            limit_value = dict(self.query.limits.given())[limit]
            loosest = min if LIMITS[limit].lower else max
            out[limit] = loosest(limit_value, safe(limit, value))
        return out

    def _sentence(self, enumerated: int, binding: list[dict[str, Any]], all_limits: list[dict[str, Any]]) -> str:
        names = ", ".join(sorted(self._reaches(r) for r in binding))
        helps = [
            f"{LIMITS[r['limit']].option} {spelt_value(r['smallest_that_helps'])}"
            for r in all_limits
            if r["smallest_that_helps"] is not None
        ]
        if helps:
            way_out = f"with the other limits as they are, relaxing one to {' or '.join(helps)} would help"
        else:
            together = " ".join(
                f"{LIMITS[name].option} {spelt_value(value)}" for name, value in self._all_given().items()
            )
            way_out = f"no single relaxation helps: at least two limits must give; {together} would help"
        clocks = f" at any of {len(self.settings)} clocks" if len(self.settings) > 1 else ""
        return (
            f"none of {enumerated:,} candidates is within all limits with probability {self.query.confidence:g}"
            f"{clocks}: {names} binds; {way_out}"
        )

    def _reaches(self, r: dict[str, Any]) -> str:
        on_devices = f" on {', '.join(map(str, self.query.devices))}" if r["device"] else ""
        uncertain = self.query.bounds()[self.places[r["limit"]][0]].uncertain
        sure = f"with probability {self.query.confidence:g} " if uncertain else ""
        least = "most" if LIMITS[r["limit"]].lower else "least"
        option, best = LIMITS[r["limit"]].option, r["best_in_space"]
        return f"{option} {r['value']:g}{on_devices} (the {least} that is kept {sure}is {best:.4g})"


def spelt_value(value: float) -> str:
    """A limit as it is typed, with every digit."""
    return str(int(value)) if float(value).is_integer() else repr(float(value))
