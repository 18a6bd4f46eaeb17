"""The published-figures model of mIOU: the paper's findings are laws of it, and its intervals are honest."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from search.accuracy import accuracy_model, assumptions_of, published_points
from search.accuracy.effects import EFFECTS
from search.accuracy.image_size import halving, shift_at
from search.accuracy.linear import ADDITIVITY, OFFSET_SD, TRANSFER_SD, Additive, Evidence, percent, points
from search.accuracy.published import fitted, leave_one_out, leave_value_out
from search.accuracy.published_scores import PROTOCOLS, evidence
from zoo.bulk.choices import Choices
from zoo.errors import SpecError, ZooError
from zoo.models.enet import ENetSpec
from zoo.models.espnet import ESPNetSpec
from zoo.models.espnetv2 import ESPNetv2Spec
from zoo.registry import lower

MODEL = accuracy_model("published")
C3 = ESPNetSpec(variant="C", alpha3=3)

FIELDS: dict[str, tuple[Any, ...]] = {
    "variant": ("A", "B", "C", "ESPNet"),
    "k": tuple(range(1, 9)),
    "alpha2": (0, 1, 2, 3, 6),
    "alpha3": (0, 1, 2, 3, 5, 8, 12),
    "widths": ((16, 64, 128), (8, 32, 64), (32, 128, 256), (16, 32, 160)),
    "activation": ("prelu", "relu"),
    "block": ("esp", "esp", "esp", "mobilenet", "shufflenet", "inception", "resnext", "resnet", "asp"),
    "residual": (True, False),
    "hff": (True, False),
    "reduce": ("pointwise", "3x3"),
    "pyramid": ("dilated", "standard"),
    "downsample": ("esp", "conv"),
    "image_path": ("none", "reinforcement", "fusion"),
    "decoder_sees_image": (False, True),
    "decoder_k": (1, 3, 5, 8),
}


def changed(spec: ESPNetSpec, **values: Any) -> ESPNetSpec | None:
    try:
        return dataclasses.replace(spec, **values)
    except SpecError:
        return None


def random_specs(count: int, seed: int = 0, **fixed: tuple[Any, ...]) -> list[ESPNetSpec]:
    rng = np.random.default_rng(seed)
    values, found = FIELDS | fixed, []
    while len(found) < count:
        spec = changed(ESPNetSpec(), **{name: options[rng.integers(len(options))] for name, options in values.items()})
        if spec is not None:
            found.append(spec)
    return found


def miou(spec: Any) -> float:
    return MODEL.predict_spec(spec)[0]


def width(spec: Any) -> float:
    _, low, high = MODEL.predict_spec(spec)
    return high - low


STATED = {
    "PReLU": (C3, changed(C3, activation="relu"), 2),
    "residual": (C3, changed(C3, residual=False), 2),
    "strided ESP": (C3, changed(C3, downsample="conv"), 1),
    "K = 2 against 8": (changed(C3, k=2), changed(C3, k=8), 11),
    "B against A": (changed(C3, variant="B", image_path="none"), changed(C3, variant="A", image_path="none"), 1),
    "C against B": (C3, changed(C3, variant="B", image_path="none"), 2),
    "fusion": (changed(C3, image_path="fusion"), C3, 0),
    "3x3 reduction": (changed(C3, reduce="3x3"), C3, 1.8),
    "dilated pyramid": (C3, changed(C3, pyramid="standard"), 1.6),
    "MobileNet": (changed(C3, block="mobilenet", downsample="conv"), C3, 42 - 49),
    "ShuffleNet": (changed(C3, block="shufflenet", downsample="conv", k=4), C3, 37 - 49),
    "Inception": (changed(C3, block="inception", downsample="conv"), C3, 43 - 49),
    "ResNeXt": (changed(C3, block="resnext", downsample="conv"), C3, 50 - 49),
    "ResNet": (changed(C3, block="resnet", downsample="conv"), C3, 54 - 49),
}


@pytest.mark.parametrize("name", STATED)
def test_published_effect(name: str) -> None:
    better, worse, difference = STATED[name]
    assert miou(better) - miou(worse) == pytest.approx(difference, abs=0.35)


def test_decoder_gains_6_to_8() -> None:
    for alpha3 in (3, 5, 8):
        gain = miou(changed(C3, variant="ESPNet", alpha3=alpha3)) - miou(changed(C3, alpha3=alpha3))
        assert 6 <= gain <= 8


Change = Callable[[ESPNetSpec], ESPNetSpec | None]

NEVER_WORSE: dict[str, Change] = {
    "one branch less": lambda s: changed(s, k=s.k - 1),
    "alpha2": lambda s: changed(s, alpha2=s.alpha2 + 1),
    "alpha3": lambda s: changed(s, alpha3=s.alpha3 + 1),
    "PReLU": lambda s: changed(s, activation="prelu"),
    "residual": lambda s: changed(s, residual=True),
    "hff": lambda s: changed(s, hff=True),
    "3x3 reduction": lambda s: changed(s, reduce="3x3"),
    "dilated": lambda s: changed(s, pyramid="dilated"),
    # Between other blocks a strided ESP unit brings its own K and pyramid in: nothing is published of that.
    "strided ESP": lambda s: changed(s, downsample="esp") if s.block == "esp" else None,
    "level 1 wider": lambda s: changed(s, widths=(2 * s.widths[0], *s.widths[1:])),
    "level 2 wider": lambda s: changed(s, widths=(s.widths[0], 2 * s.widths[1], s.widths[2])),
    "level 3 wider": lambda s: changed(s, widths=(*s.widths[:2], 2 * s.widths[2])),
    "A to B": lambda s: changed(s, variant="B") if s.variant == "A" else None,
    "B to C": lambda s: changed(s, variant="C", image_path="reinforcement") if s.variant == "B" else None,
    "C to ESPNet": lambda s: changed(s, variant="ESPNet") if s.variant == "C" else None,
}


@pytest.mark.parametrize("name", NEVER_WORSE)
def test_never_worse(name: str) -> None:
    tried = 0
    for spec in random_specs(400):
        better = NEVER_WORSE[name](spec)
        if better is not None and better != spec:
            tried += 1
            assert miou(better) >= miou(spec) - 1e-9, spec
    assert tried >= 30


def test_more_units_gain_less_and_less() -> None:
    for spec in random_specs(20, alpha3=(1,)):
        curve = [miou(changed(spec, alpha3=alpha3)) for alpha3 in range(1, 20)]
        gains = np.diff(curve)
        assert np.all(gains > 0) and np.all(np.diff(gains) < 0)


def test_equal_networks_have_equal_predictions() -> None:
    few: dict[str, tuple[Any, ...]] = {
        "k": (1, 2, 5),
        "alpha2": (0, 1),
        "alpha3": (0, 1),
        "widths": ((16, 64, 128),),
        "variant": ("A", "B", "C", "ESPNet"),
    }
    seen: dict[Any, ESPNetSpec] = {}
    repeats = 0
    for spec in random_specs(800, **few):
        graph = lower(spec, (32, 32))
        twin = seen.setdefault((graph.layers, graph.outputs), spec)
        repeats += twin != spec
        assert MODEL.predict_spec(twin)[0] == pytest.approx(miou(spec)), (twin, spec)
    assert repeats >= 20


def test_published_points_are_reproduced() -> None:
    for point in published_points():
        mean, low, high = accuracy_model("published", point.size).predict_spec(point.spec)
        assert low < point.miou < high
        assert mean == pytest.approx(point.miou, abs=0.75 if point.size == (512, 1024) else 2.0)


def test_names_of_published_points() -> None:
    usual = [point for point in published_points() if point.size == (512, 1024)]
    found = {point.name: point for point in usual}
    for alpha3, encoder, whole in ((3, 49.0, 56.3), (5, 51.2, 57.9), (8, 53.3, 61.4)):
        assert found[f"ESPNet-C α3={alpha3}"].miou == encoder
        assert found[f"ESPNet α3={alpha3}"].miou == whole
    assert found["ESPNet-C α3=3"].params == 187_529
    assert len(found) == len(usual)


def test_every_run_counts_once() -> None:
    """The poster repeats two figures of the table, and one ablation is the difference of two known figures."""
    found = evidence("espnet")
    absolute = [(item.spec, item.protocol) for item in found if item.against is None]
    assert len(absolute) == len(set(absolute)) == 14
    assert sum(item.protocol == "100 epochs" for item in found if item.against is None) == 2
    differences = [item for item in found if item.against is not None]
    assert len(differences) == 9
    assert not any(item.name.startswith("variant: C instead of B") for item in differences)


def brute_force(model: Additive, figures: list[Evidence], spec: Any) -> float:
    """The same posterior mean as ridge regression by least squares: prior beliefs are rows of data."""
    others = sorted({item.protocol for item in figures} - {model.protocol})

    def row(item: Evidence) -> list[float]:
        values = model.values(item.spec) - (model.values(item.against) if item.against else 0)
        return [*values, *(float(item.against is None and item.protocol == other) for other in others)]

    def sd(item: Evidence) -> float:
        transfer = 0 if item.protocol == model.protocol else TRANSFER_SD
        return float(np.sqrt(model.noise_sd**2 * (2 if item.against else 1) + transfer**2 + item.resolution**2 / 3))

    prior_mean = np.array([effect.mean for effect in model.effects] + [0.0] * len(others))
    prior_sd = np.array([effect.sd for effect in model.effects] + [OFFSET_SD] * len(others))
    sds = np.array([sd(item) for item in figures])
    targets = np.array([item.miou if item.against else points(item.miou) for item in figures])
    left = np.vstack([np.array([row(item) for item in figures]) / sds[:, None], np.diag(1 / prior_sd)])
    right = np.concatenate([targets / sds, prior_mean / prior_sd])
    coefficients = np.linalg.lstsq(left, right, rcond=None)[0]
    return float(percent(model.values(spec) @ coefficients[: len(model.effects)]))


@pytest.mark.parametrize("family", EFFECTS)
def test_leave_one_out_is_a_real_refit(family: str) -> None:
    model = fitted(family)
    found = {entry["name"]: entry for entry in leave_one_out(model)["points"]}
    for left_out in model.points:
        rest = [item for item in model.evidence if item is not left_out]
        expected = brute_force(model, rest, left_out.spec)
        assert found[left_out.name]["predicted"] == pytest.approx(expected, abs=1e-3)
    assert len(found) == len(model.points)


def test_leave_alpha3_out_refits_without_all_of_that_alpha3() -> None:
    model = fitted("espnet")
    found = {entry["name"]: entry["predicted"] for entry in leave_value_out(model)["points"]}
    rest = [item for item in model.evidence if item not in model.points or item.spec.alpha3 != 8]
    for name in ("ESPNet-C α3=8", "ESPNet α3=8"):
        spec = next(item.spec for item in model.points if item.name == name)
        assert found[name] == pytest.approx(brute_force(model, rest, spec), abs=1e-3)


@pytest.mark.parametrize("family", EFFECTS)
def test_errors_on_left_out_figures_are_those_the_intervals_promise(family: str) -> None:
    for report in (leave_one_out(fitted(family)), leave_value_out(fitted(family))):
        assert report["n"] >= 4
        assert report["mae"] <= report["rmse"] < 1.0
        assert report["within_90"] >= 0.8


def test_a_block_is_not_judged_without_its_own_figure() -> None:
    entries = {entry["name"]: entry for entry in leave_one_out(fitted("espnet"))["points"]}
    assert not entries["ESPNet-C/ResNet α3=3"]["supported"]
    assert entries["ESPNet α3=8"]["supported"]


def test_level_of_another_protocol_does_not_matter() -> None:
    model = fitted("espnet")
    shifted = tuple(
        dataclasses.replace(item, miou=float(percent(points(item.miou) + 5)))
        if item.against is None and item.protocol != model.protocol
        else item
        for item in model.evidence
    )
    assert shifted != model.evidence
    other = Additive(model.effects, shifted, model.protocol, model.noise_sd)
    for spec in random_specs(50):
        assert other.predict_spec(spec) == pytest.approx(model.predict_spec(spec), abs=0.02)


FAR = {
    "K = 2": changed(C3, k=2),
    "alpha3 = 12": changed(C3, alpha3=12),
    "alpha3 = 0": changed(C3, alpha3=0),
    "alpha2 = 5": changed(C3, alpha2=5),
    "wide": changed(C3, widths=(32, 128, 256)),
    "narrow": changed(C3, widths=(8, 32, 64)),
    "no HFF": changed(C3, hff=False),
    "ASP": changed(C3, block="asp"),
}


@pytest.mark.parametrize("name", FAR)
def test_interval_is_wider_away_from_the_published_networks(name: str) -> None:
    known = [width(p.spec) for p in published_points() if p.spec.family == "espnet" and p.spec.block == "esp"]
    assert width(FAR[name]) > 1.1 * max(known)


def test_interval_widens_with_each_step_away() -> None:
    for steps in ((5, 4, 3, 2), (5, 6, 7, 8)):
        widths = [width(changed(C3, k=k)) for k in steps]
        assert widths == sorted(widths) and len(set(widths)) == len(widths)
    deeper = [width(changed(C3, alpha3=alpha3)) for alpha3 in (8, 10, 12, 16, 32)]
    assert deeper == sorted(deeper)
    together = changed(C3, k=2, widths=(32, 128, 256))
    assert width(together) > max(width(changed(C3, k=2)), width(changed(C3, widths=(32, 128, 256))))


def test_more_confidence_is_a_wider_interval_around_the_same_estimate() -> None:
    bounds = [MODEL.predict_spec(C3, confidence) for confidence in (0.5, 0.9, 0.99)]
    assert len({mean for mean, _, _ in bounds}) == 1
    assert [low for _, low, _ in bounds] == sorted((low for _, low, _ in bounds), reverse=True)
    assert [high for _, _, high in bounds] == sorted(high for _, _, high in bounds)


def test_interval_has_the_variance_of_its_parts() -> None:
    """K = 3 at ESPNet-C, by hand: coefficients, one run's noise, and a share of the way from K = 5."""
    model, spec = fitted("espnet"), changed(C3, k=3)
    mean, covariance = model.posterior
    value = model.values(spec)
    moved = sum(abs(mean[i]) for i, effect in enumerate(model.effects) if effect.name in STEPS_BELOW_4)
    variance = value @ covariance @ value + model.noise_sd**2 + (ADDITIVITY * moved) ** 2
    _, low, high = model.predict_spec(spec, 0.6826894921370859)
    assert points(high) - points(low) == pytest.approx(2 * np.sqrt(variance))


STEPS_BELOW_4 = ("K = 3 instead of 4",)


def test_predictions_stay_within_0_and_100() -> None:
    best = ESPNetSpec(variant="ESPNet", k=1, alpha2=64, alpha3=64, widths=(4096, 4096, 4096), reduce="3x3", block="esp")
    worst = ESPNetSpec(variant="A", image_path="none", k=1, alpha2=0, alpha3=0, widths=(1, 1, 1), activation="relu")
    for spec in (best, worst):
        mean, low, high = MODEL.predict_spec(spec, 0.999)
        assert 0 < low < mean < high < 100


@pytest.mark.parametrize("family", ["espnet", "espnetv2"])
def test_all_at_once_equals_one_by_one(family: str) -> None:
    if family == "espnet":
        specs: list[Any] = random_specs(150, seed=3)
        choices = Choices("espnet", {name: tuple(dict.fromkeys(values)) for name, values in FIELDS.items()})
    else:
        choices = Choices(
            family,
            {"scale": (0.5, 1.0, 1.25, 2.0), "depth3": (0, 3, 5), "depth4": (1, 7), "decoder_width": (8, 16)},
        )
        rows = choices.codes(np.arange(choices.size))
        specs = [
            ESPNetv2Spec(**choices.spec_values({name: int(column[i]) for name, column in rows.items()}))
            for i in range(choices.size)
        ]
    codes = {
        name: np.array([values.index(getattr(spec, name)) for spec in specs]) for name, values in choices.values.items()
    }
    found = MODEL.predict(choices, codes, 0.8)
    for i, spec in enumerate(specs):
        one = (found.mean[i], found.low[i], found.high[i])
        assert one == pytest.approx(MODEL.predict_spec(spec, 0.8), abs=1e-9)


def test_wider_and_deeper_espnetv2_is_never_worse() -> None:
    scales = [miou(ESPNetv2Spec(scale=s / 2)) for s in range(1, 9)]
    assert scales == sorted(scales)
    for field, values in {"depth3": (0, 1, 3, 8), "depth4": (1, 7, 12), "decoder_width": (4, 16, 32)}.items():
        curve = [miou(ESPNetv2Spec(**{field: value})) for value in values]
        assert curve == sorted(curve)
    assert width(ESPNetv2Spec(depth4=14)) > width(ESPNetv2Spec())


@pytest.mark.parametrize("family", EFFECTS)
def test_description_is_plain_and_repeatable(family: str) -> None:
    described = MODEL.describe(family)
    assert json.loads(json.dumps(described)) == described
    fitted.cache_clear()
    evidence.cache_clear()
    assert accuracy_model("published").describe(family) == described
    assert PROTOCOLS[family] in described["protocol"]


def test_description_tells_fitted_from_assumed() -> None:
    effects = {effect["name"]: effect for effect in MODEL.describe()["effects"]}
    assert effects["decoder"]["fitted"]
    for name in ("width of level 2, doubling", "alpha2, doubling of 1 + alpha2", "hierarchical feature fusion"):
        assert not effects[name]["fitted"]
        assert effects[name]["basis"].startswith("assumption")
        assert effects[name]["posterior"] == effects[name]["prior"]
    assert all(effect["basis"].startswith("assumption") != effect["fitted"] for effect in effects.values())


def test_misspelt_model() -> None:
    with pytest.raises(ZooError, match="did you mean 'published'"):
        accuracy_model("publishd")


def test_family_without_figures() -> None:
    with pytest.raises(ZooError, match="no Cityscapes val figures of the family 'enet'"):
        MODEL.predict_spec(ENetSpec())


@pytest.mark.parametrize("confidence", [0.0, 1.0, -1.0, float("nan")])
def test_confidence_is_a_probability(confidence: float) -> None:
    with pytest.raises(ZooError, match="confidence must be between 0 and 1"):
        MODEL.predict_spec(C3, confidence)


def test_a_smaller_image_costs_what_published_pairs_lost_and_widens_the_interval() -> None:
    halved = accuracy_model("published", (256, 512))
    for point in [p for p in published_points() if p.size == (256, 512)]:
        mean, low, high = halved.predict_spec(point.spec)
        whole = MODEL.predict_spec(point.spec)
        assert low < point.miou < high and mean < whole[0] and high - low > whole[2] - whole[1]
    spec = ESPNetSpec(variant="ESPNet", alpha3=8)
    spreads = [
        high - low
        for size in ((512, 1024), (360, 480), (256, 512), (128, 256), (64, 128))
        for _, low, high in [accuracy_model("published", size).predict_spec(spec)]
    ]
    assert spreads == sorted(spreads)


def test_the_published_size_adds_nothing_and_a_larger_image_promises_nothing() -> None:
    spec = ESPNetSpec(variant="ESPNet", alpha3=8)
    assert accuracy_model("published", (512, 1024)).predict_spec(spec) == MODEL.predict_spec(spec)
    mean, low, high = accuracy_model("published", (1024, 2048)).predict_spec(spec)
    known, below, above = MODEL.predict_spec(spec)
    assert mean == pytest.approx(known) and low < below and high > above


def test_the_pairs_at_two_sizes_are_those_of_the_table() -> None:
    """Cityscapes: 53.9 to 47.3, 60.1 to 52.2, 63.8 to 54.6, in points a halving; PASCAL VOC's are 0.58 halvings."""
    cityscapes = [points(a) - points(b) for a, b in ((53.9, 47.3), (60.1, 52.2), (63.8, 54.6))]
    pairs = ((47.18, 39.82), (60.22, 54.14), (63.67, 59.39), (67.01, 63.36))
    pascal = [(points(a) - points(b)) / np.log2(384 / 256) for a, b in pairs]
    assert halving().mean == pytest.approx(np.mean(cityscapes))
    squares = sum(np.var(group, ddof=0) * len(group) for group in (cityscapes, pascal))
    assert halving().own_sd == pytest.approx(np.sqrt(squares / 5)) and halving().networks == 3


def test_candidates_of_one_size_share_its_error_so_their_difference_keeps_its_sign() -> None:
    specs = [ESPNetSpec(variant="ESPNet", alpha3=8), ESPNetSpec(variant="C", alpha3=3)]
    small = accuracy_model("published", (256, 512)).joint(specs)
    full = MODEL.joint(specs)
    assert small.mean[0] - small.mean[1] == pytest.approx(full.mean[0] - full.mean[1])
    shared = small.covariance(0)[1] - full.covariance(0)[1]
    assert shared == pytest.approx(shift_at("espnet", (256, 512)).shared_sd ** 2)


def test_a_row_names_what_no_figure_varies() -> None:
    known, changed = ESPNetSpec(variant="ESPNet", alpha3=8), ESPNetSpec(variant="ESPNet", alpha2=4, widths=(16, 64, 96))
    assert assumptions_of(MODEL, known) == ()
    assert assumptions_of(MODEL, changed) == ("alpha2", "widths")
    assert assumptions_of(accuracy_model("published", (256, 512)), known) == ("image size",)
    half = accuracy_model("published", (256, 512))
    assert assumptions_of(half, ESPNetv2Spec(scale=1.0)) == ()


def test_the_page_has_the_size_effect_of_the_code() -> None:
    page = " ".join((Path(__file__).parents[1] / "docs" / "accuracy.md").read_text(encoding="utf-8").split())
    assert f"half the side costs {halving().mean:.1f} points" in page
    assert f"the seven differ by {halving().own_sd:.1f} about the mean" in page
