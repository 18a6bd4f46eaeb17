"""The certificate of an exact search.

It binds the question (space, devices, limits, objectives, confidence) and everything the answer rests on
(device folders, accuracy model, package version) to the answer (counts and every file) by SHA-256.
`search.verification` checks it.
"""

import itertools
from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from hw_models.predictors import predictor
from search.digests import folder_digest
from search.pricing import accuracy_of
from search.query import Query
from search.space import SearchSpace, digest
from zoo._version import version
from zoo.errors import NegativeAnswer, SpecError
from zoo.registry import family
from zoo.specs import Spec

if TYPE_CHECKING:
    from search.exact import Result


FORMAT = 2
"""Of certificates; 1, without the key `format`, shared the probability equally among the limits."""


class NotVerified(NegativeAnswer):
    """The certificate does not hold (exit code 3); the message says what differs."""


def basis(query: Query) -> dict[str, Any]:
    """Hashes of everything that an answer rests on besides the query."""
    return {
        "version": version(),
        "space_sha256": query.space.digest,
        "devices_sha256": {str(d): folder_digest(predictor(d.name).device.folder) for d in query.devices},
        "accuracy_sha256": digest(accuracy_of(query).describe(query.space.choices.family)),
    }


def scale(query: Query) -> dict[str, str]:
    """The accuracy model by name, and the protocol of the mIOU that it predicts."""
    described = accuracy_of(query).describe(query.space.choices.family)
    return {"model": described["name"], "protocol": described["protocol"]}


def certify(asked: Query, result: "Result", front: Sequence[Mapping[str, Any]], files: Mapping[str, bytes]) -> Any:
    """The certificate of a result whose front is written as `front`, beside files with these contents."""
    return {
        "format": FORMAT,
        "asked": asked.describe(),
        "query": result.query.describe(),
        "settings": [[str(device) for device in setting] for setting in result.settings],
        "basis": basis(result.query),
        "accuracy": scale(result.query),
        "enumerated": result.enumerated,
        "feasible": result.feasible,
        "front": len(front),
        "front_sha256": digest(list(front)),
        "complete": True,
        "files": {name: sha256(content).hexdigest() for name, content in files.items()},
    }


def valid_specs(space: SearchSpace, progress: Callable[[int, int], None] | None = None) -> list[tuple[int, Spec]]:
    """All valid specs of a space with their numbers, by constructing every combination."""
    chosen = family(space.choices.family)
    names = list(space.choices.values)
    out: list[tuple[int, Spec]] = []
    for row, values in enumerate(itertools.product(*space.choices.values.values())):
        try:
            spec = chosen.spec(**dict(zip(names, values, strict=True)))
        except SpecError:
            continue
        if chosen.check_size(spec, *space.size) is None:
            out.append((row, spec))
        if progress and row % 4096 == 0:
            progress(row, space.combinations)
    return out
