"""The networks that ESPNet is compared with: published counts, well-known counts, and what their papers say."""

from collections import Counter
from collections.abc import Callable
from typing import Literal

import pytest
import torch

from zoo.errors import SpecError
from zoo.graph import Conv, Crop, Graph, MaxPool, MaxUnpool
from zoo.models.deeplab import DeepLabSpec
from zoo.models.enet import ENetSpec
from zoo.models.erfnet import ERFNetSpec
from zoo.models.fcn import FCNSpec
from zoo.models.pspnet import PSPNetSpec
from zoo.models.resnet import Depth, ResNetSpec
from zoo.models.segnet import SegNetSpec
from zoo.models.sqnet import SQNetSpec
from zoo.models.vgg import VGGSpec
from zoo.network import build
from zoo.published import figures
from zoo.registry import lower
from zoo.specs import Spec

COMPARATORS: dict[str, tuple[Spec, int]] = {
    "fcn-8s": (FCNSpec(), 134_456_985),
    "segnet": (SegNetSpec(), 29_453_971),
    "sqnet": (SQNetSpec(), 16_262_771),
    "enet": (ENetSpec(), 363_599),
    "deeplab-v2": (DeepLabSpec(), 43_901_068),
    "pspnet": (PSPNetSpec(), 65_707_475),
    "erfnet": (ERFNetSpec(), 2_064_256),
}
"""Networks by their names in the published tables, with the counts that their files state."""


def convolutions(graph: Graph, where: str = "") -> list[Conv]:
    """The convolutions of the layers whose names contain `where`."""
    return [layer.op for layer in graph.layers if isinstance(layer.op, Conv) and where in layer.name]


@pytest.mark.parametrize("model", COMPARATORS)
def test_parameters_are_within_one_percent_of_the_published(model: str) -> None:
    spec, golden = COMPARATORS[model]
    graph = lower(spec)
    assert graph.params == golden
    published = next(f.value for f in figures() if f.model == model and f.metric == "params_m")
    assert graph.params == pytest.approx(published * 1e6, rel=0.01)


@pytest.mark.parametrize("model", COMPARATORS)
def test_parameters_are_the_modules(model: str) -> None:
    spec, _ = COMPARATORS[model]
    with torch.device("meta"):
        module = build(spec, (64, 128))
    assert sum(p.numel() for p in module.parameters()) == lower(spec).params


@pytest.mark.parametrize("model", COMPARATORS)
def test_logits_have_the_images_size(model: str) -> None:
    spec, _ = COMPARATORS[model]
    (shape,) = lower(spec, (128, 192)).output_shapes
    assert (shape.channels, shape.height, shape.width) == (getattr(spec, "classes"), 128, 192)  # noqa: B009


@pytest.mark.parametrize(
    ("depth", "params", "macs"),
    [
        (18, 11_689_512, 1_814_073_344),
        (34, 21_797_672, 3_663_761_408),
        (50, 25_557_032, 4_089_184_256),
        (101, 44_549_160, 7_801_405_440),
        (152, 60_192_808, 11_513_626_624),
    ],
)
def test_resnets_have_torchvisions_counts(depth: Depth, params: int, macs: int) -> None:
    graph = lower(ResNetSpec(depth=depth), (224, 224))
    assert (graph.params, graph.macs) == (params, macs)


def test_original_bottleneck_strides_earlier_and_is_cheaper() -> None:
    ours, original = (lower(ResNetSpec(stride_in=where), (224, 224)) for where in ("3x3", "1x1"))
    assert original.params == ours.params
    assert round(original.macs / 1e9, 1) == 3.9  # the paper's 3.8, which leaves out the linear layer and shortcuts


@pytest.mark.parametrize(("depth", "params"), [(16, 138_357_544), (19, 143_667_240)])
def test_vggs_have_the_well_known_counts(depth: int, params: int) -> None:
    assert lower(VGGSpec(depth=16 if depth == 16 else 19), (224, 224)).params == params


def test_segnets_encoder_and_fcns_backbone_are_vggs() -> None:
    vgg = lower(VGGSpec(), (224, 224))
    by_layer = {layer.name: layer.params for layer in vgg.layers if layer.params}
    for spec in (SegNetSpec(), FCNSpec()):
        graph = lower(spec, (224, 224))
        shared = {layer.name: layer.params for layer in graph.layers if layer.params and layer.name in by_layer}
        expected = {name: params for name, params in by_layer.items() if name in shared}
        assert shared == expected
        assert len(shared) == (13 if isinstance(spec, SegNetSpec) else 15)


def test_enet_is_its_papers_table() -> None:
    graph = lower(ENetSpec(), (512, 512))
    sizes = {
        name: str(graph.by_name[name].out_shape)
        for name in ("initial.act", "bottleneck1.4.act", "bottleneck3.8.act", "bottleneck4.2.act", "bottleneck5.1.act")
    }
    assert list(sizes.values()) == ["16x256x256", "64x128x128", "128x64x64", "64x128x128", "16x256x256"]
    dilations = [op.dilation[0] for op in convolutions(graph) if op.dilation != (1, 1)]
    assert dilations == [2, 4, 8, 16] * 2
    assert Counter(op.kernel for op in convolutions(graph, "transform")) == {(3, 3): 21, (5, 1): 4, (1, 5): 4}
    assert not any(op.bias for op in convolutions(graph))


def test_enet_unpools_where_it_pooled() -> None:
    graph = lower(ENetSpec(), (64, 64))
    unpools = [layer for layer in graph.layers if isinstance(layer.op, MaxUnpool)]
    assert [layer.inputs[1] for layer in unpools] == ["bottleneck2.0.pool", "bottleneck1.0.pool"]
    for layer in unpools:
        assert graph.by_name[layer.inputs[1]].inputs[0] == layer.inputs[2]


def test_erfnet_has_the_released_keys() -> None:
    with torch.device("meta"):
        keys = build(ERFNetSpec(), (64, 64)).state_dict()
    assert {
        "encoder.initial_block.conv.bias",
        "encoder.layers.1.conv3x1_1.weight",
        "encoder.layers.14.bn2.running_var",
        "decoder.layers.3.bn.weight",
        "decoder.output_conv.weight",
    } <= keys.keys()


def test_erfnet_dilates_the_second_pair_only() -> None:
    dilated = [op.dilation for op in convolutions(lower(ERFNetSpec())) if op.dilation != (1, 1)]
    assert dilated == [pair for d in (2, 4, 8, 16) * 2 for pair in ((d, 1), (1, d))]


@pytest.mark.parametrize("stride", [8, 16, 32])
def test_fcn_crops_the_middle_at_any_size(stride: Literal[8, 16, 32]) -> None:
    for size in (*range(1, 66), 223, 500):
        graph = lower(FCNSpec(stride=stride, widths=(1, 1, 1, 1, 1), hidden=1, classes=1), (size, 64))
        assert graph.output_shapes[0].height == size
        for layer in graph.layers:
            if isinstance(layer.op, Crop):
                whole, kept = (shape.height for shape in layer.in_shapes)
                surplus = whole - kept - 2 * layer.op.top
                # Poolings round up, at the far side only, by less than one step of the coarsest scores.
                assert 0 <= surplus < 32 if layer.name == "score" else -4 < surplus <= 0


@pytest.mark.parametrize("spec", [DeepLabSpec(), PSPNetSpec()])
def test_dilated_resnets_keep_an_eighth(spec: Spec) -> None:
    graph = lower(spec, (257, 513))
    features = graph.by_name["layer4.2.relu"].out_shape
    assert (features.channels, features.height, features.width) == (2048, 33, 65)
    third = {op.dilation[0] for op in convolutions(graph, "layer3") if op.kernel == (3, 3)}
    fourth = {op.dilation[0] for op in convolutions(graph, "layer4") if op.kernel == (3, 3)}
    assert (third, fourth) == ({2}, {4})


def test_pspnets_auxiliary_head_is_the_difference_to_the_larger_count() -> None:
    extra = lower(PSPNetSpec(auxiliary=True)).params - lower(PSPNetSpec()).params
    assert extra == 9 * 1024 * 256 + 2 * 256 + 256 * 19 + 19


def test_segnet_unpools_to_sizes_that_were_rounded_up() -> None:
    graph = lower(SegNetSpec(), (45, 61))
    assert str(graph.output_shapes[0]) == "19x45x61"
    assert [str(x.out_shape) for x in graph.layers if isinstance(x.op, MaxPool)][-1] == "512x2x2"


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: ENetSpec(widths=(3, 64, 128)), "the first must be above 3"),
        (lambda: ENetSpec(widths=(16, 8, 128)), "must not fall"),
        (lambda: ENetSpec(sections=3), "from 0 to 2"),
        (lambda: ERFNetSpec(widths=(16, 16, 128)), "must grow"),
        (lambda: SQNetSpec(widths=(96, 128, 250, 512)), "multiples of 8"),
        (lambda: FCNSpec(stride=4), "must be one of 8, 16, 32"),  # type: ignore[arg-type]
    ],
)
def test_spec_that_describes_no_network_is_refused(make: Callable[[], Spec], sentence: str) -> None:
    with pytest.raises(SpecError, match=sentence):
        make()
