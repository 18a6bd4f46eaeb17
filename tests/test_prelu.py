"""The fast PReLU against torch's."""

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from zoo import spec  # noqa: E402
from zoo.network import build  # noqa: E402
from zoo.train.prelu import FastPReLU, speed_up_prelus_  # noqa: E402

LAYOUTS = [torch.contiguous_format, torch.channels_last]


def gradients(module: nn.Module, x: torch.Tensor, towards: torch.Tensor) -> list[torch.Tensor]:
    x = x.clone().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16, enabled=x.dtype == torch.bfloat16):
        y = module(x)
    module.zero_grad()
    y.backward(towards)
    return [y.detach(), x.grad, *(p.grad for p in module.parameters())]


@pytest.mark.parametrize("layout", LAYOUTS, ids=["NCHW", "NHWC"])
@pytest.mark.parametrize(
    ("dtype", "error"), [(torch.float32, 1e-6), (torch.bfloat16, 1e-2)], ids=["float32", "bfloat16"]
)
def test_values_and_gradients_are_those_of_torch(layout: torch.memory_format, dtype: torch.dtype, error: float) -> None:
    torch.manual_seed(0)
    x, towards = (torch.randn(2, 19, 12, 20).to(dtype).contiguous(memory_format=layout) for _ in range(2))
    x[:, :, :3] = 0  # where the slope decides, too
    slow, fast = nn.PReLU(19), FastPReLU(19)
    with torch.no_grad():
        slow.weight.uniform_(-0.5, 1.5)
        fast.weight.copy_(slow.weight)
    for ours, torchs in zip(gradients(fast, x, towards), gradients(slow, x, towards), strict=True):
        assert ours.dtype == torchs.dtype and ours.stride() == torchs.stride()
        torch.testing.assert_close(ours, torchs, rtol=error, atol=error * float(torchs.abs().max()))


def test_gradients_are_those_of_finite_differences() -> None:
    torch.manual_seed(0)
    fast = FastPReLU(3).double()
    x = torch.randn(2, 3, 2, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda x, w: torch.func.functional_call(fast, {"weight": w}, (x,)), (x, fast.weight)
    )


def test_a_network_keeps_its_parameters_and_answers() -> None:
    torch.manual_seed(0)
    network = build(spec("espnet-8"), (64, 64)).eval()
    x = torch.randn(1, 3, 64, 64)
    before, parameters = network(x), dict(network.named_parameters())
    prelus = sum(type(module) is nn.PReLU for module in network.modules())
    assert speed_up_prelus_(network) == prelus > 0
    assert speed_up_prelus_(network) == 0
    assert list(dict(network.named_parameters())) == list(parameters)
    assert all(p is parameters[name] for name, p in network.named_parameters())
    assert torch.equal(network(x), before)
