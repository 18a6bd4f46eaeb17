"""Times the blocks and networks of a plan on this machine (`zoo measure`).

Every block is visited in two passes with all others in between. What disagrees is visited again, the worst first,
as long as the time that was announced allows. A block keeps its quietest visit; a
reference block every few visits shows how the machine drifts. Whole networks are timed among the blocks:
they show what share of its single blocks' speed a network reaches.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from math import inf
from typing import Any

from hw_models.measure import power_meters
from hw_models.measure.journal import AGREE, Journal, Visits, difference
from hw_models.measure.plan import Plan, block_work, network_work, pilots, seconds_of
from hw_models.measure.runtimes import Settings, block_sample, entries_of, network_sample, settled
from hw_models.measure.timing import Effort, Timing, time_of
from hw_models.measured.blocks import Block
from zoo.graph import Graph
from zoo.network import module_from_graph
from zoo.registry import lower
from zoo.specs import Spec

PASSES = 2
MOST_PASSES = 4
REFERENCE_EVERY = 10
IDLE_S = 3.0
"""Seconds over which idle power is read."""
VISIT = Effort(limit_s=1.0, bursts=12, least=3)
"""What one visit may take."""

TimeBlock = Callable[[Block], Timing]
TimeNetwork = Callable[[Graph], Timing]
Progress = Callable[[int, int, float], None]
"""Called with visits done, visits planned, and the seconds left."""


POWER_S = 1.0
"""Seconds of runs over which the power of a network is read, at least."""


@dataclass(frozen=True)
class Timer:
    """Times blocks and networks on the present machine; reads their power where there is a meter."""

    settings: Settings
    meter: power_meters.Counter | power_meters.Sensor | None

    def time_block(self, block: Block) -> Timing:
        """Seconds of one block."""
        return time_of(block_sample(block, self.settings), VISIT)

    def time_network(self, graph: Graph) -> tuple[Timing, float | None]:
        """Seconds of a network, and its power in W where there is a meter."""
        entries = entries_of(graph, self.settings.batch)
        sample = network_sample(settled(module_from_graph(graph), entries), entries, self.settings)
        timing = time_of(sample, VISIT)
        if self.meter is None:
            return timing, None
        with power_meters.measured(self.meter) as busy:
            for _ in range(max(3, round(POWER_S / timing.median_s))):
                sample()
        return timing, busy.watts


OVERTIME = 1.4
"""Share of the announced time after which nothing is visited a third time; two visits are always made."""


def seconds_ahead(todo: Plan, visits: Visits, settings: Settings, clock: Callable[[], float] = time.monotonic) -> float:
    """A guess of what measuring the rest of a plan takes, from visits to a few of its blocks and networks.

    These pilots are visited in two rounds, as all blocks will be: the first visit loads and compiles, the second does
    not, and whether the two agree tells how many visits this machine needs.

    visits: those of an interrupted measurement, or none.
    """
    timer = Timer(settings, power_meters.source())

    def time_network(network: tuple[Spec, tuple[int, int]]) -> Timing:
        return timer.time_network(lower(*network))[0]

    blocks, networks = pilots(todo)
    pilot_calls: list[Callable[[], Timing]] = [partial(timer.time_block, block) for block in blocks]
    pilot_calls += [partial(time_network, network) for network in networks]
    timings: list[list[Timing]] = [[] for _ in pilot_calls]
    seconds = [0.0] * len(pilot_calls)
    timer.time_block(todo.call)  # the first call of a runtime loads it
    for _ in range(PASSES):
        for i, call in enumerate(pilot_calls):
            start = clock()
            timings[i].append(call())
            seconds[i] += (clock() - start) / PASSES
    works = [*map(block_work, blocks), *(network_work(*network) for network in networks)]
    pilot_visits = list(zip(works, seconds, strict=True))
    most = _most_visits(visits)
    repeat_chance = _chance_again(timings, most)
    of_blocks, of_networks = (
        [_visits_ahead(item_timings, repeat_chance, most) for item_timings in part] for part in _visited(todo, visits)
    )
    # The call, first of the blocks, takes next to no time.
    return seconds_of(todo, pilot_visits[: len(blocks)], pilot_visits[len(blocks) :], of_blocks[1:], of_networks)


def run(
    todo: Plan, visits: Visits, journal: Journal, settings: Settings, progress: Progress, announced_s: float = inf
) -> None:
    """Time all that is still to time, with the runtime that `settings` names, and power.

    announced_s: what `seconds_ahead` said; third and later visits keep to it.
    """
    timer = Timer(settings, power_meters.source())

    def note(entry: dict[str, Any]) -> None:
        journal.append(entry)
        visits.add(entry)

    if timer.meter is not None and visits.idle_w is None:
        with power_meters.measured(timer.meter) as idle:
            time.sleep(IDLE_S)
        note({"idle_w": idle.watts, "covers": idle.covers})

    def time_network(graph: Graph) -> Timing:
        timing, watts = timer.time_network(graph)
        if watts is not None:
            note({"watts": watts})
        return timing

    visit(todo, visits, journal, timer.time_block, time_network, time.monotonic, progress, announced_s)


def visit(
    todo: Plan,
    visits: Visits,
    journal: Journal,
    time_block: TimeBlock,
    time_network: TimeNetwork,
    clock: Callable[[], float],
    progress: Progress = lambda done, planned, left: None,
    announced_s: float = inf,
) -> None:
    """Time all that is still to time, in passes; those after the second end when OVERTIME is reached."""

    def note(entry: dict[str, Any]) -> None:
        journal.append(entry)
        visits.add(entry)

    most = _most_visits(visits)
    forecast = Forecast(todo, visits, most)
    end = clock() + OVERTIME * announced_s
    for _ in range(most):
        waiting = _waiting(todo, visits, most)
        is_repeat = min(map(len, chain(*_visited(todo, visits)))) >= PASSES
        for i, (item, number) in enumerate(waiting):
            start = clock()
            if is_repeat and start >= end:
                return
            if i % REFERENCE_EVERY == 0:
                note({"reference": time_block(todo.reference).median_s})
            if isinstance(item, Block):
                entry: dict[str, Any] = {"block": item.text, "timing": _plain(time_block(item))}
            else:
                entry = {"network": number, "timing": _plain(time_network(lower(*item)))}
            now = clock()
            note(entry | {"seconds": now - start})
            forecast.took(item, now - start)
            visits_left, seconds_left = forecast.left(end - now)
            progress(_count(visits), _count(visits) + round(visits_left), seconds_left)


def _most_visits(visits: Visits) -> int:
    """Visits that a block may get; what was too noisy before is given a chance when it is resumed."""
    return max(MOST_PASSES, PASSES + max(map(len, visits.blocks.values()), default=0))


class Forecast:
    """How many visits are still to come, and how long they take.

    Two visits are sure. How many more there are is seen from those that were visited twice: what disagrees
    is visited once more, and then as often again as those before it were.
    """

    def __init__(self, todo: Plan, visits: Visits, most: int) -> None:
        self._todo, self._visits, self._most = todo, visits, most
        self._spent = {Block: [0.0, 0], Spec: [0.0, 0]}

    def took(self, item: object, seconds: float) -> None:
        """One more visit was made."""
        total = self._spent[Block if isinstance(item, Block) else Spec]
        total[0] += seconds
        total[1] += 1

    def left(self, allowed_s: float = inf) -> tuple[float, float]:
        """Expected visits still to come, and their seconds; those after the second end when `allowed_s` are over."""
        visited = _visited(self._todo, self._visits)
        repeat_chance = _chance_again([*visited[0], *visited[1]], self._most)
        visits, seconds = self._total(
            [[_visits_ahead(timings, repeat_chance, self._most) for timings in part] for part in visited]
        )
        if seconds <= allowed_s:
            return visits, seconds
        sure_visits, sure_s = self._total([[max(PASSES - len(timings), 0) for timings in part] for part in visited])
        share = max(allowed_s - sure_s, 0.0) / (seconds - sure_s) if seconds > sure_s else 0.0
        return sure_visits + share * (visits - sure_visits), sure_s + share * (seconds - sure_s)

    def _total(self, counts: Sequence[Sequence[float]]) -> tuple[float, float]:
        """Visits and seconds, by the mean of those so far; networks count as blocks until one was timed."""
        per_block, per_network = (total / n if n else 0.0 for total, n in self._spent.values())
        of_blocks, of_networks = map(sum, counts)
        seconds = of_blocks * (per_block or per_network) + of_networks * (per_network or 4.0 * per_block)
        return of_blocks + of_networks, seconds


def _visits_ahead(timings: Sequence[Timing], repeat_chance: float, most: int) -> float:
    """Expected number of visits to a block or network that was visited so often, of at most `most` in all."""
    if len(timings) < PASSES:
        return PASSES - len(timings) + _geometric(repeat_chance, most - PASSES)
    settled = len(timings) >= most or difference(timings) <= AGREE
    return 0.0 if settled else 1.0 + _geometric(repeat_chance, most - len(timings) - 1)


def _chance_again(visited: Iterable[Sequence[Timing]], most: int) -> float:
    """Chance that what was visited twice or more is visited again, by rule of succession.

    visited: the timings of each block or network so far. most: visits that one may get.
    """
    twice = [timings for timings in visited if len(timings) >= PASSES]
    extra = sum(len(timings) - PASSES for timings in twice)
    unsure = sum(difference(timings) > AGREE and len(timings) < most for timings in twice)
    return (extra + unsure + 1.0) / (extra + len(twice) + 3.0)


def _geometric(chance: float, most: int) -> float:
    """Expected number of further visits, of at most `most`, each made with this chance if the one before was."""
    return float(sum(chance**n for n in range(1, most + 1)))


def _count(visits: Visits) -> int:
    return sum(map(len, visits.blocks.values())) + sum(map(len, visits.networks.values()))


def _plain(timing: Timing) -> dict[str, Any]:
    return {name: getattr(timing, name) for name in Timing.__dataclass_fields__}


What = Block | tuple[Spec, tuple[int, int]]


def _visited(todo: Plan, visits: Visits) -> tuple[list[Sequence[Timing]], list[Sequence[Timing]]]:
    """Timings so far of the call and each block, and of each network."""
    return [visits.blocks.get(block.text, ()) for block in (todo.call, *todo.blocks)], [
        visits.networks.get(i, ()) for i in range(len(todo.networks))
    ]


def _waiting(todo: Plan, visits: Visits, most: int) -> list[tuple[What, int]]:
    """What has been visited least often, networks evenly among blocks; then what disagrees, the worst first."""
    items: list[tuple[What, int]] = [(block, -1) for block in (todo.call, *todo.blocks)]
    items += [(network, i) for i, network in enumerate(todo.networks)]
    of_blocks, of_networks = _visited(todo, visits)
    timings = [*of_blocks, *of_networks]
    least = min(map(len, timings))
    if least >= PASSES:
        unsure = [
            (difference(item_timings), i)
            for i, item_timings in enumerate(timings)
            if len(item_timings) < most and difference(item_timings) > AGREE
        ]
        return [items[i] for _, i in sorted(unsure, key=lambda pair: (-pair[0], pair[1]))]
    waiting = [item for item, item_timings in zip(items, timings, strict=True) if len(item_timings) <= least]
    blocks, networks = ([item for item in waiting if isinstance(item[0], Block) is kind] for kind in (True, False))
    return [item for _, item in sorted([*_evenly(blocks), *_evenly(networks)], key=lambda pair: pair[0])]


def _evenly(items: Sequence[tuple[What, int]]) -> list[tuple[float, tuple[What, int]]]:
    """Each with its place between 0 and 1."""
    return [((i + 0.5) / len(items), item) for i, item in enumerate(items)]
