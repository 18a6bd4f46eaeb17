"""Live status of a study: its front so far, running trials, time left."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from search.study.config import StudyConfig
from search.study.feasible import FeasibleSet
from search.study.promotion import follow_ups
from search.study.repeats import Repeats, front_of, latencies_of, repeats_of
from search.study.trials import Trial


@dataclass(frozen=True)
class StudyProgress:
    """What is known at one moment. slots: trials at a time. budget_s: seconds left of the budget, None for no end."""

    feasible: FeasibleSet
    config: StudyConfig
    searched: list[Trial]
    followed: list[Trial]
    slots: int
    budget_s: float | None

    @property
    def stage(self) -> str:
        """`search` or, once anything trains by the long protocol, `follow-up`."""
        return "follow-up" if self.followed else "search"

    @property
    def trials(self) -> list[Trial]:
        """Those of the stage that count."""
        return [e for e in self.followed or self.searched if not e.void]

    @property
    def due(self) -> int:
        """How many trials the stage comes to."""
        if not self.followed:
            return min(self.config.trials, len(self.feasible))
        return len(follow_ups(self.feasible, self.searched, self.followed, self.config))

    @property
    def running(self) -> list[Trial]:
        """Trials of the stage that have not ended."""
        return [e for e in self.trials if not e.ended]

    @property
    def front(self) -> list[Repeats]:
        """Measured candidates that no other dominates, the best mIOU first; of the last stage that measured any."""
        latencies = latencies_of(self.searched)
        measured = repeats_of(self.followed, "long", latencies) or repeats_of(self.searched, "short", latencies)
        return front_of(self.feasible, measured)

    @property
    def left_s(self) -> float | None:
        """About how many seconds the study takes yet; None before a trial has ended.

        Every trial is taken to cost what those of its stage did on average; of the follow-up before it begins,
        as many times that as it has more epochs, with every promoted candidate on the front.
        """
        ended = [e.seconds for e in self.searched if e.ended and not e.void]
        if not ended:
            return None
        cost, config = float(np.mean(ended)), self.config
        left = 0.0 if self.followed else self._left(self.due, cost)
        if config.accuracy == "train" and config.promote:
            long = [e.seconds for e in self.followed if e.ended and not e.void]
            whole = [e.seconds for e in self.searched if e.state == "complete"]
            follow_cost = float(np.mean(long or whole or ended)) * (1 if long else config.long_epochs / config.epochs)
            most = min(config.promote, len(self.feasible)) * (1 + config.repeats)
            left += self._left(self._follow_due(most), follow_cost) if self.followed else most * follow_cost
        left /= self.slots
        return left if self.budget_s is None else min(left, max(0.0, self.budget_s))

    def _follow_due(self, most: int) -> int:
        """While the promoted ones train, nobody knows how many of them will be on the front."""
        promoted = sum(
            seed == self.config.seed for _, seed in follow_ups(self.feasible, self.searched, [], self.config)
        )
        return most if sum(e.ended for e in self.trials) < promoted else self.due

    def _left(self, due: int, cost: float) -> float:
        begun = sum(min(e.age_s, cost) for e in self.running)
        return max(0.0, (due - sum(e.ended for e in self.trials)) * cost - begun)


Watch = Callable[[StudyProgress], None]
"""Is shown a study every second or so."""


def spelt(seconds: float) -> str:
    """A duration as people say it.

    >>> spelt(40), spelt(750), spelt(8000)
    ('40 s', '12 min', '2 h 13 min')
    """
    if seconds < 60:
        return f"{seconds:.0f} s"
    hours, minutes = divmod(int(seconds // 60), 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"
