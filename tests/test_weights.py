"""The manifest against the published files, weights against their networks, and files that are not weights."""

import hashlib
import json
import os
import pickle
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

import pretrained
import zoo.cli.weights as command
from pretrained.convert import convert, ordered, ready
from pretrained.manifest import Manifest, Metric, Source, Weights, manifest, read_manifest
from pretrained.transport import Patience
from pretrained.weights import PretrainedNetwork, fit, load, load_state
from zoo import cli
from zoo.config import load_config
from zoo.data.classes import LABEL_SETS
from zoo.errors import ConfigError, ZooError
from zoo.models.espnet import ESPNetSpec
from zoo.network import build
from zoo.specs import as_dict

ROOT = Path(__file__).resolve().parents[1]
NAMES = [entry.name for entry in manifest().weights]
RELEASED = [entry.name for entry in manifest().weights if not entry.bundled]
ESPNETS = [name for name in RELEASED if not name.startswith("espnetv2")]
TINIEST = torch.finfo(torch.float32).tiny
SMALL = ESPNetSpec(variant="C", alpha2=1, alpha3=1, widths=(8, 16, 16), classes=3)
ONCE = Patience(rounds=1)


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """No address upstream answers."""
    import pretrained.transport as transport

    def refuse(*_: Any) -> None:
        raise ConnectionRefusedError(111, "Connection refused")

    monkeypatch.setattr(transport, "_within", refuse)


@pytest.fixture
def mirror(shared: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The published files as the mirror of the environment."""
    monkeypatch.setenv("ZOO_WEIGHTS_MIRROR", str(shared / "weights"))
    return shared / "weights"


def small(path: Path, **changes: Any) -> Weights:
    """An entry for a file that lies at `path`, of a small network; to be fetched with `from_file`."""
    data = path.read_bytes()
    source = Source(title="made up", license="MIT", holder="nobody", url="https://127.0.0.1:1")
    facts: dict[str, Any] = {"file": "encoder/small", "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    return replace(manifest().find("espnet-c-3.cityscapes"), spec=SMALL, source=source, **facts, **changes)


def saved(path: Path, value: Any) -> Path:
    torch.save(value, path)
    return path


# --- the manifest ---


def test_every_released_file_is_in_the_manifest(shared: Path) -> None:
    files = {path.relative_to(shared / "weights").as_posix() for path in (shared / "weights").rglob("*.pth")}
    assert {manifest().find(name).file for name in RELEASED} == files
    assert len(ESPNETS) == 7
    assert len(RELEASED) == 23


@pytest.mark.parametrize("name", RELEASED)
def test_length_and_hash_are_those_of_the_file(name: str, shared: Path) -> None:
    entry = manifest().find(name)
    data = (shared / "weights" / entry.file).read_bytes()
    assert (len(data), hashlib.sha256(data).hexdigest()) == (entry.bytes, entry.sha256)


@pytest.mark.parametrize("name", NAMES)
def test_entry_agrees_with_zoo_yaml_and_the_label_sets(name: str) -> None:
    entry = manifest().find(name)
    model = load_config().model(entry.model).spec
    changed = {key for key, value in as_dict(entry.spec).items() if as_dict(model)[key] != value}
    assert changed <= {"classes", "decoder_sees_image", "decoder_width"}
    classes = len(LABEL_SETS[entry.labels].classes)
    assert as_dict(entry.spec)["classes"] in (classes, classes + 1)
    assert entry.origin.startswith("https://") or entry.bundled


def test_aliases_are_those_of_zoo_yaml() -> None:
    models = load_config().models
    with_weights = {entry.model for entry in manifest().weights}
    expected = {name: entry.alias_of for name, entry in models.items() if entry.alias_of in with_weights}
    assert dict(manifest().aliases) == expected


def test_scores_are_the_published_ones(shared: Path) -> None:
    """The Cityscapes val column of the ESPNet paper, read from its table of figures."""
    table = (shared / "figures" / "README.md").read_text()
    row = next(line for line in table.splitlines() if line.startswith("| Cityscapes val mIOU"))
    published = [float(x) for cell in row.split("|")[2:4] for x in cell.split("/")]
    names = [f"{kind}-{depth}.cityscapes" for kind in ("espnet-c", "espnet") for depth in (3, 5, 8)]
    scores = [metric.value for name in names if (metric := manifest().find(name).miou)]
    assert scores == published


def test_every_score_says_its_protocol_and_source() -> None:
    for entry in manifest().weights:
        for metric in entry.metrics:
            assert all((metric.dataset, metric.split, metric.protocol, metric.source)), entry.name
        assert entry.metrics or entry.note, entry.name


@pytest.mark.parametrize(
    ("name", "tag", "found"),
    [
        ("espnet-c-3.cityscapes", None, "espnet-c-3.cityscapes"),
        ("espnet-c", "cityscapes", "espnet-c-8.cityscapes"),
        ("espnet.cityscapes", "cityscapes", "espnet-8.cityscapes"),
        ("espnet-8.camvid-authors", None, "espnet-8.camvid-authors"),
        ("espnetv2-1.0.cityscapes-512x256", None, "espnetv2-1.0.cityscapes-512x256"),
        ("espnetv2-2.0", "pascal", "espnetv2-2.0.pascal"),
        ("espnetv2-0.5", None, "espnetv2-0.5.cityscapes"),
    ],
)
def test_names(name: str, tag: str | None, found: str) -> None:
    assert pretrained.find(name, tag).name == found


@pytest.mark.parametrize(
    ("name", "tag", "hint"),
    [
        ("espnett-c.cityscapes", None, "did you mean 'espnet-c'"),
        ("espnet-c.citiscapes", None, "did you mean 'cityscapes'"),
        ("espnet-c", "citiscapes", "did you mean 'cityscapes'"),
        ("espnetv2-1.0.pascal-512x256", None, "did you mean 'pascal-256x256'"),
        ("espnet-c.cityscapes", "camvid", "give one"),
        ("espnet-a", None, "no weights are known for 'espnet-a'"),
    ],
)
def test_unknown_names_get_the_nearest(name: str, tag: str | None, hint: str) -> None:
    with pytest.raises(ZooError, match=hint):
        pretrained.find(name, tag)


def test_bundled_weights_are_the_default() -> None:
    cityscapes = manifest().find("espnet-c.cityscapes")
    ours = replace(cityscapes, tag="camvid", source=Source(title="this project", license="MIT", holder="us"))
    both = Manifest((cityscapes, ours), {"espnet-c": "espnet-c-8"})
    assert both.find("espnet-c").tag == "camvid"
    assert both.find("espnet-c.cityscapes").tag == "cityscapes"
    assert Manifest((replace(cityscapes, tag="pascal"),), {}).find("espnet-c-8").tag == "pascal"


GOOD = """\
sources:
  s: {title: t, license: MIT, holder: h, url: "https://example.org/w"}
preprocessing:
  p: @PREPROCESSING@
weights:
  - model: m
    tag: a
    spec: {family: espnet, alpha3: 3}
    source: s
    file: encoder/x.pth
    bytes: 10
    sha256: "@SHA@"
    preprocessing: p
    labels: cityscapes
    metrics:
      - {name: miou, value: 50, dataset: d, split: val, protocol: p, source: s}
""".replace("@SHA@", "0" * 64).replace("@PREPROCESSING@", "{channels: BGR, size: [512, 1024]}")


def test_manifest_is_read(tmp_path: Path) -> None:
    (tmp_path / "m.yaml").write_text(GOOD)
    (entry,) = read_manifest(tmp_path / "m.yaml").weights
    assert entry.spec == ESPNetSpec(alpha3=3)
    assert entry.metrics == (Metric(name="miou", value=50.0, dataset="d", split="val", protocol="p", source="s"),)
    assert entry.origin == "https://example.org/w/encoder/x.pth"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("    bytes: 10\n", "    bytes: 10\n    bytes: 11\n", "bytes: duplicate key"),
        ("    bytes: 10\n", "    bytes: 10\n    byte: 11\n", r"weights\[0\].byte"),
        ("    bytes: 10\n", "    bytes: 0\n", r"weights\[0\].bytes"),
        ("    bytes: 10\n", "    bytes: '10'\n", r"weights\[0\].bytes"),
        ("    bytes: 10\n", "", r"weights\[0\].bytes"),
        ("0" * 64, "0" * 63, r"weights\[0\].sha256"),
        ("https://", "http://", r"weights\[0\].source.url"),
        ("encoder/x.pth", "../x.pth", r"weights\[0\].file"),
        ("encoder/x.pth", "/etc/x.pth", r"weights\[0\].file"),
        ("encoder/x.pth", "encoder/../../x.pth", r"weights\[0\].file"),
        ("alpha3: 3", "alfa3: 3", "did you mean 'alpha3'"),
        ("value: 50,", "value: 150,", r"weights\[0\].metrics.0.value"),
        ("    source: s\n", "    source: x\n", "weights\\[0\\].source: 'x' is not in sources"),
        ("weights:\n", "wheights:\n", "wheights: unknown key"),
        ("sources:\n", "aliases: {n: q}\nsources:\n", "aliases.n"),
    ],
)
def test_manifest_with_a_mistake_names_the_key(old: str, new: str, message: str, tmp_path: Path) -> None:
    assert old in GOOD
    (tmp_path / "m.yaml").write_text(GOOD.replace(old, new, 1))
    with pytest.raises(ConfigError, match=message):
        read_manifest(tmp_path / "m.yaml")


def test_entry_that_is_there_twice(tmp_path: Path) -> None:
    (tmp_path / "m.yaml").write_text(GOOD + GOOD.partition("weights:\n")[2])
    with pytest.raises(ConfigError, match=r"m\.a is there twice"):
        read_manifest(tmp_path / "m.yaml")


# --- weights and networks ---


@pytest.mark.parametrize("name", RELEASED)
def test_released_weights_load_strictly(name: str, mirror: Path) -> None:
    network = load(name)
    entry = manifest().find(name)
    assert not network.training
    assert (network.preprocessing, network.labels, network.weights) == (entry.preprocessing, entry.labels, entry)
    file = torch.load(mirror / entry.file, weights_only=True, map_location="cpu")
    assert set(file) - set(entry.unused_keys) == set(file) & set(network.state_dict())
    for key, tensor in network.state_dict().items():
        if key in file:
            flushed = torch.where(file[key].abs() < TINIEST, 0, file[key])
            assert torch.equal(tensor, flushed), key
        else:
            assert key.endswith("num_batches_tracked")


def test_authors_logits(mirror: Path, shared: Path) -> None:
    x = torch.from_numpy(np.random.RandomState(7).randn(1, 3, 256, 512).astype(np.float32) / 255)
    with np.load(shared / "reference" / "espnet_logits.npz") as references, torch.no_grad():
        for name in references:
            step = 2 if name.startswith("espnet-c") else 8
            logits = load(name)(x)[0, :, ::step, ::step].numpy()
            assert np.abs(logits - references[name]).max() <= 1e-4 * np.abs(references[name]).max(), name


def test_subnormal_numbers_are_flushed(tmp_path: Path) -> None:
    path = saved(tmp_path / "w.pth", {"x": torch.tensor([1e-40, -1e-40, 1.0, TINIEST])})
    assert load_state(path)["x"].tolist() == [0.0, 0.0, 1.0, TINIEST]


def test_unused_keys_are_dropped_and_only_they(tmp_path: Path) -> None:
    state = dict(build(SMALL).state_dict())
    path = saved(tmp_path / "w.pth", state | {"never": torch.zeros(1)})
    how = {"from_file": path, "patience": ONCE}
    assert set(load_state(small(path, unused_keys=("never",)), **how)) == set(state)
    with pytest.raises(ZooError, match="lacks absent"):
        load_state(small(path, unused_keys=("absent",)), **how)
    with pytest.raises(ZooError, match=r"1 unexpected \(never\)"):
        load(small(path), **how)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("level1.conv.weight"), r"1 missing \(level1.conv.weight\)"),
        (lambda s: s.update(extra=torch.zeros(2)), r"1 unexpected \(extra\)"),
        (lambda s: s.update({"level1.act.weight": torch.zeros(9)}), "level1.act.weight is 9 and not 8"),
        (lambda s: s.clear() or s.update(x=torch.zeros(1)), r"missing \(level1.conv.weight, .*, …\)"),
    ],
)
def test_misfit_names_the_keys(change: Callable[[dict[str, Any]], Any], message: str) -> None:
    network = build(SMALL)
    state = dict(network.state_dict())
    change(state)
    with pytest.raises(ZooError, match=message) as caught:
        fit(network, state, "these")
    assert "\n" not in str(caught.value)


# --- files that are not weights ---


class Evil:
    """Would run a command on loading, in a reader that lets it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.path}",)


@pytest.mark.parametrize("protocol", ["torch", "pickle"])
def test_pickle_that_would_run_code(protocol: str, tmp_path: Path) -> None:
    path, mark = tmp_path / "evil.pth", tmp_path / "mark"
    if protocol == "torch":
        saved(path, {"x": Evil(mark)})
    else:
        path.write_bytes(pickle.dumps({"x": Evil(mark)}))
    pickle.loads(pickle.dumps(Evil(tmp_path / "proof")))
    assert (tmp_path / "proof").exists()  # it does run where it may
    for act in (lambda: load_state(path), lambda: load(small(path), from_file=path, patience=ONCE)):
        with pytest.raises(ZooError) as caught:
            act()
        assert "\n" not in str(caught.value)
    assert not mark.exists()


def test_refused_code_is_named(tmp_path: Path) -> None:
    with pytest.raises(ZooError, match=rf"refers to {os.system.__module__}.system, which could run code"):
        load_state(saved(tmp_path / "evil.pth", {"x": Evil(tmp_path / "mark")}))


@pytest.mark.parametrize("keep", [0, 1, 9, 100, 0.5, 0.99])
@pytest.mark.parametrize("kind", ["pth", "legacy", "safetensors"])
def test_truncated_files(kind: str, keep: float, tmp_path: Path) -> None:
    path = tmp_path / "w"
    state = dict(build(SMALL).state_dict())
    if kind == "safetensors":
        save_file(state, path)
    else:
        torch.save(state, path, _use_new_zipfile_serialization=kind == "pth")
    data = path.read_bytes()
    path.write_bytes(data[: keep if isinstance(keep, int) else int(len(data) * keep)])
    with pytest.raises(ZooError, match="cut off or damaged") as caught:
        load_state(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("junk", [b"<html>404</html>", b"\x89PNG\r\n", bytes(1000), b"\xff" * 8 + b"{}"])
def test_junk(junk: bytes, tmp_path: Path) -> None:
    (tmp_path / "w").write_bytes(junk)
    with pytest.raises(ZooError, match="is not a file of weights"):
        load_state(tmp_path / "w")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([torch.zeros(1)], "holds a list"),
        ({}, "holds a dict"),
        ({"epoch": 3, "state_dict": {}}, "'epoch' is a int, not a tensor"),
        ({3: torch.zeros(1)}, "3 is a Tensor"),
        ({"w": torch.tensor([1.0, float("nan")])}, "w holds values that are not finite"),
    ],
)
def test_what_is_no_state_dict(value: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(ZooError, match=message):
        load_state(saved(tmp_path / "w.pth", value))


def test_swapped_file_is_recognised(shared: Path, tmp_path: Path) -> None:
    entry, other = manifest().find("espnet-c-3.cityscapes"), manifest().find("espnet-c-5")
    with pytest.raises(ZooError, match=r"holds espnet-c-5\.cityscapes") as caught:
        load(entry.name, from_file=shared / "weights" / other.file, patience=ONCE)
    assert entry.sha256 in str(caught.value)
    assert other.sha256 in str(caught.value)
    swapped = tmp_path / entry.file
    swapped.parent.mkdir()
    swapped.write_bytes((shared / "weights" / other.file).read_bytes())
    with pytest.raises(ZooError, match=r"holds espnet-c-5\.cityscapes"):
        load(entry.name, mirrors=[str(tmp_path)], patience=ONCE)


# --- ready files ---


def test_safetensors_say_what_they_are(mirror: Path, tmp_path: Path) -> None:
    entry = manifest().find("espnet-c-3.cityscapes")
    path = convert(entry, out=tmp_path)
    with safe_open(path, "pt") as file:
        said = file.metadata()
    assert path == tmp_path / "espnet-c-3.cityscapes.safetensors"
    assert (said["model"], said["tag"], said["license"], said["source_sha256"]) == (
        "espnet-c-3",
        "cityscapes",
        "MIT",
        entry.sha256,
    )
    assert json.loads(said["spec"]) == as_dict(entry.spec)
    state = load_state(path)
    assert all(torch.equal(state[key], value) for key, value in load_state(entry).items())
    fit(build(entry.spec), state, entry.name)


def test_pth_is_a_plain_state_dict(mirror: Path, tmp_path: Path) -> None:
    entry = manifest().find("espnetv2-0.5.pascal")
    state = torch.load(convert(entry, "pth", tmp_path), weights_only=True)
    assert type(state) is dict
    assert not set(entry.unused_keys) & set(state)
    fit(PretrainedNetwork(entry), state, entry.name)


@pytest.mark.parametrize("fmt", ["safetensors", "pth"])
def test_same_weights_give_the_same_bytes(fmt: str, mirror: Path, tmp_path: Path) -> None:
    entry = manifest().find("espnet-c-3.cityscapes")
    contents = {convert(entry, fmt, tmp_path / str(i)).read_bytes() for i in range(3)}
    assert len(contents) == 1


def test_ordered_header_changes_no_tensor(tmp_path: Path) -> None:
    state = {"b": torch.arange(3.0), "a": torch.ones(2, 2)}
    save_file(state, tmp_path / "w", metadata={"z": "1", "y": "ä", "x": "3"})
    data = ordered((tmp_path / "w").read_bytes())
    (tmp_path / "o").write_bytes(data)
    again = load_file(tmp_path / "o")
    assert all(torch.equal(again[key], value) for key, value in state.items())
    assert ordered(data) == data
    with safe_open(tmp_path / "o", "pt") as file:
        assert file.metadata() == {"z": "1", "y": "ä", "x": "3"}


def test_onnx_file_carries_the_same_papers(mirror: Path, tmp_path: Path) -> None:
    entry = manifest().find("espnetv2-0.5.pascal-256x256")
    model = onnx.load(convert(entry, "onnx", tmp_path))
    said = {item.key: item.value for item in model.metadata_props}
    assert (said["model"], said["tag"], said["source_sha256"]) == (entry.model, entry.tag, entry.sha256)
    shape = [axis.dim_value for axis in model.graph.input[0].type.tensor_type.shape.dim]
    assert shape == [1, 3, 256, 256]


def test_unknown_format(tmp_path: Path) -> None:
    with pytest.raises(ZooError, match="did you mean 'safetensors'"):
        convert(manifest().find("espnet-c"), "safetensor", tmp_path)


def test_two_processes_write_to_one_folder(mirror: Path, tmp_path: Path) -> None:
    code = "import sys; from zoo.cli import main; sys.exit(main(sys.argv[1:]))"
    arguments = [
        "get",
        "espnet-c-3",
        "--pretrained",
        "cityscapes",
        "-o",
        str(tmp_path),
        "--json",
        "--mirror",
        str(mirror),
    ]
    carried = ["--from-file", str(mirror / manifest().find("espnet-c-3.cityscapes").file)]
    command = [sys.executable, "-c", code, *arguments, *carried]
    both = [subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = [json.loads(process.communicate(timeout=60)[0]) for process in both]
    (path,) = tmp_path.iterdir()
    assert {document["sha256"] for document in said} == {hashlib.sha256(path.read_bytes()).hexdigest()}


def test_folder_that_cannot_be_written(mirror: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ZooError, match="choose another folder with -o"):
        convert(manifest().find("espnet-c-3.cityscapes"), out=tmp_path / "file" / "folder")


# --- zoo get ---


def test_get_prints_what_it_got(mirror: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["get", "espnet-c", "--pretrained", "cityscapes", "-o", str(tmp_path), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    entry = manifest().find("espnet-c-8.cityscapes")
    path = Path(said["path"])
    assert path.parent == tmp_path
    assert (said["model"], said["tag"], said["license"]) == ("espnet-c-8", "cityscapes", "MIT")
    assert (said["source"], said["source_sha256"]) == (entry.origin, entry.sha256)
    assert (said["bytes"], said["sha256"]) == (path.stat().st_size, hashlib.sha256(path.read_bytes()).hexdigest())
    assert said["metrics"] == [asdict(metric) for metric in entry.metrics]
    assert said["metrics"][0]["value"] == 53.3


def test_get_in_words(mirror: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["get", "espnet-8.camvid-authors"]) == 0
    lines = capsys.readouterr().out.splitlines()
    entry = manifest().find("espnet-8.camvid-authors")
    for part in (entry.origin, entry.sha256, "MIT", "Sachin Mehta", "69.4 % on camvid val at 480x360", "void pixels"):
        assert any(part in line for line in lines), part


def test_get_takes_a_file_carried_by_hand(shared: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = shared / "weights" / manifest().find("espnet-3.cityscapes").file
    assert cli.main(["get", "espnet-3", "--pretrained", "cityscapes", "--from-file", str(file), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["taken_from"] == str(file)
    wrong = shared / "weights" / manifest().find("espnet-5.cityscapes").file
    assert cli.main(["get", "espnet-3", "--pretrained", "cityscapes", "--from-file", str(wrong)]) == 1
    assert "holds espnet-5.cityscapes" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["espnet-c"], 2, "say --pretrained"),
        (["espnetv2-1.0"], 2, "say --pretrained"),
        ([], 2, "MODEL is missing"),
        (["espnett", "--pretrained"], 1, "did you mean"),
        (["espnet-c", "--pretrained", "citiscapes"], 1, "did you mean 'cityscapes'"),
        (["espnet-c", "--pretrained", "--mirror", "file:///w"], 1, "must be a folder or an https:// URL"),
    ],
)
def test_get_called_wrongly(arguments: list[str], code: int, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["get", *arguments]) == code
    said = capsys.readouterr()
    assert message in said.err
    assert said.out == ""


def test_pretrained_before_the_model(mirror: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["get", "--json", "--pretrained", "espnet-c-3"]) == 0
    assert json.loads(capsys.readouterr().out)["model"] == "espnet-c-3"


def test_get_offline_says_what_to_do(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    assert cli.main(["get", "espnet-c", "--pretrained", "cityscapes"]) == 1
    said = capsys.readouterr().err
    assert "--mirror" in said
    assert "--from-file" in said
    assert len(said.strip().splitlines()) == 1


def test_ready_and_listed(mirror: Path, tmp_path: Path) -> None:
    got = ready(manifest().find("espnet-c-3.cityscapes"), out=tmp_path)
    assert got.taken_from == str(mirror / "encoder" / "espnet_p_2_q_3.pth")
    assert ready(manifest().find("espnet-c-3.cityscapes"), out=tmp_path).taken_from == "cache"
    assert pretrained.weights_of("espnet-a") == []
    assert [row["tag"] for row in pretrained.weights_of("espnet")][:2] == ["cityscapes", "camvid-authors"]
    assert command.score(manifest().find("espnet-c.cityscapes").metrics[0]).startswith(
        "53.3 % on cityscapes val at 2048x1024"
    )
