"""Describes a query in words: its question, its limits, the command that repeats it."""

import json
import shlex
from collections.abc import Mapping
from typing import Any

from search.query import Query
from search.study import options
from zoo.bulk.choices import Choices
from zoo.config import Config


def question(query: Query) -> str:
    """The question in words: devices, size, limits."""
    limits = ", ".join(spelt(name, value) for name, value in query.limits.given()) or "no limits"
    height, width = query.space.size
    return f"{', '.join(map(str, query.devices))}, {width}x{height}, batch 1; {limits}"


def spelt(limit: str, value: float) -> str:
    """A limit in words.

    >>> spelt("max_latency_ms", 150.0), spelt("max_params", 400000), spelt("max_macs", 5.429e9)
    ('latency ≤ 150 ms', 'parameters ≤ 400,000', 'MACs ≤ 5.429 G')
    """
    title, unit, relation = LIMIT_WORDS[limit]
    if limit in PREFIXES:
        unit, value = PREFIXES[limit][0], value / PREFIXES[limit][1]
    number = f"{value:,.0f}" if value >= 1e5 else f"{value:g}"
    return f"{title} {relation} {number} {unit}".strip()


LIMIT_WORDS: Mapping[str, tuple[str, str, str]] = {
    "max_latency_ms": ("latency", "ms", "≤"),
    "min_fps": ("frames a second", "", "≥"),
    "max_power_w": ("power", "W", "≤"),
    "max_energy_mj": ("energy", "mJ", "≤"),
    "max_params": ("parameters", "", "≤"),
    "max_macs": ("MACs", "", "≤"),
    "max_weight_mb": ("weights", "MB", "≤"),
    "max_memory_mb": ("memory", "MB", "≤"),
    "min_miou": ("mIOU", "%", "≥"),
}
"""Limit -> what it bounds, in which unit, from which side."""


PREFIXES: Mapping[str, tuple[str, float]] = {"max_macs": ("G", 1e9)}
"""Limits of counts that are spelt with a prefix."""


def command(query: Query, folder: str, space: str, plan: Mapping[str, Any] | None = None) -> str:
    """The `zoo search` command that asks this query, of a space called `space` in zoo.yaml; plan: of a study."""
    height, width = query.space.size
    words = ["zoo", "search", "--space", space]
    words += [word for device in query.devices for word in ("--device", str(device))]
    for name, value in query.limits.given():
        words += [f"--{name.replace('_', '-')}", json.dumps(value)]
    words += ["--confidence", repr(query.confidence), "--objective", ",".join(query.objectives)]
    words += ["--accuracy", query.accuracy] if plan is None else options.words(plan)
    words += ["--size", f"{width}x{height}", "-o", folder]
    return shlex.join(words)


def space_name(query: Query, config: Config) -> str | None:
    """The name under which zoo.yaml has the space of a query; None where it has no such space."""
    for name, space in config.spaces.items():
        if Choices(space.family, space.choices) == query.space.choices:
            return name
    return None
