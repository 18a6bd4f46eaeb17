"""Exported networks in float16, with 8-bit pixels in and labels out: the same answers as the float32 file."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from PIL import Image

from pretrained import load
from zoo.cli import main
from zoo.compress.variants import Variant, laid_out, run, write_variant
from zoo.data.synthetic import Scenes
from zoo.errors import ZooError
from zoo.evaluate.onnx import onnx_scored
from zoo.evaluate.segmentation import evaluate
from zoo.export import export_onnx
from zoo.inference.label_map import labels_of
from zoo.inference.preprocess import Preprocessing, network_input
from zoo.models.espnet import ESPNetSpec
from zoo.network import build

SIZE = (64, 96)
HOW = Preprocessing(
    channels="BGR", maximum=255, mean=(70.0, 80.0, 90.0), std=(40.0, 50.0, 60.0), divisor=2.0, size=SIZE
)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small network, random but for its label set, as a float32 file."""
    torch.manual_seed(0)
    module: Any = build(ESPNetSpec(variant="C", alpha3=1), SIZE).eval()
    module.preprocessing, module.labels = HOW, "cityscapes"
    return export_onnx(module, tmp_path_factory.mktemp("export") / "float.onnx", size=SIZE).path


def pixels(seed: int = 1) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.random.default_rng(seed).integers(0, 256, (*SIZE, 3), dtype=np.uint8)


def logits(path: Path) -> np.ndarray[Any, Any]:
    return run(path.read_bytes(), network_input(pixels(), HOW, SIZE).numpy())


@pytest.mark.parametrize("layout", ["NHWC", "NCHW"])
def test_pixels_in(exported: Path, layout: Any, tmp_path: Path) -> None:
    out = tmp_path / "pixels.onnx"
    written = write_variant(exported, Variant(preprocessing=layout), out)
    found = run(out.read_bytes(), laid_out(pixels(), layout))
    np.testing.assert_allclose(found, logits(exported), atol=1e-4)
    assert written.about["input"].startswith("uint8 1x64x96x3" if layout == "NHWC" else "uint8 1x3x64x96")
    entry = onnx.load(out).graph.input[0].type.tensor_type
    assert entry.elem_type == onnx.TensorProto.UINT8


@pytest.mark.parametrize("size", [SIZE, (90, 130)])
def test_labels_out(exported: Path, size: tuple[int, int], tmp_path: Path) -> None:
    out = tmp_path / "labels.onnx"
    write_variant(exported, Variant(argmax=size), out)
    found = run(out.read_bytes(), network_input(pixels(), HOW, SIZE).numpy())
    expected = labels_of(torch.from_numpy(logits(exported)[0]), size)
    assert (found.dtype, found.shape) == (np.uint8, (1, *size))
    assert (found[0] == expected).mean() > 0.999


def test_half(exported: Path, tmp_path: Path) -> None:
    out = tmp_path / "half.onnx"
    written = write_variant(exported, Variant(half=True), out)
    expected = logits(exported)
    difference = np.abs(logits(out) - expected).max()
    assert 0 < difference < 0.05 * max(1, np.abs(expected).max())
    assert written.max_abs_diff and written.about["precision"] == "float16"
    kinds = {tensor.data_type for tensor in onnx.load(out).graph.initializer if len(tensor.dims) == 4}
    assert kinds == {onnx.TensorProto.FLOAT16}
    assert onnx.load(out).graph.input[0].type.tensor_type.elem_type == onnx.TensorProto.FLOAT
    assert out.stat().st_size < 0.65 * exported.stat().st_size


def test_every_form_at_once_is_scored_as_the_float_file(exported: Path, tmp_path: Path) -> None:
    out = tmp_path / "all.onnx"
    write_variant(exported, Variant(half=True, preprocessing="NHWC", argmax=SIZE), out)
    plain, form = onnx_scored(exported), onnx_scored(out)
    assert form.fixed_size == plain.fixed_size == SIZE
    image = pixels()
    wanted = labels_of(plain.logits(network_input(image, plain.preprocessing, SIZE)), SIZE)
    found = labels_of(form.logits(network_input(image, form.preprocessing, SIZE)), SIZE)
    assert (wanted == found).mean() > 0.95


FORMS = {
    "float": Variant(),
    "half": Variant(half=True),
    "pixels": Variant(preprocessing="NHWC"),
    "labels": Variant(argmax=(176, 240)),
}


def test_scores_on_generated_scenes(tmp_path: Path) -> None:
    size = (176, 240)
    first = export_onnx(load("espnet-c-3.camvid"), tmp_path / "first.onnx", size=size).path
    scores = {}
    for name, form in FORMS.items():
        write_variant(first, form, tmp_path / f"{name}.onnx")
        scored = onnx_scored(tmp_path / f"{name}.onnx")
        scores[name] = evaluate(scored, Scenes("val", size, 2)).scores.miou
    assert all(score == pytest.approx(scores["float"], abs=1.0) for score in scores.values()), scores
    assert scores["float"] > 5


def test_eight_bits_score_on_generated_scenes(tmp_path: Path) -> None:
    pytest.importorskip("nncf")
    from zoo.compress.quantise import calibration, quantise_onnx, quantise_openvino
    from zoo.evaluate.openvino import openvino_scored

    size = (88, 120)
    first = export_onnx(load("espnet-c-3.camvid"), tmp_path / "first.onnx", size=size).path
    street = Scenes("train", size, 4)
    (tmp_path / "street").mkdir()
    for i in range(4):
        Image.fromarray(street.load(i)[0]).save(tmp_path / "street" / f"{i}.png")
    data = calibration(first, tmp_path / "street", 3)
    files = {
        "float": onnx_scored(first),
        "onnx": onnx_scored(quantise_onnx(first, data, tmp_path / "8.onnx", allowed=0.9).path),
        "openvino": openvino_scored(quantise_openvino(first, data, tmp_path / "8.xml", allowed=0.9).path),
    }
    scores = {name: evaluate(scored, Scenes("val", size, 2)).scores.miou for name, scored in files.items()}
    assert all(score == pytest.approx(scores["float"], abs=3.0) for score in scores.values()), scores
    assert scores["float"] > 5


def test_eight_bits(exported: Path, tmp_path: Path) -> None:
    pytest.importorskip("nncf")
    from zoo.compress.quantise import calibration, quantise_onnx, quantise_openvino
    from zoo.evaluate.openvino import openvino_scored

    for i in range(3):
        Image.fromarray(pixels(i)).save(tmp_path / f"{i}.png")
    data = calibration(exported, tmp_path, 2)
    assert [image.name for image in data.images] == ["0.png", "1.png"]
    assert len(data.validation) == 1  # the image that ranges are not taken from
    done = quantise_onnx(exported, data, tmp_path / "int8.onnx", allowed=0.9)
    assert {"QuantizeLinear", "DequantizeLinear"} <= {x.op_type for x in onnx.load(done.path).graph.node}
    assert done.bytes == done.path.stat().st_size < exported.stat().st_size
    own = quantise_openvino(exported, data, tmp_path / "int8.xml", allowed=0.9)
    wanted = onnx_scored(exported)
    for result, scored in ((done, onnx_scored(done.path)), (own, openvino_scored(own.path))):
        x = torch.from_numpy(data.validation[0])
        same = float((scored.logits(x).argmax(0) == wanted.logits(x).argmax(0)).float().mean())
        assert same == pytest.approx(result.agreement, abs=0.02)
        assert scored.preprocessing == wanted.preprocessing
        assert result.loses == (result.agreement < 0.1)
        assert result.document()["float_layers"] == list(result.float_layers)


def test_forms_that_cannot_be(exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.manual_seed(0)
    bare = export_onnx(build(ESPNetSpec(variant="C", alpha3=1), SIZE).eval(), tmp_path / "bare.onnx", size=SIZE).path
    with pytest.raises(ZooError, match="has no weights, so its preprocessing is unknown"):
        write_variant(bare, Variant(preprocessing="NHWC"))
    assert main(["export", "espnet-c-3.camvid", "--half", "--dynamic"]) == 1
    assert "leave out --dynamic" in capsys.readouterr().err
    assert main(["export", "espnet-c-3.camvid", "--int8"]) == 2
    assert "--int8 and --calibrate DIR go together" in capsys.readouterr().err
    assert main(["export", "espnet-c-3.camvid", "--int8", "--half", "--calibrate", str(tmp_path)]) == 2
