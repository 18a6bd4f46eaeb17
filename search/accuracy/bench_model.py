"""Accuracy model `bench`: mIOU predicted from the bench's short trainings on small images.

It says how specs compare under `search.accuracy.bench.protocol.PROTOCOL`, not what they reach when trained for long.
Of the forms in `search.accuracy.bench.model` the one is used that predicts left-out networks best.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from search.accuracy.bench.cross_validation import Judged, best, judge
from search.accuracy.bench.model import FAMILY, Fit, fit, forms, inputs_at, inputs_of, inputs_of_spec
from search.accuracy.bench.protocol import EPOCHS, PROTOCOL, PROTOCOL_TEXT, SIZE, TABLE, read_runs
from search.accuracy.bench.table import Measured, measured, noise_sd, title
from search.accuracy.joint import JointNormal, root
from search.accuracy.linear import Accuracy
from zoo.bulk.choices import Choices, Ints
from zoo.errors import ConfigError
from zoo.specs import Spec, as_dict

MIN_NETWORKS = 8
"""Fewer say too little of anything."""

SHORT = f"CamVid val after {EPOCHS} epochs at {SIZE[1]}x{SIZE[0]}"
"""The protocol in a few words."""


@dataclass(frozen=True)
class Bench:
    """What a table teaches: its networks, how the forms did, and the best of them fitted to all."""

    table: Path
    networks: tuple[Measured, ...]

    @cached_property
    def judged(self) -> tuple[Judged, ...]:
        """Every form that predicts whole spaces, with its left-out predictions; simplest first."""
        inputs = inputs_of(self.networks)
        return tuple(judge(form, self.networks, inputs) for form in forms())

    @cached_property
    def chosen(self) -> Judged:
        """The form with the least error."""
        return best(self.judged)

    @cached_property
    def fitted(self) -> Fit:
        """That form fitted to all runs."""
        return fit(self.chosen.form, inputs_of(self.networks), self.networks, noise_sd(self.networks))


@lru_cache(maxsize=4)
def bench(table: Path = TABLE) -> Bench:
    """Read a table. Raises ZooError where it is damaged, ConfigError where it has too few networks."""
    networks = tuple(network for network in measured(read_runs(table)) if network.spec.family == FAMILY)
    if len(networks) < MIN_NETWORKS:
        raise ConfigError(
            f"accuracy 'bench' needs {MIN_NETWORKS} networks measured under {PROTOCOL}, but {table} has "
            f"{len(networks)}; measure more with zoo bench-table --fill --data DIR"
        )
    return Bench(table, networks)


@dataclass
class BenchModel:
    """Predicts mIOU on CamVid val after a short training, for the family espnet."""

    table: Path = TABLE
    name: str = "bench"

    def predict(self, choices: Choices, codes: Mapping[str, Ints], confidence: float = 0.9) -> Accuracy:
        """Predict many candidates, in percent of mIOU. Raises ConfigError for another family or too small a bench."""
        model = self._fitted(choices.family)
        return model.predict(inputs_at(choices, codes, model.form.counted), _probability(confidence))

    def predict_spec(self, spec: Spec, confidence: float = 0.9) -> tuple[float, float, float]:
        """Predict one spec, in percent of mIOU: central estimate, low, high; of one run."""
        prediction = self._fitted(spec.family).predict(inputs_of_spec(spec), _probability(confidence))
        return float(prediction.mean[0]), float(prediction.low[0]), float(prediction.high[0])

    def joint(self, specs: Sequence[Spec]) -> JointNormal:
        """Expected mIOU of specs, in points, with the errors that they share."""
        fitted = self._fitted(specs[0].family)
        mean, covariance = fitted.joint(inputs_of([Measured(spec, ()) for spec in specs]))
        return JointNormal(mean, root(covariance), np.zeros(len(specs)), np.arange(len(specs)))

    def describe(self, family: str = FAMILY) -> dict[str, Any]:
        """What the predictions rest on, as plain values for JSON."""
        model, table_bench = self._fitted(family), bench(self.table)
        return {
            "name": self.name,
            "family": family,
            "protocol": f"CamVid val mIOU in percent after a short training, {PROTOCOL}: {PROTOCOL_TEXT}",
            "scale": SHORT,
            "figures_are": "runs of the bench",
            "networks_are": "networks of the bench",
            "form": model.form.title,
            "why": _why(table_bench),
            "noise_sd": _short(model.noise_sd),
            "misfit_sd": model.misfit,
            "figures": [
                _figure(form_result, k) for form_result in table_bench.networks for k in range(len(form_result.runs))
            ],
            "points": _points(table_bench),
            "effects": _effects(model),
            "leave_one_out": left_out(table_bench.chosen),
            "leave_value_out": None,
            "compared": [
                {"form": form_result.form.title, "mae": _short(form_result.mae), "rmse": _short(form_result.rmse)}
                for form_result in table_bench.judged
            ],
        }

    def _fitted(self, family: str) -> Fit:
        if family != FAMILY:
            raise ConfigError(
                f"accuracy 'bench' knows no runs of the family {family!r}; search the family {FAMILY}, or give "
                "--accuracy published"
            )
        return bench(self.table).fitted


def _probability(confidence: float) -> float:
    if not 0 < confidence < 1:
        raise ConfigError(f"confidence must be between 0 and 1, both excluded, but is {confidence}")
    return confidence


def _why(table_bench: Bench) -> str:
    other_forms = ", ".join(
        f"{result.form.title} {result.rmse:.2f}" for result in table_bench.judged if result is not table_bench.chosen
    )
    return (
        f"of {len(table_bench.judged)} forms it has the least root mean squared error on left-out networks: "
        f"{table_bench.chosen.rmse:.2f} points of mIOU ({other_forms})"
    )


def left_out(judged: Judged) -> dict[str, Any]:
    """Errors in percent of mIOU on networks left out with all their runs."""
    return {
        "n": len(judged.networks),
        "mae": _short(judged.mae),
        "rmse": _short(judged.rmse),
        "within_90": _short(judged.coverage),
        "points": [
            {
                "name": title(network.spec),
                "published": _short(network.mean),
                "predicted": _short(judged.mean[i]),
                "low": _short(judged.low[i]),
                "high": _short(judged.high[i]),
                "error": _short(judged.error[i]),
                "supported": True,
            }
            for i, network in enumerate(judged.networks)
        ],
    }


def _figure(network: Measured, k: int) -> dict[str, Any]:
    run = network.runs[k]
    source = f"the bench's table, seed {run.seed}"
    return {"name": title(network.spec), "kind": "mIOU", "value": run.miou, "protocol": run.protocol, "source": source}


def _points(table_bench: Bench) -> list[dict[str, Any]]:
    prediction = table_bench.fitted.predict(inputs_of(table_bench.networks), 0.9)
    return [
        {
            "name": title(network.spec),
            "spec": as_dict(network.spec),
            "published": _short(network.mean),
            "fitted": _short(prediction.mean[i]),
            "low": _short(prediction.low[i]),
            "high": _short(prediction.high[i]),
            "residual": _short(prediction.mean[i] - network.mean),
        }
        for i, network in enumerate(table_bench.networks)
    ]


def _effects(model: Fit) -> list[dict[str, Any]]:
    mean, sd = model.coefficients()
    features = model.form.features(model.known)
    return [
        {
            "name": name,
            "basis": "the bench",
            "fitted": bool(np.ptp(features[:, i]) > 0 or i == 0),
            "prior": {"mean": _short(model.form.mean[i]), "sd": _short(model.form.sd[i])},
            "posterior": {"mean": _short(mean[i]), "sd": _short(sd[i])},
        }
        for i, name in enumerate(("level", *model.form.names))
    ]


def _short(value: Any) -> float:
    return round(float(value), 3)
