"""Times the blocks and networks of a plan on this machine (`zoo measure`).

Every block is visited in at least two passes with all others in between, and keeps its quietest visit; a
reference block every few visits shows how the machine drifts. Whole networks are timed among the blocks:
they show what share of its single blocks' speed a network reaches.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from hw_models.measure import power_meters
from hw_models.measure.journal import Journal, Visits, difference
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
AGREE = 0.05
"""Relative difference up to which two visits of a block agree; otherwise it is visited again."""
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


LONG_VISIT_S = 1.0
"""A visit this long hardly shows what is done only the first time."""


def seconds_ahead(todo: Plan, settings: Settings, clock: Callable[[], float] = time.monotonic) -> float:
    """A guess of what measuring all of a plan takes, from visits to a few of its blocks and networks.

    A short pilot is visited twice, as each block will be: the first visit loads and compiles, the second does not,
    and whether the two agree tells how many visits this machine needs.
    """
    timer = Timer(settings, power_meters.source())
    pairs: list[list[Timing]] = []

    def seconds(time_item: Callable[[Any], Timing], item: Any) -> float:
        visits: list[tuple[float, Timing]] = []
        while len(visits) < PASSES and not (visits and visits[0][0] >= LONG_VISIT_S):
            start = clock()
            timing = time_item(item)
            visits.append((clock() - start, timing))
        pairs.append([timing for _, timing in visits])
        return fmean(spent for spent, _ in visits)

    def time_network(graph: Graph) -> Timing:
        return timer.time_network(graph)[0]

    blocks, networks = pilots(todo)
    timer.time_block(todo.call)  # the first call of a runtime loads it
    block_visits = [(block_work(block), seconds(timer.time_block, block)) for block in blocks]
    network_visits = [(network_work(*network), seconds(time_network, lower(*network))) for network in networks]
    repeat_chance = _chance_again(pairs, MOST_PASSES)
    return seconds_of(todo, block_visits, network_visits, PASSES + _geometric(repeat_chance, MOST_PASSES - PASSES))


def run(todo: Plan, visits: Visits, journal: Journal, settings: Settings, progress: Progress) -> None:
    """Time all that is still to time, with the runtime that `settings` names, and power."""
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

    visit(todo, visits, journal, timer.time_block, time_network, time.monotonic, progress)


def visit(
    todo: Plan,
    visits: Visits,
    journal: Journal,
    time_block: TimeBlock,
    time_network: TimeNetwork,
    clock: Callable[[], float],
    progress: Progress = lambda done, planned, left: None,
) -> None:
    """Time all that is still to time, in passes."""

    def note(entry: dict[str, Any]) -> None:
        journal.append(entry)
        visits.add(entry)

    # What was too noisy before is given a chance when it is resumed.
    most = max(MOST_PASSES, 2 + max(map(len, visits.blocks.values()), default=0))
    forecast = Forecast(todo, visits, most)
    for _ in range(most):
        waiting = list(_waiting(todo, visits, most))
        if not waiting:
            return
        for i, (item, number) in enumerate(waiting):
            start = clock()
            if i % REFERENCE_EVERY == 0:
                note({"reference": time_block(todo.reference).median_s})
            if isinstance(item, Block):
                entry: dict[str, Any] = {"block": item.text, "timing": _plain(time_block(item))}
            else:
                entry = {"network": number, "timing": _plain(time_network(lower(*item)))}
            spent = clock() - start
            note(entry | {"seconds": spent})
            forecast.took(item, spent)
            left = forecast.visits_left()
            progress(_count(visits), _count(visits) + round(sum(left)), forecast.seconds(left))


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

    def visits_left(self) -> tuple[float, float]:
        """Expected visits to blocks and to networks."""
        block_visits = [self._visits.blocks.get(block.text, ()) for block in (self._todo.call, *self._todo.blocks)]
        whole = [self._visits.networks.get(i, ()) for i in range(len(self._todo.networks))]
        repeat_chance = _chance_again([*block_visits, *whole], self._most)
        return sum(self._left(timings, repeat_chance) for timings in block_visits), sum(
            self._left(timings, repeat_chance) for timings in whole
        )

    def _left(self, timings: Sequence[Timing], repeat_chance: float) -> float:
        if len(timings) >= PASSES:
            settled = len(timings) >= self._most or difference(timings) <= AGREE
            return 0.0 if settled else 1.0 + _geometric(repeat_chance, self._most - len(timings) - 1)
        return PASSES - len(timings) + _geometric(repeat_chance, self._most - PASSES)

    def seconds(self, left: tuple[float, float]) -> float:
        """What these visits take, by the mean of those so far; networks count as blocks until one was timed."""
        per_block, per_network = (total / n if n else 0.0 for total, n in self._spent.values())
        return left[0] * (per_block or per_network) + left[1] * (per_network or 4.0 * per_block)


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


def _waiting(todo: Plan, visits: Visits, most: int) -> list[tuple[What, int]]:
    """What has been visited least often, or whose visits disagree: networks evenly among blocks."""
    blocks = (todo.call, *todo.blocks)
    least = min(
        *(len(visits.blocks.get(block.text, ())) for block in blocks),
        *(len(visits.networks.get(i, ())) for i in range(len(todo.networks))),
        PASSES,
    )
    waiting_blocks = [(block, -1) for block in blocks if _unsure(visits.blocks.get(block.text, ()), least, most)]
    whole = [
        (network, i) for i, network in enumerate(todo.networks) if _unsure(visits.networks.get(i, ()), least, most)
    ]
    placed = [((i + 0.5) / len(waiting_blocks), 0, i) for i in range(len(waiting_blocks))]
    placed += [((i + 0.5) / len(whole), 1, i) for i in range(len(whole))]
    return [(whole if kind else waiting_blocks)[i] for _, kind, i in sorted(placed)]


def _unsure(timings: Sequence[Timing], least: int, most: int) -> bool:
    if len(timings) < PASSES:
        return len(timings) <= least
    return least >= PASSES and len(timings) < most and difference(timings) > AGREE
