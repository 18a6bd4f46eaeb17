"""Device folders: what ships reads back whole, and each way to break a folder has its own sentence."""

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from hw_models.device import SHIPPED, DeviceError, device_folders, load_device, read_device
from hw_models.device_writer import add_device
from hw_models.tables import PROVENANCES, TableError
from zoo.errors import ZooError

Change = Callable[[dict[str, str]], None]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of a shipped device to break."""
    return Path(shutil.copytree(SHIPPED / "tx2", tmp_path / "mine"))


def change_row(path: Path, change: Change, line: int = 0) -> None:
    with path.open(newline="") as file:
        reader = csv.DictReader(file)
        rows = list(reader)
    change(rows[line])
    write_rows(path, rows)


def write_rows(path: Path, rows: list[dict[str, str]]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def change_yaml(folder: Path, change: Callable[[dict[str, object]], None]) -> None:
    path = folder / "device.yaml"
    entry = yaml.safe_load(path.read_text())
    change(entry)
    path.write_text(yaml.safe_dump(entry, sort_keys=False))


def test_shipped_devices_read_and_say_where_every_number_is_from() -> None:
    assert {"tx2", "gtx960m", "titanx"} <= set(device_folders())
    for name in ("tx2", "gtx960m", "titanx"):
        device = load_device(name)
        assert all(number.source and number.kind for number in device.numbers.values())
        assert all(row.source and row.provenance in PROVENANCES for row in device.rows)
        assert all(point.source for point in device.points)
        assert device.clocks.source
        assert device.power_note


def test_no_row_of_the_960m_is_called_measured() -> None:
    device = load_device("gtx960m")
    assert all(row.provenance != "measured" for row in device.rows)
    assert "measured" not in device.rests_on.values()


def test_unlicensed_tables_ship_as_a_small_extract() -> None:
    assert len(load_device("tx2").rows) <= 150


@pytest.mark.parametrize(
    ("cell", "value", "message"),
    [
        ("latency_s", "-0.001", "latency_s: must be positive, but is -0.001"),
        ("latency_s", "nan", "latency_s: must be finite, but is nan"),
        ("latency_s", "inf", "latency_s: must be finite"),
        ("latency_s", "fast", "latency_s: must be a number, but is 'fast'"),
        ("latency_s", "1.0", "must lie between latency_low_s and latency_high_s"),
        ("in_channels", "2.5", "in_channels: must be a whole number"),
        ("height", "0", "height: must be positive"),
        ("op", "convolve", "'convolve' is unknown; known: conv"),
        ("stack", "pytorch", "'pytorch' is unknown; did you mean 'pytorch-eager'"),
        ("provenance", "guessed", "'guessed' is unknown"),
        ("precision", "fp8", "'fp8' is unknown"),
        ("source", "", "source: is empty"),
        ("power_w", "", "must be given together"),
        ("groups", "7", "7 groups do not divide"),
    ],
)
def test_a_bad_cell_is_named_with_file_and_line(folder: Path, cell: str, value: str, message: str) -> None:
    path = folder / "kernels_pytorch.csv"
    change_row(path, lambda row: row.__setitem__(cell, value))
    with pytest.raises(TableError, match=message) as error:
        read_device(folder)
    assert f"{path}: line 2" in str(error.value)


def test_a_column_without_its_unit_is_named(folder: Path) -> None:
    path = folder / "kernels_pytorch.csv"
    path.write_text(path.read_text().replace("latency_s", "latency", 1))
    with pytest.raises(TableError, match="column 'latency' has no unit; name it 'latency_s'"):
        read_device(folder)


def test_unknown_and_missing_columns_are_named(folder: Path) -> None:
    path = folder / "points.csv"
    text = path.read_text()
    path.write_text(text.replace("metric", "metrik", 1))
    with pytest.raises(TableError, match="column 'metrik' is unknown; did you mean 'metric'"):
        read_device(folder)
    path.write_text("\n".join(line.partition(",")[2] for line in text.splitlines()))
    with pytest.raises(TableError, match="column 'network' is missing"):
        read_device(folder)


def test_a_row_may_not_come_twice(folder: Path) -> None:
    path = folder / "kernels_pytorch.csv"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines, lines[1]]) + "\n")
    with pytest.raises(TableError, match="the same kernel as in line 2"):
        read_device(folder)


def test_a_cut_row_is_refused(folder: Path) -> None:
    path = folder / "kernels_pytorch.csv"
    path.write_text(path.read_text()[:-80])
    with pytest.raises(TableError, match="cells; quote cells that contain commas"):
        read_device(folder)


def test_two_stacks_do_not_mix_in_one_table(folder: Path) -> None:
    change_row(folder / "kernels_pytorch.csv", lambda row: row.__setitem__("stack", "tvm"), line=3)
    with pytest.raises(TableError, match="stack is 'tvm' in a table of 'pytorch-eager'"):
        read_device(folder)


@pytest.mark.parametrize("name", ["../tx2/points.csv", "/etc/passwd"])
def test_files_outside_the_folder_are_refused(folder: Path, name: str) -> None:
    change_yaml(folder, lambda entry: entry.__setitem__("points", [name]))
    with pytest.raises(DeviceError, match="lies outside the device's folder"):
        read_device(folder)


def test_a_link_out_of_the_folder_is_refused(folder: Path, tmp_path: Path) -> None:
    outside = tmp_path / "points.csv"
    (folder / "points.csv").rename(outside)
    (folder / "points.csv").symlink_to(outside)
    with pytest.raises(DeviceError, match="lies outside the device's folder"):
        read_device(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda e: e["numbers"]["idle_power"].pop("unit"), "idle_power: unit is missing"),
        (lambda e: e["numbers"]["idle_power"].update(unit="mW"), "idle_power: unit must be W, but is mW"),
        (
            lambda e: e["numbers"]["idle_power"].update(value=-1),
            r"idle_power\.value: must be a positive number, but is -1",
        ),
        (lambda e: e["numbers"].pop("memory_bandwidth"), "memory_bandwidth is missing"),
        (lambda e: e["numbers"]["idle_power"].pop("source"), "source is missing"),
        (lambda e: e.update(stack="pytorch"), "stack: 'pytorch' is unknown; did you mean 'pytorch-eager'"),
        (lambda e: e.update(titel="x"), "titel: unknown key; did you mean 'title'"),
        (lambda e: e.pop("clocks"), "clocks is missing"),
        (lambda e: e["clocks"].update(default_mhz=5000), "default_mhz 5000 must lie between"),
        (lambda e: e.update(kernels=["nowhere.csv"]), "nowhere.csv does not exist"),
        (lambda e: e.update(clocks=[]), "clocks: must be a mapping"),
    ],
)
def test_a_bad_description_is_named(folder: Path, change: Callable[[dict[str, object]], None], message: str) -> None:
    change_yaml(folder, change)
    with pytest.raises(DeviceError, match=message):
        read_device(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c["latency"]["values"].update(efficiency=-1), r"efficiency: must be a positive number, but is -1"),
        (lambda c: c["latency"]["values"].pop("floor"), "floor is missing"),
        (lambda c: c["latency"].update(covariance=[[1.0]]), "covariance: must be 14 rows of 14 finite numbers"),
        (lambda c: c["latency"]["covariance"][0].__setitem__(0, -1.0), "no negative eigenvalue"),
        (lambda c: c["rests_on"].update(dense="hope"), "must name kind 'dense'"),
        (lambda c: c["power"].update(network_sd=float("nan")), "network_sd: must be a positive number"),
    ],
)
def test_bad_coefficients_are_named(folder: Path, change: Callable[[dict[str, object]], None], message: str) -> None:
    path = folder / "coefficients.json"
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))
    with pytest.raises(DeviceError, match=message):
        read_device(folder)


def test_what_is_not_json_or_not_a_folder_is_said(folder: Path, tmp_path: Path) -> None:
    (folder / "coefficients.json").write_text("{")
    with pytest.raises(DeviceError, match="not valid JSON"):
        read_device(folder)
    with pytest.raises(DeviceError, match="is not a device folder"):
        read_device(tmp_path / "empty")


def test_an_added_device_predicts_as_the_original(folder: Path) -> None:
    added = add_device(folder)
    assert added.name == "mine"
    assert load_device("mine").points == load_device("tx2").points
    with pytest.raises(DeviceError, match="exists already"):
        add_device(folder)


def test_a_shipped_name_cannot_be_taken() -> None:
    with pytest.raises(DeviceError, match="belongs to a device that ships"):
        add_device(SHIPPED / "tx2")


def test_a_broken_folder_is_not_added(folder: Path) -> None:
    (folder / "points.csv").unlink()
    with pytest.raises(ZooError):
        add_device(folder)
    assert "mine" not in device_folders()
