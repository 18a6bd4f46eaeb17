"""Predicted cost: laws that hold for every device and network, and agreement of the two paths."""

import dataclasses
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hw_models import load_device, predict, predictor
from hw_models.analytic.many import Kernels
from hw_models.analytic.residuals import chip_of
from hw_models.analytic.roofline import INDEX, PARAMETERS, Chip, kernel_time
from hw_models.device import DeviceError
from hw_models.fusion import fused
from hw_models.host import with_host_dispatch
from hw_models.kernels import RULES, PriceError, work_of
from search.space import space_of
from zoo import graph as g
from zoo.bulk.lower import BulkLowering
from zoo.config import load_config
from zoo.errors import ZooError
from zoo.graph import Conv, Layer, PReLU, Shape
from zoo.models.espnet import ESPNetSpec
from zoo.registry import FAMILIES, lower, spec_from_dict

DEVICES = ("tx2", "gtx960m", "titanx")
SMALL = lower(ESPNetSpec(variant="ESPNet", alpha3=3), (128, 256))
FULL = lower(ESPNetSpec(variant="ESPNet"))


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_is_priced_on_every_device(family: str, device: str) -> None:
    spec = spec_from_dict({"family": family})
    graph = lower(spec, (384, 384))
    cost = predict(graph, device)
    priced = [layer for layer in graph.layers if not isinstance(layer.op, g.Input)]
    assert [kernel.name for kernel in cost.kernels] == [layer.name for layer in priced]
    assert sum(kernel.macs for kernel in cost.kernels) == graph.macs
    assert sum(kernel.share for kernel in cost.kernels) == pytest.approx(1)
    assert sum(cost.provenance.values()) == pytest.approx(1)
    for interval in (cost.latency_s, cost.power_w, cost.energy_j):
        assert 0 < interval.low <= interval.mean <= interval.high
    assert cost.memory_bytes == graph.weight_bytes + graph.peak_activation_bytes


def test_every_op_of_the_graph_has_a_rule() -> None:
    ops = {
        cls
        for cls in vars(g).values()
        if isinstance(cls, type) and dataclasses.is_dataclass(cls) and hasattr(cls, "macs")
    }
    assert ops - {g.Input, g.Layer, g.Graph} == set(RULES)


def test_an_op_without_a_rule_stops_with_layer_and_op() -> None:
    @dataclasses.dataclass(frozen=True)
    class Fourier(PReLU):
        pass

    shape = Shape(3, 8, 8)
    layer = Layer("stem.fft", Fourier(), ("image",), (shape,), shape)
    with pytest.raises(PriceError, match=r"stem\.fft: op Fourier has no price"):
        predictor("tx2").terms((layer,))


@pytest.mark.parametrize("device", DEVICES)
def test_predict_equals_the_vectorised_path(device: str) -> None:
    prices = predictor(device)
    graphs = [lower(ESPNetSpec(variant="C", alpha3=n), (256, 512)) for n in (0, 3, 8)]
    arrays = prices.finish(np.stack([prices.terms(graph.layers) for graph in graphs]), 0.8)
    for i, graph in enumerate(graphs):
        cost = predict(graph, device, confidence=0.8)
        for metric in ("latency_s", "power_w", "energy_j"):
            for part in ("mean", "low", "high"):
                assert getattr(getattr(cost, metric), part) == pytest.approx(
                    getattr(arrays, f"{metric}_{part}")[i], rel=1e-9
                )
        assert cost.fps == pytest.approx(arrays.fps[i], rel=1e-9)


@given(cut=st.integers(0, len(SMALL.layers)))
@settings(max_examples=25, deadline=None)
def test_terms_of_a_network_are_the_sum_of_its_pieces(cut: int) -> None:
    prices = predictor("titanx")
    pieces = prices.terms(SMALL.layers[:cut]) + prices.terms(SMALL.layers[cut:])
    assert pieces == pytest.approx(prices.terms(SMALL.layers), rel=1e-9)


def test_device_time_is_the_sum_of_the_kernels() -> None:
    prices = predictor("tx2", 1134)
    kernels = prices.kernel_costs(SMALL.layers)
    assert prices.terms(SMALL.layers)[0] == pytest.approx(sum(kernel.latency_s for kernel in kernels))


@pytest.mark.parametrize("family", ["espnet", "enet", "erfnet", "segnet"])
def test_latency_falls_and_power_rises_with_the_clock(family: str) -> None:
    graph = lower(spec_from_dict({"family": family}), (256, 512))
    costs = [predict(graph, "tx2", mhz) for mhz in (828, 950, 1134, 1300)]
    for slow, fast in itertools.pairwise(costs):
        assert fast.latency_s.mean <= slow.latency_s.mean
        assert fast.power_w.mean >= slow.power_w.mean


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("parameter", ["bandwidth", "bytes_per_cycle", "efficiency"])
def test_latency_never_rises_with_bandwidth_or_efficiency(device: str, parameter: str) -> None:
    base = dataclasses.replace(load_device(device), look_up=False)
    theta = base.latency.theta.copy()
    theta[INDEX[parameter]] += 0.3
    better = dataclasses.replace(base, latency=dataclasses.replace(base.latency, theta=theta))
    assert predict(FULL, better).latency_s.mean < predict(FULL, base).latency_s.mean


@pytest.mark.parametrize("device", DEVICES)
def test_a_batch_costs_more_than_one_image_and_less_than_as_many_alone(device: str) -> None:
    one, four, eight = (predict(SMALL, device, batch=n) for n in (1, 4, 8))
    assert one.latency_s.mean < four.latency_s.mean < 4 * one.latency_s.mean
    assert four.latency_s.mean < eight.latency_s.mean < 2 * four.latency_s.mean
    assert eight.fps == pytest.approx(8 / eight.latency_s.mean)
    assert eight.memory_bytes - one.memory_bytes == 7 * SMALL.peak_activation_bytes


def test_energy_is_power_times_latency() -> None:
    cost = predict(FULL, "tx2", 1134)
    assert cost.energy_j.mean == pytest.approx(cost.power_w.mean * cost.latency_s.mean)


def test_intervals_widen_with_the_confidence() -> None:
    narrow, wide = (predict(FULL, "titanx", confidence=c) for c in (0.5, 0.95))
    for metric in ("latency_s", "power_w", "energy_j"):
        inner, outer = getattr(narrow, metric), getattr(wide, metric)
        assert outer.low < inner.low < inner.mean < inner.high < outer.high
        assert outer.mean == pytest.approx(inner.mean)


def test_the_interval_is_what_the_quantiles_say() -> None:
    prices = predictor("tx2")
    terms = prices.terms(FULL.layers)
    cost = prices.finish(terms, 0.9)
    for metric in ("latency_s", "power_w", "energy_j"):
        assert prices.quantile(terms, metric, 0.95) == pytest.approx(getattr(cost, f"{metric}_high"))
        assert prices.quantile(terms, metric, 0.5) == pytest.approx(getattr(cost, f"{metric}_mean"))
    with pytest.raises(ZooError, match="metric 'fps'"):
        prices.quantile(terms, "fps", 0.5)


def test_a_kernel_far_from_every_row_is_less_certain() -> None:
    prices = predictor("titanx")
    row = load_device("titanx").rows[0]
    near = prices._rows.correction(work_of(row.layer_op, (row.in_shape,), row.layer_op.shape(row.in_shape)), row.batch)
    odd = Conv(3, (1, 1))
    far = prices._rows.correction(work_of(odd, (Shape(1, 2, 2),), odd.shape(Shape(1, 2, 2))), 1)
    assert near[1].sd < far[1].sd


def test_power_stays_between_idle_and_the_limit() -> None:
    for name in DEVICES:
        device = load_device(name)
        cost = predict(FULL, device, confidence=0.999)
        assert device.value("idle_power") <= cost.power_w.low <= cost.power_w.high <= device.value("power_limit")


@pytest.mark.parametrize(
    ("device", "clock", "message"),
    [("tx2", 2000, "828 to 1300 MHz, but is 2000"), ("tx2", 100, "but is 100"), ("titanx", 1000, "must be 1531 MHz")],
)
def test_a_clock_outside_the_range_is_refused(device: str, clock: float, message: str) -> None:
    with pytest.raises(DeviceError, match=message):
        predict(SMALL, device, clock)


def test_misspelt_devices_and_silly_arguments_are_refused() -> None:
    with pytest.raises(DeviceError, match="did you mean 'titanx'"):
        predict(SMALL, "titan-x")
    with pytest.raises(DeviceError, match="batch must be"):
        predict(SMALL, "tx2", batch=0)
    with pytest.raises(ZooError, match="confidence must be between 0 and 1"):
        predict(SMALL, "tx2", confidence=1.0)


shapes = st.builds(Shape, st.integers(1, 256), st.integers(8, 128), st.integers(8, 128))


@given(x=shapes, out=st.integers(1, 256), dilation=st.sampled_from([1, 2, 8]), batch=st.integers(1, 8))
@settings(max_examples=40, deadline=None)
def test_the_gradient_of_a_kernel_is_its_derivative(x: Shape, out: int, dilation: int, batch: int) -> None:
    op = Conv(out, (3, 3), padding=(dilation, dilation), dilation=(dilation, dilation))
    work = work_of(op, (x,), op.shape(x))
    theta = load_device("tx2").latency.theta.tolist()
    timing = kernel_time(work, theta, Chip(256, 1.3e9), 0.9e9, batch)
    for i in range(len(PARAMETERS)):
        up, down = list(theta), list(theta)
        up[i] += 1e-5
        down[i] -= 1e-5
        slope = (
            kernel_time(work, up, Chip(256, 1.3e9), 0.9e9, batch).total_s
            - kernel_time(work, down, Chip(256, 1.3e9), 0.9e9, batch).total_s
        ) / 2e-5
        assert timing.gradient[i] == pytest.approx(slope, rel=1e-4, abs=1e-10)


@given(x=shapes, batch=st.integers(1, 4))
@settings(max_examples=25, deadline=None)
def test_a_wider_kernel_never_takes_less_time(x: Shape, batch: int) -> None:
    theta = load_device("gtx960m").latency.theta.tolist()
    times = []
    for out in (4, 8, 64):
        op = Conv(out, (3, 3), padding=(1, 1))
        times.append(kernel_time(work_of(op, (x,), op.shape(x)), theta, Chip(640, 1.176e9), 1.176e9, batch).total_s)
    assert times == sorted(times)


def test_a_fusing_stack_runs_fewer_kernels_in_less_time() -> None:
    eager = dataclasses.replace(load_device("tx2"), look_up=False)
    engine = dataclasses.replace(eager, stack="tensorrt")
    alone, together = predict(FULL, eager), predict(FULL, engine)
    assert sum(kernel.macs for kernel in together.kernels) == FULL.macs
    assert len(together.kernels) < len(alone.kernels)
    assert together.latency_s.mean < alone.latency_s.mean


def test_fp16_moves_half_the_bytes_and_does_the_same_arithmetic() -> None:
    single = load_device("tx2")
    half = dataclasses.replace(single, precision="fp16")
    for a, b in zip(predict(SMALL, single).kernels, predict(SMALL, half).kernels, strict=True):
        assert b.macs == a.macs
        assert b.bytes == pytest.approx(a.bytes / 2, rel=1e-3, abs=2)
    assert predict(SMALL, half).memory_bytes == predict(SMALL, single).memory_bytes // 2


def test_fusion_stops_where_another_layer_reads_the_value() -> None:
    b = g.GraphBuilder()
    x = b.conv(b.input("image", Shape(3, 8, 8)), "conv", 4, kernel=3)
    b.act(b.bn(x, "bn"), "act")
    kernels = fused(b.layers, "onnxruntime")
    assert [[layer.name for layer in kernel.layers] for kernel in kernels] == [["conv", "bn", "act"]]
    b.act(b.add((x, x), "sum"), "act2")
    names = [[layer.name for layer in kernel.layers] for kernel in fused(b.layers, "onnxruntime")]
    assert names == [["conv"], ["bn", "act"], ["sum", "act2"]]


def test_tensorrt_runs_a_residual_unit_as_its_convolutions() -> None:
    b = g.GraphBuilder()
    x = b.conv(b.input("image", Shape(3, 8, 8)), "stem", 4, kernel=3)
    y = b.act(b.bn(b.conv(x, "conv1", 4, kernel=3), "bn1"), "relu1", "relu")
    y = b.bn(b.conv(y, "conv2", 4, kernel=3), "bn2")
    b.act(b.add((y, x), "sum"), "relu2", "relu")
    kernels = fused(b.layers, "tensorrt")
    assert [[layer.name for layer in kernel.layers] for kernel in kernels] == [
        ["stem"],
        ["conv1", "bn1", "relu1"],
        ["conv2", "bn2", "sum", "relu2"],
    ]
    # The sum reads one tensor more than the convolution alone does.
    assert kernels[2].work.activation_bytes - kernels[1].work.activation_bytes == Shape(4, 8, 8).bytes
    assert [k.layers[-1].name for k in fused(b.layers, "tflite")] == ["stem", "relu1", "bn2", "relu2"]


@pytest.mark.parametrize("activation", ["prelu", "silu"])
def test_tensorrt_does_not_fold_every_activation(activation: str) -> None:
    b = g.GraphBuilder()
    b.act(b.bn(b.conv(b.input("image", Shape(3, 8, 8)), "conv", 4, kernel=3), "bn"), "act", activation)
    assert [k.layers[-1].name for k in fused(b.layers, "tensorrt")] == ["bn", "act"]


@pytest.mark.parametrize("device", ["tx2", "orin-nano", "rpi5"])
@pytest.mark.parametrize("space", ["default", "espnetv2"])
def test_pieces_of_a_space_add_up_to_the_whole_network_on_every_stack(space: str, device: str) -> None:
    searched, size = space_of(load_config(None).spaces[space], (512, 1024)), (512, 1024)
    rows = searched.sample(np.random.default_rng(0), 24)
    prices = predictor(device)
    bulk = BulkLowering(searched.choices, Shape(3, *size)).lower(searched.choices.codes(rows))
    whole = [prices.terms(lower(searched.spec(int(row)), size).layers) for row in rows]
    np.testing.assert_allclose(bulk.total(prices.terms, width=prices.width), whole, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("batch", [1, 8])
def test_many_kernels_at_once_take_the_times_of_each(batch: int) -> None:
    device = load_device("orin-nano")
    works = [kernel.work for kernel in fused(FULL.layers, "pytorch-eager")]
    works.append(work_of(g.Conv(8, (3, 3), groups=8), (Shape(8, 9, 9),), Shape(8, 7, 7)))
    clock_hz, chip = 0.7e6 * device.clocks.default_mhz, chip_of(device)
    theta = device.latency.theta
    times, slopes = Kernels.of(works, chip, clock_hz, batch).times(theta)
    one_by_one = [kernel_time(work, theta.tolist(), chip, clock_hz, batch) for work in works]
    np.testing.assert_allclose(times, [timing.total_s for timing in one_by_one], rtol=1e-12)
    np.testing.assert_allclose(slopes, [timing.gradient for timing in one_by_one], rtol=1e-9, atol=1e-18)


def test_the_hosts_dispatch_is_an_option_and_narrows_what_the_host_bounds() -> None:
    device, small = load_device("titanx"), lower(load_config().model("espnet").spec, (64, 128))
    slow, fast = (predict(small, with_host_dispatch(device, seconds)) for seconds in (57e-6, 29e-6))
    assert slow.host_bound and fast.host_bound
    # Twice the time an operation is twice the time of a frame that the host bounds.
    assert slow.latency_s.mean / fast.latency_s.mean == pytest.approx(57 / 29, rel=0.05)
    unknown = predict(small, device).latency_s
    assert slow.latency_s.high / slow.latency_s.low < unknown.high / unknown.low
    # A large frame is the device's: its host hardly matters.
    large = lower(load_config().model("espnet").spec, (1024, 2048))
    times = [predict(large, with_host_dispatch(device, seconds)).latency_s.mean for seconds in (57e-6, 29e-6)]
    assert times[0] == pytest.approx(times[1], rel=0.1)
