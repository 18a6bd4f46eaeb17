"""Each op's formulas against torch: shapes, parameters, MACs, and what the module computes."""

from typing import Any

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from hw_models import kernels
from hw_models.measured import blocks
from zoo import graph as ops
from zoo.errors import SpecError
from zoo.graph import Graph, GraphBuilder, Shape
from zoo.network import module_from_graph
from zoo.op_modules import MODULES, averaging

OPS = [
    value
    for value in vars(ops).values()
    if isinstance(value, type) and not value.__name__.startswith("_") and value is not ops.Op
    if all(hasattr(value, method) for method in ("shape", "params", "macs")) and value not in (ops.Graph, ops.Layer)
]

few = st.integers(1, 6)
sizes = st.integers(1, 12)
pairs = st.tuples(st.integers(1, 4), st.integers(1, 4))
paddings = st.tuples(st.integers(0, 3), st.integers(0, 3))
laws = settings(max_examples=25, deadline=None, derandomize=True)
laws_of_many_fields = settings(laws, max_examples=60)


@st.composite
def shapes(draw: Any, channels: st.SearchStrategy[int] = few) -> Shape:
    return Shape(draw(channels), draw(sizes), draw(sizes))


def graph_of(op: Any, *inputs: Shape) -> Graph:
    """A graph of that one op, named `op`."""
    g = GraphBuilder()
    names = tuple(g.input(f"in{i}", shape) for i, shape in enumerate(inputs))
    return g.graph(g.append(op, names, "op"))


def run(graph: Graph, batch: int = 2, seed: int = 0) -> tuple[list[torch.Tensor], torch.Tensor]:
    """Random inputs and what the graph's module makes of them."""
    generator = torch.Generator().manual_seed(seed)
    entries = [x.out_shape for x in graph.layers if isinstance(x.op, ops.Input)]
    images = [torch.randn(batch, x.channels, x.height, x.width, generator=generator) for x in entries]
    with torch.no_grad():
        return images, module_from_graph(graph).eval()(*images)


def agrees(op: Any, *inputs: Shape) -> torch.Tensor:
    """Shape, parameters and MACs of one op equal torch's; returns the output."""
    graph = graph_of(op, *inputs)
    images, out = run(graph)
    module = module_from_graph(graph).eval()
    assert out.shape == (2, *shape_of(graph.output_shapes[0]))
    assert graph.params == sum(p.numel() for p in module.parameters())
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        module(*[x[:1] for x in images])
    assert counter.get_total_flops() == 2 * graph.macs
    return out


def shape_of(shape: Shape) -> tuple[int, int, int]:
    return shape.channels, shape.height, shape.width


def test_every_op_has_a_module() -> None:
    assert {op for op in OPS if op is not ops.Input} == set(MODULES)


@pytest.mark.parametrize("table", [kernels.RULES, blocks.OPS.values()], ids=["kernels.RULES", "blocks.OPS"])
def test_every_op_is_priced_and_has_a_name_in_tables(table: Any) -> None:
    assert {op for op in OPS if op is not ops.Input} == set(table)


@laws_of_many_fields
@given(st.data())
def test_conv(data: st.DataObject) -> None:
    groups = data.draw(st.integers(1, 3))
    x = data.draw(shapes(st.integers(1, 3).map(lambda n: n * groups)))
    op = ops.Conv(
        groups * data.draw(st.integers(1, 3)),
        data.draw(pairs),
        data.draw(pairs),
        data.draw(paddings),
        data.draw(pairs),
        groups,
        data.draw(st.booleans()),
    )
    try:
        op.shape(x)
    except ValueError:
        # What does not fit for us must not fit for torch either.
        weight = torch.zeros(op.out_channels, x.channels // groups, *op.kernel)
        with pytest.raises(RuntimeError):
            functional.conv2d(torch.zeros(1, *shape_of(x)), weight, None, op.stride, op.padding, op.dilation, op.groups)
        return
    agrees(op, x)


@laws_of_many_fields
@given(st.data())
def test_transposed_conv(data: st.DataObject) -> None:
    groups = data.draw(st.integers(1, 3))
    x = data.draw(shapes(st.integers(1, 3).map(lambda n: n * groups)))
    stride = data.draw(pairs)
    op = ops.ConvTranspose(
        groups * data.draw(st.integers(1, 3)),
        data.draw(pairs),
        stride,
        data.draw(paddings),
        (data.draw(st.integers(0, stride[0] - 1)), data.draw(st.integers(0, stride[1] - 1))),
        groups,
        data.draw(st.booleans()),
    )
    out = op.shape(x)
    assume(out.height > 0 and out.width > 0)
    agrees(op, x)


@laws
@given(shapes(), st.integers(1, 7), st.booleans())
def test_linear(x: Shape, out_channels: int, bias: bool) -> None:
    agrees(ops.Linear(out_channels, bias), x)


@pytest.mark.parametrize(
    "op",
    [
        *(ops.BatchNorm(1e-3), ops.PReLU(), ops.ReLU(), ops.ELU(), ops.Sigmoid(), ops.Dropout(0.3)),
        *(ops.Dropout(0.3, True), ops.ReLU6(), ops.HardSigmoid(), ops.HardSwish(), ops.SiLU()),
    ],
)
def test_element_wise(op: Any) -> None:
    agrees(op, Shape(4, 3, 5))


@laws
@given(shapes(), st.integers(1, 4))
def test_add(x: Shape, count: int) -> None:
    images, out = run(graph_of(ops.Add(), *[x] * count))
    torch.testing.assert_close(out, torch.stack(images).sum(0))
    agrees(ops.Add(), *[x] * count)


@laws
@given(shapes(), st.sampled_from(["none", "pixels", "channels"]))
def test_multiply(x: Shape, broadcast: str) -> None:
    factor = {"none": x, "pixels": Shape(x.channels, 1, 1), "channels": Shape(1, x.height, x.width)}[broadcast]
    images, out = run(graph_of(ops.Multiply(), x, factor))
    assert torch.equal(out, images[0] * images[1].expand_as(images[0]))
    agrees(ops.Multiply(), x, factor)


@laws
@given(shapes())
def test_complement(x: Shape) -> None:
    images, out = run(graph_of(ops.Complement(), x))
    torch.testing.assert_close(out + images[0], torch.ones_like(out))
    agrees(ops.Complement(), x)


@laws
@given(shapes(), st.data())
def test_slices_of_the_channels_are_the_whole(x: Shape, data: st.DataObject) -> None:
    cut = data.draw(st.integers(1, x.channels))
    slices = [ops.SliceChannels(0, cut), ops.SliceChannels(cut, x.channels)][: 1 + (cut < x.channels)]
    parts = [run(graph_of(op, x)) for op in slices]
    assert torch.equal(torch.cat([part for _, part in parts], 1), parts[0][0][0])
    for op in slices:
        agrees(op, x)


@laws
@given(shapes())
def test_reductions_over_channels(x: Shape) -> None:
    images, mean = run(graph_of(ops.ReduceChannels(), x))
    _, total = run(graph_of(ops.ReduceChannels("sum"), x))
    torch.testing.assert_close(mean, functional.conv2d(images[0], torch.ones(1, x.channels, 1, 1)) / x.channels)
    torch.testing.assert_close(total, x.channels * mean)
    agrees(ops.ReduceChannels("sum"), x)


@laws
@given(shapes(), st.lists(st.integers(1, 4), min_size=1, max_size=3))
def test_concat(x: Shape, more: list[int]) -> None:
    agrees(ops.Concat(), x, *[Shape(n, x.height, x.width) for n in more])


@laws
@given(shapes(), st.integers(0, 3))
def test_pad_channels(x: Shape, more: int) -> None:
    images, out = run(graph_of(ops.PadChannels(x.channels + more), x))
    assert torch.equal(out[:, : x.channels], images[0])
    assert not out[:, x.channels :].any()


@laws
@given(shapes(), st.data())
def test_select_channels(x: Shape, data: st.DataObject) -> None:
    channels = data.draw(st.lists(st.integers(0, x.channels - 1), min_size=1, max_size=4))
    images, out = run(graph_of(ops.SelectChannels(tuple(channels)), x))
    assert torch.equal(out, images[0][:, channels])
    agrees(ops.SelectChannels(tuple(channels)), x)


@laws
@given(shapes())
def test_maximum(x: Shape) -> None:
    (first, second), out = run(graph_of(ops.Maximum(), x, x))
    assert torch.equal(out, torch.where(first > second, first, second))
    agrees(ops.Maximum(), x, x)


@laws
@given(shapes())
def test_scale(x: Shape) -> None:
    agrees(ops.Scale(), x)
    module = module_from_graph(graph_of(ops.Scale(), x))
    factors = torch.arange(x.channels, dtype=torch.float32)
    module.op.weight.data[:] = factors  # type: ignore[operator, union-attr]
    ones = torch.ones(1, *shape_of(x))
    assert torch.equal(module(ones), factors[None, :, None, None].expand_as(ones))


@laws
@given(shapes(st.integers(1, 3).map(lambda n: 2 * n)), st.sampled_from([1, 2]))
def test_channel_shuffle(x: Shape, groups: int) -> None:
    images, out = run(graph_of(ops.ChannelShuffle(groups), x))
    assert torch.equal(out, functional.channel_shuffle(images[0], groups))
    agrees(ops.ChannelShuffle(groups), x)


@laws
@given(shapes(), pairs, pairs, paddings)
def test_average_pool(x: Shape, kernel: ops.Pair, stride: ops.Pair, padding: ops.Pair) -> None:
    assume(all(2 * p <= k for p, k in zip(padding, kernel, strict=True)))
    assume(x.height + 2 * padding[0] >= kernel[0] and x.width + 2 * padding[1] >= kernel[1])
    images, out = run(graph_of(ops.AvgPool(kernel, stride, padding), x))
    padded = functional.pad(images[0], (padding[1], padding[1], padding[0], padding[0]))
    torch.testing.assert_close(out, functional.avg_pool2d(padded, kernel, stride))
    agrees(ops.AvgPool(kernel, stride, padding), x)


@laws_of_many_fields
@given(shapes(), pairs, pairs, paddings, st.booleans())
def test_max_pool(x: Shape, kernel: ops.Pair, stride: ops.Pair, padding: ops.Pair, ceil: bool) -> None:
    assume(all(2 * p <= k for p, k in zip(padding, kernel, strict=True)))
    assume(x.height + 2 * padding[0] >= kernel[0] and x.width + 2 * padding[1] >= kernel[1])
    agrees(ops.MaxPool(kernel, stride, padding, ceil), x)


@laws
@given(shapes(), st.integers(1, 3), st.booleans())
def test_max_unpool_puts_values_back(x: Shape, kernel: int, ceil: bool) -> None:
    assume(x.height >= kernel and x.width >= kernel)
    g = GraphBuilder()
    image = g.input("image", x)
    pooled = g.max_pool(image, "pool", kernel=kernel, stride=kernel, ceil=ceil)
    twice = g.add((pooled, pooled), "twice")
    out = g.append(ops.MaxUnpool((kernel, kernel), (kernel, kernel)), (twice, pooled, image), "unpool")
    images, ours = run(g.graph(out))
    values, indices = functional.max_pool2d(images[0], kernel, kernel, ceil_mode=ceil, return_indices=True)
    expected = functional.max_unpool2d(2 * values, indices, kernel, kernel, output_size=images[0].shape)
    assert torch.equal(ours, expected)


@laws
@given(shapes(), st.sampled_from([0.1, 0.5, 1.0, 1.5, 2.0]), st.integers(1, 5))
def test_adaptive_pool_by_scale(x: Shape, scale: float, minimum: int) -> None:
    agrees(ops.AdaptiveAvgPool(scale=scale, minimum=minimum), x)


@laws
@given(shapes(), pairs)
def test_adaptive_pool_is_one_product_for_each_axis(x: Shape, size: ops.Pair) -> None:
    images, out = run(graph_of(ops.AdaptiveAvgPool(size), x))
    rows, columns = averaging(x.height, size[0], out), averaging(x.width, size[1], out)
    torch.testing.assert_close(rows @ images[0] @ columns.T, out)


@laws
@given(shapes(), sizes, sizes)
def test_adaptive_pool_like(x: Shape, height: int, width: int) -> None:
    images, out = run(graph_of(ops.AdaptiveAvgPool(), x, Shape(1, height, width)))
    assert torch.equal(out, functional.adaptive_avg_pool2d(images[0], (height, width)))
    agrees(ops.AdaptiveAvgPool(), x, Shape(1, height, width))


@laws
@given(shapes(), sizes, sizes, st.sampled_from(["bilinear", "nearest"]), st.booleans())
def test_resize_like(x: Shape, height: int, width: int, mode: Any, corners: bool) -> None:
    like = Shape(1, height, width)
    images, out = run(graph_of(ops.Resize(mode, corners), x, like))
    flag = corners if mode == "bilinear" else None
    expected = functional.interpolate(images[0], (height, width), mode=mode, align_corners=flag)
    assert torch.equal(out, expected)
    agrees(ops.Resize(mode, corners), x, like)


@laws
@given(few, st.integers(1, 5), st.integers(1, 5))
def test_space_to_depth_keeps_every_value(channels: int, rows: int, columns: int) -> None:
    x = Shape(channels, 2 * rows, 2 * columns)
    images, out = run(graph_of(ops.SpaceToDepth(), x))
    assert torch.equal(out[:, :channels], images[0][..., ::2, ::2])
    # torch's own puts the four pixels of a channel side by side, row by row.
    theirs = functional.pixel_unshuffle(images[0], 2).reshape(2, channels, 4, rows, columns)[:, :, [0, 2, 1, 3]]
    assert torch.equal(out, theirs.transpose(1, 2).reshape(out.shape))
    agrees(ops.SpaceToDepth(), x)


@laws
@given(shapes(), st.sampled_from([0.1, 0.5, 1.0, 1.5, 2.0]), st.integers(1, 5))
def test_resize_by_scale(x: Shape, scale: float, minimum: int) -> None:
    agrees(ops.Resize(scale=scale, minimum=minimum), x)


@laws
@given(shapes(), st.integers(0, 3), st.integers(0, 3), st.integers(0, 3))
def test_crop(like: Shape, top: int, left: int, more: int) -> None:
    x = Shape(2, like.height + top + more, like.width + left)
    images, out = run(graph_of(ops.Crop(top, left), x, like))
    assert torch.equal(out, images[0][:, :, top : top + like.height, left : left + like.width])
    agrees(ops.Crop(top, left), x, like)


@pytest.mark.parametrize(
    ("op", "inputs", "word"),
    [
        (ops.Conv(4, (3, 3), groups=2), [Shape(3, 8, 8)], "groups"),
        (ops.Conv(0, (1, 1)), [Shape(3, 8, 8)], "output channels"),
        (ops.AvgPool((9, 9), (1, 1)), [Shape(3, 8, 8)], "does not fit"),
        (ops.Add(), [Shape(3, 8, 8), Shape(3, 8, 7)], "3x8x7"),
        (ops.Multiply(), [Shape(3, 8, 8), Shape(2, 1, 1)], "2x1x1"),
        (ops.Maximum(), [Shape(3, 8, 8), Shape(3, 1, 1)], "3x1x1"),
        (ops.Concat(), [Shape(3, 8, 8), Shape(3, 4, 4)], "3x4x4"),
        (ops.PadChannels(2), [Shape(3, 8, 8)], "pad 3 channels to 2"),
        (ops.SliceChannels(1, 4), [Shape(3, 8, 8)], "channels 1 to 4 of 3x8x8"),
        (ops.ChannelShuffle(2), [Shape(3, 8, 8)], "2 groups"),
        (ops.SpaceToDepth(), [Shape(3, 8, 7)], "must be even"),
        (ops.Crop(1, 0), [Shape(3, 8, 8), Shape(3, 8, 8)], "crop"),
    ],
)
def test_shapes_that_do_not_fit_name_the_layer(op: Any, inputs: list[Shape], word: str) -> None:
    with pytest.raises(SpecError, match=rf"^op: .*{word}"):
        graph_of(op, *inputs)
