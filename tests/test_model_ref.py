"""MODEL and device mean the same to every command; what `zoo export` writes runs on its own."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed; pip install '.[onnx]'")
from PIL import Image  # noqa: E402

import zoo  # noqa: E402
from search.device_at import DeviceAt  # noqa: E402
from search.device_ref import device_at  # noqa: E402
from search.model_ref import resolve  # noqa: E402
from search.query import limits_from_si  # noqa: E402
from zoo.cli import commands, main, parser  # noqa: E402
from zoo.cli.tables import fitted  # noqa: E402
from zoo.config import load_config  # noqa: E402
from zoo.errors import ConfigError, nearest  # noqa: E402
from zoo.inference.preprocess import Preprocessing, network_input  # noqa: E402
from zoo.yaml_strict import parse_yaml  # noqa: E402

MODEL = ["espnet-a", "--set", "alpha3=1", "--set", "alpha2=1"]


def printed(capsys: pytest.CaptureFixture[str], *argv: str) -> Any:
    assert main([*argv, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set of one's own whose images are larger than the network's, and a run of `zoo train` on it."""
    root = tmp_path_factory.mktemp("work")
    rng = np.random.default_rng(0)
    for split in ("train", "val"):
        for kind in ("images", "masks"):
            (root / "data" / split / kind).mkdir(parents=True)
        for i in range(2):
            mask = (np.add.outer(np.arange(45), np.arange(65)) // (10 + i) % 3).astype(np.uint8)
            image = mask[..., None] * np.array([80, 50, 20]) + rng.integers(0, 60, (45, 65, 3))
            Image.fromarray(image.astype(np.uint8)).save(root / "data" / split / "images" / f"view{i}.png")
            Image.fromarray(mask).save(root / "data" / split / "masks" / f"view{i}.png")
    (root / "data" / "classes.yaml").write_text("classes:\n  - {name: sky}\n  - {name: land}\n  - {name: sea}\n")
    data = ["--dataset", "folder", "--data", str(root / "data"), "--size", "32x24", "--threads", "1"]
    train = ["train", *MODEL, *data, "--epochs", "2", "--stop-after", "1", "--batch", "2", "--lr", "0.01"]
    assert main([*train, "-o", str(root / "run")]) == 0
    return root


def test_a_run_is_a_model_to_every_command(work: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, image = str(work / "run"), str(work / "data" / "val" / "images" / "view0.png")
    shown = printed(capsys, "show", run)
    assert (shown["size"], shown["spec"]["classes"]) == ("32x24", 3)
    assert printed(capsys, "predict", run, "--device", "tx2@850")["clock_mhz"] == 850
    segmented = printed(capsys, "segment", image, "--model", run, "-o", str(tmp_path / "a"), "--backend", "torch")
    assert segmented[0]["weights_dataset"] == "data"
    assert zoo.load(run).label_set.classes == ("sky", "land", "sea")
    shutil.copy(work / "run" / "best.safetensors", tmp_path / "w.safetensors")
    assert printed(capsys, "show", str(tmp_path / "w.safetensors"))["params"] == shown["params"]


def test_what_training_and_scoring_print_is_the_same(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    best = float((work / "run" / "log.csv").read_text().splitlines()[1].split(",")[2])
    scored = printed(capsys, "eval", str(work / "run"), "--dataset", "folder", "--data", str(work / "data"))
    assert scored["miou"] == pytest.approx(best, abs=1e-6)
    assert scored["conditions"]["command"].startswith("zoo eval ")


def test_an_export_runs_alone_and_labels_as_segment_does(
    work: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    written = printed(capsys, "export", str(work / "run"), "-o", "net.onnx", "--device", "tx2@850")
    assert written["commands"]["trtexec"] == "trtexec --onnx=net.onnx --saveEngine=net.engine --fp16"
    assert written["commands"]["clock"][0] == "sudo nvpmodel -m 1"
    notes = Path("net.deploy.md").read_text()
    assert all(f"| {i} | {name} |" in notes for i, name in enumerate(("sky", "land", "sea")))
    image = work / "data" / "val" / "images" / "view0.png"
    subprocess.run([sys.executable, "-I", "net.infer.py", str(image)], check=True, cwd=tmp_path)
    printed(capsys, "segment", str(image), "--model", str(work / "run"), "-o", "torch", "--backend", "torch")
    printed(capsys, "segment", str(image), "--model", "net.onnx", "-o", "onnx")
    alone, ours, onnx = (
        np.asarray(Image.open(path)) for path in ("view0.labels.png", "torch/view0.labels.png", "onnx/view0.labels.png")
    )
    assert (alone == ours).mean() > 0.995
    assert (onnx == ours).mean() > 0.995
    data = ["--dataset", "folder", "--data", str(work / "data")]
    scores = printed(capsys, "eval", "net.onnx", str(work / "run"), *data, "-o", "scores", "--pictures", "1")
    assert scores[0]["miou"] == pytest.approx(scores[1]["miou"], abs=0.5)
    assert Path("scores/net.onnx/view0.png").is_file()


KITS = {
    "half": ("--half",),
    "pixels": ("--with-preprocessing",),
    "planes": ("--with-preprocessing", "NCHW", "--half"),
    "labels": ("--with-argmax",),
    "all": ("--half", "--with-preprocessing", "--with-argmax", "64x48"),
}


@pytest.mark.parametrize("form", KITS)
def test_every_form_of_a_file_brings_notes_and_a_script_that_fit_it(
    form: str, work: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    written = printed(capsys, "export", str(work / "run"), "-o", "net.onnx", *KITS[form])
    assert (written["notes"], written["script"]) == ("net.deploy.md", "net.infer.py")
    image = work / "data" / "val" / "images" / "view0.png"
    subprocess.run([sys.executable, "-I", "net.infer.py", str(image)], check=True, cwd=tmp_path)
    printed(capsys, "segment", str(image), "--model", str(work / "run"), "-o", "torch", "--backend", "torch")
    alone, ours = (np.asarray(Image.open(path)) for path in ("view0.labels.png", "torch/view0.labels.png"))
    assert alone.shape == ours.shape
    assert (alone == ours).mean() > 0.97
    (code,) = re.findall(r"```python\n(.*?)```", Path("net.deploy.md").read_text(), re.DOTALL)
    shutil.copy(image, "image.png")
    names: dict[str, np.ndarray] = {}
    exec(code, names)  # ours, and it is what the notes promise
    same = np.asarray(Image.fromarray(ours).resize(names["labels"].shape[::-1], Image.Resampling.NEAREST))
    assert (names["labels"] == same).mean() > 0.95


def test_a_run_goes_on_by_its_folder_alone(work: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    shutil.copytree(work / "run", run)
    assert printed(capsys, "train", "--resume", "-o", str(run), "--threads", "1")["epochs"] == 2


def test_a_candidate_brings_its_device_clock_and_size(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = str(tmp_path / "run")
    search = ["search", "--space", "tiny", "--device", "tx2@850", "--size", "512x256", "-o", run, "--no-plots"]
    found = printed(capsys, *search)
    cost = printed(capsys, "predict", f"{run}#1")
    assert (cost["device"], cost["clock_mhz"], cost["size"]) == ("tx2", 850, "512x256")
    assert cost["latency_s"]["mean"] == pytest.approx(found["front"][0]["latency_s"]["mean"])
    assert printed(capsys, "predict", f"{run}#1", "--device", "TX2@1134")["clock_mhz"] == 1134
    assert main(["segment", "x.png", "--model", f"{run}#1"]) == 1


REFUSED = {
    "an engine": ["export", "espnet", "-o", "x.engine"],
    "random weights": ["export", "espnet", "--strict"],
    "a URL": ["show", "https://example.org/net.yaml"],
    "bare tensors": ["show", "net.pth"],
    "no such path": ["show", "runs/none"],
    "an unrelated name": ["show", "resnet50"],
    "a URL of an image": ["segment", "https://example.org/a.png", "--model", "espnet"],
    "an empty pattern": ["segment", "none*.png", "--model", "espnet"],
    "a device that is none": ["predict", "espnet", "--device", "tx3"],
}


@pytest.mark.parametrize("argv", REFUSED.values(), ids=REFUSED)
def test_what_is_refused_is_one_sentence(
    argv: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(argv) == 1
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert not list(tmp_path.iterdir())


def test_names_and_devices_are_found_regardless_of_case() -> None:
    assert resolve("ESPNet-C.CamVid", load_config()).spec == resolve("espnet-c.camvid", load_config()).spec
    assert device_at("TX2@850") == DeviceAt("tx2", 850.0)
    with pytest.raises(ConfigError, match="write tx2@1134"):
        device_at("tx2@fast")


def test_a_wrong_name_gets_near_ones_alone() -> None:
    names = list(load_config().models)
    assert nearest("espnet-9", names) == ["espnet-3", "espnet-5", "espnet-8"]
    assert nearest("resnet50", names) == nearest("unet", names) == []


def test_a_wrong_option_gets_the_commands_own(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["predict", "espnet", "--devise", "tx2"])
    err = capsys.readouterr().err
    assert stop.value.code == 2
    assert "did you mean '--device'?" in err and "--sweep" in err


def test_every_further_example_parses() -> None:
    import shlex

    for command in commands():
        for example in command.more:
            assert parser().parse_args(shlex.split(example)[1:]).run is command.run


def test_merge_keys_fill_in_what_a_mapping_does_not_say() -> None:
    assert parse_yaml("a: &a {x: 1, y: 2}\nb: {<<: *a, y: 3}", "s")["b"] == {"x": 1, "y": 3}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("devices: {tx3: {}}", "did you mean 'tx2'"),
        ("searches: {a: {limits: {max_params: many}}}", "count such as 400k"),
    ],
)
def test_a_wrong_entry_of_zoo_yaml(text: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "zoo.yaml"
    path.write_text(text)
    assert main(["list", "--config", str(path)]) == 1
    assert said in capsys.readouterr().err


def test_limits_have_their_units_in_their_names() -> None:
    assert limits_from_si({"max_latency_ms": 150}) == limits_from_si({"latency_s": 0.15})


def test_preprocessing_is_callable_and_antialiases_where_it_says_so() -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (40, 60, 3), dtype=np.uint8)
    how = Preprocessing(size=(20, 30), antialias=True)
    expected = np.asarray(Image.fromarray(pixels).resize((30, 20), Image.Resampling.BILINEAR)) / np.float32(255)
    assert np.allclose(how(pixels)[0].permute(1, 2, 0), expected, atol=1e-6)
    assert torch.equal(how(Image.fromarray(pixels)), network_input(pixels, how))


def test_no_table_breaks_a_word() -> None:
    columns = [["model", "espnet-c-8.cityscapes"], ["time", "12.5 ms (10.1–14.0)"]]
    for most in range(10, 80):
        widths = fitted(columns, most, 1)
        if widths is not None:
            assert widths[0] >= len(columns[0][1]) and widths[1] >= len("(10.1–14.0)")
            assert sum(widths) + 5 <= most


def test_doctor_has_the_keys_of_the_contract(capsys: pytest.CaptureFixture[str]) -> None:
    document = printed(capsys, "doctor")
    assert {"version", "cpu", "backends", "cache", "data", "devices"} <= document.keys()
    assert document["backends"]["torch"] is True


@pytest.fixture
def own_device(tmp_path, monkeypatch):
    """A folder with a device called `mine`, which is the TX2 by another name; forgotten at the end."""
    from hw_models import device

    shutil.copytree(device.SHIPPED / "tx2", tmp_path / "mine")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(device, "_GIVEN", {})
    return tmp_path / "mine"


FORMS = (
    ("predict", "espnet", "--size", "64x32", "--device"),
    ("check", "espnet", "--size", "64x32", "--max-params", "1M", "--device"),
    ("compare", "espnet", "espnet-c", "--size", "64x32", "--device"),
    ("search", "--space", "tiny", "--size", "64x32", "--no-plots", "-o", "run", "--device"),
    ("device", "show"),
)


@pytest.mark.parametrize("command", FORMS, ids=lambda words: "-".join(words[:2]))
@pytest.mark.parametrize("text", ["tx2@850", "TX2@850", "./mine@850", "ABSOLUTE@850"])
def test_a_device_means_the_same_to_every_command(text, command, own_device, capsys):
    name = text.replace("ABSOLUTE", str(own_device))
    assert main([*command, name, "--json"]) in (0, 3), capsys.readouterr().err
    out = capsys.readouterr().out
    assert "850" in out and ("mine" if "tx2" not in text.lower() else "tx2") in out


@pytest.mark.parametrize("text", ["tx2@x", "tx2@nan", "./nothing", "./run", "/dev/null", "tx3"])
@pytest.mark.parametrize("command", FORMS, ids=lambda words: "-".join(words[:2]))
def test_what_is_no_device_is_one_sentence(text, command, own_device, capsys):
    (own_device.parent / "run").mkdir(exist_ok=True)
    assert main([*command, text]) == 1
    assert len(capsys.readouterr().err.strip().splitlines()) == 1


def test_zoo_yaml_names_a_devices_folder(own_device, capsys):
    """Also to commands that read no models: a run names its device, and zoo.yaml says where it is."""
    own_device.with_name("zoo.yaml").write_text("devices: {mine: {folder: ./mine, clock_mhz: 850}}\n")
    assert main(["search", "--space", "tiny", "--device", "mine", "--no-plots", "-o", "run"]) == 0
    assert main(["verify", "run"]) == 0
    assert main(["predict", "espnet", "--device", "mine", "--json"]) == 0
    assert '"clock_mhz": 850' in capsys.readouterr().out
    own_device.with_name("other.yaml").write_text("devices: {other: {folder: ./mine}}\n")
    assert main(["list", "--config", "other.yaml"]) == 1
    assert "devices.other.folder: a device has the name of its folder" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["espnet-c-3.camvid", "espnet-3.camvid"])
def test_a_file_of_zoo_get_is_a_model_with_its_weights(name, tmp_path):
    """Its metadata hold names as text, where `zoo train` writes JSON."""
    from search.opening import open_model

    assert main(["get", name, "-o", str(tmp_path), "--json"]) == 0
    file = open_model(resolve(str(tmp_path / f"{name}.safetensors"), load_config()))
    own = open_model(resolve(name, load_config()))
    assert file.labels == own.labels and file.module.preprocessing == own.module.preprocessing
    theirs = own.module.state_dict()
    assert all(torch.equal(value, theirs[key]) for key, value in file.module.state_dict().items())


def test_a_tag_has_the_size_of_its_weights_as_their_file_has(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["get", "espnet-c-3.camvid", "-o", str(tmp_path)]) == 0
    capsys.readouterr()
    names = ("espnet-c-3.camvid", str(tmp_path / "espnet-c-3.camvid.safetensors"))
    for command in (("show",), ("predict", "--device", "tx2"), ("check", "--device", "tx2", "--max-latency-ms", "999")):
        sizes = {printed(capsys, command[0], name, *command[1:])["size"] for name in names}
        assert sizes == {"480x360"}
        assert printed(capsys, command[0], names[0], *command[1:], "--size", "96x64")["size"] == "96x64"
    assert printed(capsys, "show", "espnet-c-3")["size"] == "1024x512"


def test_patterns_name_every_model_that_fits(capsys: pytest.CaptureFixture[str]) -> None:
    whole = printed(capsys, "predict", "ESPNet-C-?", "espnet-c-3", "--device", "tx2")
    assert [row["model"] for row in whole] == ["espnet-c-3", "espnet-c-5", "espnet-c-8"]
    assert {row["name"] for row in printed(capsys, "show", "espnet-c-[35]")} == {"espnet-c-3", "espnet-c-5"}
    assert main(["predict", "nothing-*", "--device", "tx2"]) == 1
    assert "no model's name fits the pattern 'nothing-*'" in capsys.readouterr().err
