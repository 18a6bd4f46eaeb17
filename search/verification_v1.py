"""Check a run of version 0.1, whose certificate covers the front's specs, counts and the question as it was answered.

Its rule is kept: a candidate was within the limits if each of its m uncertain limits held with probability
1 - (1 - confidence) / m, at one setting of the clocks.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from search.alone import single_entry
from search.certificate import NotVerified, basis, scale, valid_specs
from search.differences import same
from search.exact import entry
from search.pareto import dominated_by
from search.pricing import Evaluator, Priced
from search.query import Query
from search.runs.writer import query_from
from search.space import digest
from zoo.registry import spec_from_dict


def verify_v1(
    certificate: Mapping[str, Any],
    document: Mapping[str, Any],
    *,
    one_by_one: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> int:
    """Number of candidates checked. Raises NotVerified."""
    query, front = query_from(certificate.get("query", {})), document["front"]
    same("front.json: front: SHA-256", digest(front), certificate["front_sha256"])
    same("certificate.json: front", certificate["front"], len(front))
    for name, value in basis(query).items():
        if name != "version":
            same(f"certificate.json: basis.{name}", certificate["basis"].get(name), value)
    if "accuracy" in certificate:
        same("certificate.json: accuracy", certificate["accuracy"], scale(query))
    specs = valid_specs(query.space, progress)
    same("certificate.json: enumerated", certificate["enumerated"], len(specs))
    evaluator = Evaluator(query)
    priced = evaluator.price(np.array([row for row, _ in specs]))
    columns = evaluator.columns(priced, np.arange(len(specs)))
    points = np.stack([sign * columns.metric(name, d) for name, d, sign in query.axes()], axis=1).astype(np.float64)
    within = within_v1(query, priced)
    same("certificate.json: feasible", certificate["feasible"], int(within.sum()))
    places = {spec: i for i, (_, spec) in enumerate(specs)}
    members = np.array([places.get(spec_from_dict(entry["spec"]), -1) for entry in front])
    if (members < 0).any() or len(set(members.tolist())) < len(members):
        raise NotVerified("front.json: front: holds a spec that is not in the space, or one twice")
    for rank, i in enumerate(members.tolist()):
        own = single_entry(query, query.devices, specs[i][1], rank + 1)
        same(f"front.json: front[{rank}]", _known(front[rank]), _known(own))
    for i, (_, spec) in enumerate(specs if one_by_one else []):
        same(str(spec), entry(query, columns, i, spec), single_entry(query, query.devices, spec, i + 1))
    outside = np.ones(len(specs), dtype=bool)
    outside[members] = False
    if not within[members].all():
        raise NotVerified("front.json: front: a member is over a limit")
    if dominated_by(points[members], points[within]).any():
        raise NotVerified("front.json: front: a member is dominated")
    if not dominated_by(points[within & outside], points[members]).all():
        raise NotVerified("front.json: front: a feasible candidate that no member dominates is missing from it")
    return len(specs)


def _known(entry: Mapping[str, Any]) -> dict[str, Any]:
    """An entry without what version 0.1 did not write."""
    fields = {key: value for key, value in entry.items() if key not in ("at", "clock_mhz")}
    fields["devices"] = {
        name: {key: value for key, value in cost.items() if key != "clock_mhz"}
        for name, cost in entry["devices"].items()
    }
    return fields


def within_v1(query: Query, priced: Priced) -> NDArray[np.bool_]:
    """Which rows are within the limits by the rule of version 0.1."""
    uncertain = {(b.metric, b.device) for b in query.bounds() if b.uncertain}
    allowed = (1 - query.confidence) / max(1, len(uncertain))
    return np.asarray((priced.failures <= allowed + 1e-12).all(axis=1))
