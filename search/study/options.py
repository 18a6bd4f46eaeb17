"""Command-line options of a study. Imports nothing heavy, as every command loads it."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

PLANNED = {
    "accuracy": "accuracy", "dataset": "dataset", "data": "data", "sampler": "sampler", "trials": "trials",
    "seed": "seed", "budget": "budget_s", "time_limit": "limit_s", "storage": "storage", "epochs": "epochs",
    "long_epochs": "long_epochs", "train_size": "size", "recipe": "recipe", "train_set": "changes",
    "train_on": "train_on", "threads": "threads", "promote": "promote", "repeats": "repeats", "halving": "halving",
}  # fmt: skip
"""Option -> field of the plan."""

ELSEWHERE = ("storage", "threads", "train_on")
"""Options on which no result depends."""


def words(plan: Mapping[str, Any]) -> Iterator[str]:
    """The options that make a plan, from its plain values.

    >>> list(words({"trials": 8, "budget_s": None, "halving": False, "changes": {"lr": 0.002}}))
    ['--trials', '8', '--train-set', 'lr=0.002', '--no-halving']
    """
    for option, field in PLANNED.items():
        value, name = plan.get(field), option.replace("_", "-")
        if value is None or option in ELSEWHERE:
            continue
        if isinstance(value, bool):
            yield f"--{name}" if value else f"--no-{name}"
        elif isinstance(value, Mapping):
            for key, part in value.items():
                yield from (f"--{name}", f"{key}={part if isinstance(part, str) else json.dumps(part)}")
        elif field == "size":
            yield from (f"--{name}", f"{value[1]}x{value[0]}")
        elif field.endswith("_s"):
            yield from (f"--{name}", f"{value:g}s")
        else:
            yield from (f"--{name}", str(value))
