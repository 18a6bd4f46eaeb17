"""What it gains to learn the prior's weight from the trials: `python -m benchmarks.prior_weight`.

Truths of three kinds, all with noise of one run: our own measured networks, whose protocol is not that of the published
figures; sums of thresholds, which neither share the sampler's kernel nor the published effects; and draws of the
published effects' posterior, where the prior is right. Prints the mean share of the hypervolume by trial.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any
from unittest.mock import patch

import numpy as np

from benchmarks.truths import Score, drawn, known_before, measured_problem, ours, thresholds, unknown, with_noise
from search.accuracy.bench.protocol import TABLE
from search.study import surrogate
from search.study.feasible import FeasibleSet, evaluator
from search.study.surrogate import Prior

SEEDS = 12
COUNT = 16
SHOWN = (3, 5, 8, 12, 16)
NETWORKS = 200
METHODS: dict[str, tuple[str, bool, bool]] = {
    "weight learned": ("ehvi", True, True),
    "weight 1": ("ehvi", True, False),
    "nothing known before": ("ehvi", False, False),
    "random": ("random", False, False),
}
"""Method -> sampler, whether it starts from the published figures, whether it learns their weight."""


def some(feasible: FeasibleSet, seed: int) -> FeasibleSet:
    """NETWORKS random candidates of the same space."""
    rows = np.sort(feasible.query.one_space.sample(np.random.default_rng([5, seed]), NETWORKS))
    columns = evaluator(feasible.query)(rows)
    costs = [sign * columns.metric(m, d).astype(float) for m, d, sign in feasible.query.axes() if m != "miou"]
    miou = np.stack([columns.miou[part] for part in ("low", "mean", "high")], axis=1)
    return replace(
        feasible, rows=columns.rows, known=np.stack(costs, axis=1), miou=miou, failures=np.zeros((len(rows), 0))
    )


def shares(feasible: FeasibleSet, truth: Any, own: Prior, method: tuple[str, bool, bool], seed: int) -> list[float]:
    """Share of the hypervolume after the trials SHOWN, of the true mIOU of what was tried."""
    sampler, _, learns = method
    weights = surrogate.WEIGHTS if learns else {1.0: 1.0}
    with patch.dict(surrogate.WEIGHTS, weights, clear=True):
        tried, _ = ours(sampler, feasible, own, with_noise(truth, seed), seed, COUNT)
    score = Score(feasible.points(np.arange(len(feasible)), truth))
    return [score(tried[:k]) for k in SHOWN]


def main() -> None:
    """Print the table."""
    networks, measured = measured_problem(TABLE)
    spaces = [some(networks, seed) for seed in range(SEEDS)]
    problems: dict[str, Callable[[int], tuple[FeasibleSet, Any]]] = {
        "our measured networks": lambda seed: (networks, measured),
        "thresholds": lambda seed: (spaces[seed], thresholds(spaces[seed], seed)),
        "published effects": lambda seed: (spaces[seed], drawn(spaces[seed], seed)),
    }
    print("| truth | method |", " | ".join(f"after {k}" for k in SHOWN), "|")
    for truth_name, problem in problems.items():
        for name, method in METHODS.items():
            rows = []
            for seed in range(SEEDS):
                feasible, truth = problem(seed)
                own = known_before(feasible, same_protocol=False) if method[1] else unknown(feasible)
                rows.append(shares(feasible, truth, own, method, seed))
            means = np.mean(rows, axis=0)
            print(f"| {truth_name} | {name} |", " | ".join(f"{share:.3f}" for share in means), "|", flush=True)


if __name__ == "__main__":
    main()
