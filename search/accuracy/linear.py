"""Bayesian linear regression of mIOU on effects with stated priors: posterior, intervals, left-out errors.

Bayesian linear regression. A spec's mIOU is a sum of effects, each a function of a few spec fields
times an unknown coefficient with a stated prior. The sum is taken in points, `50 + 25 logit(mIOU)`:
near 50 % one point is one percent of mIOU, and no prediction leaves 0 to 100.

The variance of a prediction has four parts: the coefficients' (a field that no evidence varies keeps
its whole prior), the noise of one training run, a drift of the form of a curve that grows with the
distance to the nearest published value, and the error of adding up, a share of how far the effects move
a prediction from the published networks. Another image size than the published adds a shift and its errors
(`search.accuracy.image_size`).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from search.accuracy.joint import JointNormal
from zoo.bulk.choices import Choices, Ints, by_fields
from zoo.errors import ZooError
from zoo.specs import Spec

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Effect:
    """`value(spec)` times a coefficient, in points; the prior of the coefficient, and what it rests on.

    `value` reads fields of the spec only. drift: standard deviation, in points for each unit of `value`,
    of the error of the effect's form away from the evidence.
    """

    name: str
    value: Callable[[Any], float]
    mean: float
    sd: float
    basis: str
    drift: float = 0.0


@dataclass(frozen=True, slots=True)
class Evidence:
    """A published mIOU in percent or, with `against`, by how much it is above that of another spec.

    Figures of different protocols differ by an unknown offset. resolution: the figure is exact to plus or
    minus this.
    """

    name: str
    spec: Spec
    against: Spec | None
    protocol: str
    miou: float
    resolution: float
    source: str


@dataclass(frozen=True, slots=True)
class Shift:
    """What other conditions than the evidence's add to the mIOU of all networks of a family, in points.

    mean: added to all. shared_sd: standard deviation of the error that all networks share. own_sd: of each network's
    own. source: what it rests on, "" where nothing is added. assumed: whether no evidence says it of this family.
    """

    mean: float = 0.0
    shared_sd: float = 0.0
    own_sd: float = 0.0
    source: str = ""
    assumed: bool = False


@dataclass(frozen=True, slots=True)
class Accuracy:
    """Predicted mIOU in percent: central estimates and bounds, each of shape (N,)."""

    mean: Array
    low: Array
    high: Array


@dataclass(frozen=True, slots=True)
class HeldOut:
    """A figure, and what a model fitted without it predicts; supported: all that it needs is in the rest."""

    point: Evidence
    predicted: float
    low: float
    high: float
    supported: bool


@dataclass(frozen=True)
class Additive:
    """The posterior for one family, under `protocol`, from all of `evidence`; predictions are shifted by `shift`."""

    effects: tuple[Effect, ...]
    evidence: tuple[Evidence, ...]
    protocol: str
    noise_sd: float
    """Standard deviation of the mIOU of one training run, in points."""
    shift: Shift = Shift()

    @cached_property
    def posterior(self) -> tuple[Array, Array]:
        """Mean (P,) and covariance (P, P) of the effects' coefficients; protocol offsets are marginalised."""
        other_protocols = sorted({item.protocol for item in self.evidence} - {self.protocol})
        prior_mean = np.array([effect.mean for effect in self.effects] + [0.0] * len(other_protocols))
        prior_sd = np.array([effect.sd for effect in self.effects] + [OFFSET_SD] * len(other_protocols))
        rows = np.array([[*self._row(item), *_offsets(item, other_protocols)] for item in self.evidence])
        targets = np.array([_target(item) for item in self.evidence])
        weights = rows.T / np.array([self._variance(item) for item in self.evidence])
        covariance = np.linalg.inv(np.diag(prior_sd**-2) + weights @ rows)
        mean = prior_mean + covariance @ (weights @ (targets - rows @ prior_mean))
        count = len(self.effects)
        return mean[:count], covariance[:count, :count]

    def values(self, spec: Spec) -> Array:
        """Values of the effects for one spec: (P,)."""
        return np.array([effect.value(spec) for effect in self.effects])

    def predict(self, choices: Choices, codes: Mapping[str, Ints], confidence: float) -> Accuracy:
        """Predictions for the combinations with these codes; the true value is in an interval with `confidence`."""
        columns = [by_fields(choices, codes, effect.value) for effect in self.effects]
        return self._predict([(np.array(values, dtype=float), index) for values, index in columns], confidence)

    def predict_spec(self, spec: Spec, confidence: float = 0.9) -> tuple[float, float, float]:
        """Central estimate and bounds for one spec."""
        prediction = self._predict([(value, ONLY) for value in self.values(spec)[:, None]], confidence)
        return float(prediction.mean[0]), float(prediction.low[0]), float(prediction.high[0])

    def joint(self, specs: Sequence[Spec]) -> JointNormal:
        """The expected mIOU of specs in points, without the noise of a training run.

        Specs share the errors of the coefficients, of the shift and, at equal values of a curve, that curve's drift;
        the error of adding up is each spec's own.
        """
        values = np.array([self.values(spec) for spec in specs])
        mean, covariance = self.posterior
        loadings, moved = [values @ np.linalg.cholesky(covariance)], np.zeros(len(specs))
        for i, effect in enumerate(self.effects):
            distance = np.abs(values[:, i, None] - self._published[:, i]).min(axis=1)
            moved += abs(mean[i]) * distance
            steps = np.unique(values[:, i])
            drift = np.where(values[:, i, None] == steps, effect.drift * distance[:, None], 0.0)
            loadings.append(drift[:, drift.any(axis=0)])
        if self.shift.shared_sd:
            loadings.append(np.full((len(specs), 1), self.shift.shared_sd))
        own = np.hypot(ADDITIVITY * moved, self.shift.own_sd)
        return JointNormal(
            values @ mean + self.shift.mean, np.concatenate(loadings, axis=1), own, np.arange(len(specs))
        )

    @property
    def points(self) -> tuple[Evidence, ...]:
        """The figures that are mIOU of a network under the model's own protocol."""
        return tuple(item for item in self.evidence if item.against is None and item.protocol == self.protocol)

    def hold_out(self, left_out: Sequence[Evidence], confidence: float = 0.9) -> list[HeldOut]:
        """What a model refitted without some points predicts for them."""
        model = self.without(left_out)
        unknown = [i for i in range(len(self.effects)) if not model.informed(i)]
        return [
            HeldOut(item, *model.predict_spec(item.spec, confidence), not np.any(self.values(item.spec)[unknown]))
            for item in left_out
        ]

    def without(self, left_out: Sequence[Evidence]) -> "Additive":
        """The model refitted without some of the evidence."""
        remaining = tuple(item for item in self.evidence if item not in left_out)
        return replace(self, evidence=remaining)

    def informed(self, effect: int) -> bool:
        """Whether any evidence varies an effect; without any, its prior is all there is."""
        return bool(np.any(self._rows[:, effect]))

    def assumed(self, spec: Spec) -> tuple[str, ...]:
        """Names of the effects by which a spec differs from every published network and which no evidence varies."""
        return tuple(effect.name for effect, published in self._assumed if effect.value(spec) not in published)

    @cached_property
    def _assumed(self) -> list[tuple[Effect, set[float]]]:
        """Effects that no evidence varies, with the values that published networks have."""
        unknown = [i for i in range(len(self.effects)) if not self.informed(i)]
        return [(self.effects[i], set(self._published[:, i].tolist())) for i in unknown]

    def _predict(self, columns: Sequence[tuple[Array, Ints]], confidence: float) -> Accuracy:
        """From the distinct values of each effect, and which of them each row has."""
        if not 0 < confidence < 1:
            raise ZooError(f"confidence must be between 0 and 1, both excluded, but is {confidence}")
        mean, covariance = self.posterior
        values = np.column_stack([distinct[index] for distinct, index in columns])
        variance = np.einsum("np,np->n", values @ covariance, values) + self.noise_sd**2 + self._misfit(columns)
        variance += self.shift.shared_sd**2 + self.shift.own_sd**2
        centre, reach = values @ mean + self.shift.mean, NormalDist().inv_cdf((1 + confidence) / 2) * np.sqrt(variance)
        return Accuracy(percent(centre), percent(centre - reach), percent(centre + reach))

    def _misfit(self, columns: Sequence[tuple[Array, Ints]]) -> Array:
        """Variance from the model's own form, which grows with the distance to the published networks."""
        drift, moved = np.zeros(len(columns[0][1])), np.zeros(len(columns[0][1]))
        for i, (distinct, index) in enumerate(columns):
            distance = np.abs(distinct[:, None] - self._published[:, i]).min(axis=1)
            if distance.any():
                drift += ((self.effects[i].drift * distance) ** 2)[index]
                moved += (abs(self.posterior[0][i]) * distance)[index]
        return drift + (ADDITIVITY * moved) ** 2

    @cached_property
    def _published(self) -> Array:
        return np.array([self.values(item.spec) for item in self.points])

    @cached_property
    def _rows(self) -> Array:
        return np.array([self._row(item) for item in self.evidence])

    def _row(self, item: Evidence) -> Array:
        return self.values(item.spec) - (0 if item.against is None else self.values(item.against))

    def _variance(self, item: Evidence) -> float:
        runs = 1 if item.against is None else 2
        transfer = 0.0 if item.protocol == self.protocol else TRANSFER_SD
        return runs * self.noise_sd**2 + transfer**2 + item.resolution**2 / 3  # the variance of a uniform error


ONLY = np.zeros(1, dtype=np.int64)
"""Index of a single row."""

ADDITIVITY = 0.2
"""Assumed error of adding up effects that were measured one at a time, as a share of how far they move mIOU."""

OFFSET_SD = 20.0
"""Prior standard deviation of the offset between two protocols, in points: almost free."""

TRANSFER_SD = 0.7
"""Assumed standard deviation of how an effect differs from one protocol to another, in points."""


def _offsets(item: Evidence, other_protocols: Sequence[str]) -> list[float]:
    return [float(item.against is None and item.protocol == name) for name in other_protocols]


def _target(item: Evidence) -> float:
    return item.miou if item.against is not None else float(points(item.miou))


def points(miou: Any) -> Any:
    """Percent of mIOU to points, the scale on which effects add up.

    >>> float(points(50.0)), round(float(points(60.0)), 2)
    (50.0, 60.14)
    """
    return 50 + 25 * np.log(miou / (100 - miou))


def percent(points: Any) -> Any:
    """Points to percent of mIOU."""
    return 100 / (1 + np.exp((50 - points) / 25))
