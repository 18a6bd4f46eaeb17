"""ONNX files: the opset on disk, agreement with torch, what they say of themselves, and what is refused."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray

from pretrained import find
from pretrained.download import obtain
from zoo import export
from zoo.cli import main
from zoo.errors import SpecError, ZooError
from zoo.export import OPSETS, export_onnx
from zoo.graph import AdaptiveAvgPool, ChannelShuffle, Crop, Graph, GraphBuilder, MaxUnpool, Shape
from zoo.inference.preprocess import Preprocessing
from zoo.models.espnet import ESPNetSpec
from zoo.models.espnetv2 import ESPNetv2Spec
from zoo.network import Network, build, module_from_graph
from zoo.registry import spec_from_dict
from zoo.specs import Spec

SIZE = (64, 96)

VARIANTS = [
    ESPNetSpec(variant="A", image_path="none", alpha3=1),
    ESPNetSpec(variant="B", image_path="none", alpha3=1),
    ESPNetSpec(variant="C", alpha3=1),
    ESPNetSpec(variant="ESPNet", alpha3=1),
]


def network(spec: Spec) -> Network:
    torch.manual_seed(0)
    return build(spec, SIZE).eval()


def run(path: Path, image: NDArray[np.float32]) -> NDArray[np.float32]:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (out,) = session.run(None, {"image": image})
    return out


def image(batch: int, height: int, width: int) -> NDArray[np.float32]:
    return np.random.default_rng(1).standard_normal((batch, 3, height, width), dtype=np.float32)


def written_opset(path: Path) -> int:
    (entry,) = onnx.load(path).opset_import
    assert entry.domain == ""
    return int(entry.version)


@pytest.mark.parametrize("spec", VARIANTS, ids=lambda s: s.variant)
@torch.no_grad()
def test_file_gives_torchs_logits(spec: ESPNetSpec, tmp_path: Path) -> None:
    module = network(spec)
    exported = export_onnx(module, tmp_path / "a.onnx", size=SIZE, opset=13)
    onnx.checker.check_model(onnx.load(exported.path), full_check=True)
    assert (exported.opset, written_opset(exported.path)) == (13, 13)
    x = image(1, *SIZE)
    np.testing.assert_allclose(run(exported.path, x), module(torch.from_numpy(x)).numpy(), atol=1e-4)
    assert 0 <= exported.max_abs_diff < 1e-4


@pytest.mark.parametrize("opset", OPSETS)
def test_opset_on_disk_is_the_one_asked_for(opset: int, tmp_path: Path) -> None:
    exported = export_onnx(network(VARIANTS[0]), tmp_path / "a.onnx", size=SIZE, opset=opset)
    assert exported.opset == written_opset(exported.path) == opset


@pytest.mark.parametrize("opset", [-1, 0, 9, 21, 99])
def test_impossible_opset_is_one_sentence(opset: int, tmp_path: Path) -> None:
    with pytest.raises(ZooError, match=rf"^opset {opset} cannot be written; choose one from 11 to 20, such as 13$"):
        export_onnx(network(VARIANTS[0]), tmp_path / "a.onnx", size=SIZE, opset=opset)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("spec", [VARIANTS[3], ESPNetv2Spec(scale=0.5, depth3=0, depth4=1)], ids=lambda s: s.family)
@torch.no_grad()
def test_dynamic_file_takes_any_size(spec: Spec, tmp_path: Path) -> None:
    module = network(spec)
    exported = export_onnx(module, tmp_path / "a.onnx", size=SIZE, dynamic=True)
    for shape in ((1, *SIZE), (3, 128, 64), (2, 160, 320)):
        x = image(*shape)
        np.testing.assert_allclose(run(exported.path, x), module(torch.from_numpy(x)).numpy(), atol=1e-4)


def test_static_file_takes_one_size(tmp_path: Path) -> None:
    exported = export_onnx(network(VARIANTS[2]), tmp_path / "a.onnx", size=SIZE)
    dims = onnx.load(exported.path).graph.input[0].type.tensor_type.shape.dim
    assert [d.dim_value for d in dims] == [1, 3, *SIZE]


def resizing() -> Graph:
    """A graph whose sizes are computed from the input's."""
    g = GraphBuilder()
    x = g.conv(g.input("image", Shape(3, 30, 44)), "conv", 6, kernel=3)
    pooled = g.max_pool(x, "pool", kernel=2, stride=2)
    back = g.append(MaxUnpool((2, 2), (2, 2)), (pooled, pooled, x), "unpool")
    small = g.append(AdaptiveAvgPool(scale=0.1, minimum=5), (back,), "small")
    up = g.resize(g.append(ChannelShuffle(3), (small,), "shuffle"), "up", like=x, align_corners=True)
    fitted = g.append(AdaptiveAvgPool(), (g.append(Crop(1, 2), (up, pooled), "crop"), small), "fitted")
    return g.graph(fitted, back)


@pytest.mark.parametrize("opset", [11, 13, 17])
@torch.no_grad()
def test_every_op_that_depends_on_sizes(opset: int, tmp_path: Path) -> None:
    module = module_from_graph(resizing()).eval()
    exported = export_onnx(module, tmp_path / "a.onnx", size=(30, 44), opset=opset)
    x = image(1, 30, 44)
    found = onnxruntime.InferenceSession(str(exported.path)).run(None, {"image": x})
    for ours, theirs in zip(found, module(torch.from_numpy(x)), strict=True):
        np.testing.assert_allclose(ours, theirs.numpy(), atol=1e-5)
    # Fixed sizes are constants in the file, which small runtimes need.
    assert not {"Range", "Gather", "Ceil"} & {node.op_type for node in onnx.load(exported.path).graph.node}


def test_graph_without_a_spec_has_one_size(tmp_path: Path) -> None:
    with pytest.raises(ZooError, match="exported at its graph's size, 44x30"):
        export_onnx(module_from_graph(resizing()), tmp_path / "a.onnx", size=(32, 44))


def test_file_carries_its_papers(tmp_path: Path) -> None:
    module: Any = network(VARIANTS[3])
    module.preprocessing = Preprocessing(channels="BGR", maximum=255, size=SIZE)
    module.labels = "cityscapes"
    exported = export_onnx(module, tmp_path / "a.onnx", metadata={"run": "7"})
    said = {entry.key: entry.value for entry in onnx.load(exported.path).metadata_props}
    assert spec_from_dict(json.loads(said["spec"])) == module.spec
    assert Preprocessing.from_dict(json.loads(said["preprocessing"])) == module.preprocessing
    assert json.loads(said["classes"])[0] == "road"
    assert (said["size"], said["weights"], said["run"]) == ("96x64", "none: untrained", "7")
    assert "weights_sha256" not in said


def test_size_must_be_known_and_fit(tmp_path: Path) -> None:
    with pytest.raises(ZooError, match="--size WxH"):
        export_onnx(network(VARIANTS[2]), tmp_path / "a.onnx")
    with pytest.raises(SpecError, match="multiples of 8"):
        export_onnx(network(VARIANTS[3]), tmp_path / "a.onnx", size=(60, 96))


def test_file_that_differs_from_torch_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = tmp_path / "a.onnx"
    before.write_bytes(b"what was there")
    honest = export._run
    monkeypatch.setattr(export, "_run", lambda data, x: [out + 0.5 for out in honest(data, x)])
    with pytest.raises(ZooError, match=r"differs from torch by 0\.5"):
        export_onnx(network(VARIANTS[2]), before, size=SIZE)
    assert [path.name for path in tmp_path.iterdir()] == ["a.onnx"]
    assert before.read_bytes() == b"what was there"


def test_folder_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ZooError, match="file"):
        export_onnx(network(VARIANTS[2]), tmp_path / "file" / "a.onnx", size=SIZE)


def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.onnx"
    assert main(["export", "espnet-c-3", "--set", "k=4", "--size", "96x64", "--json", "-o", str(path)]) == 0
    out, err = capsys.readouterr()
    document = json.loads(out)
    assert (document["path"], document["opset"], document["weights"]) == (str(path), written_opset(path), None)
    assert 0 <= document["max_abs_diff"] < 1e-4
    assert "random" in err


def test_command_refuses_weights_for_a_changed_network(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", "espnet-c-3.cityscapes", "--set", "k=4", "--size", "96x64"]) == 1
    assert "--set makes espnet-c-3 another network" in capsys.readouterr().err


def test_command_exports_released_weights(shared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    entry = find("espnet-3.cityscapes")
    obtain(entry, from_file=shared / "weights" / entry.file)
    path = tmp_path / "a.onnx"
    command = ["export", "espnet-3.cityscapes", "--size", "128x64", "--opset", "13", "--dynamic", "--json"]
    assert main([*command, "-o", str(path)]) == 0
    assert json.loads(capsys.readouterr().out)["weights"] == "espnet-3.cityscapes"
    said = {entry.key: entry.value for entry in onnx.load(path).metadata_props}
    assert said["weights_sha256"] == "8f3eb198fb15e5da7fa8d258d5f0fc4a4213e1124f415f6fc54d2772d585a7fc"
    assert said["labels"] == "cityscapes"
