"""ESPNetv2: published counts, released checkpoints, and what its specs may say."""

import itertools
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from zoo.bulk.choices import Choices
from zoo.bulk.lower import BulkLowering
from zoo.errors import SpecError
from zoo.graph import Graph, GraphBuilder, Linear, Shape
from zoo.models.espnetv2 import UNUSED_KEYS, ESPNetv2Spec
from zoo.models.espnetv2_classifier import ESPNetv2ClassifierSpec
from zoo.models.espnetv2_encoder import eesp, kernels
from zoo.models.espnetv2_ssd import ESPNetv2SSDSpec
from zoo.network import flush_subnormals_, module_from_graph
from zoo.registry import family, lower
from zoo.specs import Spec
from zoo.testing import FamilyContract


class TestESPNetv2(FamilyContract):
    examples = (
        ESPNetv2Spec(scale=0.5, depth3=1, depth4=1, classes=2),
        ESPNetv2Spec(widths=(4, 8, 20, 24), k=2, depth3=0, depth4=2, r_lim=(3, 5, 3, 5), decoder_width=3, classes=9),
        ESPNetv2ClassifierSpec(widths=(8, 9, 10, 12, 15), k=1, r_lim=(3,) * 5, depth4=1, depth5=2, classes=7),
        ESPNetv2SSDSpec(widths=(8, 16, 32, 44, 60), k=2, r_lim=(5, 5, 3, 3, 5), depth3=1, depth4=1, classes=4),
    )


@pytest.mark.parametrize(
    ("scale", "params", "macs"),
    [
        (0.5, 80_230, 596_248_176),
        (1.0, 233_786, 1_085_283_952),
        (1.5, 468_010, 1_713_255_536),
        (2.0, 788_762, 2_697_742_960),
    ],
)
def test_segmentation_counts(scale: float, params: int, macs: int) -> None:
    graph = lower(ESPNetv2Spec(scale=scale), (512, 1024))
    assert (graph.params, graph.macs) == (params, macs)


@pytest.mark.parametrize(
    ("scale", "params_m", "macs_m"),
    [(0.5, 1.24, 28.4), (1.0, 1.67, 85.7), (1.25, 1.96, 123.4), (1.5, 2.31, 168.6), (2.0, 3.49, 284.8)],
)
def test_classifier_counts_are_the_published(scale: float, params_m: float, macs_m: float) -> None:
    graph = lower(ESPNetv2ClassifierSpec(scale=scale), (224, 224))
    convolutions = graph.macs - sum(layer.macs for layer in graph.layers if isinstance(layer.op, Linear))
    assert round(graph.params / 1e6, 2) == params_m
    assert round(convolutions / 1e6, 1) == macs_m
    documented = ESPNetv2ClassifierSpec.__doc__ or ""
    assert all(f"{count:,}" in documented for count in (graph.params, graph.macs, convolutions))


NEVER_EXECUTED = 6_202
"""Parameters of the encoder at scale 2 that the authors count and nothing executes."""


@pytest.mark.parametrize(
    ("classes", "side", "params_m", "macs_g"),
    [(81, 300, 5.81, 1.1), (81, 512, 5.81, 3.2), (21, 300, 4.75, 0.9), (21, 512, 4.75, 2.5)],
)
def test_detector_counts_are_near_the_published(classes: int, side: int, params_m: float, macs_g: float) -> None:
    graph = lower(ESPNetv2SSDSpec(scale=2.0, classes=classes), (side, side))
    assert round((graph.params + NEVER_EXECUTED) / 1e6, 2) == params_m
    assert int(graph.macs / 1e8) / 10 == macs_g
    documented = ESPNetv2SSDSpec.__doc__ or ""
    assert all(f"{count:,}" in documented for count in (graph.params, graph.macs))


def test_detector_has_the_maps_of_ssd300() -> None:
    shapes = lower(ESPNetv2SSDSpec(classes=21), (300, 300)).output_shapes
    sides = (38, 19, 10, 5, 3, 1)
    assert shapes == tuple(Shape(channels, side, side) for channels in (126, 24) for side in sides)


LOGITS = {
    "0.5_city_1024x512": (4.8213, -1.0482, -2.0317, 10.3806),
    "0.5_city_512x256": (13.0404, -3.6515, -1.5955, 14.7682),
    "0.5_pascal_256x256": (11.7414, 0.4399, 0.7579, 11.8812),
    "0.5_pascal_384x384": (12.3649, -0.8779, -0.1407, 14.9212),
    "1.0_city_1024x512": (8.7067, -3.9786, -2.772, 15.3701),
    "1.0_city_512x256": (10.9372, 0.9881, -3.3637, 17.5782),
    "1.0_pascal_256x256": (13.9306, 1.0375, 0.8993, 14.5741),
    "1.0_pascal_384x384": (14.6273, 1.3475, 1.4045, 20.6298),
    "1.5_city_1024x512": (4.6683, -0.7267, -2.6551, 10.0582),
    "1.5_city_512x256": (7.1478, -1.4958, -3.0017, 10.7189),
    "1.5_pascal_256x256": (14.1525, -1.232, -1.6435, 15.5356),
    "1.5_pascal_384x384": (12.544, -0.7762, -1.8909, 21.8689),
    "2.0_city_1024x512": (0.4951, -3.225, -4.2059, 11.9372),
    "2.0_city_512x256": (2.1837, -2.2002, -2.3739, 9.2288),
    "2.0_pascal_256x256": (10.245, 3.8271, 2.1798, 11.5506),
    "2.0_pascal_384x384": (11.8195, 1.4335, 0.0914, 16.4309),
}
"""Logits of the authors' networks at three places, and the largest magnitude, for the input below."""


@pytest.mark.parametrize("name", LOGITS)
@torch.no_grad()
def test_released_checkpoint_gives_the_authors_logits(name: str, shared: Path) -> None:
    path = shared / "weights" / "espnetv2" / f"espnetv2_s_{name}.pth"
    state = torch.load(path, map_location="cpu", weights_only=True)
    spec = ESPNetv2Spec(scale=float(name[:3]), classes=20 if "city" in name else 21)
    module = module_from_graph(lower(spec, (256, 512))).eval()
    assert set(state) - set(module.state_dict()) == set(UNUSED_KEYS)
    for key in UNUSED_KEYS:
        del state[key]
    module.load_state_dict(flush_subnormals_(state))
    noise = np.random.RandomState(7).randn(1, 3, 256, 512) / 255
    (logits,) = module(torch.from_numpy(noise.astype(np.float32)))
    found = (logits[0, 100, 200], logits[9, 31, 7], logits[18, 255, 511], logits.abs().max())
    largest = LOGITS[name][-1]
    assert [float(x) for x in found] == pytest.approx(LOGITS[name], abs=1e-4 * largest)


@torch.no_grad()
def test_unit_computes_what_the_paper_says() -> None:
    g = GraphBuilder()
    x = g.input("x", Shape(32, 9, 11))
    module = module_from_graph(g.graph(eesp(g, x, "unit", 32, k=4, r_lim=7))).eval()
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, generator=torch.Generator().manual_seed(parameter.numel()))
    weights = dict(module.named_parameters())

    def after(y: torch.Tensor, bn: str, act: str | None = None) -> torch.Tensor:
        scale, shift = (weights[f"unit.{bn}.{kind}"][:, None, None] for kind in ("weight", "bias"))
        y = y / (1 + 1e-5) ** 0.5 * scale + shift
        return y if act is None else torch.where(y > 0, y, y * weights[f"unit.{act}.weight"][:, None, None])

    image = torch.randn(2, 32, 9, 11, generator=torch.Generator().manual_seed(0))
    y = functional.conv2d(image, weights["unit.proj_1x1.conv.weight"], groups=4)
    y = after(y, "proj_1x1.bn", "proj_1x1.act")
    fused = torch.zeros_like(y)
    parts = []
    for i, dilation in enumerate((1, 1, 2, 3)):  # the fourth kernel, 9, is beyond 7 and falls back to 3
        kernel = weights[f"unit.spp_dw.{i}.conv.weight"]
        fused = fused + functional.conv2d(y, kernel, padding=dilation, dilation=dilation, groups=8)
        parts.append(fused)
    y = after(torch.cat(parts, 1), "br_after_cat.bn", "br_after_cat.act")
    y = after(functional.conv2d(y, weights["unit.conv_1x1_exp.conv.weight"], groups=4), "conv_1x1_exp.bn") + image
    y = torch.where(y > 0, y, y * weights["unit.module_act.weight"][:, None, None])
    torch.testing.assert_close(module(image), y, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("r_lim", [13, 11, 9])
def test_limits_beyond_the_largest_kernel_are_no_limits(r_lim: int) -> None:
    assert kernels(4, r_lim) == [3, 5, 7, 9]


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"scale": 0.3}, "use 0.25"),
        ({"scale": 0.75}, "k \\* k = 16"),
        ({"scale": 5.0}, "0.125 to 4"),
        ({"scale": float("nan")}, "number"),
        ({"widths": (32, 64, 128, 256)}, "scale=1.0"),
        ({"widths": (16, 48, 96, 112), "scale": 2.0}, "exclude each other"),
        ({"widths": (16, 16, 32, 48)}, "increase"),
        ({"widths": (16, 32, 48)}, "4 values"),
        ({"k": 2}, "r_lim .* 5"),
        ({"r_lim": (9, 9, 9, 8)}, "odd"),
        ({"r_lim": (13, 11, 9, 7)}, "write 9 for no limit"),
        ({"depth4": 0}, "1 to 64"),
        ({"classes": 1}, "from 2"),
    ],
)
def test_spec_is_refused(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(SpecError, match=said):
        ESPNetv2Spec(**fields)


def test_level_5_is_refused_where_its_groups_do_not_divide() -> None:
    with pytest.raises(SpecError, match="k must divide the 1024 channels"):
        ESPNetv2ClassifierSpec(k=3, widths=(9, 18, 36, 45, 54), r_lim=(7, 7, 7, 7, 5))


def valid(name: str, axes: dict[str, tuple[Any, ...]]) -> tuple[list[int], list[Spec]]:
    """Combinations of field values that are specs, and where they stand among all combinations."""
    rows, specs = [], []
    for row, values in enumerate(itertools.product(*axes.values())):
        try:
            specs.append(family(name).spec(**dict(zip(axes, values, strict=True))))
        except SpecError:
            continue
        rows.append(row)
    return rows, specs


SEGMENTATION = {
    "scale": (0.5, 1.0, 1.25),
    "widths": (None, (16, 48, 64, 96), (8, 16, 20, 24)),
    "k": (2, 4),
    "depth3": (0, 2),
    "depth4": (1, 3),
    "r_lim": ((5, 5, 5, 5), (9, 9, 9, 7), (5, 5, 3, 5)),
    "decoder_width": (4, 16),
}
CLASSIFICATION = {"scale": (0.5, 1.75, 2.0), "depth3": (0, 2), "depth5": (1, 4), "classes": (10, 1000)}
DETECTION = {"scale": (0.5, 2.0), "depth4": (1, 2), "depth5": (1, 2), "classes": (2, 21)}
SPACES = {"espnetv2": SEGMENTATION, "espnetv2-classifier": CLASSIFICATION, "espnetv2-ssd": DETECTION}


@cache
def graphs_of(name: str) -> list[Graph]:
    """The networks of a space, one by one."""
    return [lower(spec, (96, 160)) for spec in valid(name, SPACES[name])[1]]


@pytest.mark.parametrize("name", SPACES)
def test_a_space_lowers_at_once_as_one_by_one(name: str) -> None:
    axes = SPACES[name]
    rows, specs = valid(name, axes)
    choices = Choices(name, axes)
    bulk = BulkLowering(choices, Shape(3, 96, 160)).lower(choices.codes(np.array(rows)))
    graphs = graphs_of(name)
    assert len(specs) >= 16
    assert bulk.params.tolist() == [graph.params for graph in graphs]
    assert bulk.macs.tolist() == [graph.macs for graph in graphs]
    assert bulk.peak_activation_bytes.tolist() == [graph.peak_activation_bytes for graph in graphs]


def anatomy(graph: Graph) -> tuple[object, ...]:
    """Everything of a graph but its names."""
    number = {layer.name: i for i, layer in enumerate(graph.layers)}
    return tuple((layer.op, *(number[name] for name in layer.inputs)) for layer in graph.layers)


@pytest.mark.parametrize("name", SPACES)
def test_no_two_specs_describe_one_network(name: str) -> None:
    found = Counter(map(anatomy, graphs_of(name)))
    assert set(found.values()) == {1}
