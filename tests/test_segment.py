"""Label maps: against the authors' own, in tiles, at both sizes, as files, and everything that is refused."""

import json
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from PIL import Image
from torch.nn.functional import interpolate

import pretrained
from pretrained.download import obtain
from zoo.cli import main
from zoo.data.classes import CAMVID, CITYSCAPES, LABEL_SETS, PASCAL
from zoo.errors import SpecError, ZooError
from zoo.graph import GraphBuilder, Shape
from zoo.inference import label_map as labelling
from zoo.inference import segment as library
from zoo.inference.images import ImageError
from zoo.inference.label_map import labels_of
from zoo.inference.overlay import MAX_OVERLAY_SIDE, legend, output_paths, overlay, save_labels
from zoo.inference.preprocess import Preprocessing
from zoo.inference.segment import Settings, segment, segment_file, shares, spans
from zoo.models.espnet import ESPNetSpec
from zoo.models.resnet import ResNetSpec
from zoo.network import Network, build, module_from_graph

Pixels = Any


def noise(height: int, width: int, seed: int = 0) -> Pixels:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def saved(folder: Path, pixels: Pixels, name: str = "a.png") -> Path:
    folder.mkdir(exist_ok=True)
    Image.fromarray(pixels).save(folder / name)
    return folder / name


@pytest.fixture(scope="module")
def espnet_c() -> Network:
    torch.manual_seed(0)
    return build(ESPNetSpec(alpha3=1, classes=20), (64, 64)).eval()


@pytest.fixture(scope="module")
def narrow() -> Network:
    """A network without a spec, whose outputs depend on two pixels to each side."""
    torch.manual_seed(0)
    g = GraphBuilder()
    hidden = g.act(g.conv(g.input("image", Shape(3, 24, 24)), "a", 8, kernel=3), "act", "relu")
    return module_from_graph(g.graph(g.conv(hidden, "b", 5, kernel=3))).eval()


@pytest.fixture
def weights(shared: Path) -> Callable[[str], None]:
    """Puts released weights into the cache, by hand."""

    def carry(name: str) -> None:
        entry = pretrained.find(name)
        obtain(entry, from_file=shared / "weights" / entry.file)

    return carry


def test_labels_are_the_authors(shared: Path, weights: Callable[[str], None], tmp_path: Path) -> None:
    weights("espnet-8.cityscapes")
    frame = shared / "images" / "frankfurt_000000_000294_leftImg8bit.png"
    assert (
        main(["segment", str(frame), "--model", "espnet.cityscapes", "--labels-at", "network", "-o", str(tmp_path)])
        == 0
    )
    found = np.asarray(Image.open(tmp_path / f"{frame.stem}.labels.png"))
    reference = np.asarray(Image.open(shared / "reference" / "frankfurt_000000_000294_espnet-8.cityscapes.png"))
    assert found.shape == reference.shape == (512, 1024)
    assert (found == reference).mean() >= 0.999


@torch.no_grad()
def test_labels_at_the_network_upsample_the_logits_first(espnet_c: Network) -> None:
    found = segment(espnet_c, noise(50, 70), Settings(size=(64, 96), labels_at="network"))
    x = torch.from_numpy(noise(50, 70)).permute(2, 0, 1)[None] / 255
    logits = espnet_c(interpolate(x, (64, 96), mode="bilinear", align_corners=False))
    assert logits.shape[2:] == (8, 12)
    expected = interpolate(logits, scale_factor=8, mode="bilinear", align_corners=False).argmax(1)[0]
    assert found.shape == (64, 96)
    assert (found == expected.numpy()).mean() > 0.999


@torch.no_grad()
def test_labels_at_the_image_resize_the_logits_to_it(espnet_c: Network) -> None:
    found = segment(espnet_c, noise(50, 70), Settings(size=(64, 96)))
    x = torch.from_numpy(noise(50, 70)).permute(2, 0, 1)[None] / 255
    logits = espnet_c(interpolate(x, (64, 96), mode="bilinear", align_corners=False))
    expected = interpolate(logits, (50, 70), mode="bilinear", align_corners=False).argmax(1)[0]
    assert found.dtype == np.uint8
    assert (found == expected.numpy()).mean() > 0.999


def test_bands_change_no_label(monkeypatch: pytest.MonkeyPatch) -> None:
    logits = torch.randn(6, 9, 7, generator=torch.Generator().manual_seed(0))
    whole = labels_of(logits, (40, 30))
    monkeypatch.setattr(labelling, "BAND_BYTES", 6 * 30 * 4 * 3)
    assert np.array_equal(labels_of(logits, (40, 30)), whole)


@torch.no_grad()
@pytest.mark.parametrize("sparse", [0.0, 1.0])
@pytest.mark.parametrize("size", [(40, 30), (9, 30), (5, 4), (1, 1), (200, 9)])
def test_labels_are_those_of_resized_logits(size: tuple[int, int], sparse: float, monkeypatch: Any) -> None:
    monkeypatch.setattr(labelling, "SPARSE", sparse)
    coarse = torch.randn(1, 6, 3, 4, generator=torch.Generator().manual_seed(1))
    logits = interpolate(coarse, (12, 16), mode="bilinear") if size[0] > 9 else coarse
    expected = interpolate(logits, size, mode="bilinear", align_corners=False).argmax(1)[0]
    assert len(expected.unique()) > 2 or size == (1, 1)
    assert np.array_equal(labels_of(logits[0], size), expected.numpy())


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (7, 5)])
def test_smallest_images(size: tuple[int, int], espnet_c: Network, tmp_path: Path) -> None:
    path = saved(tmp_path, noise(*size))
    _, labels = segment_file(espnet_c, path, preprocessing=Preprocessing(size=(64, 64)))
    assert labels.shape == size
    _, labels = segment_file(espnet_c, path, Settings(tile=32, overlap=8))
    assert labels.shape == size


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.integers(1, 200), st.integers(1, 64), st.integers(0, 63))
def test_tiles_cover_everything_once_and_share_enough(length: int, tile: int, overlap: int) -> None:
    assume(overlap < tile)
    cut = spans(length, tile, overlap)
    assert cut[0].first == 0 and cut[-1].last == length
    for span in cut:
        assert 0 <= span.inside.start < span.inside.stop <= tile
    for before, after in pairwise(cut):
        assert before.last == after.first
        shared = before.start + tile - after.start
        assert shared >= overlap
        # Both tiles see at least half of what they share beyond the border between them.
        assert before.start + tile - before.last >= shared // 2 and after.first - after.start >= shared // 2
    assert cut[-1].start + tile == max(tile, length)


@pytest.mark.parametrize("size", [(50, 71), (24, 24), (25, 90)])
def test_tiles_give_the_labels_of_the_whole(size: tuple[int, int], narrow: Network) -> None:
    whole = segment(narrow, noise(*size))
    assert len(np.unique(whole)) > 2
    assert np.array_equal(segment(narrow, noise(*size), Settings(tile=24, overlap=4)), whole)


def test_tiles_need_the_memory_of_one_tile(espnet_c: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = saved(tmp_path, noise(256, 256))
    free = 2 * 1024**2
    monkeypatch.setattr(library, "free_bytes", lambda: free)
    with pytest.raises(ImageError, match=r"a\.png: a network input of 256x256 needs about .* use --tile N"):
        segment_file(espnet_c, path)
    _, labels = segment_file(espnet_c, path, Settings(tile=64, overlap=16))
    assert labels.shape == (256, 256)


def test_image_beyond_memory_is_refused_before_it_is_read(
    espnet_c: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = saved(tmp_path, noise(100, 100))
    monkeypatch.setattr(library, "free_bytes", lambda: 50_000)
    monkeypatch.setattr(library, "read_image", lambda path: pytest.fail("was read"))
    with pytest.raises(ImageError, match=r"a\.png: 100x100 pixels are more than memory holds at once; use --tile N"):
        segment_file(espnet_c, path)
    with pytest.raises(ImageError, match="cut it into several files"):
        segment_file(espnet_c, path, Settings(tile=32))


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory")])
def test_running_out_of_memory_is_one_sentence(
    error: Exception, espnet_c: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: Any, **options: Any) -> None:
        raise error

    monkeypatch.setattr(library, "network_input", fail)
    with pytest.raises(ImageError, match="more than memory holds"):
        segment_file(espnet_c, saved(tmp_path, noise(9, 9)))


def test_size_that_does_not_suit_the_network_names_the_file(tmp_path: Path) -> None:
    module = build(ESPNetSpec(variant="ESPNet", alpha3=0), (64, 64)).eval()
    path = saved(tmp_path, noise(50, 70))
    with pytest.raises(ImageError, match=r"a\.png: .*multiples of 8.*use 72x48"):
        segment_file(module, path)
    with pytest.raises(SpecError, match="multiples of 8"):
        segment(module, noise(50, 70), Settings(tile=20))


def test_networks_that_give_no_map(espnet_c: Network) -> None:
    classifier = build(ResNetSpec(depth=18, width=4, classes=10), (64, 64)).eval()
    with pytest.raises(ZooError, match="one answer for the whole image"):
        segment(classifier, noise(64, 64))
    wide = build(ESPNetSpec(alpha2=0, alpha3=0, classes=300), (64, 64)).eval()
    with pytest.raises(ZooError, match="300 outputs, and a label of 8 bits holds 256"):
        segment(wide, noise(64, 64))
    with pytest.raises(ZooError, match=r"training mode; call module\.eval\(\)"):
        segment(build(ESPNetSpec(), (64, 64)), noise(64, 64))


def test_broken_weights_are_no_answer() -> None:
    module = build(ESPNetSpec(alpha2=0, alpha3=0), (64, 64)).eval()
    torch.nn.init.constant_(module.get_submodule("classifier.conv").weight, float("nan"))  # type: ignore[arg-type]
    with pytest.raises(ZooError, match="not finite"):
        segment(module, noise(64, 64))


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"overlap": 4}, "give --tile N too"),
        ({"tile": 0}, "at least 1 pixel"),
        ({"tile": 32, "overlap": 32}, "less than the tile"),
        ({"tile": 32, "overlap": -1}, "from 0"),
        ({"tile": 32, "labels_at": "network"}, "leave out --tile"),
    ],
)
def test_settings_that_contradict_themselves(options: dict[str, Any], word: str) -> None:
    with pytest.raises(ZooError, match=word):
        Settings(**options)


def test_shares_sum_to_one() -> None:
    labels = noise(40, 30)[:, :, 0] % 7
    found = shares(labels, tuple("abcdefg"))
    assert sum(found.values()) == pytest.approx(1)
    assert found["c"] == (labels == 2).mean()


def test_label_map_is_an_indexed_png_of_eight_bits(tmp_path: Path) -> None:
    labels = np.arange(12, dtype=np.uint8).reshape(3, 4)
    save_labels(tmp_path / "a.png", labels, legend(CAMVID, 12))
    assert (tmp_path / "a.png").read_bytes()[24:26] == b"\x08\x03"  # bit depth 8, colour type palette
    image = Image.open(tmp_path / "a.png")
    assert np.array_equal(np.asarray(image), labels)
    colours = np.asarray(image.convert("RGB"))
    assert [tuple(colours[i // 4, i % 4]) for i in range(11)] == list(CAMVID.colours)
    assert tuple(colours[2, 3]) == (0, 0, 0)


def test_the_level_of_a_png_changes_its_bytes_and_no_label(tmp_path: Path) -> None:
    labels = np.random.default_rng(0).integers(0, 3, (64, 96)).astype(np.uint8)
    for level in (1, 9):
        save_labels(tmp_path / f"{level}.png", labels, legend(CAMVID, 12), level=level)
    one, nine = (np.asarray(Image.open(tmp_path / f"{level}.png")) for level in (1, 9))
    assert (one == labels).all() and (nine == labels).all()
    assert (tmp_path / "9.png").stat().st_size < (tmp_path / "1.png").stat().st_size


def test_legend_has_void_only_where_the_network_has_it() -> None:
    assert legend(CITYSCAPES, 20).names == (*CITYSCAPES.classes, "void")
    assert legend(PASCAL, 21).names == PASCAL.classes
    with pytest.raises(ZooError, match="label set cityscapes has 19 classes, but the network has 21 outputs"):
        legend(CITYSCAPES, 21)


@pytest.mark.parametrize("name", LABEL_SETS)
def test_overlay_shows_the_colours_of_the_classes_that_occur(name: str) -> None:
    labels = LABEL_SETS[name]
    key = legend(labels, len(labels.classes))
    grey = np.full((300, 400, 3), 128, np.uint8)
    index = len(labels.classes) - 1
    mask = np.full((300, 400), index, np.uint8)
    mask[:, :200] = 1
    picture = np.asarray(overlay(grey, mask, key))
    assert picture.shape[0] > 300 and picture.shape[1] >= 400
    for x, shown in ((100, 1), (300, index)):
        tint = (np.array(key.colours[shown]) + 128) / 2
        assert np.abs(picture[150, x].astype(float) - tint).max() <= 1
    # The text is grey; what else is coloured below the image are the two classes' swatches.
    below = {tuple(map(int, colour)) for row in picture[300:] for colour in row}
    assert {c for c in below if len(set(c)) > 1} == {c for c in (key.colours[1], key.colours[index]) if len(set(c)) > 1}


def test_overlay_of_a_large_image_is_shrunk() -> None:
    pixels = np.zeros((2, 3 * MAX_OVERLAY_SIDE, 3), np.uint8)
    picture = overlay(pixels, np.zeros(pixels.shape[:2], np.uint8), legend(CAMVID, 11))
    assert picture.width == MAX_OVERLAY_SIDE


def test_outputs_of_images_of_one_name_do_not_collide(tmp_path: Path) -> None:
    images = [tmp_path / "a" / "x.png", tmp_path / "b" / "x.jpg", tmp_path / "c" / "X.png", tmp_path / "y.png"]
    paths = output_paths(images, tmp_path, ".labels.png")
    assert [path.name for path in paths] == ["x.labels.png", "x-2.labels.png", "X-3.labels.png", "y.labels.png"]


def test_outputs_never_replace_an_input(tmp_path: Path) -> None:
    images = [tmp_path / "x.png", tmp_path / "x.labels.png"]
    paths = output_paths(images, tmp_path, ".labels.png")
    assert not set(paths) & set(images)
    assert len(set(paths)) == 2


def test_command(weights: Callable[[str], None], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    weights("espnet-c-3.cityscapes")
    images = [saved(tmp_path / "a", noise(40, 60)), saved(tmp_path / "b", noise(30, 20, 1))]
    out = tmp_path / "out"
    command = ["segment", *map(str, images), "--model", "espnet-c-3.cityscapes", "--size", "64x32", "--overlay"]
    assert main([*command, "--backend", "torch", "--json", "-o", str(out)]) == 0
    documents = json.loads(capsys.readouterr().out)
    assert [document["image"] for document in documents] == list(map(str, images))
    assert {path.name for path in out.iterdir()} == {
        "a.labels.png", "a-2.labels.png", "a.overlay.png", "a-2.overlay.png",
    }  # fmt: skip
    for document, size in zip(documents, ((40, 60), (30, 20)), strict=True):
        labels = np.asarray(Image.open(document["labels"]))
        assert labels.shape == size
        assert list(document["shares"]) == [*CITYSCAPES.classes, "void"]
        assert document["shares"]["road"] == (labels == 0).mean()
        assert Image.open(document["overlay"]).mode == "RGB"


def test_command_goes_on_after_a_bad_image(
    weights: Callable[[str], None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights("espnet-c-3.cityscapes")
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"no image")
    good = saved(tmp_path, noise(9, 9))
    command = ["segment", str(bad), str(good), "--model", "espnet-c-3.cityscapes", "--size", "32x32", "--json"]
    assert main([*command, "--backend", "torch", "-o", str(tmp_path / "out")]) == 1
    out, err = capsys.readouterr()
    assert [document["image"] for document in json.loads(out)] == [str(good)]
    assert err.splitlines() == [
        f"zoo: {bad}: is not an image that can be read; use one of PNG, JPEG, TIFF, BMP, WEBP, PPM, GIF",
        f"zoo: 1 of 2 images were not segmented: {bad}",
    ]


def test_command_in_tiles(weights: Callable[[str], None], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    weights("espnet-c-3.cityscapes")
    path = saved(tmp_path, noise(100, 70))
    command = ["segment", str(path), "--model", "espnet-c-3.cityscapes", "--tile", "64", "--overlap", "16", "--json"]
    assert main([*command, "--backend", "torch", "-o", str(tmp_path)]) == 0
    (document,) = json.loads(capsys.readouterr().out)
    assert document["size"] == "70x100" and document["overlay"] is None


@pytest.mark.parametrize(
    ("model", "word"),
    [("espnet-d.cityscapes", "did you mean"), ("espnet-c.citiscapes", "cityscapes"), ("espnet-a", "espnet-a")],
)
def test_command_without_such_weights(
    model: str, word: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = saved(tmp_path, noise(9, 9))
    assert main(["segment", str(path), "--model", model, "-o", str(tmp_path)]) == 1
    err = capsys.readouterr().err
    assert word in err and err.count("\n") == 1


def test_output_folder_that_cannot_be_or_is_full(
    weights: Callable[[str], None], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    weights("espnet-c-3.cityscapes")
    path = saved(tmp_path, noise(9, 9))
    command = ["segment", str(path), "--model", "espnet-c-3.cityscapes", "--size", "32x32", "-o"]
    assert main([*command, str(path / "out")]) == 1
    assert "a.png" in capsys.readouterr().err

    def full(*args: Any, **options: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", full)
    assert main([*command, str(tmp_path / "out")]) == 1
    assert "a.labels.png: cannot be written: No space left on device" in capsys.readouterr().err
    assert not list((tmp_path / "out").iterdir())


def test_a_pattern_leaves_out_what_zoo_wrote(tmp_path: Path) -> None:
    from zoo.cli.segment import _paths

    for name in ("a.png", "a.labels.png", "a.overlay.png", "a.truth.png"):
        (tmp_path / name).touch()
    assert list(_paths([str(tmp_path / "*.png")])) == [tmp_path / "a.png"]
    (tmp_path / "a.png").unlink()
    with pytest.raises(ZooError, match="the pattern fits no image"):
        list(_paths([str(tmp_path / "*.png")]))
