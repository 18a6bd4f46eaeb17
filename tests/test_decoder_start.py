"""Decoders that start from a trained one: what fits exactly is found exactly."""

import torch

from benchmarks.accuracy.decoder_start import start_decoder
from zoo.models.espnet import ESPNetSpec
from zoo.network import Network, build

SIZE = (64, 96)


def network(alpha3: int, seed: int, k: int = 5) -> Network:
    """A network in evaluation mode, with BNs that know some images."""
    torch.manual_seed(seed)
    module = build(
        ESPNetSpec(variant="ESPNet", alpha3=alpha3, k=k, widths=(4, 16, 32), classes=4, decoder_width=6), SIZE
    ).train()
    for _ in range(4):
        module(torch.randn(2, 3, *SIZE))
    return module.eval()


@torch.no_grad()
def test_the_same_encoder_gets_the_same_network() -> None:
    """Where the seams can answer exactly what the trained ones do, the whole network computes the same."""
    trained, module = network(2, 0), network(2, 1)
    encoder = {name: tensor for name, tensor in trained.state_dict().items() if name.startswith("encoder.")}
    encoder.pop("encoder.classifier.conv.weight")
    module.load_state_dict(encoder, strict=False)
    images = [torch.randn(1, 3, *SIZE) for _ in range(6)]
    copied = start_decoder(module, trained, images, images, ridge=1e-9)
    assert "up_l3.0.weight" in copied and not any(name.startswith("encoder.") for name in copied)
    image = torch.randn(1, 3, *SIZE)
    torch.testing.assert_close(module(image), trained(image), rtol=1e-2, atol=1e-2)


@torch.no_grad()
def test_another_encoder_comes_nearer() -> None:
    trained, module = network(2, 0), network(1, 1, k=4)
    images = [torch.randn(1, 3, *SIZE) for _ in range(6)]

    def distance() -> float:
        return sum(float((module(image) - trained(image)).square().mean()) for image in images)

    before = distance()
    start_decoder(module, trained, images, images)
    assert distance() < 0.7 * before
