"""Selects the candidates to train by the long protocol: the best of the search, then their front with other seeds."""

import numpy as np

from search.pareto import nondominated
from search.study.config import StudyConfig
from search.study.feasible import FeasibleSet
from search.study.halving import ranks
from search.study.measured_latency import keeps_limits
from search.study.trials import Trial


def follow_ups(
    feasible: FeasibleSet, searched: list[Trial], followed: list[Trial], config: StudyConfig
) -> list[tuple[int, int]]:
    """(candidate, seed) of every training by the long protocol that is due, in order.

    First the best of the search, spread over their front; when those have ended, the members of the front
    of the long protocol again with other seeds.
    """
    if config.promote == 0:
        return []
    first = [(index, config.seed) for index in promoted(feasible, searched, config.promote)]
    ended = {(e.index, e.seed): e for e in followed if e.ended and not e.void}
    if not first or not all(key in ended for key in first):
        return first
    measured = [e for key in first if (e := ended[key]).miou is not None]
    if not measured:
        return first
    on_front = nondominated(feasible.points(np.array([e.index for e in measured]), [e.miou for e in measured]))
    members = [e.index for e, member in zip(measured, on_front, strict=True) if member]
    return first + [(index, config.seed + 1 + r) for r in range(config.repeats) for index in members]


def promoted(feasible: FeasibleSet, searched: list[Trial], count: int) -> list[int]:
    """The candidates that train by the long protocol: by rank, and within the last rank spread evenly by mIOU."""
    trials = [
        e
        for e in searched
        if e.state == "complete" and e.miou is not None and keeps_limits(feasible, e.index, e.latency)
    ]
    if not trials:
        return []
    rank = ranks(feasible.points(np.array([e.index for e in trials]), [e.miou for e in trials]))
    out: list[int] = []
    for level in range(int(rank.max()) + 1):
        same_rank = sorted((e for e, r in zip(trials, rank, strict=True) if r == level), key=lambda e: -(e.miou or 0))
        left = count - len(out)
        if len(same_rank) > left:
            same_rank = (
                [same_rank[i] for i in np.unique(np.linspace(0, len(same_rank) - 1, left).round().astype(int))]
                if left
                else []
            )
        out += [e.index for e in same_rank]
    return out
