"""Real, small runs: blocks in onnxruntime against torch, inputs, and whole networks from end to end."""

import json
import shlex

import numpy as np
import pytest
import torch
from torch import nn

from hw_models.measure import runtimes
from hw_models.measure.onnx_graph import RULES, model_of
from hw_models.measure.runtimes import Settings, entries_of, field, settled
from hw_models.measured.blocks import chained, distinct
from zoo import graph as g
from zoo.backends.compiled import onnxruntime_session
from zoo.cli import main
from zoo.errors import ZooError
from zoo.graph import Graph, GraphBuilder, Shape
from zoo.models.cfpnet import CFPNetSpec
from zoo.models.cgnet import CGNetSpec
from zoo.models.enet import ENetSpec
from zoo.models.erfnet import ERFNetSpec
from zoo.models.espnet import ESPNetSpec
from zoo.models.espnetv2 import ESPNetv2Spec
from zoo.models.fpenet import FPENetSpec
from zoo.network import Network, build, module_from_graph
from zoo.registry import lower

SPECS = {
    "espnet": ESPNetSpec(variant="ESPNet", alpha3=1),
    "shufflenet": ESPNetSpec(block="shufflenet", k=4, alpha3=1, downsample="conv"),
    "espnetv2": ESPNetv2Spec(scale=0.5),
    "erfnet": ERFNetSpec(),
    # The families that have a search space, and so can be measured.
    "fpenet": FPENetSpec(depth3=2),
    "cgnet": CGNetSpec(depth3=2),
    "cfpnet": CFPNetSpec(depth3=1),
}


def run_onnx(network, entries):
    session = onnxruntime_session(model_of(network), threads=1)
    return session.run(None, {e.name: x.numpy() for e, x in zip(session.get_inputs(), entries, strict=True)})


def agrees(graph, tolerance=1e-5):
    torch.manual_seed(0)
    network = module_from_graph(graph)
    entries = entries_of(graph, 1)
    settled(network, entries)
    with torch.inference_mode():
        out = network(*entries)
    for ours, theirs in zip(run_onnx(network, entries), (out,) if len(graph.outputs) == 1 else out, strict=True):
        assert ours.shape == tuple(theirs.shape)
        assert np.abs(ours - theirs.numpy()).max() <= tolerance * max(1.0, float(theirs.abs().max()))


@pytest.mark.parametrize("name", SPECS)
def test_a_network_written_node_for_node_computes_what_torch_does(name):
    agrees(lower(SPECS[name], (32, 64)), 1e-3)  # norms over few pixels magnify rounding, layer by layer


def test_a_chain_of_units_computes_what_torch_does():
    units = [b for b in distinct([lower(ESPNetSpec(), (32, 64)).layers]) if b.copies > 1]
    assert units
    for block in units:
        whole = chained(block)
        agrees(Graph(whole.layers, whole.outputs), 1e-4)


def ops_graph(op, *shapes):
    builder = GraphBuilder()
    inputs = tuple(builder.input(f"x{i}", shape) for i, shape in enumerate(shapes))
    return builder.graph(builder.append(op, inputs, "y"))


SINGLE = {
    "linear": (g.Linear(5), Shape(4, 2, 3)),
    "elu": (g.ELU(), Shape(4, 5, 6)),
    "sigmoid": (g.Sigmoid(), Shape(4, 5, 6)),
    "multiply": (g.Multiply(), Shape(4, 5, 6), Shape(4, 1, 1)),
    "multiply by one channel": (g.Multiply(), Shape(4, 5, 6), Shape(1, 5, 6)),
    "complement": (g.Complement(), Shape(4, 5, 6)),
    "slice": (g.SliceChannels(1, 3), Shape(4, 5, 6)),
    "mean over channels": (g.ReduceChannels(), Shape(4, 5, 6)),
    "sum over channels": (g.ReduceChannels("sum"), Shape(4, 5, 6)),
    "pad": (g.PadChannels(7), Shape(4, 5, 6)),
    "shuffle": (g.ChannelShuffle(2), Shape(6, 5, 6)),
    "max pool": (g.MaxPool((3, 3), (2, 2), (1, 1)), Shape(4, 9, 8)),
    "max pool, rounded up": (g.MaxPool((3, 3), (2, 2), (0, 0), True), Shape(4, 9, 8)),
    "average pool": (g.AvgPool((3, 3), (2, 2), (1, 1)), Shape(4, 9, 8)),
    "global pool": (g.AdaptiveAvgPool((1, 1)), Shape(4, 9, 8)),
    "pooling to 2x3": (g.AdaptiveAvgPool((2, 3)), Shape(4, 9, 8)),
    "bilinear": (g.Resize(scale=2.0), Shape(4, 5, 6)),
    "bilinear, corners": (g.Resize(align_corners=True, scale=2.0), Shape(4, 5, 6)),
    "nearest": (g.Resize("nearest", scale=2.0), Shape(4, 5, 6)),
    "a bias": (g.Conv(6, (3, 3), (1, 1), (1, 1), bias=True), Shape(4, 5, 6)),
    "transposed": (g.ConvTranspose(6, (3, 3), (2, 2), (1, 1), (1, 1), bias=True), Shape(4, 5, 6)),
    "some channels": (g.SelectChannels((3, 0, 1)), Shape(4, 5, 6)),
    "three summands": (g.Add(), Shape(4, 5, 6), Shape(4, 5, 6), Shape(4, 5, 6)),
}


@pytest.mark.parametrize("name", SINGLE)
def test_an_op_computes_what_torch_does(name):
    agrees(ops_graph(*SINGLE[name]))


def test_every_rule_is_tried_here():
    tried = {type(op) for op, *_ in SINGLE.values()}
    for spec in SPECS.values():
        tried |= {type(layer.op) for layer in lower(spec, (32, 64)).layers}
    assert set(RULES) <= tried


def test_an_op_without_a_rule_is_named():
    network = Network(lower(ENetSpec(), (64, 64)))
    with pytest.raises(ZooError, match="cannot be timed with onnxruntime; use --backend torch"):
        model_of(network)


def test_inputs_have_the_spectrum_of_photographs():
    x = field(Shape(4, 128, 256), 2, seed=1)
    assert x.shape == (2, 4, 128, 256)
    assert np.allclose(x.mean((2, 3)), 0, atol=1e-3)
    assert np.allclose(x.std((2, 3)), 1, atol=1e-3)
    assert (field(Shape(4, 128, 256), 2, seed=1) == x).all()
    spectrum = np.abs(np.fft.rfft2(x)).mean((0, 1))
    frequency = np.hypot(np.fft.fftfreq(128)[:, None], np.fft.rfftfreq(256)[None, :])
    inside = (frequency > 0.02) & (frequency < 0.4)
    slope = np.polyfit(np.log(frequency[inside]), np.log(spectrum[inside]), 1)[0]
    assert slope == pytest.approx(-runtimes.FALL, abs=0.1)


def test_untrained_networks_get_the_signs_of_trained_ones():
    graph = lower(ESPNetSpec(alpha3=3), (128, 256))
    torch.manual_seed(0)
    network, entries = module_from_graph(graph), entries_of(graph, 1)
    changes = []

    def count(module, inputs):
        positive = inputs[0] > 0
        changes.append(float((positive[..., 1:] != positive[..., :-1]).float().mean()))

    def look(network):
        changes.clear()
        hooks = [m.register_forward_pre_hook(count) for m in network.modules() if isinstance(m, nn.PReLU)]
        with torch.inference_mode():
            network(*entries)
        for hook in hooks:
            hook.remove()
        return list(changes)

    before = look(network.eval())
    after = look(settled(network, entries))
    assert len(after) == len(before) == 11
    assert np.mean(after) < runtimes.SIGN_CHANGES + 0.03
    assert np.mean(after) < np.mean(before)
    assert not network.training


def test_settled_norms_have_the_statistics_of_the_input():
    graph = lower(ESPNetSpec(activation="relu", alpha3=1), (64, 128))
    network, entries = module_from_graph(graph), entries_of(graph, 1)
    settled(network, entries)
    seen = {}
    hooks = [
        module.register_forward_hook(lambda m, i, out, name=name: seen.__setitem__(name, out))
        for name, module in network.named_modules()
        if isinstance(module, nn.BatchNorm2d)
    ]
    with torch.inference_mode():
        network(*entries)
    for hook in hooks:
        hook.remove()
    assert seen
    for out in seen.values():
        assert float(out.mean().abs()) < 0.02
        assert 0.5 < float(out.var()) < 1.05  # eps, and dead channels, take a little


def test_subnormal_weights_are_flushed_before_timing():
    graph = lower(ESPNetSpec(alpha3=1), (32, 64))
    network = module_from_graph(graph)
    with torch.no_grad():
        network.get_parameter("classifier.conv.weight").fill_(1e-40)
    settled(network, entries_of(graph, 1))
    assert not network.get_parameter("classifier.conv.weight").any()


def test_threads_and_gpus_that_are_not_there_are_refused():
    with pytest.raises(ZooError, match=r"threads must be from 1 to"):
        Settings(threads=10_000)
    if not torch.cuda.is_available():
        with pytest.raises(ZooError, match="needs an NVIDIA GPU"):
            Settings("torch-cuda")


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino", "torch"])
def test_bench_gives_what_the_contract_says(backend, capsys, tmp_path):
    pytest.importorskip(backend)
    out = tmp_path / "bench.json"
    command = ["bench", "espnet-c-3", "--size", "64x32", "--backend", backend, "--threads", "1", "--max-spread", "1e9"]
    assert main([*command, "--device", "tx2", "-o", str(out), "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert json.loads(out.read_text()) == [found]
    assert {"model", "latency_s", "throughput", "memory_bytes", "predicted", "protocol"} <= set(found)
    latency = found["latency_s"]
    assert 0 < latency["low"] <= latency["median"] <= latency["high"]
    assert found["throughput"] == pytest.approx(1 / latency["median"])
    assert {"mean", "low", "high"} == set(found["predicted"])
    assert found["conditions"]["command"].startswith(
        f"zoo bench espnet-c-3 --size 64x32 --backend {backend} --threads 1"
    )
    protocol = found["protocol"]
    assert (protocol["backend"], protocol["threads"], protocol["batch"]) == (backend, 1, 1)
    assert {"machine", "versions", "governor", "clock_mhz", "runs", "weights", "input", "subnormals"} <= set(protocol)


def test_bench_prints_a_table_with_its_protocol(capsys):
    command = ["bench", "espnet-c-3", "--size", "64x32", "--backend", "torch", "--threads", "1", "--max-spread", "1e9"]
    assert main([*command, "--batch", "2"]) == 0
    out = capsys.readouterr().out
    assert "images/s" in out
    assert "subnormals: flushed" in out
    assert "network: as published" in out


def test_bench_times_a_rewritten_network(capsys):
    command = ["bench", "espnet-c-3", "--size", "64x32", "--backend", "auto", "--threads", "1", "--max-spread", "1e9"]
    assert main([*command, "--batch", "2", "--optimize", "--json"]) == 0
    out, err = capsys.readouterr()
    (found,) = json.loads(out)
    assert found["protocol"]["network"].startswith("rewritten by drop-identities, ")
    assert "fold-batchnorm" in found["protocol"]["network"]
    assert f"zoo: {found['protocol']['backend']} runs the network" in err


def test_measure_makes_a_device_on_this_machine(capsys):
    command = ["measure", "--device", "here", "--space", "tiny", "--size", "32x32", "--count", "9", "--networks", "1"]
    assert main([*command, "--threads", "1", "--max-spread", "1e9", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert {"device", "rows", "skipped", "seconds"} <= set(found)
    assert found["device"] == "here"
    code = main(["predict", "espnet-c-3", "--device", "here", "--size", "64x32", "--json"])
    out, err = capsys.readouterr()
    if found["skipped"]:  # a busy machine: what could not be timed is an error, never zero
        assert code == 0 or "has no measurement of" in err
    else:
        assert json.loads(out)["latency_s"]["mean"] > 0
    assert main([*command, "--threads", "1"]) == 1
    assert "add --replace" in capsys.readouterr().err


def test_build_is_the_module_that_is_timed():
    module = build(ESPNetSpec(alpha3=1), (32, 64))
    entries = entries_of(module.graph, 1)
    seconds = runtimes.network_sample(settled(module, entries), entries, Settings("torch"))()
    assert seconds > 0


QUICK = ("--size", "64x32", "--backend", "torch", "--threads", "1", "--max-spread", "1e9")


def test_the_command_beside_a_measurement_repeats_it(capsys):
    assert main(["bench", "espnet-c-3", "--set", "alpha3=1", *QUICK, "--json"]) == 0
    (first,) = json.loads(capsys.readouterr().out)
    words = shlex.split(first["conditions"]["command"])
    assert words[0] == "zoo" and main([*words[1:], "--json"]) == 0
    (again,) = json.loads(capsys.readouterr().out)
    assert (again["spec"], again["conditions"]) == (first["spec"], first["conditions"])


def test_a_row_is_reproduced_or_the_condition_is_named(capsys, tmp_path):
    """A row of other versions and a hundred times the speed is not reproduced, and both are said."""
    path = tmp_path / "rows.json"
    assert main(["bench", "espnet-c-3", "espnet-a", *QUICK, "-o", str(path), "--json"]) == 0
    capsys.readouterr()
    rows = json.loads(path.read_text())
    rows[0]["protocol"]["spread"] = 1e6
    rows[1]["protocol"] |= {"versions": {**rows[1]["protocol"]["versions"], "torch": "1.0"}, "spread": 0.0}
    rows[1]["latency_s"] = {key: value / 1e9 for key, value in rows[1]["latency_s"].items()}
    path.write_text(json.dumps(rows))
    assert main(["bench", "--reproduce", f"{path}#1", "--max-spread", "1e9", "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert found["reproduced"]["ok"] and found["reproduced"]["differs"] == []
    assert main(["bench", "--reproduce", f"{path}#2", "--max-spread", "1e6"]) == 3
    error = capsys.readouterr().err
    assert "is not reproduced" in error and "versions.torch was 1.0 and is" in error


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[]", "is no list of measurements"),
        ("{}", "is no list of measurements"),
        ("[{}]", "is no row of zoo bench"),
        ("[{}, {}]", "holds 2 rows; name one, as"),
        ("[3]", "is no list of measurements"),
        ('[{"spec": 1, "size": "x", "latency_s": 3, "protocol": []}]', "is no row of zoo bench"),
    ],
)
def test_what_is_no_row_is_one_sentence(text, message, capsys, tmp_path):
    (tmp_path / "row.json").write_text(text)
    assert main(["bench", "--reproduce", str(tmp_path / "row.json")]) == 1
    error = capsys.readouterr().err.strip()
    assert message in error and len(error.splitlines()) == 1


def test_bench_takes_weights_and_not_an_exported_file(capsys, tmp_path):
    assert main(["get", "espnet-c-3.camvid", "-o", str(tmp_path), "--json"]) == 0
    capsys.readouterr()
    assert (
        main(["bench", str(tmp_path / "espnet-c-3.camvid.safetensors"), *QUICK, "--device", "tx2@850", "--json"]) == 0
    )
    (found,) = json.loads(capsys.readouterr().out)
    assert found["protocol"]["weights"] == "trained" and found["predicted"]["mean"] > 0
