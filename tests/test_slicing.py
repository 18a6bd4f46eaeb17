"""Starts sliced out of wider and deeper networks."""

import pytest

torch = pytest.importorskip("torch")

import json  # noqa: E402

import numpy as np  # noqa: E402

from zoo import build, spec  # noqa: E402
from zoo.cli import main  # noqa: E402
from zoo.data.classes import CAMVID  # noqa: E402
from zoo.errors import ZooError  # noqa: E402
from zoo.registry import with_changes  # noqa: E402
from zoo.train.slicing import settle_statistics_, sliced  # noqa: E402
from zoo.train.start import SCRATCH, Start, begin_sliced  # noqa: E402

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


class Noise:
    """Images of noise without labels that anybody reads."""

    name, split, labels = "noise", "train", CAMVID

    def __len__(self) -> int:
        return 5

    def load(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        pixels = np.random.default_rng(index).integers(0, 255, (*SIZE, 3), dtype=np.uint8)
        return pixels, np.zeros(SIZE, np.uint8)


@pytest.mark.parametrize("changes", [*NARROW, {"variant": "C", "decoder_width": 0, "alpha3": 3}])
def test_a_run_starts_from_a_slice_with_statistics_of_its_own(changes: dict[str, object]) -> None:
    wide = with_changes(WIDE, decoder_width=0)
    torch.manual_seed(0)
    state = build(wide).state_dict()
    narrow = with_changes(wide, **changes)
    begun = begin_sliced(narrow, Noise(), SIZE, 0, Start(state, 11, CAMVID, SCRATCH, wide))
    assert begun.cut is not None and begun.cut.channels < begun.cut.channels_before
    assert begun.transfer is not None and not begun.transfer.fresh
    means = [v for k, v in begun.module.state_dict().items() if k.endswith("running_mean")]
    assert any(mean.abs().max() > 1e-3 for mean in means), "made again from images"
    ours, theirs = begun.module.state_dict(), state
    first = next(name for name in ours if name.endswith("conv.weight"))
    prefix = "" if first in theirs else "encoder."
    kept = ours[first]
    assert torch.equal(kept, theirs[prefix + first][: kept.shape[0], : kept.shape[1]])


def test_weights_without_a_spec_are_not_sliced() -> None:
    with pytest.raises(ZooError, match="leave out --slice"):
        begin_sliced(WIDE, Noise(), SIZE, 0, Start(wide_state(), 11, CAMVID, SCRATCH))


def test_the_command_says_what_was_sliced(tmp_path, capsys) -> None:
    scenes = ["--dataset", "scenes", "--size", "64x48", "--batch", "8", "--epochs", "1", "--threads", "1"]
    small = ["espnet-c-3", "--set", "alpha2=1", "--set", "alpha3=1"]
    assert main(["train", *small, *scenes, "--slice", "-o", str(tmp_path / "no")]) == 2
    assert "--init MODEL" in capsys.readouterr().err
    start = ["--init", "espnet-c-3.camvid", "--slice"]
    assert main(["train", *small, *scenes, *start, "-o", str(tmp_path / "run"), "--json"]) == 0
    out, err = capsys.readouterr()
    assert "sliced, " in err and "BN statistics made again" in err
    assert "--slice" in json.loads(out)["conditions"]["command"]
    wider = ["--set", "alpha3=9", *start]
    assert main(["train", "espnet-c-3", *wider, *scenes, "-o", str(tmp_path / "deep")]) == 1
    assert "slice a deeper one" in capsys.readouterr().err
