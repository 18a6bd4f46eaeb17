"""The contract of a data set: images with masks of the same size, whose values are classes or void."""

import numpy as np

from zoo.data.split import Split
from zoo.evaluate.metrics import VOID


class DataSetContract:
    """What holds for every split of a data set. `make` returns one with at least one sample.

    >>> from zoo.data.synthetic import Scenes
    >>> class TestScenes(DataSetContract):
    ...     def make(self):
    ...         return Scenes("val", count=1, size=(48, 64))
    >>> TestScenes().test_every_sample_is_an_image_and_its_classes()  # pytest runs all of them
    """

    def make(self) -> Split:
        """A split."""
        raise NotImplementedError

    def test_it_names_itself_its_split_and_its_classes(self) -> None:
        data = self.make()
        assert data.name and data.split
        assert len(data.labels.classes) > 1 and len(set(data.labels.classes)) == len(data.labels.classes)

    def test_every_sample_is_an_image_and_its_classes(self) -> None:
        data = self.make()
        assert len(data) > 0
        for index in range(min(len(data), 3)):
            image, classes = data.load(index)
            assert image.dtype == classes.dtype == np.uint8
            assert image.ndim == 3 and image.shape[2] == 3 and image.shape[:2] == classes.shape
            assert (classes[classes != VOID] < len(data.labels.classes)).all()

    def test_a_sample_is_the_same_each_time(self) -> None:
        first, second = self.make().load(0), self.make().load(0)
        for a, b in zip(first, second, strict=True):
            np.testing.assert_array_equal(a, b)
