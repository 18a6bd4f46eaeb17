"""Backends against torch, what `auto` takes, and folders of images, several at once."""

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import pretrained
from zoo.backends import choice, timed
from zoo.backends import session as engine
from zoo.backends.choice import BACKENDS, ORDER, candidates, threads_of
from zoo.backends.session import Engine, runner
from zoo.cli import main
from zoo.cli import segment as command
from zoo.data.classes import label_set
from zoo.data.synthetic import Scenes
from zoo.errors import SpecError, ZooError
from zoo.evaluate.segmentation import Protocol, evaluate, module_scored
from zoo.graph import GraphBuilder, Shape
from zoo.inference.images import ImageError
from zoo.inference.pipeline import AHEAD, images_in, in_order
from zoo.inference.preprocess import Preprocessing, network_input
from zoo.inference.segment import Settings, segment
from zoo.models.enet import ENetSpec
from zoo.models.espnet import ESPNetSpec
from zoo.models.espnetv2 import ESPNetv2Spec
from zoo.network import Network, build, module_from_graph
from zoo.registry import lower
from zoo.specs import Spec

SIZE = (64, 96)
SPECS = {
    "espnet": ESPNetSpec(variant="ESPNet", alpha3=1),
    "espnet-c": ESPNetSpec(variant="C", alpha3=1),
    "espnetv2": ESPNetv2Spec(scale=0.5),
    "enet": ENetSpec(),  # which puts values back where a max pooling took them
}
MODEL = "espnet-c-3.camvid"


def needs(backend: str) -> None:
    if not choice.installed(backend):
        pytest.skip(f"{backend} is not installed: pip install 'edgeseg-zoo[{choice.EXTRAS[backend]}]'")


def trained(spec: Spec) -> Network:
    """A network whose normalisations do something."""
    torch.manual_seed(0)
    network = build(spec, SIZE)
    with torch.no_grad():
        network(torch.randn(4, 3, *SIZE))
    return network.eval()


@pytest.fixture(scope="module")
def espnet_c() -> Network:
    return trained(SPECS["espnet-c"])


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", SPECS)
@torch.inference_mode()
def test_a_backend_computes_what_torch_does(name: str, backend: str) -> None:
    needs(backend)
    network, x = trained(SPECS[name]), torch.randn(1, 3, *SIZE, generator=torch.Generator().manual_seed(1))
    expected = network(x)
    found = runner(network, SIZE, backend, 1)(x)
    assert found.shape == expected.shape
    assert float((found - expected).abs().max()) <= 1e-3
    assert (
        torch.equal(found.argmax(1), expected.argmax(1))
        or (found.argmax(1) == expected.argmax(1)).double().mean() > 0.999
    )


@pytest.mark.parametrize("backend", BACKENDS)
@torch.inference_mode()
def test_batches_sizes_and_memory_orders(backend: str, espnet_c: Network) -> None:
    needs(backend)
    run = Engine(espnet_c, backend, 1)
    for height, width in (SIZE, (32, 40), SIZE):
        x = torch.randn(3, height, width, 2).permute(3, 0, 1, 2)
        torch.testing.assert_close(run(x), espnet_c(x), rtol=0, atol=1e-3)


def test_only_the_latest_sizes_are_kept(espnet_c: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    compiled = list[Any]()

    def compile_(network: Network, graph: Any, threads: int, streams: int, preprocessing: None) -> Any:
        compiled.append((graph.input_shape.height, threads, streams))
        return lambda x: x

    monkeypatch.setattr(engine, "KEPT_SIZES", 2)
    monkeypatch.setattr(engine, "candidates", lambda backend: ("openvino",))
    monkeypatch.setattr(engine, "openvino_run", compile_)
    run = Engine(espnet_c, "openvino", 3, streams=2)
    for height in (32, 64, 32, 96, 32, 64):
        run.at((height, 32))
    assert compiled == [(height, 3, 2) for height in (32, 64, 96, 64)]


@pytest.mark.parametrize("backend", BACKENDS)
def test_threads_do_not_disturb_each_other(backend: str, espnet_c: Network) -> None:
    needs(backend)
    run = Engine(espnet_c, backend, 1, streams=2)
    images = [torch.randn(1, 3, *SIZE, generator=torch.Generator().manual_seed(i)) for i in range(8)]
    alone = [run(x).clone() for x in images]
    with ThreadPoolExecutor(2) as pool:
        together = list(pool.map(lambda x: run(x).clone(), images))
    assert all(torch.equal(a, b) for a, b in zip(alone, together, strict=True))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    "how",
    [
        Preprocessing(size=SIZE),
        Preprocessing(channels="BGR", maximum=255, mean=(72.0, 82.0, 73.0), std=(45.0, 46.0, 44.0), divisor=255),
        Preprocessing(mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.4), size=SIZE, antialias=True),
    ],
)
@pytest.mark.parametrize("shape", [SIZE, (80, 50)])
@torch.inference_mode()
def test_preprocessing_in_the_graph_is_the_same(
    backend: str, how: Preprocessing, shape: tuple[int, int], espnet_c: Network
) -> None:
    needs(backend)
    pixels = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    run = Engine(espnet_c, backend, 1, preprocessing=how)
    found = run(run.input_of(pixels, how, SIZE))
    expected = espnet_c(network_input(pixels, how, SIZE))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-3)
    swapped = espnet_c(network_input(pixels[..., ::-1].copy(), how, SIZE))
    assert (swapped - expected).abs().max() > 10 * (found - expected).abs().max()


def test_a_graph_has_one_preprocessing(espnet_c: Network) -> None:
    needs("openvino")
    run = Engine(espnet_c, "openvino", 1, preprocessing=Preprocessing())
    with pytest.raises(ValueError, match="another preprocessing"):
        run.input_of(np.zeros((*SIZE, 3), np.uint8), Preprocessing(maximum=255), SIZE)


def test_auto_takes_the_first_that_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert set(ORDER) == set(BACKENDS) and ORDER[-1] == "torch"
    there = {"openvino", "onnxruntime", "torch"}
    monkeypatch.setattr(choice, "installed", lambda name: name in there)
    assert candidates("auto") == ORDER
    there.remove("openvino")
    assert candidates("auto") == ("onnxruntime", "torch")
    assert candidates("torch") == ("torch",)
    with pytest.raises(ZooError) as caught:
        candidates("openvino")
    assert str(caught.value) == (
        "backend openvino is not installed; pip install '.[openvino]', or take --backend onnxruntime or torch"
    )
    with pytest.raises(ZooError, match="did you mean 'openvino'"):
        candidates("openvion")


def test_every_extra_is_declared() -> None:
    text = (Path(__file__).parents[1] / "pyproject.toml").read_text()
    for backend, extra in choice.EXTRAS.items():
        block = text.partition(f"\n{extra} = [")[2].partition("]\n")[0]
        for package in choice.NEEDS[backend]:
            assert f'"{package}>=' in block


def test_auto_falls_back_where_one_refuses(espnet_c: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any) -> Any:
        raise ZooError("openvino refuses the network (no such op)")

    monkeypatch.setattr(engine, "openvino_run", refuse)
    monkeypatch.setattr(engine, "candidates", lambda name: ("openvino", "torch") if name == "auto" else (name,))
    said = list[str]()
    run = Engine(espnet_c, "auto", 1, say=said.append)
    run.at(SIZE)
    run.at((32, 32))
    assert run.backend == "torch"
    assert said[0] == "openvino refuses the network (no such op)"
    assert said[1].startswith("torch runs the network: torch ") and len(said) == 2
    with pytest.raises(ZooError, match="no such op"):
        Engine(espnet_c, "openvino", 1).at(SIZE)


def test_auto_times_once_and_keeps_the_answer(
    espnet_c: Network, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("ZOO_HOME", str(tmp_path))
    monkeypatch.setattr(engine, "candidates", lambda name: ("slow", "fast"))
    seconds = {"slow": 0.02, "fast": 0.001}

    def made(self: Engine, backend: str, size: tuple[int, int]) -> Any:
        return lambda image: (time.sleep(seconds[backend]), image)[1]

    monkeypatch.setattr(Engine, "_in", made)
    monkeypatch.setattr(engine, "timed", partial(timed.timed, seconds=0.0))
    said = list[str]()
    first = Engine(espnet_c, "auto", 1, say=said.append)
    first.at(SIZE)
    first.at((32, 32))
    assert first.backend == "fast"
    seconds["fast"] = 1.0
    monkeypatch.setattr(engine, "timed", lambda runs: pytest.fail("timed again"))
    again = Engine(espnet_c, "auto", 1, say=said.append)
    again.at(SIZE)
    assert again.backend == "fast"
    assert "measured now and kept" in said[0] and "as measured here before" in said[1] and len(said) == 2
    (path,) = (tmp_path / "backends").iterdir()
    path.write_text('{"seconds": {"fast": "x"}}')
    with pytest.raises(pytest.fail.Exception, match="timed again"):
        Engine(espnet_c, "auto", 1).at(SIZE)


def test_other_conditions_are_timed_anew(espnet_c: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    def key(size: tuple[int, int] = SIZE, threads: int = 2, names: tuple[str, ...] = ORDER) -> str:
        return timed.conditions(lower(SPECS["espnet-c"], size), names, threads, 1)

    known = {key(), key((128, 64)), key(threads=1), key(names=("torch",))}
    monkeypatch.setattr(timed, "processor", lambda: "another")
    known |= {key()}
    monkeypatch.setattr(timed, "_version", lambda package: "99")
    assert len(known | {key()}) == 6


def test_timings_are_of_the_fastest_runs() -> None:
    now = [0.0]
    takes = {"a": iter([9.0, 3.0, 5.0, 4.0]), "b": iter([1.0, 7.0, 2.0, 6.0])}

    def run(name: str) -> None:
        now[0] += next(takes[name])

    runs = {name: partial(run, name) for name in takes}
    found = timed.timed(runs, clock=lambda: now[0], seconds=15.0)
    assert found.seconds == {"a": 3.0, "b": 2.0} and found.order == ("b", "a")


def test_what_an_engine_does_not_take(espnet_c: Network) -> None:
    with pytest.raises(ZooError, match=r"training mode; call module\.eval\(\)"):
        Engine(build(SPECS["espnet-c"], SIZE), "torch")
    needs("onnxruntime")
    with pytest.raises(SpecError, match="multiples of 8"):
        runner(trained(SPECS["espnet"]), (60, 90), "onnxruntime")


def test_threads_are_shared_out() -> None:
    assert [threads_of(4, workers) for workers in (1, 2, 3, 9)] == [4, 2, 1, 1]
    assert threads_of(None) == choice.available_cores()


@pytest.mark.parametrize("backend", BACKENDS)
def test_tiles_in_a_backend_give_the_labels_of_the_whole(backend: str) -> None:
    needs(backend)
    torch.manual_seed(0)
    g = GraphBuilder()
    hidden = g.act(g.conv(g.input("image", Shape(3, 24, 24)), "a", 8, kernel=3), "act", "relu")
    narrow = module_from_graph(g.graph(g.conv(hidden, "b", 5, kernel=3))).eval()
    pixels = np.random.default_rng(0).integers(0, 256, (50, 71, 3), dtype=np.uint8)
    whole, run = segment(narrow, pixels), Engine(narrow, backend, 1)
    assert len(np.unique(whole)) > 2
    for settings in (Settings(), Settings(tile=24, overlap=4)):
        assert (segment(narrow, pixels, settings, run=run) == whole).mean() > 0.999


def picture(path: Path, seed: int, size: tuple[int, int] = (40, 60)) -> Path:
    path.parent.mkdir(exist_ok=True, parents=True)
    coarse = np.random.default_rng(seed).integers(0, 256, (5, 8, 3), dtype=np.uint8)
    Image.fromarray(coarse).resize(size[::-1], Image.Resampling.BICUBIC).save(path)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for i in range(5):
        picture(tmp_path / "in" / f"{i}.png", i, (40 + i, 60))
    return tmp_path / "in"


def run_segment(*arguments: Any) -> int:
    return main(["segment", *map(str, arguments), "--model", MODEL, "--size", "96x64", "--threads", "1"])


@pytest.mark.parametrize("backend", BACKENDS)
def test_workers_write_the_same_files_as_one(backend: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    needs(backend)
    said = []
    for workers in (1, 3):
        out = folder.parent / str(workers)
        assert run_segment(folder, "--overlay", "--json", "--backend", backend, "--workers", workers, "-o", out) == 0
        rows = json.loads(capsys.readouterr().out)
        assert [Path(row["image"]).name for row in rows] == [f"{i}.png" for i in range(5)]
        assert {row["backend"] for row in rows} == {backend}
        said.append([row["shares"] for row in rows])
    first, second = ({path.name: path.read_bytes() for path in (folder.parent / n).iterdir()} for n in ("1", "3"))
    assert len(first) == 10 and first == second
    assert said[0] == said[1]


def test_an_unreadable_image_does_not_lose_the_others(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "1.png").write_bytes(b"no image")
    (folder / "3.png").write_bytes((folder / "3.png").read_bytes()[:-200])
    (folder / "notes.txt").write_text("not an image, and not named like one")
    assert run_segment(folder, "--backend", "torch", "--workers", 2, "-o", folder.parent / "out") == 1
    assert sorted(path.name[0] for path in (folder.parent / "out").iterdir()) == ["0", "2", "4"]
    err = capsys.readouterr().err
    assert f"{folder / '1.png'}: is not an image" in err and f"{folder / '3.png'}: is cut off" in err
    assert f"2 of 5 images were not segmented: {folder / '1.png'}, {folder / '3.png'}" in err


def test_resuming_leaves_out_what_is_there(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = (folder, "--backend", "torch", "-o", folder.parent / "out")
    assert run_segment(*arguments) == 0
    gone, kept = folder.parent / "out" / "2.labels.png", folder.parent / "out" / "0.labels.png"
    expected = gone.read_bytes()
    gone.unlink()
    kept.write_bytes(b"mine")
    capsys.readouterr()
    assert run_segment(*arguments, "--resume", "--json") == 0
    out, err = capsys.readouterr()
    assert [Path(row["image"]).name for row in json.loads(out)] == ["2.png"]
    assert "4 of 5 images have their outputs and are left out" in err
    assert gone.read_bytes() == expected and kept.read_bytes() == b"mine"
    assert run_segment(*arguments, "--resume", "--overlay", "--force", "--json") == 0  # no overlay is there yet
    assert len(json.loads(capsys.readouterr().out)) == 5
    assert kept.read_bytes() != b"mine"


def test_a_run_beside_its_images_does_not_take_its_outputs_for_images(folder: Path) -> None:
    for _ in range(2):
        assert run_segment(folder, "--overlay", "--backend", "torch", "-o", folder) == 0
    assert len(list(folder.iterdir())) == 15


def test_auto_says_what_it_took(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_segment(folder / "0.png", "-o", folder.parent, "--json") == 0
    out, err = capsys.readouterr()
    (row,) = json.loads(out)
    assert row["backend"] in candidates("auto")
    assert f"zoo: {row['backend']} runs the network: {row['backend']} " in err
    assert row["peak_memory_bytes"] is None or row["peak_memory_bytes"] > 2**20


def test_a_missing_backend_is_one_sentence(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(choice, "find_spec", lambda package: None if package == "openvino" else package)
    assert run_segment(folder, "--backend", "openvino") == 1
    err = capsys.readouterr().err
    assert "pip install '.[openvino]'" in err and err.count("\n") == 1


def test_workers_are_as_many_as_memory_holds(espnet_c: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    from zoo.inference import segment as library
    from zoo.registry import lower

    needed = library.SLACK * lower(SPECS["espnet-c"], SIZE).peak_activation_bytes
    monkeypatch.setattr(library, "free_bytes", lambda: int(2.5 * needed))
    assert library.fitting(espnet_c, Settings(size=SIZE), 4) == 2
    assert library.fitting(espnet_c, Settings(size=SIZE), 1) == 1
    with pytest.raises(ZooError, match="fewer --workers"):
        library.check_size(espnet_c, SIZE, 3)
    monkeypatch.setattr(library, "free_bytes", lambda: 0)
    assert library.fitting(espnet_c, Settings(size=SIZE), 4) == 1


def test_images_come_in_order_and_not_far_ahead() -> None:
    images = [Path(str(i)) for i in range(40)]
    begun, late = list[str](), threading.Event()

    def work(image: Path) -> str:
        begun.append(image.name)
        if image.name == "0":
            late.wait(10)
        if image.name == "3":
            raise ImageError("3 is broken")
        return image.name

    outcomes = in_order(images, work, 2)
    threading.Timer(0.2, late.set).start()
    image, found = next(outcomes)
    assert (image.name, found) == ("0", "0")
    assert len(begun) <= 2 * AHEAD + 1
    rest = list(outcomes)
    assert [image.name for image, _ in rest] == [image.name for image in images[1:]]
    assert isinstance(rest[2][1], ImageError)
    assert all(found == image.name for image, found in rest if image.name != "3")


@pytest.mark.parametrize("workers", [1, 3])
def test_any_other_error_ends_it(workers: int) -> None:
    begun = list[str]()

    def work(image: Path) -> str:
        begun.append(image.name)
        if image.name == "2":
            raise ZooError("the disk is full")
        return image.name

    with pytest.raises(ZooError, match="disk is full"):
        list(in_order([Path(str(i)) for i in range(50)], work, workers))
    assert len(begun) <= 3 + AHEAD * workers


def test_images_of_a_folder(tmp_path: Path) -> None:
    for name in ("b.PNG", "a.jpg", "c.txt", "a.labels.png", "deeper/d.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = images_in([tmp_path / "x.png", tmp_path, tmp_path / "b.PNG"], command.ENDINGS)
    assert [path.name for path in found] == ["x.png", "a.jpg", "b.PNG", "d.png"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(ZooError, match="empty: holds no images"):
        images_in([tmp_path / "empty"])


@pytest.mark.parametrize("backend", BACKENDS)
def test_scores_do_not_depend_on_the_backend_and_say_it(backend: str) -> None:
    needs(backend)
    module = pretrained.load(MODEL)
    data, labels = Scenes("val", (64, 96), 2), label_set(module.labels)
    how = Protocol(size=(64, 96), flip=True)  # whose two passes must not share memory
    expected = evaluate(module_scored("a", module, labels), data, how)
    found = evaluate(module_scored("a", module, labels, run=Engine(module, backend, 1), backend=backend), data, how)
    assert found.scores.miou == pytest.approx(expected.scores.miou, abs=0.01)
    assert found.protocol == expected.protocol | {"backend": backend}


def test_an_onnx_file_is_scored_in_onnxruntime(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = ("--dataset", "scenes", "--backend", "torch")
    assert main(["export", "espnet-c-3", "--size", "64x64", "--no-kit", "-o", str(tmp_path / "a.onnx")]) == 0
    assert main(["eval", str(tmp_path / "a.onnx"), *data]) == 1
    assert "an ONNX file is scored in onnxruntime, not in torch; leave out --backend" in capsys.readouterr().err
