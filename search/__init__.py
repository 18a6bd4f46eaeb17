"""Hardware-aware search over the zoo.

>>> import search
>>> result = search.run(space="tiny", device="tx2", limits={"params": 300_000})
>>> result.enumerated, result.feasible
(36, 24)
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from zoo.moved import install as _install

if TYPE_CHECKING:
    from search.exact import Result

_install()

__all__ = ["run"]


def run(
    space: str | Sequence[str] = "default",
    device: str | Sequence[str] = "tx2",
    limits: Mapping[str, float] | None = None,
    *,
    objectives: Sequence[str] = ("miou", "latency", "size"),
    clock_mhz: float | None = None,
    size: tuple[int, int] = (512, 1024),
    confidence: float = 0.9,
    accuracy: str = "published",
) -> "Result":
    """Enumerate a space of zoo.yaml, or several as one, and return the complete front within the limits.

    Args:
        space: names of spaces; several are searched as one.
        device: names of devices; on each of several the limits hold.
        limits: by name, in SI units: latency_s, power_w, energy_j, params, macs, weight_bytes, memory_bytes from above,
            fps and miou from below. Those that are predicted hold together with probability `confidence`.
        objectives: what the front trades off, in the order in which it is sorted: miou, latency, power, energy, size,
            macs, weights or memory.
        clock_mhz: of a single device; left open, every clock that may help is tried (`search.exact.answer`).
        size: (height, width) of the images in pixels.
        confidence: between 0 and 1.
        accuracy: which model predicts mIOU, `published` or `bench`.

    Returns:
        The answer; `result.front` has a mapping for each member, best first, with its spec, costs and intervals.

    Raises:
        ConfigError: a name is unknown, or a limit or an objective means nothing.
        NothingFeasible: no candidate is within the limits; the message and `report` say which change would help.

    >>> result = run(space="tiny", limits={"latency_s": 0.15, "params": 300_000}, objectives=["miou", "size"])
    >>> all(member["params"] <= 300_000 for member in result.front)
    True
    """
    from search.device_at import DeviceAt
    from search.exact import answer
    from search.query import Query, limits_from_si
    from search.space import space_of
    from search.union import union_of
    from zoo.config import load_config

    spaces = (space,) if isinstance(space, str) else tuple(space)
    names = (device,) if isinstance(device, str) else tuple(device)
    query = Query(
        space=union_of([space_of(load_config().space(name), size) for name in spaces]),
        devices=tuple(DeviceAt(name, clock_mhz) for name in names),
        limits=limits_from_si(limits or {}),
        objectives=tuple(objectives),
        confidence=confidence,
        accuracy=accuracy,
    )
    return answer(query)
