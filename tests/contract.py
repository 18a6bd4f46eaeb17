"""The contract of every family: a test class to inherit, and small specs of each family to hold it to."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Literal

import pytest
import torch

from zoo.counters import count_with
from zoo.errors import SpecError
from zoo.graph import Graph, Input
from zoo.models.alexnet import AlexNetSpec
from zoo.models.cfpnet import CFPNetSpec
from zoo.models.cgnet import CGNetSpec
from zoo.models.dabnet import DABNetSpec
from zoo.models.ddrnet import DDRNetSpec
from zoo.models.deeplab import DeepLabSpec
from zoo.models.densenet import DenseNetSpec
from zoo.models.edanet import EDANetSpec
from zoo.models.enet import ENetSpec
from zoo.models.erfnet import ERFNetSpec
from zoo.models.espnet import ESPNetSpec
from zoo.models.espnetv2 import ESPNetv2Spec
from zoo.models.espnetv2_classifier import ESPNetv2ClassifierSpec
from zoo.models.espnetv2_ssd import ESPNetv2SSDSpec
from zoo.models.fast_scnn import FastSCNNSpec
from zoo.models.fcn import FCNSpec
from zoo.models.fddwnet import FDDWNetSpec
from zoo.models.fpenet import FPENetSpec
from zoo.models.googlenet import GoogLeNetSpec
from zoo.models.lednet import LEDNetSpec
from zoo.models.mixnet import MixNetSpec
from zoo.models.mobilenetv2 import MobileNetV2Spec
from zoo.models.mobilenetv3 import MobileNetV3Spec
from zoo.models.pidnet import PIDNetSpec
from zoo.models.pspnet import PSPNetSpec
from zoo.models.resnet import ResNetSpec
from zoo.models.segnet import SegNetSpec
from zoo.models.shufflenetv2 import ShuffleNetV2Spec
from zoo.models.sqnet import SQNetSpec
from zoo.models.squeezenet import SqueezeNetSpec
from zoo.models.vgg import VGGSpec
from zoo.models.yolox import YOLOXSpec
from zoo.network import Network, build
from zoo.registry import family, lower
from zoo.specs import Spec, field_types

Block = Literal["mobilenet", "shufflenet", "inception", "resnext", "resnet", "asp"]

NARROW = (4, 6, 8, 10, 12)
"""Widths of a VGG that a test can afford."""

BLOCKS: tuple[tuple[Block, int], ...] = (
    ("mobilenet", 5),
    ("shufflenet", 4),
    ("inception", 4),
    ("resnext", 4),
    ("resnet", 5),
    ("asp", 4),
)
"""What can stand in the ESP unit's place, with a k that it takes."""

EXAMPLES: Mapping[str, tuple[Spec, ...]] = {
    "espnet": (
        ESPNetSpec(variant="A", image_path="none", alpha3=0, widths=(6, 9, 14), k=3),
        ESPNetSpec(variant="B", image_path="none", alpha3=1, widths=(6, 9, 14), activation="relu"),
        ESPNetSpec(variant="C", alpha3=1, image_path="fusion", hff=False, pyramid="standard", reduce="3x3"),
        ESPNetSpec(variant="ESPNet", alpha2=1, alpha3=1, classes=5, decoder_sees_image=True, downsample="conv"),
        *(
            ESPNetSpec(block=block, k=k, alpha2=1, alpha3=1, widths=(4, 16, 32), classes=3, downsample="conv")
            for block, k in BLOCKS
        ),
    ),
    "espnetv2": (
        ESPNetv2Spec(scale=0.5, classes=6, depth3=0, depth4=1),
        ESPNetv2Spec(widths=(16, 32, 64, 96), depth3=1, depth4=1),
    ),
    "espnetv2-classifier": (ESPNetv2ClassifierSpec(scale=0.5, classes=5, depth4=1, depth5=1),),
    "espnetv2-ssd": (ESPNetv2SSDSpec(scale=0.5, classes=3, depth3=1, depth4=1, depth5=1),),
    "enet": (ENetSpec(depth=1, sections=1, classes=3), ENetSpec(widths=(8, 12, 16), depth=0, sections=0)),
    "erfnet": (ERFNetSpec(depth=1, rounds=1, classes=3), ERFNetSpec(widths=(5, 8, 12), depth=0, rounds=0)),
    "segnet": (SegNetSpec(widths=NARROW, classes=3),),
    "sqnet": (SQNetSpec(widths=(6, 8, 16, 24), classes=3),),
    "fcn": tuple(FCNSpec(stride=stride, widths=NARROW, hidden=12, classes=3) for stride in (8, 16, 32)),
    "deeplab": (DeepLabSpec(depth=50, width=4, dilations=(1, 2, 3, 4), classes=3),),
    "pspnet": (PSPNetSpec(depth=50, width=4, classes=3), PSPNetSpec(depth=50, width=4, auxiliary=True)),
    "vgg": (VGGSpec(widths=NARROW, hidden=12, classes=3), VGGSpec(depth=11, bn=True, widths=NARROW, hidden=12)),
    "resnet": (ResNetSpec(depth=18, width=4, classes=3), ResNetSpec(depth=50, width=4, stride_in="1x1")),
    "fpenet": (
        FPENetSpec(widths=(8, 8, 16), depth2=2, depth3=1, expansion=2, classes=3),
        FPENetSpec(widths=(4, 8, 8), depth2=1, depth3=3, scales=2, growth=3, expansion=1),
    ),
    "cgnet": (
        CGNetSpec(widths=(5, 32, 66), depth2=2, depth3=3, classes=3),
        CGNetSpec(widths=(4, 34, 64), depth2=3, depth3=2, dilations=(1, 3)),
    ),
    "cfpnet": (
        CFPNetSpec(widths=(4, 16, 16), depth2=1, depth3=1, classes=3),
        CFPNetSpec(widths=(4, 16, 48), branches=2, depth2=2, depth3=1, dilation=3),
    ),
    "dabnet": (
        DABNetSpec(widths=(4, 8, 10), depth2=1, depth3=1, classes=3),
        DABNetSpec(widths=(4, 8, 24), depth2=2, depth3=1, dilations=(1, 2, 3)),
    ),
    "edanet": (EDANetSpec(widths=(5, 8, 12), growth=3, classes=3), EDANetSpec(widths=(5, 8, 40), growth=4)),
    "fddwnet": (
        FDDWNetSpec(widths=(5, 8, 12), depth=1, rounds=1, classes=3),
        FDDWNetSpec(widths=(4, 6, 8), depth=0, rounds=0),
    ),
    "fast-scnn": (
        FastSCNNSpec(widths=(4, 6, 8), bottlenecks=(8, 12, 16), depth=2, expansion=2, head=8, classes=3),
        FastSCNNSpec(widths=(3, 5, 8), bottlenecks=(8, 8, 8), depth=1, head=12),
    ),
    "lednet": (
        LEDNetSpec(widths=(6, 8, 12), depth1=1, depth2=1, classes=3),
        LEDNetSpec(widths=(4, 8, 10), depth1=0, depth2=0),
    ),
    "ddrnet": (DDRNetSpec(width=4, pyramid=6, head=5, classes=3),),
    "pidnet": (
        PIDNetSpec(width=4, depth=1, deep=2, pyramid=6, head=5, classes=3),
        PIDNetSpec(width=6, depth=2, deep=1, pyramid=4, head=4),
    ),
    "alexnet": (AlexNetSpec(widths=NARROW, hidden=12, classes=3),),
    "densenet": (DenseNetSpec(width=6, growth=4, units=(1, 2, 2, 1), classes=3),),
    "googlenet": (GoogLeNetSpec(classes=3),),
    "mixnet": (MixNetSpec(classes=3),),
    "mobilenetv2": (MobileNetV2Spec(scale=0.25), MobileNetV2Spec(stages="mnasnet", scale=0.5, classes=3)),
    "mobilenetv3": (MobileNetV3Spec(classes=3),),
    "shufflenetv2": (ShuffleNetV2Spec(scale="0.5", classes=3),),
    "squeezenet": (SqueezeNetSpec(classes=3), SqueezeNetSpec(version="1.0", classes=30)),
    "yolox": (YOLOXSpec(classes=3),),
}
"""Small specs of each family that between them use all its parts."""


def label(spec: Spec) -> str:
    """The family and the fields that differ from its defaults."""
    default = type(spec)()
    changed = {name: getattr(spec, name) for name in field_types(type(spec))}
    return spec.family + "".join(f",{k}={v}" for k, v in changed.items() if v != getattr(default, k))


def outputs(out: torch.Tensor | tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
    """A module's outputs, several or not."""
    return (out,) if isinstance(out, torch.Tensor) else out


def shapes(graph: Graph, batch: int) -> list[tuple[int, int, int, int]]:
    """Shapes of a graph's outputs as torch has them."""
    return [(batch, x.channels, x.height, x.width) for x in graph.output_shapes]


class FamilyContract:
    """What holds for every family. A new family inherits it and names its `examples`.

    `size` = (height, width) must suit the examples. `odd_sizes` are tried too: each works or is refused.
    """

    examples: ClassVar[tuple[Spec, ...]]
    size: ClassVar[tuple[int, int]] = (64, 96)
    odd_sizes: ClassVar[tuple[tuple[int, int], ...]] = ((65, 96), (64, 99), (73, 85), (31, 50), (9, 7), (1, 1))

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Run each test once for each example."""
        if "spec" in metafunc.fixturenames:
            metafunc.parametrize("spec", type(self).examples, ids=label)

    def module(self, spec: Spec, device: str = "cpu") -> Network:
        """The module at `size`, initialised alike every time."""
        torch.manual_seed(0)
        with torch.device(device):
            return build(spec, self.size)

    @torch.no_grad()
    def settled(self, spec: Spec) -> Network:
        """The module in evaluation mode; its BNs know the images, so that outputs are of order 1."""
        module = self.module(spec).train()
        for part in module.modules():
            if isinstance(part, torch.nn.BatchNorm2d):
                part.momentum = None  # the mean over all passes instead of a moving one
        module(self.images())
        return module.eval()

    def images(self, batch: int = 2) -> torch.Tensor:
        """Random images of `size`."""
        return torch.randn(batch, 3, *self.size, generator=torch.Generator().manual_seed(1))

    def test_parameters_are_the_graphs(self, spec: Spec) -> None:
        graph, module = lower(spec, self.size), self.module(spec, "meta")
        counted = {layer.name: 0 for layer in graph.layers if layer.params}
        for name, parameter in module.named_parameters():
            counted[name.rpartition(".")[0]] += parameter.numel()
        assert counted == {layer.name: layer.params for layer in graph.layers if layer.params}

    def test_parameters_do_not_depend_on_the_size(self, spec: Spec) -> None:
        height, width = self.size
        assert lower(spec, (2 * height, 2 * width)).params == lower(spec, self.size).params

    def test_every_parameter_gets_a_gradient(self, spec: Spec) -> None:
        module = self.module(spec).train()
        results = outputs(module(self.images()))
        assert [tuple(x.shape) for x in results] == shapes(lower(spec, self.size), 2)
        torch.stack([x.square().mean() for x in results]).sum().backward()
        assert all(x.isfinite().all() for x in results)
        for name, parameter in module.named_parameters():
            assert parameter.grad is not None and parameter.grad.isfinite().all(), name
            assert parameter.grad.any(), f"no output depends on {name}"

    @torch.no_grad()
    def test_images_of_a_batch_do_not_see_each_other(self, spec: Spec) -> None:
        module, images = self.settled(spec), self.images()
        together = outputs(module(images))
        for i, image in enumerate(images):
            for alone, x in zip(outputs(module(image[None])), together, strict=True):
                torch.testing.assert_close(alone[0], x[i], rtol=1e-4, atol=1e-4 * float(x.abs().max()))

    def test_macs_are_fvcores(self, spec: Spec) -> None:
        pytest.importorskip("fvcore", reason="needs the extra `counters`")
        assert count_with("fvcore", spec, self.size).macs == lower(spec, self.size).macs

    @torch.no_grad()
    @torch.no_grad()
    def test_onnx_file_computes_the_same(self, spec: Spec, tmp_path: Path) -> None:
        runtime = pytest.importorskip("onnxruntime", reason="needs the extra `onnx`")
        from zoo.export import export_onnx

        module = self.settled(spec)
        written = export_onnx(module, tmp_path / "network.onnx", size=self.size, opset=13)
        session = runtime.InferenceSession(str(written.path), providers=["CPUExecutionProvider"])
        for image in self.images().split(1):
            found = session.run(None, {session.get_inputs()[0].name: image.numpy()})
            for ours, theirs in zip(found, outputs(module(image)), strict=True):
                assert theirs.abs().max() > 1e-3, "an output that is nearly zero compares nothing"
                # Normalising two values, as PSPNet's coarsest bin does here, magnifies rounding.
                atol = 1e-3 * float(theirs.abs().max())
                torch.testing.assert_close(torch.from_numpy(ours), theirs, rtol=1e-3, atol=atol)

    def test_onnx_file_can_leave_sizes_free(self, tmp_path: Path) -> None:
        pytest.importorskip("onnxruntime", reason="needs the extra `onnx`")
        from zoo.export import export_onnx

        # The export compares with torch at this size and at another.
        module = self.settled(self.examples[0])
        assert export_onnx(module, tmp_path / "network.onnx", size=self.size, dynamic=True).opset == 13

    def test_odd_sizes_work_or_are_refused_while_lowering(self, spec: Spec) -> None:
        module = self.module(spec, "meta").eval()
        for size in self.odd_sizes:
            try:
                graph = lower(spec, size)
            except SpecError as refusal:
                names = {layer.name for layer in module.graph.layers if not isinstance(layer.op, Input)}
                assert names & set(re.findall(r"[\w.]*\w", str(refusal))), f"{refusal} names no layer"
                continue
            results = outputs(module(torch.zeros(2, 3, *size, device="meta")))
            assert [tuple(x.shape) for x in results] == shapes(graph, 2), size

    def test_refused_size_comes_with_a_way_out(self, spec: Spec) -> None:
        for size in self.odd_sizes:
            wrong = family(spec.family).check_size(spec, *size)
            if wrong is None:
                continue
            way_out = re.search(r"use (\d+)x(\d+)$", wrong)
            assert way_out, wrong
            assert lower(spec, (int(way_out[2]), int(way_out[1]))).params == lower(spec, self.size).params
