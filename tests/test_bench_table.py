"""The bench: its table and queries, its models and their laws, what `zoo bench-table` and `--accuracy bench` say."""

import csv
import json
import re
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import search.accuracy
import search.accuracy.bench.protocol as runs_module
from benchmarks.accuracy import curves
from benchmarks.accuracy.compare import BLOCK, compare, long_runs, markdown, settling, written
from benchmarks.accuracy.compare import main as compare_main
from benchmarks.accuracy.proxy_scores import PROXIES, read_proxies
from search.accuracy import SCALES, accuracy_model
from search.accuracy.bench.cross_validation import judge
from search.accuracy.bench.design import ANCHORS, Entry, design, with_repeats
from search.accuracy.bench.model import Fit, fit, forms, inputs_at, inputs_of, inputs_of_spec
from search.accuracy.bench.protocol import EPOCHS, FIELDS, PROTOCOL, TABLE, Run, fill, missing, read_runs, write_runs
from search.accuracy.bench.table import measured, noise, noise_sd, ordered, title, where
from search.accuracy.bench_model import SHORT, BenchModel, bench
from search.accuracy.linear import percent
from search.accuracy.published import fitted
from search.report.panel import axis_label
from search.runs.reader import AXES, load_run
from zoo.bulk.choices import Choices
from zoo.cli import main
from zoo.errors import ZooError
from zoo.models.espnet import ESPNetSpec
from zoo.models.espnetv2 import ESPNetv2Spec
from zoo.registry import spec_from_dict
from zoo.specs import as_dict
from zoo.statistics import kendall, ranks, spearman

ROOT = Path(__file__).resolve().parents[1]
FORMS = {form.name: form for form in forms()}
SPECS = tuple(read_proxies())
"""The design's, which takes seconds to make; a test holds the one to the other."""
ENTRIES = tuple(with_repeats(SPECS))  # type: ignore[arg-type]


def run_of(spec: Any, miou: float, seed: int = 0, **changes: Any) -> Run:
    curve = tuple(round(miou * (epoch + 1) / EPOCHS, 2) for epoch in range(EPOCHS - 1))
    curve = (*curve, round(miou, 2))
    values = {"protocol": PROTOCOL, "spec": as_dict(spec), "seed": seed, "params": 1000, "miou": round(miou, 2)}
    values |= {"curve": curve, "epochs": EPOCHS, "seconds": 60.0, "cpu_seconds": 50.0, "threads": 1, "torch": "2.6"}
    return Run(**(values | changes))


@cache
def made_up(spread: float = 1.0, noise: float = 0.3, share: float = 0.5, seed: int = 0) -> tuple[Run, ...]:
    """A table over the design whose truth is a share of the published differences, a misfit, and noise."""
    rng = np.random.default_rng(seed)
    mean, _ = fitted("espnet").posterior
    misfit = {spec: rng.normal(0, spread) for spec in SPECS}
    return tuple(
        run_of(
            entry.spec,
            float(percent(35 + share * (fitted("espnet").values(entry.spec) @ mean - 50) + misfit[entry.spec]))
            + rng.normal(0, noise),
            entry.seed,
        )
        for entry in ENTRIES
    )


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bench") / "runs.csv"
    write_runs(made_up(), path)
    return path


@pytest.fixture
def in_use(table: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """`--accuracy bench` reads the made-up table."""
    monkeypatch.setattr(search.accuracy, "MODELS", {**search.accuracy.MODELS, "bench": lambda: BenchModel(table)})
    return table


def document(capsys: Any, *argv: str) -> Any:
    assert main([*argv, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


# ---- the table -------------------------------------------------------------------------------------------------------


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    rows = made_up()
    write_runs(rows, tmp_path / "t.csv")
    assert read_runs(tmp_path / "t.csv") == rows
    assert read_runs(tmp_path / "none.csv") == ()


BAD: dict[str, tuple[dict[str, str], str]] = {
    "a word for mIOU": ({"miou": "good"}, "miou must be a number from 0 to 100, but is 'good'"),
    "mIOU above 100": ({"miou": "101"}, "miou must be a number from 0 to 100, but is '101'"),
    "mIOU that is none": ({"miou": "nan"}, "miou must be a number from 0 to 100, but is 'nan'"),
    "mIOU that is not the curve's end": ({"miou": "3"}, "miou must be the curve's last value, but is 3"),
    "a short curve": ({"curve": "1.0 2.0"}, f"curve must have one value for each of {EPOCHS} epochs, but has 2"),
    "a curve of words": ({"curve": "a b"}, "curve must be a number from 0 to 100, but is 'a'"),
    "no epochs": ({"epochs": "0"}, "epochs must be a whole number from 1, but is '0'"),
    "half a seed": ({"seed": "0.5"}, "seed must be a whole number from 0, but is '0.5'"),
    "negative seconds": ({"seconds": "-1"}, "seconds must be a number not below 0, but is '-1'"),
    "endless seconds": ({"seconds": "inf"}, "seconds must be a number not below 0, but is 'inf'"),
    "negative parameters": ({"params": "-3"}, "params must be a whole number from 1, but is '-3'"),
    "a spec that is no JSON": ({"spec": "espnet"}, "spec must be a JSON object with a family, but is 'espnet'"),
    "a spec that is a list": ({"spec": "[1]"}, "spec must be a JSON object with a family, but is '[1]'"),
    "a spec without a family": ({"spec": "{}"}, "spec: the key 'family' is missing"),
    "an unknown family": ({"spec": '{"family": "esp"}'}, "did you mean 'espnet'"),
    "a spec that is no network": ({"spec": '{"family": "espnet", "k": 99}'}, "k: must be an integer from 1 to 8"),
    "an unknown field": ({"spec": '{"family": "espnet", "alfa3": 2}'}, "did you mean 'alpha3'?"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_row_is_said_in_one_sentence(case: str, tmp_path: Path, capsys: Any) -> None:
    change, sentence = BAD[case]
    path = tmp_path / "t.csv"
    rows = [run_of(SPECS[0], 30).row(), run_of(SPECS[1], 31).row() | change]
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, FIELDS)
        writer.writeheader()
        writer.writerows(rows)
    assert main(["bench-table", "--table", str(path)]) == 1
    said = capsys.readouterr().err
    assert f"{path}, line 3" in said and sentence in said and said.count("\n") == 1


def test_columns_and_lines_must_be_whole(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    write_runs([run_of(SPECS[0], 30)], path)
    text = path.read_text()
    path.write_text(text.replace("seconds", "secnods", 1))
    with pytest.raises(ZooError, match="column 'secnods' is unknown; did you mean"):
        read_runs(path)
    path.write_text(text.replace(",torch", "", 1))
    with pytest.raises(ZooError, match="column 'torch' is missing"):
        read_runs(path)
    path.write_text(text[: text.rindex(",")] + "\n")
    with pytest.raises(ZooError, match=f"line 2: must have {len(FIELDS)} values"):
        read_runs(path)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ZooError, match="it is not UTF-8 text"):
        read_runs(path)
    write_runs([run_of(SPECS[0], 30), run_of(SPECS[0], 31)], path)
    with pytest.raises(ZooError, match="line 3: is the same spec, seed and protocol as line 2"):
        read_runs(path)


def test_queries_select_and_sort() -> None:
    rows = made_up()
    only_c = where(rows, ["variant=c"])
    assert {run.network.variant for run in only_c} == {"C"}  # type: ignore[attr-defined]
    assert where(rows, ["variant=C", "alpha3>=8"]) == tuple(r for r in only_c if r.spec["alpha3"] >= 8)
    assert {tuple(r.spec["widths"]) for r in where(rows, ["widths=16, 64,128"])} == {(16, 64, 128)}
    assert all(not r.spec["hff"] for r in where(rows, ["hff=false"]))
    assert len(where(rows, ["hff=false"])) + len(where(rows, ["hff!=false"])) == len(rows)
    few = where(rows, ["params<0.2M"])
    assert few == where(rows, ["params<200k"]) and 0 < len(few) < len(rows)
    best = ordered(rows, "miou:desc")
    assert [r.miou for r in best] == sorted((r.miou for r in rows), reverse=True)
    assert ordered(best, "miou")[0] == best[-1]


@pytest.mark.parametrize(
    ("argv", "sentence"),
    [
        (["--where", "alfa3=2"], "field 'alfa3' is unknown; did you mean 'alpha3'?"),
        (["--where", "alpha3"], "must be FIELD=VALUE"),
        (["--where", "alpha3=x"], "must compare with a number"),
        (["--where", "variant<C"], "only numbers are compared by <"),
        (["--sort", "miuo"], "field 'miuo' is unknown; did you mean 'miou'?"),
        (["--sort", "miou:down"], "must be FIELD, FIELD:asc or FIELD:desc"),
    ],
)
def test_a_wrong_question_is_answered_in_one_sentence(argv: list[str], sentence: str, table: Path, capsys: Any) -> None:
    assert main(["bench-table", "--table", str(table), *argv]) == 1
    said = capsys.readouterr().err
    assert sentence in said and said.count("\n") == 1


@pytest.mark.parametrize("argv", [["--fill"], ["--runs", "2"], ["--data", "d"], ["--csv", "--json"]])
def test_options_that_mean_nothing_alone(argv: list[str], table: Path) -> None:
    assert main(["bench-table", "--table", str(table), *argv]) == 2


def test_a_table_that_is_not_there(tmp_path: Path, capsys: Any) -> None:
    assert main(["bench-table", "--table", str(tmp_path / "no.csv")]) == 1
    assert "there is no such table" in capsys.readouterr().err


def test_json_and_csv(table: Path, tmp_path: Path, capsys: Any) -> None:
    found = document(capsys, "bench-table", "--table", str(table), "--where", "variant=C")
    c8 = next(one for one in found["networks"] if one["spec"]["alpha3"] == 3 and one["seeds"] == [0, 1])
    assert c8["miou"] == pytest.approx(np.mean([r["miou"] for r in found["runs"] if r["spec"] == c8["spec"]]))
    assert {"seed", "protocol", "seconds", "curve", "miou"} <= set(found["runs"][0])
    assert found["noise_freedom"] == len(found["runs"]) - len(found["networks"])
    assert main(["bench-table", "--table", str(table), "--where", "variant=C", "--csv"]) == 0
    copy = tmp_path / "copy.csv"
    copy.write_text(capsys.readouterr().out)
    assert [r.key for r in read_runs(copy)] == [
        r.key for r in ordered(where(read_runs(table), ["variant=C"]), "miou:desc")
    ]


def test_printed_rows(table: Path, capsys: Any) -> None:
    assert main(["bench-table", "--table", str(table), "--where", "variant=C", "--each"]) == 0
    said = capsys.readouterr().out
    assert PROTOCOL in said and title(ANCHORS[1]).split(" 16")[0] in said


@pytest.mark.parametrize(
    ("rows", "name", "sentence"), [(5, "c.gif", "must end in one of .png, .svg, .pdf"), (0, "c.svg", "no row to draw")]
)
def test_curves_that_cannot_be_drawn(rows: int, name: str, sentence: str, tmp_path: Path, capsys: Any) -> None:
    write_runs(made_up()[:rows], tmp_path / "t.csv")
    assert curves.main([str(tmp_path / name), "--table", str(tmp_path / "t.csv")]) == 1
    assert sentence in capsys.readouterr().err and not (tmp_path / name).exists()


def test_equal_tables_give_equal_pictures(table: Path, tmp_path: Path) -> None:
    names = [tmp_path / "a.svg", tmp_path / "b.svg"]
    for name in names:
        assert curves.main([str(name), "--table", str(table)]) == 0
    assert names[0].read_bytes() == names[1].read_bytes()
    assert b"<svg" in names[0].read_bytes()


# ---- filling it ------------------------------------------------------------------------------------------------------


@pytest.fixture
def pretended(monkeypatch: pytest.MonkeyPatch) -> list[Entry]:
    """Trainings that take no time; returns what was trained."""
    done: list[Entry] = []

    def measure(entry: Entry, splits: Any, folder: Path, say: Any) -> Run:
        done.append(entry)
        return run_of(entry.spec, 30 + entry.seed, entry.seed)

    monkeypatch.setattr(runs_module, "measure", measure)
    monkeypatch.setattr("zoo.data.datasets.data_set", lambda name, data, split: split)
    return done


def test_filling_goes_on_where_it_stopped(
    pretended: list[Entry], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path, entries = tmp_path / "t.csv", ENTRIES[:9]
    assert fill(entries, tmp_path, print, path, limit=3) == 3
    kept = runs_module.measure

    def stopped(entry: Entry, *rest: Any) -> Run:
        if len(pretended) == 5:
            raise KeyboardInterrupt
        return kept(entry, *rest)

    monkeypatch.setattr(runs_module, "measure", stopped)
    with pytest.raises(KeyboardInterrupt):
        fill(entries, tmp_path, print, path)
    assert len(read_runs(path)) == 5
    monkeypatch.setattr(runs_module, "measure", kept)
    assert fill(entries, tmp_path, print, path) == len(entries) - 5
    assert not missing(entries, path) and pretended == list(entries)
    assert fill(entries, tmp_path, print, path) == 0


def test_a_run_that_diverges_is_passed_over(
    pretended: list[Entry], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from zoo.train.trainer import TrainingError

    kept = runs_module.measure

    def diverging(entry: Entry, *rest: Any) -> Run:
        if entry == ENTRIES[1]:
            raise TrainingError("the loss is nan")
        return kept(entry, *rest)

    monkeypatch.setattr(runs_module, "measure", diverging)
    said: list[str] = []
    assert fill(ENTRIES, tmp_path, said.append, tmp_path / "t.csv", limit=3) == 2
    assert any("passed over: the loss is nan" in text for text in said)
    assert missing(ENTRIES, tmp_path / "t.csv")[0] == ENTRIES[1]


def test_fill_says_what_is_missing(
    pretended: list[Entry], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: Any
) -> None:
    monkeypatch.setattr("search.accuracy.bench.design.design", lambda: ENTRIES)
    argv = ("bench-table", "--fill", "--data", str(tmp_path), "--table", str(tmp_path / "t.csv"), "--runs", "2")
    found = document(capsys, *argv)
    assert (found["measured"], found["missing"]) == (2, len(ENTRIES) - 2)


def test_fill_without_data(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: Any) -> None:
    monkeypatch.setattr("search.accuracy.bench.design.design", lambda: ENTRIES)
    argv = ["bench-table", "--fill", "--data", str(tmp_path / "no"), "--table", str(tmp_path / "t.csv")]
    assert main(argv) == 1
    assert "there is no such folder" in capsys.readouterr().err


def test_one_real_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """The runner itself, on two generated streets for one epoch."""
    from zoo.data.synthetic import Scenes

    monkeypatch.setattr(runs_module, "EPOCHS", 1)
    monkeypatch.setattr(runs_module, "SIZE", (64, 96))
    spec = ESPNetSpec(variant="ESPNet", alpha2=1, alpha3=1, widths=(8, 16, 32), k=2)
    splits = Scenes("train", (64, 96), 4), Scenes("val", (64, 96), 2)
    run = runs_module.measure(Entry(spec, 3), splits, Path(), lambda text: None)
    assert run.network == spec and run.seed == 3 and len(run.curve) == 1 and 0 <= run.miou <= 100
    assert run.params == runs_module.trained_params(spec)


# ---- ranks and noise -------------------------------------------------------------------------------------------------


@settings(deadline=None)
@given(st.lists(st.integers(0, 5), min_size=3, max_size=8), st.integers(0, 1000))
def test_rank_correlations_are_scipys(values: list[int], seed: int) -> None:
    stats = pytest.importorskip("scipy.stats")
    other = np.random.default_rng(seed).integers(0, 4, len(values)).astype(float)
    assert ranks(values).tolist() == (stats.rankdata(values) - 1).tolist()
    if len(set(values)) == 1 or len(set(other)) == 1:
        assert spearman(values, other) is None and kendall(values, other) is None
    else:
        assert spearman(values, other) == pytest.approx(stats.spearmanr(values, other).statistic, abs=1e-9)
        assert kendall(values, other) == pytest.approx(stats.kendalltau(values, other).statistic, abs=1e-9)


def test_noise_is_pooled_over_repeated_seeds() -> None:
    rows = [run_of(SPECS[0], 30), run_of(SPECS[0], 32, 1), run_of(SPECS[1], 40), run_of(SPECS[1], 40, 1)]
    found = noise(measured([*rows, run_of(SPECS[2], 10)]))
    assert found is not None and found.freedom == 2
    assert found.sd == pytest.approx(np.sqrt((1 + 1) / 2))
    assert noise(measured([run_of(SPECS[0], 30)])) is None


def test_protocols_are_never_mixed() -> None:
    other = run_of(SPECS[0], 70, protocol="camvid-480x360-100")
    assert measured([*made_up(), other]) == measured(made_up())
    assert [one.mean for one in measured([other], "camvid-480x360-100")] == [70]


# ---- models ----------------------------------------------------------------------------------------------------------


def fit_of(form: str, rows: Any, sd: float = 0.5, misfit: float | None = None) -> Fit:
    networks = measured(rows)
    found = fit(FORMS[form], inputs_of(networks), networks, sd)
    return found if misfit is None else replace(found, misfit=misfit)


@cache
def fit_of_all(form: str) -> Fit:
    """The fit of the whole made-up table, which no test changes."""
    return fit_of(form, made_up())


@pytest.mark.parametrize("form", FORMS)
def test_more_data_never_widens(form: str) -> None:
    rows = made_up()
    inputs = inputs_of(measured(rows))
    variances = [fit_of(form, rows[:n], misfit=1.0).points_at(inputs)[1] for n in (4, 10, 20, 38)]
    for more, less in zip(variances[1:], variances, strict=False):
        assert np.all(more <= less + 1e-9)


@pytest.mark.parametrize("form", FORMS)
def test_a_measured_network_is_predicted_as_measured(form: str) -> None:
    rows = made_up()
    networks = measured(rows)
    model = fit_of(form, rows, sd=0.05, misfit=4.0)
    found = model.predict(inputs_of(networks), 0.9)
    assert found.mean == pytest.approx([one.mean for one in networks], abs=0.05)
    noisy = fit_of_all(form)
    centre, _ = noisy.points_at(inputs_of(networks))
    prior = inputs_of(networks)
    far = np.abs(centre - noisy.miou)
    alone = np.abs(noisy.form.features(prior) @ np.array(noisy.form.mean) - noisy.miou)
    assert far.mean() < alone.mean()


@pytest.mark.parametrize("form", FORMS)
def test_a_constant_table_leaves_nothing_out(form: str) -> None:
    networks = measured([run_of(entry.spec, 35.0, entry.seed) for entry in ENTRIES])
    judged = judge(FORMS[form], networks, inputs_of(networks))
    # Forms whose prior expects differences or another level are drawn there by a hair.
    assert judged.mae < (0.6 if form in ("published", "effects") else 0.05)
    assert judged.coverage == 1.0


def test_seeds_of_a_network_are_left_out_together() -> None:
    rows = list(made_up())
    networks = measured(rows)
    first = judge(FORMS["effects"], networks, inputs_of(networks)).mean[0]
    moved = [
        replace(r, miou=r.miou + 5, curve=(*r.curve[:-1], r.curve[-1] + 5)) if r.network == SPECS[0] else r
        for r in rows
    ]
    assert len(networks[0].runs) == 2
    assert judge(FORMS["effects"], measured(moved), inputs_of(networks)).mean[0] == pytest.approx(first, rel=1e-3)


def test_the_truth_wins() -> None:
    """Of a table made of the published differences that form errs least; of one made of MACs, MACs."""
    networks = measured(made_up(spread=0.2))
    errors = {name: judge(form, networks, inputs_of(networks)).rmse for name, form in FORMS.items()}
    assert min(errors, key=lambda name: errors[name]) == "published"
    known = inputs_of(networks)
    rng = np.random.default_rng(0)
    rows = [
        run_of(n.spec, 30 + 4 * np.log2(m / 2e9) + rng.normal(0, 0.1))
        for n, m in zip(networks, known.macs, strict=True)
    ]
    errors = {name: judge(form, measured(rows), known).rmse for name, form in FORMS.items()}
    assert min(errors, key=lambda name: errors[name]) in ("macs", "counts")


@pytest.mark.parametrize("form", FORMS)
def test_intervals_hold_what_they_say(form: str) -> None:
    """Left-out coverage of tables whose misfit is independent, over 150 networks in all."""
    held = []
    for seed in range(5):
        networks = measured(made_up(spread=1.5, seed=seed))
        held.append(judge(FORMS[form], networks, inputs_of(networks)).coverage)
    assert 0.75 <= np.mean(held) <= 0.99


UNSEEN = {
    "asp": {"block": "asp"},
    "ResNet": {"block": "resnet", "downsample": "conv", "k": 5},
    "no dilation": {"pyramid": "standard"},
    "no residual": {"residual": False},
    "depth 64": {"alpha3": 64},
    "width 2048": {"widths": (16, 64, 2048)},
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", UNSEEN)
def test_intervals_grow_where_the_bench_says_nothing(form: str, name: str) -> None:
    model = fit_of_all(form)
    known, strange = ESPNetSpec(), replace(ESPNetSpec(), **UNSEEN[name])
    (near,), (far,) = (model.points_at(inputs_of_spec(spec))[1] for spec in (known, strange))
    assert far > near + 0.3


def test_one_at_a_time_is_as_all_at_once() -> None:
    choices = Choices(
        "espnet", {"variant": ("A", "C"), "k": (2, 5, 8), "alpha3": (1, 3, 8), "image_path": ("reinforcement",)}
    )
    choices = Choices("espnet", {"variant": ("C", "ESPNet"), "k": (2, 5, 8), "alpha3": (1, 3, 8)})
    codes = choices.codes(np.arange(choices.size))
    specs = [
        ESPNetSpec(**choices.spec_values({name: int(column[i]) for name, column in codes.items()}))
        for i in range(choices.size)
    ]
    for form in FORMS.values():
        model = fit_of(form.name, made_up())
        at_once = model.predict(inputs_at(choices, codes, form.counted), 0.9)
        alone = [model.predict(inputs_of_spec(spec), 0.9) for spec in specs]
        for part in ("mean", "low", "high"):
            assert getattr(at_once, part) == pytest.approx([getattr(one, part)[0] for one in alone], rel=1e-9)


def test_no_prediction_leaves_0_to_100() -> None:
    model = fit_of("effects", made_up())
    for spec in (
        ESPNetSpec(alpha3=64, widths=(4096, 4096, 4096)),
        ESPNetSpec(variant="A", image_path="none", k=8, alpha2=0),
    ):
        found = model.predict(inputs_of_spec(spec), 0.999)
        assert 0 < found.low[0] < found.mean[0] < found.high[0] < 100


# ---- the accuracy model ----------------------------------------------------------------------------------------------


def test_the_model_describes_what_it_is(table: Path) -> None:
    found = BenchModel(table).describe()
    assert found["name"] == "bench" and PROTOCOL in found["protocol"] and "CamVid" in found["scale"]
    assert found["form"] == bench(table).chosen.form.title
    assert bench(table).chosen.rmse == min(one.rmse for one in bench(table).judged)
    assert len(found["figures"]) == len(ENTRIES) and found["leave_one_out"]["n"] == len(SPECS)
    json.dumps(found, allow_nan=False)


def test_other_families_and_small_tables_are_refused(table: Path, tmp_path: Path) -> None:
    with pytest.raises(ZooError, match="knows no runs of the family 'espnetv2'"):
        BenchModel(table).predict_spec(ESPNetv2Spec())
    with pytest.raises(ZooError, match="confidence must be between 0 and 1"):
        BenchModel(table).predict_spec(ESPNetSpec(), 1.0)
    few = tmp_path / "few.csv"
    write_runs(made_up()[:3], few)
    with pytest.raises(ZooError, match="needs 8 networks"):
        BenchModel(few).predict_spec(ESPNetSpec())


def test_rows_of_another_protocol_teach_nothing(table: Path, tmp_path: Path) -> None:
    both = tmp_path / "both.csv"
    write_runs(
        [*made_up(), *(replace(run, protocol="other", miou=90.0, curve=(*run.curve[:-1], 90.0)) for run in made_up())],
        both,
    )
    assert BenchModel(both).predict_spec(ESPNetSpec()) == BenchModel(table).predict_spec(ESPNetSpec())


def test_a_search_by_the_bench_is_certified_and_says_so(in_use: Path, tmp_path: Path, capsys: Any) -> None:
    run = str(tmp_path / "run")
    found = document(capsys, "search", "--space", "tiny", "--accuracy", "bench", "--no-plots", "-o", run)
    assert found["accuracy"]["model"] == "bench" and PROTOCOL in found["accuracy"]["protocol"]
    assert all(SHORT in one["miou_source"] for one in found["front"])
    certificate = json.loads((tmp_path / "run" / "certificate.json").read_text())
    assert certificate["accuracy"] == {"model": "bench", "protocol": found["accuracy"]["protocol"]}
    best = found["front"][0]
    spec = spec_from_dict(best["spec"])
    assert best["miou"]["mean"] == pytest.approx(BenchModel(in_use).predict_spec(spec)[0])
    assert document(capsys, "verify", run)["ok"]
    assert main(["report", run, "-o", str(tmp_path / "r.html")]) == 0
    assert PROTOCOL in (tmp_path / "r.html").read_text(encoding="utf-8")
    capsys.readouterr()
    (tmp_path / "run" / "certificate.json").write_text(
        json.dumps(certificate | {"accuracy": {"model": "bench", "protocol": "?"}})
    )
    assert main(["verify", run]) == 3
    assert "certificate.json: accuracy.protocol: is '?'" in capsys.readouterr().err


def test_another_table_is_another_basis(
    in_use: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: Any
) -> None:
    run = str(tmp_path / "run")
    document(capsys, "search", "--space", "tiny", "--accuracy", "bench", "--no-plots", "-o", run)
    other = tmp_path / "other.csv"
    write_runs(made_up(seed=1), other)
    monkeypatch.setattr(search.accuracy, "MODELS", {"bench": lambda: BenchModel(other)})
    assert main(["verify", run]) == 3
    assert "accuracy_sha256 is no longer what the search rested on" in capsys.readouterr().err


def test_a_study_does_not_mix_protocols(in_use: Path, tmp_path: Path, capsys: Any) -> None:
    argv = ["search", "--space", "tiny", "--accuracy", "bench", "--trials", "2", "-o", str(tmp_path / "run")]
    assert main(argv) == 2
    assert "a study has nothing to measure" in capsys.readouterr().err


def test_a_named_search_may_ask_the_bench(in_use: Path, tmp_path: Path, capsys: Any) -> None:
    own = tmp_path / "zoo.yaml"
    own.write_text("searches:\n  short: {space: tiny, accuracy: bench}\n")
    found = document(capsys, "search", "short", "--config", str(own), "--no-plots", "-o", str(tmp_path / "run"))
    assert found["query"]["accuracy"] == "bench"


def test_charts_of_two_protocols_say_that_they_do_not_compare(in_use: Path, tmp_path: Path, capsys: Any) -> None:
    for name in ("bench", "published"):
        document(capsys, "search", "--space", "tiny", "--accuracy", name, "--no-plots", "-o", str(tmp_path / name))
    chart = tmp_path / "both.svg"
    assert main(["pareto", str(tmp_path / "bench"), str(tmp_path / "published"), "-o", str(chart)]) == 0
    runs = [load_run(tmp_path / name) for name in ("bench", "published")]
    assert "not comparable" in axis_label(AXES["miou"], runs)
    assert "CamVid val" in axis_label(AXES["miou"], runs[:1]) and "Cityscapes val" in axis_label(AXES["miou"], runs[1:])

    def of_study(**plan: str) -> str:
        document = runs[0].document | {"kind": "study", "plan": plan}
        return axis_label(AXES["miou"], [replace(runs[0], document=document)])

    assert of_study(accuracy="train", dataset="camvid").endswith("(measured, camvid val)")
    assert of_study(accuracy="train", dataset="$x^$").endswith("(measured)"), "a chart takes no mark-up from a file"
    assert of_study(accuracy="published").endswith("(predicted, Cityscapes val)")


# ---- comparisons -----------------------------------------------------------------------------------------------------


def test_the_comparison_has_every_predictor(table: Path, capsys: Any) -> None:
    found = compare(table)
    assert [one["name"] for one in found["forms"]] == [form.name for form in forms(PROXIES)]
    assert sum(one["used"] for one in found["forms"]) == 1
    assert {one["title"] for one in found["scores"]} >= {"parameters", "MACs", "zero-cost proxy synflow"}
    compare_main(["--table", str(table)])
    assert "Kendall's tau" in capsys.readouterr().out


def test_too_few_networks_are_not_compared(tmp_path: Path) -> None:
    write_runs(made_up()[:2], tmp_path / "t.csv")
    with pytest.raises(ZooError, match="a comparison needs 5 networks"):
        compare(tmp_path / "t.csv")


def test_long_runs_come_from_the_manifest() -> None:
    from pretrained.manifest import manifest

    rows = [run_of(spec, 30 + i) for i, spec in enumerate(ANCHORS)]
    found = long_runs(measured(rows))
    assert {row["model"] for row in found["networks"]} >= {"espnet-8", "espnet-c-8", "espnet-c-3"}
    for row in found["networks"]:
        entry = manifest().find(row["model"], "camvid")
        assert row["long"] == next(m.value for m in entry.metrics if m.split == "val")


def test_settling_ends_in_agreement() -> None:
    rows = settling(measured(made_up()))
    assert len(rows) == EPOCHS and rows[-1]["spearman"] == pytest.approx(1) and rows[-1]["kendall"] == pytest.approx(1)


def test_proxies_cover_the_design_and_are_reproduced() -> None:
    from benchmarks.accuracy.proxies import proxies

    found = read_proxies()
    assert design() == ENTRIES
    spec = min(SPECS, key=lambda s: s.alpha2 + s.alpha3)
    assert proxies(spec) == pytest.approx(found[spec], rel=0.02)


def test_blocks_of_a_page_are_written_anew() -> None:
    page = "a\n<!-- one -->\nold\n<!-- /one -->\nb"
    assert written(page, {"one": "new"}) == "a\n<!-- one -->\nnew\n<!-- /one -->\nb"
    with pytest.raises(KeyError):
        written(page, {})


# ---- what ships ------------------------------------------------------------------------------------------------------


@pytest.fixture
def shipped() -> tuple[Run, ...]:
    if not TABLE.exists():
        pytest.skip("the bench's table has not been measured yet")
    return read_runs(TABLE)


def test_the_table_that_ships_is_of_the_design(shipped: tuple[Run, ...]) -> None:
    asked = {(json.dumps(as_dict(entry.spec)), entry.seed) for entry in ENTRIES}
    assert {(json.dumps(run.spec), run.seed) for run in shipped if run.protocol == PROTOCOL} <= asked
    for run in shipped:
        assert run.epochs == EPOCHS and run.params == runs_module.trained_params(run.network)


def test_the_page_has_the_tables_of_the_table(shipped: tuple[Run, ...]) -> None:
    """To the unit in the last digits, which may differ between machines."""
    text = (ROOT / "docs" / "accuracy.md").read_text(encoding="utf-8")
    if len(measured(shipped)) < 5:
        pytest.skip("the bench has too few networks yet")
    new = written(text, markdown(compare()))
    number = re.compile(r"-?\d+\.\d+")
    assert number.sub("#", new).split() == number.sub("#", text).split(), (
        "run python -m benchmarks.accuracy.compare -o docs/accuracy.md"
    )
    old, found = (np.array([float(x) for x in number.findall(page)]) for page in (text, new))
    assert np.abs(old - found).max() < 0.02
    assert len(BLOCK.findall(text)) == len(markdown(compare()))


def test_the_model_that_ships_knows_its_networks(shipped: tuple[Run, ...]) -> None:
    if len(measured(shipped)) < 8:
        pytest.skip("the bench has too few networks yet")
    model = accuracy_model("bench")
    held = []
    for one in measured(shipped):
        mean, low, high = model.predict_spec(one.spec)
        assert low < mean < high
        held.append(low <= one.mean <= high)
    assert np.mean(held) >= 0.85
    assert noise_sd(measured(shipped)) < 5


def test_the_scale_of_the_bench_is_its_protocol():
    assert SCALES["bench"] == SHORT
