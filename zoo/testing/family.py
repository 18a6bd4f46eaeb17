"""The contract of a family of networks: counts, module and exported file agree, whatever the spec and size."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import torch

from zoo.counters import count_with
from zoo.errors import SpecError
from zoo.graph import Graph, Input
from zoo.network import Network, build
from zoo.registry import family, lower
from zoo.specs import Spec, field_types

if TYPE_CHECKING:
    import pytest


LARGE = 10e6
"""Parameters from which a module has shapes alone."""


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
    """What holds for every family of networks.

    examples: small specs that between them use all parts of the family. size: (height, width) that suits them.
    odd_sizes: tried as well; each works or is refused with a size that works.

    >>> from zoo.models.espnet import ESPNetSpec
    >>> class TestMine(FamilyContract):
    ...     examples = (ESPNetSpec(variant="C", alpha2=1, alpha3=1, classes=5),)
    >>> TestMine().test_images_of_a_batch_do_not_see_each_other(TestMine.examples[0])  # pytest runs all of them
    """

    examples: ClassVar[tuple[Spec, ...]]
    size: ClassVar[tuple[int, int]] = (64, 96)
    odd_sizes: ClassVar[tuple[tuple[int, int], ...]] = ((65, 96), (64, 99), (73, 85), (31, 50), (9, 7), (1, 1))

    def pytest_generate_tests(self, metafunc: "pytest.Metafunc") -> None:
        """Run each test once for each example."""
        if "spec" in metafunc.fixturenames:
            metafunc.parametrize("spec", type(self).examples, ids=label)

    def module(self, spec: Spec, device: str = "cpu") -> Network:
        """The module at `size`, initialised alike every time."""
        torch.manual_seed(0)
        with torch.device(device):
            return build(spec, self.size)

    def shaped(self, spec: Spec) -> Network:
        """The module where numbers don't matter: on `meta` where it is large, so that it costs nothing.

        Small ones are several times as fast with numbers.
        """
        return self.module(spec, "meta" if lower(spec, self.size).params >= LARGE else "cpu")

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
        graph, module = lower(spec, self.size), self.shaped(spec)
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
        torch.autograd.backward(torch.stack([x.square().mean() for x in results]).sum())
        assert all(x.isfinite().all() for x in results)
        for name, parameter in module.named_parameters():
            assert parameter.grad is not None and parameter.grad.isfinite().all(), name
            assert parameter.grad.any(), f"no output depends on {name}"

    @torch.no_grad()
    def test_images_of_a_batch_do_not_see_each_other(self, spec: Spec) -> None:
        module, images = self.settled(spec), self.images()
        together = outputs(module(images))
        for i, image in enumerate(images):
            for single, x in zip(outputs(module(image[None])), together, strict=True):
                torch.testing.assert_close(single[0], x[i], rtol=1e-4, atol=1e-4 * float(x.abs().max()))

    def test_macs_are_fvcores(self, spec: Spec) -> None:
        import pytest

        pytest.importorskip("fvcore", reason="needs the extra `counters`")
        assert count_with("fvcore", spec, self.size).macs == lower(spec, self.size).macs

    @torch.no_grad()
    def test_onnx_file_computes_the_same(self, spec: Spec, tmp_path: Path) -> None:
        import pytest

        runtime = pytest.importorskip("onnxruntime", reason="needs the extra `onnx`")
        from zoo.export import export_onnx

        module = self.settled(spec)
        exported = export_onnx(module, tmp_path / "network.onnx", size=self.size, opset=13)
        session = runtime.InferenceSession(str(exported.path), providers=["CPUExecutionProvider"])
        for image in torch.split(self.images(), 1):
            file_outputs = session.run(None, {session.get_inputs()[0].name: image.numpy()})
            for file_output, torch_output in zip(file_outputs, outputs(module(image)), strict=True):
                assert torch_output.abs().max() > 1e-3, "an output that is nearly zero compares nothing"
                # Normalising two values, as PSPNet's coarsest bin does here, magnifies rounding.
                atol = 1e-3 * float(torch_output.abs().max())
                torch.testing.assert_close(torch.from_numpy(file_output), torch_output, rtol=1e-3, atol=atol)

    def test_onnx_file_can_leave_sizes_free(self, tmp_path: Path) -> None:
        import pytest

        pytest.importorskip("onnxruntime", reason="needs the extra `onnx`")
        from zoo.export import export_onnx

        # The export compares with torch at this size and at another.
        module = self.settled(self.examples[0])
        assert export_onnx(module, tmp_path / "network.onnx", size=self.size, dynamic=True).opset == 13

    @torch.no_grad()
    def test_odd_sizes_work_or_are_refused_while_lowering(self, spec: Spec) -> None:
        module = self.shaped(spec).eval()
        device = next(module.parameters()).device
        for size in self.odd_sizes:
            try:
                graph = lower(spec, size)
            except SpecError as refusal:
                names = {layer.name for layer in module.graph.layers if not isinstance(layer.op, Input)}
                assert names & set(re.findall(r"[\w.]*\w", str(refusal))), f"{refusal} names no layer"
                continue
            results = outputs(module(torch.zeros(2, 3, *size, device=device)))
            assert [tuple(x.shape) for x in results] == shapes(graph, 2), size

    def test_refused_size_comes_with_a_way_out(self, spec: Spec) -> None:
        for size in self.odd_sizes:
            wrong = family(spec.family).check_size(spec, *size)
            if wrong is None:
                continue
            way_out = re.search(r"use (\d+)x(\d+)$", wrong)
            assert way_out, wrong
            assert lower(spec, (int(way_out[2]), int(way_out[1]))).params == lower(spec, self.size).params
