"""docs/formats.md: what the page promises of run folders is what a search and a study write."""

import csv
import json
import re
from pathlib import Path

import pytest

from hw_models.device import SHIPPED
from zoo.config import load_config

PAGE = (Path(__file__).resolve().parents[1] / "docs" / "formats.md").read_text(encoding="utf-8")


def section(title: str) -> str:
    return PAGE.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def files(title: str) -> list[str]:
    """The names in the first column of a section's table."""
    cells = re.findall(r"^\| (`.*?) \|", section(title), re.MULTILINE)
    return [name for cell in cells for name in re.findall(r"`([^`]+)`", cell)]


def test_a_run_has_the_files_and_keys(small_run):
    pytest.importorskip("matplotlib", reason="charts need the extra `plots`")
    assert (
        files("Run folder of a search")
        and [n for n in files("Run folder of a search") if not (small_run / n).exists()] == []
    )
    document = json.loads((small_run / "front.json").read_text(encoding="utf-8"))
    promised = re.search(r"`front.json` \| (.*) \|", PAGE)[1]
    assert set(re.findall(r"`(\w+)`", promised)) <= set(document)
    entry = document["front"][0]
    keys = re.findall(r"`(\w+)(?::[^`]*)?`", section("Run folder of a search").partition("An entry of")[2])
    assert {"rank", "latency_s"} < set(keys)
    (device,) = entry["devices"].values()
    known = {*entry, *device, "front", "devices"}
    assert set(keys) <= known


def test_a_study_has_the_files_and_columns(small_study):
    written_here = [
        name for name in files("Run folder of a study") if name not in ("trained/short", "trained/long", "logs")
    ]
    assert written_here and [name for name in written_here if not (small_study / name).exists()] == []
    with (small_study / "trials.csv").open(newline="", encoding="utf-8") as file:
        columns = csv.DictReader(file).fieldnames
    promised = re.findall(r"`(\w+)`", section("Run folder of a study").partition("are observations:")[2])
    assert promised and set(promised) <= set(columns)


def test_a_device_has_the_files():
    names = [name for name in files("Device folder") if "*" not in name and name != "blocks.csv"]
    assert {"device.yaml", "coefficients.json"} <= set(names)
    assert [name for name in names if not (SHIPPED / "tx2" / name).exists()] == []


def test_the_zoo_yaml_is_read(tmp_path):
    own = tmp_path / "zoo.yaml"
    own.write_text(re.search(r"```yaml\n(.*?)```", section("zoo.yaml"), re.DOTALL)[1], encoding="utf-8")
    config = load_config(str(own))
    assert config.search("robot").space == "small" and config.model("short").alias_of == "mine"
