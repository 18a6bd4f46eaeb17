"""`zoo measure`: times what a plan has on the present machine.

Every block is visited in at least two passes with all others in between, and keeps its quietest visit; a
reference block every few visits shows how the machine drifts. Whole networks come last: they show what
share of its single blocks' speed a network reaches.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from hw_models.blocks import Block
from hw_models.journal import Journal, Visits, difference
from hw_models.plan import Plan
from hw_models.timing import Effort, Timing, time_of
from zoo.graph import Graph
from zoo.registry import lower
from zoo.spec import Spec

PASSES = 2
MOST_PASSES = 5
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


def run(todo: Plan, visits: Visits, journal: Journal, settings: Any, progress: Progress) -> None:
    """Time all that is still to time, with the runtime that `settings` (runtimes.Settings) names, and power."""
    from hw_models import energy
    from hw_models.runtimes import block_sample, entries_of, network_sample, settled
    from zoo.network import module_from_graph

    meter = energy.source()
    if meter is not None and visits.idle_w is None:
        with energy.measured(meter) as idle:
            time.sleep(IDLE_S)
        entry = {"idle_w": idle.watts, "covers": idle.covers}
        journal.append(entry)
        visits.add(entry)

    def time_block(block: Block) -> Timing:
        return time_of(block_sample(block, settings), VISIT)

    def time_network(graph: Graph) -> Timing:
        entries = entries_of(graph, settings.batch)
        sample = network_sample(settled(module_from_graph(graph), entries), entries, settings)
        timing = time_of(sample, VISIT)
        if meter is not None:
            with energy.measured(meter) as busy:
                for _ in range(max(3, round(1.0 / timing.median_s))):
                    sample()
            entry = {"watts": busy.watts}
            journal.append(entry)
            visits.add(entry)
        return timing

    visit(todo, visits, journal, time_block, time_network, time.monotonic, progress)


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
    start, begun = clock(), _count(visits)

    def note(entry: dict[str, Any]) -> None:
        journal.append(entry)
        visits.add(entry)

    # What was too noisy before is given a chance when it is resumed.
    most = max(MOST_PASSES, 2 + max(map(len, visits.blocks.values()), default=0))
    for _ in range(most):
        waiting = list(_waiting(todo, visits, most))
        if not waiting:
            return
        for i, (what, number) in enumerate(waiting):
            if i % REFERENCE_EVERY == 0:
                note({"reference": time_block(todo.reference).median_s})
            if isinstance(what, Block):
                note({"block": what.text, "timing": _plain(time_block(what))})
            else:
                spec, size = what
                note({"network": number, "timing": _plain(time_network(lower(spec, size)))})
            done, planned = _count(visits), PASSES * (len(todo.blocks) + len(todo.networks) + 1)
            spent = clock() - start
            progress(done, planned, spent / max(done - begun, 1) * max(planned - done, 0))


def _count(visits: Visits) -> int:
    return sum(map(len, visits.blocks.values())) + sum(map(len, visits.networks.values()))


def _plain(timing: Timing) -> dict[str, Any]:
    return {name: getattr(timing, name) for name in Timing.__dataclass_fields__}


def _waiting(todo: Plan, visits: Visits, most: int) -> Iterator[tuple[Block | tuple[Spec, tuple[int, int]], int]]:
    """What has been visited least often, or whose visits disagree."""
    blocks = (todo.call, *todo.blocks)
    least = min(
        *(len(visits.blocks.get(block.text, ())) for block in blocks),
        *(len(visits.networks.get(i, ())) for i in range(len(todo.networks))),
        PASSES,
    )
    for block in blocks:
        if _unsure(visits.blocks.get(block.text, ()), least, most):
            yield block, -1
    for i, network in enumerate(todo.networks):
        if _unsure(visits.networks.get(i, ()), least, most):
            yield network, i


def _unsure(found: Sequence[Timing], least: int, most: int) -> bool:
    if len(found) < PASSES:
        return len(found) <= least
    return least >= PASSES and len(found) < most and difference(found) > AGREE
