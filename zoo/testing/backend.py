"""The contract of a backend: the logits of eager torch, for each size and batch."""

from collections.abc import Callable
from typing import ClassVar

import torch
from torch import Tensor

from zoo.models.espnet import ESPNetSpec
from zoo.network import Network, build
from zoo.registry import lower
from zoo.specs import Spec


class BackendContract:
    """What holds for every backend. `make` prepares a network, which is in evaluation mode, for images of any size.

    >>> class TestEager(BackendContract):
    ...     def make(self, network):
    ...         return network
    >>> TestEager().test_a_batch_is_its_images()  # pytest runs all of them
    """

    specs: ClassVar[tuple[Spec, ...]] = (
        ESPNetSpec(variant="C", alpha2=1, alpha3=1, classes=5),
        ESPNetSpec(variant="ESPNet", alpha2=1, alpha3=1, classes=5),
    )
    sizes: ClassVar[tuple[tuple[int, int], ...]] = ((64, 96), (128, 64))

    def make(self, network: Network) -> Callable[[Tensor], Tensor]:
        """A function from images (N, 3, H, W) to logits (N, classes, h, w), both float32."""
        raise NotImplementedError

    def network(self, spec: Spec) -> Network:
        """An untrained network, the same each time."""
        torch.manual_seed(0)
        return build(spec, self.sizes[0]).eval()

    def images(self, size: tuple[int, int], batch: int = 1) -> Tensor:
        """Random images, the same each time."""
        return torch.randn(batch, 3, *size, generator=torch.Generator().manual_seed(1))

    @torch.inference_mode()
    def test_logits_are_those_of_eager_torch(self) -> None:
        for spec in self.specs:
            network = self.network(spec)
            run = self.make(network)
            for size in self.sizes:
                expected, logits = network(self.images(size)), run(self.images(size)).clone()
                shape = lower(spec, size).output_shapes[0]
                assert tuple(logits.shape) == (1, shape.channels, shape.height, shape.width)
                torch.testing.assert_close(logits, expected, rtol=1e-3, atol=1e-4 * float(expected.abs().max()))

    @torch.inference_mode()
    def test_a_batch_is_its_images(self) -> None:
        run, images = self.make(self.network(self.specs[0])), self.images(self.sizes[0], batch=3)
        together = run(images).clone()
        for i in range(3):
            single = run(images[i : i + 1])
            torch.testing.assert_close(together[i], single[0], rtol=1e-4, atol=1e-4 * float(together.abs().max()))

    @torch.inference_mode()
    def test_images_are_left_as_they_are(self) -> None:
        images = self.images(self.sizes[0])
        before = images.clone()
        self.make(self.network(self.specs[0]))(images)
        torch.testing.assert_close(images, before, rtol=0, atol=0)
