"""The certificate of an exact search, and its verification.

It binds the question (space, devices, limits, objectives, confidence) and everything the answer rests on
(device folders, accuracy model, package version) to the answer (counts and front) by SHA-256. To verify
is to answer again by definition: every combination is made a spec one by one, the front's members are
lowered and priced one by one, and every other candidate is shown to be over a limit or dominated.
"""

import itertools
from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hw_models.predictors import predictor
from search.accuracy import accuracy_model
from search.pareto import dominated_by
from search.query import Query
from search.space import SearchSpace, digest
from zoo._version import __version__
from zoo.errors import NegativeAnswer, SpecError
from zoo.registry import family, lower, spec_from_dict
from zoo.specs import Spec

if TYPE_CHECKING:
    from search.exact import Result

REL_TOL = 1e-9
"""Two ways of adding the same numbers up may differ by this much."""


class NotVerified(NegativeAnswer):
    """The certificate does not hold (exit code 3); the message says what differs."""


def basis(query: Query) -> dict[str, Any]:
    """Hashes of everything that an answer rests on besides the query."""
    return {
        "version": __version__,
        "space_sha256": query.space.digest,
        "devices_sha256": {str(d): folder_digest(predictor(d.name).device.folder) for d in query.devices},
        "accuracy_sha256": digest(accuracy_model(query.accuracy).describe(query.space.choices.family)),
    }


def scale(query: Query) -> dict[str, str]:
    """The accuracy model by name, and the protocol of the mIOU that it predicts."""
    described = accuracy_model(query.accuracy).describe(query.space.choices.family)
    return {"model": described["name"], "protocol": described["protocol"]}


def folder_digest(folder: Path) -> str:
    """SHA-256 over the names and contents of a device's files."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return digest([[path.relative_to(folder).as_posix(), sha256(path.read_bytes()).hexdigest()] for path in files])


def certify(asked: Query, result: "Result", front: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The certificate of a result whose front is written as `front`."""
    return {
        "asked": asked.describe(),
        "query": result.query.describe(),
        "basis": basis(result.query),
        "accuracy": scale(result.query),
        "enumerated": result.enumerated,
        "feasible": result.feasible,
        "front": len(front),
        "front_sha256": digest(list(front)),
        "complete": True,
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


def verify(
    certificate: Mapping[str, Any],
    document: Mapping[str, Any],
    query: Query,
    *,
    one_by_one: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> int:
    """Check a run against its certificate; returns the number of candidates checked. Raises NotVerified.

    With `one_by_one` every candidate, not only the front's, is lowered and priced on its own: no shared
    pieces and no vectors, at about a millisecond a candidate and device.
    """
    from search.pricing import Evaluator

    front = document["front"]
    _same("front.json", digest(front), certificate["front_sha256"], "was changed after the search")
    _same("the number of candidates on the front", len(front), certificate["front"], "differs")
    for name, value in basis(query).items():
        _same(name, value, certificate["basis"].get(name), "is no longer what the search rested on")
    if "accuracy" in certificate:
        _same("the protocol of the mIOU", scale(query), certificate["accuracy"], "differs")
    specs = valid_specs(query.space, progress)
    _same("enumerated", len(specs), certificate["enumerated"], "differs")

    columns = Evaluator(query)(np.array([row for row, _ in specs]))
    points = np.stack([sign * columns.metric(name, d) for name, d, sign in query.axes()], axis=1).astype(np.float64)
    limits = np.array([b.bound for b in query.bounds()])
    where = {spec: i for i, (_, spec) in enumerate(specs)}
    members = np.array([where.get(spec_from_dict(entry["spec"]), -1) for entry in front])
    if (members < 0).any() or len(set(members.tolist())) < len(members):
        raise NotVerified("the front holds a spec that is not in the space, or one twice")
    for i in range(len(specs)) if one_by_one else members.tolist():
        _same_cost(query, specs[i][1], points[i], columns.bounds[i])
        if progress and one_by_one:
            progress(i, len(specs))

    feasible = np.asarray((columns.bounds <= limits).all(axis=1))
    _same("feasible", int(feasible.sum()), certificate["feasible"], "differs")
    outside = np.ones(len(specs), dtype=bool)
    outside[members] = False
    if not feasible[members].all():
        raise NotVerified("a member of the front is over a limit")
    if dominated_by(points[members], points[feasible]).any():
        raise NotVerified("a member of the front is dominated")
    if not dominated_by(points[feasible & outside], points[members]).all():
        raise NotVerified("a feasible candidate that no member of the front dominates is missing from it")
    return len(specs)


def _same(name: str, found: Any, certified: Any, what: str) -> None:
    if found != certified:
        raise NotVerified(f"{name} {what}: certified {certified}, found {found}")


def _same_cost(query: Query, spec: Spec, points: Any, bounds: Any) -> None:
    """Lower and price one spec on its own and compare with its row of the enumeration."""
    graph = lower(spec, query.space.size)
    predictors = [predictor(d.name, clock_mhz=d.clock_mhz) for d in query.devices]
    terms = [p.terms(graph.layers) for p in predictors]
    counts = {
        "params": graph.params,
        "macs": graph.macs,
        "weight_bytes": graph.weight_bytes,
        "memory_bytes": graph.weight_bytes + graph.peak_activation_bytes,
    }

    def metric(name: str, device: int | None) -> float:
        if name == "miou":
            return accuracy_model(query.accuracy).predict_spec(spec, query.confidence)[0]
        if device is None:
            return float(counts[name])
        cost = predictors[device].finish(terms[device], confidence=query.confidence)
        return float(getattr(cost, f"{name}_mean"))

    own = [sign * metric(name, device) for name, device, sign in query.axes()]
    held = [
        float(counts[b.metric])
        if b.device is None
        else float(predictors[b.device].quantile(terms[b.device], b.metric, query.probability_each))
        for b in query.bounds()
    ]
    if not np.allclose([*own, *held], [*points, *bounds], rtol=REL_TOL, atol=0):
        raise NotVerified(f"{spec}: counted and priced on its own it differs from the enumeration")
