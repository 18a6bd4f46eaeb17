"""Data sets of one's own, as people have them."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from zoo.cli import main
from zoo.data.datasets import data_set
from zoo.data.split import DataError
from zoo.evaluate.metrics import VOID
from zoo.train.loss import Loss

TWO = "classes: [{name: a}, {name: b}]\nvoid: [255]\n"
UPRIGHT = np.arange(4 * 6, dtype=np.uint8).reshape(4, 6) % 2
"""Labels, which every orientation must come back to."""

STORED = {
    1: UPRIGHT,
    2: UPRIGHT[:, ::-1],
    3: UPRIGHT[::-1, ::-1],
    4: UPRIGHT[::-1],
    5: UPRIGHT.T,
    6: UPRIGHT.T[::-1],
    7: UPRIGHT.T[::-1, ::-1],
    8: UPRIGHT.T[:, ::-1],
}
"""How the upright labels are stored under each EXIF orientation (CIPA DC-008, tag 0x0112)."""


def save(path, array, orientation=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    exif = Image.Exif()
    if orientation:
        exif[274] = orientation
    Image.fromarray(np.ascontiguousarray(array)).save(path, exif=exif)
    return path


def root_with(tmp_path, about=TWO):
    (tmp_path / "classes.yaml").write_text(about)
    return tmp_path


def pair(root, name="0", labels=UPRIGHT, *, image="{}.png", mask="{}.png", split="train"):
    save(root / split / "images" / image.format(name), np.repeat(labels[:, :, None] * 100, 3, 2).astype(np.uint8))
    save(root / split / "masks" / mask.format(name), labels)


@pytest.mark.parametrize("orientation", STORED)
@pytest.mark.parametrize("about", [TWO, TWO + "window: [0, 255]\n", TWO + "tile: 4\n"], ids=["plain", "window", "tile"])
def test_image_and_mask_are_turned_alike(orientation, about, tmp_path):
    root, stored = root_with(tmp_path, about), STORED[orientation]
    grey = stored * 100
    pixels = grey if "window" in about else np.repeat(grey[:, :, None], 3, 2)
    save(root / "train/images/0.png", pixels.astype(np.uint8), orientation)
    save(root / "train/masks/0.png", stored, orientation)
    data = data_set("folder", root, "train")
    image, labels = data.load(0)
    expected = UPRIGHT[:, :4] if "tile" in about else UPRIGHT
    np.testing.assert_array_equal(labels, expected)
    np.testing.assert_array_equal(image[:, :, 0], expected * 100)
    assert len(data) == (2 if "tile" in about else 1)


def test_a_mask_without_the_images_orientation_is_said_or_left_as_stored(tmp_path):
    root = root_with(tmp_path)
    save(root / "train/images/0.png", np.zeros((6, 4, 3), np.uint8), 6)
    save(root / "train/masks/0.png", np.zeros((6, 4), np.uint8))
    with pytest.raises(DataError, match="EXIF orientation 6 of the image and 1 of the mask"):
        data_set("folder", root, "train").load(0)
    root_with(tmp_path, TWO + "exif: ignore\n")
    assert data_set("folder", root, "train").load(0)[0].shape == (6, 4, 3)


@pytest.mark.parametrize("at", ["image", "network"])
@pytest.mark.parametrize("jaccard", [0.0, 0.5])
def test_a_batch_without_a_label_adds_nothing(at, jaccard):
    loss = Loss(torch.tensor([1.0, 2.0]), jaccard=jaccard, at=at)
    logits = torch.randn(2, 2, 4, 4, requires_grad=True)
    value = loss(logits, torch.full((2, 8, 8), VOID))
    value.backward()
    assert value.item() == 0.0
    assert logits.grad is not None and not logits.grad.any()


def test_one_label_that_no_logit_falls_on_adds_nothing_where_labels_are_sub_sampled():
    labels = torch.full((1, 8, 8), VOID)
    labels[0, 7, 7] = 1
    assert Loss(at="network")(torch.randn(1, 2, 2, 2), labels).item() == 0.0


@pytest.mark.parametrize("mask", ["{}_mask.png", "{}_L.png", "{}.PNG", "{}.pgm", "{}_label.bmp"])
def test_masks_may_share_an_ending_and_have_any_format(mask, tmp_path):
    root = root_with(tmp_path)
    for name in ("a", "a1", "b"):
        pair(root, name, image="{}.ppm", mask=mask)
    data = data_set("folder", root, "train")
    assert [sample.image.stem for sample in data.samples] == ["a", "a1", "b"]
    assert all(sample.mask.stem.startswith(sample.image.stem) for sample in data.samples)


def test_folders_inside_and_system_files(tmp_path):
    root = root_with(tmp_path, "\ufeffclasses: [{name: a}, {name: b}]\r\n")
    for name in ("x/0", "y/0"):
        pair(root, name)
    for name in (".DS_Store", "._0.png", "Thumbs.db", "desktop.ini", "x/._0.png"):
        (root / "train/images" / name).write_bytes(b"x")
    (root / "train/images/__MACOSX").mkdir()
    (root / "train/images/__MACOSX/0.png").write_bytes(b"x")
    names = [
        sample.image.relative_to(root / "train/images").as_posix()
        for sample in data_set("folder", root, "train").samples
    ]
    assert names == ["x/0.png", "y/0.png"]


@pytest.mark.parametrize(
    "line",
    [
        "i/a.png m/a.png",
        "i/a.png, m/a.png",
        "i/a.png;m/a.png",
        "i/a.png\tm/a.png",
        "/home/x/set/i/a.png /home/x/set/m/a.png",
    ],
)
def test_lists_of_pairs(line, tmp_path):
    root = root_with(tmp_path)
    save(root / "i/a.png", np.zeros((4, 4, 3), np.uint8))
    save(root / "m/a.png", np.zeros((4, 4), np.uint8))
    (root / "train.txt").write_bytes(b"\xef\xbb\xbfimage mask\r\n" + line.encode() + b"\r\n\r\n")
    (sample,) = data_set("folder", root, "train").samples
    assert (sample.image, sample.mask) == (root / "i/a.png", root / "m/a.png")


def test_lists_of_pairs_with_spaces_in_names(tmp_path):
    root = root_with(tmp_path)
    save(root / "my images/a b.png", np.zeros((4, 4, 3), np.uint8))
    save(root / "m/a.png", np.zeros((4, 4), np.uint8))
    (root / "train.txt").write_text("my images/a b.png m/a.png\n")
    assert len(data_set("folder", root, "train")) == 1


def test_a_void_colour_in_masks_of_colours(tmp_path):
    about = "classes: [{name: a, colour: [9, 0, 0]}, {name: b, colour: [0, 9, 0]}]\nvoid: [[0, 0, 0]]\nmasks: colours\n"
    root = root_with(tmp_path, about)
    mask = np.zeros((2, 3, 3), np.uint8)
    mask[0, 0], mask[0, 1] = (9, 0, 0), (0, 9, 0)
    save(root / "train/images/0.png", np.zeros((2, 3, 3), np.uint8))
    save(root / "train/masks/0.png", mask)
    assert data_set("folder", root, "train").load(0)[1].tolist() == [[0, 1, VOID], [VOID] * 3]


@pytest.mark.parametrize(
    ("about", "key"),
    [
        ("classes: [{name: a}, {name: a}]", r"classes\[1\]\.name"),
        ("classes: [{name: a, colour: [1, 1, 1]}, {name: b, colour: [1, 1, 1]}]", r"classes\[1\]\.colour"),
        ("classes: [{name: a}, {name: b}]\nvoid: [1]", r"void\[0\]"),
        ("classes: [{name: a}, {name: b}]\nvoid: 255", "void"),
        ("classes: [{name: a, colour: 12}, {name: b}]", r"classes\[0\]\.colour"),
        ("classes: [{name: a}, {name: b}]\nwindow: [a, 5]", "window"),
        ("classes: [{name: a}, {name: b}]\nmasks: colors", "masks"),
        ("classes: [{name: a, value: 5000000000}, {name: b}]", r"classes\[0\]\.value"),
        ("classes: [{name: a, value: -1}, {name: b}]", r"classes\[0\]\.value"),
        ("classes: [{name: a, value: 255}]\nvoid: [0]", "one class"),
        ("classes: [{name: 3}, {name: b}]", r"classes\[0\]\.name"),
    ],
)
def test_classes_yaml_is_strict(about, key, tmp_path):
    with pytest.raises(DataError, match=rf"classes\.yaml: .*{key}"):
        data_set("folder", root_with(tmp_path, about + "\n"), "train")


def test_train_ids_of_cityscapes_where_there_are_no_label_ids(tmp_path):
    save(tmp_path / "leftImg8bit/train/aachen/x_leftImg8bit.png", np.zeros((1, 3, 3), np.uint8))
    save(tmp_path / "gtFine/train/aachen/x_gtFine_labelTrainIds.png", np.array([[0, 18, 255]], np.uint8))
    assert data_set("cityscapes", tmp_path, "train").load(0)[1].tolist() == [[0, 18, VOID]]


def test_a_list_does_not_lead_out_of_pascal(tmp_path):
    root = tmp_path / "voc"
    save(tmp_path / "secret.jpg", np.zeros((4, 4, 3), np.uint8))
    save(tmp_path / "secret.png", np.zeros((4, 4), np.uint8))
    for name in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (root / name).mkdir(parents=True)
    (root / "ImageSets/Segmentation/train.txt").write_text("../../secret\n")
    with pytest.raises(DataError, match="leads out of"):
        data_set("pascal", root, "train")


# zoo data check


def test_a_check_reads_everything_once(tmp_path, capsys):
    root = root_with(tmp_path / "d") if (tmp_path / "d").mkdir() is None else tmp_path
    for name in "ab":
        pair(root, name)
    pair(root, "c", np.full((4, 6), 255, np.uint8), split="val")
    pair(root, "d", np.full((4, 6), 7, np.uint8), split="val")
    assert main(["data", "check", str(root), "--dataset", "folder", "--json", "-o", str(tmp_path / "p.png")]) == 3
    said = json.loads(capsys.readouterr().out)
    assert (said["images"], said["classes"], said["split"]) == (4, ["a", "b"], None)
    assert said["shares"] == {"a": 0.5, "b": 0.5}
    (problem,) = said["problems"]
    assert problem["file"].endswith("d.png") and "value 7" in problem["problem"]
    assert said["splits"]["val"]["without_a_label"] == 1
    assert Image.open(tmp_path / "p.png").width > 100


def test_a_check_without_problems_is_done(tmp_path, capsys):
    pair(root_with(tmp_path))
    assert main(["data", "check", str(tmp_path), "--dataset", "folder"]) == 0
    assert "0 problems in 1 samples" in capsys.readouterr().out


def test_the_segnet_split_is_known_by_its_names(shared):
    from zoo.data.check import KNOWN_SPLITS, names_hash

    known = next(iter(KNOWN_SPLITS.values()))
    for split, value in known.items():
        assert names_hash(data_set("camvid", shared / "data/camvid", split)) == value
