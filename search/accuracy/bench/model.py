"""Models of the bench's mIOU, from a constant to a sum of effects, all Bayesian and all of one shape.

In points (`search.accuracy.linear`) the mIOU of a run is `features @ coefficients + misfit + noise`. Coefficients have
stated priors; the noise of a run is known from repeated seeds; the misfit, what the features do not explain,
is the same for all runs of a spec, and its size is the one of the grid under which the runs are most likely.
For simple forms it is independent from spec to spec; for the effects it is a Gaussian process, alike for like
specs (Rasmussen and Williams, 2006, sections 2.2 and 2.7).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from search.accuracy.bench.table import SIZE, Measured
from search.accuracy.effects import EFFECTS
from search.accuracy.linear import Accuracy, percent, points
from search.accuracy.published import fitted
from zoo.bulk.choices import Choices, Ints, by_fields
from zoo.bulk.lower import BulkLowering
from zoo.gp import Posterior, squared_exponential
from zoo.graph import Shape
from zoo.specs import Spec

Floats = NDArray[np.float64]

FAMILY = "espnet"
MISFITS = (0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0)
"""Standard deviations of the misfit, in points, among which the likelihood chooses."""

LENGTH = 4.0
"""How far apart specs are, in points by which their effects may differ, that have little misfit in common."""

SAME = 1e-4
"""Length below which no two specs lie."""

SHARE = 0.5
"""Assumed standard deviation of how an effect differs in a short run, as a share of the published effect."""


@dataclass(frozen=True)
class Inputs:
    """What models read of N specs: values of the published effects (N, P), parameters and MACs (N,), proxies (N, Z)."""

    effects: Floats
    params: Floats
    macs: Floats
    proxies: Mapping[str, Floats]

    @property
    def published(self) -> Floats:
        """The published-figures model's central estimate in points, (N,)."""
        out: Floats = self.effects @ fitted(FAMILY).posterior[0]
        return out

    def take(self, index: Ints) -> "Inputs":
        """Some of the rows."""
        proxies = {name: column[index] for name, column in self.proxies.items()}
        return Inputs(self.effects[index], self.params[index], self.macs[index], proxies)


def inputs_of(networks: Sequence[Measured], proxies: Mapping[Spec, Mapping[str, float]] | None = None) -> Inputs:
    """Inputs of measured networks. Raises KeyError for one without proxies where proxies are given."""
    effects = np.array([[effect.value(network.spec) for effect in EFFECTS[FAMILY]] for network in networks])
    counts = np.array([network.counts for network in networks], dtype=float).reshape(-1, 2)
    names = list(next(iter(proxies.values()), {})) if proxies else []
    scores = (
        {name: np.array([proxies[network.spec][name] for network in networks]) for name in names} if proxies else {}
    )
    return Inputs(effects.astype(float), counts[:, 0], counts[:, 1], scores)


def inputs_at(choices: Choices, codes: Mapping[str, Ints], counted: bool) -> Inputs:
    """Inputs of the combinations with these codes; `counted`: with parameters and MACs, which take longer."""
    columns = [by_fields(choices, codes, effect.value) for effect in EFFECTS[FAMILY]]
    effects = np.column_stack([np.array(values, dtype=float)[index] for values, index in columns])
    if not counted:
        return Inputs(effects, np.ones(len(effects)), np.ones(len(effects)), {})
    bulk = _lowering(choices.family, tuple(choices.values.items())).lower(codes)
    return Inputs(effects, bulk.params.astype(float), bulk.macs.astype(float), {})


def inputs_of_spec(spec: Spec) -> Inputs:
    """Inputs of one spec."""
    return inputs_of([Measured(spec, ())])


@lru_cache(maxsize=1)
def _lowering(family: str, values: tuple[tuple[str, tuple[Any, ...]], ...]) -> BulkLowering:
    """The lowering of the space that was asked last, which keeps its pieces from one call to the next."""
    return BulkLowering(Choices(family, dict(values)), Shape(3, *SIZE))


@dataclass(frozen=True)
class Form:
    """A model before it has seen any run.

    names: of the features after the level. features: of N specs, (N, Q). mean, sd: of the coefficients' prior,
    in points, (Q,). smooth: whether like specs have like misfits. anywhere: whether it predicts whole spaces at
    once. counted: whether it reads parameters or MACs. fields: whether it knows of every field that effects know.
    """

    name: str
    title: str
    names: tuple[str, ...]
    features: Callable[[Inputs], Floats]
    mean: tuple[float, ...]
    sd: tuple[float, ...]
    smooth: bool = False
    anywhere: bool = True
    counted: bool = False
    fields: bool = False


LEVEL_MEAN, LEVEL_SD, SLOPE_SD = 35.0, 20.0, 5.0
"""Priors in points: of the level, and of a slope along a doubling or along a standard deviation."""


def _simple(name: str, title: str, *columns: tuple[str, Callable[[Inputs], Floats]], **kind: bool) -> Form:
    def features(inputs: Inputs) -> Floats:
        return np.column_stack([np.ones(len(inputs.effects)), *(read(inputs) for _, read in columns)])

    names = tuple(title for title, _ in columns)
    mean, sd = (LEVEL_MEAN, *(0.0 for _ in names)), (LEVEL_SD, *(SLOPE_SD for _ in names))
    return Form(name, title, names, features, mean, sd, **kind)


def _params(inputs: Inputs) -> Floats:
    out: Floats = np.log2(inputs.params / 200e3)
    return out


def _macs(inputs: Inputs) -> Floats:
    out: Floats = np.log2(inputs.macs / 2e9)
    return out


def _published_form() -> Form:
    return Form(
        "published",
        "published-figures model, level and share fitted",
        ("share of the published difference",),
        lambda inputs: np.column_stack([np.ones(len(inputs.effects)), inputs.published - 50]),
        (LEVEL_MEAN, 0.5),
        (LEVEL_SD, 0.5),
    )


def effect_sds() -> Floats:
    """By how much each effect may differ in a short run from its share of the published one, in points: (P,)."""
    mean, covariance = fitted(FAMILY).posterior
    return np.maximum(SHARE * np.abs(mean), np.sqrt(np.diag(covariance)))


def _effects_form() -> Form:
    """A share of the published differences, and on top of it each effect's own difference; the rest is smooth."""
    return Form(
        "effects",
        "published-figures model, level, share and each effect fitted, with a Gaussian process",
        ("share of the published difference", *(effect.name for effect in EFFECTS[FAMILY][1:])),
        lambda inputs: np.column_stack([np.ones(len(inputs.effects)), inputs.published - 50, inputs.effects[:, 1:]]),
        (LEVEL_MEAN, 0.5, *(0.0 for _ in EFFECTS[FAMILY][1:])),
        (LEVEL_SD, 0.5, *map(float, effect_sds()[1:])),
        smooth=True,
        fields=True,
    )


def forms(proxies: Sequence[str] = ()) -> tuple[Form, ...]:
    """Every form, simplest first."""
    return (
        _simple("constant", "constant mean"),
        _simple("params", "logarithm of parameters", ("parameters, doubling", _params), counted=True),
        _simple("macs", "logarithm of MACs", ("MACs, doubling", _macs), counted=True),
        _simple(
            "counts",
            "logarithms of parameters and MACs",
            ("parameters, doubling", _params),
            ("MACs, doubling", _macs),
            counted=True,
        ),
        *(_proxy(name) for name in proxies),
        _published_form(),
        _effects_form(),
    )


def _proxy(name: str) -> Form:
    def score(inputs: Inputs) -> Floats:
        return inputs.proxies[name]

    return _simple(name, f"zero-cost proxy {name}", (f"{name}, standard deviation", score), anywhere=False)


@dataclass(frozen=True)
class Fit:
    """A form that has seen runs.

    known: inputs of the specs that ran. runs: how many runs each had, (N,). miou: their means in points, (N,).
    noise_sd: of one run, misfit: of a spec, in points.
    """

    form: Form
    known: Inputs
    runs: Floats
    miou: Floats
    noise_sd: float
    misfit: float

    def points_at(self, inputs: Inputs) -> tuple[Floats, Floats]:
        """Mean and variance of specs' expected mIOU, in points, without the noise of a run."""
        features = self.form.features(inputs)
        cross = self._covariance(features, inputs, self._features, self.known)
        own = np.square(features) @ np.square(self.form.sd) + self.misfit**2
        mean = features @ self._prior_mean + self._posterior.mean(cross)
        return mean, self._posterior.variance(cross, own) + self._foreign(inputs)

    def joint(self, inputs: Inputs) -> tuple[Floats, Floats]:
        """Mean (N,) and covariance (N, N) of specs' expected mIOU, in points."""
        features = self.form.features(inputs)
        cross = self._covariance(features, inputs, self._features, self.known)
        prior = self._covariance(features, inputs, features, inputs)
        mean = features @ self._prior_mean + self._posterior.mean(cross)
        return mean, self._posterior.joint(cross, prior) + np.diag(self._foreign(inputs))

    def predict(self, inputs: Inputs, confidence: float, runs: int = 1) -> Accuracy:
        """In percent: central estimates, and intervals for the mean of so many runs."""
        mean, variance = self.points_at(inputs)
        reach = NormalDist().inv_cdf((1 + confidence) / 2) * np.sqrt(variance + self.noise_sd**2 / runs)
        return Accuracy(percent(mean), percent(mean - reach), percent(mean + reach))

    def coefficients(self) -> tuple[Floats, Floats]:
        """Posterior means and standard deviations of the coefficients."""
        spread = np.square(self.form.sd)
        cross = (self._features * spread).T
        return self._prior_mean + self._posterior.mean(cross), np.sqrt(self._posterior.variance(cross, spread))

    def log_likelihood(self) -> float:
        """Logarithm of the density of the runs."""
        return self._posterior.log_likelihood()

    @cached_property
    def _features(self) -> Floats:
        return self.form.features(self.known)

    @cached_property
    def _prior_mean(self) -> Floats:
        return np.array(self.form.mean)

    @cached_property
    def _posterior(self) -> Posterior:
        between = self._covariance(self._features, self.known, self._features, self.known)
        noise = np.diag(self.noise_sd**2 / self.runs)
        return Posterior(between + noise, self.miou - self._features @ self._prior_mean)

    def _covariance(self, a: Floats, of_a: Inputs, b: Floats, of_b: Inputs) -> Floats:
        out: Floats = (a * np.square(self.form.sd)) @ b.T + self._alike(of_a, of_b)
        return out

    def _alike(self, a: Inputs, b: Inputs) -> Floats:
        x, y = a.effects * _scales(), b.effects * _scales()
        # Of what is not smooth, only the same spec is alike.
        correlation = squared_exponential(x, y, LENGTH if self.form.smooth else SAME)
        out: Floats = self.misfit**2 * correlation
        return out

    def _foreign(self, inputs: Inputs) -> Floats:
        """Variance for how far fields are outside of all that ran, where the form does not know of fields."""
        if self.form.fields:
            return np.zeros(len(inputs.effects))
        low, high = self.known.effects.min(axis=0), self.known.effects.max(axis=0)
        outside = np.maximum(low - inputs.effects, 0) + np.maximum(inputs.effects - high, 0)
        out: Floats = ((outside * [effect.sd for effect in EFFECTS[FAMILY]]) ** 2).sum(axis=1)
        return out


@lru_cache(maxsize=1)
def _scales() -> Floats:
    return effect_sds()


def fit(form: Form, inputs: Inputs, networks: Sequence[Measured], noise_sd: float) -> Fit:
    """The form with the misfit under which the runs are most likely."""
    runs = np.array([len(network.runs) for network in networks], dtype=float)
    miou = np.array([np.mean([points(_inside(run.miou)) for run in network.runs]) for network in networks])
    return max((Fit(form, inputs, runs, miou, noise_sd, misfit) for misfit in MISFITS), key=Fit.log_likelihood)


def _inside(miou: float) -> float:
    """Points are infinite at 0 and 100."""
    return min(max(miou, 0.05), 99.95)
