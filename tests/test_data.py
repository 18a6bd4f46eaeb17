"""Data sets, label maps, generated scenes, augmentation and batches."""

import json

import numpy as np
import pytest
from PIL import Image

from zoo.cli import main
from zoo.data.augment import NONE, Augmentation, generator
from zoo.data.batches import Cache, Maker, ahead, order
from zoo.data.classes import (
    CAMVID,
    CATEGORIES,
    CITYSCAPES,
    LABEL_MAPS,
    LABEL_SETS,
    LabelMap,
    label_map,
    label_set,
    palette,
)
from zoo.data.datasets import LAYOUTS, data_set
from zoo.data.mask_values import CITYSCAPES_CODES, CITYSCAPES_IDS, MAPILLARY, MAPILLARY_CODES
from zoo.data.split import DataError
from zoo.data.synthetic import Scenes, scene
from zoo.errors import ZooError
from zoo.evaluate.metrics import VOID

SIZE = (6, 8)


def picture(path, value=100, mode="RGB", size=SIZE):
    path.parent.mkdir(parents=True, exist_ok=True)
    shape = (*size, 3) if mode == "RGB" else size
    dtype = np.uint16 if mode == "I;16" else np.uint8
    Image.fromarray(np.full(shape, value, dtype)).save(path)


def camvid(root, masks=(1,), split="train"):
    for i, value in enumerate(masks):
        picture(root / split / f"{i}.png")
        picture(root / f"{split}annot" / f"{i}.png", value, "L")
    return root


# Layouts


def test_the_segnet_split_of_camvid(shared):
    sizes = {split: len(data_set("camvid", shared / "data/camvid", split)) for split in ("train", "val")}
    assert sizes == {"train": 367, "val": 101}
    image, classes = data_set("camvid", shared / "data/camvid", "val").load(0)
    assert image.shape == (360, 480, 3)
    assert classes.shape == (360, 480)
    assert set(np.unique(classes)) <= {*range(11), VOID}


def test_camvid_pairs_by_name_and_calls_11_void(tmp_path):
    data = data_set("camvid", camvid(tmp_path, (3, 11)), "train")
    assert [data.load(i)[1][0, 0] for i in range(len(data))] == [3, VOID]
    assert data.labels.classes[3] == "road"


def test_cityscapes_reads_label_ids(tmp_path):
    for name, value in (("aachen_1", 7), ("bremen_2", 26), ("ulm_3", 4)):
        city = name.partition("_")[0]
        picture(tmp_path / f"leftImg8bit/val/{city}/{name}_leftImg8bit.png")
        picture(tmp_path / f"gtFine/val/{city}/{name}_gtFine_labelIds.png", value, "L")
        picture(tmp_path / f"gtFine/val/{city}/{name}_gtFine_color.png")
    data = data_set("cityscapes", tmp_path, "val")
    found = [data.load(i)[1][0, 0] for i in range(len(data))]
    assert [CITYSCAPES.classes[c] if c != VOID else None for c in found] == ["road", "car", None]


def test_pascal_takes_the_extra_annotations_for_trainaug(tmp_path):
    root = tmp_path / "VOCdevkit/VOC2012"
    for split, folder, name in (("val", "SegmentationClass", "a"), ("trainaug", "SegmentationClassAug", "b")):
        (root / "ImageSets/Segmentation").mkdir(parents=True, exist_ok=True)
        (root / f"ImageSets/Segmentation/{split}.txt").write_text(f"{name}\n")
        picture(root / f"JPEGImages/{name}.jpg")
        mask = Image.fromarray(np.full(SIZE, 15, np.uint8))
        mask.putpalette([value for colour in palette(256) for value in colour])
        (root / folder).mkdir()
        mask.save(root / folder / f"{name}.png")
    for split in ("val", "trainaug"):
        data = data_set("pascal", tmp_path, split)
        assert data.labels.classes[data.load(0)[1][0, 0]] == "person"


def test_mapillary_is_mapped_to_the_categories_of_cityscapes(tmp_path):
    values = {"person": 19, "car": 55, "sky": 27, "ego vehicle": 64}
    for name, value in values.items():
        picture(tmp_path / f"validation/images/{name}.jpg")
        picture(tmp_path / f"validation/v1.2/labels/{name}.png", value, "L")
    data = data_set("mapillary", tmp_path, "val")
    found = {s.image.stem: data.load(i)[1][0, 0] for i, s in enumerate(data.samples)}
    assert {k: CATEGORIES.classes[v] if v != VOID else None for k, v in found.items()} == {
        "person": "human", "car": "vehicle", "sky": "sky", "ego vehicle": None
    }  # fmt: skip


CLASSES_YAML = """
classes:
  - {name: background, value: 0, colour: [0, 0, 0]}
  - {name: stroma, value: 7, colour: [0, 0, 255]}
void: [255]
"""


def own(tmp_path, more=""):
    (tmp_path / "classes.yaml").write_text(CLASSES_YAML + more)
    return tmp_path


def test_any_pair_of_folders(tmp_path):
    picture(tmp_path / "train/images/a.jpg")
    picture(tmp_path / "train/masks/a.png", 7, "L")
    data = data_set("folder", own(tmp_path), "train")
    assert data.labels.classes == ("background", "stroma")
    assert (data.load(0)[1] == 1).all()


def test_masks_in_colour(tmp_path):
    picture(tmp_path / "train/images/a.png")
    picture(tmp_path / "train/masks/a.png", (0, 0, 255))
    root = own(tmp_path, "masks: colours\n")
    assert (data_set("folder", root, "train").load(0)[1] == 1).all()
    picture(tmp_path / "train/masks/a.png", (1, 2, 3))
    with pytest.raises(DataError, match=r"a.png: holds the colour \(1, 2, 3\)"):
        data_set("folder", root, "train").load(0)


@pytest.mark.parametrize(("value", "grey"), [(0, 0), (1000, 0), (1500, 128), (2000, 255), (4000, 255)])
def test_a_window_of_16_bit_grey_becomes_8_bit(tmp_path, value, grey):
    picture(tmp_path / "train/images/a.png", value, "I;16")
    picture(tmp_path / "train/masks/a.png", 0, "L")
    image, _ = data_set("folder", own(tmp_path, "window: [1000, 2000]\n"), "train").load(0)
    assert image.shape == (*SIZE, 3)
    assert (image == grey).all()


def test_slides_are_read_in_tiles_that_cover_them(tmp_path):
    rng = np.random.default_rng(0)
    whole = rng.integers(0, 255, (11, 14, 3), np.uint8)
    mask = np.where(rng.random((11, 14)) < 0.5, 7, 0).astype(np.uint8)
    for folder, array in (("images", whole), ("masks", mask)):
        (tmp_path / "train" / folder).mkdir(parents=True)
        Image.fromarray(array).save(tmp_path / "train" / folder / "a.png")
    tiles = data_set("folder", own(tmp_path, "tile: 5\n"), "train")
    seen = np.zeros(mask.shape, int)
    for i, (_, top, left) in enumerate(tiles.windows):
        image, classes = tiles.load(i)
        assert (image == whole[top : top + 5, left : left + 5]).all()
        assert (classes == (mask == 7)[top : top + 5, left : left + 5]).all()
        seen[top : top + 5, left : left + 5] += 1
    assert seen.min() >= 1
    assert len(tiles) == 9


# Bad input


def test_a_label_outside_the_class_list_names_file_and_value(tmp_path):
    data = data_set("camvid", camvid(tmp_path, (3, 12)), "train")
    data.load(0)
    with pytest.raises(DataError, match=r"1\.png: holds the value 12, .* 0 to 11"):
        data.load(1)


def test_sizes_that_differ_name_both_files(tmp_path):
    root = camvid(tmp_path)
    picture(root / "trainannot/0.png", 1, "L", (6, 9))
    with pytest.raises(DataError, match=r"trainannot/0\.png is 9x6 and .*train/0\.png is 8x6"):
        data_set("camvid", root, "train").load(0)


@pytest.mark.parametrize(
    ("gone", "said"), [("train/0.png", "mask has no image"), ("trainannot/0.png", "image has no mask")]
)
def test_a_missing_half_of_a_pair_is_named(tmp_path, gone, said):
    root = camvid(tmp_path, (1, 2))
    (root / gone).unlink()
    with pytest.raises(DataError, match=said):
        data_set("camvid", root, "train")


def test_a_file_that_vanishes_or_is_cut_off_later(tmp_path):
    data = data_set("camvid", camvid(tmp_path, (1, 2)), "train")
    path = data.samples[0].image
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(DataError, match=r"train/0\.png"):
        data.load(0)
    data.samples[1].mask.unlink()
    with pytest.raises(DataError, match="no such file"):
        data.load(1)


def test_an_empty_split(tmp_path):
    (tmp_path / "train").mkdir()
    (tmp_path / "trainannot").mkdir()
    with pytest.raises(DataError, match="must not be empty"):
        data_set("camvid", tmp_path, "train")


@pytest.mark.parametrize("name", [name for name in LAYOUTS if name != "scenes"])
def test_a_wrong_layout_says_what_was_expected_and_found(tmp_path, name):
    (tmp_path / "pictures").mkdir()
    with pytest.raises(DataError, match="expected"):
        data_set(name, tmp_path, "train")
    with pytest.raises(DataError, match="no such folder"):
        data_set(name, tmp_path / "nowhere", "train")


def test_an_rgb_mask_where_values_are_expected(tmp_path):
    root = camvid(tmp_path)
    picture(root / "trainannot/0.png", (1, 2, 3))
    with pytest.raises(DataError, match="one whole number a pixel"):
        data_set("camvid", root, "train").load(0)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("classes: 3\n", "must be a list"),
        ("classes: [{nam: a}]\n", "did you mean 'name'"),
        ("classes: [{name: a}]\ntiles: 3\n", "did you mean 'tile'"),
        ("classes: [{name: a}, {name: b, value: 0}]\n", "two classes have one value"),
        ("classes: [{name: a, colour: [0, 0, 300]}, {name: b}]\n", "0 to 255"),
        ("classes: [{name: a}, {name: b}]\nwindow: [5, 5]\n", "LOW < HIGH"),
        ("classes: []\n", "1 to 254 entries"),
    ],
)
def test_a_description_that_is_wrong(tmp_path, text, said):
    picture(tmp_path / "train/images/a.png")
    picture(tmp_path / "train/masks/a.png", 0, "L")
    (tmp_path / "classes.yaml").write_text(text)
    with pytest.raises(DataError, match=said):
        data_set("folder", tmp_path, "train")


def test_an_unknown_data_set_or_split():
    with pytest.raises(DataError, match="did you mean 'camvid'"):
        data_set("camvids", None, "train")
    with pytest.raises(DataError, match="no split"):
        data_set("scenes", None, "holiday")


# Label sets and maps


@pytest.mark.parametrize("labels", LABEL_SETS.values(), ids=lambda labels: labels.name)
def test_a_label_set_names_each_class_once_in_its_own_colour(labels):
    assert len(set(labels.classes)) == len(labels.classes)
    assert len(set(labels.colours)) == len(labels.colours)
    assert label_set(labels.name) is labels


@pytest.mark.parametrize("name", LABEL_MAPS)
def test_a_map_reaches_every_class_of_its_target(name):
    chosen = label_map(name)
    assert {i for i in chosen.indices if i is not None} == set(range(len(chosen.target.classes)))


def test_maps_that_are_not_maps():
    with pytest.raises(ZooError, match="says nothing of"):
        LabelMap(CAMVID, CATEGORIES, {"sky": "sky"})
    with pytest.raises(ZooError, match="no class 'skies'"):
        LabelMap(CAMVID, CATEGORIES, dict.fromkeys(CAMVID.classes, "skies"))
    with pytest.raises(ZooError, match="did you mean 'cityscapes-camvid'"):
        label_map("cityscape-camvid")


def test_the_counts_that_the_data_sets_publish():
    assert (len(CITYSCAPES.classes), len(CITYSCAPES.categories), len(CAMVID.classes)) == (19, 7, 11)
    assert len(MAPILLARY) == len(MAPILLARY_CODES) == 66
    assert sorted(CITYSCAPES_CODES) == [*range(34), VOID]
    assert [CITYSCAPES_CODES[i] for i in CITYSCAPES_IDS] == list(range(19))


# Generated scenes


def test_a_scene_is_the_same_twice_and_another_for_another_seed():
    first, again, other = scene(5, (60, 80)), scene(5, (60, 80)), scene(6, (60, 80))
    assert all((a == b).all() for a, b in zip(first, again, strict=True))
    assert (first[1] != other[1]).any()


def test_scenes_hold_every_class_and_nothing_else():
    data = Scenes("val", (90, 120), 6)
    seen = np.unique([data.load(i)[1] for i in range(len(data))])
    assert seen.tolist() == list(range(11))


def test_splits_share_no_scene():
    assert (Scenes("train", (60, 80)).load(0)[0] != Scenes("val", (60, 80)).load(0)[0]).any()


# Augmentation and batches


def paired(height=24, width=32):
    """An image whose red channel is its own labels."""
    mask = np.random.default_rng(1).integers(0, 11, (height // 4, width // 4), np.uint8).repeat(4, 0).repeat(4, 1)
    return np.stack([mask, mask, mask], 2), mask


@pytest.mark.parametrize("scale", [(1.0, 1.0), (2.0, 2.0), (0.5, 0.5)])
@pytest.mark.parametrize("flip", [0.0, 1.0])
def test_image_and_labels_move_together(scale, flip):
    image, mask = paired()
    for seed in range(5):
        a, b = Augmentation(scale, flip)(image, mask, mask.shape, generator(0, 0, seed))
        assert a.shape == (*mask.shape, 3)
        known = b != VOID
        if scale[0] == 1:
            assert (a[known][:, 0] == b[known]).all()
        else:  # bilinear pixels and nearest labels agree away from the borders of the 4x4 blocks
            assert (a[known][:, 0] == b[known]).mean() > 0.2
        assert known.any()


def test_at_scale_1_an_image_fills_the_size_that_the_network_sees():
    image, mask = paired()
    height, width = mask.shape
    for size in ((height // 2, width // 2), (height * 3, width * 3), (height, width // 2)):
        _, labels = Augmentation((1.0, 1.0), 0.0)(image, mask, size, generator(0, 0, 0))
        assert labels.shape == size and (labels != VOID).all()
    half = Augmentation((1.0, 1.0), 0.0)(image, mask, (height // 2, width // 2), generator(0, 0, 0))[1]
    assert set(np.unique(half)) == set(np.unique(mask))


def test_the_flip_mirrors_left_and_right_not_up_and_down():
    image, mask = paired()
    flipped, labels = Augmentation((1.0, 1.0), 1.0)(image, mask, mask.shape, generator(0, 0, 0))
    assert (labels == mask[:, ::-1]).all()
    assert (flipped == image[:, ::-1]).all()


def test_what_the_image_does_not_fill_is_void():
    image, mask = paired()
    _, labels = Augmentation((0.5, 0.5), 0.0)(image, mask, (24, 32), generator(0, 0, 0))
    assert (labels != VOID).sum() == 12 * 16


def test_nothing_changes_where_nothing_is_asked_for():
    image, mask = paired()
    same = NONE(image, mask, mask.shape, generator(0, 0, 0))
    assert (same[0] == image).all()
    assert (same[1] == mask).all()


def test_colour_changes_no_label_and_no_size():
    image, mask = scene(1, (40, 60))
    changed, labels = Augmentation((1.0, 1.0), 0.0, 0.4)(image, mask, mask.shape, generator(0, 0, 3))
    assert (labels == mask).all()
    assert (changed != image).any()


@pytest.mark.parametrize("wrong", [{"scale": (2.0, 1.0)}, {"flip": 1.5}, {"colour": 1.0}])
def test_augmentation_that_cannot_be(wrong):
    with pytest.raises(ZooError):
        Augmentation(**wrong)


@pytest.mark.parametrize(("count", "batch"), [(10, 3), (9, 3), (2, 8)])
def test_an_epoch_sees_no_sample_twice(count, batch):
    epoch = np.concatenate(order(count, batch, 0, 0))
    assert len(set(epoch)) == len(epoch) == max(count // batch * batch, min(count, batch))
    others = [np.concatenate(order(count, batch, 0, e)) for e in range(1, 9)]
    assert any((epoch != other).any() for other in others)


def test_tiles_of_a_slide_follow_one_another():
    groups = [0, 0, 0, 1, 1, 1, 2, 2, 2]
    orders = [np.concatenate(order(9, 3, 0, epoch, groups)) for epoch in range(6)]
    for found in orders:
        assert sorted(found) == list(range(9))
        assert [groups[i] for i in found[::3]] == [groups[i] for i in found[2::3]]
    assert len({tuple(found) for found in orders}) > 3


def test_batches_are_the_same_however_they_are_loaded():
    maker = Maker(Cache(Scenes("train", (40, 60), 8)), Augmentation(), (32, 48), seed=3)
    batches = order(8, 3, 3, 1)
    inline = list(ahead(maker, 1, batches, 0))
    threaded = list(ahead(maker, 1, batches, 3))
    assert len(inline) == len(threaded) == 2
    for (a, b), (c, d) in zip(inline, threaded, strict=True):
        assert (a == c).all()
        assert (b == d).all()


def test_a_cache_without_room_loads_again():
    data = Scenes("train", (40, 60), 2)
    cache = Cache(data, room_bytes=0)
    assert (cache(1)[0] == data.load(1)[0]).all()
    assert not cache.kept


def test_scenes_by_command_are_the_generated_test_split(tmp_path, capsys):
    assert main(["scene", "-o", str(tmp_path), "--count", "2", "--size", "64x48", "--json"]) == 0
    written = json.loads(capsys.readouterr().out)
    pixels, classes = Scenes("test", (48, 64)).load(1)
    assert (np.asarray(Image.open(written[1]["image"])) == pixels).all()
    assert (np.asarray(Image.open(written[1]["labels"])) == classes).all()
    assert main(["scene", "-o", str(tmp_path), "--count", "0"]) == 2
    assert "--count must be at least 1" in capsys.readouterr().err
