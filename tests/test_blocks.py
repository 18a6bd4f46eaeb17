"""The units of other networks in ESPNet-C, and the ESPNet paper's formulas for them."""

import itertools
from collections import Counter

import pytest
import torch

from zoo.errors import SpecError
from zoo.graph import Conv, Graph, GraphBuilder, Shape
from zoo.models.block_costs import COSTS, Setting, block_rows
from zoo.models.blocks import UNITS
from zoo.models.espnet import ESPNetSpec
from zoo.network import module_from_graph
from zoo.registry import lower
from zoo.testing import FamilyContract

SKIPPING = ("esp", "shufflenet", "resnext", "resnet")
"""Units with a skip connection."""

BLOCKS = tuple(UNITS)
OTHERS = BLOCKS[1:]


class TestBlocks(FamilyContract):
    examples = (
        *(
            ESPNetSpec(block=block, k=2, alpha2=1, alpha3=1, widths=(4, 16, 24), classes=5, downsample=downsample)
            for block in ("shufflenet", "inception", "resnext", "asp")
            for downsample in ("esp", "conv")
        ),
        ESPNetSpec(block="mobilenet", alpha2=2, alpha3=1, widths=(4, 16, 24), downsample="conv"),
        ESPNetSpec(block="resnet", variant="B", image_path="none", alpha3=0, widths=(4, 9, 14), activation="relu"),
        ESPNetSpec(block="resnext", variant="ESPNet", alpha2=0, alpha3=1, k=3, widths=(4, 8, 14), reduce="3x3"),
        ESPNetSpec(block="inception", k=1, alpha2=1, alpha3=1, widths=(4, 6, 8)),
        ESPNetSpec(block="resnext", k=1, alpha2=1, alpha3=1, widths=(4, 6, 8)),
        ESPNetSpec(block="asp", k=1, alpha2=1, alpha3=1, widths=(4, 6, 8)),
    )


@pytest.mark.parametrize(
    ("block", "k", "published"),
    [
        ("mobilenet", 5, 0.233),
        ("shufflenet", 4, 0.181),
        ("inception", 5, 0.328),
        ("resnext", 4, 0.424),
        ("resnet", 5, 1.200),
    ],
)
def test_parameters_are_within_2_percent_of_the_published(block: str, k: int, published: float) -> None:
    spec = ESPNetSpec(block=block, k=k, alpha3=3, downsample="conv")  # type: ignore[arg-type]
    assert lower(spec).params == pytest.approx(1e6 * published, rel=0.02)
    assert f"{lower(spec).params:,}" in (ESPNetSpec.__doc__ or "")


def unit(block: str, setting: Setting) -> Graph:
    """One unit alone, with the defaults of a spec."""
    g = GraphBuilder()
    x = g.input("x", Shape(setting.m, setting.height, setting.width))
    return g.graph(UNITS[block](g, x, "unit", setting.n_out, ESPNetSpec(k=setting.k)))


SETTINGS = [
    Setting(height=5, width=7),
    Setting(m=32, n_out=32, k=4, height=3, width=4),
    Setting(m=64, n_out=64, k=1, height=6, width=6),
    Setting(m=24, n_out=48, k=3, height=4, width=2),
    Setting(m=40, n_out=8, k=2, height=2, width=2),
]


@pytest.mark.parametrize("block", BLOCKS)
@pytest.mark.parametrize("setting", SETTINGS, ids=str)
def test_formulas_count_the_units(block: str, setting: Setting) -> None:
    if setting.m != setting.n_out and block in SKIPPING[1:]:
        with pytest.raises(SpecError, match="cannot add"):
            unit(block, setting)
        return
    graph = unit(block, setting)
    convs = [layer for layer in graph.layers if isinstance(layer.op, Conv)]
    assert COSTS[block].params.of(setting) == sum(layer.params for layer in convs)
    assert COSTS[block].memory.of(setting) == sum(layer.out_shape.elements for layer in convs)
    assert graph.output_shapes == (Shape(setting.n_out, setting.height, setting.width),)


@pytest.mark.parametrize("k", [1, 3, 5])
@pytest.mark.parametrize("block", BLOCKS)
def test_receptive_field_is_where_gradients_reach(block: str, k: int) -> None:
    setting = Setting(m=4 * k, n_out=4 * k, k=k, height=37, width=37)
    module = module_from_graph(unit(block, setting)).eval()
    for parameter in module.parameters():
        parameter.detach().abs_()  # nothing cancels, and no ReLU cuts off
    image = torch.ones(1, setting.m, 37, 37, requires_grad=True)
    result = module(image)
    assert isinstance(result, torch.Tensor)
    # The last channel, as the first branch of an ESP unit has no dilation.
    result[0, -1, 18, 18].backward()
    assert image.grad is not None
    seen = image.grad[0].abs().sum(0).nonzero()
    assert COSTS[block].field.of(setting) == int(seen[:, 0].max() - seen[:, 0].min()) + 1
    assert (seen.min(0).values + seen.max(0).values).tolist() == [36, 36]


def test_rows_compare_every_unit() -> None:
    rows = block_rows(Setting(m=64, n_out=64, k=4, height=10, width=20))
    assert [row.block for row in rows] == list(BLOCKS)
    by_block = {row.block: row for row in rows}
    assert by_block["esp"].memory_bytes == 4 * 10 * 20 * 16 * 5
    # What the paper concludes: ESP sees as far as ASP with the fewest parameters of those that see as far.
    assert by_block["esp"].receptive_field == by_block["asp"].receptive_field == max(r.receptive_field for r in rows)
    assert by_block["esp"].params < by_block["asp"].params


@pytest.mark.parametrize(
    ("sizes", "said"),
    [({"k": 3}, "K must divide N"), ({"k": 50}, "g must divide"), ({"m": 0}, "at least 1"), ({"m": 30}, "g must")],
)
def test_setting_is_refused(sizes: dict[str, int], said: str) -> None:
    with pytest.raises(SpecError, match=said):
        Setting(**sizes)


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"block": "resnet", "residual": False}, "residual"),
        ({"block": "asp", "reduce": "3x3"}, "reduce"),
        ({"block": "inception", "hff": False, "downsample": "conv"}, "hff"),
        ({"block": "shufflenet", "k": 4, "pyramid": "standard", "downsample": "conv"}, "pyramid"),
        ({"block": "mobilenet", "k": 4, "downsample": "conv"}, "k has no effect"),
        ({"block": "resnet", "k": 4, "downsample": "conv"}, "k has no effect"),
        ({"block": "resnet", "alpha2": 0, "alpha3": 0}, "block"),
        ({"block": "shufflenet"}, "widths"),
        ({"block": "resnex"}, "did you mean 'resnext'"),
    ],
)
def test_spec_is_refused(fields: dict[str, object], named: str) -> None:
    with pytest.raises(SpecError, match=named):
        ESPNetSpec(**fields)  # type: ignore[arg-type]


def anatomy(graph: Graph) -> tuple[object, ...]:
    """Everything of a graph but its names."""
    number = {layer.name: i for i, layer in enumerate(graph.layers)}
    return tuple((layer.op, *(number[name] for name in layer.inputs)) for layer in graph.layers)


def test_no_two_specs_describe_one_network() -> None:
    axes = {
        "block": BLOCKS,
        "variant": ("C", "ESPNet"),
        "k": (4, 5),
        "alpha2": (0, 1),
        "residual": (True, False),
        "hff": (True, False),
        "reduce": ("pointwise", "3x3"),
        "pyramid": ("dilated", "standard"),
        "downsample": ("esp", "conv"),
    }
    found: Counter[int] = Counter()
    for values in itertools.product(*axes.values()):
        try:
            spec = ESPNetSpec(**dict(zip(axes, values, strict=True)), alpha3=1, widths=(3, 16, 20))  # type: ignore[arg-type]
        except SpecError:
            continue
        found[hash(anatomy(lower(spec, (32, 32))))] += 1
    assert len(found) > 300
    assert set(found.values()) == {1}
