"""Accuracy models by name: each predicts a candidate's mIOU with an interval.

`published`: predicted from the published Cityscapes figures. `bench`: predicted from short trainings on CamVid.
The two are of different data sets and protocols, and no number of one compares with a number of the other.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from search.accuracy.joint import JointNormal
from search.accuracy.linear import Accuracy
from search.accuracy.published import PublishedModel, PublishedPoint, published_points
from zoo.bulk.choices import Choices, Ints
from zoo.errors import ZooError, did_you_mean
from zoo.specs import Spec

__all__ = ["Accuracy", "AccuracyModel", "PublishedPoint", "accuracy_model", "assumptions_of", "published_points"]


class AccuracyModel(Protocol):
    """Predicts mIOU in percent. Intervals are central: the two bounds are equally likely to be passed.

    >>> from zoo import spec
    >>> model = accuracy_model("published")
    >>> mean, low, high = model.predict_spec(spec("espnet-c"), confidence=0.9)
    >>> 0 < low < mean < high < 100
    True
    """

    name: str

    def predict(self, choices: Choices, codes: Mapping[str, Ints], confidence: float) -> Accuracy:
        """For the N combinations with these codes. Raises ZooError where the model knows nothing of the family."""

    def predict_spec(self, spec: Spec, confidence: float = 0.9) -> tuple[float, float, float]:
        """The same for one spec: central estimate, low, high."""

    def joint(self, specs: Sequence[Spec]) -> JointNormal:
        """Expected mIOU of specs of one family, in points (`search.accuracy.linear`), with the errors they share."""

    def describe(self, family: str = "espnet") -> dict[str, Any]:
        """Protocol, sources, figures used, errors on figures left out, assumptions: plain values for JSON."""


@runtime_checkable
class SizedModel(Protocol):
    """An accuracy model whose predictions depend on the size of the image."""

    def at_size(self, size: tuple[int, int]) -> AccuracyModel:
        """The model for networks that take images of this size (height, width)."""


@runtime_checkable
class StatesAssumptions(Protocol):
    """An accuracy model that says what it takes for granted of a spec."""

    def assumptions(self, spec: Spec) -> tuple[str, ...]:
        """What the prediction assumes because no evidence varies it, in a few words each."""


def _bench() -> AccuracyModel:
    """The model of the bench, whose modules take as long to import as all others of an accuracy model."""
    from search.accuracy.bench_model import BenchModel

    return BenchModel()


MODELS: Mapping[str, Callable[[], AccuracyModel]] = {
    "published": PublishedModel,
    "bench": _bench,
}

SCALES: Mapping[str, str] = {"published": "Cityscapes val", "bench": "CamVid val after 8 epochs at 240x184"}
"""Model -> what its mIOU is of, in a few words."""


def accuracy_model(name: str, size: tuple[int, int] | None = None) -> AccuracyModel:
    """An accuracy model by name, for networks that take images of a size (height, width).

    size: by default that of the model's evidence. `bench` predicts under its protocol, whose size is its own.

    >>> from zoo.models.espnet import ESPNetSpec
    >>> mean, low, high = accuracy_model("published").predict_spec(ESPNetSpec(variant="ESPNet", alpha3=8))
    >>> 58 < low < 61.4 < high < 63
    True
    """
    if name not in MODELS:
        raise ZooError(f"accuracy {name!r} is unknown; {did_you_mean(name, MODELS)}")
    model = MODELS[name]()
    return model.at_size(size) if size and isinstance(model, SizedModel) else model


def assumptions_of(model: AccuracyModel, spec: Spec) -> tuple[str, ...]:
    """What a model's prediction of a spec assumes, as far as the model says."""
    return model.assumptions(spec) if isinstance(model, StatesAssumptions) else ()
