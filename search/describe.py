"""Describes a query in words: its question, its limits, the command that repeats it."""

import json
import shlex
from collections.abc import Mapping
from typing import Any

from search.query import Query
from zoo.bulk.choices import Choices
from zoo.config import Config
from zoo.config_study import words as words_of_study
from zoo.quantities import LIMITS


def question(query: Query) -> str:
    """The question in words: devices, size, limits."""
    limits = ", ".join(LIMITS[name].spelt(value) for name, value in query.limits.given()) or "no limits"
    height, width = query.space.size
    return f"{', '.join(map(str, query.devices))}, {width}x{height}, batch 1; {limits}"


def command(query: Query, folder: str, space: str, plan: Mapping[str, Any] | None = None) -> str:
    """The `zoo search` command that asks this query, of a space called `space` in zoo.yaml; plan: of a study."""
    height, width = query.space.size
    words = ["zoo", "search", "--space", space]
    words += [word for device in query.devices for word in ("--device", str(device))]
    for name, value in query.limits.given():
        words += [LIMITS[name].option, json.dumps(value)]
    words += ["--confidence", repr(query.confidence), "--objective", ",".join(query.objectives)]
    words += ["--accuracy", query.accuracy] if plan is None else words_of_study(plan)
    words += ["--size", f"{width}x{height}", "-o", folder]
    return shlex.join(words)


def space_name(query: Query, config: Config) -> str | None:
    """The name under which zoo.yaml has the space of a query; None where it has no such space."""
    for name, space in config.spaces.items():
        if Choices(space.family, space.choices) == query.space.choices:
            return name
    return None
