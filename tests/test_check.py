"""`zoo check` and `zoo predict --system`: laws of fitting, and the paper's order of networks."""

import json
from itertools import pairwise
from math import prod
from typing import Any

import pytest

from hw_models import load_device, predict
from hw_models.calibrate import left_out
from hw_models.cuda_memory import CachingAllocator, reserved_bytes
from hw_models.fit import fitting, needs, unsupported
from hw_models.system import SystemFigures, system_figures
from zoo.cli import main
from zoo.config import Limits
from zoo.graph import Graph
from zoo.registry import lower, spec_from_dict


def network(**spec: Any) -> Graph:
    return lower(spec_from_dict(spec))


ESPNET, ENET, ERFNET = network(family="espnet", variant="ESPNet"), network(family="enet"), network(family="erfnet")


def test_the_probability_of_a_limit_is_the_inverse_of_the_interval() -> None:
    device = load_device("orin-nano")
    high = predict(ESPNET, device, confidence=0.8).latency_s.high
    result = fitting(ESPNET, device, Limits(max_latency_ms=1e3 * high), confidence=0.9)
    assert result.probability == pytest.approx(0.9, abs=1e-6)
    assert fitting(ESPNET, device, Limits(max_latency_ms=1e3 * high), confidence=0.89).fits
    assert not fitting(ESPNET, device, Limits(max_latency_ms=1e3 * high), confidence=0.91).fits


def test_limits_together_hold_less_probably_and_two_on_one_metric_are_one() -> None:
    device = load_device("tx2")
    cost = predict(ESPNET, device)
    latency, power = 1.2e3 * cost.latency_s.mean, 1.2 * cost.power_w.mean
    alone = [
        fitting(ESPNET, device, limits).probability
        for limits in (Limits(max_latency_ms=latency), Limits(max_power_w=power))
    ]
    assert fitting(ESPNET, device, Limits(max_latency_ms=latency, max_power_w=power)).probability == pytest.approx(
        max(0.0, sum(alone) - 1)
    )
    twice = Limits(max_latency_ms=latency, min_fps=1e3 / latency)
    assert fitting(ESPNET, device, twice).probability == pytest.approx(alone[0])


def test_what_is_counted_holds_or_does_not() -> None:
    device = load_device("nano")
    for limit, expected in ((ESPNET.params, 1.0), (ESPNET.params - 1, 0.0)):
        result = fitting(ESPNET, device, Limits(max_params=limit))
        assert (result.probability, result.fits) == (expected, expected == 1.0)
        assert result.margins["max_params"].ratio == ESPNET.params / limit


def test_unpooling_runs_nowhere_on_a_pi_and_on_a_nano_from_one_version_on() -> None:
    assert unsupported(ENET, load_device("rpi5")) and not unsupported(ENET, load_device("nano"))
    (sentence,) = needs(ENET, load_device("nano"))
    assert "JetPack 4.6.1" in sentence
    assert not needs(ENET, load_device("orin-nano")) and not needs(ESPNET, load_device("nano"))
    assert fitting(ENET, load_device("nano"), Limits(min_fps=1e-3)).fits
    assert not fitting(ENET, load_device("rpi5"), Limits(min_fps=1e-6)).fits


@pytest.mark.parametrize(("limit", "code"), [("1", 0), ("100000", 3)])
def test_command_answers_yes_or_no(capsys: pytest.CaptureFixture[str], limit: str, code: int) -> None:
    assert main(["check", "espnet", "--device", "orin-nano@510", "--min-fps", limit, "--json"]) == code
    document = json.loads(capsys.readouterr().out)
    assert document["fits"] is (code == 0)
    assert document["cost"]["clock_mhz"] == 510
    assert set(document["margins"]["min_fps"]) == {"value", "limit", "ratio", "probability"}


def test_command_without_a_limit_is_misused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "espnet", "--device", "tx2"]) == 2
    assert "--min-fps 30" in capsys.readouterr().err


def test_a_limit_of_power_says_what_it_rests_on() -> None:
    assert "erfnet" in load_device("tx2").power_basis and "assum" in load_device("tx2").power_basis
    assert "means nothing" in load_device("orin-nano").power_basis
    assert load_device("titanx").power_basis.endswith("rests on 5 networks")


@pytest.fixture(scope="module")
def blind() -> dict[str, SystemFigures]:
    """The figures of the paper's networks on a TX2 that was calibrated without each."""
    graphs = {"espnet": ESPNET, "enet": ENET, "erfnet": ERFNET}
    tx2 = load_device("tx2")
    return {name: system_figures(graph, left_out(tx2, name), family=name) for name, graph in graphs.items()}


def test_the_papers_sensitivity_to_the_clock_of_networks_left_out(blind: dict[str, SystemFigures]) -> None:
    espnet, enet = (blind[name].sensitivity or 0.0 for name in ("espnet", "enet"))
    assert espnet > enet
    assert espnet == pytest.approx(blind["espnet"].published["sensitivity"], abs=0.12)
    assert enet == pytest.approx(blind["enet"].published["sensitivity"], abs=0.12)


def test_the_papers_shares_of_kernels_of_networks_left_out(blind: dict[str, SystemFigures]) -> None:
    espnet = blind["espnet"]
    assert espnet.top_kernel_share == pytest.approx(espnet.published["top_kernel_share"], rel=0.2)
    assert espnet.top_kernel_share > blind["enet"].top_kernel_share
    assert espnet.top_kernels[0].name.startswith("dilated")
    shares = [blind[name].alignment_share or 0.0 for name in ("espnet", "enet", "erfnet")]
    assert shares[2] > 3 * max(shares[:2])
    published = [blind[name].published["alignment_share"] for name in ("espnet", "enet", "erfnet")]
    assert shares == pytest.approx(published, rel=0.4)


def test_espnet_needs_the_least_memory_where_gradients_are_recorded(blind: dict[str, SystemFigures]) -> None:
    kept = [blind[name].recorded_bytes or 0 for name in ("espnet", "enet", "erfnet")]
    assert kept == sorted(kept) and kept[1] > 1.5 * kept[0]
    assert all(recorded > (blind[name].reserved_bytes or 0) for name, recorded in zip(blind, kept, strict=True))


def test_a_smaller_image_is_faster_by_less_than_its_area_and_above_the_papers_bound() -> None:
    tx2 = left_out(load_device("tx2"), "espnet")
    sizes = ((360, 640), (432, 768), (512, 1024))
    figures = [
        system_figures(lower(spec_from_dict({"family": "espnet", "variant": "ESPNet"}), s), tx2, family="espnet")
        for s in sizes
    ]
    for (size, found), (larger, slower) in pairwise(zip(sizes, figures, strict=True)):
        assert found.fps > slower.fps > found.fps * prod(size) / prod(larger)
        assert found.fps > found.published["min_fps"]


def test_the_allocator_takes_what_pytorchs_own_tests_state() -> None:
    # test_graph_memory_stats_and_use_result_after_destroy_graph in pytorch/pytorch, test/test_cuda.py
    mebi = 2**20
    for size, count, taken in (
        (512, 1, 2 * mebi),
        (mebi, 2, 2 * mebi),
        (mebi + 512, 1, 20 * mebi),
        (10 * mebi - 512, 2, 20 * mebi),
        (10 * mebi + 512, 3, 36 * mebi),
    ):
        allocator = CachingAllocator()
        for _ in range(count):
            allocator.take(size)
        assert allocator.reserved == taken, size


def test_blocks_that_were_freed_serve_again_and_are_merged() -> None:
    allocator, mebi = CachingAllocator(), 2**20
    blocks = [allocator.take(4 * mebi) for _ in range(5)]
    for i in (1, 3, 2, 0, 4):
        allocator.give(blocks[i])
    allocator.take(9 * mebi)
    allocator.take(9 * mebi)
    assert allocator.reserved == 20 * mebi
    for graph in (ESPNET, ENET, ERFNET):
        assert reserved_bytes(graph) > graph.weight_bytes + graph.peak_activation_bytes


def test_shares_of_time_are_shares() -> None:
    for graph in (ESPNET, ENET, ERFNET):
        figures = system_figures(graph, load_device("titanx"))
        assert figures.sensitivity is None  # a single clock
        assert all(0 < share <= 1 for share in figures.utilisation.values())
        assert 0 < sum(kernel.share for kernel in figures.top_kernels) <= 1
