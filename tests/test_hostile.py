"""Some hundreds of hostile inputs, types by places: each is one sentence or is taken, and none is a traceback.

What is tried at every place stands in `hostile.py`. Everything runs in this process.
"""

import json
import os
import random
import shutil
import struct
from pathlib import Path

import numpy as np
import pytest
import yaml
from hostile import BYTES, KINDS, LONG, NAMES, SPECIAL, VALUES, places, put, replaced, special
from PIL import Image

from hw_models.device import SHIPPED, read_device
from zoo.cli import main
from zoo.errors import ZooError
from zoo.text import printable

ROOT = Path(__file__).resolve().parents[1]


def run(*argv: str) -> int:
    """The exit code of a command, whichever way it ends."""
    try:
        return main([str(x) for x in argv])
    except SystemExit as end:
        return int(end.code or 0)


@pytest.fixture
def kept(capfd, monkeypatch, tmp_path):
    """Runs a command in an empty folder and checks what every command keeps to, whatever it is given."""
    monkeypatch.chdir(tmp_path)

    def check(*argv: str, codes: tuple[int, ...] = (0, 1, 2, 3)) -> int:
        code = run(*argv)
        out, err = capfd.readouterr()
        assert code in codes, (argv, code, err[-500:])
        for text in (out, err):
            assert printable(text) == text, "raw control characters"
        assert "Traceback" not in err
        if code == 1:
            assert err.strip().splitlines()[-1].startswith("zoo: "), err
            assert len(err) < 3000
        return code

    return check


def sentence(call) -> None:
    """Whatever is raised is one printable sentence."""
    try:
        call()
    except ZooError as error:
        assert str(error).strip()


# Names


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "command",
    [
        ("show", "NAME"),
        ("predict", "NAME", "--device", "tx2"),
        ("predict", "espnet", "--device", "NAME"),
        ("device", "show", "NAME"),
        ("device", "add", "NAME"),
        ("verify", "NAME"),
        ("pareto", "NAME"),
        ("report", "NAME"),
        ("list", "--config", "NAME"),
        ("search", "NAME"),
        ("search", "--resume", "NAME"),
        ("show", "NAME#1"),
        ("show", "espnet", "--set", "NAME"),
        ("data", "check", "NAME", "--dataset", "camvid"),
        ("bench-table", "--table", "NAME"),
    ],
    ids=lambda command: "-".join(command[:2]),
)
def test_names(command, name, kept):
    kept(*(part.replace("NAME", NAMES[name]) for part in command))


# Numbers of options


NUMBERS = ("0", "-1", "nan", "inf", "1e308", "1e-320", "0.9999999999999999", "2" * 400, "x", "", "1" * 5000, "1e999")


@pytest.mark.parametrize("number", NUMBERS, ids=lambda text: text[:12] or "empty")
@pytest.mark.parametrize(
    "command",
    [
        ("search", "--space", "tiny", "--no-plots", "-o", "n", "--top"),
        ("search", "--space", "tiny", "--no-plots", "-o", "n", "--max-latency-ms"),
        ("search", "--space", "tiny", "--no-plots", "-o", "n", "--confidence"),
        ("search", "--space", "tiny", "--no-plots", "-o", "n", "--max-params"),
        ("predict", "espnet", "--device", "tx2", "--clock-mhz"),
        ("predict", "espnet", "--device", "tx2", "--batch"),
        ("predict", "espnet", "--device", "tx2", "--confidence"),
        ("predict", "espnet", "--device", "tx2", "--size"),
        ("scene", "--size", "32x16", "-o", "s", "--seed"),
        *(
            pytest.param(
                ("train", "espnet-c-3", "--dataset", "none", "-o", "t", option),
                marks=() if option in ("--lr", "--size") else pytest.mark.slow,
            )
            for option in (
                *("--seed", "--score-every", "--workers", "--threads", "--stop-after", "--epochs", "--batch"),
                *("--accumulate", "--lr", "--warmup", "--ema", "--weight-decay", "--jaccard", "--colour", "--size"),
            )
        ),
    ],
    ids=lambda command: f"{command[0]}{command[-1]}",
)
def test_numbers_of_options(command, number, kept):
    kept(*command[:-1], f"{command[-1]}={number}")


@pytest.mark.parametrize(
    ("option", "value"),
    [
        *(("--seed", "-1"), ("--seed", str(2**70)), ("--score-every", "0"), ("--workers", "-3")),
        *(("--threads", str(2**40)), ("--stop-after", "-1"), ("--weight-decay", "-5"), ("--warmup", "nan")),
    ],
)
def test_numbers_that_mean_nothing_are_usage(option, value, kept, tmp_path):
    kept("train", "espnet-c-3", "--dataset", "scenes", "-o", str(tmp_path / "t"), option, value, codes=(2,))
    assert not (tmp_path / "t").exists()


@pytest.mark.parametrize("device", ["x", "cuda:99", "cpu:1", "meta", "cuda:", LONG])
def test_devices_that_are_not_there(device, kept, tmp_path):
    size = ("--size", "96x64", "--epochs", "1")
    kept("train", "espnet-c-3", "--dataset", "scenes", *size, "-o", "t", "--device", device, codes=(1,))


# Files


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "command",
    [
        ("list", "--config", "FILE"),
        ("show", "FILE"),
        ("device", "calibrate", "tx2", "--bench", "FILE"),
        ("device", "calibrate", "tx2", "--bench", "FILE", "--model", "espnet"),
        ("bench-table", "--table", "FILE"),
    ],
    ids=lambda command: "-".join(command[:2]),
)
def test_files(command, kind, kept, tmp_path):
    path = tmp_path / "file.yaml"
    put(kind, path)
    kept(*(part.replace("FILE", str(path)) for part in command))


@pytest.mark.parametrize("kind", SPECIAL)
def test_no_ordinary_file_is_read(kind, tmp_path):
    from zoo.reading import read_bytes, read_json, read_text
    from zoo.yaml_strict import read_yaml

    path = special(kind, tmp_path)
    for read in (read_bytes, read_text, read_json, read_yaml):
        with pytest.raises(ZooError, match=r"cannot be read"):
            read(path)


@pytest.mark.parametrize("kind", ["directory", "fifo", "zero", "loop", "dangling"])
def test_outputs_replace_no_node_pipe_or_link(kind, tmp_path):
    from zoo.files import atomic

    path = special(kind, tmp_path)
    before = os.lstat(path)
    with pytest.raises(ZooError, match="cannot be written"), atomic(path) as partial:
        partial.write_text("x")
    assert os.lstat(path) == before


# Devices


@pytest.fixture(scope="module")
def tx2(tmp_path_factory):
    folder = tmp_path_factory.mktemp("devices") / "mine"
    shutil.copytree(SHIPPED / "tx2", folder)
    return folder


@pytest.fixture
def device(tx2, tmp_path):
    return Path(shutil.copytree(tx2, tmp_path / "mine"))


DEVICE = yaml.safe_load((SHIPPED / "tx2" / "device.yaml").read_text())
COEFFICIENTS = json.loads((SHIPPED / "tx2" / "coefficients.json").read_text())


def some(document, count: int, seed: int = 0):
    """Some places by every value, the same each time."""
    pairs = [(path, name) for path in places(document, most=1) for name in VALUES]
    return random.Random(seed).sample(pairs, min(count, len(pairs)))


@pytest.mark.parametrize(("path", "name"), some(DEVICE, 120), ids=str)
def test_values_of_a_device(path, name, device):
    (device / "device.yaml").write_text(yaml.safe_dump(replaced(DEVICE, path, VALUES[name])))
    sentence(lambda: read_device(device))


@pytest.mark.parametrize(("path", "name"), some(COEFFICIENTS, 120), ids=str)
def test_values_of_coefficients(path, name, device):
    from hw_models.predictors import predict
    from zoo.config import load_config
    from zoo.registry import lower

    (device / "coefficients.json").write_text(json.dumps(replaced(COEFFICIENTS, path, VALUES[name])))
    graph = lower(load_config().model("espnet-c").spec)
    sentence(lambda: predict(graph, read_device(device)))


@pytest.mark.parametrize("file", ["device.yaml", "coefficients.json", "kernels_pytorch.csv", "points.csv"])
@pytest.mark.parametrize("kind", KINDS)
def test_files_of_a_device(file, kind, device):
    put(kind, device / file)
    sentence(lambda: read_device(device))


@pytest.mark.parametrize("cell", ["nan", "1e308", "1e-320", "-1", "", "=1+1", LONG, "\x1b[31m", "{}", '{"a":' * 2000])
@pytest.mark.parametrize("column", ["latency_s", "value", "spec", "clock_mhz", "stack", "source"])
def test_cells_of_a_table(cell, column, device):
    import csv

    path = device / ("points.csv" if column in ("value", "spec") else "kernels_pytorch.csv")
    with path.open(newline="") as file:
        rows = list(csv.reader(file))
    rows[1][rows[0].index(column)] = cell
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    sentence(lambda: read_device(device))


def test_a_device_with_a_link_or_a_pipe_is_not_added(device, kept, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("mine alone")
    (device / "more.txt").symlink_to(secret)
    kept("device", "add", str(device), codes=(1,))
    (device / "more.txt").unlink()
    os.mkfifo(device / "more.txt")
    kept("device", "add", str(device), codes=(1,))
    home = Path(os.environ["ZOO_HOME"])
    assert not [path for path in home.rglob("*") if path.name in ("more.txt", "mine")]


# Journals of measurements


LINES = {
    "int": "7",
    "null": "null",
    "list": "[]",
    "deep": "[" * 50_000,
    "reference-zero": '{"reference": 0}',
    "reference-nan": '{"reference": NaN}',
    "reference-text": '{"reference": "x"}',
    "timing-int": '{"block": "x", "timing": 3}',
    "timing-none": '{"block": "x"}',
    "timing-others": '{"block": "x", "timing": {"a": 1}}',
    "network-huge": '{"network": 1e300, "timing": {}}',
    "seconds-negative": '{"seconds": -5}',
    "watts-huge": '{"watts": 1e300}',
    "blank": "",
    "nul": "\0\0",
}


@pytest.mark.parametrize("line", LINES)
def test_lines_of_a_measurement(line, tmp_path):
    from hw_models.measure.environment import conditions
    from hw_models.measure.journal import Journal

    now = conditions("torch", 1)
    journal = Journal(tmp_path / "m.jsonl")
    journal.open(now, {"a": 1}, resume=False)
    with journal.path.open("a") as file:
        file.write(LINES[line] + "\n")
    if line == "blank":
        assert journal.open(now, {"a": 1}, resume=True).seconds == 0
        return
    with pytest.raises(ZooError, match=r"m\.jsonl"):
        journal.open(now, {"a": 1}, resume=True)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "missing"])
def test_journals_of_a_measurement(kind, tmp_path):
    from hw_models.measure.environment import conditions
    from hw_models.measure.journal import Journal

    put(kind, tmp_path / "m.jsonl")
    with pytest.raises(ZooError):
        Journal(tmp_path / "m.jsonl").open(conditions("torch", 1), {"a": 1}, resume=True)


# Runs and studies


@pytest.fixture(scope="module")
def search(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "exact"
    assert run("search", "--space", "tiny", "--no-plots", "-o", folder, "--json") == 0
    return folder


FRONT_PLACES = [
    *(("query",), ("query", "space"), ("query", "space", "size"), ("query", "space", "choices"), ("query", "devices")),
    *(("query", "limits"), ("query", "confidence"), ("query", "accuracy"), ("chosen",), ("front",), ("front", 0)),
    *(("front", 0, "spec"), ("front", 0, "miou"), ("front", 0, "devices"), ("front", 0, "rank"), ("accuracy",)),
]


@pytest.mark.parametrize("path", FRONT_PLACES, ids=lambda path: ".".join(map(str, path)))
def test_values_of_a_run(path, search, kept, tmp_path):
    from search.runs.reader import load_run

    run_folder = Path(shutil.copytree(search, tmp_path / "run"))
    document = json.loads((search / "front.json").read_text())
    for name, value in VALUES.items():
        (run_folder / "front.json").write_text(json.dumps(replaced(document, path, value)))
        sentence(lambda: load_run(run_folder))
        if name == "list-int":
            kept("report", str(run_folder), "-o", "r.html")


@pytest.mark.parametrize("file", ["front.json", "certificate.json", "sample.csv"])
def test_files_of_a_run(file, search, kept, tmp_path):
    from search.runs.reader import load_run

    for kind in KINDS:
        run_folder = Path(shutil.copytree(search, tmp_path / kind))
        put(kind, run_folder / file)
        sentence(lambda run_folder=run_folder: load_run(run_folder))
    kept("verify", str(run_folder))
    kept("show", f"{run_folder}#1")


# Classes of a data set of one's own


def data_folder(root: Path, about: str | None) -> Path:
    for split in ("train", "val"):
        for kind in ("images", "masks"):
            folder = root / split / kind
            folder.mkdir(parents=True)
            Image.fromarray(np.zeros((8, 8), np.uint8) if kind == "masks" else np.zeros((8, 8, 3), np.uint8)).save(
                folder / "0.png"
            )
    if about is not None:
        (root / "classes.yaml").write_text(about)
    return root


ABOUT = {"classes": [{"name": "a", "value": 0, "colour": [1, 2, 3]}, {"name": "b"}], "void": [255], "masks": "values"}
ABOUT |= {"window": [0, 9], "tile": 8, "exif": "upright"}


@pytest.mark.parametrize("path", list(places(ABOUT)), ids=lambda path: ".".join(map(str, path)))
def test_values_of_classes_yaml(path, tmp_path):
    from zoo.data.datasets import data_set

    root = data_folder(tmp_path / "d", None)
    for value in VALUES.values():
        (root / "classes.yaml").write_text(yaml.safe_dump(replaced(ABOUT, path, value)))
        sentence(lambda: data_set("folder", root, "train").load(0))


@pytest.mark.parametrize("kind", KINDS)
def test_files_of_a_data_set(kind, tmp_path):
    from zoo.data.datasets import data_set

    for place in ("classes.yaml", "train/images/0.png", "train/masks/0.png"):
        root = data_folder(tmp_path / place.replace("/", "-"), "classes: [{name: a}, {name: b}]\n")
        put(kind, root / place)
        with pytest.raises(ZooError):
            data_set("folder", root, "train").load(0)


@pytest.mark.parametrize("line", ["../x ../y", "/etc/passwd /etc/passwd", "a", "a b c d", "\x1b[31m x", LONG])
def test_lists_of_pairs(line, tmp_path):
    from zoo.data.datasets import data_set

    (tmp_path / "classes.yaml").write_text("classes: [{name: a}, {name: b}]\n")
    (tmp_path / "train.txt").write_text(f"{line}\n")
    with pytest.raises(ZooError, match=r"train\.txt"):
        data_set("folder", tmp_path, "train")


# Images


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "missing"])
def test_images(kind, tmp_path):
    from zoo.inference.images import ImageError, image_size, read_image

    put(kind, tmp_path / "a.png")
    for read in (read_image, image_size):
        with pytest.raises(ImageError, match=r"a\.png"):
            read(tmp_path / "a.png")


# Weights and checkpoints


def safetensors_bytes(metadata: object, claim: int = 4) -> bytes:
    header: dict[str, object] = {"x": {"dtype": "F32", "shape": [claim // 4], "data_offsets": [0, claim]}}
    if metadata is not None:
        header["__metadata__"] = metadata
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + b"\0" * 4


SPEC = {"family": "espnet", "variant": "C", "alpha3": 3}
GOOD = {"spec": SPEC, "labels": "camvid", "preprocessing": {}}


@pytest.mark.parametrize("key", [*GOOD])
def test_metadata_of_weights(key, tmp_path):
    from zoo.train.checkpoint import read_weights

    for name, value in {**VALUES, "large-network": SPEC | {"family": "vgg"}}.items():
        about = {k: json.dumps(v) for k, v in (GOOD | {key: value}).items()}
        path = tmp_path / f"{name}.safetensors"
        path.write_bytes(safetensors_bytes(about))
        sentence(lambda path=path: read_weights(path))


@pytest.mark.parametrize("data", [*BYTES.values(), safetensors_bytes(3), safetensors_bytes({}, claim=2**40)])
def test_files_of_weights(data, tmp_path):
    from pretrained.weights import load_state
    from zoo.train.checkpoint import read_weights

    path = tmp_path / "w.safetensors"
    path.write_bytes(data)
    with pytest.raises(ZooError, match=r"w\.safetensors"):
        read_weights(path)
    with pytest.raises(ZooError, match=r"w\.safetensors"):
        load_state(path)


def test_a_small_file_that_claims_much_memory_is_refused_before_it_takes_it(tmp_path):
    import torch

    from pretrained.weights import load_state
    from zoo.train.checkpoint import read_weights

    big = torch.zeros(1).expand(2**32)
    torch.save({"x": big}, tmp_path / "w.pth")
    assert (tmp_path / "w.pth").stat().st_size < 10_000
    with pytest.raises(ZooError, match="stand for"):
        load_state(tmp_path / "w.pth")
    about = {k: json.dumps(v) for k, v in (GOOD | {"spec": {"family": "vgg"}}).items()}
    (tmp_path / "w.safetensors").write_bytes(safetensors_bytes(about))
    with pytest.raises(ZooError):
        read_weights(tmp_path / "w.safetensors")


@pytest.mark.parametrize("part", ["identity", "rows", "optimizer", "module", "mean", "rng", "epoch", "step", "all"])
def test_edited_checkpoints(part, tmp_path):
    import torch

    from zoo.train.checkpoint import identity_of

    state = {"identity": "{}", "module": {}, "mean": {}, "optimizer": {"state": {}, "param_groups": []}}
    state |= {"rng": torch.get_rng_state(), "epoch": 1, "step": 1, "rows": "[]"}
    for value in VALUES.values():
        torch.save(value if part == "all" else state | {part: value}, tmp_path / "last.pt")
        sentence(lambda: identity_of(tmp_path))


@pytest.mark.parametrize("rows", ["[7]", "7", "[{}]", '[{"epoch": "x"}]', "[[[", "null"])
def test_edited_rows_of_a_checkpoint(rows):
    from zoo.reading import parse_json
    from zoo.train.checkpoint import restoring
    from zoo.train.trainer import Row

    with pytest.raises(ZooError), restoring(Path("run")):
        [Row.from_plain(row) for row in parse_json(rows, "rows")]


# ONNX files of strangers


def onnx_file(path: Path, inputs, output, about: dict[str, str] | None = None, value: float = 0.0) -> Path:
    """A file with inputs (name, type, shape) that answers a constant of the shape `output`."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    answer = numpy_helper.from_array(np.full(output, value, np.float32), "answer")
    nodes = [helper.make_node("Identity", ["answer"], ["out"])]
    ins = [helper.make_tensor_value_info(name, getattr(TensorProto, kind), shape) for name, kind, shape in inputs]
    outs = [helper.make_tensor_value_info("out", TensorProto.FLOAT, output)]
    graph = helper.make_graph(nodes, "g", ins, outs, [answer])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    good = {"preprocessing": json.dumps({"size": [16, 16]}), "labels": "camvid"}
    onnx.helper.set_model_props(model, good | (about or {}))
    path.write_bytes(model.SerializeToString())
    return path


IMAGE = ("image", "FLOAT", [1, 3, 16, 16])
LOGITS = [1, 11, 4, 4]
STRANGERS = {
    "rank2": ([("image", "FLOAT", [1, 3])], LOGITS),
    "rank5": ([("image", "FLOAT", [1, 3, 1, 16, 16])], LOGITS),
    "no-input": ([], LOGITS),
    "two-inputs": ([IMAGE, ("b", "FLOAT", [1])], LOGITS),
    "int-input": ([("image", "INT64", [1, 3, 16, 16])], LOGITS),
    "channels1": ([("image", "FLOAT", [1, 1, 16, 16])], LOGITS),
    "batch1000": ([("image", "FLOAT", [1000, 3, 16, 16])], LOGITS),
    "scalar-out": ([IMAGE], []),
    "out-rank2": ([IMAGE], [1, 11]),
    "out-1000": ([IMAGE], [1, 1000, 4, 4]),
    "out-1": ([IMAGE], [1, 1, 4, 4]),
}


@pytest.mark.parametrize("name", STRANGERS)
def test_onnx_files_of_strangers(name, kept, tmp_path):
    path = onnx_file(tmp_path / "x.onnx", *STRANGERS[name])
    kept("eval", str(path), "--dataset", "scenes", "--split", "val", codes=(1,))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_answers_that_are_no_numbers_are_not_scored(value, kept, tmp_path):
    path = onnx_file(tmp_path / "x.onnx", [IMAGE], LOGITS, value=value)
    kept("eval", str(path), "--dataset", "scenes", codes=(1,))


@pytest.mark.parametrize("text", ["{", "[" * 99999, "7", '{"mean": 3}', '{"size": [1e9, 1]}', '{"size": [99999, 9]}'])
def test_metadata_of_onnx_files(text, kept, tmp_path):
    path = onnx_file(tmp_path / "x.onnx", [IMAGE], LOGITS, {"preprocessing": text})
    kept("eval", str(path), "--dataset", "scenes", codes=(1,))


@pytest.mark.parametrize(
    ("kind", "shape"),
    [("FLOAT16", [1, 3, 16, 16]), ("UINT8", [1, 3, 16, 16]), ("FLOAT", [1, 16, 16, 3]), ("FLOAT", [8, 3, 16, 16])],
)
def test_onnx_files_with_other_inputs_are_served(kind, shape, tmp_path):
    import torch

    from zoo.evaluate.onnx import onnx_scored

    network = onnx_file(tmp_path / "x.onnx", [("image", kind, shape)], LOGITS)
    assert onnx_scored(network).logits(torch.zeros(1, 3, 16, 16)).shape == (11, 4, 4)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "missing"])
def test_files_that_are_no_onnx(kind, kept, tmp_path):
    put(kind, tmp_path / "x.onnx")
    kept("eval", str(tmp_path / "x.onnx"), "--dataset", "scenes", codes=(1,))


# Mirrors


@pytest.mark.parametrize(
    "url",
    [
        *("http://[::1", "http://", "http://x:99999/", "http://x:0/", "ftp://x/", "file:///etc", "http://me:pw@x/"),
        *("http://x/?a=1", "http://x/#a", "http://" + "ü" * 70 + ".x/", "http://\x1b[31m/", "https://a b/", LONG),
        *("javascript://x", "http://x\n/", "data://x", "/dev/zero", "http://x/\0"),
    ],
    ids=lambda url: printable(url)[:20],
)
def test_addresses_of_mirrors(url, kept):
    kept("get", "espnet-c-3.cityscapes", "--mirror", url, codes=(1,))


# Secrets


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://me:pa@SECRET@127.0.0.1:1/x",
        "postgresql://me:SECRET@127.0.0.1:1/x",
        "postgresql:///x?host=127.0.0.1&user=me&password=SECRET",
        "mysql+pymysql://127.0.0.1:1/x?user=me&passwd=SECRET",
        "mysql+pymysql://bob@127.0.0.1:1/studies?sslpassword=SECRET&x=1",
        "postgresql://me:SEC%52ET@127.0.0.1:1/x",
        "postgresql://me:a/SECRET?b@127.0.0.1:1/x",
    ],
)
def test_passwords_are_never_shown(url, capsys, tmp_path):
    pytest.importorskip("optuna")
    from search.study.storage import masked

    assert "SEC" not in masked(url)
    code = run("search", "--space", "tiny", "--trials", "2", "--storage", url, "--no-plots", "-o", tmp_path / "pw")
    text = "".join(capsys.readouterr())
    assert code == 1
    assert "SECRET" not in text and "SEC%52ET" not in text
    assert not [path for path in (tmp_path / "pw").rglob("*") if path.is_file() and b"SECRET" in path.read_bytes()]
