"""`zoo device calibrate` follows the user: laws of the fit, what a measurement is of, what is looked up."""

import dataclasses
import json
from dataclasses import replace
from functools import cache
from itertools import pairwise
from math import exp, log
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hw_models.device import Device, DeviceError, load_device
from hw_models.device_writer import remove_device
from hw_models.machine import LatencyModel, fit
from hw_models.measurements import Measurement, from_bench, own_points
from hw_models.predictors import predict, predictor
from hw_models.recalibrate import fitted_to, observations, recalibrate
from hw_models.schema import Machine
from hw_models.tables import Point
from hw_models.validate import validate
from zoo.cli import main
from zoo.config import load_config
from zoo.errors import ZooError
from zoo.graph import Graph
from zoo.registry import lower
from zoo.specs import Spec

SIX = ("espnet-c-3", "espnet-c", "espnet-a", "espnet-b", "espnet-3", "espnet")
SIZE = (512, 1024)
LAW_DEVICES = ("tx2", "titanx", "gtx960m")


def spec_of(name: str) -> Spec:
    return load_config().models[{"espnet": "espnet-8", "espnet-c": "espnet-c-8"}.get(name, name)].spec


@cache
def graph_of(name: str) -> Graph:
    return lower(spec_of(name), SIZE)


def measured(device: Device, name: str, seconds: float, **changes: Any) -> Measurement:
    base = Measurement(
        network=name,
        spec=spec_of(name),
        size=SIZE,
        batch=1,
        metric="latency_s",
        value=seconds,
        relative_sd=0.002,
        clock_mhz=None,
        stack=device.stack,
        precision="fp32",
        covers=None,
        source="test",
    )
    return replace(base, **changes)


def points_of(device: Device, factors: dict[str, float]) -> tuple[Point, ...]:
    """Networks that take so many times the predicted time."""
    return own_points(
        [measured(device, name, f * predict(graph_of(name), device).latency_s.mean) for name, f in factors.items()],
        device,
    ).points


def slow(*values: Any) -> list[Any]:
    return [pytest.param(value, marks=pytest.mark.slow) for value in values]


@pytest.mark.parametrize("factor", [0.5, *slow(0.25, 0.8, 1.3, 4.0)])
@pytest.mark.parametrize("name", [LAW_DEVICES[0], *slow(*LAW_DEVICES[1:])])
def test_a_seventh_network_follows_six(name: str, factor: float) -> None:
    device = load_device(name)
    own, _ = fitted_to(device, points_of(device, dict.fromkeys(SIX, factor)))
    for other in ("espnet-5", "espnet-c-5"):
        published, cost = predict(graph_of(other), device).latency_s, predict(graph_of(other), own).latency_s
        assert cost.mean == pytest.approx(factor * published.mean, rel=0.05)
        assert cost.high / cost.mean < 1.15
        assert cost.low / cost.mean > 0.85


def test_one_point_helps_and_more_never_widen() -> None:
    """Beside the model alone: what others read of their boards is no measurement of this one."""
    device = replace(load_device("tx2"), look_up=False)
    costs = [predict(graph_of("espnet-5"), device).latency_s]
    for count in range(1, len(SIX) + 1):
        own, _ = fitted_to(device, points_of(device, dict.fromkeys(SIX[:count], 0.6)))
        costs.append(predict(graph_of("espnet-5"), own).latency_s)
    widths = [cost.high / cost.low for cost in costs]
    assert all(b < 1.005 * a for a, b in pairwise(widths))
    assert costs[1].mean == pytest.approx(0.6 * costs[0].mean, rel=0.05)


def test_the_interval_holds_as_often_as_it_says() -> None:
    device = load_device("tx2")
    seen = observations(device, points_of(device, dict.fromkeys(SIX, 1.0)), "latency_s")
    published = predictor(device)
    terms = published.terms(graph_of("espnet-5").layers)
    rng, held = np.random.default_rng(0), []
    for _ in range(80):
        scale, noise = rng.normal(0, 0.4), rng.normal(0, 0.05, len(SIX) + 1)
        machine, _ = fit(LatencyModel(device), seen._replace(log_values=seen.log_values + scale + noise[:-1]))
        cost = predictor(replace(device, machine=Machine(machine, None))).finish(terms)
        truth = float(published.finish(terms).latency_s_mean) * exp(scale + noise[-1])
        held.append(float(cost.latency_s_low) <= truth <= float(cost.latency_s_high))
    assert 0.85 <= np.mean(held) <= 0.97


def test_what_was_measured_is_looked_up() -> None:
    device = load_device("tx2")
    own, _ = fitted_to(device, points_of(device, {"espnet": 0.4, "espnet-c": 0.5, "espnet-3": 0.6}))
    factors = {name: predict(graph_of(name), own) for name in ("espnet", "espnet-c")}
    for name, factor in (("espnet", 0.4), ("espnet-c", 0.5)):
        cost = factors[name].latency_s
        assert cost.mean == pytest.approx(factor * predict(graph_of(name), device).latency_s.mean)
        assert cost.high / cost.mean < 1.02
        assert factors[name].provenance == {"measured": 1.0}
    # Another size, clock or batch was not measured.
    for cost in (
        predict(lower(spec_of("espnet"), (360, 640)), own),
        predict(graph_of("espnet"), own, clock_mhz=900),
        predict(graph_of("espnet"), own, batch=2),
    ):
        assert cost.latency_s.high / cost.latency_s.mean > 1.05
    # The pieces that a search adds up are the same network.
    prices = predictor(own)
    layers = graph_of("espnet").layers
    pieces = np.stack(
        [prices.terms(layers[:40]) + prices.terms(layers[40:]), prices.terms(graph_of("espnet-5").layers)]
    )
    costs = prices.finish(pieces)
    assert costs.latency_s_mean[0] == pytest.approx(factors["espnet"].latency_s.mean)
    assert costs.latency_s_high[1] / costs.latency_s_mean[1] > 1.05


def test_published_points_do_not_pull(tmp_path: Path) -> None:
    device = load_device("tx2")
    points = points_of(device, dict.fromkeys(SIX, 0.5))
    own, _ = fitted_to(device, points)
    without, _ = fitted_to(replace(device, points=()), points)
    assert predict(graph_of("espnet-5"), own).latency_s == predict(graph_of("espnet-5"), without).latency_s


def bench_entry(name: str, seconds: float, **protocol: Any) -> dict[str, Any]:
    return {
        "model": name,
        "spec": dict(predicted_spec(name)),
        "size": f"{SIZE[1]}x{SIZE[0]}",
        "latency_s": {"median": seconds, "low": 0.99 * seconds, "high": 1.01 * seconds},
        "power_w": None,
        "protocol": {"backend": "torch-cuda", "batch": 1} | protocol,
    }


def predicted_spec(name: str) -> dict[str, Any]:
    from zoo.specs import as_dict

    return as_dict(spec_of(name))


def runs(path: Path, seconds: float, count: int = 20) -> Path:
    """Times of runs, in a form that does not tell the runtime."""
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps([{"latencyMs": 1e3 * seconds, "computeMs": 1e3 * seconds} for _ in range(count)]))
    return path


def calibrate(capsys: pytest.CaptureFixture[str], *argv: str) -> dict[str, Any]:
    assert main(["device", "calibrate", *argv, "--json"]) == 0, capsys.readouterr().err
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_six_logs_one_by_one_give_what_six_give_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    times = {name: 1.2 * predict(graph_of(name), "tx2").latency_s.mean for name in SIX}
    bench = tmp_path / "bench.json"
    bench.write_text(json.dumps([bench_entry(name, seconds) for name, seconds in times.items()]))
    at_once = calibrate(capsys, "tx2", "--bench", str(bench), "--name", "at-once")
    device = "tx2"
    for name, seconds in times.items():
        log_file = runs(tmp_path / name / "times.json", seconds)
        by_logs = calibrate(capsys, device, "--bench", str(log_file), "--model", name, "--name", "by-logs")
        device = "by-logs"
    assert {point["network"] for point in by_logs["points"]} == set(SIX)
    for when in ("before", "after"):
        assert by_logs[when]["error"] == pytest.approx(at_once[when]["error"], abs=2e-3)
    assert by_logs["after"]["interval"] == pytest.approx(at_once["after"]["interval"], rel=0.1)
    assert by_logs["before"]["error"] == pytest.approx(1 - 1 / 1.2, rel=0.01)
    costs = [predict(graph_of("espnet-5"), name).latency_s for name in ("at-once", "by-logs")]
    assert costs[1].mean == pytest.approx(costs[0].mean, rel=0.01)
    assert costs[1].high == pytest.approx(costs[0].high, rel=0.01)


def test_calls_of_one_name_add_up(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("espnet", "enet"):
        log_file = runs(tmp_path / name / "times.json", predict(graph_of(name), "tx2").latency_s.mean)
        found = calibrate(capsys, "tx2", "--bench", str(log_file), "--model", name)
    assert found["device"] == "tx2-calibrated"
    assert sorted(point["network"] for point in found["points"]) == ["enet", "espnet"]
    again = runs(tmp_path / "espnet" / "times.json", 1.1 * predict(graph_of("espnet"), "tx2").latency_s.mean)
    found = calibrate(capsys, "tx2-calibrated", "--bench", str(again), "--model", "espnet")
    assert len(found["points"]) == 2


def test_a_calibrated_device_is_validated_by_its_own_points(capsys: pytest.CaptureFixture[str]) -> None:
    device = load_device("tx2")
    found = recalibrate(device, points_of(device, dict.fromkeys(SIX[:4], 0.7)), "mine").device
    checks = validate(found).checks
    assert {check.network for check in checks} == set(SIX[:4])
    assert all(abs(check.error) < 0.05 and check.covered for check in checks)
    assert main(["device", "validate", "mine"]) == 0


def test_a_measurement_far_off_is_refused_unless_forced(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log_file = runs(tmp_path / "times.json", 6 * predict(graph_of("espnet"), "tx2").latency_s.mean)
    argv = ["device", "calibrate", "tx2", "--bench", str(log_file), "--model", "espnet"]
    assert main(argv) == 1
    assert "6 times apart; check --model, --size, --batch and --images, or add --force" in capsys.readouterr().err
    assert main([*argv, "--force"]) == 0


def test_another_runtime_goes_to_a_device_of_it_or_is_refused(tmp_path: Path) -> None:
    device = load_device("tx2")
    one = measured(device, "espnet", 0.05, stack="tflite")
    with pytest.raises(DeviceError, match="was measured with tflite but device tx2 is of pytorch-eager"):
        own_points([one], device)
    sibling(device, "tx2-tflite-mine", "tflite")
    found = own_points([one], device)
    assert found.device.name == "tx2-tflite-mine"
    assert found.remarks[0] == "measured with tflite, so for device tx2-tflite-mine"
    with pytest.raises(DeviceError, match=r"measured in int8 but device tx2 is of fp32"):
        own_points([measured(device, "espnet", 0.05, precision="int8")], device)
    with pytest.raises(DeviceError, match="calibrate a device with each"):
        own_points([one, measured(device, "enet", 0.05)], device)


def test_half_precision_under_tensorrt_goes_to_the_tx2s_own_device_of_it() -> None:
    device = load_device("tx2")
    found = own_points([measured(device, "espnet", 0.05, stack="tensorrt", precision="fp16")], device)
    assert found.device.name == "tx2-tensorrt"
    found = own_points([measured(device, "espnet", 0.1, stack="tensorrt", precision="fp32")], device)
    assert found.device.name == "tx2-tensorrt-fp32"
    with pytest.raises(DeviceError, match="measured in int8 but device tx2-tensorrt is of fp16"):
        own_points([measured(device, "espnet", 0.05, stack="tensorrt", precision="int8")], device)


def sibling(device: Device, name: str, stack: str) -> None:
    """The same board under another runtime, among the user's devices."""
    import shutil

    import yaml

    from hw_models.device import home

    folder = Path(shutil.copytree(device.folder, home() / name))
    entry = yaml.safe_load((folder / "device.yaml").read_text()) | {"stack": stack}
    (folder / "device.yaml").write_text(yaml.safe_dump(entry))


def test_the_clock_is_the_stated_one_and_within_the_device() -> None:
    device = load_device("tx2")
    (point,) = own_points([measured(device, "espnet", 0.1, clock_mhz=850.0)], device).points
    assert point.clock_mhz == 850
    (point,) = own_points([measured(device, "espnet", 0.1, clock_mhz=1301.0)], device).points
    assert point.clock_mhz == 1300
    with pytest.raises(DeviceError, match="clock must be 828 to 1300 MHz, but is 600 MHz"):
        own_points([measured(device, "espnet", 0.1, clock_mhz=600.0)], device)
    assert "no clock was read: taken as 1300 MHz" in own_points([measured(device, "espnet", 0.1)], device).remarks[0]


def test_power_follows_as_latency_does() -> None:
    device = load_device("tx2")
    watts = {name: predict(graph_of(name), device).power_w.mean for name in SIX}
    own, _ = fitted_to(
        device,
        own_points(
            [measured(device, n, 0.6 * w, metric="power_w", covers="GPU rail") for n, w in watts.items()], device
        ).points,
    )
    before, after = predict(graph_of("espnet-5"), device), predict(graph_of("espnet-5"), own)
    assert after.power_w.mean == pytest.approx(0.6 * before.power_w.mean, rel=0.05)
    assert after.power_w.high / after.power_w.low < 0.5 * before.power_w.high / before.power_w.low
    assert dataclasses.astuple(after.latency_s) == pytest.approx(dataclasses.astuple(before.latency_s))
    found = own_points([measured(device, "espnet", 5.0, metric="power_w", covers="board")], device)
    assert not found.points
    assert "left out the power of the board" in found.remarks[0]


def test_a_name_of_another_board_is_not_overwritten() -> None:
    titanx, tx2 = load_device("titanx"), load_device("tx2")
    recalibrate(titanx, points_of(titanx, {"espnet": 1.0}), "mine")
    with pytest.raises(ZooError, match=r"device 'mine' is another, .*; choose another name with --name"):
        recalibrate(tx2, points_of(tx2, {"espnet": 1.0}), "mine")


def test_own_devices_can_be_removed(capsys: pytest.CaptureFixture[str]) -> None:
    tx2 = load_device("tx2")
    folder = recalibrate(tx2, points_of(tx2, {"espnet": 1.0}), "mine").device.folder
    assert main(["device", "remove", "mine"]) == 0
    assert not folder.exists()
    assert not [path for path in folder.parent.iterdir() if not path.name.startswith(".")]
    with pytest.raises(DeviceError, match="ships with the package and stays"):
        remove_device("tx2")
    with pytest.raises(DeviceError, match="is unknown"):
        remove_device("mine")


def test_the_files_of_a_calibrated_device_survive_a_copy(tmp_path: Path) -> None:
    tx2 = load_device("tx2")
    own = recalibrate(tx2, points_of(tx2, dict.fromkeys(SIX, 0.5)), "mine").device
    fitted, _ = fitted_to(tx2, points_of(tx2, dict.fromkeys(SIX, 0.5)))
    costs = [predict(graph_of("espnet-5"), device).latency_s for device in (own, fitted)]
    assert costs[0].mean == pytest.approx(costs[1].mean, rel=1e-4)
    assert log(costs[0].high / costs[0].low) == pytest.approx(log(costs[1].high / costs[1].low), rel=1e-3)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is not the JSON of zoo bench"),
        ("[" * 100_000, "is not the JSON of zoo bench"),
        ("[]", "must be a list of measurements"),
        ('[{"model": "x"}]', "entry 1: is not a measurement of zoo bench"),
    ],
)
def test_a_file_that_is_no_bench_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "bench.json"
    path.write_text(text)
    with pytest.raises(DeviceError, match=message):
        from_bench(path)


def test_a_bench_without_time_or_of_a_rewritten_network_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bench.json"
    path.write_text(json.dumps([bench_entry("espnet", -1.0)]))
    with pytest.raises(DeviceError, match="must have positive numbers"):
        from_bench(path)
    path.write_text(json.dumps([bench_entry("espnet", 0.1, network="rewritten by fold")]))
    with pytest.raises(DeviceError, match="measure again without --optimize"):
        from_bench(path)


def test_a_trtexec_log_makes_a_device_in_one_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    board = load_device("tx2-tensorrt")
    milliseconds = 0.7e3 * predict(graph_of("espnet"), board).latency_s.mean
    log_file = tmp_path / "anything.log"
    log_file.write_text(
        "[01/26/2026-10:00:01] [I] Created input binding for image with dimensions 1x3x512x1024\n"
        f"[01/26/2026-10:00:09] [I] Latency: min = 1 ms, max = 99 ms, mean = 9 ms, median = {milliseconds:.4f} ms\n"
    )
    file = ("--bench", str(log_file), "--model", "espnet", "--size", "1024x512", "--name")
    assert main(["device", "calibrate", "tx2", *file, "elsewhere"]) == 0
    assert "no precision was read: taken as fp16" in capsys.readouterr().err
    (point,) = calibrate(capsys, "tx2-tensorrt", *file, "my-board")["points"]
    assert (point["network"], point["measured"]) == ("espnet", pytest.approx(milliseconds / 1e3, rel=1e-3))
    own = load_device("my-board")
    assert own.stack == "tensorrt"
    for name in ("espnet-3", "espnet-c", "enet"):
        truth = 0.7 * predict(graph_of(name), board).latency_s.mean
        assert predict(graph_of(name), own).latency_s.mean == pytest.approx(truth, rel=0.15)


def drawn(device: Device, rng: np.random.Generator) -> Device:
    """A board of which the device knows no more than it claims: parameters from its posterior."""
    fit_ = device.latency
    values, vectors = np.linalg.eigh(fit_.covariance)
    error = vectors @ (np.sqrt(np.maximum(values, 0)) * rng.normal(size=len(values)))
    return replace(device, latency=replace(fit_, theta=fit_.theta + error))


def test_one_log_of_trtexec_on_an_orin_nano_predicts_the_next_network(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    device, rng, errors = load_device("orin-nano"), np.random.default_rng(0), []
    for draw in range(3):
        board, scale = drawn(device, rng), exp(rng.normal(0, 0.3))
        runs = [{"computeMs": 1e3 * scale * predict(graph_of("espnet"), board).latency_s.mean}] * 20
        log_file = tmp_path / "times.json"
        log_file.write_text(json.dumps([run | {"latencyMs": run["computeMs"], "h2dMs": 0, "d2hMs": 0} for run in runs]))
        argv = (
            "orin-nano",
            "--log",
            str(log_file),
            "--model",
            "espnet",
            "--size",
            "1024x512",
            "--name",
            f"mine-{draw}",
        )
        calibrate(capsys, *argv)
        own = load_device(f"mine-{draw}")
        for name in ("espnet-3", "espnet-c", "enet"):
            cost, truth = predict(graph_of(name), own).latency_s, scale * predict(graph_of(name), board).latency_s.mean
            errors.append(abs(cost.mean / truth - 1))
            assert cost.low < truth < cost.high
    assert np.mean(errors) < 0.1
    assert max(errors) < 0.15


def test_a_log_without_its_network_is_misused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["device", "calibrate", "orin-nano", "--log", "times.json"]) == 2
    assert "--log FILE needs --model MODEL" in capsys.readouterr().err


def change_yaml(folder: Path, **changes: Any) -> None:
    import yaml

    path = folder / "device.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | changes))


def test_a_folder_from_elsewhere_is_checked_for_sense(tmp_path: Path) -> None:
    import shutil

    from hw_models.device_writer import add_device

    folder = Path(shutil.copytree(load_device("tx2").folder, tmp_path / "other"))
    change_yaml(folder, title="My own board")
    with pytest.raises(DeviceError, match=r"'My own board' has the numbers and latency coefficients of device tx2"):
        add_device(folder)
    clocks = {"low_mhz": 1200, "high_mhz": 1300, "default_mhz": 1300, "modes": {}, "source": "x"}
    change_yaml(folder, title=load_device("tx2").title, clocks=clocks)
    with pytest.raises(DeviceError, match=r"the point of espnet at 828 MHz is outside the clocks 1200 to 1300 MHz"):
        add_device(folder)


@pytest.mark.parametrize("metric", ["latency_s", "power_w", "energy_j"])
@pytest.mark.parametrize("name", LAW_DEVICES)
def test_exceeding_is_the_inverse_of_the_quantile_on_ones_own_machine(name: str, metric: str) -> None:
    own, _ = fitted_to(
        load_device(name), points_of(load_device(name), {"espnet": 0.4, "espnet-c": 0.5, "espnet-3": 0.6})
    )
    prices = predictor(own)
    terms = np.stack([prices.terms(graph_of(network).layers) for network in ("espnet", "espnet-5")])
    costs = prices.finish(terms, 0.6)
    assert prices.quantile(terms, metric, 0.8) == pytest.approx(getattr(costs, f"{metric}_high"), rel=2e-3)
    for probability in (0.2, 0.5, 0.8, 0.95):
        value = prices.quantile(terms, metric, probability)
        cut = (value <= prices.device.value("idle_power")) | (value >= prices.device.value("power_limit"))
        kept = ~cut if metric == "power_w" else np.ones(len(value), dtype=bool)
        assert prices.exceeding(terms, metric, value)[kept] == pytest.approx(1 - probability, abs=1e-4)
        assert prices.quantile(terms, metric, np.full(2, probability)) == pytest.approx(value)
