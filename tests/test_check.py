"""`zoo check` and `zoo predict --system`: laws of fitting, and the paper's order of networks."""

import json
from typing import Any

import pytest

from hw_models import load_device, predict
from hw_models.fit import fitting, unsupported
from hw_models.system import system_figures
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


def test_unpooling_needs_a_newer_runtime_than_the_nano_has() -> None:
    assert unsupported(ENET, load_device("nano")) and unsupported(ENET, load_device("rpi5"))
    assert not unsupported(ENET, load_device("orin-nano")) and not unsupported(ESPNET, load_device("nano"))


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
    assert "erfnet" in load_device("tx2").power_basis and "guarantees nothing" in load_device("tx2").power_basis
    assert "means nothing" in load_device("orin-nano").power_basis
    assert load_device("titanx").power_basis.endswith("rests on 5 networks")


def test_espnet_feels_the_clock_more_than_enet_as_in_the_paper() -> None:
    figures = [system_figures(graph, load_device("tx2")).sensitivity or 0.0 for graph in (ESPNET, ENET)]
    assert figures[0] > figures[1] > 0


def test_the_top_kernels_of_espnet_are_dilated_and_of_enet_are_not() -> None:
    tops = [system_figures(graph, load_device("tx2")).top_kernels for graph in (ESPNET, ENET)]
    assert tops[0][0].name.startswith("dilated") and not tops[1][0].name.startswith("dilated")
    # One kind of kernel takes more of ESPNet than any takes of ENet (the paper: 38 percent against less).
    assert tops[0][0].share > tops[1][0].share


def test_shares_of_time_are_shares() -> None:
    for graph in (ESPNET, ENET, ERFNET):
        figures = system_figures(graph, load_device("titanx"))
        assert figures.sensitivity is None  # a single clock
        assert all(0 < share <= 1 for share in figures.utilisation.values())
        assert 0 < sum(kernel.share for kernel in figures.top_kernels) <= 1
