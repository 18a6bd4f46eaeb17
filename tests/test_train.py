"""Training: what each part computes, and that a run survives what stops it."""

import dataclasses
import math

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402
from torch.nn import functional  # noqa: E402

from zoo.data.classes import CAMVID, CITYSCAPES, LabelSet, labels_about, labels_from  # noqa: E402
from zoo.data.split import DataError  # noqa: E402
from zoo.data.synthetic import Scenes  # noqa: E402
from zoo.errors import ZooError  # noqa: E402
from zoo.evaluate.metrics import VOID  # noqa: E402
from zoo.inference.preprocess import Preprocessing, network_input  # noqa: E402
from zoo.models.espnet import ESPNetSpec  # noqa: E402
from zoo.network import build  # noqa: E402
from zoo.specs import as_dict  # noqa: E402
from zoo.train import checkpoint  # noqa: E402
from zoo.train.amp import PaddedConv, pad_convolutions_  # noqa: E402
from zoo.train.checkpoint import BEST, LAST, STATE, load_state, read_weights  # noqa: E402
from zoo.train.distil import Teacher  # noqa: E402
from zoo.train.loop import LOG, train  # noqa: E402
from zoo.train.loss import Loss, jaccard_loss  # noqa: E402
from zoo.train.normalise import Normalise  # noqa: E402
from zoo.train.parallel import Ranks  # noqa: E402
from zoo.train.recipe import RECIPES, Recipe, learning_rate, recipe  # noqa: E402
from zoo.train.start import SCRATCH, Start, begin  # noqa: E402
from zoo.train.trainer import Job, Trainer, TrainingError, average_  # noqa: E402
from zoo.train.transfer import classes_between, transfer_  # noqa: E402

SPEC = ESPNetSpec(variant="C", alpha2=0, alpha3=1, widths=(8, 16, 32), classes=11)
SIZE = (32, 48)
HOW = Recipe(epochs=3, size=SIZE, batch=3, lr=1e-2, warmup=0.5, ema=0.5)


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def job(run, how=HOW, data=None, **more):
    begun = begin(SPEC, CAMVID, how.size, how.seed)
    data = data or Scenes("train", SIZE, 6)
    about = {"model": "tiny", "spec": as_dict(begun.spec), "init": None}
    return Job(begun.module, begun.preprocessing, data, Scenes("val", SIZE, 2), how, run, about, **more)


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


# A run


@pytest.mark.parametrize("workers", [0, 2])
def test_a_resumed_run_ends_like_one_that_was_never_stopped(tmp_path, workers):
    whole = train(job(tmp_path / "whole", workers=workers))
    train(job(tmp_path / "halves"), stop_after=1)
    halves = train(job(tmp_path / "halves"), resume=True)
    assert [(r.epoch, r.loss, r.miou) for r in whole.rows] == [(r.epoch, r.loss, r.miou) for r in halves.rows]
    for name in (BEST, LAST):
        assert same(*(dict(read_weights(tmp_path / run / name).state) for run in ("whole", "halves")))


def test_training_learns(tmp_path):
    how = dataclasses.replace(HOW, epochs=12, scale=(1.0, 1.0), flip=0.0, colour=0.0)
    rows = train(job(tmp_path, how)).rows
    assert rows[-1].loss < 0.7 * rows[0].loss


def test_what_a_run_leaves_says_what_it_is(tmp_path):
    training = train(job(tmp_path), stop_after=2)
    kept = read_weights(training.weights)
    assert (kept.spec, kept.labels, kept.preprocessing.size) == (SPEC, CAMVID, SIZE)
    assert kept.about["recipe"]["lr"] == HOW.lr
    assert kept.about["miou"] == training.best.miou
    log = (tmp_path / LOG).read_text().splitlines()
    assert log[0].startswith("epoch,loss,miou")
    assert len(log) == 3


def test_a_label_set_that_nobody_declared_travels_with_the_weights(tmp_path):
    own = LabelSet("tissue", ("a", "b"), ((0, 0, 0), (1, 2, 3)))
    assert labels_from(labels_about(own)) == own
    assert labels_about(CAMVID) == "camvid"
    with pytest.raises(ZooError, match="must be one of"):
        labels_from("nonsense")


def test_a_card_says_where_weights_come_from_and_what_they_score(tmp_path):
    from zoo.evaluate.segmentation import evaluate, module_scored
    from zoo.train.card import Origin, card

    training = train(job(tmp_path), stop_after=1)
    kept = read_weights(training.weights)
    module = build(kept.spec, SIZE).eval()
    module.load_state_dict(kept.state)
    module.preprocessing = kept.preprocessing
    scores = evaluate(module_scored("tiny", module, CAMVID), Scenes("val", SIZE, 2)).document()
    text = card(kept, scores, 1, Origin("tiny.scenes", "zoo train tiny", "2 cores", 0.1, ("Made for a test.",)))
    assert scores["miou"] == pytest.approx(training.best.miou)
    for said in ("tiny.scenes", "zoo train tiny", "random weights", "lr 0.01", "| car |", f"mIOU {scores['miou']:.2f}"):
        assert said in text


def test_a_run_may_be_scored_now_and_then(tmp_path):
    training = train(job(tmp_path / "a", score_every=2))
    assert [row.miou is not None for row in training.rows] == [False, True, True]
    every = train(job(tmp_path / "b"))
    assert training.rows[2].miou == every.rows[2].miou
    early = train(job(tmp_path / "c", score_every=2), stop_after=1)
    assert early.best is None
    assert early.weights.name == LAST
    assert early.weights.is_file()


def test_larger_images_are_scored_at_the_size_that_the_network_is_trained_at(tmp_path):
    larger = Scenes("val", (2 * SIZE[0], 2 * SIZE[1]), 2)
    trainer = Trainer(dataclasses.replace(job(tmp_path), val=larger))
    seen = []
    trainer.mean.register_forward_pre_hook(lambda module, inputs: seen.append(tuple(inputs[0].shape[2:])))
    matrix = trainer.score().matrix
    assert seen == [SIZE, SIZE]
    assert matrix.sum() == sum((larger.load(i)[1] != VOID).sum() for i in range(2))


def test_a_run_is_not_overwritten(tmp_path):
    train(job(tmp_path), stop_after=1)
    with pytest.raises(ZooError, match="--resume"):
        train(job(tmp_path))


class Interrupting(Scenes):
    """Scenes of which one cannot be read after so many reads."""

    def __init__(self, after, error):
        super().__init__("train", SIZE, 6)
        object.__setattr__(self, "state", {"left": after, "error": error})

    def load(self, index):
        self.state["left"] -= 1
        if self.state["left"] < 0:
            raise self.state["error"]
        return super().load(index)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), DataError("7.png: is cut off or damaged")])
def test_what_stops_a_run_costs_the_current_epoch_only(tmp_path, monkeypatch, error):
    monkeypatch.setattr("zoo.train.trainer.Cache", lambda data: data.load)  # every epoch reads its files
    stopped = Interrupting(6 + 6 + 6 + 2, error)  # class weights, two epochs, two samples of the third
    with pytest.raises(type(error)):
        train(job(tmp_path, data=stopped, workers=0))
    resumed = train(job(tmp_path), resume=True)
    straight = train(job(tmp_path / "straight"))
    assert [r.loss for r in resumed.rows] == [r.loss for r in straight.rows]


def test_a_loss_that_is_no_number_stops_with_the_last_good_state(tmp_path):
    train(job(tmp_path), stop_after=1)
    good = dict(read_weights(tmp_path / LAST).state)
    state = torch.load(tmp_path / STATE, weights_only=True)
    state["module"]["classifier.conv.weight"].fill_(math.inf)
    torch.save(state, tmp_path / STATE)
    with pytest.raises(TrainingError, match=r"the loss is nan in epoch 2; the state after epoch 1 is kept"):
        train(job(tmp_path), resume=True)
    assert same(good, dict(read_weights(tmp_path / LAST).state))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"how": dataclasses.replace(HOW, lr=1e-3)}, "recipe is lr 0.01 and not 0.001"),
        ({"data": Scenes("train", SIZE, 5)}, r"images is \[6, 2\] and not \[5, 2\]"),
    ],
)
def test_a_checkpoint_of_another_run_is_refused(tmp_path, change, said):
    train(job(tmp_path), stop_after=1)
    with pytest.raises(ZooError, match=said):
        train(job(tmp_path, **change), resume=True)


def test_a_checkpoint_of_another_spec_is_refused(tmp_path):
    train(job(tmp_path), stop_after=1)
    other = job(tmp_path)
    other = dataclasses.replace(other, about={**other.about, "spec": as_dict(dataclasses.replace(SPEC, alpha3=2))})
    with pytest.raises(ZooError, match="its spec is alpha3 1 and not 2"):
        train(other, resume=True)


def test_resuming_from_nothing_or_from_rubbish(tmp_path):
    with pytest.raises(ZooError, match="no checkpoint to resume"):
        load_state(tmp_path, {})
    (tmp_path / STATE).write_bytes(b"rubbish")
    with pytest.raises(ZooError, match="is no checkpoint of a run"):
        load_state(tmp_path, {})


def test_a_full_disk_leaves_the_last_checkpoint(tmp_path, monkeypatch):
    train(job(tmp_path), stop_after=1)
    before = (tmp_path / STATE).read_bytes()

    def full(state, path):
        path.write_bytes(b"half")
        raise RuntimeError("PytorchStreamWriter failed writing file: No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(ZooError, match=r"last\.pt: cannot be written: .*No space"):
        train(job(tmp_path), resume=True)
    assert (tmp_path / STATE).read_bytes() == before
    assert not list(tmp_path.glob("*.part"))


def test_weights_that_say_nothing_of_themselves(tmp_path):
    (tmp_path / "x.safetensors").write_bytes(b"rubbish")
    with pytest.raises(ZooError, match="cannot be read as weights"):
        read_weights(tmp_path / "x.safetensors")
    checkpoint.save_weights(tmp_path / "y.safetensors", {"a": torch.ones(1)}, {"spec": {}})
    with pytest.raises(ZooError, match="lacks labels, preprocessing"):
        read_weights(tmp_path / "y.safetensors")


def test_accumulated_parts_make_the_same_step(tmp_path):
    """Without BN in training mode a batch in three parts gives the gradients of the batch."""
    how = dataclasses.replace(HOW, class_weights=False, jaccard=0.0, ema=0.0, epochs=1, scale=(1.0, 1.0))
    states = []
    for parts in (1, 3):
        one = job(tmp_path / str(parts), dataclasses.replace(how, accumulate=parts))
        for module in one.module.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.forward = lambda x, m=module: x * m.weight[:, None, None] + m.bias[:, None, None]
        train(one)
        states.append(read_weights(tmp_path / str(parts) / LAST).state)
    for name in states[0]:
        assert torch.allclose(states[0][name], states[1][name], atol=2e-3), name


# The parts


def logits_and_labels():
    g = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 3, (2, 8, 8), generator=g)
    labels[:, :2] = VOID
    return torch.randn(2, 3, 8, 8, generator=g), labels


def test_the_loss_is_torchs_weighted_cross_entropy():
    logits, labels = logits_and_labels()
    weights = torch.tensor([1.0, 2.0, 3.0])
    expected = functional.cross_entropy(logits, labels, weights, ignore_index=VOID)
    assert torch.allclose(Loss(weights)(logits, labels), expected)
    small = functional.interpolate(logits, scale_factor=0.25)
    up = functional.interpolate(small, size=(8, 8), mode="bilinear", align_corners=False)
    assert torch.allclose(
        Loss(weights)(small, labels), functional.cross_entropy(up, labels, weights, ignore_index=VOID)
    )
    sub = labels[:, ::4, ::4]
    expected = functional.cross_entropy(small, sub, weights, ignore_index=VOID)
    assert torch.allclose(Loss(weights, at="network")(small, labels), expected)


def test_the_soft_jaccard_loss_is_one_less_the_miou_where_the_network_is_certain():
    logits, labels = logits_and_labels()
    found = logits.argmax(1)
    certain = functional.one_hot(found, 3).permute(0, 3, 1, 2) * 100.0
    from zoo.evaluate.metrics import Scores, confusion

    scores = Scores(confusion(labels.numpy(), found.numpy(), 3))
    loss = jaccard_loss(functional.log_softmax(certain, 1), labels)
    assert loss.item() == pytest.approx(1 - scores.miou / 100, abs=1e-5)


def test_void_pixels_have_no_gradient():
    logits, labels = logits_and_labels()
    logits.requires_grad_()
    Loss(torch.ones(3), jaccard=1.0)(logits, labels).backward()
    assert (logits.grad[:, :, :2] == 0).all()
    assert (logits.grad[:, :, 2:] != 0).any()


def test_a_class_that_never_occurs_keeps_the_loss_finite():
    logits, labels = logits_and_labels()
    labels[labels == 2] = 0
    assert Loss(torch.ones(3), jaccard=1.0)(logits, labels).isfinite()


@pytest.mark.parametrize(
    "how",
    [
        Preprocessing(),
        SCRATCH,
        Preprocessing(channels="BGR", maximum=255, mean=(72.4, 82.9, 73.2), std=(45.3, 46.2, 44.9), divisor=255),
    ],
)
def test_batches_are_normalised_as_single_images_are(how):
    image = Scenes("train", SIZE, 1).load(0)[0]
    batch = Normalise(how)(torch.from_numpy(image)[None])
    assert torch.allclose(batch, network_input(image, how), atol=1e-6)


def test_learning_rates_by_hand():
    how = Recipe(epochs=10, lr=1.0, warmup=2.0)
    assert learning_rate(how, 1.0) == 0.5
    assert learning_rate(how, 2.0) == 1.0
    assert learning_rate(how, 10.0) == pytest.approx(0.0)
    assert learning_rate(dataclasses.replace(how, schedule="poly"), 6.0) == pytest.approx(0.5**0.9)
    step = dataclasses.replace(how, schedule="step", warmup=0.0, halve_every=4)
    assert [learning_rate(step, e) for e in (0, 3.9, 4, 8)] == [1.0, 1.0, 0.5, 0.25]
    cyclic = dataclasses.replace(how, schedule="cyclic", warmup=0.0)
    assert [round(learning_rate(cyclic, e), 3) for e in (0, 1.5, 4, 5)] == [1.0, 0.8, 0.2, 1.0]


def test_the_published_recipe_is_what_the_paper_says():
    how = RECIPES["authors"]
    assert (how.optimizer, how.lr, how.weight_decay, how.epochs, how.halve_every) == ("adam", 5e-4, 5e-4, 300, 100)
    assert (how.loss_at, how.schedule, how.jaccard, how.ema) == ("network", "step", 0.0, 0.0)


@pytest.mark.parametrize(
    "wrong", [{"epochs": 0}, {"accumulate": 3, "batch": 8}, {"lr": math.nan}, {"ema": 1.0}, {"jaccard": -1.0}]
)
def test_a_recipe_that_cannot_be(wrong):
    with pytest.raises(ZooError, match="recipe"):
        Recipe(**wrong)
    with pytest.raises(ZooError, match="did you mean 'authors'"):
        recipe("author")


def test_the_running_mean_is_one():
    a, b = nn.BatchNorm2d(2), nn.BatchNorm2d(2)
    nn.init.constant_(a.weight, 0.0)
    nn.init.constant_(b.weight, 1.0)
    average_(a, b, 0.75)
    average_(a, b, 0.75)
    assert torch.allclose(a.weight, torch.full((2,), 1 - 0.75**2))


def test_padded_convolutions_compute_the_same():
    torch.manual_seed(0)
    module = build(ESPNetSpec(variant="C", alpha2=0, alpha3=1, classes=11), (64, 96)).train()
    x = torch.randn(2, 3, 64, 96)
    names = list(module.state_dict())
    before = module(x)
    assert pad_convolutions_(module) > 0
    assert any(isinstance(m, PaddedConv) for m in module.modules())
    assert torch.allclose(module(x), before, atol=1e-5)
    assert list(module.state_dict()) == names


def test_a_step_in_bfloat16_goes_the_way_of_one_in_float32():
    torch.manual_seed(0)
    module = build(ESPNetSpec(variant="C", alpha2=0, alpha3=1, classes=11), (64, 96)).to(
        memory_format=torch.channels_last
    )
    pad_convolutions_(module)
    x = torch.randn(2, 3, 64, 96).to(memory_format=torch.channels_last)
    labels = torch.randint(0, 11, (2, 64, 96))
    gradients = []
    for amp in (False, True):
        module.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=amp):
            logits = module(x)
        Loss()(logits, labels).backward()
        gradients.append(
            torch.cat([p.grad.flatten() for n, p in module.named_parameters() if n.endswith("conv.weight")])
        )
    assert functional.cosine_similarity(*gradients, dim=0) > 0.97


# Weights to start from


def test_the_encoder_starts_the_network_with_a_decoder_and_back():
    encoder = build(SPEC, (64, 96))
    whole = build(dataclasses.replace(SPEC, variant="ESPNet"), (64, 96))
    done = transfer_(whole, encoder.state_dict())
    assert set(done.copied) >= {"encoder.level1.conv.weight", "encoder.classifier.conv.weight"}
    assert all(name.startswith("encoder.") for name in done.copied)
    back = build(SPEC, (64, 96))
    assert transfer_(back, whole.state_dict()).fresh == ()
    assert same(
        {k: v for k, v in back.state_dict().items() if "tracked" not in k},
        {k: v for k, v in encoder.state_dict().items() if "tracked" not in k},
    )


def test_classes_are_copied_where_they_correspond():
    torch.manual_seed(1)
    source = build(dataclasses.replace(SPEC, classes=20), (64, 96))
    begun = begin(SPEC, CAMVID, (64, 96), 0, Start(source.state_dict(), 20, CITYSCAPES, SCRATCH))
    weights = begun.module.get_submodule("classifier.conv").weight
    before = source.get_submodule("classifier.conv").weight
    for name, old in (("road", "road"), ("pavement", "sidewalk"), ("tree", "vegetation"), ("sign", "traffic light")):
        assert torch.equal(weights[CAMVID.index(name)], before[CITYSCAPES.index(old)])
    assert begun.transfer.by_class == ("classifier.conv.weight",)
    assert begun.transfer.fresh == ()


def test_every_camvid_class_starts_from_one_of_cityscapes():
    sources = classes_between(CITYSCAPES, 20, CAMVID).sources
    assert None not in sources
    assert len(set(sources)) == 11


def test_weights_of_which_nothing_fits():
    with pytest.raises(ZooError, match="no tensor of these weights fits"):
        begin(SPEC, CAMVID, (64, 96), 0, Start({"x": torch.ones(1)}, 11, CAMVID, SCRATCH))


# Distillation and several processes


def test_a_student_like_its_teacher_has_nothing_to_learn():
    torch.manual_seed(0)
    module = build(SPEC, (32, 48)).eval()
    images = torch.from_numpy(np.stack([Scenes("train", SIZE, 2).load(i)[0] for i in range(2)]))
    logits = module(Normalise(SCRATCH)(images))
    teacher = Teacher(module, SCRATCH, 11)
    assert teacher.loss(logits, images).item() == pytest.approx(0.0, abs=1e-6)
    other = (logits + torch.randn_like(logits)).detach().requires_grad_()
    loss = teacher.loss(other, images)
    loss.backward()
    assert loss > 0
    assert teacher.loss(other - 0.01 * other.grad / other.grad.norm(), images) < loss


def test_a_teacher_takes_part_in_a_run(tmp_path):
    module = build(dataclasses.replace(SPEC, alpha3=2), SIZE)
    plain = train(job(tmp_path / "plain"), stop_after=1).rows[0].loss
    taught = train(job(tmp_path / "taught", teacher=Teacher(module, SCRATCH, 11)), stop_after=1).rows[0].loss
    assert taught > plain


def test_processes_share_a_batch_without_overlap():
    batch = np.arange(7)
    parts = [Ranks(rank, 3).share(batch) for rank in range(3)]
    assert sorted(np.concatenate(parts)) == batch.tolist()
    with pytest.raises(ZooError, match="make --batch larger"):
        Ranks(0, 8).share(batch)


def test_compiled_loss_and_its_gradient_are_those_of_the_loss(monkeypatch):
    """Without inductor, which needs a C++ compiler: what is asked is how the parts are put together."""
    whole = torch.compile
    monkeypatch.setattr(torch, "compile", lambda module: whole(module, backend="aot_eager"))
    torch.manual_seed(0)
    labels = torch.randint(0, 4, (2, 12, 16))
    labels[0, :3] = VOID
    for at in ("image", "network"):
        loss = Loss(torch.tensor([1.0, 2.0, 3.0, 4.0]), jaccard=0.5, at=at)
        compiled = loss.compiled()
        for size in ((12, 16), (6, 8)):
            found = []
            for of in (loss, compiled):
                logits = torch.linspace(-9, 9, 8 * size[0] * size[1]).sin().reshape(2, 4, *size).requires_grad_()
                value = of(logits, labels)
                value.backward()
                found.append((value.detach(), logits.grad))
            torch.testing.assert_close(found[1], found[0])


def test_share_of_time_waiting_for_data(tmp_path, monkeypatch):
    now = [0.0]

    def batches(self, indices):
        for _ in indices:
            now[0] += 3.0
            yield None

    def step(self, batch, rate):
        now[0] += 1.0
        return 0.5

    monkeypatch.setattr("zoo.train.trainer.time.perf_counter", lambda: now[0])
    monkeypatch.setattr(Trainer, "_batches", batches)
    monkeypatch.setattr(Trainer, "_step", step)
    said = []
    row = train(job(tmp_path / "run"), stop_after=1, progress=said.append).rows[0]
    assert row.waiting == 0.75
    assert "75% waiting for data" in said[-1]
    assert (tmp_path / "run" / LOG).read_text(encoding="utf-8").splitlines()[1].endswith(",0.75")
