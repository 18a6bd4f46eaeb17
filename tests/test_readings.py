"""Published readings: looked up for the same network, inherited by networks like it, of no weight far from all."""

import dataclasses
import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from docs.hardware_page import LEFT_OUT, left_out_errors
from hw_models import load_device, predict
from hw_models.analytic.published import readings_of
from hw_models.analytic.readings import REPEATED_SD, Reading, Readings, clock_share, position
from hw_models.calibrate import left_out, without
from hw_models.device import Device
from hw_models.fit import fitting
from hw_models.host import with_host_dispatch
from hw_models.leave_out import clocks_left_out, networks_left_out, summary
from hw_models.normal import score
from hw_models.points import known_graph, usable
from hw_models.predictors import predictor
from hw_models.tables import METRICS
from zoo.cli import main
from zoo.config import Limits
from zoo.graph import Graph
from zoo.registry import lower, spec_from_dict

DEVICES = ("tx2", "gtx960m", "titanx")
METRICS_READ = [(name, metric) for name in DEVICES for metric in METRICS if (name, metric) != ("gtx960m", "power_w")]


def espnet(**fields: object) -> Graph:
    return lower(spec_from_dict({"family": "espnet", "variant": "ESPNet", **fields}))


def model_alone(name: str) -> Device:
    return dataclasses.replace(load_device(name), look_up=False)


def width(graph: Graph, device: Device | str, metric: str, clock_mhz: float | None = None) -> float:
    """Logarithm of the ratio of an interval's ends."""
    interval = getattr(predict(graph, device, clock_mhz), metric)
    return float(np.log(interval.high / interval.low))


@pytest.mark.parametrize("name", DEVICES)
def test_what_was_read_comes_back_exactly_with_the_spread_of_the_reading(name: str) -> None:
    device = load_device(name)
    for metric in METRICS:
        for point in usable(device.points, metric):
            cost = predict(known_graph(point), device, point.clock_mhz, point.batch)
            interval = getattr(cost, metric)
            assert interval.mean == point.value
            sd = np.hypot(point.relative_sd, REPEATED_SD[metric])
            assert np.log(interval.high / interval.mean) == pytest.approx(score(0.95) * sd)
            assert cost.readings[metric] == point.source and cost.unread[metric] == 0


def test_a_reading_is_of_a_graph_and_not_of_a_name() -> None:
    """The same layers under other names are the same network; other layers of the same variant are another."""
    point = usable(load_device("tx2").points, "latency_s")[0]
    graph = known_graph(point)
    renamed = dataclasses.replace(
        graph, layers=tuple(dataclasses.replace(x, name=f"my.{x.name}") for x in graph.layers)
    )
    prices = predictor("tx2", 828)
    assert float(prices.finish(prices.terms(renamed.layers)).latency_s_mean) == point.value
    assert predict(espnet(alpha3=9), "tx2", 828).latency_s.mean != point.value


def test_nothing_is_looked_up_at_another_size_batch_clock_stack_or_host() -> None:
    network, device = espnet(), load_device("tx2")
    small = lower(spec_from_dict({"family": "espnet", "variant": "ESPNet"}), (512, 512))
    assert predict(network, device, 1300).readings and not predict(small, device, 1300).readings
    assert not predict(network, device, 1300, batch=2).readings
    assert not predict(network, device, 1290).readings
    assert not predict(network, "tx2-tensorrt", 1300).readings
    assert not predict(network, with_host_dispatch(device, 5e-5), 1300).readings


def test_what_was_held_out_is_not_looked_up() -> None:
    for name in ("orin-nano", "titanx"):
        device = load_device(name)
        for point in (p for p in device.points if p.use == "check"):
            assert not predict(known_graph(point), device, point.clock_mhz, point.batch).readings


@pytest.mark.parametrize(("name", "metric"), METRICS_READ)
def test_the_interval_is_narrowest_where_it_was_read(name: str, metric: str) -> None:
    device = load_device(name)
    clocks = sorted({*np.linspace(device.clocks.low_mhz, device.clocks.high_mhz, 6), device.clocks.default_mhz})
    networks = [espnet(**fields) for fields in ({}, {"alpha3": 7}, {"k": 4}, {"widths": [16, 64, 96]})]
    elsewhere = [
        width(network, device, metric, clock)
        for network in networks
        for clock in clocks
        if not predict(network, device, clock).readings.get(metric)
    ]
    read = [
        width(networks[0], device, metric, p.clock_mhz) for p in usable(device.points, metric) if p.network == "espnet"
    ]
    assert read and max(read) <= min(elsewhere)


@pytest.mark.parametrize(("name", "metric"), METRICS_READ)
def test_far_from_all_readings_the_interval_is_that_of_networks_left_out(name: str, metric: str) -> None:
    far = lower(spec_from_dict({"family": "alexnet"}), (224, 224))
    cost = predict(far, name)
    assert cost.unread[metric] > 0.95
    assert width(far, name, metric) == pytest.approx(width(far, model_alone(name), metric), rel=0.03)
    assert getattr(cost, metric).mean == pytest.approx(getattr(predict(far, model_alone(name)), metric).mean, rel=0.03)


@pytest.mark.parametrize("metric", list(METRICS))
def test_a_network_like_one_that_was_read_is_between(metric: str) -> None:
    """The nearer, the narrower and the more like the reading."""
    networks = [espnet(alpha3=alpha3) for alpha3 in (8, 7, 6, 4, 2)]
    widths = [width(network, "tx2", metric, 828) for network in networks]
    assert all(a < b for a, b in pairwise(widths))
    assert widths[-1] < width(networks[-1], model_alone("tx2"), metric, 828)


def test_readings_of_other_networks_at_the_same_clock_say_more_than_at_another() -> None:
    assert (
        predict(espnet(alpha3=7), "tx2", 828).unread["power_w"]
        < predict(espnet(alpha3=7), "tx2", 980).unread["power_w"]
    )


def test_more_readings_never_widen() -> None:
    """By the process itself, whatever was read; errors of the parameters are those of one fit."""
    rng = np.random.default_rng(0)
    width_of = predictor("tx2").width
    readings = predictor("tx2", 980).readings("power_w").readings
    cloud = np.stack([readings[0].terms * np.exp(rng.normal(0, 0.3, width_of)) for _ in range(50)])
    left = [
        Readings(readings[:n], 980.0, 0.3).inherited(cloud).left  # type: ignore[union-attr]
        for n in range(1, len(readings) + 1)
    ]
    assert all((b <= a + 1e-12).all() for a, b in pairwise(left))


def test_more_published_networks_never_widen_a_prediction() -> None:
    """The whole device, calibrated anew; its error of left-out networks kept."""
    device, network = load_device("tx2"), espnet(alpha3=6)
    points = usable(device.points, "latency_s")
    widths = [
        width(network, without(device, [p for p in points if p.network not in names]), "latency_s")
        for names in (("erfnet",), ("erfnet", "enet"), ("erfnet", "enet", "espnet"))
    ]
    assert all(b < 1.005 * a for a, b in pairwise(widths))


def test_many_networks_at_once_inherit_what_each_inherits_alone() -> None:
    prices = predictor("tx2", 850)
    rows = np.stack([prices.terms(espnet(alpha3=a, k=k).layers) for a in (5, 8) for k in (4, 5)])
    whole = prices.finish(rows)
    for metric in ("latency_s", "power_w", "energy_j"):
        chance = prices.exceeding(rows, metric, getattr(whole, f"{metric}_mean") * 1.1)
        center, loadings, own = prices.errors(rows, metric)
        for i, row in enumerate(rows):
            one = prices.finish(row)
            for part in ("mean", "low", "high"):
                name = f"{metric}_{part}"
                assert float(getattr(one, name)) == pytest.approx(float(getattr(whole, name)[i]), rel=1e-9)
            value = float(getattr(one, f"{metric}_mean")) * 1.1
            assert float(prices.exceeding(row, metric, value)) == pytest.approx(float(chance[i]), rel=1e-7)
            # The parts of an error add up to its standard deviation.
            sd = np.log(value / 1.1 / float(getattr(one, f"{metric}_low"))) / float(score(0.95))
            assert (
                np.sqrt((loadings[i] ** 2).sum() + own[i] ** 2) == pytest.approx(sd, rel=1e-6) or metric != "latency_s"
            )
            assert float(center[i]) == pytest.approx(value / 1.1)


def test_a_reading_that_all_agree_with_moves_nothing() -> None:
    """Residuals of zero: no shift anywhere, and yet the interval is narrower."""
    readings = predictor("tx2").readings("power_w").readings
    flat = Readings(tuple(r._replace(residual=0.0) for r in readings), 1300.0, 0.2)
    inherited = flat.inherited(readings[0].terms)
    assert inherited is not None
    assert float(inherited.shift) == 0 and 0 < float(inherited.left) < 1


def test_a_family_left_out_is_not_looked_up() -> None:
    blind = left_out(load_device("tx2"), "espnet")
    cost = predict(espnet(), blind, 828)
    assert not cost.readings and cost.unread["power_w"] > 0.9


def test_a_network_left_out_of_its_family_and_a_clock_left_out_of_a_network() -> None:
    clocks = clocks_left_out(load_device("tx2"))
    latency, power = summary(clocks, "latency_s"), summary(clocks, "power_w")
    assert latency is not None and power is not None
    assert latency[:1] == (9,) and latency[1] < 0.05 and latency[2] >= 0.8
    # A network that was never read is 41 percent off. ENet's power grows by more than the others' say, both ways.
    assert power[:1] == (6,) and power[1] < 0.3 and power[2] >= 4 / 6
    assert networks_left_out(load_device("tx2")) == ()
    page = json.loads((Path(__file__).parents[1] / "docs" / LEFT_OUT).read_text(encoding="utf-8"))
    assert page["tx2"]["clock"] == {
        "latency_s": pytest.approx(latency, abs=1e-3),
        "power_w": pytest.approx(power, abs=1e-3),
    }
    assert page["gtx960m"] == left_out_errors(load_device("gtx960m"))


def test_a_network_is_predicted_better_where_its_family_was_read() -> None:
    """Every device with several networks of a family: the page's figures, of families and of networks left out."""
    page = json.loads((Path(__file__).parents[1] / "docs" / LEFT_OUT).read_text(encoding="utf-8"))
    for name in ("agx-xavier", "nano", "orin-nano"):
        points, error, held = page[name]["network"]["latency_s"]
        assert points >= 8 and error < 0.08 and held >= 0.9


def reading(clock_mhz: float, residual: float) -> Reading:
    terms = predictor("tx2").terms(espnet().layers)
    return Reading(terms, False, clock_mhz, residual, np.zeros(5), 0.4, 0.02, 1.0, 0.02, "a source")


def test_the_clock_s_share_grows_with_how_far_readings_of_one_network_differ() -> None:
    shares = [clock_share([reading(828, 0.0), reading(1134, apart)], "power_w", 0.6) for apart in (0.0, 0.2, 0.4, 3.0)]
    assert all(a < b for a, b in pairwise(shares)) and shares[-1] == 0.5


def test_positions_of_one_network_are_equal_and_of_others_apart() -> None:
    prices = predictor("tx2")
    a, b, c = (
        position(prices.terms(g.layers))
        for g in (espnet(), espnet(alpha3=8), lower(spec_from_dict({"family": "erfnet"})))
    )
    assert np.array_equal(a, b) and np.linalg.norm(a - c) > 2


def test_a_watt_limit_holds_for_the_network_that_was_read_below_it() -> None:
    """The paper read 1.0 W at 828 MHz."""
    fits = fitting(espnet(), load_device("tx2"), Limits(max_power_w=1.6), 828)
    assert fits.fits and fits.probability > 0.999
    assert not fitting(espnet(), load_device("tx2"), Limits(max_power_w=0.9), 828).fits
    assert not fitting(espnet(), model_alone("tx2"), Limits(max_power_w=1.6), 828).fits


def test_predict_names_the_source(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["predict", "espnet", "--device", "tx2@828", "--size", "1024x512"]) == 0
    assert "power as read in: ESPNet paper (arXiv:1803.06815)" in capsys.readouterr().out
    assert main(["predict", "espnet", "--device", "tx2@900", "--size", "1024x512", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["readings"] == {} and 0 < document["unread"]["power_w"] < 0.5


def test_readings_are_seen_from_the_clock_that_is_asked_for() -> None:
    readings = readings_of(predictor("tx2", 1134), "power_w")
    assert {k.value for k in readings.known} == {2.2, 4.6, 6.7} and len(readings.readings) == 6
