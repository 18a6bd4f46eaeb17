"""Writes the folder of a search: question, front, certificate, charts.

Files: `front.json`, `front.csv`, `sample.csv`, `certificate.json` (last, so that a folder with a
certificate is complete), `pareto.png`, `pareto.svg`. A folder belongs to one query.
"""

import csv
import io
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from search.accuracy import accuracy_model
from search.certificate import certify
from search.exact import Result, entries, entry
from search.query import DeviceAt, Query
from search.space import digest, space_from
from zoo.config import Limits
from zoo.errors import ConfigError, ZooError
from zoo.files import atomic, make_folder
from zoo.specs import Spec


def default_folder(query: Query) -> Path:
    """runs/ and the query's own name, so that the same question goes to the same folder."""
    return Path("runs") / f"search-{digest(query.describe())[:10]}"


@contextmanager
def claimed(folder: Path, asked: Query) -> Iterator[None]:
    """Hold a folder for writing. Raises ZooError where another run holds it or where it answers another query."""
    make_folder(folder)
    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise ZooError(f"{folder}: another run is writing to this folder; choose another with -o") from None
    except OSError as error:
        raise ZooError(f"{folder}: cannot be written: {error.strerror}; choose another folder with -o") from None
    try:
        held = folder / "certificate.json"
        if held.exists() and read_json(held).get("asked") != asked.describe():
            raise ZooError(f"{folder}: holds the answer to another search; choose another folder with -o, or remove it")
        yield
    finally:
        lock.release()


def write(asked: Query, result: Result, folder: Path) -> dict[str, Any]:
    """Write the front, the sample and, last, the certificate. Returns the document of front.json.

    `asked` is the query as it was put, `result.query` the same with every clock settled.
    """
    front = list(entries(result))
    document = {
        "query": result.query.describe(),
        "enumerated": result.enumerated,
        "feasible": result.feasible,
        "complete": True,
        "chosen": 1,
        "accuracy": basis_of_miou(result.query),
        "front": front,
    }
    certificate = certify(asked, result, front)
    _write(folder / "front.json", json.dumps(document, indent=1, allow_nan=False) + "\n")
    _write(folder / "front.csv", _csv(front))
    sample = [entry(result.query, result.sample, i, s) for i, s in enumerate(_sample_specs(result))]
    _write(folder / "sample.csv", _csv(sample))
    _write(folder / "certificate.json", json.dumps(certificate, indent=1, allow_nan=False) + "\n")
    return document


def basis_of_miou(query: Query) -> dict[str, Any]:
    """What the mIOU of this run is: predicted by which model, under which protocol, with which error."""
    described = accuracy_model(query.accuracy).describe(query.space.choices.family)
    error = described["leave_one_out"]
    return {
        "model": described["name"],
        "predicted": True,
        "protocol": described["protocol"],
        "networks_are": described.get("networks_are", "published networks"),
        **{key: described[key] for key in ("scale", "form", "why") if key in described},
        "leave_one_out": {name: error[name] for name in ("mae", "rmse", "n", "within_90")},
    }


def _sample_specs(result: Result) -> Iterator[Spec]:
    return (result.query.space.spec(int(row)) for row in result.sample.rows)


def _write(path: Path, text: str) -> None:
    with atomic(path) as partial:
        partial.write_text(text, encoding="utf-8")


def _csv(rows: list[dict[str, Any]]) -> str:
    flat = [_flat(row) for row in rows]
    out = io.StringIO()
    writer = csv.DictWriter(out, list(flat[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(flat)
    return out.getvalue()


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
            out[name] = " ".join(map(str, value)) if isinstance(value, list) else value
    return out


def read_json(path: Path) -> dict[str, Any]:
    """A JSON file of a run. Raises ZooError, naming the file, where it is missing or damaged."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{path}: does not exist; {path.parent} is not the folder of a finished search") from None
    except (OSError, ValueError):
        raise ConfigError(f"{path}: is damaged or cannot be read; run the search again") from None
    if not isinstance(document, dict):
        raise ConfigError(f"{path}: is not the document of a search; run the search again")
    return document


def query_from(document: Mapping[str, Any]) -> Query:
    """The query that `Query.describe` described. Raises ConfigError for a damaged document."""
    try:
        return Query(
            space=space_from(document["space"]),
            devices=tuple(DeviceAt(d["name"], d["clock_mhz"]) for d in document["devices"]),
            limits=Limits(**document["limits"]),
            objectives=tuple(document["objectives"]),
            confidence=document["confidence"],
            accuracy=document["accuracy"],
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigError(f"the query of this run is damaged: {error}; run the search again") from None
