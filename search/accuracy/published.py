"""Accuracy model `published`: mIOU predicted from published Cityscapes figures, one linear model a family.

`search.accuracy.published_scores` has the figures, `search.accuracy.effects` what they are explained by. No test
figure and no figure of another data set is used; those of another input size say what a size costs
(`search.accuracy.image_size`).
"""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass, replace
from functools import cache
from typing import Any

import numpy as np

from search.accuracy.effects import EFFECTS
from search.accuracy.image_size import PUBLISHED_SIZE, shift_at
from search.accuracy.joint import JointNormal
from search.accuracy.linear import Accuracy, Additive, Evidence, HeldOut
from search.accuracy.published_scores import PROTOCOLS, evidence, smaller
from zoo.bulk.choices import Choices, Ints
from zoo.registry import lower
from zoo.specs import Spec

NOISE_SD = 0.7
"""Assumed standard deviation of the mIOU of one training run, in points; the published runs are single ones.

An additive fit to the six 300-epoch figures leaves 0.5 on three degrees of freedom.
"""


@dataclass(frozen=True, slots=True)
class PublishedPoint:
    """A published network: mIOU in percent on Cityscapes val, (height, width) of its input, and where it was read."""

    name: str
    spec: Spec
    miou: float
    source: str
    size: tuple[int, int] = PUBLISHED_SIZE

    @property
    def params(self) -> int:
        """Trainable parameters."""
        return lower(self.spec).params


@dataclass
class PublishedModel:
    """Predicts mIOU on Cityscapes val for the families with published figures, at an image size (height, width)."""

    size: tuple[int, int] = PUBLISHED_SIZE
    name: str = "published"

    def at_size(self, size: tuple[int, int]) -> "PublishedModel":
        """The model for images of this size (height, width)."""
        return replace(self, size=size)

    def predict(self, choices: Choices, codes: Mapping[str, Ints], confidence: float = 0.9) -> Accuracy:
        """Predict many candidates, in percent of mIOU. Raises ZooError for a family without published figures."""
        return shifted(choices.family, self.size).predict(choices, codes, confidence)

    def predict_spec(self, spec: Spec, confidence: float = 0.9) -> tuple[float, float, float]:
        """Predict one spec, in percent of mIOU: central estimate, low, high."""
        return shifted(spec.family, self.size).predict_spec(spec, confidence)

    def joint(self, specs: Sequence[Spec]) -> JointNormal:
        """Expected mIOU of specs of one family, in points, with the errors that they share."""
        return shifted(specs[0].family, self.size).joint(specs)

    def assumptions(self, spec: Spec) -> tuple[str, ...]:
        """What the prediction of a spec assumes, since no published figure varies it, in a few words each."""
        model = shifted(spec.family, self.size)
        names = ["widths" if name.startswith("width") else name.partition(",")[0] for name in model.assumed(spec)]
        return tuple(dict.fromkeys([*names, *(["image size"] if model.shift.assumed else [])]))

    def describe(self, family: str = "espnet") -> dict[str, Any]:
        """What a family's predictions rest on, as plain values for JSON."""
        model = fitted(family)
        shift = shift_at(family, self.size)
        protocol = f"Cityscapes val mIOU in percent, authors' training, {model.protocol}"
        return {
            "name": self.name,
            "family": family,
            "protocol": f"{protocol}; {shift.source}" if shift.source else protocol,
            **({"image_size": asdict(shift)} if shift.source else {}),
            "noise_sd": model.noise_sd,
            "figures": [_figure(item) for item in model.evidence],
            "points": [_point(model, item) for item in model.points],
            "effects": _effects(model),
            **deepcopy(_left_out(family)),
        }


@cache
def fitted(family: str) -> Additive:
    """The model of a family. Raises ZooError for a family without published figures."""
    figures = evidence(family)
    return Additive(EFFECTS[family], figures, PROTOCOLS[family], NOISE_SD)


@cache
def _left_out(family: str) -> dict[str, Any]:
    """Errors of a family's model on what it is refitted without, which takes longer than a prediction."""
    model = fitted(family)
    return {"leave_one_out": leave_one_out(model), "leave_value_out": leave_value_out(model)}


@cache
def shifted(family: str, size: tuple[int, int]) -> Additive:
    """The model of a family at an image size (height, width)."""
    return replace(fitted(family), shift=shift_at(family, size))


def published_points() -> tuple[PublishedPoint, ...]:
    """The published networks that predictions compare with: same data and protocol, each with its input size."""
    own = (
        PublishedPoint(item.name, item.spec, item.miou, item.source)
        for family in EFFECTS
        for item in fitted(family).points
    )
    return (*own, *(PublishedPoint(item.name, item.spec, item.miou, item.source, size) for item, size in smaller()))


def leave_one_out(model: Additive) -> dict[str, Any]:
    """Errors in percent of mIOU on points that the model was refitted without."""
    return _errors([error for point in model.points for error in model.hold_out([point])])


def leave_value_out(model: Additive) -> dict[str, Any]:
    """The same where all points that share a value of a curve (alpha3, scale) are left out together."""
    curves = [i for i, effect in enumerate(model.effects) if effect.drift]
    groups: dict[tuple[float, ...], list[Evidence]] = {}
    for point in model.points:
        groups.setdefault(tuple(float(v) for v in model.values(point.spec)[curves]), []).append(point)
    return _errors([error for group in groups.values() for error in model.hold_out(group)])


def _errors(errors_: list[HeldOut]) -> dict[str, Any]:
    judged = [h for h in errors_ if h.supported]
    errors = np.array([h.predicted - h.point.miou for h in judged])
    return {
        "n": len(judged),
        "mae": _short(np.abs(errors).mean()),
        "rmse": _short(np.sqrt((errors**2).mean())),
        "within_90": _short(np.mean([h.low <= h.point.miou <= h.high for h in judged])),
        "points": [
            {
                "name": h.point.name,
                "published": h.point.miou,
                "predicted": _short(h.predicted),
                "low": _short(h.low),
                "high": _short(h.high),
                "error": _short(h.predicted - h.point.miou),
                "supported": h.supported,
            }
            for h in errors_
        ],
    }


def _figure(item: Evidence) -> dict[str, Any]:
    kind = "mIOU" if item.against is None else "difference of mIOU"
    return {"name": item.name, "kind": kind, "value": item.miou, "protocol": item.protocol, "source": item.source}


def _point(model: Additive, item: Evidence) -> dict[str, Any]:
    mean, low, high = (_short(v) for v in model.predict_spec(item.spec))
    residual = _short(mean - item.miou)
    return {"name": item.name, "published": item.miou, "fitted": mean, "low": low, "high": high, "residual": residual}


def _effects(model: Additive) -> list[dict[str, Any]]:
    mean, covariance = model.posterior
    return [
        {
            "name": effect.name,
            "basis": effect.basis,
            "fitted": model.informed(i),
            "prior": {"mean": _short(effect.mean), "sd": effect.sd},
            "posterior": {"mean": _short(mean[i]), "sd": _short(np.sqrt(covariance[i, i]))},
        }
        for i, effect in enumerate(model.effects)
    ]


def _short(value: Any) -> float:
    return round(float(value), 3)
