"""`zoo eval`: scores that can be worked out by hand, and the command itself."""

import dataclasses
import json

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from PIL import Image  # noqa: E402

from zoo.cli import main  # noqa: E402
from zoo.data.classes import CAMVID, CATEGORIES, CITYSCAPES, label_map  # noqa: E402
from zoo.data.datasets import data_set  # noqa: E402
from zoo.data.synthetic import Scenes  # noqa: E402
from zoo.errors import ZooError  # noqa: E402
from zoo.evaluate.metrics import VOID, Scores, confusion  # noqa: E402
from zoo.evaluate.segmentation import Protocol, Scored, evaluate, module_scored  # noqa: E402
from zoo.inference.preprocess import Preprocessing  # noqa: E402
from zoo.train.start import begin  # noqa: E402

SIZE = (32, 48)
PLAIN = Preprocessing(maximum=255)


class Answers:
    """A data set whose images hold the answers: red is what the oracle says, green the truth, 99 being void."""

    name, split, labels = "answers", "val", CAMVID

    def __init__(self, pairs, labels=CAMVID):
        self.pairs, self.labels = pairs, labels

    def __len__(self):
        return len(self.pairs)

    def load(self, index):
        said, truth = (np.array(x, np.uint8) for x in self.pairs[index])
        image = np.stack([said, truth, truth], 2)
        return image, np.where(truth == 99, VOID, truth).astype(np.uint8)


def oracle(labels=CAMVID, outputs=None):
    """A network that answers with the red channel."""

    def logits(x):
        return torch.nn.functional.one_hot(x[0, 0].long(), outputs or len(labels.classes)).permute(2, 0, 1).float()

    return Scored("oracle", logits, PLAIN, labels)


def test_scores_by_hand():
    data = Answers([([[0, 0, 1, 1]], [[0, 1, 1, 99]])])
    result = evaluate(oracle(), data).document()
    assert result["per_class_iou"]["sky"] == 50.0
    assert result["per_class_iou"]["building"] == 50.0
    assert result["per_class_iou"]["car"] is None
    assert result["miou"] == 50.0
    assert result["class_average"] == 75.0
    assert result["pixel_accuracy"] == pytest.approx(200 / 3)
    assert result["images"] == 1


def test_the_matrix_is_pooled_over_the_images():
    pairs = [([[0, 0, 0, 0]], [[0, 0, 0, 0]]), ([[0, 1, 1, 1]], [[1, 1, 1, 1]])]
    pooled = evaluate(oracle(), Answers(pairs)).scores
    assert pooled.per_class_iou[:2] == (80.0, 75.0)


def test_the_authors_count_void_as_a_class():
    data = Answers([([[0, 0, 1, 1]], [[0, 1, 1, 99]])])
    authors = evaluate(oracle(outputs=12), data, Protocol(scoring="authors")).document()
    assert authors["per_class_iou"]["building"] == pytest.approx(100 / 3)  # the void pixel is in its union
    assert set(authors["per_class_iou"]) == set(CAMVID.classes)
    without = evaluate(oracle(outputs=11), data, Protocol(scoring="authors")).document()
    assert without["miou"] == authors["miou"]
    void_found = Answers([([[0, 0, 1, 11]], [[0, 1, 1, 99]])])
    assert evaluate(oracle(outputs=12), void_found, Protocol(scoring="authors")).scores.miou == 50.0


def test_an_answer_of_void_is_not_taken_where_void_is_ignored():
    result = evaluate(oracle(outputs=12), Answers([([[11, 11]], [[0, 0]])]))
    assert result.scores.miou == 100.0  # of equal logits the first class


def test_classes_are_scored_through_a_declared_map():
    said = [[CITYSCAPES.index(name) for name in ("road", "truck", "rider", "vegetation")]]
    truth = [[CAMVID.index(name) for name in ("road", "car", "bicyclist", "sky")]]
    result = evaluate(oracle(CITYSCAPES), Answers([(said, truth)]), Protocol(mapping=label_map("cityscapes-camvid")))
    found = {name: iou for name, iou in result.document()["per_class_iou"].items() if iou is not None}
    assert found == {"road": 100.0, "car": 100.0, "bicyclist": 100.0, "sky": 0.0, "tree": 0.0}
    assert result.protocol["map"] == "cityscapes-camvid"


def test_classes_that_stand_for_none_are_never_answered():
    said = [[CITYSCAPES.index("terrain")]]
    result = evaluate(
        oracle(CITYSCAPES),
        Answers([(said, [[CAMVID.index("road")]])]),
        Protocol(mapping=label_map("cityscapes-camvid")),
    )
    assert result.scores.miou == 100.0  # of the mapped classes, all of equal logits, road is the first


def test_categories_are_scored_on_the_merged_matrix():
    pairs = [([[1, 7, 0, 0]], [[7, 1, 0, 4]])]  # building and fence are one category
    result = evaluate(oracle(), Answers(pairs))
    groups = [CATEGORIES.index(g) for g in CAMVID.groups]
    coarse = confusion(np.array([[1, 1, 4, 0]]), np.array([[1, 1, 4, 4]]), 7)
    assert groups[1] == groups[7] == 1
    assert result.category_miou == pytest.approx(Scores(coarse).miou)


def test_classes_that_differ_need_a_map():
    data = Answers([([[0]], [[0]])])
    with pytest.raises(ZooError, match="give --map cityscapes-camvid"):
        evaluate(oracle(CITYSCAPES), data)
    with pytest.raises(ZooError, match="does not lead from"):
        evaluate(oracle(), data, Protocol(mapping=label_map("cityscapes-camvid")))


def test_flipping_takes_the_mean_with_the_mirror_image():
    def lopsided(x):
        """Class 1 where the column is in the left half, whatever the image."""
        left = (torch.arange(x.shape[3]) < x.shape[3] / 2).expand(x.shape[2:])
        out = torch.zeros(11, *x.shape[2:])
        out[1] = torch.where(left, 3.0, -1.0)
        return out

    network = Scored("lopsided", lopsided, PLAIN, CAMVID)
    data = Answers([([[0, 0, 0, 0]], [[1, 1, 1, 1]])])
    assert evaluate(network, data).scores.per_class_iou[1] == 50.0
    assert evaluate(network, data, Protocol(flip=True)).scores.per_class_iou[1] == 100.0


def test_the_boundary_score_sees_the_band_only():
    truth = np.zeros((20, 40), int)
    truth[:, 20:] = 1
    said = truth.copy()
    said[:, 0] = 2  # wrong, far from the boundary
    data = Answers([(said, truth)])
    result = evaluate(oracle(), data, Protocol(boundary=True))
    assert result.boundary.miou == 100.0
    assert result.scores.miou < 100.0


def tiny():
    begun = begin(__import__("zoo").spec("espnet-c-3", alpha2=0, alpha3=1), CAMVID, SIZE, 0)
    begun.module.preprocessing = begun.preprocessing
    return begun.module.eval()


def test_a_module_is_scored_as_its_predictions_say():
    module, data = tiny(), Scenes("val", SIZE, 2)
    from zoo.inference.segment import segment

    expected = sum(confusion(truth, segment(module, image), 11) for image, truth in map(data.load, range(2)))
    assert (evaluate(module_scored("tiny", module, CAMVID), data).scores.matrix == expected).all()


def test_an_onnx_file_scores_like_its_module(tmp_path):
    pytest.importorskip("onnxruntime")
    from zoo.evaluate.onnx import onnx_scored
    from zoo.export import export_onnx

    module, data = tiny(), Scenes("val", SIZE, 2)
    module.labels = "camvid"
    path = export_onnx(module, tmp_path / "tiny.onnx", size=SIZE).path
    a = evaluate(module_scored("tiny", module, CAMVID), data).scores
    b = evaluate(onnx_scored(path), data).scores
    assert abs(a.matrix - b.matrix).sum() <= 4  # near-ties
    with pytest.raises(ZooError, match="no such file"):
        onnx_scored(tmp_path / "gone.onnx")
    (tmp_path / "bad.onnx").write_bytes(b"rubbish")
    with pytest.raises(ZooError, match="onnxruntime cannot read it"):
        onnx_scored(tmp_path / "bad.onnx")


# The commands


@pytest.fixture
def small_scenes(monkeypatch):
    monkeypatch.setattr("zoo.data.datasets.Scenes", lambda split: Scenes(split, SIZE, 4))


TRAIN = [
    "train", "espnet-c-3", "--set", "alpha2=0", "--set", "alpha3=1", "--dataset", "scenes", "--size", "48x32",
    "--epochs", "1", "--batch", "2", "--threads", "1", "--json",
]  # fmt: skip


def test_train_then_eval(tmp_path, small_scenes, capsys):
    run = str(tmp_path / "run")
    assert main([*TRAIN, "-o", run]) == 0
    trained = json.loads(capsys.readouterr().out)
    assert trained.keys() >= {"run", "epochs", "best", "weights", "protocol"}
    out = tmp_path / "scores"
    options = ["--dataset", "scenes", "--threads", "1", "--json", "--boundary", "-o", str(out), "--pictures", "1"]
    assert main(["eval", run, *options]) == 0
    scores = json.loads(capsys.readouterr().out)
    assert scores["miou"] == pytest.approx(trained["best"]["miou"], abs=1e-6)
    assert len(scores["protocol"]["weights_sha256"]) == 64
    assert json.loads((out / "eval.json").read_text()) == scores
    width, height = Image.open(out / "0000.png").size
    assert width == 4 * 48 + 3 * 4
    assert height > 32, "titles above, a legend below"
    assert Image.open(out / "confusion.png").size[0] > 100
    assert main(["eval", trained["weights"], "--dataset", "scenes", "--threads", "1"]) == 0
    assert "mIOU" in capsys.readouterr().out


def test_resume_and_init_by_command(tmp_path, small_scenes, capsys):
    first, second = str(tmp_path / "a"), str(tmp_path / "b")
    more = ["--epochs", "2"]
    assert main([*TRAIN, *more, "--stop-after", "1", "-o", first]) == 0
    assert main([*TRAIN, *more, "-o", first]) == 1
    assert "--resume" in capsys.readouterr().err
    again = [*TRAIN[: TRAIN.index("--size")], "--threads", "1", "--json"]
    assert main([*again, "--resume", "--lr", "0.5", "-o", first]) == 1
    assert "its recipe is lr" in capsys.readouterr().err
    assert main([*again, "--resume", "-o", first]) == 0
    assert json.loads(capsys.readouterr().out)["epochs"] == 2
    assert main([*TRAIN, "--init", first, "--teacher", first, "-o", second]) == 0
    assert "0 fresh" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["eval", "espnet-c-3", "--dataset", "camvid"], "--data DIR"),
        (["eval", "gone.onnx", "--dataset", "scenes"], "gone.onnx: cannot be read: No such file or directory"),
        (["eval", "gone.safetensors", "--dataset", "scenes"], "there is no such file"),
        (["eval", "espnet-d", "--dataset", "scenes"], "did you mean"),
        (["eval", "espnet-c-3", "--dataset", "scenes", "--pictures", "2"], "-o DIR"),
        (["eval", "espnet-c-3", "--dataset", "scenes", "--map", "a-b"], "label map 'a-b' is unknown"),
        (["train", "espnet-c-3", "--dataset", "scenes", "--recipe", "best"], "recipe 'best' is unknown"),
        (["train", "espnet-c-3", "--dataset", "scenes", "--lr", "-1"], "lr must be above 0"),
        (["train", "espnet-3", "--dataset", "scenes", "--size", "50x30"], "multiple"),
    ],
)
def test_commands_that_cannot_be_run(words, said, tmp_path, capsys):
    assert main([*words, "--threads", "1"]) == 1
    assert said in capsys.readouterr().err


# Published weights


def test_the_authors_camvid_weights_score_as_stated(shared, monkeypatch):
    monkeypatch.setenv("ZOO_WEIGHTS_MIRROR", str(shared / "weights"))
    import pretrained

    torch.set_num_threads(1)
    module = pretrained.load("espnet-8.camvid-authors")
    result = evaluate(module_scored("authors", module, CAMVID), data_set("camvid", shared / "data/camvid", "val"))
    assert result.scores.miou == pytest.approx(69.4, abs=0.05)


def bundled():
    from pretrained.manifest import manifest

    return [entry for entry in manifest().weights if entry.bundled]


@pytest.mark.parametrize("entry", bundled(), ids=lambda entry: entry.name)
def test_bundled_weights_are_there_with_a_card_that_says_their_score(entry):
    from pretrained.manifest import PACKAGE
    from zoo.evaluate.segmentation import sha256_of
    from zoo.train.checkpoint import read_weights

    path = PACKAGE / entry.file
    kept = read_weights(path)
    assert (path.stat().st_size, sha256_of(path)) == (entry.bytes, entry.sha256)
    assert (kept.spec, kept.labels.name, kept.preprocessing) == (entry.spec, entry.labels, entry.preprocessing)
    text = path.with_name(f"{entry.name}.md").read_text(encoding="utf-8")
    assert f"mIOU {entry.miou.value:.2f}" in text
    assert entry.sha256 in text
    assert kept.about["command"] in text


def test_bundled_weights_score_as_their_cards_say(shared):
    """One of them, on every third image: the mIOU of so few lies within three points of the whole split's."""
    import pretrained

    torch.set_num_threads(1)
    entry = bundled()[0]
    data = data_set("camvid", shared / "data/camvid", "val")
    third = dataclasses.replace(data, samples=data.samples[::3])
    module = pretrained.load(entry.name)
    assert evaluate(module_scored(entry.name, module, CAMVID), third).scores.miou == pytest.approx(
        entry.miou.value, abs=3
    )
