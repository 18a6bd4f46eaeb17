"""ESPNet: published counts, a second count from closed forms, and the structure that the released weights need."""

from dataclasses import replace
from typing import Any, Literal, get_args

import numpy as np
import pytest

from zoo.errors import SpecError
from zoo.graph import BatchNorm, Conv, Graph, Layer, PReLU
from zoo.models.espnet import ESPNetSpec
from zoo.registry import lower
from zoo.specs import field_types

SIZE = (512, 1024)

GOLDEN = [
    # variant, alpha3, parameters, MACs at 1024x512
    ("C", 3, 187_529, 2_159_435_776),
    ("C", 5, 252_297, 2_683_723_776),
    ("C", 8, 349_449, 3_470_155_776),
    ("ESPNet", 3, 202_649, 3_398_721_536),
    ("ESPNet", 5, 267_417, 3_923_009_536),
    ("ESPNet", 8, 364_569, 4_709_441_536),
]


@pytest.mark.parametrize(("variant", "alpha3", "params", "macs"), GOLDEN)
def test_published_counts(variant: Any, alpha3: int, params: int, macs: int) -> None:
    graph = lower(ESPNetSpec(variant=variant, alpha3=alpha3), SIZE)
    assert (graph.params, graph.macs, graph.weight_bytes) == (params, macs, 4 * params)


def test_published_counts_of_b_and_of_one_unit_more() -> None:
    assert lower(ESPNetSpec(variant="B", image_path="none", alpha3=3)).params == 186_464
    base = lower(ESPNetSpec()).params
    assert lower(ESPNetSpec(alpha2=3)).params - base == 7_872
    assert lower(ESPNetSpec(alpha3=9)).params - base == 32_384


# A second count, from the sizes of weights alone


def esp_params(m: int, n_out: int, k: int, act: int, reduce: int = 1) -> int:
    """ESP(M -> N, K) with BN and activation (`act` parameters a channel)."""
    n = n_out // k
    first = n_out - (k - 1) * n
    return m * n * reduce**2 + 9 * n * (first + (k - 1) * n) + (2 + act) * n_out


def counted(s: ESPNetSpec) -> int:
    """Parameters of an ESPNet by the tables of its paper and its released weights."""
    act = int(s.activation == "prelu")
    norm = 2 + act
    w1, w2, w3 = s.widths
    wide = 3 if s.reduce == "3x3" else 1
    image = 3 if s.image_path == "reinforcement" else 0
    joins = s.variant != "A"

    def down(m: int, n: int) -> int:
        return 9 * m * n + norm * n if s.downsample == "conv" else esp_params(m, n, s.k, act, 3)

    def fusion(channels: int) -> int:
        return 27 * channels + norm * channels + channels**2 + norm * channels

    total = 27 * w1 + norm * w1
    level1 = w1 + image
    total += {"none": 0, "reinforcement": norm * level1, "fusion": fusion(w1)}[s.image_path]
    total += down(level1, w2) + s.alpha2 * esp_params(w2, w2, s.k, act, wide)
    level2 = w2 * (2 if joins and s.alpha2 else 1) + image
    if s.image_path == "fusion":
        total += fusion(level2)
    elif image or (joins and s.alpha2):
        total += norm * level2
    total += down(level2, w3) + s.alpha3 * esp_params(w3, w3, s.k, act, wide)
    level3 = w3 * (2 if joins and s.alpha3 else 1)
    total += norm * level3 if joins and s.alpha3 else 0
    total += level3 * s.classes
    if s.variant == "ESPNet":
        c = s.classes
        total += 2 * c + 4 * c * c  # BN, transposed convolution
        total += level2 * c + norm * 2 * c + esp_params(2 * c, c, s.decoder_k, act, wide) + 4 * c * c + norm * c
        seen = level1 if s.decoder_sees_image else w1
        total += 9 * (c + seen) * c + norm * c + 4 * c * c
    return total


def random_specs(count: int) -> list[ESPNetSpec]:
    rng, found = np.random.default_rng(2), []
    values: dict[str, tuple[Any, ...]] = {
        "variant": ("A", "B", "C", "ESPNet"),
        "k": tuple(range(1, 9)),
        "alpha2": (0, 1, 2, 5),
        "alpha3": (0, 1, 3, 8),
        "widths": ((16, 64, 128), (5, 24, 41), (16, 128, 256), (9, 16, 16)),
        "classes": (5, 12, 20),
        "activation": ("prelu", "relu"),
        "reduce": ("pointwise", "3x3"),
        "downsample": ("esp", "conv"),
        "image_path": ("none", "reinforcement", "fusion"),
        "decoder_sees_image": (False, True),
        "decoder_k": (1, 3, 5),
    }
    while len(found) < count:
        try:
            found.append(ESPNetSpec(**{name: options[rng.integers(len(options))] for name, options in values.items()}))
        except SpecError:
            continue
    return found


def test_parameters_by_closed_forms() -> None:
    for spec in random_specs(250):
        assert lower(spec, (64, 64)).params == counted(spec), spec


# Laws


def test_macs_grow_with_area_and_parameters_do_not() -> None:
    for spec in random_specs(40):
        small, large = lower(spec, (64, 96)), lower(spec, (128, 288))
        assert large.params == small.params
        assert large.macs == 6 * small.macs
        assert large.peak_activation_bytes == 6 * small.peak_activation_bytes


def test_fields_that_only_change_arithmetic_cost_nothing() -> None:
    base = lower(ESPNetSpec())
    for change in ({"hff": False}, {"pyramid": "standard"}, {"residual": False}):
        graph = lower(replace(ESPNetSpec(), **change))
        assert (graph.params, graph.macs) == (base.params, base.macs)
        assert graph.layers != base.layers


@pytest.mark.parametrize("variant", ["A", "B", "C"])
@pytest.mark.parametrize(("height", "width"), [(512, 1024), (360, 485), (33, 7), (1, 1)])
def test_encoders_take_any_size_and_give_an_eighth_rounded_up(variant: Any, height: int, width: int) -> None:
    spec = ESPNetSpec(variant=variant, image_path="reinforcement" if variant == "C" else "none", alpha3=1)
    (shape,) = lower(spec, (height, width)).output_shapes
    assert (shape.channels, shape.height, shape.width) == (20, -(-height // 8), -(-width // 8))


@pytest.mark.parametrize(("height", "width"), [(512, 1024), (8, 8), (360, 480)])
def test_decoder_gives_the_images_size(height: int, width: int) -> None:
    (shape,) = lower(ESPNetSpec(variant="ESPNet", alpha3=1), (height, width)).output_shapes
    assert (shape.channels, shape.height, shape.width) == (20, height, width)


# Structure


def graph_of(**fields: Any) -> Graph:
    return lower(ESPNetSpec(**fields), (64, 128))


def parts(graph: Graph, kind: str) -> list[Layer]:
    return [layer for layer in graph.layers if layer.kind == kind]


def test_no_convolution_has_a_bias_and_bn_has_its_eps() -> None:
    graph = graph_of(variant="ESPNet", image_path="fusion")
    assert not any(layer.op.bias for layer in graph.layers if layer.kind in ("Conv", "ConvTranspose"))  # type: ignore[attr-defined]
    assert {layer.op.eps for layer in graph.layers if isinstance(layer.op, BatchNorm)} == {1e-3}


def test_activations_have_one_slope_a_channel() -> None:
    for layer in parts(graph_of(variant="ESPNet"), "PReLU"):
        assert isinstance(layer.op, PReLU) and layer.params == layer.out_shape.channels
    relu = graph_of(variant="ESPNet", activation="relu")
    assert not parts(relu, "PReLU") and len(parts(relu, "ReLU")) == len(parts(graph_of(variant="ESPNet"), "PReLU"))


@pytest.mark.parametrize("k", range(1, 9))
def test_pyramid(k: int) -> None:
    """Branches of N // K channels, the first with the remainder; dilations 1, 2, 4, … padded to keep the size."""
    layers = graph_of(k=k).by_name
    for i in range(k):
        op = layers[f"level3.0.d{2**i}.conv"].op
        assert isinstance(op, Conv)
        assert op.out_channels == (128 - (k - 1) * (128 // k) if i == 0 else 128 // k)
        assert op.dilation == op.padding == (2**i, 2**i)
    assert f"level3.0.d{2**k}.conv" not in layers
    assert layers["level3.0.cat"].out_shape.channels == 128


def test_standard_pyramid_dilates_nothing() -> None:
    for layer in graph_of(variant="ESPNet", pyramid="standard").layers:
        assert not isinstance(layer.op, Conv) or layer.op.dilation == (1, 1)


def test_hff_sums_from_the_second_branch_on() -> None:
    layers = graph_of(k=5).by_name
    assert layers["level3.0.hff4"].inputs == ("level3.0.d2.conv", "level3.0.d4.conv")
    assert layers["level3.0.hff8"].inputs == ("level3.0.hff4", "level3.0.d8.conv")
    assert layers["level3.0.cat"].inputs == (
        "level3.0.d1.conv", "level3.0.d2.conv", "level3.0.hff4", "level3.0.hff8", "level3.0.hff16"
    )  # fmt: skip
    plain = graph_of(k=5, hff=False).by_name
    assert plain["level3.0.cat"].inputs == tuple(f"level3.0.d{2**i}.conv" for i in range(5))


def test_reduction() -> None:
    """Strided units reduce with a 3x3 of stride 2, plain ones with a 1x1 unless told otherwise."""
    for reduce, kernel in (("pointwise", 1), ("3x3", 3)):
        layers = graph_of(reduce=reduce).by_name
        strided, plain = layers["level3_0.c1.conv"].op, layers["level3.0.c1.conv"].op
        assert isinstance(strided, Conv) and isinstance(plain, Conv)
        assert (strided.kernel, strided.stride) == ((3, 3), (2, 2))
        assert (plain.kernel, plain.stride) == ((kernel, kernel), (1, 1))


def test_residuals_are_around_plain_units_only() -> None:
    graph = graph_of(variant="ESPNet", alpha2=2, alpha3=3)
    found = [layer.name for layer in graph.layers if layer.name.endswith("residual")]
    units = [f"encoder.level{level}.{i}.residual" for level, depth in ((2, 2), (3, 3)) for i in range(depth)]
    assert found == units
    assert graph.by_name[units[1]].inputs[0] == "encoder.level2.0.bn.act"
    assert not [x for x in graph_of(residual=False).layers if x.name.endswith("residual")]


def test_order_inside_the_concatenations() -> None:
    """As the released weights need it."""
    layers = graph_of(variant="C", alpha2=2, alpha3=3).by_name
    assert layers["b1.cat"].inputs == ("level1.act", "sample1")
    assert layers["b2.cat"].inputs == ("level2.1.bn.act", "level2_0.act", "sample2")
    assert layers["b3.cat"].inputs == ("level3_0.act", "level3.2.bn.act")
    assert [layers[name].out_shape.channels for name in ("b1.cat", "b2.cat", "b3.cat")] == [19, 131, 256]


def test_the_image_is_pooled_once_and_twice() -> None:
    layers = graph_of(variant="C").by_name
    assert layers["sample1"].inputs == ("image",) and layers["sample2"].inputs == ("sample1",)
    for name in ("sample1", "sample2"):
        op: Any = layers[name].op
        assert (op.kernel, op.stride, op.padding) == ((3, 3), (2, 2), (1, 1))


def test_what_the_decoders_last_step_reads() -> None:
    plain = graph_of(variant="ESPNet").by_name
    camvid = graph_of(variant="ESPNet", decoder_sees_image=True).by_name
    assert plain["conv.cat"].inputs == ("up_l2.1.act", "encoder.level1.act")
    assert camvid["conv.cat"].inputs == ("up_l2.1.act", "encoder.b1.act")
    assert plain["conv.cat"].out_shape.channels == 36 and camvid["conv.cat"].out_shape.channels == 39


DECODER_KEYS = (
    "encoder.level1.conv", "encoder.b1.bn", "encoder.b2.act", "encoder.b3.bn", "encoder.level2_0.c1.conv",
    "encoder.level2_0.d16.conv", "encoder.level2_0.bn", "encoder.level2.0.bn.bn", "encoder.level3.7.d4.conv",
    "encoder.classifier.conv", "level3_C.conv", "br", "up_l3.0", "combine_l2_l3.0.bn", "combine_l2_l3.1.c1.conv",
    "combine_l2_l3.1.bn.act", "up_l2.0", "up_l2.1.bn", "conv.conv", "conv.act", "classifier",
)  # fmt: skip


def test_names_are_the_keys_of_the_released_weights() -> None:
    decoder = {layer.name for layer in graph_of(variant="ESPNet").layers if layer.params}
    assert set(DECODER_KEYS) <= decoder
    encoder = {layer.name for layer in graph_of(variant="C").layers if layer.params}
    assert {f"encoder.{name}" for name in encoder} == {name for name in decoder if name.startswith("encoder.")}


def test_encoder_of_espnet_is_espnet_c() -> None:
    whole, encoder = graph_of(variant="ESPNet"), graph_of(variant="C")
    for layer in encoder.layers[1:]:
        twin = whole.by_name[f"encoder.{layer.name}"]
        assert (twin.op, twin.in_shapes, twin.out_shape) == (layer.op, layer.in_shapes, layer.out_shape)


@pytest.mark.parametrize("variant", ["B", "C", "ESPNet"])
def test_a_level_without_units_has_nothing_to_concatenate(variant: Any) -> None:
    image: Literal["none", "reinforcement"] = "none" if variant == "B" else "reinforcement"
    names = {x.name.removeprefix("encoder.") for x in graph_of(variant=variant, image_path=image, alpha3=0).layers}
    assert "b3.cat" not in names and "b2.cat" in names
    bare = {x.name for x in graph_of(variant="B", image_path="none", alpha2=0, alpha3=0).layers}
    assert not {"b2.cat", "b3.cat"} & bare


def test_a_and_b_without_units_are_one_network() -> None:
    a, b = (graph_of(variant=v, image_path="none", alpha2=0, alpha3=0) for v in ("A", "B"))
    assert a == b


def test_a_decoder_as_wide_as_there_are_classes_is_the_published_one() -> None:
    published = ESPNetSpec(variant="ESPNet", classes=20)
    assert lower(replace(published, decoder_width=20)).params == lower(published).params
    # Of 20 classes only the last transposed convolution, 20 x classes x 2 x 2, knows that there are 11.
    narrowed = lower(replace(published, decoder_width=20, classes=11))
    assert narrowed.params == lower(published).params - 20 * 9 * 4


# Rules

REFUSED: dict[str, dict[str, Any]] = {
    "espnet.k: must be an integer from 1 to 8, but is 9": {"k": 9},
    "espnet.k: must be an integer from 1 to 8, but is 0": {"k": 0},
    "espnet.alpha2: must be an integer from 0 to 64, but is -1": {"alpha2": -1},
    "espnet.alpha3: must be an integer from 0 to 64, but is 65": {"alpha3": 65},
    "espnet.widths: must be 3 values, but is (16, 64)": {"widths": (16, 64)},
    "espnet.widths: must be an integer from 1 to 4096, but is 0": {"widths": (0, 64, 128)},
    "espnet.widths: must be an integer from 1 to 4096, but is 64.0": {"widths": (16, 64.0, 128)},
    "espnet.classes: must be an integer from 1 to 4096, but is True": {"classes": True},
    "espnet.activation: must be one of prelu, relu, but is 'rellu'; did you mean 'relu'?": {"activation": "rellu"},
    "espnet.variant: must be one of A, B, C, ESPNet, but is 'D'": {"variant": "D"},
    "espnet.residual: must be of type bool, but is 1": {"residual": 1},
    "k must be at most the width it divides, but k is 8 and a width is 4": {"k": 8, "widths": (16, 4, 128)},
    "decoder_k must be at most classes, but decoder_k is 5 and classes is 3": {"variant": "ESPNet", "classes": 3},
    "variant A has no image path, but image_path is": {"variant": "A"},
    "variant B has no image path, but image_path is": {"variant": "B", "image_path": "fusion"},
    "variant C without an image path is variant B; set variant=B": {"image_path": "none"},
    "decoder_sees_image needs variant=ESPNet and an image path": {"decoder_sees_image": True},
    "decoder_width needs variant=ESPNet, but variant is C": {"decoder_width": 20},
    "decoder_k is 5 and decoder_width is 4": {"variant": "ESPNet", "decoder_width": 4},
}


@pytest.mark.parametrize("sentence", REFUSED)
def test_spec_that_describes_no_network(sentence: str) -> None:
    with pytest.raises(SpecError) as error:
        ESPNetSpec(**REFUSED[sentence])
    assert sentence in str(error.value)


@pytest.mark.parametrize(
    ("size", "nearest"),
    [((360, 485), "488x360"), ((511, 1024), "1024x512"), ((4, 1024), "1024x8"), ((1, 1), "8x8")],
)
def test_size_that_does_not_divide(size: tuple[int, int], nearest: str) -> None:
    with pytest.raises(SpecError) as error:
        lower(ESPNetSpec(variant="ESPNet"), size)
    assert "multiples of 8" in str(error.value)
    assert f"the size is {size[1]}x{size[0]}" in str(error.value)
    assert str(error.value).endswith(f"use {nearest}")


@pytest.mark.parametrize("size", [(0, 8), (8, -8), (8, 70_000)])
def test_size_that_is_no_size(size: tuple[int, int]) -> None:
    with pytest.raises(SpecError, match="each side must be from 1 to"):
        lower(ESPNetSpec(), size)


def test_specs_are_values() -> None:
    spec = ESPNetSpec(k=4)
    assert spec == ESPNetSpec(k=4) and hash(spec) == hash(ESPNetSpec(k=4)) and spec != ESPNetSpec()
    with pytest.raises(AttributeError):
        spec.k = 5  # type: ignore[misc]
    assert get_args(field_types(ESPNetSpec)["variant"]) == ("A", "B", "C", "ESPNet")
