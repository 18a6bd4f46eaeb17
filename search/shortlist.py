"""From a front of hundreds to at most ten candidates that differ by more than what is uncertain about them.

Whatever is predicted is drawn jointly: mIOU from the accuracy model, latency and power from the devices' errors.
The shortlist begins with the best candidate and takes, each time, the one that is farthest from all it has, in
standard deviations of the difference on the objective where they differ most (farthest-first traversal, Gonzalez,
Theoretical Computer Science 38, 1985); it ends where everything else is within the uncertainty of a member.

Which training would tell most is the correlated knowledge gradient (Frazier, Powell, Dayanik, INFORMS Journal on
Computing 21, 2009): by how much the expected mIOU of what one then chooses would rise.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from math import log
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hw_models.normal import score
from hw_models.predictors import Predictor, predictor, reading_basis
from search.accuracy.joint import JointNormal
from search.accuracy.linear import percent, points
from search.clocks import Setting
from search.device_at import DeviceAt
from search.pricing import accuracy_of
from search.query import EXACT_METRICS, Query
from search.structure import structure
from zoo.bulk.choices import Ints
from zoo.graph import Graph
from zoo.registry import lower
from zoo.specs import Spec

Floats = NDArray[np.float64]

MOST = 10
"""Candidates on a shortlist."""

DRAWS = 4000
SEED = 0
"""The same front has the same shortlist."""

RESOLUTION = 0.1
"""Counted objectives are certain; a tenth more or less is taken to be as different as what is significant."""

QUANTILES = 201
"""Points at which an expectation over one normal variable is summed."""

TRAINING: Mapping[tuple[str, str], tuple[int, int]] = {
    ("published", "espnet"): (300, 2975),
    ("bench", "espnet"): (8, 367),
}
"""Accuracy model, family -> epochs, images an epoch: of Cityscapes' fine train set (arXiv:1604.01685), of CamVid."""

PASSES = 3
"""A training step costs about three forward passes: forward, and gradients of activations and of weights."""


@dataclass(frozen=True)
class Candidates:
    """Candidates of one query: specs, and each at a setting of the devices' clocks."""

    query: Query
    specs: tuple[Spec, ...]
    settings: tuple[Setting, ...]

    def __len__(self) -> int:
        return len(self.specs)

    @cached_property
    def graphs(self) -> tuple[Graph, ...]:
        """Each lowered at the query's size."""
        return tuple(lower(spec, self.query.space.size) for spec in self.specs)

    @cached_property
    def network(self) -> Ints:
        """Which rows are the same network, (N,)."""
        numbers: dict[Any, int] = {}
        return np.array([numbers.setdefault(structure(graph), len(numbers)) for graph in self.graphs], dtype=np.int64)

    @cached_property
    def miou(self) -> JointNormal:
        """Expected mIOU in points."""
        return replace(accuracy_of(self.query).joint(self.specs), network=self.network)

    def metric(self, name: str, device: int | None) -> JointNormal:
        """Points of mIOU, or the logarithm of anything else in SI units; what is counted has no error."""
        if name == "miou":
            return self.miou
        if device is None:
            values = np.log([_count(graph, name) for graph in self.graphs])
            return JointNormal(values, np.zeros((len(self), 1)), np.zeros(len(self)), self.network)
        return self._cost(name, device)

    def _cost(self, name: str, device: int) -> JointNormal:
        if (name, device) not in self._known:
            self._known[name, device] = self._cost_of(name, device)
        return self._known[name, device]

    @cached_property
    def _known(self) -> dict[tuple[str, int], JointNormal]:
        return {}

    @cached_property
    def _terms(self) -> dict[int, list[Floats]]:
        """Terms of each candidate, by device."""
        pairs = list(zip(self.settings, self.graphs, strict=True))
        return {d: [_prices(s[d]).terms(g.layers) for s, g in pairs] for d in range(len(self.query.devices))}

    def _cost_of(self, name: str, device: int) -> JointNormal:
        """Errors are found for all candidates at one clock together."""
        by_clock: dict[DeviceAt, list[int]] = {}
        for i, setting in enumerate(self.settings):
            by_clock.setdefault(setting[device], []).append(i)
        terms, parts = self._terms[device], []
        for at, rows in by_clock.items():
            parts.append((rows, *_prices(at).errors(np.stack([terms[i] for i in rows]), name)))
        order = np.argsort(np.concatenate([rows for rows, *_ in parts]))
        center, loadings, own = (np.concatenate([part[k] for part in parts])[order] for k in (1, 2, 3))
        return JointNormal(np.log(center), loadings, own, self.network)

    def readings(self, i: int) -> dict[str, dict[str, Any]]:
        """What published readings say of a candidate, by device; devices of which none does are left out."""
        at = enumerate(zip(self.query.devices, self.settings[i], strict=True))
        bases = {str(device): reading_basis(_prices(setting), self._terms[d][i]) for d, (device, setting) in at}
        return {device: basis for device, basis in bases.items() if basis["read"] or basis["inherited"]}

    def within(self, rng: np.random.Generator, count: int) -> NDArray[np.bool_]:
        """In which of `count` joint draws each candidate is within the limits on devices, (count, N)."""
        inside = np.ones((count, len(self)), dtype=bool)
        for device in range(len(self.query.devices)):
            bounds = [bound for bound in self.query.bounds() if bound.device == device]
            if bounds:
                draws = self._costs(device, {bound.metric for bound in bounds}, rng, count)
                for bound in bounds:
                    inside &= draws[bound.metric] <= log(bound.bound)
        return inside

    def _costs(self, device: int, metrics: set[str], rng: np.random.Generator, count: int) -> dict[str, Floats]:
        """Logarithms; energy is power times latency."""
        powered = metrics - {"latency_s"}
        draws = {"latency_s": self._cost("latency_s", device).draw(rng, count)}
        if powered:
            draws["power_w"] = self._cost("power_w", device).draw(rng, count)
            draws["energy_j"] = draws["latency_s"] + draws["power_w"]
        return draws


def _count(graph: Graph, name: str) -> float:
    if name == "memory_bytes":
        return float(graph.weight_bytes + graph.peak_activation_bytes)
    return float(getattr(graph, name))


@lru_cache(maxsize=64)
def _prices(device: DeviceAt) -> Predictor:
    return predictor(device.name, clock_mhz=device.clock_mhz)


@dataclass(frozen=True)
class Shortlist:
    """At most MOST candidates, by place on the front, ascending.

    p_best: probability that it is the best of the whole front in the first objective among what is within the
    limits, (M,). indistinguishable: how many others of the front differ from it in the first objective by no more
    than is uncertain, (M,). cheaper: place of the candidate that is nowhere dearer, least in the second objective,
    and not significantly worse in the first, (M,). knee: place of the member that is farthest from the line between
    the ends, None for fewer than three. readings: what published readings say
    of each (`Candidates.readings`). gains: expected rise in mIOU, in points of percent, of what one would choose
    after training a member, (M,); None where mIOU is no objective.
    """

    places: tuple[int, ...]
    p_best: tuple[float, ...]
    indistinguishable: tuple[int, ...]
    cheaper: tuple[int, ...]
    knee: int | None
    readings: tuple[Mapping[str, Mapping[str, Any]], ...]
    gains: tuple[float, ...] | None


def shortlist(candidates: Candidates, most: int = MOST, seed: int = SEED) -> Shortlist:
    """The shortlist of a front that is sorted by the first objective, the best first."""
    query = candidates.query
    axes = [(candidates.metric(name, device), name, sign) for name, device, sign in query.axes()]
    places = _spread(axes, most, _threshold(query))
    first = axes[0]
    chances = _chances_of_best(candidates, first, seed)
    indistinguishable = [np.abs(_scores(first, i)) < _threshold(query) for i in places]
    return Shortlist(
        tuple(places),
        tuple(float(chances[i]) for i in places),
        tuple(int(rows.sum()) - 1 for rows in indistinguishable),
        tuple(_cheaper(axes, i, rows) for i, rows in zip(places, indistinguishable, strict=True)),
        _knee(axes, places),
        tuple(candidates.readings(i) for i in places),
        tuple(knowledge_gradient(candidates, places)) if first[1] == "miou" else None,
    )


Axis = tuple[JointNormal, str, int]
"""What candidates have on an objective, its metric, and 1 to minimise or -1 to maximise."""


def _threshold(query: Query) -> float:
    """Standard deviations beyond which a difference has its sign with the query's confidence."""
    return float(score(max(query.confidence, 0.6)))


def _scores(axis: Axis, i: int) -> Floats:
    """By how many standard deviations each candidate lies above candidate i; for counts, tenths as significant ones."""
    joint, metric, _ = axis
    return joint.scores(i) if metric not in EXACT_METRICS else (joint.mean - joint.mean[i]) / log(1 + RESOLUTION)


def _spread(axes: Sequence[Axis], most: int, threshold: float) -> list[int]:
    """Farthest-first from place 0 until `most` are taken or the rest is within the threshold of one taken."""
    scale = [threshold if metric in EXACT_METRICS else 1.0 for _, metric, _ in axes]

    def distance(i: int) -> Floats:
        return np.asarray(np.max([np.abs(_scores(axis, i)) * s for axis, s in zip(axes, scale, strict=True)], axis=0))

    chosen, nearest = [0], distance(0)
    while len(chosen) < most and nearest.max() >= threshold:
        chosen.append(int(nearest.argmax()))
        nearest = np.minimum(nearest, distance(chosen[-1]))
    return sorted(chosen)


def _chances_of_best(candidates: Candidates, first: Axis, seed: int) -> Floats:
    """Of each, the share of joint draws in which it is the best of those within the limits."""
    rng = np.random.default_rng(seed)
    joint, _, sign = first
    values = sign * joint.draw(rng, DRAWS)
    least = candidates.query.limits.min_miou
    inside = candidates.within(rng, DRAWS)
    if least is not None:
        miou_draws = -values if first[1] == "miou" else candidates.miou.draw(rng, DRAWS)
        inside &= miou_draws >= points(least)
    values = np.where(inside, values, np.inf)
    best = values.argmin(axis=1)[inside.any(axis=1)]
    return np.bincount(best, minlength=len(candidates)) / DRAWS


def _cheaper(axes: Sequence[Axis], i: int, indistinguishable: NDArray[np.bool_]) -> int:
    """The least in the second objective of what is as good in the first and nowhere dearer."""
    if len(axes) < 2:
        return i
    costs = np.stack([sign * joint.mean for joint, _, sign in axes[1:]], axis=1)
    fits = np.flatnonzero(indistinguishable & (costs <= costs[i] + 1e-12).all(axis=1))
    return int(fits[costs[fits, 0].argmin()])


def _knee(axes: Sequence[Axis], places: Sequence[int]) -> int | None:
    """On the first two objectives, scaled to their ranges, the member farthest on the good side of the chord."""
    if len(axes) < 2 or len(places) < 3:
        return None
    x, y = (sign * joint.mean[list(places)] for joint, _, sign in axes[:2])
    if not np.ptp(x) or not np.ptp(y):
        return None
    gain = 1 - (x - x.min()) / np.ptp(x) - (y - y.min()) / np.ptp(y)
    return int(places[int(gain.argmax())])


def knowledge_gradient(candidates: Candidates, places: Sequence[int]) -> list[float]:
    """Expected rise in the mIOU, in percent, of the best choice after one training run of each of some candidates."""
    joint = candidates.miou
    model = accuracy_of(candidates.query)
    noise = {name: model.describe(name).get("noise_sd", 0.0) for name in candidates.query.families}
    normal = score((np.arange(QUANTILES) + 0.5) / QUANTILES)
    now = float(joint.mean.max())
    slope = _percent_a_point(now)
    out = []
    for i in places:
        covariance = joint.covariance(i)
        response = covariance / np.sqrt(covariance[i] + noise[candidates.specs[i].family] ** 2)
        best = np.max(joint.mean[:, None] + response[:, None] * normal, axis=0)
        out.append(slope * max(float(best.mean()) - now, 0.0))
    return out


def _percent_a_point(at: float) -> float:
    """Percent of mIOU that a point is worth at a level in points."""
    return float(percent(at + 0.5) - percent(at - 0.5))


def training_macs(query: Query, family: str, macs: int) -> int | None:
    """MACs of training a network of a family by the protocol of its predicted mIOU; None where that is not known."""
    protocol = TRAINING.get((query.accuracy, family))
    return None if protocol is None else PASSES * protocol[0] * protocol[1] * macs


def entries_of(query: Query, result: Shortlist, front: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The shortlist as plain values for JSON; front: the entries of the whole front."""
    out = []
    for k, place in enumerate(result.places):
        own = front[place]
        out.append(
            {
                "rank": own["rank"],
                "spec": own["spec"],
                "at": own["at"],
                "miou": own["miou"],
                "p_best": round(result.p_best[k], 4),
                "indistinguishable": result.indistinguishable[k],
                "cheaper": result.cheaper[k] + 1,
                "knee": place == result.knee,
                "readings": dict(result.readings[k]),
                "training": None
                if result.gains is None
                else {
                    "expected_gain": round(result.gains[k], 4),
                    "macs": training_macs(query, own["spec"]["family"], own["macs"]),
                },
            }
        )
    return out


def shortlist_of(query: Query, specs: Sequence[Spec], settings: Sequence[Setting]) -> Shortlist:
    """The shortlist of a front by its specs and settings, in rank order."""
    return shortlist(Candidates(query, tuple(specs), tuple(settings)))
