"""docs/deploy.md: its preprocessing, its command and its limits are those of the code."""

import re
import shlex
from pathlib import Path, PurePath
from typing import Any

import numpy as np
import pytest

from pretrained.manifest import manifest
from zoo.cli import parser
from zoo.deploy import FLAGS, trtexec_command
from zoo.errors import ZooError
from zoo.inference.preprocess import network_input

PAGE = (Path(__file__).resolve().parents[1] / "docs" / "deploy.md").read_text(encoding="utf-8")


def test_two_lines_of_numpy_prepare_an_image_as_the_zoo_does() -> None:
    pytest.importorskip("torch", reason="needs the extra `torch`")
    (block,) = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    assert len(block.splitlines()) == 2
    image = np.random.default_rng(0).integers(0, 256, (512, 1024, 3), dtype=np.uint8)
    scope: dict[str, Any] = {"np": np, "image": image}
    exec(block, scope)
    weights = next(entry for entry in manifest().weights if (entry.model, entry.tag) == ("espnet-8", "cityscapes"))
    wanted = network_input(image, weights.preprocessing).numpy()
    assert scope["x"].shape == wanted.shape and scope["x"].dtype == np.float32
    np.testing.assert_allclose(scope["x"], wanted, rtol=1e-5, atol=1e-6)


def test_the_pages_commands_are_commands() -> None:
    commands = [line for block in re.findall(r"^```sh\n(.*?)^```$", PAGE, re.M | re.S) for line in block.splitlines()]
    ours = [shlex.split(line)[1:] for line in commands if line.startswith("zoo ")]
    assert [words[0] for words in ours] == ["check", "export", "device"]
    for words in ours:
        parser().parse_args(words)
    assert trtexec_command(PurePath("espnet.onnx")) in commands


@pytest.mark.parametrize("precision", FLAGS)
def test_file_names_are_quoted_for_a_shell(precision: str) -> None:
    words = shlex.split(trtexec_command(PurePath("my networks/a;b.onnx"), precision, (512, 1024)))
    assert words[:3] == ["trtexec", "--onnx=my networks/a;b.onnx", "--saveEngine=my networks/a;b.engine"]
    assert "--optShapes=image:1x3x512x1024" in words


def test_an_unknown_precision_is_refused() -> None:
    with pytest.raises(ZooError, match="precision 'fp61' is unknown; did you mean 'fp16'"):
        trtexec_command(PurePath("a.onnx"), "fp61")
