"""Query of a search: space, devices, limits, objectives, and the joint confidence of the limits."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from search.device_at import DeviceAt
from search.space import SearchSpace
from search.union import Space
from zoo.config import CONFIDENCES, Limits
from zoo.errors import ConfigError, did_you_mean
from zoo.quantities import BY_NAME, LIMITED, LIMITS, QUANTITIES, keys

DEVICE_METRICS = keys("predicted")
"""Metrics that are predicted for a device, each with an interval."""

EXACT_METRICS = keys("counted")
"""Metrics that are counted, and certain."""

CLOCK_TRADED = tuple(quantity.key for quantity in QUANTITIES if quantity.clocked)
"""Metrics that a slower clock may lower. Latency and what is counted never gain from a slower clock."""

SI_LIMITS: Mapping[str, str] = {limit.key or LIMITED[name].key: name for name, limit in LIMITS.items()}
"""Names of limits in Python, in SI units -> names on the command line."""

SLACK = 1e-12
"""By how much a sum of probabilities may pass its limit through rounding."""


@dataclass(frozen=True, slots=True)
class Bound:
    """One limit: `metric` at most `bound` in SI units (mIOU at least, in percent).

    device: place of the device of what is predicted for one, None for counts and mIOU. limit: how the user wrote it.
    """

    limit: str
    metric: str
    bound: float
    device: int | None

    def spell(self, value: float) -> float:
        """A value of the metric in the user's own unit (a frame rate for min_fps)."""
        return LIMITS[self.limit].own(value)

    @property
    def uncertain(self) -> bool:
        """Whether the metric is predicted; what is counted is certain."""
        return self.metric not in EXACT_METRICS

    def at(self, value: float) -> "Bound":
        """The same limit with another value in the user's own unit."""
        return replace(self, bound=LIMITS[self.limit].si(value))


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """A complete question to a space; equal queries have equal answers.

    space: what is enumerated, at one image size (`search.space.space_of`). devices: on which the limits hold, each with
    its clock or with None. limits: in the units of the command line. objectives: what the front trades off, in the
    order in which it is sorted. confidence: between 0 and 1. accuracy: the model of mIOU. Raises ConfigError for what
    means nothing.

    >>> from search.device_at import DeviceAt
    >>> from search.space import space_of
    >>> from zoo.config import load_config
    >>> tiny = space_of(load_config().space("tiny"), (512, 1024))
    >>> query = Query(space=tiny, devices=(DeviceAt("tx2", 850.0),), limits=Limits(max_latency_ms=150.0))
    >>> [(bound.metric, bound.bound) for bound in query.bounds()]
    [('latency_s', 0.15)]

    A candidate is within the limits if the probabilities with which it passes each of them add up to 1 -
    `confidence` at most (Boole's inequality, which holds however the errors depend on each other). What is
    counted fails with probability 0 or 1; of two limits on one metric of a device the tighter counts.
    """

    space: Space
    devices: tuple[DeviceAt, ...]
    limits: Limits = field(default_factory=Limits)
    objectives: tuple[str, ...] = ("miou", "latency", "size")
    confidence: float = 0.9
    accuracy: str = "published"

    def __post_init__(self) -> None:
        if not self.devices:
            raise ConfigError("a search needs at least one device; name it with --device")
        if len({str(device) for device in self.devices}) < len(self.devices):
            raise ConfigError(f"devices {', '.join(map(str, self.devices))}: one is named twice; name each once")
        if not CONFIDENCES[0] <= self.confidence <= CONFIDENCES[1]:
            raise ConfigError(f"confidence must be between 0 and 1, both excluded, but is {self.confidence}")
        for name in self.objectives:
            if name not in BY_NAME:
                raise ConfigError(f"objective {name!r} is unknown; {did_you_mean(name, BY_NAME)}")
        if not self.objectives or len(set(self.objectives)) < len(self.objectives):
            raise ConfigError(f"objectives {', '.join(self.objectives) or '(none)'}: name one or more, each once")

    def bounds(self) -> tuple[Bound, ...]:
        """Every limit on every device that it holds on."""
        return tuple(self._bounds())

    def _bounds(self) -> Iterator[Bound]:
        for limit, value in self.limits.given():
            metric, bound = LIMITED[limit].key, LIMITS[limit].si(value)
            if metric in DEVICE_METRICS:
                yield from (Bound(limit, metric, bound, i) for i in range(len(self.devices)))
            else:
                yield Bound(limit, metric, bound, None)

    @property
    def groups(self) -> tuple[tuple[int, ...], ...]:
        """Places among `bounds` by what they bound: the metric on a device, which the tightest of a group decides."""
        places: dict[tuple[str, int | None], list[int]] = {}
        for i, bound in enumerate(self.bounds()):
            places.setdefault((bound.metric, bound.device), []).append(i)
        return tuple(map(tuple, places.values()))

    def failure(self, failures: Any, left_out: Sequence[int] = ()) -> NDArray[np.float64]:
        """Bound of the probability of passing any limit, (...), from that of passing each, (..., bounds).

        Of the limits in a group the largest probability counts; left_out: places of limits that don't.
        """
        by_limit = np.asarray(failures, dtype=np.float64)
        counted = [[i for i in group if i not in left_out] for group in self.groups]
        largest = [by_limit[..., group].max(axis=-1) for group in counted if group]
        return np.asarray(np.sum(largest, axis=0)) if largest else np.zeros(by_limit.shape[:-1])

    def spare(self, failure: Any) -> NDArray[np.float64]:
        """The probability of failure that is left over, (...): feasible is what has -SLACK or more."""
        return np.asarray(1 - self.confidence - np.asarray(failure, dtype=np.float64))

    def admits(self, failure: Any) -> NDArray[np.bool_]:
        """What is feasible: which bounds of the probability of passing any limit leave the confidence, (...)."""
        return np.asarray(self.spare(failure) >= -SLACK)

    @property
    def one_space(self) -> SearchSpace:
        """The space of a query that has one. Raises ConfigError where it has several."""
        if len(self.space.members) > 1:
            raise ConfigError(
                f"this needs a query of one space, but the query has {len(self.space.members)}; name one with --space"
            )
        return self.space.members[0]

    @property
    def families(self) -> tuple[str, ...]:
        """Families of the space, each once."""
        return tuple(dict.fromkeys(member.choices.family for member in self.space.members))

    @property
    def trades_clock(self) -> bool:
        """Whether a slower clock may be the better one: something asks for little power or energy."""
        metrics = {bound.metric for bound in self.bounds()} | {metric for metric, _, _ in self.axes()}
        return bool(metrics & set(CLOCK_TRADED))

    @property
    def needs_miou(self) -> bool:
        """Whether mIOU decides anything; without, a family that no accuracy model knows can be searched."""
        return "miou" in self.objectives or self.limits.min_miou is not None

    def at(self, devices: Sequence[DeviceAt]) -> "Query":
        """The query with the devices at these clocks."""
        return replace(self, devices=tuple(devices))

    def axes(self) -> tuple[tuple[str, int | None, int], ...]:
        """(metric, device, direction) of every objective; what depends on the device is one axis a device."""
        out: list[tuple[str, int | None, int]] = []
        for name in self.objectives:
            metric, direction = BY_NAME[name].key, BY_NAME[name].direction
            devices: Sequence[int | None] = range(len(self.devices)) if metric in DEVICE_METRICS else [None]
            out += [(metric, device, direction) for device in devices]
        return tuple(out)

    def describe(self) -> dict[str, Any]:
        """Plain values that define the query."""
        return {
            "space": dict(self.space.describe()),
            "devices": [{"name": d.name, "clock_mhz": d.clock_mhz} for d in self.devices],
            "limits": dict(self.limits.given()),
            "objectives": list(self.objectives),
            "confidence": self.confidence,
            "accuracy": self.accuracy,
        }


def limits_from_si(values: Mapping[str, float]) -> Limits:
    """Limits from SI units, `{"latency_s": 0.15}`, or as the command line names them, `{"max_latency_ms": 150}`.

    In SI units `fps` and `miou` (percent) are lower limits and the others are upper ones.
    """
    out: dict[str, Any] = {}
    for name, value in values.items():
        limit = SI_LIMITS.get(name, name)
        if limit not in LIMITS:
            raise ConfigError(f"limit {name!r} is unknown; {did_you_mean(name, [*SI_LIMITS, *LIMITS])}")
        if limit in out:
            raise ConfigError(f"limit {name!r}: {limit} is given twice; give it once")
        out[limit] = value / LIMITS[limit].scale if name in SI_LIMITS else value
    return Limits(**out)
