"""A family of one's own, named in zoo.yaml: the page's way without editing the package, run as it stands."""

import json
import multiprocessing
import re
import sys
from pathlib import Path

import pytest
import yaml
from study_evaluators import Lowers

from search.study.engines.local import Task, attempt
from zoo import own_families
from zoo.cli import main
from zoo.config import load_config
from zoo.registry import FAMILIES, lower

PAGE = (Path(__file__).resolve().parents[1] / "docs" / "adding-a-family.md").read_text(encoding="utf-8")
MODULE = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)[0]
YAML = re.findall(r"^```yaml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)[0]


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """The page's folder, entered; what it adds to this process is taken back."""
    families, path = dict(FAMILIES), list(sys.path)
    (tmp_path / "my_unet.py").write_text(MODULE, encoding="utf-8")
    (tmp_path / "zoo.yaml").write_text(YAML, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    for name in set(FAMILIES) - set(families):
        del FAMILIES[name]  # type: ignore[attr-defined]
    own_families.OWN.clear()
    sys.path[:] = path
    sys.modules.pop("my_unet", None)


def document(capsys, *argv: str) -> dict:
    assert main([*argv, "--json"]) == 0, capsys.readouterr().err
    return json.loads(capsys.readouterr().out)


def test_the_commands_take_it(mine, capsys):
    shown = document(capsys, "show", "unet-small", "--size", "64x32")
    assert (shown["spec"]["family"], shown["spec"]["width"]) == ("unet", 16)
    cost = document(capsys, "predict", "unet-small", "--device", "tx2", "--size", "64x32")
    assert cost["latency_s"]["mean"] > 0
    found = document(capsys, "search", *SEARCH, "--objective", "latency,size", "-o", "run")
    assert found["enumerated"] == 6 and found["front"]
    assert main(["verify", "run"]) == 0, "a run's families are known before it is read"


SEARCH = ("--space", "unets", "--device", "tx2", "--size", "64x32", "--no-plots", "--confidence", "0.5")


def test_without_figures_the_refusal_names_training(mine, capsys):
    assert main(["search", *SEARCH, "-o", "run"]) == 1
    message = capsys.readouterr().err
    assert "knows no Cityscapes val figures" in message
    assert "--accuracy train" in message and "--objective latency,size" in message


def test_a_study_evaluates_it_in_a_process_of_its_own(mine):
    """The other process unpickles the spec, and knows the family by it."""
    load_config()
    spec = FAMILIES["unet"].spec(width=4, depth=1)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        outcome = pool.apply(attempt, (Lowers(), Task(0, spec, 0), report))
    assert (outcome.state, outcome.miou) == ("complete", len(lower(spec, (32, 32)).layers)), outcome.log


def report(epoch: int, miou: float) -> bool:
    return True


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"families": "my_unet"}, "families: must be a list of modules"),
        ({"families": ["../my_unet"]}, r"families\[0\]: must be the name of a module"),
        ({"families": [7]}, r"families\[0\]: must be the name of a module"),
        ({"families": ["not_there"]}, r"families\[0\]: module not_there cannot be imported .*put not_there.py beside"),
        ({"families": ["raises"]}, r"families\[0\]: module raises cannot be imported \(ZeroDivisionError"),
        ({"families": ["json"]}, r"families\[0\]: module json has no FAMILY"),
        ({"families": ["shadow"]}, r"families\[0\]: family 'espnet' of module shadow has the name of another"),
        ({"families": ["textwrap"]}, r"families\[0\]: python has another module textwrap.*rename it"),
    ],
)
def test_what_is_no_family_is_one_sentence(change, message, mine, capsys):
    (mine / "raises.py").write_text("1 / 0\n")
    (mine / "shadow.py").write_text("from zoo.models.espnet import FAMILY\n")
    (mine / "textwrap.py").write_text("")
    (mine / "zoo.yaml").write_text(yaml.safe_dump(change))
    assert main(["list"]) == 1
    error = capsys.readouterr().err.strip()
    assert re.search(message, error) and len(error.splitlines()) == 1, error


@pytest.mark.parametrize("mark", ["certificate.json", "study.json", "last.pt"])
def test_code_of_a_runs_folder_is_not_run(mark, mine, capsys):
    (mine / "my_unet.py").write_text("open('ran', 'w').close()\n")
    (mine / mark).touch()
    assert main(["list"]) == 1
    assert "holds a run, whose code is not run" in capsys.readouterr().err
    assert not (mine / "ran").exists()
