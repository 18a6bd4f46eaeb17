"""Which clocks a search tries where the question leaves a clock open."""

import itertools
from collections.abc import Callable, Iterable
from math import ceil, log

from hw_models.device import Device
from hw_models.predictors import predictor
from search.device_at import DeviceAt
from search.query import Query

Setting = tuple[DeviceAt, ...]
"""Every device of a query, each at a clock."""

STEP = 1.1
"""Largest ratio of neighbouring clocks that are tried."""

MOST = 64
"""Combinations of several devices' clocks that are tried; beyond that only named modes are combined."""


def modes_of(device: Device) -> tuple[float, ...]:
    """The default clock, the named modes and the ends of the range, in MHz, fastest first."""
    clocks = device.clocks
    clocks_mhz = {clocks.default_mhz, clocks.low_mhz, clocks.high_mhz, *clocks.modes.values()}
    return tuple(sorted((mhz for mhz in clocks_mhz if clocks.low_mhz <= mhz <= clocks.high_mhz), reverse=True))


def clocks_of(device: Device) -> tuple[float, ...]:
    """The same, and whole MHz between them so that neighbours differ by a factor of STEP at most."""
    modes = modes_of(device)
    between = {round(mhz) * 1.0 for pair in itertools.pairwise(modes) for mhz in _between(*pair)}
    return tuple(sorted({*modes, *between}, reverse=True))


def _between(high: float, low: float) -> Iterable[float]:
    parts = ceil(log(high / low) / log(STEP) - 1e-9)
    return (low * (high / low) ** (i / parts) for i in range(1, parts))


def settings_of(query: Query) -> tuple[Setting, ...]:
    """The clocks at which a query is answered, fastest first.

    An open clock is tried at every value of `clocks_of` where something asks for little power or energy.
    Otherwise the fastest alone is: no latency gains from a slower one, and nothing else depends on the clock.
    """
    fine = _product(query, clocks_of)
    return fine if len(fine) <= MOST else _product(query, modes_of)


def _product(query: Query, clocks: Callable[[Device], tuple[float, ...]]) -> tuple[Setting, ...]:
    columns: list[list[DeviceAt]] = []
    for wanted_device in query.devices:
        prices = predictor(wanted_device.name, clock_mhz=wanted_device.clock_mhz)
        values = (prices.clock_mhz,) if wanted_device.clock_mhz is not None else clocks(prices.device)
        columns.append([DeviceAt(wanted_device.name, mhz) for mhz in (values if query.trades_clock else values[:1])])
    fastest = [column[0].clock_mhz or 1.0 for column in columns]

    def slowdown(setting: Setting) -> float:
        return sum(fast / (at.clock_mhz or 1.0) for at, fast in zip(setting, fastest, strict=True))

    return tuple(sorted(itertools.product(*columns), key=slowdown))


def settled(query: Query, settings: tuple[Setting, ...]) -> Query:
    """The query with its clocks filled in where one setting answers it; else as it was asked."""
    return query.at(settings[0]) if len(settings) == 1 else query
