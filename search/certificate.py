"""The certificate of an exact search.

It binds the question (space, devices, limits, objectives, confidence) and everything the answer rests on
(device folders, accuracy model, package version) to the answer (counts and every file) by SHA-256.
`search.verification` checks it.
"""

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from hw_models.predictors import predictor
from search.digests import folder_digest
from search.pricing import accuracy_of
from search.query import Query
from search.space import SearchSpace, digest
from search.union import Space
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
        "accuracy_sha256": digest(_of_all(described(query))),
    }


def scale(query: Query) -> dict[str, str]:
    """The accuracy model by name, and the protocol of the mIOU that it predicts; of several families each one's."""
    protocols = {name: str(description["protocol"]) for name, description in described(query).items()}
    same_protocol = len(set(protocols.values())) == 1
    words = (
        list(protocols.values())[:1]
        if same_protocol
        else [f"{name}: {protocol}" for name, protocol in protocols.items()]
    )
    return {"model": accuracy_of(query).name, "protocol": "; ".join(words)}


def described(query: Query) -> dict[str, dict[str, Any]]:
    """What the mIOU of a query rests on, by family."""
    model = accuracy_of(query)
    return {name: model.describe(name) for name in query.families}


def _of_all(by_family: Mapping[str, Any]) -> Any:
    """By family where there are several."""
    return by_family if len(by_family) > 1 else next(iter(by_family.values()))


def certify(open_query: Query, result: "Result", front: Sequence[Mapping[str, Any]], files: Mapping[str, bytes]) -> Any:
    """The certificate of a result whose front is written as `front`, beside files with these contents."""
    return {
        "format": FORMAT,
        "asked": open_query.describe(),
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


def valid_specs(space: Space, progress: Callable[[int, int], None] | None = None) -> list[tuple[int, Spec]]:
    """All valid specs of a space with their numbers, by constructing every combination; each spec once."""
    first, numbers = 0, {}  # type: int, dict[Spec, int]
    for member in space.members:
        for row, spec in _valid_specs(member, first, space.combinations, progress):
            numbers.setdefault(spec, first + row)
        first += member.combinations
    return [(row, spec) for spec, row in numbers.items()]


def _valid_specs(
    space: SearchSpace, before: int, combinations: int, progress: Callable[[int, int], None] | None
) -> Iterator[tuple[int, Spec]]:
    chosen = family(space.choices.family)
    names = list(space.choices.values)
    for row, values in enumerate(itertools.product(*space.choices.values.values())):
        try:
            spec = chosen.spec(**dict(zip(names, values, strict=True)))
        except SpecError:
            continue
        if chosen.check_size(spec, *space.size) is None:
            yield row, spec
        if progress and row % 4096 == 0:
            progress(before + row, combinations)
