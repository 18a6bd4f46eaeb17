"""Passes over graphs: each computes what the network before it computes, and changes only what it says."""

import json
from functools import cache
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from contract import EXAMPLES, FAST, label, outputs, slow_but
from torch import nn

from hw_models import predict
from pretrained import find
from pretrained.download import obtain
from zoo.cli import main
from zoo.counters import TOOLS, count_with, extras
from zoo.errors import SpecError, ZooError
from zoo.export import export_onnx
from zoo.graph import AvgPool, BatchNorm, Conv, Dropout, Graph, GraphBuilder, Linear, PReLU, Shape
from zoo.models.espnet import ESPNetSpec
from zoo.models.espnetv2 import ESPNetv2Spec
from zoo.network import Network, build, module_from_graph
from zoo.passes import PASSES, optimize, rewritten
from zoo.passes.pool import FEW
from zoo.passes.rewrite import Pass, at_size
from zoo.registry import lower
from zoo.specs import Spec

SIZE = (64, 96)
SPECS = [spec for specs in EXAMPLES.values() for spec in specs]

each_spec = pytest.mark.parametrize("spec", slow_but(SPECS))
each_pass = pytest.mark.parametrize("name", PASSES)


def images(size: tuple[int, int] = SIZE) -> torch.Tensor:
    return torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(1)).double()


@torch.no_grad()
def lively(network: Network, *inputs: torch.Tensor) -> Network:
    """Every scale, shift, slope and bias its own; statistics that fit; evaluation mode; double precision."""
    torch.manual_seed(0)
    for module in network.train().double().modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None
            nn.init.uniform_(module.weight, 0.5, 1.5)
        if isinstance(module, nn.PReLU):
            # Two activations out of three have no slope above 1.
            nn.init.uniform_(module.weight, -0.5, 0.9 if torch.rand(()) < 0.67 else 1.5)
        elif getattr(module, "bias", None) is not None:
            nn.init.normal_(module.bias, std=0.1)
    network(*inputs)
    return network.eval()


@cache
def example(spec: Spec) -> Network:
    torch.manual_seed(0)
    return lively(build(spec, SIZE), images())


def module(graph: Graph, state: dict[str, torch.Tensor]) -> Network:
    network = module_from_graph(graph).double().eval()
    network.load_state_dict(state)
    return network


def after(network: Network, rewrite: Pass) -> Network:
    graph, state = rewrite(network.graph, network.state_dict())
    return module(graph, dict(state))


@cache
@torch.no_grad()
def expected_of(spec: Spec) -> tuple[torch.Tensor, ...]:
    """What the example computes."""
    return outputs(example(spec)(images()))


@torch.no_grad()
def same(ours: Network, theirs: Network, *inputs: torch.Tensor, known: tuple[torch.Tensor, ...] | None = None) -> None:
    """Both compute the same; known: what `theirs` computes, where that was computed before."""
    assert ours.graph.outputs == theirs.graph.outputs
    for found, expected in zip(outputs(ours(*inputs)), known or outputs(theirs(*inputs)), strict=True):
        assert expected.abs().max() > 1e-3, "an output that is nearly zero compares nothing"
        torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6 * float(expected.abs().max()))


@each_pass
@each_spec
def test_a_pass_changes_nothing_that_is_computed(spec: Spec, name: str) -> None:
    network = example(spec)
    optimized = after(network, PASSES[name])
    if optimized.graph != network.graph:
        same(optimized, network, images(), known=expected_of(spec))


@each_pass
def test_a_pass_has_work_somewhere(name: str) -> None:
    assert any(name in rewritten(example(spec)).passes for spec in FAST)


@each_spec
def test_all_passes_together_compute_the_same(spec: Spec) -> None:
    network = example(spec)
    state = dict(network.state_dict())
    graph = network.graph
    for rewrite in PASSES.values():
        graph, state = rewrite(graph, state)
    same(module(graph, dict(state)), network, images(), known=expected_of(spec))


@each_spec
def test_optimizing_twice_is_optimizing_once(spec: Spec) -> None:
    once = optimize(example(spec).float())
    example(spec).double()
    twice = rewritten(once)
    assert (twice.network.graph, twice.passes) == (once.graph, ())
    theirs = once.state_dict()
    assert all(torch.equal(value, theirs[key]) for key, value in twice.network.state_dict().items())


def pooled_macs(graph: Graph) -> int:
    """MACs of a dense convolution in place of each pooling of few channels."""
    pools = [x for x in graph.layers if isinstance(x.op, AvgPool) and x.out_shape.channels <= FEW]
    return sum(x.out_shape.elements * x.out_shape.channels * x.op.kernel[0] * x.op.kernel[1] for x in pools)


@each_spec
def test_macs_change_only_where_poolings_become_convolutions(spec: Spec) -> None:
    graph, state = example(spec).graph, example(spec).state_dict()
    for name, rewrite in PASSES.items():
        more = pooled_macs(graph) if name == "pool-as-conv" else 0
        done, _ = rewrite(graph, state)
        assert done.macs == graph.macs + more, name


@each_spec
def test_parameters_change_as_the_pass_says(spec: Spec) -> None:
    graph, state = example(spec).graph, example(spec).state_dict()
    for name in ("drop-identities", "prelu-as-maximum"):
        assert PASSES[name](graph, state)[0].params == graph.params
    folded, new = PASSES["fold-batchnorm"](graph, state)
    left = {layer.name for layer in folded.layers if isinstance(layer.op, BatchNorm)}
    gone = [x for x in graph.layers if isinstance(x.op, BatchNorm) and x.name not in left]
    had_bias = sum(x.out_shape.channels for x in gone if graph.by_name[x.inputs[0]].op.bias)
    # A BN's scale and shift go; its convolution gets a bias unless it had one.
    assert folded.params == graph.params - sum(x.out_shape.channels for x in gone) - had_bias
    assert folded.params == sum(
        value.numel() for key, value in new.items() if "running" not in key and "num" not in key
    )


def test_what_is_given_stays_as_it_is() -> None:
    network = lively(build(ESPNetSpec(variant="ESPNet", alpha3=1), SIZE), images()).float().train()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    graph = network.graph
    optimized = optimize(network)
    for tensor in optimized.state_dict().values():
        tensor.zero_()
    assert network.training and not optimized.training
    assert network.graph is graph
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())


def test_passes_write_nothing_into_their_arguments() -> None:
    network = example(ESPNetSpec(variant="ESPNet", alpha3=1))
    state = {key: value.clone() for key, value in network.state_dict().items()}
    given = dict(state)
    for rewrite in PASSES.values():
        rewrite(network.graph, given)
    assert given.keys() == state.keys()
    assert all(torch.equal(given[key], value) for key, value in state.items())


def test_unknown_pass_suggests_the_nearest() -> None:
    with pytest.raises(ZooError, match=r"pass 'fold-batchnrm' is unknown; did you mean 'fold-batchnorm'"):
        optimize(build(ESPNetSpec(alpha3=1), SIZE), ["fold-batchnrm"])


def test_what_a_network_says_of_itself_is_kept() -> None:
    network = build(ESPNetSpec(alpha3=1), SIZE)
    network.labels = "cityscapes"  # type: ignore[assignment]
    optimized = optimize(network)
    assert (optimized.labels, optimized.spec) == ("cityscapes", None)


def test_batchnorms_of_espnet_fold_in_four_places() -> None:
    # The others follow a concatenation.
    graph = lower(ESPNetSpec(variant="ESPNet"))
    network = build(ESPNetSpec(variant="ESPNet"))
    done, _ = PASSES["fold-batchnorm"](graph, network.state_dict())
    folded = {x.name for x in graph.layers} - {x.name for x in done.layers}
    assert folded == {"encoder.level1.conv", "encoder.classifier.conv", "up_l2.0", "conv.conv"}


def folding() -> Graph:
    """Every kind of layer that a BN folds into, and two that it must not fold into."""
    g = GraphBuilder()
    x = g.input("image", Shape(3, 8, 12))
    x = g.bn(g.conv(x, "grouped", 6, kernel=3, groups=3, bias=True), "grouped.bn")
    x = g.bn(g.deconv(x, "up", 4, kernel=3, stride=2, groups=2), "up.bn")
    twice = g.conv(x, "twice", 4)
    x = g.add((g.bn(twice, "twice.bn"), twice), "sum")
    seen = g.conv(x, "seen", 5)
    last = g.bn(g.append(Linear(7), (g.append(Dropout(0.5), (g.bn(seen, "seen.bn"),), "drop"),), "fc"), "fc.bn")
    return g.graph(last, seen, g.append(Dropout(0.1), (seen,), "last"))


def test_what_folds_and_what_does_not() -> None:
    x = torch.randn(3, 3, 8, 12, dtype=torch.float64)
    network = lively(module_from_graph(folding()), x)
    optimized = after(network, PASSES["fold-batchnorm"])
    same(optimized, network, x)
    assert {x.name for x in optimized.graph.layers if isinstance(x.op, BatchNorm)} == {"twice.bn", "seen.bn"}
    dropless = after(network, PASSES["drop-identities"])
    same(dropless, network, x)
    assert [x.name for x in dropless.graph.layers if isinstance(x.op, Dropout)] == ["last"]


def activated(slopes: list[float], channels: int = 3) -> Network:
    g = GraphBuilder()
    network = module_from_graph(g.graph(g.act(g.input("image", Shape(channels, 8, 8)), "act"))).double().eval()
    network.act.weight.data[:] = torch.tensor(slopes)  # type: ignore[operator, union-attr]
    return network


@pytest.mark.parametrize(("slopes", "stays"), [([-2.0, 0.0, 1.0], False), ([0.2, 1.001, 0.3], True)])
def test_prelu_with_a_slope_above_one_stays(slopes: list[float], stays: bool) -> None:
    network = activated(slopes)
    optimized = after(network, PASSES["prelu-as-maximum"])
    assert any(isinstance(x.op, PReLU) for x in optimized.graph.layers) is stays
    with torch.no_grad():
        assert torch.equal(optimized(images()), network(images()))


@pytest.mark.parametrize(("channels", "kind"), [(FEW, Conv), (FEW + 1, AvgPool)])
def test_only_few_channels_are_pooled_by_a_convolution(channels: int, kind: type) -> None:
    g = GraphBuilder()
    pooled = g.avg_pool(g.input("image", Shape(channels, 9, 8)), "pool", kernel=(3, 2), stride=(2, 3), padding=1)
    network = module_from_graph(g.graph(pooled)).double().eval()
    optimized = after(network, PASSES["pool-as-conv"])
    assert isinstance(optimized.graph.by_name["pool"].op, kind)
    same(optimized, network, torch.randn(2, channels, 9, 8, dtype=torch.float64))


@each_spec
@pytest.mark.parametrize("size", [(96, 64), (64, 96)])
def test_a_graph_at_another_size_is_the_spec_lowered_there(spec: Spec, size: tuple[int, int]) -> None:
    assert at_size(lower(spec, SIZE), size) == lower(spec, size)


def test_a_size_that_does_not_suit_names_the_layer() -> None:
    graph = optimize(build(ESPNetSpec(variant="ESPNet", alpha3=1), SIZE)).graph
    with pytest.raises(SpecError, match=r"combine_l2_l3\.cat"):
        at_size(graph, (60, 96))


@pytest.mark.parametrize("spec", [ESPNetSpec(variant="ESPNet", alpha3=1), ESPNetv2Spec(scale=0.5)], ids=label)
@torch.no_grad()
def test_an_optimized_network_takes_another_size(spec: Spec) -> None:
    network = lively(build(spec, SIZE), images())
    other = images((128, 64))
    graph, state = network.graph, dict(network.state_dict())
    for rewrite in PASSES.values():
        graph, state = rewrite(graph, state)  # type: ignore[assignment]
    same(module(at_size(graph, (128, 64)), dict(state)), network, other)


@pytest.mark.parametrize("tool", TOOLS)
def test_other_counters_agree_on_what_is_left(tool: str) -> None:
    graph = optimize(build(ESPNetSpec(variant="ESPNet", alpha3=1), SIZE)).graph
    opinion = count_with(tool, graph)
    assert opinion.macs == graph.macs
    assert opinion.total == graph.macs * (2 if tool == "torch" else 1) + sum(extras(tool, graph).values())


@pytest.mark.parametrize("name", ["pool-as-conv", "fold-batchnorm", "prelu-as-maximum"])
def test_the_cost_model_prices_what_is_left(name: str) -> None:
    network = build(ESPNetSpec(variant="ESPNet", alpha3=1), SIZE)
    before, after = (predict(x.graph, "tx2").latency_s.mean for x in (network, optimize(network, [name])))
    # The device runs eagerly: what folds is saved, and what takes two ops instead of one costs more.
    assert after < before if name == "fold-batchnorm" else after != before


@pytest.mark.parametrize("spec", [ESPNetSpec(variant="ESPNet", alpha3=1), ESPNetv2Spec(scale=0.5)], ids=label)
@pytest.mark.parametrize(("opset", "dynamic"), [(11, False), (13, False), (13, True), (17, False)])
def test_file_of_an_optimized_network(spec: Spec, opset: int, dynamic: bool, tmp_path: Path) -> None:
    network = lively(build(spec, SIZE), images()).float()
    # The export compares what the file gives with the network as it was, and with `dynamic` at another size too.
    exported = export_onnx(network, tmp_path / "a.onnx", size=SIZE, opset=opset, dynamic=dynamic, optimize=True)
    assert (exported.opset, exported.passes) == (opset, ("pool-as-conv", "fold-batchnorm", "prelu-as-maximum"))
    model = onnx.load(exported.path)
    said = {entry.key: entry.value for entry in model.metadata_props}
    assert json.loads(said["passes"]) == list(exported.passes)
    assert "AveragePool" not in {node.op_type for node in model.graph.node} or spec.family != "espnet"


def test_slopes_have_as_many_axes_as_what_they_multiply(tmp_path: Path) -> None:
    exported = export_onnx(build(ESPNetSpec(alpha3=1), SIZE), tmp_path / "a.onnx", size=SIZE)
    model = onnx.load(exported.path)
    slopes = {node.input[1] for node in model.graph.node if node.op_type == "PRelu"}
    shapes = {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer if tensor.name in slopes}
    assert len(shapes) == len(slopes) > 0
    assert all(len(shape) == 4 and shape[0] == shape[2] == shape[3] == 1 for shape in shapes.values())
    onnx.checker.check_model(model, full_check=True)


def test_command_says_which_passes_applied(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["export", "espnet-c-3", "--size", "96x64", "-o", str(tmp_path / "a.onnx")]
    for options, passes in ((["--optimize"], ["pool-as-conv", "fold-batchnorm", "prelu-as-maximum"]), ([], [])):
        assert main([*command, *options, "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["passes"] == passes
    assert main([*command, "--optimize"]) == 0
    assert "rewritten by pool-as-conv, fold-batchnorm" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("name", ["espnet-3.cityscapes", "espnet-c-3.cityscapes", "espnetv2-0.5.cityscapes"])
@torch.no_grad()
def test_released_weights_give_the_same_labels(name: str, shared: Path) -> None:
    from pretrained import load

    entry = find(name)
    obtain(entry, from_file=shared / "weights" / entry.file)
    network = load(name)
    image = torch.from_numpy(np.random.RandomState(7).randn(1, 3, 128, 256).astype(np.float32) / 255)
    theirs, ours = network(image), optimize(network)(image)
    assert (ours - theirs).abs().max() < 1e-3
    best = theirs.topk(2, dim=1).values
    clear = best[:, 0] - best[:, 1] > 2e-3
    assert torch.equal(ours.argmax(1)[clear], theirs.argmax(1)[clear])
    assert clear.float().mean() > 0.95
