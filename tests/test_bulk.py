"""Counting whole spaces at once: equal, to the unit, to lowering the candidates one by one."""

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import pytest
from contract import EXAMPLES
from hypothesis import given
from hypothesis import strategies as st

from zoo.bulk.choices import Choices, Ints, by_fields, distinct
from zoo.bulk.lower import Bulk, BulkLowering
from zoo.errors import SpecError
from zoo.graph import GraphBuilder, Layer, Shape
from zoo.lowering import Family, Stage, Tensors
from zoo.registry import FAMILIES, lower
from zoo.specs import Count, Spec, field_types

ESPNET = Choices(
    "espnet",
    {
        "variant": ("A", "B", "C", "ESPNet"),
        "k": tuple(range(1, 9)),
        "alpha2": (0, 1, 2, 3),
        "alpha3": (0, 1, 2, 4),
        "widths": ((16, 64, 128), (5, 24, 40), (12, 16, 16), (8, 40, 24)),
        "classes": (3, 5, 20),
        "activation": ("prelu", "relu"),
        "block": ("esp", "esp", "mobilenet", "shufflenet", "inception", "resnext", "resnet", "asp"),
        "residual": (True, False),
        "hff": (True, False),
        "reduce": ("pointwise", "3x3"),
        "pyramid": ("dilated", "standard"),
        "downsample": ("esp", "conv"),
        "image_path": ("none", "reinforcement", "fusion"),
        "decoder_sees_image": (False, True),
        "decoder_k": (1, 3, 5),
    },
)

ESPNETV2 = Choices(
    "espnetv2",
    {
        "scale": (0.5, 1.0, 1.5, 2.0),
        "widths": (None, (16, 48, 96, 160), (32, 64, 160, 320)),
        "k": (2, 4),
        "depth3": (0, 1, 3),
        "depth4": (1, 2, 7),
        "r_lim": ((9, 9, 9, 7), (5, 5, 5, 5), (3, 5, 3, 5)),
        "decoder_width": (8, 16),
        "classes": (2, 7, 20),
    },
)


def spec_at(choices: Choices, row: int) -> Spec | None:
    codes = {name: int(column[0]) for name, column in choices.codes(np.array([row])).items()}
    try:
        return FAMILIES[choices.family].spec(**choices.spec_values(codes))
    except SpecError:
        return None


def sample(choices: Choices, count: int, admits: Callable[[Any], bool] = lambda spec: True) -> tuple[Ints, list[Spec]]:
    """Random valid combinations: their numbers and their specs."""
    rng, found = np.random.default_rng(0), {}
    for row in rng.integers(choices.size, size=200 * count):
        spec = spec_at(choices, int(row))
        if spec is not None and admits(spec):
            found[int(row)] = spec
        if len(found) == count:
            break
    return np.array(list(found)), list(found.values())


def lowered(choices: Choices, rows: Ints, size: tuple[int, int]) -> Bulk:
    return BulkLowering(choices, Shape(3, *size)).lower(choices.codes(rows))


def assert_equal_one_by_one(choices: Choices, rows: Ints, specs: list[Spec], size: tuple[int, int]) -> None:
    bulk = lowered(choices, rows, size)
    for i, spec in enumerate(specs):
        graph = lower(spec, size)
        counts = (bulk.params[i], bulk.macs[i], bulk.weight_bytes[i], bulk.peak_activation_bytes[i])
        assert counts == (graph.params, graph.macs, graph.weight_bytes, graph.peak_activation_bytes), spec


@pytest.mark.parametrize("size", [(64, 96), (8, 8)], ids=str)
def test_espnets_with_every_field_varying(size: tuple[int, int]) -> None:
    rows, specs = sample(ESPNET, 150)
    assert len(specs) == 150
    for field, values in ESPNET.values.items():
        assert {getattr(spec, field) for spec in specs} == set(values), f"{field} does not vary: the test is weak"
    assert_equal_one_by_one(ESPNET, rows, specs, size)


@pytest.mark.parametrize("size", [(73, 85), (31, 50), (1, 1)], ids=str)
def test_encoders_at_sizes_that_do_not_divide(size: tuple[int, int]) -> None:
    rows, specs = sample(ESPNET, 50, lambda spec: spec.variant != "ESPNet")
    assert_equal_one_by_one(ESPNET, rows, specs, size)


@pytest.mark.parametrize(
    "choices",
    [
        pytest.param({"variant": ("A", "B"), "image_path": ("none",)}, id="without the image"),
        pytest.param({"variant": ("C",), "image_path": ("reinforcement", "fusion")}, id="C"),
        pytest.param({"variant": ("ESPNet",), "decoder_sees_image": (False, True)}, id="decoder sees the image"),
        pytest.param({"variant": ("ESPNet",), "image_path": ("none", "fusion")}, id="decoder"),
    ],
)
def test_every_depth_from_none(choices: dict[str, tuple[Any, ...]]) -> None:
    """All combinations: a level without units passes its strided output on under a second name."""
    space = Choices("espnet", choices | {"alpha2": (0, 1, 2), "alpha3": (0, 1, 3), "downsample": ("esp", "conv")})
    rows = np.arange(space.size)
    specs = [spec for row in rows if (spec := spec_at(space, int(row)))]
    assert len(specs) == len(rows)
    assert_equal_one_by_one(space, rows, specs, (32, 48))


def test_espnetv2_with_every_field_varying() -> None:
    rows, specs = sample(ESPNETV2, 60)
    assert len(specs) == 60
    assert {spec.widths is None for spec in specs} == {True, False}  # type: ignore[attr-defined]
    assert_equal_one_by_one(ESPNETV2, rows, specs, (64, 96))


@pytest.mark.parametrize("family", EXAMPLES)
def test_every_family(family: str) -> None:
    """Each field takes the values that the family's examples have."""
    values = {
        name: tuple(dict.fromkeys(getattr(spec, name) for spec in (FAMILIES[family].spec(), *EXAMPLES[family])))
        for name in field_types(FAMILIES[family].spec)
    }
    choices = Choices(family, values)
    rows, specs = sample(choices, 12)
    assert specs
    assert_equal_one_by_one(choices, rows, specs, (64, 96))


def test_a_space_without_a_choice() -> None:
    choices = Choices("espnet", {"alpha3": (3,)})
    bulk = lowered(choices, np.arange(1), (512, 1024))
    assert (bulk.params.tolist(), bulk.macs.tolist()) == ([187_529], [2_159_435_776])


def test_order_and_company_do_not_matter() -> None:
    rows, _ = sample(ESPNET, 40)
    lowering = BulkLowering(ESPNET, Shape(3, 64, 64))
    together = lowering.lower(ESPNET.codes(rows))
    backwards = lowering.lower(ESPNET.codes(rows[::-1]))
    parts = [BulkLowering(ESPNET, Shape(3, 64, 64)).lower(ESPNET.codes(part)) for part in np.array_split(rows, 3)]
    for count in ("params", "macs", "peak_activation_bytes"):
        expected = getattr(together, count)
        assert np.array_equal(getattr(backwards, count)[::-1], expected)
        assert np.array_equal(np.concatenate([getattr(part, count) for part in parts]), expected)


def test_total_of_a_vector_is_a_sum_over_layers() -> None:
    def kinds(layers: tuple[Layer, ...]) -> Any:
        """Convolutions, additions, and elements that pass BN."""
        names = [layer.kind for layer in layers]
        normalised = sum(layer.out_shape.elements for layer in layers if layer.kind == "BatchNorm")
        return np.array([names.count("Conv"), names.count("Add"), normalised], dtype=np.float64)

    rows, specs = sample(ESPNET, 60)
    found = lowered(ESPNET, rows, (64, 64)).total(kinds, width=3)
    expected = [kinds(lower(spec, (64, 64)).layers) for spec in specs]
    assert np.array_equal(found, expected)


def test_a_size_that_a_network_refuses() -> None:
    choices = Choices("espnet", {"variant": ("ESPNet",)})
    with pytest.raises(SpecError, match=r"combine_l2_l3\.cat: cannot concatenate"):
        lowered(choices, np.arange(1), (60, 60))


@dataclass(frozen=True, slots=True, kw_only=True)
class Renaming(Spec):
    family: ClassVar[str] = "renaming"
    width: Count = 4
    wait: Literal[0, 1, 2] = 1
    own: bool = False


def first(g: GraphBuilder, s: Renaming, t: Tensors) -> None:
    """One tensor, or two of a shape, under two names."""
    t["p"] = g.conv(t["image"], "p", 4, kernel=3)
    t["q"] = g.conv(t["image"], "q", 4, kernel=3) if s.own else t["p"]


def meanwhile(g: GraphBuilder, s: Renaming, t: Tensors, index: int) -> None:
    """Reads neither of them."""
    t["r"] = g.conv(t["image"], f"wide{index}", 8 * s.width)


def last(g: GraphBuilder, s: Renaming, t: Tensors) -> None:
    t["sum"] = g.add((t["p"], g.conv(t["q"], "last", 4)), "sum")


def test_a_tensor_with_two_names_waits_once(monkeypatch: pytest.MonkeyPatch) -> None:
    stages = (Stage(first), Stage(meanwhile, repeat="wait"), Stage(last))
    family = Family(Renaming, stages, outputs=lambda s: ("sum", "p"))
    monkeypatch.setitem(FAMILIES, "renaming", family)  # type: ignore[arg-type]
    choices = Choices("renaming", {"width": (1, 4), "wait": (0, 1, 2), "own": (False, True)})
    rows = np.arange(choices.size)
    specs = [spec for row in rows if (spec := spec_at(choices, int(row)))]
    assert_equal_one_by_one(choices, rows, specs, (8, 8))
    shared, own = (lower(Renaming(wait=2, own=own), (8, 8)).peak_activation_bytes for own in (False, True))
    assert own - shared == 4 * 4 * 8 * 8


FUNCTIONS: dict[str, Callable[[Any], Any]] = {
    "constant": lambda s: 7,
    "one field": lambda s: s.k,
    "two fields": lambda s: (s.variant, s.alpha3 > 1),
    "an item": lambda s: s.widths[1] // s.k,
    "the last item": lambda s: s.widths[-1],
    "a slice": lambda s: sum(s.widths[1:]),
    "all items": lambda s: min(s.widths),
    "length": lambda s: len(s.widths),
    "unpacked": lambda s: "{}-{}-{}".format(*s.widths),
    "a field that another one decides on": lambda s: s.k if s.variant == "C" else s.alpha2 if s.hff else -1,
    "long chain": lambda s: s.residual and s.alpha2 > 0 and s.reduce == "3x3" and s.widths[0] > 8,
    "a field that does not vary": lambda s: s.classes,
    **{rule.__name__: rule for rule in FAMILIES["espnet"].spec.rules},
    "a size": lambda s: FAMILIES["espnet"].check_size(s, 60, 96),
}

MOST = Choices("espnet", {name: values for name, values in ESPNET.values.items() if name != "classes"})


@pytest.mark.parametrize("name", FUNCTIONS)
def test_by_fields_equals_a_call_for_every_spec(name: str) -> None:
    rows = np.random.default_rng(1).integers(MOST.size, size=400)
    codes = MOST.codes(rows)
    values, index = by_fields(MOST, codes, FUNCTIONS[name])

    class Plain:
        def __init__(self, entries: dict[str, Any]) -> None:
            self.__dict__.update(entries)

    for i in range(len(rows)):
        entries = MOST.spec_values({field: int(column[i]) for field, column in codes.items()})
        assert values[index[i]] == FUNCTIONS[name](Plain(entries))


def test_by_fields_calls_once_for_each_combination_of_what_is_read() -> None:
    calls = []

    def rarely(s: Any) -> int:
        calls.append(1)
        return int(s.k) * int(s.alpha2)

    values, index = by_fields(MOST, MOST.codes(np.arange(0, MOST.size, 9973)), rarely)
    assert len(calls) <= 8 * 4 + 2
    assert set(np.array(values)[index]) == {k * alpha2 for k in range(1, 9) for alpha2 in range(4)}


@given(
    st.integers(1, 40).flatmap(
        lambda count: st.lists(
            st.lists(st.sampled_from([0, 1, 2, 5, 1 << 13, 1 << 30]), min_size=count, max_size=count),
            min_size=0,
            max_size=5,
        ).map(lambda columns: (count, columns))
    )
)
def test_distinct(case: tuple[int, list[list[int]]]) -> None:
    count, columns = case
    first, index = distinct([np.array(column, dtype=np.int64) for column in columns], count)
    rows = list(zip(*columns, strict=True)) if columns else [()] * count
    assert len(index) == count
    assert len({rows[at] for at in first}) == len(first) == len(set(rows))
    for row, which in zip(rows, index, strict=True):
        assert rows[first[which]] == row
    assert all(rows.index(rows[at]) == at for at in first), "the first row of each combination"


def test_codes_count_as_itertools_product_does() -> None:
    choices = Choices("espnet", {"k": (2, 5, 8), "alpha2": (1, 2), "widths": ((16, 64, 128), (8, 32, 64))})
    codes = choices.codes(np.arange(choices.size))
    found = [
        tuple(choices.spec_values({name: int(column[i]) for name, column in codes.items()})[name] for name in codes)
        for i in range(choices.size)
    ]
    assert found == list(itertools.product(*choices.values.values()))
    assert choices.spec_values(dict.fromkeys(codes, 0))["alpha3"] == FAMILIES["espnet"].spec().alpha3  # type: ignore[attr-defined]


@pytest.mark.parametrize("variant", ["C", "ESPNet"])
def test_a_single_row_counts_as_among_others(variant: str) -> None:
    """A row that skips a stage, alone: no piece of that stage exists then."""
    choices = Choices("espnet", {"variant": (variant,)})
    bulk = BulkLowering(choices, Shape(3, 64, 128)).lower(choices.codes(np.array([0])))
    spec = FAMILIES["espnet"].spec(variant=variant)  # type: ignore[call-arg]
    assert bulk.peak_activation_bytes.tolist() == [lower(spec, (64, 128)).peak_activation_bytes]
