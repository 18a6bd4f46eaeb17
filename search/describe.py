"""Describes a query in words: its question, its limits, the command that repeats it."""

import json
import shlex
from collections.abc import Mapping, Sequence
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


def command(query: Query, folder: str, spaces: Sequence[str], plan: Mapping[str, Any] | None = None) -> str:
    """The `zoo search` command that asks this query, of spaces with these names in zoo.yaml; plan: of a study."""
    height, width = query.space.size
    words = ["zoo", "search"]
    words += [word for space in spaces for word in ("--space", space)]
    words += [word for device in query.devices for word in ("--device", str(device))]
    for name, value in query.limits.given():
        words += [LIMITS[name].option, json.dumps(value)]
    words += ["--confidence", repr(query.confidence), "--objective", ",".join(query.objectives)]
    words += ["--accuracy", query.accuracy] if plan is None else words_of_study(plan)
    words += ["--size", f"{width}x{height}", "-o", folder]
    return shlex.join(words)


def space_names(query: Query, config: Config) -> tuple[str, ...] | None:
    """The names under which zoo.yaml has the spaces of a query; None where it lacks one."""
    names = [_space_name(member.choices, config) for member in query.space.members]
    return None if None in names else tuple(name for name in names if name)


def _space_name(choices: Choices, config: Config) -> str | None:
    for name, space in config.spaces.items():
        if Choices(space.family, space.choices) == choices:
            return name
    return None
