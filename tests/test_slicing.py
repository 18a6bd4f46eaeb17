"""Starts sliced out of wider and deeper networks."""

import pytest

torch = pytest.importorskip("torch")

from zoo import build, spec  # noqa: E402
from zoo.errors import ZooError  # noqa: E402
from zoo.registry import with_changes  # noqa: E402
from zoo.train.slicing import settle_statistics_, sliced  # noqa: E402

SIZE = (64, 96)
WIDE = spec("espnet", widths=(16, 48, 96), alpha3=4, classes=11, decoder_width=16)
NARROW = [
    {"widths": (8, 32, 64)},
    {"alpha3": 2, "alpha2": 1},
    {"widths": (8, 48, 64), "alpha3": 3},
]


def loaded(of: object, state: dict[str, torch.Tensor]) -> torch.nn.Module:
    module = build(of)
    module.load_state_dict(dict(state))
    return module.eval()


def wide_state() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    module = build(WIDE).train()
    for _ in range(2):  # statistics other than 0 and 1
        module(torch.randn(2, 3, *SIZE))
    return module.state_dict()


def test_an_equal_spec_is_the_whole_network() -> None:
    state = wide_state()
    cut = sliced(WIDE, WIDE, state)
    assert cut.layers == cut.layers_before and cut.channels == cut.channels_before
    x = torch.randn(1, 3, *SIZE)
    assert torch.equal(loaded(WIDE, cut.state)(x), loaded(WIDE, state)(x))


@pytest.mark.parametrize("changes", NARROW)
def test_it_fits_the_narrower_network(changes: dict[str, object]) -> None:
    narrow = with_changes(WIDE, **changes)
    cut = sliced(narrow, WIDE, wide_state())
    assert cut.channels < cut.channels_before
    assert loaded(narrow, cut.state)(torch.randn(1, 3, *SIZE)).shape == (1, 11, *SIZE)


def test_channels_that_nothing_reads_can_be_cut_off() -> None:
    """A law: where the dropped channels have no effect on the kept ones, the logits are the same."""
    narrow = with_changes(WIDE, widths=(8, 32, 64))
    state = {name: tensor.clone() for name, tensor in wide_state().items()}
    kept = sliced(narrow, WIDE, {name: torch.arange(t.numel()).reshape(t.shape) for name, t in state.items()}).state
    for name, tensor in state.items():
        if tensor.dim() == 4:  # a kernel: whatever is not kept is zero
            mask = torch.zeros(tensor.numel())
            mask[kept[name].flatten()] = 1
            tensor.mul_(mask.reshape(tensor.shape))
        elif tensor.is_floating_point() and name.endswith(("bias", "running_mean")):
            mask = torch.zeros(tensor.numel())
            mask[kept[name].flatten()] = 1
            tensor.mul_(mask)
    x = torch.randn(1, 3, *SIZE)
    wide, small = loaded(WIDE, state)(x), loaded(narrow, sliced(narrow, WIDE, state).state)(x)
    assert torch.allclose(wide, small, atol=1e-5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"k": 4}, "cannot be sliced out of"),
        ({"alpha3": 5}, "alpha3 4 to 5.*deeper"),
        ({"widths": (16, 48, 128)}, "wider"),
    ],
)
def test_what_the_source_lacks_is_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ZooError, match=message):
        sliced(with_changes(WIDE, **changes), WIDE, wide_state())


def test_statistics_are_means_over_the_batches() -> None:
    module = build(WIDE)
    batches = [torch.randn(2, 3, *SIZE) + 1 for _ in range(3)]
    momenta = [m.momentum for m in module.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert settle_statistics_(module, batches) == 3
    first = next(m for m in module.modules() if isinstance(m, torch.nn.BatchNorm2d))
    conv = next(m for m in module.modules() if isinstance(m, torch.nn.Conv2d))
    expected = torch.stack([conv(x).mean((0, 2, 3)) for x in batches]).mean(0)
    assert torch.allclose(first.running_mean, expected, atol=1e-5)
    assert [m.momentum for m in module.modules() if isinstance(m, torch.nn.BatchNorm2d)] == momenta
