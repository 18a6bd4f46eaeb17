"""Classifiers: their data, what they see of an image, and training them with ESPNetv2's recipe."""

import csv
import json
import shutil

import numpy as np
import pytest
from PIL import Image

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402
from torch.nn import functional  # noqa: E402

from zoo.cli import main  # noqa: E402
from zoo.data.augment import Augmentation  # noqa: E402
from zoo.data.class_folders import folders  # noqa: E402
from zoo.data.crops import RandomPart, centre  # noqa: E402
from zoo.data.datasets import data_set  # noqa: E402
from zoo.data.synthetic import Scenes  # noqa: E402
from zoo.errors import ZooError  # noqa: E402
from zoo.evaluate.classification import Ranking, ranking  # noqa: E402
from zoo.models.espnet import ESPNetSpec  # noqa: E402
from zoo.models.espnetv2_classifier import ESPNetv2ClassifierSpec  # noqa: E402
from zoo.specs import as_dict  # noqa: E402
from zoo.train.checkpoint import BEST, LAST, read_weights  # noqa: E402
from zoo.train.loop import LOG, train  # noqa: E402
from zoo.train.loss import Loss  # noqa: E402
from zoo.train.optimise import optimizer_of  # noqa: E402
from zoo.train.recipe import recipe  # noqa: E402
from zoo.train.schedules import cyclic  # noqa: E402
from zoo.train.start import begin, check_task  # noqa: E402
from zoo.train.trainer import NO_VOID, Job  # noqa: E402

SPEC = ESPNetv2ClassifierSpec(widths=(16, 32, 48, 64, 80), depth3=1, depth4=1, depth5=1)
SIZE = (32, 32)
COLOURS = {"blue": (40, 60, 200), "green": (40, 180, 60), "red": (200, 50, 40)}


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def squares(tmp_path_factory):
    """Squares in three colours at any place on noise, a folder for each colour."""
    root = tmp_path_factory.mktemp("data") / "squares"
    rng = np.random.default_rng(0)
    for split, count in (("train", 16), ("val", 6)):
        for name, colour in COLOURS.items():
            (root / split / name).mkdir(parents=True)
            for i in range(count):
                image = rng.integers(90, 150, (40, 48, 3), np.uint8)
                top, left = rng.integers(0, 12, 2)
                image[top : top + 24, left : left + 24] = colour
                Image.fromarray(image).save(root / split / name / f"{i}.png")
    return root


def job(run, root, **changes):
    how = recipe("classifier", **{"epochs": 3, "size": SIZE, "batch": 12, "lr": 0.05, "scale": (0.6, 1.0), **changes})
    data, val = folders(root, "train"), folders(root, "val")
    begun = begin(SPEC, data.labels, how.size, how.seed)
    check_task(begun.module, data, how)
    about = {"model": "tiny", "spec": as_dict(begun.spec), "init": None}
    return Job(begun.module, begun.preprocessing, data, val, how, run, about)


# Data


def test_classes_are_the_sorted_folders_of_the_train_split(squares):
    data, val = (data_set("folders", squares, split) for split in ("train", "val"))
    assert data.labels.classes == val.labels.classes == ("blue", "green", "red")
    assert (len(data), len(val)) == (48, 18)
    image, label = val.load(7)
    assert (image.shape, label.tolist()) == ((40, 48, 3), [[1]])
    assert (image == COLOURS["green"]).all(2).sum() == 24 * 24


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda root: shutil.rmtree(root / "train"), "expected the folder .*train, with a folder of images"),
        (lambda root: shutil.rmtree(root / "val"), "expected the folder .*val, with"),
        (lambda root: (root / "val" / "grey").mkdir(), "grey: is a class that .*train lacks"),
        (lambda root: (root / "train" / "empty").mkdir(), "empty: holds no image"),
        (lambda root: [shutil.rmtree(root / "train" / name) for name in ("red", "blue")], "at least two classes"),
        (lambda root: [x.unlink() for x in (root / "val").glob("*/*")], "val: holds no image"),
        (lambda root: (root / "val" / "red" / "0.png").write_text("no image"), "0.png: .*image"),
    ],
)
def test_what_is_no_such_data_set_is_said_in_one_sentence(squares, tmp_path, spoil, said):
    root = tmp_path / "spoilt"
    shutil.copytree(squares, root)
    spoil(root)
    with pytest.raises(ZooError, match=said) as caught:
        for split in ("train", "val"):
            data = data_set("folders", root, split)
            for i in range(len(data)):
                data.load(i)
    assert "\n" not in str(caught.value)


def test_networks_data_and_recipes_that_do_not_go_together_are_refused(squares):
    data = folders(squares, "train")
    how = recipe("classifier", size=(64, 64))
    maps = begin(ESPNetSpec(variant="C", alpha2=0, alpha3=1, widths=(8, 16, 32)), data.labels, how.size, 0).module
    one = begin(SPEC, data.labels, how.size, 0).module
    with pytest.raises(ZooError, match="a map of 8x8"):
        check_task(maps, data, how)
    with pytest.raises(ZooError, match="use --recipe classifier"):
        check_task(one, data, recipe("zoo"))
    with pytest.raises(ZooError, match="a class a pixel"):
        check_task(one, data_set("scenes", None, "train"), how)


# What a classifier sees


def test_the_middle_of_an_image_is_224_of_256():
    image = np.random.default_rng(0).integers(0, 256, (256, 320, 3), np.uint8)
    assert np.array_equal(centre(image, (224, 224)), image[16:-16, 48:-48])


def test_a_random_part_is_a_part(squares):
    ramp = np.broadcast_to(np.arange(200, dtype=np.uint8)[None, :, None], (100, 200, 3)).copy()
    part = RandomPart(Augmentation((0.2, 0.5), flip=0.5))
    shares, mirrored = [], 0
    for seed in range(300):
        image, label = part(ramp, np.array([[7]]), (32, 32), np.random.default_rng(seed))
        first, last = float(image[0, 0, 0]), float(image[0, -1, 0])
        shares.append(abs(last - first) / 31 * 32)  # width of the part, as the ramp rises by 1 a pixel
        mirrored += last < first
        assert (image.shape, label.tolist()) == ((32, 32, 3), [[7]])
    low, high = ((20_000 * share * aspect) ** 0.5 for share, aspect in ((0.2, 3 / 4), (0.5, 4 / 3)))
    assert low - 3 <= min(shares) < low + 8
    assert high - 15 < max(shares) <= high + 3
    assert 110 < mirrored < 190


def test_a_class_an_image_is_no_map_of_classes(squares):
    with pytest.raises(ZooError, match="48x40 has labels of 1x1"):
        Augmentation()(*folders(squares, "train").load(0), SIZE, np.random.default_rng(0))


def test_a_whole_square_image_that_is_not_flipped_stays():
    image = np.random.default_rng(1).integers(0, 256, (32, 32, 3), np.uint8)
    for seed in range(20):
        out, _ = RandomPart(Augmentation((1.0, 1.0), flip=0.0))(
            image, np.array([[0]]), (32, 32), np.random.default_rng(seed)
        )
        assert np.array_equal(out, image)


# Scores and loss


def test_rankings_are_those_of_sorting():
    rng = np.random.default_rng(2)
    logits = torch.from_numpy(rng.normal(size=(70, 9, 1, 1)))
    truth = rng.integers(0, 9, 70)
    seen = iter(logits.split(32))
    image = np.zeros((8, 8, 3), np.uint8)
    total = ranking(lambda x: next(seen), lambda i: (image, np.full((1, 1), truth[i])), range(70), (8, 8))
    places = [int((row.flatten() > row.flatten()[t]).sum()) for row, t in zip(logits, truth, strict=True)]
    assert total.tolist() == [sum(p < 1 for p in places), sum(p < 5 for p in places), 70]
    assert Ranking(*total.tolist()).top5 == pytest.approx(100 * np.mean([p < 5 for p in places]))


def test_class_255_is_a_class_like_others():
    logits = torch.randn(4, 300, 1, 1, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([255, 3, 255, 299])
    loss = Loss(void=NO_VOID)(logits, labels[:, None, None])
    torch.testing.assert_close(loss, functional.cross_entropy(logits.flatten(1), labels))


# The recipe


def test_the_recipe_is_the_published_one():
    how = recipe("classifier")
    optimizer = optimizer_of(nn.Linear(2, 2), how)
    group = optimizer.param_groups[0]
    assert isinstance(optimizer, torch.optim.SGD)
    assert (group["nesterov"], group["momentum"], group["weight_decay"], how.epochs) == (True, 0.9, 4e-5, 300)


def test_learning_rates_of_a_run_are_the_cycles(squares, tmp_path, monkeypatch):
    used = []
    step = torch.optim.SGD.step
    monkeypatch.setattr(
        torch.optim.SGD, "step", lambda self, *a: (used.append(self.param_groups[0]["lr"]), step(self, *a))[1]
    )
    rows = train(job(tmp_path, squares, epochs=6, batch=24, lr=0.5)).rows
    assert used == pytest.approx([cyclic(epoch) for epoch in range(6) for _ in range(2)])
    assert [row.lr for row in rows] == pytest.approx([0.5, 0.4, 0.3, 0.2, 0.1, 0.5])


# Runs


def test_training_learns_the_squares(squares, tmp_path):
    training = train(job(tmp_path, squares, epochs=10))
    assert training.rows[-1].loss < 0.5 * training.rows[0].loss
    assert training.best.top1 > 90
    assert (training.best.top5, training.best.miou) == (100.0, None)
    with (tmp_path / LOG).open() as file:
        logged = list(csv.DictReader(file))
    assert [float(row["top1"]) for row in logged] == [row.top1 for row in training.rows]
    assert "miou" not in logged[0]
    assert read_weights(training.weights).about["top1"] == training.best.top1


def test_a_resumed_run_ends_like_one_that_was_never_stopped(squares, tmp_path):
    whole = train(job(tmp_path / "whole", squares))
    train(job(tmp_path / "halves", squares), stop_after=1)
    halves = train(job(tmp_path / "halves", squares), resume=True)
    assert [(r.loss, r.top1, r.lr) for r in whole.rows] == [(r.loss, r.top1, r.lr) for r in halves.rows]
    for name in (BEST, LAST):
        a, b = (read_weights(tmp_path / run / name).state for run in ("whole", "halves"))
        assert all(torch.equal(a[key], b[key]) for key in a)


def test_commands_train_and_score_a_classifier(squares, tmp_path, capsys):
    run = tmp_path / "run"
    data = ["--dataset", "folders", "--data", str(squares), "--size", "32x32", "--json"]
    options = ["--epochs", "2", "--batch", "16", "--lr", "0.05", "--threads", "1", "-o", str(run)]
    assert main(["train", "espnetv2-classifier-0.5", *data, *options]) == 0
    trained = json.loads(capsys.readouterr().out)
    kept = read_weights(run / BEST)
    assert (kept.spec.classes, kept.about["recipe"]["schedule"]) == (3, "cyclic")
    assert main(["eval", str(run), *data, "--threads", "1"]) == 0
    scored = json.loads(capsys.readouterr().out)
    assert (scored["images"], scored["top5"]) == (18, 100.0)
    assert scored["top1"] == pytest.approx(trained["best"]["top1"])
    assert main(["eval", str(run), *data, "--flip"]) == 1
    assert "leave it out" in capsys.readouterr().err


def test_cycles_are_for_networks_that_segment_as_well(tmp_path):
    size = (32, 48)
    how = recipe("zoo", epochs=3, size=size, batch=6, schedule="cyclic", optimizer="sgd", lr=0.05, warmup=0.0)
    data = Scenes("train", size, 6)
    begun = begin(ESPNetSpec(variant="C", alpha2=0, alpha3=1, widths=(8, 16, 32)), data.labels, size, 0)
    training = train(Job(begun.module, begun.preprocessing, data, Scenes("val", size, 2), how, tmp_path, {}))
    assert [row.lr for row in training.rows] == pytest.approx([0.05, 0.04, 0.03])
    assert training.best.score == training.best.miou > 0
    assert "top1" not in (tmp_path / LOG).read_text()
