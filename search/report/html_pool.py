"""What a report's sliders answer from: columns of every candidate that tighter limits put on the front.

Numbers of 64 bits, so that the page and `zoo search` decide alike; about 150 bytes a candidate and device.
"""

import base64
from collections.abc import Mapping, Sequence
from statistics import NormalDist
from typing import Any

import numpy as np

from search.clocks import settings_of, settled
from search.pricing import Evaluator
from search.query import DEVICE_METRICS, EXACT_METRICS, Query
from search.runs.reader import Run
from search.runs.writer import query_from
from search.sensitivity import at_settings
from search.tightened import Tightened, idle_powers, limited_metrics, tightened
from zoo.bulk.choices import Ints
from zoo.errors import ZooError
from zoo.specs import as_dict

MOST_BYTES = 4_000_000
"""Longest pool of a page, less than the script of a plotting library."""


def asked(run: Run) -> Query:
    """The query as it was put, with the clocks open that it left open; the run's own where that is not known."""
    try:
        question = query_from(run.certificate["asked"])
        same = settled(question, settings_of(question)).describe() == run.query.describe()
    except (KeyError, TypeError, ValueError, AttributeError, ZooError):
        return run.query
    return question if same else run.query


def pool(run: Run, fields: Mapping[str, list[Any]], evaluator: Evaluator | None) -> dict[str, Any] | None:
    """The columns as base64 of little-endian numbers, the run's front first by rank; fields: values of each field.

    None where the whole space is not predicted, where the pool would be too long, and where the front of the run is
    not what this version finds. Then the page answers from the run's front alone.
    """
    if evaluator is None:
        return None
    query = asked(run)
    candidates = tightened(query, evaluator)
    if candidates is None:
        return None
    order = _front_first(run, query, candidates)
    if order is None:
        return None
    out = _document(query, candidates.take(order), fields, at_settings(query, evaluator))
    size = sum(len(column) for column in (out["rows"], out["setting"], *out["columns"].values()))
    return out if size <= MOST_BYTES else None


def _front_first(run: Run, query: Query, candidates: Tightened) -> Ints | None:
    """Places of the run's front, by rank, and then of all others; None where one of the front is missing."""
    settings = settings_of(query)
    places = {(int(row), int(s)): i for i, (row, s) in enumerate(zip(candidates.rows, candidates.setting, strict=True))}
    try:
        keys = [
            (query.space.row(run.spec(rank)), settings.index(run.setting(rank)))
            for rank in range(1, len(run.front) + 1)
        ]
        front = [places[key] for key in keys]
    except (KeyError, ValueError, ZooError):
        return None
    others = np.setdiff1d(np.arange(len(candidates)), front)
    return np.concatenate([np.array(front, dtype=np.int64), others])


def _document(
    query: Query, candidates: Tightened, fields: Mapping[str, list[Any]], evaluators: Sequence[Evaluator]
) -> dict[str, Any]:
    return {
        "rows": _base64(candidates.rows.astype("<i4")),
        "setting": _base64(candidates.setting.astype("<i4")),
        "columns": {name: _base64(column.astype("<f8")) for name, column in candidates.columns.items()},
        "spaces": _spaces(query, fields),
        "clocks": [[s.query.devices[d].clock_mhz for s in evaluators] for d in range(len(query.devices))],
        "idle": [idle_powers(evaluators, d).tolist() for d in range(len(query.devices))],
        "limited": [*EXACT_METRICS, *_limited_on_all(query, evaluators[0])],
        "objectives": [list(axis) for axis in query.axes()],
        "reach": NormalDist().inv_cdf(0.5 + query.confidence / 2),
    }


def _limited_on_all(query: Query, evaluator: Evaluator) -> list[str]:
    limited = [limited_metrics(query, evaluator, d) for d in range(len(query.devices))]
    return [metric for metric in DEVICE_METRICS if all(metric in metrics for metrics in limited)]


def _base64(column: np.ndarray[Any, Any]) -> str:
    return base64.b64encode(column.tobytes()).decode()


def _plain(value: Any) -> Any:
    """A field's value as JSON has it."""
    return list(value) if isinstance(value, tuple) else value


def _spaces(query: Query, fields: Mapping[str, list[Any]]) -> list[dict[str, Any]]:
    """How numbers of candidates are read as specs: each space's first number, its choices, what all of it has."""
    out, first = [], 0
    for member, whole in zip(query.space.members, whole_specs(query), strict=True):
        choices = member.choices.values
        places = [[name, [fields[name].index(_plain(v)) for v in vs]] for name, vs in choices.items()]
        fixed = {name: allowed.index(whole.get(name)) for name, allowed in fields.items() if name not in choices}
        out.append({"first": first, "count": member.combinations, "fixed": fixed, "choices": places})
        first += member.combinations
    return out


def whole_specs(query: Query) -> list[dict[str, Any]]:
    """A spec of each space of a query, with all its fields."""
    return [as_dict(member.spec(int(next(member.chunks())[0]))) for member in query.space.members]


def every_choice(query: Query) -> list[dict[str, Any]]:
    """Every value of every field of the spaces, as specs have them, so that all can be named."""
    values = [item for member in query.space.members for item in member.choices.values.items()]
    return [*whole_specs(query), *({name: _plain(value)} for name, values_ in values for value in values_)]
