"""A shortlist in the user's cache: found once for one front, named by all that it rests on."""

import json
from collections.abc import Sequence
from functools import cache
from hashlib import sha256

import numpy as np

from hw_models.device import load_device
from search.clocks import Setting
from search.digests import ROOT, code_digest, folder_digest
from search.query import Query
from search.shortlist import Shortlist, shortlist_of
from search.space import digest
from search.table_files import Arrays, TableFiles
from zoo.specs import Spec, as_dict

SOURCES = ("search/**/*.py", "search/**/*.csv", "search/**/*.yaml", "zoo/gp.py", "zoo/published.csv")
"""Files, beside those of a table, that decide what is on a shortlist."""

LEAST = 50
"""Candidates of a front from which its shortlist is kept; of fewer it is found at once."""

NONE = -1
"""What stands for no knee."""


def kept_shortlist(
    query: Query, specs: Sequence[Spec], settings: Sequence[Setting], files: TableFiles | None
) -> Shortlist:
    """`shortlist_of`, read from `files` where it was found before."""
    if files is None or len(specs) < LEAST:
        return shortlist_of(query, specs, settings)
    name = _name(query, specs, settings)
    result = _from_arrays(files.read(name), len(specs))
    if result is None:
        result = shortlist_of(query, specs, settings)
        files.write(name, _arrays(result))
    return result


def _name(query: Query, specs: Sequence[Spec], settings: Sequence[Setting]) -> str:
    at = [[str(device) for device in setting] for setting in settings]
    devices = [folder_digest(load_device(device.name).folder) for device in query.devices]
    front = [as_dict(spec) for spec in specs]
    return digest(["shortlist", 2, code_digest(), _sources_digest(), query.describe(), devices, front, at])


@cache
def _sources_digest() -> str:
    whole = sha256()
    for path in sorted({path for pattern in SOURCES for path in ROOT.glob(pattern)}):
        whole.update(path.relative_to(ROOT).as_posix().encode() + sha256(path.read_bytes()).digest())
    return whole.hexdigest()


def _arrays(result: Shortlist) -> Arrays:
    return {
        "places": np.array(result.places, np.int64),
        "p_best": np.array(result.p_best),
        "indistinguishable": np.array(result.indistinguishable, np.int64),
        "cheaper": np.array(result.cheaper, np.int64),
        "knee": np.array(NONE if result.knee is None else result.knee),
        "readings": np.frombuffer(json.dumps(result.readings).encode(), np.uint8),
        "gains": np.array([] if result.gains is None else result.gains),
    }


def _from_arrays(arrays: Arrays | None, count: int) -> Shortlist | None:
    """A shortlist of a front of `count`; None where that is not what was kept."""
    try:
        values = {key: array.tolist() for key, array in (arrays or {}).items()}
        knee, gains = values["knee"], tuple(values["gains"])
        places = tuple(values["places"])
        result = Shortlist(
            places,
            tuple(values["p_best"]),
            tuple(values["indistinguishable"]),
            tuple(values["cheaper"]),
            None if knee == NONE else knee,
            tuple(json.loads(bytes(values["readings"]))),
            gains or None,
        )
        consistent = len(places) == len(result.readings) and all(0 <= p < count for p in (*places, *result.cheaper))
        return result if places and consistent else None
    except (KeyError, TypeError, ValueError, AttributeError):
        return None
