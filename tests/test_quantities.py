"""The records of quantities: what is derived from them, and that nothing else has to know."""

import dataclasses

import pytest

from hw_models.cost import METRICS
from search.query import SI_LIMITS, limits_from_si
from zoo.config import Limits
from zoo.quantities import BY_KEY, LIMITED, LIMITS, QUANTITIES, keys


def test_the_limits_of_zoo_yaml_are_those_of_the_records() -> None:
    assert {field.name for field in dataclasses.fields(Limits)} == set(LIMITS)
    counts = {field.name for field in dataclasses.fields(Limits) if "int" in str(field.type)}
    assert counts == {name for name, limit in LIMITS.items() if limit.count}


def test_what_is_predicted_is_what_devices_predict() -> None:
    assert keys("predicted") == METRICS


@pytest.mark.parametrize("name", LIMITS)
def test_si_and_own_units_are_inverse(name: str) -> None:
    limit = LIMITS[name]
    for value in (0.25, 3.0, 150.0):
        assert limit.own(limit.si(value)) == pytest.approx(value, rel=1e-12)


@pytest.mark.parametrize("name", LIMITS)
def test_a_looser_limit_lets_more_through(name: str) -> None:
    """A limit from below on the inverse bounds the quantity from above, as one from above does."""
    limit, sign = LIMITS[name], LIMITED[name].direction
    looser = 5.0 if limit.lower else 20.0
    assert sign * limit.si(looser) > sign * limit.si(10.0)


@pytest.mark.parametrize(("key", "value", "expected"), [("latency_s", 0.15, 150.0), ("fps", 30.0, 30.0)])
def test_limits_in_si_units(key: str, value: float, expected: float) -> None:
    assert getattr(limits_from_si({key: value}), SI_LIMITS[key]) == pytest.approx(expected)


def test_names_and_keys_are_unique() -> None:
    assert len(BY_KEY) == len({quantity.name for quantity in QUANTITIES}) == len(QUANTITIES)
