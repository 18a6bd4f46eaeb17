"""Leave-one-network-out errors of each form of bench model, all seeds left out together."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from search.accuracy.bench.model import Form, Inputs, fit
from search.accuracy.bench.table import Measured, noise_sd
from zoo.statistics import kendall, spearman

Floats = NDArray[np.float64]

CONFIDENCE = 0.9


@dataclass(frozen=True)
class Judged:
    """Predictions of networks left out one at a time: in percent, (N,) each, with 90 % intervals."""

    form: Form
    networks: tuple[Measured, ...]
    mean: Floats
    low: Floats
    high: Floats

    @cached_property
    def measured(self) -> Floats:
        """Mean mIOU of each network's runs."""
        return np.array([network.mean for network in self.networks])

    @property
    def error(self) -> Floats:
        """Predicted less measured."""
        return self.mean - self.measured

    @property
    def mae(self) -> float:
        """Mean absolute error."""
        return float(np.abs(self.error).mean())

    @property
    def mae_se(self) -> float:
        """Standard error of that mean over the networks."""
        return float(np.abs(self.error).std(ddof=1) / np.sqrt(len(self.error)))

    @property
    def rmse(self) -> float:
        """Root of the mean squared error."""
        return float(np.sqrt((self.error**2).mean()))

    @property
    def coverage(self) -> float:
        """Share of the networks inside their intervals."""
        return float(((self.low <= self.measured) & (self.measured <= self.high)).mean())

    @property
    def spearman(self) -> float | None:
        """Rank correlation; None for a constant, whose left-out means differ only by what was left out."""
        return spearman(self.mean, self.measured) if self.form.names else None

    @property
    def kendall(self) -> float | None:
        """The same, by pairs."""
        return kendall(self.mean, self.measured) if self.form.names else None


def judge(form: Form, networks: Sequence[Measured], inputs: Inputs) -> Judged:
    """Leave each network out in turn, with all of its runs; everything is fitted anew but the noise of a run."""
    sd = noise_sd(networks)
    intervals = [_left_out(form, networks, inputs, i, sd) for i in range(len(networks))]
    mean, low, high = np.array(intervals).T
    return Judged(form, tuple(networks), mean, low, high)


def _left_out(
    form: Form, networks: Sequence[Measured], inputs: Inputs, i: int, sd: float
) -> tuple[float, float, float]:
    others = [k for k in range(len(networks)) if k != i]
    train, test = _standard(inputs.take(np.array(others)), inputs.take(np.array([i])))
    model = fit(form, train, [networks[k] for k in others], sd)
    prediction = model.predict(test, CONFIDENCE, runs=len(networks[i].runs))
    return float(prediction.mean[0]), float(prediction.low[0]), float(prediction.high[0])


def _standard(train: Inputs, left_out: Inputs) -> tuple[Inputs, Inputs]:
    """With proxies in standard deviations from the mean of the known."""
    out = []
    for inputs in (train, left_out):
        proxies = {
            name: (column - train.proxies[name].mean()) / (train.proxies[name].std() or 1.0)
            for name, column in inputs.proxies.items()
        }
        out.append(Inputs(inputs.effects, inputs.params, inputs.macs, proxies))
    return out[0], out[1]


def best(judged: Sequence[Judged]) -> Judged:
    """The form with the least squared error among those that predict whole spaces; the simpler one of equals."""
    return min((result for result in judged if result.form.anywhere), key=lambda result: round(result.rmse, 6))
