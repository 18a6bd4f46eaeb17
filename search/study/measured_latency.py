"""Measured latency of a study's candidates as this machine runs them, where the device of the study is this machine."""

from collections.abc import Mapping
from math import log
from typing import Any, cast

from hw_models.cost import Interval
from hw_models.device import Device, load_device
from hw_models.normal import score, upper_tail
from search.query import Bound, Query
from search.study.feasible import FeasibleSet
from zoo.errors import ConfigError, NegativeAnswer
from zoo.specs import Spec


def exceeding(latency: Interval, seconds: float) -> float:
    """Probability that a measured latency (90 % interval) is longer than this: log-normal about its median."""
    sd = max(log(latency.high / latency.low) / (2 * float(score(0.95))), 1e-9)
    return float(upper_tail((log(seconds) - log(latency.mean)) / sd))


def latency_from(document: Mapping[str, Any] | None) -> Interval | None:
    """What `asdict` made of a measured latency; None for a trial that was not timed."""
    return None if document is None else Interval(*(float(document[key]) for key in ("mean", "low", "high")))


def check_measurable(query: Query) -> None:
    """Raise ConfigError where latency cannot be measured here: the only device must be this machine, as it is now."""
    from hw_models.measure.environment import conditions, from_document, refuse_mixture

    names = ", ".join(str(device) for device in query.devices)
    if len(query.devices) > 1:
        raise ConfigError(f"--measure-latency: one device can be this machine, but {names} are asked for; name one")
    device = load_device(query.devices[0].name)
    if device.conditions is None:
        raise ConfigError(
            f"--measure-latency: {names} was not measured on this machine; measure it with zoo measure --device NAME, "
            "search with --device NAME, or leave out --measure-latency"
        )
    before = from_document(device.conditions, f"device {device.name}")
    refuse_mixture(before, conditions(before.backend, before.threads, before.batch), f"device {device.name}", _WAY)


_WAY = "set it back, or measure this machine anew with zoo measure --replace"


def timed(spec: Spec, query: Query) -> Interval:
    """Time a network at the query's size as the device's own blocks were timed; its weights don't matter.

    Raises NegativeAnswer where the machine is too busy for it.
    """
    from hw_models.measure.networks import bench

    device = load_device(query.devices[0].name)
    timing = bench("candidate", spec, query.space.size, _settings(device)).timing
    return Interval(timing.median_s, timing.low_s, timing.high_s)


def _settings(device: Device) -> Any:
    from hw_models.measure.runtimes import Backend, Settings

    conditions = device.conditions or {}
    return Settings(cast(Backend, conditions["backend"]), conditions["threads"], conditions["batch"])


def failures(query: Query, predicted: Any, latency: Interval) -> list[float]:
    """Probability that a timed candidate passes each limit: those on latency by what was measured."""

    def chance(bound: Bound, before: float) -> float:
        return exceeding(latency, bound.bound) if bound.metric == "latency_s" else before

    return [chance(bound, float(value)) for bound, value in zip(query.bounds(), predicted, strict=True)]


def keeps_limits(feasible: FeasibleSet, index: int, latency: Interval | None) -> bool:
    """Whether a candidate is within the limits still, once it was timed here."""
    if latency is None:
        return True
    query = feasible.query
    return bool(query.admits(query.failure(failures(query, feasible.failures[index], latency))))


def time_candidate(spec: Spec, query: Query) -> tuple[Interval | None, str]:
    """What was measured, and in words how it went."""
    try:
        latency = timed(spec, query)
    except NegativeAnswer as noise:
        return None, f"not timed, {noise}"
    return latency, f"{1e3 * latency.mean:.1f} ms here"
