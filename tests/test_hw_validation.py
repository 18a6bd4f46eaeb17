"""The shipped devices against what was published, and the build from the sources."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hw_models import load_device, predict
from hw_models.build.devices import build
from hw_models.build.recipes import RECIPES
from hw_models.device import SHIPPED, Device
from hw_models.least_squares import map_fit
from hw_models.points import graph_of
from hw_models.sweep import clock_sensitivity, sweep
from hw_models.validate import validate
from zoo.graph import Graph
from zoo.registry import lower, spec_from_dict

DEVICES = ("tx2", "gtx960m", "titanx")
ESPNET = {"family": "espnet", "variant": "ESPNet"}


def model_alone(name: str) -> Device:
    """The fit itself: looked-up readings would come out whatever it were."""
    return replace(load_device(name), look_up=False)


def network(**fields: object) -> Graph:
    return lower(spec_from_dict(dict(fields)))


@pytest.mark.parametrize("name", DEVICES)
def test_published_points_lie_in_their_intervals(name: str) -> None:
    device = model_alone(name)
    held = []
    for point in device.points:
        graph = graph_of(point)
        assert graph is not None, point.network
        interval = getattr(predict(graph, device, point.clock_mhz, point.batch), point.metric)
        if point.bound == "lower":
            # Published as a least frame rate, which is a longest latency.
            assert interval.low <= point.value
        else:
            held.append(interval.low <= point.value <= interval.high)
    assert sum(held) >= 0.9 * len(held)


@pytest.mark.parametrize(("name", "aim"), [("tx2", 0.15), ("titanx", 0.15), ("gtx960m", 0.20)])
def test_latency_of_networks_left_out_meets_the_aim(name: str, aim: float) -> None:
    result = validate(load_device(name))
    mape, coverage, rank = (getattr(result, what)("latency_s") for what in ("mape", "coverage", "spearman"))
    assert mape is not None and mape <= aim
    assert coverage is not None and coverage >= 0.85
    assert rank is not None and rank > 0.7
    assert not result.missing


def test_a_left_out_prediction_has_not_seen_its_network() -> None:
    result = validate(load_device("titanx"))
    used = [c for c in result.checks if c.used_for_calibration]
    assert used
    assert all(c.left_out != c.predicted for c in used)


def test_espnet_is_faster_than_enet_on_the_titanx_by_the_published_factor() -> None:
    ratio = (
        predict(network(**ESPNET), model_alone("titanx")).fps
        / predict(network(family="enet"), model_alone("titanx")).fps
    )
    assert ratio == pytest.approx(1.27, rel=0.1)


def test_espnet_and_enet_are_about_equal_on_the_tx2() -> None:
    ratio = (
        predict(network(**ESPNET), model_alone("tx2"), 1300).fps
        / predict(network(family="enet"), model_alone("tx2"), 1300).fps
    )
    assert ratio == pytest.approx(0.99, rel=0.1)


def test_espnet_feels_the_clock_more_than_enet() -> None:
    device = model_alone("tx2")
    espnet, enet = (clock_sensitivity(g, device, 828, 1134) for g in (network(**ESPNET), network(family="enet")))
    assert 0 < enet < espnet < 1


def test_espnet_draws_less_power_than_enet_on_the_tx2() -> None:
    for mhz in (828, 1134):
        assert (
            predict(network(**ESPNET), model_alone("tx2"), mhz).power_w.mean
            < predict(network(family="enet"), model_alone("tx2"), mhz).power_w.mean
        )


def test_the_published_blocks_keep_their_order_on_the_960m() -> None:
    blocks = {
        "esp": {},
        "mobilenet": {"block": "mobilenet", "downsample": "conv"},
        "resnet": {"block": "resnet", "downsample": "conv"},
    }
    fps = {
        name: predict(network(family="espnet", variant="C", alpha3=3, **fields), model_alone("gtx960m")).fps
        for name, fields in blocks.items()
    }
    assert fps["esp"] > fps["mobilenet"] > fps["resnet"]


def test_power_of_the_960m_has_wide_bounds_and_says_why() -> None:
    device = load_device("gtx960m")
    power = predict(network(**ESPNET), device).power_w
    assert power.high / power.low > 2
    assert power.high <= device.value("power_limit")
    assert "N/A" in device.power_note


def test_sweeps_cover_their_axes() -> None:
    spec = spec_from_dict({"family": "espnet", "variant": "C", "alpha3": 3})
    device = load_device("tx2")
    for axis in ("clock", "size", "batch"):
        steps = sweep(axis, lambda size: lower(spec, size), device, (256, 512), None, 1, 0.9)
        values = [step.value for step in steps]
        assert len(values) >= 5
        if axis != "size":
            assert values == sorted(values)
    with pytest.raises(ValueError, match="there is nothing to sweep"):
        sweep("clock", lambda size: lower(spec, size), load_device("titanx"), (256, 512), None, 1, 0.9)


def test_a_fit_recovers_what_it_was_made_from() -> None:
    rng = np.random.default_rng(0)
    slopes = rng.normal(size=(40, 3))
    truth = np.array([0.3, -0.2, 0.5])

    def model(theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return slopes @ theta, slopes

    observed = slopes @ truth + 0.01 * rng.normal(size=40)
    theta, covariance = map_fit(model, observed, 1e-4 * np.eye(40), np.zeros(3), np.eye(3))
    # The textbook solution of the linear case.
    precision = slopes.T @ slopes / 1e-4 + np.eye(3)
    assert theta == pytest.approx(np.linalg.solve(precision, slopes.T @ observed / 1e-4), rel=1e-6)
    assert covariance == pytest.approx(np.linalg.inv(precision), rel=1e-6)
    assert np.all(np.abs(theta - truth) < 5 * np.sqrt(np.diag(covariance)))


def test_the_shipped_files_are_what_the_sources_give(shared: Path, tmp_path: Path) -> None:
    name = "gtx960m"
    build(RECIPES[name], shared, tmp_path)
    for path in sorted((SHIPPED / name).iterdir()):
        assert (tmp_path / name / path.name).read_bytes() == path.read_bytes(), path.name
