"""Several spaces in one search: one front, one certificate, whatever their order and overlap."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest

from search.certificate import NotVerified, valid_specs
from search.device_at import DeviceAt
from search.exact import answer
from search.model_ref import candidate
from search.query import Query
from search.report import figures
from search.report.html_data import report_data
from search.runs.reader import load_run
from search.runs.writer import query_from, write
from search.space import SearchSpace
from search.structure import structure
from search.table_files import TableFiles
from search.tables import tables_of
from search.union import SpaceUnion, read_space, union_of
from search.verification import verify
from zoo.bulk.choices import Choices
from zoo.cli import main
from zoo.config import Limits
from zoo.errors import ConfigError, SpecError, ZooError
from zoo.registry import lower

pytestmark = pytest.mark.usefixtures("shared_tables")

SIZE = (256, 512)


def space(family="espnet", **choices):
    return SearchSpace(Choices(family, choices), SIZE)


LOW = space(variant=("C", "ESPNet"), k=(3, 5), alpha3=(2, 3))
HIGH = space(variant=("ESPNet", "A"), k=(5, 8), alpha3=(3, 5), image_path=("none", "reinforcement"))
V2 = space("espnetv2", scale=(0.5, 1.0), depth4=(1, 7), decoder_width=(8, 16))
FPENET = space("fpenet", depth3=(3, 5), growth=(1, 2))
ALL = union_of([LOW, HIGH, V2])


def query(space=ALL, **changes):
    return replace(Query(space=space, devices=(DeviceAt("tx2", 1300.0),)), **changes)


def keys(result):
    return {(spec, at) for spec, at in zip(result.specs, result.clocks, strict=True)}


def test_candidates_are_the_specs_of_all_spaces_each_once():
    everything = {spec for one in (LOW, HIGH, V2) for _, spec in valid_specs(one)}
    rows = np.concatenate(list(ALL.chunks()))
    assert [ALL.spec(int(row)) for row in rows] == [spec for _, spec in valid_specs(ALL)]
    assert {ALL.spec(int(row)) for row in rows} == everything
    assert len(rows) == len(everything) < sum(len(valid_specs(one)) for one in (LOW, HIGH, V2))


def test_numbers_round_trip():
    assert all(ALL.row(spec) == row for row, spec in valid_specs(ALL))
    with pytest.raises(SpecError, match="none of the 3 spaces"):
        ALL.row(replace(valid_specs(LOW)[0][1], k=4))
    with pytest.raises(SpecError):
        ALL.row(valid_specs(FPENET)[0][1])


@pytest.mark.parametrize("limits", [Limits(), Limits(max_latency_ms=60.0, max_params=300_000)])
def test_the_front_is_that_of_the_merged_fronts(limits):
    found = answer(query(limits=limits))
    parts = [answer(query(one, limits=limits)) for one in (LOW, HIGH, V2)]
    merged = {key: entry for part in parts for key, entry in zip(_keys(part), part.front, strict=True)}
    points = {k: (-e["miou"]["mean"], e["latency_s"]["mean"], e["weight_bytes"]) for k, e in merged.items()}
    unbeaten = {k for k, p in points.items() if not any(_beats(q, p) for q in points.values())}
    networks = {structure(lower(spec, SIZE)) for spec, _ in unbeaten}
    assert {structure(lower(spec, SIZE)) for spec, _ in keys(found)} == networks
    assert found.feasible < sum(part.feasible for part in parts), "the spaces of this test do not overlap"
    assert {spec.family for spec in found.specs} == {"espnet", "espnetv2"}


def _keys(result):
    return list(zip(result.specs, result.clocks, strict=True))


def _beats(a, b):
    return all(x <= y for x, y in zip(a, b, strict=True)) and any(
        x < y - 1e-9 * abs(y) for x, y in zip(a, b, strict=True)
    )


def test_a_space_searched_with_itself_is_the_space():
    assert union_of([LOW, LOW]) == LOW
    assert union_of([LOW, V2, LOW]) == union_of([LOW, V2])


def test_the_order_of_spaces_makes_no_difference():
    assert union_of([V2, HIGH, LOW]) == ALL
    assert query(union_of([V2, HIGH, LOW])).describe() == query().describe()


def test_spaces_that_overlap_are_as_the_space_of_both():
    halves = union_of([space(k=(3, 5), alpha3=(2, 3)), space(k=(5, 8), alpha3=(2, 3))])
    whole = space(k=(3, 5, 8), alpha3=(2, 3))
    assert keys(answer(query(halves))) == keys(answer(query(whole)))
    assert answer(query(halves)).enumerated == 6


def test_a_field_that_another_space_leaves_at_its_default_counts_as_that_value():
    both = union_of([space(k=(3, 5)), space(k=(3, 5), alpha2=(2, 4))])  # alpha2 is 2 by default
    assert len(np.concatenate(list(both.chunks()))) == 4


def test_equal_networks_of_two_spaces_are_one_candidate():
    apart = union_of([space(variant=("C",), decoder_k=(2,), k=(3,)), space(variant=("C",), decoder_k=(3, 4), k=(3,))])
    found = answer(query(apart))
    assert found.enumerated == 3
    assert [entry["aliases"] for entry in found.front] == [3]


def test_a_union_reads_back_and_only_as_it_was_written():
    assert read_space(ALL.describe()) == ALL
    assert query_from(query().describe()) == query()
    document = json.loads(json.dumps(ALL.describe()))
    document["spaces"].reverse()
    with pytest.raises(ConfigError, match="order"):
        read_space(document)
    document["spaces"] = [document["spaces"][0]] * 2
    with pytest.raises(ConfigError, match="twice"):
        read_space(document)


def test_spaces_of_two_sizes_or_too_many_combinations_are_refused():
    with pytest.raises(ConfigError, match="one image size"):
        SpaceUnion((LOW, replace(V2, size=(512, 1024))))
    large = [
        space(scale=tuple(0.5 + i / 4e3 for i in range(i, 4000)), depth4=tuple(range(3000)), family="espnetv2")
        for i in range(2)
    ]
    with pytest.raises(ConfigError, match="together"):
        union_of(large)


def test_without_evidence_a_family_is_refused_or_unknown():
    both = union_of([LOW, FPENET])
    with pytest.raises(ZooError, match="fpenet"):
        answer(query(both))
    found = answer(query(both, objectives=("latency", "size")))
    known = {entry["spec"]["family"]: entry["miou"] is not None for entry in found.front}
    assert known == {"fpenet": False} or known == {"espnet": True, "fpenet": False}


def test_each_space_keeps_its_own_tables(tmp_path, monkeypatch):
    import search.tables

    monkeypatch.setattr(search.tables, "WORTH", 1)
    for one in (LOW, HIGH, V2):
        answer(query(one), tables=tables_of(one, TableFiles(tmp_path)))

    def never(*_):
        raise AssertionError("lowered although its table is in the cache")

    apart = union_of([LOW, V2])
    fresh = answer(query(apart))
    monkeypatch.setattr(search.tables, "lowered", never)
    assert answer(query(apart), tables=tables_of(apart, TableFiles(tmp_path))).front == fresh.front


# The folder ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("union") / "run"
    folder.mkdir()
    asked = query(limits=Limits(max_latency_ms=60.0))
    write(asked, answer(asked), folder)
    return folder


def copy(run, tmp_path) -> Path:
    for file in run.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    return tmp_path


@pytest.mark.parametrize("one_by_one", [False, True])
def test_it_verifies(run, one_by_one):
    assert verify(run, one_by_one=one_by_one) == len(valid_specs(ALL))


def change_value(document):
    document["front"][0]["miou"]["mean"] += 1e-3


def drop_family(document):
    document["front"] = [one for one in document["front"] if one["spec"]["family"] == "espnet"]


def drop_space(document):
    document["query"]["space"]["spaces"].pop()


@pytest.mark.parametrize("change", [change_value, drop_family, drop_space])
def test_a_changed_front_does_not_verify(change, run, tmp_path):
    folder = copy(run, tmp_path)
    document = json.loads((folder / "front.json").read_text())
    change(document)
    (folder / "front.json").write_text(json.dumps(document))
    with pytest.raises(NotVerified):
        verify(folder)


@pytest.mark.parametrize("column", ["spec.family", "spec.scale", "spec.k", "params", "latency_s.mean"])
def test_a_changed_sample_does_not_verify(column, run, tmp_path):
    folder = copy(run, tmp_path)
    header, *rows = csv.reader((folder / "sample.csv").read_text().splitlines())
    at = header.index(column)
    row = next(row for row in rows if row[at])
    row[at] = "espnet-x" if column == "spec.family" else str(float(row[at]) * 1.01)
    with (folder / "sample.csv").open("w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([header, *rows])
    with pytest.raises(NotVerified, match="sample"):
        verify(folder)


def test_every_rank_is_a_model(run):
    front = load_run(run).front
    for family in ("espnet", "espnetv2"):
        rank = next(one["rank"] for one in front if one["spec"]["family"] == family)
        assert candidate(f"{run}#{rank}").family == family


def test_errors_of_both_families_are_pooled(run):
    accuracy = json.loads((run / "front.json").read_text())["accuracy"]
    assert set(accuracy["families"]) == {"espnet", "espnetv2"}
    assert accuracy["leave_one_out"]["n"] == sum(one["leave_one_out"]["n"] for one in accuracy["families"].values())
    assert all(one["protocol"] in accuracy["protocol"] for one in accuracy["families"].values())


def test_a_chart_tells_the_families_apart(run, monkeypatch):
    drawn = []
    monkeypatch.setattr(figures.layout, "save", lambda figure, outputs: drawn.append(figure))
    figures.draw([run], [run / "x.png"])
    labels = drawn[0].axes[0].get_legend_handles_labels()[1]
    assert {"espnet", "espnetv2"} <= set(labels)
    plt.close("all")


def test_a_report_spells_each_candidate_with_the_fields_of_its_family(run):
    data = report_data(load_run(run))
    assert data["families"] == ["espnet", "espnetv2"]
    for i, one in enumerate(load_run(run).front):
        shown = {name: data["fields"][name][places[i]] for name, places in data["front"]["spec"].items()}
        assert {name: value for name, value in shown.items() if name in one["spec"]} == one["spec"]
        assert all(value is None for name, value in shown.items() if name not in one["spec"])


# The command --------------------------------------------------------------------------------------------------------

TWO = """
spaces:
  small: {choices: {k: [3, 5], alpha3: [2, 3]}}
  second: {family: espnetv2, choices: {scale: [0.5, 1.0]}}
searches:
  both: {space: [small, second], width: 512, height: 256}
"""


def test_command_and_named_search_ask_the_same(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "zoo.yaml").write_text(TWO)
    typed = ["--space", "second", "--space", "small", "--space", "small", "--size", "512x256"]
    answers = []
    for arguments in (["both"], typed):
        assert main(["search", *arguments, "--no-plots", "--json"]) == 0
        answers.append(json.loads(capsys.readouterr().out))
    assert answers[0] == answers[1]
    assert answers[0]["enumerated"] == 6
    assert main(["verify", answers[0]["run"]]) == 0
    assert main(["predict", f"{answers[0]['run']}#1", "--json"]) == 0
    assert main(["search", "both", "--no-plots", "--force"]) == 0
    assert "family=espnetv2" in capsys.readouterr().out.replace("\n", " ")


@pytest.mark.parametrize(
    ("space", "sentence"), [("[small, smal]", "did you mean 'small'"), ("[]", "an empty list"), ("[3]", "space")]
)
def test_a_wrong_list_is_one_sentence(space, sentence, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "zoo.yaml").write_text(TWO.replace("[small, second]", space))
    assert main(["search", "both"]) == 1
    assert sentence in capsys.readouterr().err
