"""The published figures: what a line must say, and how they compare with our counts."""

import json
from argparse import Namespace
from dataclasses import replace
from typing import Any

import pytest

from zoo.cli import main
from zoo.config import load_config
from zoo.errors import ZooError
from zoo.models.espnet import ESPNetSpec
from zoo.published import Figure, compare, figures, read_figures
from zoo.registry import lower

HEADER = "network,model,variant,module,k,alpha2,alpha3,change,metric,value,dataset,split,epochs,size,source\n"
COMPARED = ["fcn-8s", "segnet", "sqnet", "enet", "deeplab-v2", "pspnet", "erfnet", "espnet-8"]
MODELS = load_config().models


def params(model: str) -> int | None:
    return lower(MODELS[model].spec).params if model in MODELS else None


def values(changes: tuple[str, str, str]) -> list[Any]:
    """The values before and after, of the type that ESPNet's field has."""
    field, *texts = changes
    default = getattr(ESPNetSpec(), field)
    if isinstance(default, bool):
        return [text == "true" for text in texts]
    return [type(default)(text) for text in texts]


def changed(figure: Figure) -> tuple[ESPNetSpec, ESPNetSpec]:
    """The networks before and after an ablation's change."""
    assert figure.change is not None
    pairs = {}
    for value in values(figure.change):
        settings: dict[str, Any] = {figure.change[0]: value}
        if value in ("A", "B"):
            settings["image_path"] = "none"
        pairs[value] = replace(ESPNetSpec(alpha3=figure.alpha3 or 0), **settings)
    before, after = pairs.values()
    return before, after


def test_the_papers_comparison_comes_first_and_is_complete() -> None:
    rows = compare(params)
    assert [row.model for row in rows[: len(COMPARED)]] == COMPARED
    for row in rows[: len(COMPARED)]:
        assert any(f.metric == "category_miou" and f.dataset == "cityscapes" for f in row.figures)


def test_counts_are_the_published_ones_as_far_as_they_are_printed() -> None:
    met = {}
    for row in compare(params):
        if row.difference is None or any(f.module not in (None, "esp") for f in row.figures):
            continue
        printed = next(f.value for f in row.figures if f.metric == "params_m")
        digit = 10.0 ** -len(str(printed).partition(".")[2])
        met[row.model] = abs(row.difference) <= max(0.01, digit / printed)
    # The source of espnet-wide leaves its depth open.
    assert met.pop("espnet-wide", False) is False
    # Up to 5 % off, with the reason in the file of each.
    assert not any(met.pop(model) for model in ("fpenet", "fast-scnn", "lednet"))
    assert set(COMPARED) <= set(met)
    assert [model for model, close in met.items() if not close] == []


def test_figures_describe_the_models_that_they_name() -> None:
    for figure in figures():
        entry = MODELS.get(figure.model or "")
        if entry is None or not isinstance(entry.spec, ESPNetSpec):
            continue
        spec = entry.spec
        assert figure.module == spec.block, figure
        assert figure.variant == spec.variant and figure.decoder == (spec.variant == "ESPNet"), figure
        stated = {"alpha2": figure.alpha2, "alpha3": figure.alpha3}
        if figure.module == "esp":  # other blocks meet their published counts with k of their own
            stated["k"] = figure.k
        assert {name: getattr(spec, name) for name, value in stated.items() if value is not None} == {
            name: value for name, value in stated.items() if value is not None
        }, figure


def test_ablations_are_specs_with_the_published_change_in_parameters() -> None:
    ablations = [figure for figure in figures() if figure.change]
    assert {f.change[0] for f in ablations if f.change} == {
        "activation", "residual", "downsample", "k", "variant", "image_path", "reduce", "pyramid"
    }  # fmt: skip
    for figure in ablations:
        before, after = (lower(spec).params for spec in changed(figure))
        if figure.metric == "params_change_percent":
            assert 100 * (after / before - 1) == pytest.approx(figure.value, abs=1)
        if figure.metric == "params_change_m":
            assert (after - before) / 1e6 == pytest.approx(figure.value, abs=0.005)


def test_measured_accuracies_say_on_what() -> None:
    for figure in figures():
        if "miou" in figure.metric or figure.metric == "class_average":
            assert figure.dataset and figure.split, figure
            assert figure.metric == "miou_change" or 0 < figure.value < 100


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("ENet,enet,,,,,,,params,0.36,,,,,somewhere", "line 2: metric 'params' is not one of"),
        ("ENet,enet,,,,,,,params_m,many,,,,,somewhere", "line 2: could not convert"),
        ("ENet,enet,,,,,,,params_m,0.36,,,,,", "line 2: network and source must be given"),
        ("ENet,enet,,,five,,,,params_m,0.36,,,,,somewhere", "line 2: invalid literal"),
        ("ESPNet,,,,,,,activation=relu,miou_change,2,cityscapes,val,,,somewhere", "line 2: "),
    ],
)
def test_line_that_says_too_little_is_refused(line: str, sentence: str) -> None:
    with pytest.raises(ZooError, match=f"own.csv: {sentence}"):
        read_figures(HEADER + line, "own.csv")


def test_network_that_we_lack_has_no_difference() -> None:
    rows = {row.network: row for row in compare(lambda model: None)}
    assert rows["ENet"].published_params == 360_000
    assert rows["ENet"].params is None and rows["ENet"].difference is None
    assert rows["Dilation-8"].model is None


def test_command_prints_the_table_and_every_figure(capsys: pytest.CaptureFixture[str]) -> None:
    from zoo.cli.published import list_published

    assert list_published(Namespace(json=True, config=None)) == 0
    rows = json.loads(capsys.readouterr().out)
    erfnet = next(row for row in rows if row["model"] == "erfnet")
    assert erfnet["published_params"] == 2_060_000 and erfnet["params"] == 2_064_256
    assert erfnet["difference"] == pytest.approx(0.002066, abs=1e-6)
    assert {figure["source"] for figure in erfnet["figures"]} and all(f["source"] for f in erfnet["figures"])
    assert list_published(Namespace(json=False, config=None)) == 0
    lines = [x.split() for x in capsys.readouterr().out.splitlines() if x.strip().startswith("erfnet")]
    assert lines[0] == ["erfnet", "2.060", "2.064", "+0.21", "%"]
    assert {"86.5", "76.0"} <= {line[-1] for line in lines}


def test_a_recount_that_is_far_off_says_why(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "--published", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    far = [row for row in rows if row["difference"] is not None and abs(row["difference"]) >= 0.02]
    assert far
    assert all(row["why"] not in (None, "not known") for row in far)
