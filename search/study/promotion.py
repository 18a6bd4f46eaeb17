"""Selects the candidates to train by the long protocol: the best of the search, then their front with other seeds."""

import numpy as np

from search.pareto import nondominated
from search.study.config import Plan
from search.study.feasible import Candidates
from search.study.halving import ranks
from search.study.trials import Entry


def follow_ups(found: Candidates, searched: list[Entry], done: list[Entry], plan: Plan) -> list[tuple[int, int]]:
    """(candidate, seed) of every training by the long protocol that is due, in order.

    First the best of the search, spread over their front; when those have ended, the members of the front
    of the long protocol again with other seeds.
    """
    if plan.promote == 0:
        return []
    first = [(index, plan.seed) for index in promoted(found, searched, plan.promote)]
    ended = {(e.index, e.seed): e for e in done if e.ended and not e.void}
    if not first or not all(key in ended for key in first):
        return first
    kept = [e for key in first if (e := ended[key]).miou is not None]
    if not kept:
        return first
    on_front = nondominated(found.points(np.array([e.index for e in kept]), [e.miou for e in kept]))
    members = [e.index for e, member in zip(kept, on_front, strict=True) if member]
    return first + [(index, plan.seed + 1 + r) for r in range(plan.repeats) for index in members]


def promoted(found: Candidates, searched: list[Entry], count: int) -> list[int]:
    """The candidates that train by the long protocol: by rank, and within the last rank spread evenly by mIOU."""
    trials = [e for e in searched if e.state == "complete" and e.miou is not None]
    if not trials:
        return []
    rank = ranks(found.points(np.array([e.index for e in trials]), [e.miou for e in trials]))
    out: list[int] = []
    for level in range(int(rank.max()) + 1):
        same = sorted((e for e, r in zip(trials, rank, strict=True) if r == level), key=lambda e: -(e.miou or 0))
        left = count - len(out)
        if len(same) > left:
            same = [same[i] for i in np.unique(np.linspace(0, len(same) - 1, left).round().astype(int))] if left else []
        out += [e.index for e in same]
    return out
