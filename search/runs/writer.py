"""Writes the folder of a search: question, front, certificate, charts.

Files: `front.json`, `front.csv`, `sample.csv`, `certificate.json` (last, so that a folder with a
certificate is complete), `pareto.png`, `pareto.svg`. A folder belongs to one query.
"""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from pathlib import Path
from typing import Any

from search.certificate import certify, described, scale
from search.device_at import DeviceAt
from search.exact import Result, entries, entry
from search.pricing import accuracy_of
from search.query import Query
from search.runs.folder import write_texts
from search.shortlist import entries_of, shortlist_of
from search.union import read_space
from zoo.config import Limits
from zoo.errors import ConfigError
from zoo.text import csv_cell, one_line

WORTH = 50
"""Candidates of a front from which a process finds their shortlist."""


def write(open_query: Query, result: Result, folder: Path) -> dict[str, Any]:
    """Write the front, the sample and, last, the certificate. Returns the document of front.json."""
    return write_texts(texts_of(open_query, result), folder)


def texts_of(open_query: Query, result: Result, pool: Executor | None = None) -> dict[str, str]:
    """The files of an answer by name, the certificate last.

    `open_query` is the query as it was put, `result.query` the same with every clock settled where one answers it.
    pool: of processes, in one of which the shortlist is found meanwhile.
    """
    candidates = (result.query, result.specs, result.clocks)
    future = pool.submit(shortlist_of, *candidates) if pool and len(result.aliases) >= WORTH else None
    front, sample = list(entries(result)), _csv(_sample(result))
    shortlist = future.result() if future else shortlist_of(*candidates)
    document = {
        "query": result.query.describe(),
        "settings": [[str(device) for device in setting] for setting in result.settings],
        "enumerated": result.enumerated,
        "feasible": result.feasible,
        "complete": True,
        "chosen": 1,
        "accuracy": basis_of_miou(result.query),
        "shortlist": entries_of(result.query, shortlist, front),
        "front": front,
    }
    files = {
        "front.json": json.dumps(document, indent=1, allow_nan=False) + "\n",
        "front.csv": _csv(front),
        "sample.csv": sample,
    }
    certificate = certify(open_query, result, front, {name: text.encode() for name, text in files.items()})
    return files | {"certificate.json": json.dumps(certificate, indent=1, allow_nan=False) + "\n"}


def basis_of_miou(query: Query) -> dict[str, Any]:
    """What the mIOU of this run is: predicted by which model, under which protocol, with which error.

    Of several families the errors are over the networks of all, and `families` has those of each.
    """
    by_family = {name: _basis_of_miou(basis) for name, basis in described(query).items()}
    if len(by_family) == 1:
        return next(iter(by_family.values()))
    networks_are = "; ".join(dict.fromkeys(basis["networks_are"] for basis in by_family.values()))
    return {
        **scale(query),
        "predicted": True,
        "networks_are": networks_are,
        "leave_one_out": pooled([basis["leave_one_out"] for basis in by_family.values()]),
        "families": by_family,
    }


def _basis_of_miou(description: Mapping[str, Any]) -> dict[str, Any]:
    error = description.get("leave_one_out", {"mae": None, "rmse": None, "n": 0, "within_90": None})
    return {
        "model": description["name"],
        "predicted": True,
        "protocol": description["protocol"],
        "networks_are": description.get("networks_are", "published networks"),
        **{key: description[key] for key in ("scale", "form", "why") if key in description},
        "leave_one_out": {name: error[name] for name in ("mae", "rmse", "n", "within_90")},
    }


def pooled(errors: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Errors over all networks, from those over some and others; those over no network count for nothing.

    >>> pooled([{"mae": 1.0, "rmse": 1.0, "n": 3, "within_90": 1.0}, {"mae": 2.0, "rmse": 2.0, "n": 1, "within_90": 0}])
    {'mae': 1.25, 'rmse': 1.323, 'n': 4, 'within_90': 0.75}
    """
    nonempty = [error for error in errors if error["n"]]
    count = sum(error["n"] for error in nonempty)
    if not count:
        return {"mae": None, "rmse": None, "n": 0, "within_90": None}

    def mean(name: str, power: int = 1) -> Any:
        return round(float(sum(error["n"] * error[name] ** power for error in nonempty) / count) ** (1 / power), 3)

    return {"mae": mean("mae"), "rmse": mean("rmse", 2), "n": count, "within_90": mean("within_90")}


def _sample(result: Result) -> list[dict[str, Any]]:
    space, sample, accuracy = result.query.space, result.sample, accuracy_of(result.query)
    return [
        entry(result.query, sample, i, space.spec(int(row)), result.settings[sample.setting[i]], accuracy)
        for i, row in enumerate(sample.rows)
    ]


def _csv(rows: list[dict[str, Any]]) -> str:
    flat = [_flat(row) for row in rows]
    out = io.StringIO()
    writer = csv.DictWriter(out, _header(flat), lineterminator="\n")
    writer.writeheader()
    writer.writerows(flat)
    return out.getvalue()


def _header(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Columns of all rows, in order; what other rows have in their spec stands beside the spec of the first.

    >>> _header([{"rank": 1, "spec.k": 5, "macs": 9}, {"rank": 2, "spec.scale": 1.5, "macs": 8}])
    ['rank', 'spec.k', 'spec.scale', 'macs']
    >>> _header([{"trial": 0, "k": 5}, {"trial": 1, "scale": 1.5}])
    ['trial', 'k', 'scale']
    """
    first = list(rows[0])
    later_names = [name for name in dict.fromkeys(key for row in rows for key in row) if name not in rows[0]]
    end = max((i for i, name in enumerate(first) if name.startswith("spec.")), default=len(first) - 1) + 1
    return [*first[:end], *later_names, *first[end:]]


def _flat(row: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    out: dict[str, Any] = {}
    for key, value in row.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            if prefix or key != "devices":
                out |= _flat(value, f"{name}.")
            elif len(value) > 1:
                out |= _flat(value)
        else:
            out[name] = csv_cell(_joined(value) if isinstance(value, list) else value)
    return out


def _joined(values: Sequence[Any]) -> str:
    """The values of a list in one cell, at blanks, or at semicolons where a value is longer than a word.

    >>> _joined([16, 64, 128]), _joined(["alpha2", "image size"])
    ('16 64 128', 'alpha2; image size')
    """
    texts = list(map(str, values))
    return ("; " if any(" " in text for text in texts) else " ").join(texts)


def query_from(document: Mapping[str, Any]) -> Query:
    """The query that `Query.describe` described. Raises ConfigError for a damaged document."""
    try:
        if not isinstance(document["accuracy"], str) or not isinstance(document["confidence"], (int, float)):
            raise TypeError("accuracy and confidence must be a name and a number")
        if not all(isinstance(name, str) for name in document["objectives"]):
            raise TypeError("objectives must be names")
        return Query(
            space=read_space(document["space"]),
            devices=tuple(DeviceAt(d["name"], d["clock_mhz"]) for d in document["devices"]),
            limits=Limits(**document["limits"]),
            objectives=tuple(document["objectives"]),
            confidence=document["confidence"],
            accuracy=document["accuracy"],
        )
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise ConfigError(f"the query of this run is damaged: {one_line(error, 200)}; run the search again") from None
