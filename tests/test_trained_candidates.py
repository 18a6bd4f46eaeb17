"""A study whose candidates were really trained, from its folder to a file that somebody takes away."""

import json
import shutil
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("optuna", reason="optuna is not installed; pip install 'edgeseg-zoo[optuna]'")
pytest.importorskip("torch", reason="training needs torch")
pytest.importorskip("onnx", reason="onnx is not installed; pip install 'edgeseg-zoo[onnx]'")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed; pip install 'edgeseg-zoo[onnx]'")

from dataclasses import replace

import onnx
import torch

from search.device_at import DeviceAt
from search.model_ref import candidate, resolve
from search.opening import open_model, start_from
from search.query import Query
from search.runs.weights import trained_weights
from search.space import SearchSpace
from search.study.config import StudyConfig
from search.study.engines.local import Inline
from search.study.evaluators import Held, Train, trained_spec
from search.study.results import write_results
from search.study.study import start
from zoo import spec
from zoo.bulk.choices import Choices
from zoo.cli import main
from zoo.config import load_config
from zoo.data.classes import CAMVID
from zoo.errors import ConfigError
from zoo.specs import as_dict

SPACE = SearchSpace(Choices("espnet", {"variant": ("C", "ESPNet"), "alpha2": (1,), "alpha3": (1, 2)}), (64, 128))
QUERY = Query(space=SPACE, devices=(DeviceAt("tx2"),), objectives=("miou", "params"))
PLAN = StudyConfig(
    accuracy="train", dataset="made", trials=2, epochs=1, long_epochs=2, promote=2, repeats=1,
    sampler="random", changes={"batch": 2, "lr": 2e-3}, size=(32, 64),
)  # fmt: skip


@contextmanager
def made_data():
    """Plans train on four made images, in this process."""
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 255, (32, 64, 3), dtype=np.uint8) for _ in range(4)]
    masks = [rng.integers(0, 11, (32, 64), dtype=np.uint8) for _ in range(4)]
    samples = tuple(zip(images, masks, strict=True))
    sets = (Held("made", "train", CAMVID, samples), Held("made", "val", CAMVID, samples[:2]))
    planned = StudyConfig.evaluators

    def evaluators(config, folder, images):
        return tuple(replace(one, sets=sets) for one in planned(config, folder, images))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(StudyConfig, "evaluators", evaluators)
        yield


def inline(evaluator, decide, logs, config):
    return Inline(evaluator, decide)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A study of two candidates, which train for longer and their front again with another seed."""
    folder = tmp_path_factory.mktemp("study") / "run"
    with made_data():
        write_results(start(QUERY, PLAN, folder, engine=inline), folder)
    return folder


def front_of(run):
    return json.loads((run / "front.json").read_text())["front"]


def test_the_front_names_the_weights_of_its_first_runs(run):
    for i, one in enumerate(front_of(run)):
        kept = trained_weights(f"{run}#{i + 1}")
        assert kept.path == run / "trained" / "long" / f"{one['trial']:04}" / "best.safetensors"
        assert len(one["runs"]) == 2, "its own seed and another"
        assert one["miou_source"] == "trained (long protocol, 2 runs; interval at 0.95)"
        assert 0 <= one["miou"]["low"] <= one["miou"]["mean"] <= one["miou"]["high"] <= 100


def test_a_candidate_is_exported_as_it_was_trained(run, tmp_path, capsys):
    import onnxruntime

    path = tmp_path / "net.onnx"
    assert main(["export", f"{run}#1", "-o", str(path), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    opened = open_model(resolve(f"{run}#1", load_config()))
    module, weights = opened.module, opened.taken
    image = torch.from_numpy(np.random.default_rng(1).standard_normal((1, 3, 32, 64), dtype=np.float32))
    found = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"]).run(None, {"image": image.numpy()})
    with torch.no_grad():
        expected = module(image)
    assert np.allclose(found[0], expected.numpy(), atol=1e-4)
    said = {one.key: one.value for one in onnx.load(path).metadata_props}
    assert said["weights_sha256"] == weights.sha256
    assert (said["labels"], len(json.loads(said["classes"]))) == ("camvid", 11)
    assert document["weights"] == weights.name
    card = (tmp_path / "net.md").read_text()
    assert "classes 11 instead of 20" in card
    assert f"| {module.graph.params:,} |" in card
    assert "--train-set batch=2 --train-set lr=0.002" in document["command"]
    assert document["command"] in card
    assert "zoo verify" not in card


def test_a_candidate_is_weights_to_start_from_and_to_score(run):
    model = resolve(f"{run}#1", load_config())
    opened = open_model(model)
    module, labels, digest = opened.module, opened.labels, opened.taken.sha256
    kept = trained_weights(f"{run}#1")
    assert digest == kept.sha256
    assert labels == CAMVID
    start = start_from(model)
    assert start.outputs == module.graph.output_shapes[0].channels == 11
    assert all(
        torch.equal(value, start.state[name]) for name, value in module.state_dict().items() if value.numel() > 1
    )


def test_zoo_yaml_takes_the_spec_back(run, tmp_path, capsys):
    path = tmp_path / "net.onnx"
    assert main(["export", f"{run}#1", "-o", str(path)]) == 0
    entry = (tmp_path / "net.md").read_text().split("```yaml\n")[1].split("```")[0]
    (tmp_path / "zoo.yaml").write_text(entry)
    capsys.readouterr()
    assert main(["show", "my-network", "--config", str(tmp_path / "zoo.yaml"), "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)["spec"]
    assert shown == as_dict(trained_spec(candidate(f"{run}#1"))) | {"classes": 11}


def test_the_command_on_the_card_asks_the_same_again(run, tmp_path, monkeypatch):
    import shlex

    from zoo.cli import parser, study
    from zoo.cli.search import _query

    main(["export", f"{run}#1", "-o", str(tmp_path / "net.onnx")])
    card = (tmp_path / "net.md").read_text()
    (tmp_path / "zoo.yaml").write_text(card.split("```yaml\n")[2].split("```")[0])
    line = shlex.split(card.split("```sh\n")[1].split("```")[0])
    args = parser().parse_args([*line[1:], "--config", str(tmp_path / "zoo.yaml")])
    query, config, _ = study._configured(args, _query(args))
    assert config == PLAN
    settled = replace(QUERY, devices=query.devices)
    assert query == settled


@pytest.mark.parametrize("way", ["changed", "missing", "outside", "damaged"])
def test_weights_that_are_not_the_runs_own_are_refused(way, run, tmp_path, capsys):
    copy = tmp_path / "copy"
    shutil.copytree(run, copy)
    document = json.loads((copy / "front.json").read_text())
    kept = document["front"][0]["weights"]
    file = copy / kept["path"]
    says = {"changed": "not those that", "missing": "missing", "outside": "outside of the run", "damaged": "damaged"}
    if way == "changed":
        file.write_bytes(file.read_bytes()[:-1] + b"\x01")
    elif way == "missing":
        file.unlink()
    elif way == "outside":
        kept["path"] = str(Path("..") / "elsewhere.safetensors")
    else:
        kept.pop("sha256")
    (copy / "front.json").write_text(json.dumps(document))
    assert main(["export", f"{copy}#1", "-o", str(tmp_path / "net.onnx")]) == 1
    assert says[way] in capsys.readouterr().err
    assert not (tmp_path / "net.onnx").exists()


def test_the_follow_up_may_change_until_something_trained_by_it(run, tmp_path):
    shutil.copytree(run, tmp_path / "begun")
    few = replace(PLAN, trials=1, promote=0)
    with made_data():
        with pytest.raises(ConfigError, match=r"follow_up\.epochs is 2 there and 3 here"):
            start(QUERY, replace(PLAN, long_epochs=3), tmp_path / "begun", engine=inline, resume=True)
        assert start(QUERY, few, tmp_path / "new", engine=inline).followed == []
        more = replace(few, promote=1, repeats=0, long_epochs=3)
        result = start(QUERY, more, tmp_path / "new", engine=inline, resume=True)
    assert [sorted(one.reports) for one in result.followed] == [[1, 2, 3]]


def test_the_decoder_keeps_the_width_that_was_priced():
    assert trained_spec(spec("espnet")).decoder_width == 20
    for name in ("espnet-c", "espnetv2-1.0", "enet"):
        assert trained_spec(spec(name)) == spec(name)
    own = spec("espnet", decoder_width=12)
    assert trained_spec(own) == own


@pytest.mark.parametrize(
    ("changes", "says"),
    [({"batchs": 2}, "did you mean 'batch'"), ({"seed": 2}, "is no field"), ({"lr": "fast"}, "--train-set")],
)
def test_a_recipe_that_means_nothing_is_refused_before_anything_trains(changes, says, tmp_path):
    with pytest.raises(ConfigError, match=says):
        Train("made", None, 2, (32, 64), tmp_path, changes=changes)._how(0)
