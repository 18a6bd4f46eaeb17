"""The shortlist, networks with weights, comparisons, and a certificate that covers every value of a run's folder."""

import csv
import io
import json
import shutil
from dataclasses import replace
from hashlib import sha256

import numpy as np
import pytest

import search.exact
from hw_models.predictors import predictor
from search import kept_answer
from search.accuracy import accuracy_model
from search.accuracy.linear import points
from search.certificate import NotVerified
from search.compare import Subject, compare
from search.device_at import DeviceAt
from search.differences import check_csv
from search.exact import search as exact
from search.query import Query
from search.runs.folder import read_json, write_texts
from search.runs.reader import conditions_of
from search.runs.writer import write
from search.shortlist import Candidates, entries_of, knowledge_gradient, shortlist, shortlist_of
from search.space import SearchSpace, digest
from search.table_files import TableFiles, table_files_of
from search.verification import Again, verify
from search.with_weights import with_weights
from zoo.bulk.choices import Choices
from zoo.cli import main
from zoo.config import Limits
from zoo.errors import NegativeAnswer
from zoo.own_families import OWN
from zoo.registry import lower

pytestmark = pytest.mark.usefixtures("shared_tables")

SMALL = SearchSpace(Choices("espnet", {"variant": ("C", "ESPNet"), "alpha3": (3, 5), "k": (4, 5)}), (256, 512))
ASKED = Query(space=SMALL, devices=(DeviceAt("tx2"),), limits=Limits(max_power_w=2.5, max_params=400_000))


@pytest.fixture(scope="module")
def result():
    return exact(ASKED)


@pytest.fixture(scope="module")
def run(result, tmp_path_factory):
    folder = tmp_path_factory.mktemp("answer") / "run"
    folder.mkdir()
    write(ASKED, result, folder)
    return folder


def leaves(value, path=()):
    """Paths of all plain values of a JSON document."""
    if isinstance(value, dict):
        return [leaf for key, item in value.items() for leaf in leaves(item, (*path, key))]
    if isinstance(value, list) and value:
        return [leaf for i, item in enumerate(value) for leaf in leaves(item, (*path, i))]
    return [path]


def other(value):
    """Another value of the same kind."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, (int, float)):
        return value + 1
    return "x" if value is None or isinstance(value, list) else f"{value}x"


def changed(document, path):
    copy = json.loads(json.dumps(document))
    at = copy
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = other(at[path[-1]])
    return copy


def hashed_anew(folder):
    certificate, document = read_json(folder / "certificate.json"), read_json(folder / "front.json")
    certificate["front_sha256"] = digest(document["front"])
    certificate["files"] = {name: sha256((folder / name).read_bytes()).hexdigest() for name in certificate["files"]}
    (folder / "certificate.json").write_text(json.dumps(certificate, indent=1) + "\n")


def test_every_value_of_front_json_is_computed_again(run):
    document, again = read_json(run / "front.json"), Again(ASKED)
    again.check_definition(again.places(document["front"]))

    def check(one):
        places = again.places(one["front"])
        again.check_document(one, places)  # first, because it is quick
        again.check_definition(places)

    check(document)
    for path in leaves(document):
        with pytest.raises((NotVerified, KeyError, TypeError, ValueError, AttributeError)):
            check(changed(document, path))


@pytest.mark.parametrize("name", ["front.csv", "sample.csv"])
def test_every_value_of_the_tables_is_computed_again(name, run):
    text = (run / name).read_text()
    again = Again(ASKED)
    again.check_sample((run / "sample.csv").read_text())
    rows = list(csv.reader(io.StringIO(text)))
    for i, row in enumerate(rows):
        for k, cell in enumerate(row):
            copy = [list(r) for r in rows]
            copy[i][k] = f"{float(cell) * 1.01 + 1}" if cell.replace(".", "").isdecimal() else cell + "x"
            out = io.StringIO()
            csv.writer(out, lineterminator="\n").writerows(copy)
            with pytest.raises(NotVerified):
                check_csv(name, out.getvalue(), text)
                again.check_sample(out.getvalue())


def test_every_value_of_the_certificate_is_checked(run, tmp_path):
    document, again = read_json(run / "certificate.json"), Again(ASKED)
    front = read_json(run / "front.json")["front"]
    again.check_certificate(document, front)
    for path in leaves(document):
        if path[0] in ("asked", "files") or path == ("basis", "version"):
            continue
        with pytest.raises(NotVerified):
            again.check_certificate(changed(document, path), front)
    for path in [("files", "front.csv"), ("asked", "confidence"), ("asked", "limits", "max_params")]:
        folder = shutil.copytree(run, tmp_path / "-".join(path))
        one = json.loads(json.dumps(document))
        at = one
        for key in path[:-1]:
            at = at[key]
        at[path[-1]] = 0.8 if path[-1] == "confidence" else other(at[path[-1]])
        (folder / "certificate.json").write_text(json.dumps(one))
        with pytest.raises(NotVerified):
            verify(folder)


def test_a_run_of_another_version_still_verifies_and_says_so(run, tmp_path, capsys):
    folder = shutil.copytree(run, tmp_path / "older")
    certificate = read_json(folder / "certificate.json")
    for version, code in (("0.1.9", 0), (7, 3)):
        certificate["basis"]["version"] = version
        (folder / "certificate.json").write_text(json.dumps(certificate))
        assert main(["verify", str(folder)]) == code
    assert "was written by version 0.1.9" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["front.csv", "sample.csv"])
def test_a_table_that_was_changed_and_hashed_anew_does_not_verify(name, run, tmp_path, capsys):
    folder = shutil.copytree(run, tmp_path / "copy")
    assert main(["verify", str(folder)]) == 0
    text = (folder / name).read_text()
    (folder / name).write_text(text.replace("\n1,", "\n7,", 1))
    hashed_anew(folder)
    assert main(["verify", str(folder)]) == 3
    assert name in capsys.readouterr().err


def test_a_table_that_is_only_spelt_otherwise_fails_by_its_hash(run, tmp_path):
    folder = shutil.copytree(run, tmp_path / "copy")
    (folder / "front.csv").write_text((folder / "front.csv").read_text().replace("400000", "400000.0") + "\n")
    with pytest.raises(NotVerified, match=r"front\.csv"):
        verify(folder)


def test_a_shortlist_is_short_and_its_members_differ(result):
    found = shortlist_of(result.query, result.specs, result.clocks)
    assert 1 <= len(found.places) <= 10
    assert found.places[0] == 0
    assert sum(found.p_best) <= 1
    listed = entries_of(result.query, found, result.front)
    assert [one["rank"] for one in listed] == sorted(one["rank"] for one in listed)
    assert sum(one["knee"] for one in listed) <= 1
    assert all(0 <= one["indistinguishable"] < len(result.specs) for one in listed)
    assert shortlist_of(result.query, result.specs, result.clocks) == found


@pytest.fixture
def texts(run):
    return {name: (run / name).read_text(encoding="utf-8") for name in kept_answer.ANSWER_FILES}


def test_an_answer_is_kept_under_its_query_and_all_it_rests_on(texts, tmp_path, monkeypatch):
    files = TableFiles(tmp_path)
    assert kept_answer.kept_answer(ASKED, files) is None
    kept_answer.keep_answer(ASKED, texts, files)
    assert kept_answer.kept_answer(ASKED, files) == texts
    assert kept_answer.kept_answer(ASKED, None) is None
    for other in (
        replace(ASKED, confidence=0.8),
        replace(ASKED, limits=Limits(max_power_w=2.4, max_params=400_000)),
        replace(ASKED, objectives=("miou", "size")),
        ASKED.at([DeviceAt("tx2", 850.0)]),
    ):
        assert kept_answer.kept_answer(other, files) is None
    (path,) = tmp_path.iterdir()
    with monkeypatch.context() as patched:
        patched.setattr(kept_answer, "code_digest", lambda sources: "another code")
        assert kept_answer.kept_answer(ASKED, files) is None
    path.write_bytes(path.read_bytes()[:-1])
    assert kept_answer.kept_answer(ASKED, files) is None


def test_a_kept_answer_with_other_files_is_none(texts, tmp_path):
    files = TableFiles(tmp_path)
    kept_answer.keep_answer(ASKED, {name: texts[name] for name in list(texts)[:-1]} | {"../x": "x"}, files)
    assert kept_answer.kept_answer(ASKED, files) is None


def test_what_is_written_of_a_kept_answer_verifies_and_is_the_same(texts, run, tmp_path):
    document = write_texts(texts, tmp_path)
    assert document == read_json(run / "front.json")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {
        name: (run / name).read_bytes() for name in kept_answer.ANSWER_FILES
    }


def test_a_second_search_finds_its_answer_and_without_the_cache_none(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("ZOO_HOME", str(tmp_path / "home"))
    words = ["search", "--space", "tiny", "--device", "tx2@1300", "--no-plots", "--json"]
    assert main([*words, "-o", str(tmp_path / "first")]) == 0
    first = json.loads(capsys.readouterr().out)
    monkeypatch.setattr(search.exact, "answer", lambda *asked: pytest.fail("answered again"))
    assert main([*words, "-o", str(tmp_path / "second")]) == 0
    second = json.loads(capsys.readouterr().out)
    assert first | {"run": None} == second | {"run": None}
    with pytest.raises(pytest.fail.Exception):
        main([*words, "--no-cache", "-o", str(tmp_path / "third")])
    with pytest.raises(pytest.fail.Exception):
        main([*words, "--max-params", "300k", "-o", str(tmp_path / "fourth")])


def test_nothing_is_kept_of_a_family_of_the_users_own(monkeypatch):
    assert table_files_of(["espnet"]) is not None
    monkeypatch.setitem(OWN, "mine", "my_module")
    assert table_files_of(["espnet", "mine"]) is None


def test_most_members_are_taken_far_apart_first():
    query = replace(ASKED, limits=Limits(), devices=(DeviceAt("tx2", 1300.0),))
    result = exact(query)
    candidates = Candidates(result.query, result.specs, result.clocks)
    whole, few = shortlist(candidates), shortlist(candidates, most=2)
    assert set(few.places) <= set(whole.places)
    assert len(few.places) == 2


def test_joint_draws_have_the_levels_and_the_differences_of_the_model():
    specs = [SMALL.spec(int(row)) for row in np.concatenate(list(SMALL.chunks()))]
    model = accuracy_model("published")
    joint = model.joint(specs)
    draws = joint.draw(np.random.default_rng(0), 40_000)
    noise = model.describe("espnet")["noise_sd"]
    for i, spec in enumerate(specs):
        mean, low, high = (float(points(value)) for value in model.predict_spec(spec, 0.9))
        assert draws[:, i].mean() == pytest.approx(mean, abs=0.05)
        assert joint.variance[i] + noise**2 == pytest.approx(((high - low) / 2 / 1.6448536) ** 2, rel=1e-6)
    spread = np.sqrt(joint.variance[0] + joint.variance[1] - 2 * joint.covariance(0)[1])
    assert (draws[:, 1] - draws[:, 0]).std() == pytest.approx(spread, rel=0.03)
    assert spread < np.hypot(*np.sqrt(joint.variance[:2]))


def test_the_bench_has_joint_draws_too():
    specs = [SMALL.spec(int(row)) for row in np.concatenate(list(SMALL.chunks()))][:3]
    model = accuracy_model("bench")
    joint = model.joint(specs)
    noise = model.describe("espnet")["noise_sd"]
    for i, spec in enumerate(specs):
        mean, low, high = (float(points(value)) for value in model.predict_spec(spec, 0.9))
        assert joint.mean[i] == pytest.approx(mean, abs=1e-6)
        assert joint.variance[i] + noise**2 == pytest.approx(((high - low) / 2 / 1.6448536) ** 2, rel=1e-2)


@pytest.mark.parametrize("metric", ["latency_s", "power_w", "energy_j"])
def test_shared_and_own_errors_add_up_to_the_whole(metric):
    prices = predictor("tx2", 1134.0)
    terms = np.stack([prices.terms(lower(SMALL.spec(row), SMALL.size).layers) for row in (0, 3)])
    center, loadings, own = prices.errors(terms, metric)
    held = prices.quantile(terms, metric, 0.8413447460685429)  # one standard deviation
    assert center * np.exp(np.sqrt((loadings**2).sum(axis=1) + own**2)) == pytest.approx(held)
    assert (loadings**2).sum() > 0


def test_training_tells_nothing_where_one_is_surely_the_best():
    result = exact(replace(ASKED, limits=Limits(), devices=(DeviceAt("tx2", 1300.0),)))
    candidates = Candidates(result.query, result.specs, result.clocks)
    gains = knowledge_gradient(candidates, range(len(result.specs)))
    assert min(gains) >= 0
    # By definition: the mean over outcomes of the best posterior mean, less the best mean now.
    joint, rng = candidates.miou, np.random.default_rng(1)
    noise = accuracy_model("published").describe("espnet")["noise_sd"]
    truth = joint.draw(rng, 20_000)
    seen = truth[:, 0] + noise * rng.standard_normal(len(truth))
    weight = joint.covariance(0) / (joint.variance[0] + noise**2)
    after = joint.mean + (seen - joint.mean[0])[:, None] * weight
    assert gains[0] == pytest.approx(float((after.max(axis=1) - joint.mean.max()).mean()), abs=0.05)


def test_a_run_knows_clock_and_size_of_its_candidates(run, result):
    held = conditions_of(f"{run}#1")
    assert held.size == SMALL.size
    assert held.devices == result.clocks[0]
    assert held.devices[0].clock_mhz is not None


def test_networks_with_weights_are_within_the_limits_and_the_best_first(capsys):
    query = replace(ASKED, limits=Limits(max_latency_ms=150.0, max_power_w=2.0, min_miou=50.0))
    found = with_weights(query)
    assert len({one["spec"]["family"] for one in found}) > 1
    for one in found:
        assert one["miou"]["value"] >= 50
        assert one["devices"][one["at"][0]]["latency_s"]["mean"] < 0.15
        assert one["devices"][one["at"][0]]["power_w"]["mean"] < 2
    city = [one["miou"]["value"] for one in found if one["miou"]["dataset"] == "cityscapes"]
    assert city == sorted(city, reverse=True)
    assert found[0]["miou"]["dataset"] == "cityscapes"
    with pytest.raises(NegativeAnswer, match="with weights"):
        with_weights(replace(query, limits=Limits(max_latency_ms=1e-3)))
    assert main(["search", "--with-weights", "--device", "tx2@850", "--min-miou", "60", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["with_weights"][0]["name"] == "espnetv2-2.0.cityscapes"


def test_chances_of_being_better_add_up(run):
    spec, device = SMALL.spec(0), DeviceAt("tx2", 1300.0)
    wide = replace(spec, alpha3=8)
    subjects = [Subject("a", spec, (512, 1024), device), Subject("b", wide, (512, 1024), device)]
    subjects.append(Subject("slow", spec, (512, 1024), DeviceAt("tx2", 850.0)))
    better = compare(subjects)["better"]
    for pair, chances in better.items():
        a, b = pair.split(">")
        for metric, value in chances.items():
            assert value + better[f"{b}>{a}"][metric] == pytest.approx(1.0, abs=2e-4)
    assert better["a>b"]["latency"] > 0.8
    assert better["b>a"]["miou"] > 0.9
    assert better["a>slow"]["miou"] == 0.5
    assert better["a>slow"]["latency"] > 0.7
    assert better["slow>a"]["power"] > 0.8


def test_compare_command(run, capsys):
    assert main(["compare", f"{run}#1", "espnet-8.cityscapes", "espnet-8.camvid", "--device", "tx2@850", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert [one["name"] for one in document["rows"]] == [f"{run}#1", "espnet-8.cityscapes", "espnet-8.camvid"]
    assert document["better"]["espnet-8.cityscapes>espnet-8.camvid"]["miou"] is None
    assert document["rows"][2]["size"] == "480x360"
    assert main(["compare", str(run), f"{run}#2"]) == 0
    assert "better than" in capsys.readouterr().out
    assert main(["compare", "espnet-8"]) == 2
    assert main(["compare", "espnet-8", "espnet-5"]) == 2
    assert "--device" in capsys.readouterr().err
