"""Query of a search: space, devices, limits, objectives, and the joint confidence of the limits."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from search.device_at import DeviceAt
from search.space import SearchSpace
from zoo.config import CONFIDENCES, Limits
from zoo.errors import ConfigError, did_you_mean

DEVICE_METRICS = ("latency_s", "power_w", "energy_j")
"""Metrics that are predicted for a device, each with an interval."""

EXACT_METRICS = ("params", "macs", "weight_bytes", "memory_bytes")
"""Metrics that are counted, and certain."""

OBJECTIVES: Mapping[str, tuple[str, int]] = {
    "miou": ("miou", -1),
    "latency": ("latency_s", 1),
    "power": ("power_w", 1),
    "energy": ("energy_j", 1),
    "size": ("weight_bytes", 1),
    "params": ("params", 1),
    "macs": ("macs", 1),
    "memory": ("memory_bytes", 1),
}
"""Objective -> metric, and 1 to minimise or -1 to maximise."""

LIMITS: Mapping[str, tuple[str, float]] = {
    "max_latency_ms": ("latency_s", 1e-3),
    "min_fps": ("latency_s", 1.0),
    "max_power_w": ("power_w", 1.0),
    "max_energy_mj": ("energy_j", 1e-3),
    "max_params": ("params", 1.0),
    "max_macs": ("macs", 1.0),
    "max_weight_mb": ("weight_bytes", 1e6),
    "max_memory_mb": ("memory_bytes", 1e6),
    "min_miou": ("miou", 1.0),
}
"""Limit -> its metric, and SI units in one of its own. All bound from above (frame rates 1 / latency) but min_miou."""

FROM_BELOW = "min_miou"
"""The limit that bounds its metric from below."""

CLOCK_TRADED = ("power_w", "energy_j")
"""Metrics that a slower clock may lower. Latency and what is counted never gain from a slower clock."""

SI_LIMITS: Mapping[str, str] = {
    "latency_s": "max_latency_ms",
    "fps": "min_fps",
    "power_w": "max_power_w",
    "energy_j": "max_energy_mj",
    "params": "max_params",
    "macs": "max_macs",
    "weight_bytes": "max_weight_mb",
    "memory_bytes": "max_memory_mb",
    "miou": "min_miou",
}
"""Names of limits in Python, in SI units -> names on the command line."""


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
        return 1.0 / value if self.limit == "min_fps" else value / LIMITS[self.limit][1]

    @property
    def uncertain(self) -> bool:
        """Whether the metric is predicted; what is counted is certain."""
        return self.metric not in EXACT_METRICS

    def at(self, value: float) -> "Bound":
        """The same limit with another value in the user's own unit."""
        return replace(self, bound=si_bound(self.limit, value))


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """A complete question to a space; equal queries have equal answers.

    A candidate is within the limits if the probabilities with which it passes each of them add up to 1 -
    `confidence` at most (Boole's inequality, which holds however the errors depend on each other). What is
    counted fails with probability 0 or 1; of two limits on one metric of a device the tighter counts.
    """

    space: SearchSpace
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
            if name not in OBJECTIVES:
                raise ConfigError(f"objective {name!r} is unknown; {did_you_mean(name, OBJECTIVES)}")
        if not self.objectives or len(set(self.objectives)) < len(self.objectives):
            raise ConfigError(f"objectives {', '.join(self.objectives) or '(none)'}: name one or more, each once")

    def bounds(self) -> tuple[Bound, ...]:
        """Every limit on every device that it holds on."""
        return tuple(self._bounds())

    def _bounds(self) -> Iterator[Bound]:
        for limit, value in self.limits.given():
            metric, bound = LIMITS[limit][0], si_bound(limit, value)
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
            metric, direction = OBJECTIVES[name]
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


def si_bound(limit: str, value: float) -> float:
    """A limit in SI units: seconds for min_fps.

    >>> si_bound("max_latency_ms", 150), si_bound("min_fps", 4)
    (0.15, 0.25)
    """
    return 1.0 / value if limit == "min_fps" else value * LIMITS[limit][1]


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
        out[limit] = value / LIMITS[limit][1] if name in SI_LIMITS else value
    return Limits(**out)
