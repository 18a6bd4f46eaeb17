"""What one gets for what: networks side by side, and with which probability one is better than another.

Probabilities are of differences: networks share the errors of the accuracy model's coefficients and of a device's
parameters, so that two may be told apart whose intervals overlap.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import permutations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hw_models.normal import upper_tail
from hw_models.predictors import reading_basis
from pretrained.manifest import Metric, Weights, manifest
from search.accuracy import accuracy_model, assumptions_of
from search.accuracy.joint import JointNormal
from search.accuracy.linear import points
from search.accuracy.published import NOISE_SD
from search.alone import counts_of, prices_at
from search.device_at import DeviceAt
from search.exact import PARTS
from search.query import DEVICE_METRICS
from search.structure import structure
from zoo.errors import ConfigError, ZooError
from zoo.graph import Graph
from zoo.registry import lower
from zoo.specs import Spec

Floats = NDArray[np.float64]

PUBLISHED = "Cityscapes val, predicted"
"""The scale of mIOU predicted from published figures."""


@dataclass(frozen=True)
class Subject:
    """A network to compare: its size (height, width), its device at a clock, and its weights where it has any."""

    name: str
    spec: Spec
    size: tuple[int, int]
    device: DeviceAt
    weights: Weights | None = None
    accuracy: str = "published"

    @cached_property
    def graph(self) -> Graph:
        """The network at its size."""
        return lower(self.spec, self.size)

    @property
    def measured(self) -> Metric | None:
        """The mIOU of its weights, at the image size that they were scored at."""
        own = self.weights.preprocessing.size if self.weights else None
        return self.weights.miou if self.weights and own in (None, self.size) else None

    @property
    def scale(self) -> str:
        """What its mIOU is of; values of different scales do not compare."""
        if self.measured:
            return f"{self.measured.dataset} {self.measured.split}, measured"
        return PUBLISHED if self.accuracy == "published" else self.accuracy

    @property
    def comparable(self) -> str:
        """The data set alone: a measured Cityscapes figure compares with a predicted one."""
        return "cityscapes" if self.scale.lower().startswith("cityscapes") else self.scale


def weights_named(canonical: str, tag: str | None) -> Weights | None:
    """Weights of a model; without a tag those that it stands for, None where it has none."""
    try:
        return manifest().find(canonical, tag)
    except ZooError:
        return None


def compare(subjects: Sequence[Subject], confidence: float = 0.9) -> dict[str, Any]:
    """`rows`, one a network, and `better`: for "A>B" the probability that A is better than B, by metric.

    None where the two do not compare, as mIOU on different data sets. Raises ConfigError for a name given twice.
    """
    names = [subject.name for subject in subjects]
    if len(set(names)) < len(names):
        raise ConfigError(f"{', '.join(names)}: one is named twice; name each once")
    table = {metric: _chances(subjects, metric) for metric in ("miou", *DEVICE_METRICS)}
    keys = {"miou": "miou", "latency_s": "latency", "power_w": "power", "energy_j": "energy"}
    better = {
        f"{names[a]}>{names[b]}": {keys[metric]: _rounded(chances[a][b]) for metric, chances in table.items()}
        for a, b in permutations(range(len(names)), 2)
    }
    return {"rows": [_row(subject, confidence) for subject in subjects], "better": better}


def _rounded(value: float) -> float | None:
    return None if np.isnan(value) else round(float(value), 4)


def _row(subject: Subject, confidence: float) -> dict[str, Any]:
    prices = prices_at(subject.device)
    terms = prices.terms(subject.graph.layers)
    cost = prices.finish(terms, confidence)
    parts = {m: {part: float(getattr(cost, f"{m}_{part}")) for part in PARTS} for m in DEVICE_METRICS}
    return {
        "name": subject.name,
        "size": f"{subject.size[1]}x{subject.size[0]}",
        "device": str(subject.device),
        "miou": _miou(subject, confidence),
        "miou_of": subject.scale,
        "miou_assumes": [] if subject.measured else list(_assumptions(subject)),
        "readings": reading_basis(prices, terms),
        "weights": subject.weights.name if subject.weights else None,
        **counts_of(subject.graph),
        **parts,
        "fps": 1.0 / parts["latency_s"]["mean"],
    }


def _miou(subject: Subject, confidence: float) -> dict[str, float] | None:
    """A measured figure is what it is; a predicted one has an interval."""
    if subject.measured:
        return dict.fromkeys(PARTS, subject.measured.value)
    try:
        return dict(
            zip(
                PARTS,
                accuracy_model(subject.accuracy, subject.size).predict_spec(subject.spec, confidence),
                strict=True,
            )
        )
    except ZooError:
        return None


def _assumptions(subject: Subject) -> tuple[str, ...]:
    try:
        return assumptions_of(accuracy_model(subject.accuracy, subject.size), subject.spec)
    except ZooError:
        return ()


def _chances(subjects: Sequence[Subject], metric: str) -> Floats:
    """Probability that row is better than column, (N, N); NaN where the two do not compare."""
    count = len(subjects)
    if metric == "miou":
        joint, sign = _joint_miou(subjects), 1.0
        incomparable = np.array([[a.comparable != b.comparable for b in subjects] for a in subjects])
    else:
        joint, sign, incomparable = _joint_cost(subjects, metric), -1.0, np.zeros((count, count), dtype=bool)
    above = np.stack([1 - upper_tail(sign * joint.scores(i)) for i in range(count)], axis=1)
    return np.where(incomparable, np.nan, above)


def _networks(subjects: Sequence[Subject]) -> NDArray[np.int64]:
    numbers: dict[Any, int] = {}
    return np.array(
        [numbers.setdefault((structure(subject.graph), subject.device), len(numbers)) for subject in subjects]
    )


def _joint_miou(subjects: Sequence[Subject]) -> JointNormal:
    """Points of mIOU: predicted ones share their family's errors at a size, measured ones have the noise of one run."""
    mean, own = np.full(len(subjects), np.nan), np.zeros(len(subjects))
    blocks: list[Floats] = [np.zeros((len(subjects), 1))]
    groups: dict[tuple[str, str, tuple[int, int]], list[int]] = {}
    for i, subject in enumerate(subjects):
        if subject.measured:
            mean[i], own[i] = float(points(subject.measured.value)), NOISE_SD
        else:
            groups.setdefault((subject.accuracy, subject.spec.family, subject.size), []).append(i)
    for (accuracy, _, size), members in groups.items():
        try:
            family_joint = accuracy_model(accuracy, size).joint([subjects[i].spec for i in members])
        except ZooError:
            continue
        block = np.zeros((len(subjects), family_joint.loadings.shape[1]))
        block[members], mean[members], own[members] = family_joint.loadings, family_joint.mean, family_joint.own
        blocks.append(block)
    return JointNormal(mean, np.concatenate(blocks, axis=1), own, np.arange(len(subjects)))


def _joint_cost(subjects: Sequence[Subject], metric: str) -> JointNormal:
    """Logarithms of a metric on each one's device; errors of one device are shared, at whatever clock."""
    blocks: list[Floats] = []
    mean, own = np.full(len(subjects), np.nan), np.zeros(len(subjects))
    for device in dict.fromkeys(subject.device.name for subject in subjects):
        members = [i for i, subject in enumerate(subjects) if subject.device.name == device]
        errors = [_errors(subjects[i], metric) for i in members]
        block = np.zeros((len(subjects), len(errors[0][1])))
        for i, (center, loadings, spread) in zip(members, errors, strict=True):
            mean[i], block[i], own[i] = np.log(center), loadings, spread
        blocks.append(block)
    return JointNormal(mean, np.concatenate(blocks, axis=1), own, _networks(subjects))


def _errors(subject: Subject, metric: str) -> tuple[float, Floats, float]:
    prices = prices_at(subject.device)
    if metric != "latency_s" and not prices.device.shows_power:
        return float("nan"), np.zeros(1), 0.0  # what nobody read says nothing of who needs less
    try:
        center, loadings, own = prices.errors(prices.terms(subject.graph.layers), metric)
    except ZooError:
        return float("nan"), np.zeros(1), 0.0  # power that was never read
    return float(center), loadings, float(own)
