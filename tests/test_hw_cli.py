"""`zoo predict` and `zoo device`: keys, exit codes, files; and the page that is generated from the devices."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from docs.hardware_page import LEFT_OUT, page
from hw_models.build.recipes import RECIPES
from hw_models.cost import Interval
from hw_models.device import SHIPPED, load_device
from hw_models.validate import validate
from zoo.cli import command, main

ROOT = Path(__file__).resolve().parents[1]


def run(capsys: pytest.CaptureFixture[str], *argv: str) -> tuple[int, str, str]:
    code = main(list(argv))
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def document(capsys: pytest.CaptureFixture[str], *argv: str) -> dict[str, object]:
    code, out, _ = run(capsys, *argv, "--json")
    assert code == 0
    return json.loads(out)


def test_predict_prints_the_promised_keys(capsys: pytest.CaptureFixture[str]) -> None:
    cost = document(capsys, "predict", "espnet-c-3", "--device", "tx2", "--clock-mhz", "1134", "--size", "512x256")
    for metric in ("latency_s", "power_w", "energy_j"):
        assert cost[metric]["low"] < cost[metric]["mean"] < cost[metric]["high"]
    assert cost["device"] == "tx2"
    assert cost["clock_mhz"] == 1134
    assert cost["fps"] == pytest.approx(1 / cost["latency_s"]["mean"])
    assert cost["memory_bytes"] > 0
    assert sum(cost["provenance"].values()) == pytest.approx(1)
    assert sum(kernel["share"] for kernel in cost["kernels"]) == pytest.approx(1)


def test_bounds_are_printed_in_the_unit_of_their_estimate_without_an_exponent() -> None:
    assert command.with_bounds(Interval(0.999, 0.627, 1.59), "W") == "999 mW (627–1590)"
    assert command.with_bounds(Interval(0.115, 0.0927, 0.143), "s") == "115 ms (92.7–143)"


def test_predict_for_people_says_what_it_rests_on(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "predict", "espnet-c-3", "--device", "titanx")
    assert code == 0
    for words in (
        "latency",
        "power (card)",
        "90% interval",
        "most expensive",
        "rests on: ",
        "modelled, scaled by espnet, enet",
    ):
        assert words in out


@pytest.mark.parametrize("axis", ["clock", "size", "batch"])
def test_sweeps_print_and_draw_a_curve(axis: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    chart = tmp_path / "sweep.svg"
    curve = document(capsys, "predict", "espnet-c-3", "--device", "tx2", "--sweep", axis, "-o", str(chart))
    assert len(curve["points"]) >= 5
    assert {"latency_s", "power_w", "energy_j", "fps"} <= set(curve["points"][0])
    assert chart.read_text().startswith("<?xml")
    assert ("sensitivity" in curve) == (axis == "clock")
    assert run(capsys, "predict", "espnet-c-3", "--device", "tx2", "--sweep", axis)[0] == 0


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (("--device", "tx3"), "device 'tx3' is unknown; did you mean 'tx2'?"),
        (("--device", "tx2", "--clock-mhz", "2000"), "clock must be 828 to 1300 MHz, but is 2000 MHz"),
        (("--device", "titanx", "--sweep", "clock"), "there is nothing to sweep"),
        (("--device", "tx2", "--sweep", "batch", "-o", "curve.bmp"), "the chart's format must be one of"),
        (("--device", "tx2", "--size", "100x100"), "multiples of 8"),
    ],
)
def test_what_cannot_be_predicted_is_one_sentence(
    argv: tuple[str, ...],
    message: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = run(capsys, "predict", "espnet", *argv)
    assert code == 1
    assert message in err
    assert not out
    assert not list(tmp_path.iterdir())


def test_devices_are_listed_and_shown(capsys: pytest.CaptureFixture[str]) -> None:
    names = [entry["name"] for entry in document(capsys, "device", "list")]
    assert {"gtx960m", "titanx", "tx2", "orin-nano", "rpi5"} <= set(names)
    shown = document(capsys, "device", "show", "tx2", "--model", "espnet-c-3")
    assert shown["numbers"]["macs_per_cycle"] == {
        "value": 256,
        "unit": "MAC/cycle",
        "kind": "computed",
        "source": load_device("tx2").numbers["macs_per_cycle"].source,
    }
    assert sum(entry["kernels"] for entry in shown["coverage"]) == 104
    for action in (["list"], ["show", "gtx960m"]):
        assert run(capsys, "device", *action)[0] == 0


def test_validation_prints_the_promised_keys(capsys: pytest.CaptureFixture[str]) -> None:
    result = document(capsys, "device", "validate", "titanx")
    keys = {"network", "metric", "published", "predicted", "low", "high", "used_for_calibration"}
    assert all(keys <= set(point) for point in result["points"])
    assert {point["used_for_calibration"] for point in result["points"]} == {True, False}
    assert 0 < result["mape"] < 0.15
    assert 0.85 <= result["coverage"] <= 1
    assert result["spearman"] > 0.9
    code, out, _ = run(capsys, "device", "validate", "gtx960m")
    assert code == 0
    assert "networks left out: mean error" in out


def test_a_device_is_added_once(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    import shutil

    folder = Path(shutil.copytree(SHIPPED / "titanx", tmp_path / "mine"))
    assert document(capsys, "device", "add", str(folder))["name"] == "mine"
    assert document(capsys, "predict", "espnet-c-3", "--device", "mine")["device"] == "mine"
    code, _, err = run(capsys, "device", "add", str(folder))
    assert code == 1
    assert "exists already" in err


def test_the_page_is_generated_from_the_devices() -> None:
    devices = [load_device(name) for name in RECIPES]
    left = json.loads((ROOT / "docs" / LEFT_OUT).read_text(encoding="utf-8"))
    text = page(devices, {device.name: validate(device) for device in devices}, left)
    assert text == (ROOT / "docs" / "hardware.md").read_text(encoding="utf-8"), "run python -m docs.hardware_page docs"


def test_no_watts_where_none_were_read(monkeypatch, capsys):
    from hw_models import device as device_module

    silent = replace(load_device("tx2"), power_covers=device_module.NOT_MEASURED)
    monkeypatch.setattr(device_module, "load_device", lambda name: silent)
    assert main(["predict", "espnet-c", "--device", "tx2", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["power_w"] is document["energy_j"] is None
    assert document["latency_s"]["mean"] > 0
    assert main(["predict", "espnet-c", "--device", "tx2"]) == 0
    shown = capsys.readouterr().out
    assert "no power was read on this machine" in shown
    assert " W" not in shown
    assert main(["predict", "espnet-c", "espnet", "--device", "tx2"]) == 0
    assert "not read" in capsys.readouterr().out


def test_a_search_shows_watts_only_where_one_was_read(tmp_path, capsys):
    search = ["search", "--space", "tiny", "--size", "256x128", "--no-plots", "-o"]
    assert main([*search, str(tmp_path / "a"), "--device", "orin-nano"]) == 0
    assert "power" not in capsys.readouterr().out
    assert main([*search, str(tmp_path / "b"), "--device", "orin-nano,tx2"]) == 0
    shown = capsys.readouterr().out
    assert "tx2@1300 power, W" in shown.replace("\n", " ") or "power, W" in shown
    assert "orin-nano@625 power" not in shown.replace("\n", " ")
    assert main([*search, str(tmp_path / "c"), "--device", "orin-nano", "--max-power-w", "15"]) == 0
    out, err = capsys.readouterr()
    assert "power, W" in out
    assert "a limit of power means nothing" in err
    assert main(["compare", "espnet", "espnet-c", "--device", "orin-nano"]) == 0
    assert "not read" in capsys.readouterr().out
    assert main(["compare", "espnet", "espnet-c", "--device", "orin-nano", "--json"]) == 0
    chances = json.loads(capsys.readouterr().out)["better"]["espnet-c>espnet"]
    assert chances["power"] is chances["energy"] is None
    assert chances["latency"] > 0.5
