"""Our data sets, held to the contract that ships."""

import numpy as np
import pytest
from PIL import Image

from zoo.data.datasets import data_set
from zoo.testing import DataSetContract


class TestScenes(DataSetContract):
    def make(self):
        return data_set("scenes", None, "val")


class TestFolder(DataSetContract):
    """A folder with a classes.yaml, as a user writes it."""

    @pytest.fixture(autouse=True)
    def folder(self, tmp_path):
        self.root = tmp_path
        for part in ("images", "masks"):
            (tmp_path / "val" / part).mkdir(parents=True)
        rng = np.random.default_rng(0)
        Image.fromarray(rng.integers(0, 256, (8, 12, 3), np.uint8)).save(tmp_path / "val" / "images" / "a.png")
        Image.fromarray(rng.choice(np.array([0, 1, 255], np.uint8), (8, 12))).save(tmp_path / "val" / "masks" / "a.png")
        (tmp_path / "classes.yaml").write_text(
            "classes:\n  - {name: background, value: 0, colour: [0, 0, 0]}\n"
            "  - {name: road, value: 1, colour: [0, 0, 255]}\nvoid: [255]\n",
            encoding="utf-8",
        )

    def make(self):
        return data_set("folder", self.root, "val")
