"""Class probabilities a pixel: by definition, in tiles, as a file, and with the temperature of their weights."""

import json
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from PIL import Image  # noqa: E402
from torch.nn.functional import interpolate  # noqa: E402

from pretrained.manifest import manifest  # noqa: E402
from zoo.cli import main  # noqa: E402
from zoo.errors import ZooError  # noqa: E402
from zoo.graph import GraphBuilder, Shape  # noqa: E402
from zoo.inference import probabilities as library  # noqa: E402
from zoo.inference.preprocess import Preprocessing  # noqa: E402
from zoo.inference.probabilities import Probabilities, softmax_of  # noqa: E402
from zoo.inference.segment import Settings, segment  # noqa: E402
from zoo.network import module_from_graph  # noqa: E402

HALF = 1e-3
"""How far a float16 near 1 may be off, and its softmax with it."""


def noise(height, width):
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def narrow():
    """A network without a spec, whose outputs depend on two pixels to each side."""
    torch.manual_seed(0)
    g = GraphBuilder()
    hidden = g.act(g.conv(g.input("image", Shape(3, 24, 24)), "a", 8, kernel=3), "act", "relu")
    return module_from_graph(g.graph(g.conv(hidden, "b", 5, kernel=3))).eval()


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
@pytest.mark.parametrize("size", [(7, 9), (20, 31)])
def test_they_are_the_softmax_of_the_resized_logits(temperature, size, monkeypatch):
    monkeypatch.setattr(library, "BAND_BYTES", 2000)  # several bands
    logits = torch.randn(6, 7, 9, generator=torch.Generator().manual_seed(1))
    whole = interpolate(logits[None].double(), size, mode="bilinear", align_corners=False)[0]
    expected = (whole / temperature).softmax(0).numpy()
    found = softmax_of(logits, size, temperature)
    assert found.dtype == np.float16 and found.shape == (6, *size)
    assert np.abs(found.astype(np.float64) - expected).max() < HALF


def test_a_higher_temperature_is_less_sure_and_never_changes_the_class(narrow):
    image, confident = noise(24, 24), []
    for temperature in (0.5, 1.0, 2.0, 4.0):
        found = Probabilities(temperature)
        labels = segment(narrow, image, preprocessing=Preprocessing(), probabilities=found)
        values = found.values.astype(np.float64)
        assert np.abs(values.sum(0) - 1).max() < 5 * HALF
        taken = np.take_along_axis(values, labels[None].astype(np.int64), 0)[0]
        assert (taken >= values.max(0) - HALF).all()
        confident.append(values.max(0).mean())
    assert confident == sorted(confident, reverse=True)


def test_tiles_with_enough_overlap_change_nothing(narrow):
    image = noise(50, 70)
    whole, tiled = Probabilities(1.5), Probabilities(1.5)
    segment(narrow, image, preprocessing=Preprocessing(), probabilities=whole)
    tiles = Settings(tile=24, overlap=10)
    segment(narrow, image, tiles, preprocessing=Preprocessing(), probabilities=tiled)
    assert tiled.values.shape == (5, 50, 70)
    assert np.abs(whole.values.astype(np.float64) - tiled.values).max() < HALF


def test_what_does_not_fit_into_memory_is_said(monkeypatch):
    monkeypatch.setattr(library, "free_bytes", lambda: 1000)
    with pytest.raises(ZooError, match="--probabilities"):
        Probabilities().reserve(20, (100, 100))


@pytest.mark.parametrize("temperature", [0.0, 1e-3, -1.0, 1e3, float("nan")])
def test_a_temperature_that_means_nothing_is_refused(temperature):
    with pytest.raises(ZooError, match="temperature"):
        Probabilities(temperature)


# The command --------------------------------------------------------------------------------------------------------


@pytest.fixture
def image(tmp_path):
    Image.fromarray(noise(60, 80)).save(tmp_path / "a.png")
    return tmp_path / "a.png"


def segmented(image, *arguments):
    out = image.parent / "out"
    code = main(
        [
            "segment",
            str(image),
            "--model",
            "espnet-3.camvid",
            "-o",
            str(out),
            "--backend",
            "torch",
            *arguments,
            "--json",
        ]
    )
    return code, out / "a.probabilities.npz"


@pytest.mark.slow
def test_weights_bring_their_temperature_and_the_file_says_it(image, capsys):
    known = manifest().find("espnet-3", "camvid").calibration
    code, path = segmented(image, "--probabilities")
    out = capsys.readouterr()
    row = json.loads(out.out)[0]
    assert code == 0
    assert row["probabilities"] == str(path)
    assert row["temperature"] == known.temperature
    assert f"{known.error_with_temperature:.2f} %" in out.err
    with np.load(path) as file:  # which refuses pickles
        assert file["temperature"] == known.temperature
        assert file["probabilities"].shape == (11, 60, 80)
        assert file["classes"][0] == "sky"
        assert file["probabilities"].dtype == np.float16
    labels = np.asarray(Image.open(row["labels"]))
    with np.load(path) as file:
        values = file["probabilities"].astype(np.float64)
    assert (np.take_along_axis(values, labels[None].astype(np.int64), 0)[0] >= values.max(0) - HALF).all()


@pytest.mark.slow
def test_the_temperature_can_be_given(image, capsys):
    code, path = segmented(image, "--probabilities", "--temperature", "2.5")
    assert code == 0 and json.loads(capsys.readouterr().out)[0]["temperature"] == 2.5
    with np.load(path) as file:
        assert file["temperature"] == 2.5


@pytest.mark.slow
def test_without_the_option_nothing_more_is_written(image, capsys):
    code, path = segmented(image)
    assert code == 0 and not path.exists()
    assert json.loads(capsys.readouterr().out)[0]["probabilities"] is None
    assert segmented(image, "--temperature", "2")[0] == 1
    assert "--probabilities" in capsys.readouterr().err


@pytest.mark.slow
def test_a_file_that_gives_labels_has_none(image, tmp_path, capsys):
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    file = tmp_path / "x.onnx"
    assert main(["export", "espnet-3.camvid", "--size", "64x48", "--with-argmax", "-o", str(file)]) == 0
    assert main(["segment", str(image), "--model", str(file), "--probabilities", "-o", str(tmp_path / "out")]) == 1
    assert "--with-argmax" in capsys.readouterr().err
    assert not list(tmp_path.glob("out/*"))


def test_calibrations_of_the_manifest_help():
    """A temperature that is shipped lowers the error on images that it was not fitted on."""
    known = [entry for entry in manifest().weights if entry.calibration]
    assert {entry.name for entry in known} >= {entry.name for entry in manifest().weights if entry.tag == "camvid"}
    for entry in known:
        assert entry.calibration.error_with_temperature < entry.calibration.error


def test_the_page_has_the_manifests_calibrations():
    page = (Path(__file__).parents[1] / "docs" / "inference.md").read_text(encoding="utf-8")
    for entry in manifest().weights:
        if known := entry.calibration:
            row = f"{known.temperature:.2f} | {known.error_with_temperature:.2f} | {known.error:.2f} |"
            assert f"| `{entry.name}` | {row}" in page
