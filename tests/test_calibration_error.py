"""Calibration of class probabilities: by hand, against a network whose probabilities are true, and in `zoo eval`."""

import json
import math

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from zoo.cli import main  # noqa: E402
from zoo.data.classes import label_map  # noqa: E402
from zoo.errors import ZooError  # noqa: E402
from zoo.evaluate.calibration import STRIDE, TEMPERATURES, Calibration  # noqa: E402
from zoo.evaluate.metrics import VOID  # noqa: E402
from zoo.evaluate.segmentation import Protocol  # noqa: E402


def test_the_error_by_hand():
    """Confidence is 0.8 everywhere, half of the pixels are right, one pixel is void: the gap is 30 points."""
    logits = torch.zeros(2, 8 * STRIDE, STRIDE)
    logits[0] = math.log(4.0)
    truth = np.zeros((8 * STRIDE, STRIDE), np.uint8)
    truth[STRIDE : 4 * STRIDE], truth[0], truth[7 * STRIDE] = 1, 1, VOID
    truth[4 * STRIDE] = 0
    truth[5 * STRIDE] = 0
    seen = Calibration()
    seen.see(0, logits, truth)
    document = seen.document()
    assert document["pixels"] == 7
    assert document["error"] == pytest.approx(100 * abs(0.8 - 3 / 7))
    assert document["held_out"] is None


def test_the_temperature_of_true_probabilities_is_found():
    """Labels are drawn from the softmax of logits over 2.0, so that 2.0 is the temperature that makes them true."""
    generator, seen = torch.Generator().manual_seed(0), Calibration()
    for index in range(4):
        logits = 4 * torch.randn(5, 40 * STRIDE, 50 * STRIDE, generator=generator)
        p = (logits / 2.0).softmax(dim=0).permute(1, 2, 0).reshape(-1, 5)
        truth = torch.multinomial(p, 1, generator=generator).reshape(logits.shape[1:]).numpy().astype(np.uint8)
        seen.see(index, logits, truth)
    document = seen.document()
    assert document["temperature"] in TEMPERATURES
    assert abs(math.log2(document["temperature"]) - 1) <= 1 / 8
    assert document["held_out"]["error"] > 5.0
    assert document["held_out"]["error_with_temperature"] < 3.0


def test_nothing_but_void_has_no_calibration():
    seen = Calibration()
    seen.see(0, torch.zeros(3, 8, 8), np.full((8, 8), VOID, np.uint8))
    assert seen.document() is None


def test_calibration_is_of_the_networks_own_classes():
    for how in ({"mapping": label_map("cityscapes-camvid")}, {"scoring": "authors"}):
        with pytest.raises(ZooError, match="leave out --map"):
            Protocol(calibration=True, **how)


def test_the_command_prints_the_error_of_a_shipped_network(capsys):
    words = ["eval", "espnet-c-3.camvid", "--dataset", "scenes", "--size", "96x64", "--threads", "1"]
    assert main([*words, "--calibration", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert 0 <= found["calibration"]["error"] <= 100
    assert "--calibration" in found["conditions"]["command"]
