"""Trials of a study as observations: for its samplers and its surrogate."""

import numpy as np

from search.accuracy.linear import points
from search.study.feasible import FeasibleSet
from search.study.measured_latency import keeps_limits
from search.study.proposals import History, Tried
from search.study.surrogate import Observations, observations_of
from search.study.trials import Trial


def history(trials: list[Trial], feasible: FeasibleSet) -> History:
    """What samplers see of the trials."""
    tried = tuple(
        Tried(trial.index, trial.miou, trial.notes)
        for trial in trials
        if trial.state == "complete" and trial.miou is not None and keeps_limits(feasible, trial.index, trial.latency)
    )
    return History(
        tried=tried,
        observations=observed(trials),
        running=np.array([e.index for e in trials if e.state == "running"], np.int64),
        taken=np.array([e.index for e in trials], np.int64),
    )


def observed(trials: list[Trial]) -> Observations:
    """Complete trials, and stopped ones raised by what complete ones gained after the same epoch.

    A stopped trial tells nothing before three complete ones have shown what is gained.
    """
    complete = [e for e in trials if e.state == "complete"]
    out: list[tuple[int, float, float]] = []
    for entry in trials:
        if entry.miou is None:
            continue
        if entry.state == "complete":
            out.append((entry.index, entry.miou, 0.0))
            continue
        last = max(entry.reports)
        gains = [
            _points(e.miou) - _points(_best(e, last)) for e in complete if last in e.reports and e.miou is not None
        ]
        if len(gains) >= 3:
            raised = _points(entry.miou) + float(np.mean(gains))
            out.append((entry.index, 100 / (1 + float(np.exp((50 - raised) / 25))), float(np.var(gains)) + 0.25))
    return observations_of(out)


def _best(entry: Trial, epoch: int) -> float:
    return max(miou for at, miou in entry.reports.items() if at <= epoch)


def _points(miou: float) -> float:
    return float(points(min(max(miou, 0.05), 99.95)))
