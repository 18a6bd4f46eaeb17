"""The contract of an accuracy model: ordered, nested intervals, the same for one spec as for a whole space."""

import json

import numpy as np

from search.accuracy import AccuracyModel
from zoo.bulk.choices import Choices
from zoo.registry import spec_from_dict


class AccuracyModelContract:
    """What holds for every accuracy model. `make` returns one; `choices` are of a family that it knows.

    >>> from search.accuracy import accuracy_model
    >>> class TestPublished(AccuracyModelContract):
    ...     def make(self):
    ...         return accuracy_model("published")
    >>> TestPublished().test_intervals_hold_the_mean_and_are_percentages()  # pytest runs all of them
    """

    choices = Choices("espnet", {"variant": ("C", "ESPNet"), "k": (4, 5, 8), "alpha2": (1, 2), "alpha3": (1, 3, 8)})

    def make(self) -> AccuracyModel:
        """A model."""
        raise NotImplementedError

    def rows(self) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        """All combinations of the choices."""
        return np.arange(self.choices.size)

    def test_intervals_hold_the_mean_and_are_percentages(self) -> None:
        accuracy = self.make().predict(self.choices, self.choices.codes(self.rows()), 0.9)
        low, mean, high = (np.asarray(x) for x in (accuracy.low, accuracy.mean, accuracy.high))
        assert low.shape == mean.shape == high.shape == (self.choices.size,)
        assert (low >= 0).all() and (low <= mean).all() and (mean <= high).all() and (high <= 100).all()

    def test_more_confidence_is_a_wider_interval(self) -> None:
        model, codes = self.make(), self.choices.codes(self.rows())
        narrow, wide = (model.predict(self.choices, codes, confidence) for confidence in (0.5, 0.95))
        assert (np.asarray(wide.low) <= np.asarray(narrow.low)).all()
        assert (np.asarray(wide.high) >= np.asarray(narrow.high)).all()

    def test_a_space_is_predicted_as_its_specs_are(self) -> None:
        model, codes = self.make(), self.choices.codes(self.rows())
        accuracy = model.predict(self.choices, codes, 0.9)
        for row in range(0, self.choices.size, 7):
            values = self.choices.spec_values({name: int(code[row]) for name, code in codes.items()})
            of_spec = model.predict_spec(spec_from_dict({"family": self.choices.family, **values}), 0.9)
            np.testing.assert_allclose(of_spec, (accuracy.mean[row], accuracy.low[row], accuracy.high[row]), rtol=1e-9)

    def test_it_describes_itself_in_plain_values(self) -> None:
        model = self.make()
        text = json.dumps(model.describe(self.choices.family), allow_nan=False)
        assert model.name and json.loads(text)
