"""Dead channels are removed, and nothing else changes."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from pretrained import load
from zoo import graph as ops
from zoo.cli import main
from zoo.compress.prune import prune
from zoo.errors import SpecError, ZooError
from zoo.graph import Graph, GraphBuilder, Shape
from zoo.models.enet import ENetSpec
from zoo.models.espnet import ESPNetSpec
from zoo.models.espnetv2 import ESPNetv2Spec
from zoo.models.pruned import PrunedSpec, narrowed
from zoo.network import Network, build
from zoo.passes import optimize
from zoo.passes.constants import constants
from zoo.registry import lower, spec_from_dict
from zoo.specs import Spec, as_dict

SIZE = (64, 64)
SPECS: dict[str, Spec] = {
    "espnet-c": ESPNetSpec(variant="C", alpha3=2),
    "espnet": ESPNetSpec(variant="ESPNet", alpha3=1),
    "shuffled": ESPNetSpec(alpha3=1, block="shufflenet", k=4),
    "espnetv2": ESPNetv2Spec(),
    "enet": ENetSpec(),
}


def wounded(spec: Spec, share: float, seed: int) -> Network:
    """A network of which a share of the BN scales is zero, half of those with a shift of zero too."""
    torch.manual_seed(seed)
    network = build(spec, SIZE).eval()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.uniform_(-1, 1)  # type: ignore[union-attr, operator]
            module.running_var.uniform_(0.5, 2)  # type: ignore[union-attr, operator]
            module.bias.data.uniform_(-1, 1)
            dead = torch.rand(module.num_features) < share
            module.weight.data[dead] = 0
            module.bias.data[dead & (torch.rand(module.num_features) < 0.5)] = 0
    return network


@pytest.mark.parametrize("name", SPECS)
@pytest.mark.parametrize(("share", "only_faster"), [(0.1, False), (0.5, True), (0.9, False)])
@torch.no_grad()
def test_outputs_stay(name: str, share: float, only_faster: bool) -> None:
    network = wounded(SPECS[name], share, seed=round(10 * share))
    before = {key: value.clone() for key, value in network.state_dict().items()}
    pruned = prune(network, only_faster=only_faster)
    image = torch.randn(1, 3, *SIZE, dtype=torch.float64)
    after = pruned.network.double()(image)
    torch.testing.assert_close(
        after, network.double()(image), rtol=1e-6, atol=1e-6
    )  # biases are kept in single precision
    network.float()
    assert all(torch.equal(before[key], value) for key, value in network.state_dict().items())
    assert pruned.network.graph.macs <= network.graph.macs
    assert pruned.removed + sum(pruned.stayed.values()) == pruned.dead > 0


@torch.no_grad()
def test_the_spec_makes_it_again() -> None:
    pruned = prune(wounded(SPECS["espnet"], 0.5, 1)).network
    spec = spec_from_dict(json.loads(json.dumps(as_dict(pruned.spec))))  # type: ignore[arg-type]
    assert spec == pruned.spec
    again = build(spec, SIZE).eval()
    again.load_state_dict(pruned.state_dict())
    image = torch.randn(1, 3, *SIZE)
    assert torch.equal(again(image), pruned(image))
    assert again.graph.params == sum(p.numel() for p in pruned.parameters()) < build(SPECS["espnet"]).graph.params
    other = torch.randn(1, 3, 128, 64)
    assert pruned(other).shape[2:] == (128, 64)
    torch.testing.assert_close(optimize(pruned)(image), pruned(image), rtol=1e-3, atol=1e-3)


def small(kernel: int, shift: float, *, summed: bool = False, slope: float = 0.25) -> Network:
    """A BN of four channels, one of them dead with a shift, PReLU, and a convolution of its output."""
    g = GraphBuilder()
    x = g.conv(g.input("image", Shape(3, 8, 8)), "first", 4)
    y = g.act(g.bn(x, "bn"), "act")
    y = g.add((y, x), "sum") if summed else y
    torch.manual_seed(0)
    network: Any = Network(g.graph(g.conv(y, "last", 2, kernel=kernel))).eval()
    network.spec = ESPNetSpec()
    network.bn.weight.data[2], network.bn.bias.data[2], network.act.weight.data[:] = 0, shift, slope
    return network


@pytest.mark.parametrize(
    ("kernel", "shift", "summed", "reason"),
    [
        (1, 0.0, False, None),
        (1, -0.5, False, None),
        (3, 0.0, False, None),
        (3, -0.5, False, "borders"),
        (1, 0.5, True, "sum"),
    ],
)
def test_why_a_channel_stays(
    kernel: int, shift: float, summed: bool, reason: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = small(kernel, shift, summed=summed)
    monkeypatch.setattr("zoo.registry.lower", None)  # a pruned spec is lowered by way of its whole
    monkeypatch.setattr("zoo.network.lower", lambda spec, size: narrowed(network.graph, spec))
    pruned = prune(network)
    assert (pruned.dead, pruned.removed, pruned.stayed) == (1, int(reason is None), {reason: 1} if reason else {})
    last: Any = pruned.network.graph.by_name["last"]
    assert last.op.bias == (kernel == 1 and shift < 0)
    assert last.in_shapes[0].channels == 4 - pruned.removed
    assert pruned.max_abs_diff < 1e-12


def test_a_constant_goes_through_prelu_into_the_bias(monkeypatch: pytest.MonkeyPatch) -> None:
    network: Any = small(1, -0.5)
    monkeypatch.setattr("zoo.network.lower", lambda spec, size: narrowed(network.graph, spec))
    done: Any = prune(network).network
    torch.testing.assert_close(done.last.bias, network.last.weight[:, 2, 0, 0] * -0.5 * 0.25)


def image_graph(op: ops.Op, count: int = 1) -> Graph:
    g = GraphBuilder()
    x = g.input("image", Shape(2, 6, 6))
    dead = g.bn(x, "dead")
    return g.graph(g.append(op, (dead,) * count, "op"))


@pytest.mark.parametrize(
    "op",
    [
        ops.PReLU(),
        ops.ReLU(),
        ops.ELU(),
        ops.Sigmoid(),
        ops.Scale(),
        ops.AvgPool((3, 3), (1, 1), (1, 1)),
        ops.AvgPool((2, 2), (2, 2)),
        ops.MaxPool((3, 3), (2, 2), (1, 1)),
        ops.AdaptiveAvgPool(size=(2, 2)),
        ops.Resize(scale=2.0),
        ops.PadChannels(4),
        ops.SelectChannels((1, 0)),
        ops.ChannelShuffle(2),
        ops.Conv(3, (3, 3)),
        ops.Conv(3, (3, 3), padding=(1, 1)),
        ops.Conv(2, (3, 3), groups=2, bias=True),
        ops.ConvTranspose(2, (2, 2), (2, 2), bias=True),
        ops.Linear(3),
    ],
    ids=repr,
)
@pytest.mark.parametrize("shift", [0.0, -0.7])
@torch.no_grad()
def test_constants_are_what_the_network_computes(op: ops.Op, shift: float) -> None:
    network: Any = Network(image_graph(op)).eval()
    network.dead.weight.data[:] = 0
    network.dead.bias.data[:] = shift
    known = constants(network.graph, network.state_dict())["op"]
    outputs = [network(torch.randn(1, 2, 6, 6))[0].flatten(1) for _ in range(2)]
    uniform = (outputs[0] == outputs[0][:, :1]).all(1) & (outputs[0] == outputs[1]).all(1)
    for i, value in enumerate(known.tolist()):
        if value == value:  # not NaN
            torch.testing.assert_close(outputs[0][i], torch.full_like(outputs[0][i], value))
        else:
            assert not uniform[i] or isinstance(op, ops.ConvTranspose)


@pytest.mark.parametrize("kind", [ops.Add(), ops.Maximum(), ops.Multiply(), ops.Concat()], ids=repr)
def test_a_sum_varies_with_either(kind: ops.Op) -> None:
    g = GraphBuilder()
    x = g.input("image", Shape(2, 6, 6))
    network: Any = Network(g.graph(g.append(kind, (g.bn(x, "dead"), g.bn(x, "live")), "op"))).eval()
    network.dead.weight.data[:] = 0
    network.dead.bias.data[:] = 2.0
    known = constants(network.graph, network.state_dict())["op"]
    assert known.isnan().tolist() == ([False] * 2 + [True] * 2 if isinstance(kind, ops.Concat) else [True] * 2)


def test_specs_that_cannot_be() -> None:
    whole = ESPNetSpec(variant="C", alpha3=1)
    name = next(layer.name for layer in lower(whole, SIZE).layers if isinstance(layer.op, ops.Conv))
    with pytest.raises(SpecError, match="ascending order"):
        PrunedSpec(whole, ((name, (3, 1)),))
    with pytest.raises(SpecError, match="is no layer"):
        lower(PrunedSpec(whole, (("nowhere", (0,)),)), SIZE)
    with pytest.raises(SpecError, match=r"has 16 channels, but \(99,\) are to go"):
        lower(PrunedSpec(whole, ((name, (99,)),)), SIZE)
    with pytest.raises(SpecError, match="not pruned"):
        PrunedSpec(PrunedSpec(whole), ())
    with pytest.raises(SpecError, match="still read"):
        lower(PrunedSpec(whole, ((name, (0,)),)), SIZE)
    with pytest.raises(SpecError, match=r"spec\.of: must be"):
        spec_from_dict({"family": "pruned", "of": 3})
    with pytest.raises(SpecError, match=r"spec\.extra: unknown key"):
        spec_from_dict({"family": "pruned", "of": as_dict(whole), "extra": 1})
    with pytest.raises(SpecError, match=r"spec\.removed: must be a list"):
        spec_from_dict({"family": "pruned", "of": as_dict(whole), "removed": [3]})


def test_a_pruned_network_is_not_pruned_again() -> None:
    pruned = prune(wounded(SPECS["espnet-c"], 0.5, 0)).network
    with pytest.raises(ZooError, match="only a whole network"):
        prune(pruned)


def test_released_weights(shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZOO_WEIGHTS_MIRROR", str(shared / "weights"))
    loaded = load("espnet-3.cityscapes")
    network = build(loaded.spec, SIZE).eval()  # type: ignore[arg-type]
    network.load_state_dict(loaded.state_dict())
    pruned = prune(network, 0.0)
    assert pruned.dead == 143
    assert pruned.removed > 0.8 * pruned.dead
    assert pruned.max_abs_diff < 1e-6


def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "p.safetensors"
    assert main(["prune", "espnet-c-3.camvid", "-o", str(path), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["removed"] + sum(document["stayed"].values()) == document["dead"] >= 163
    assert document["params"]["after"] < document["params"]["before"]
    assert document["macs"]["after"] < document["macs"]["before"]
    assert main(["show", str(path), "--size", "480x360", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["params"], shown["macs"]) == (document["params"]["after"], document["macs"]["after"])
    assert main(["predict", str(path), "--device", "tx2", "--size", "480x360", "--json"]) == 0
    predicted = json.loads(capsys.readouterr().out)["latency_s"]["mean"]
    assert predicted == pytest.approx(document["latency_s"]["after"]["mean"])


def test_a_name_that_is_no_file_of_weights(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["prune", "espnet-c-3.camvid", "-o", str(tmp_path / "p.onnx")]) == 1
    assert "weights end with .safetensors" in capsys.readouterr().err
