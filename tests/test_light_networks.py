"""The light networks of today: the counts that their files state, what their papers say, and their search spaces."""

import re
import sys
from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch

from hw_models.device import device_folders
from hw_models.predictors import predict
from search.space import SearchSpace, space_of
from zoo.bulk.lower import BulkLowering
from zoo.config import load_config
from zoo.errors import SpecError, ZooError
from zoo.graph import Complement, Conv, Graph, Multiply, ReduceChannels, Shape, SliceChannels
from zoo.models.cfpnet import CFPNetSpec
from zoo.models.cgnet import CGNetSpec
from zoo.models.dabnet import DABNetSpec
from zoo.models.ddrnet import DDRNetSpec
from zoo.models.edanet import EDANetSpec
from zoo.models.fast_scnn import FastSCNNSpec
from zoo.models.fddwnet import FDDWNetSpec
from zoo.models.fpenet import FPENetSpec
from zoo.models.lednet import LEDNetSpec
from zoo.models.pidnet import PIDNetSpec
from zoo.network import build
from zoo.published import figures
from zoo.registry import FAMILIES, lower
from zoo.specs import Spec

NETWORKS: dict[str, tuple[int, float]] = {
    "fpenet": (364_341, 0.05),
    "cgnet": (496_306, 0.02),
    "cfpnet": (551_331, 0.02),
    "dabnet": (756_643, 0.02),
    "edanet": (689_485, 0.02),
    "fddwnet": (807_951, 0.02),
    "fast-scnn": (1_138_051, 0.03),
    "lednet": (922_821, 0.02),
    "ddrnet-23-slim": (5_695_987, 0.02),
    "pidnet-s": (7_625_715, 0.02),
}
"""Networks by their names in zoo.yaml: the count that the file states, and how near it is to the published."""

SPACES = ("fpenet", "cgnet", "cfpnet")


def spec_of(model: str) -> Spec:
    return load_config().models[model].spec


def convolutions(graph: Graph, where: str = "") -> list[Conv]:
    return [layer.op for layer in graph.layers if isinstance(layer.op, Conv) and re.search(where, layer.name)]


@pytest.mark.parametrize("model", NETWORKS)
def test_parameters_are_those_of_the_file_and_near_the_published(model: str) -> None:
    golden, near = NETWORKS[model]
    spec = spec_of(model)
    assert lower(spec).params == golden
    assert f"{golden:,}" in str(sys.modules[type(spec).__module__].__doc__)
    published = next(f.value for f in figures() if f.model == model and f.metric == "params_m")
    assert golden == pytest.approx(published * 1e6, rel=near)


MODULES = [
    model if model in ("fast-scnn", "cgnet") else pytest.param(model, marks=pytest.mark.slow) for model in NETWORKS
]
"""Of a small network of each family, `FamilyContract` holds modules to their graphs in the fast run."""


@pytest.mark.parametrize("model", MODULES)
def test_module_has_the_graphs_parameters_and_logits_the_images_size(model: str) -> None:
    spec = spec_of(model)
    with torch.device("meta"):
        module = build(spec, (64, 128))
    graph = lower(spec, (64, 128))
    assert sum(p.numel() for p in module.parameters()) == graph.params
    assert str(graph.output_shapes[0]) == "19x64x128"


@pytest.mark.parametrize("model", NETWORKS)
def test_every_shipped_device_has_a_price(model: str) -> None:
    graph = lower(spec_of(model))
    for device in device_folders():
        latency = predict(graph, device).latency_s
        assert 0 < latency.low < latency.mean < latency.high


@pytest.mark.parametrize(
    ("spec", "keys"),
    [
        (CGNetSpec(), {"level2_0.conv1x1.conv.weight", "level3.19.F_glo.fc.2.bias", "bn_prelu_3.act.weight"}),
        (
            DABNetSpec(),
            {
                "init_conv.2.bn_prelu.acti.weight",
                "DAB_Block_1.DAB_Module_1_2.dconv3x1.conv.weight",
                "DAB_Block_2.DAB_Module_2_5.ddconv1x3.bn_prelu.bn.running_var",
                "bn_prelu_3.bn.weight",
                "classifier.0.conv.weight",
            },
        ),
        (
            CFPNetSpec(),
            {
                "CFP_Block_1.CFP_Module_1_1.conv1x1_1.conv.weight",
                "CFP_Block_2.CFP_Module_2_5.dconv1x3_4_3.conv.weight",
                "CFP_Block_2.CFP_Module_2_0.bn_relu_2.bn.weight",
            },
        ),
        (LEDNetSpec(), {"encoder.layers.14.conv1x3_2_r.bias", "decoder.apn.down3.1.conv.1.weight"}),
        (
            DDRNetSpec(),
            {
                "conv1.3.bias",
                "layer3_.1.bn2.weight",
                "down4.3.weight",
                "layer5.0.downsample.1.bias",
                "spp.process4.2.weight",
                "spp.scale1.3.weight",
                "final_layer.conv2.bias",
            },
        ),
        (
            PIDNetSpec(),
            {
                "layer3_d.downsample.0.weight",
                "layer4_d.0.conv3.weight",
                "diff4.1.bias",
                "pag3.f_y.1.running_mean",
                "spp.scale_process.2.weight",
                "dfm.conv_i.0.weight",
                "layer5.1.conv1.weight",
            },
        ),
    ],
    ids=lambda value: value.family if isinstance(value, Spec) else "",
)
def test_layers_have_the_names_of_the_authors_checkpoints(spec: Spec, keys: set[str]) -> None:
    with torch.device("meta"):
        assert keys <= build(spec, (64, 64)).state_dict().keys()


def test_fpe_block_encodes_a_pyramid_of_depthwise_dilations() -> None:
    graph = lower(FPENetSpec())
    for block in ("stage1.1", "stage2.0", "stage3.8"):
        branches = convolutions(graph, rf"^{re.escape(block)}\.scale")
        assert [op.dilation[0] for op in branches] == [1, 2, 4, 8]
        assert all(op.groups == op.out_channels for op in branches)
        parts = [x.op for x in graph.layers if isinstance(x.op, SliceChannels) and x.name.startswith(f"{block}.")]
        width = branches[0].out_channels
        assert parts == [SliceChannels(i * width, (i + 1) * width) for i in range(4)]


def test_cfp_module_halves_dilations_from_branch_to_branch() -> None:
    graph = lower(CFPNetSpec())
    for index, expected in ((0, [1, 1, 2, 4]), (5, [1, 4, 8, 16])):
        found = convolutions(graph, rf"CFP_Module_2_{index}\.dconv3x1_\d_1")
        assert [op.dilation[0] for op in found] == expected


@pytest.mark.parametrize(
    ("spec", "where", "expected"),
    [
        (CGNetSpec(), r"F_sur", {2: 3, 4: 21}),
        (DABNetSpec(), r"ddconv3x1", {2: 3, 4: 2, 8: 2, 16: 2}),
        (EDANetSpec(), r"dilated\.conv3x1", {1: 3, 2: 4, 4: 2, 8: 2, 16: 2}),
        (FDDWNetSpec(), r"layer\d+\.second\.column", {1: 11, 2: 4, 5: 4, 9: 4, 17: 2}),
        (LEDNetSpec(), r"conv3x1_2_l", {1: 6, 2: 2, 5: 2, 9: 2, 17: 1}),
    ],
    ids=lambda value: value.family if isinstance(value, Spec) else "",
)
def test_dilations_are_the_papers(spec: Spec, where: str, expected: dict[int, int]) -> None:
    assert Counter(op.dilation[0] for op in convolutions(lower(spec), where)) == expected


def test_dense_modules_add_40_channels_each() -> None:
    graph = lower(EDANetSpec())
    assert [graph.by_name[f"eda1.{i}.cat"].out_shape.channels for i in range(1, 6)] == [100, 140, 180, 220, 260]
    assert graph.by_name["eda2.8.cat"].out_shape.channels == 450


def test_branches_of_fast_scnn_meet_at_an_eighth() -> None:
    graph = lower(FastSCNNSpec(), (1024, 2048))
    assert str(graph.by_name["pyramid.relu"].out_shape) == "128x32x64"
    assert str(graph.by_name["fusion.relu"].out_shape) == "128x128x256"


def test_a_pag_fusion_is_a_weighted_mean() -> None:
    graph = lower(PIDNetSpec(), (64, 128))
    kinds = Counter(type(x.op) for x in graph.layers if x.name.startswith("pag3."))
    assert (kinds[ReduceChannels], kinds[Complement], kinds[Multiply]) == (1, 1, 3)


@pytest.fixture(scope="module", params=SPACES)
def space(request: pytest.FixtureRequest) -> SearchSpace:
    return space_of(load_config().spaces[request.param], (512, 1024))


def test_space_holds_its_papers_network(space: SearchSpace) -> None:
    paper = FAMILIES[space.choices.family].spec()
    assert space.spec(space.row(paper)) == paper
    assert 2_000 < sum(len(rows) for rows in space.chunks()) < 50_000


def test_space_is_counted_at_once_as_one_by_one(space: SearchSpace) -> None:
    rows = space.sample(np.random.default_rng(0), 24)
    specs: list[Any] = [space.spec(int(row)) for row in rows]
    for name, values in space.choices.values.items():
        assert len({getattr(spec, name) for spec in specs}) > len(values) / 3, f"{name} hardly varies"
    bulk = BulkLowering(space.choices, Shape(3, *space.size)).lower(space.choices.codes(rows))
    for i, spec in enumerate(specs):
        graph = lower(spec, space.size)
        counts = (bulk.params[i], bulk.macs[i], bulk.weight_bytes[i], bulk.peak_activation_bytes[i])
        assert counts == (graph.params, graph.macs, graph.weight_bytes, graph.peak_activation_bytes), spec


def test_space_without_an_accuracy_model_is_refused_with_a_way_out(space: SearchSpace) -> None:
    from search.accuracy import accuracy_model

    codes = space.choices.codes(np.arange(1))
    with pytest.raises(
        ZooError, match=r"search one of .*, measure candidates with --accuracy train, or leave mIOU out"
    ):
        accuracy_model("published").predict(space.choices, codes, 0.9)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: FPENetSpec(scales=3), "scales must divide"),
        (lambda: CGNetSpec(widths=(32, 63, 128)), "must be even"),
        (lambda: CFPNetSpec(branches=8, widths=(32, 48, 128)), "multiples of 32"),
        (lambda: DABNetSpec(widths=(32, 65, 128)), "must be even"),
        (lambda: EDANetSpec(widths=(3, 60, 130)), "must grow"),
        (lambda: FDDWNetSpec(widths=(16, 16, 128)), "must grow"),
        (lambda: LEDNetSpec(widths=(32, 65, 128)), "must be even"),
        (lambda: FastSCNNSpec(bottlenecks=(64, 96, 126)), "multiple of 4"),
    ],
)
def test_spec_that_describes_no_network_is_refused(make: Any, sentence: str) -> None:
    with pytest.raises(SpecError, match=sentence):
        make()
