"""What version 0.1 wrote is read by this one: a run's folder, a study, a training run, a measured device."""

import json
import shutil
from pathlib import Path

import pytest

from zoo.cli import main

OLD = Path(__file__).parent / "data" / "v0.1"


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A copy that a test may write into."""
    return Path(shutil.copytree(OLD, tmp_path / "old"))


def test_the_certificate_of_an_old_run_is_checked(old: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The device has been fitted anew since: the certificate says that it no longer holds, and why."""
    assert main(["verify", str(old / "run"), "--json"]) == 3
    answer = json.loads(capsys.readouterr().out)
    assert answer["ok"] is False and "devices_sha256" in answer["reason"]


def as_of_today(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Rewrite an old run as version 0.1 would with today's devices. Its one limit is counted: both rules agree."""
    from search.certificate import basis
    from search.runs.writer import query_from
    from search.space import digest

    document = json.loads((folder / "front.json").read_text(encoding="utf-8"))
    certificate = json.loads((folder / "certificate.json").read_text(encoding="utf-8"))
    asked = ["--device", "tx2@850", "--max-params", "300k", "--space", "tiny", "--no-plots"]
    assert main(["search", *asked, "-o", str(folder.parent / "today"), "--json"]) == 0
    entries = json.loads(capsys.readouterr().out)["front"]
    for entry in entries:
        for name in ("clock_mhz", "aliases"):
            entry.pop(name, None)
        for cost in entry["devices"].values():
            del cost["clock_mhz"]
    document["front"] = entries
    certificate["basis"] = dict(basis(query_from(certificate["query"]))) | {"version": "0.1.0"}
    certificate |= {"front": len(entries), "front_sha256": digest(entries)}
    (folder / "front.json").write_text(json.dumps(document), encoding="utf-8")
    (folder / "certificate.json").write_text(json.dumps(certificate), encoding="utf-8")


def test_the_certificate_of_an_old_run_verifies_by_its_own_rule(old: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = old / "run"
    as_of_today(folder, capsys)
    assert main(["verify", str(folder)]) == 0
    assert "was written by version 0.1.0" in capsys.readouterr().err
    changed = json.loads((folder / "front.json").read_text(encoding="utf-8"))
    changed["front"].pop()
    (folder / "front.json").write_text(json.dumps(changed), encoding="utf-8")
    assert main(["verify", str(folder)]) == 3


@pytest.mark.parametrize("kind", ["run", "study"])
def test_an_old_front_is_reported(kind: str, old: Path) -> None:
    assert main(["report", str(old / kind), "-o", str(old / "report.html")]) == 0
    assert "</html>" in (old / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("kind", ["run", "study"])
def test_a_candidate_of_an_old_front_is_a_model(kind: str, old: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", f"{old / kind}#1", "--json"]) == 0
    front = json.loads((old / kind / "front.json").read_text(encoding="utf-8"))["front"]
    assert json.loads(capsys.readouterr().out)["params"] == front[0]["params"]


def test_an_old_training_goes_on(old: Path) -> None:
    pytest.importorskip("torch")
    from zoo.data.datasets import data_set
    from zoo.train.checkpoint import identity_of, load_state, read_weights

    run = old / "train"
    identity = identity_of(run)
    state = load_state(run, identity)
    assert state["epoch"] == 2
    assert read_weights(run / "best.safetensors").labels == data_set("scenes", None, "val").labels
    command = ["train", "espnet-c", "--set", "alpha2=1", "--set", "alpha3=1", "--set", "widths=[8,16,32]"]
    assert main([*command, "--dataset", "scenes", "--size", "64x48", "--resume", "-o", str(run)]) == 0


def test_an_old_device_predicts(old: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["device", "add", str(old / "old")]) == 0
    capsys.readouterr()
    assert main(["device", "list", "--json"]) == 0
    names = [device["name"] for device in json.loads(capsys.readouterr().out)]
    assert "old" in names
    assert main(["predict", "espnet-c", "--device", "old", "--size", "256x128", "--json"]) == 0
    cost = json.loads(capsys.readouterr().out)
    assert 0 < cost["latency_s"]["low"] < cost["latency_s"]["mean"] < cost["latency_s"]["high"]
