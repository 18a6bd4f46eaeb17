"""Every family of the registry, held to the contract."""

import re
import sys

import pytest
from contract import EXAMPLES, FamilyContract

from zoo.citations import citation
from zoo.registry import FAMILIES, lower
from zoo.specs import field_types

for _name, _examples in EXAMPLES.items():
    _class = f"Test_{_name.replace('-', '_')}"
    globals()[_class] = type(_class, (FamilyContract,), {"examples": _examples, "__module__": __name__})


def test_every_family_has_examples() -> None:
    assert list(EXAMPLES) == list(FAMILIES)
    for name, specs in EXAMPLES.items():
        assert specs and all(type(spec) is FAMILIES[name].spec for spec in specs)


@pytest.mark.parametrize("name", FAMILIES)
def test_default_lowers(name: str) -> None:
    spec = FAMILIES[name].spec()
    assert spec.family == name
    assert field_types(type(spec))
    assert lower(spec).params > 0


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_says_whom_to_cite_by_the_number_in_its_file(name):
    entry = citation(name)
    assert entry is not None
    number = re.search(r"eprint = \{(.*?)\}", entry)
    known = re.findall(r"arXiv:(\d{4}\.\d{5})", sys.modules[FAMILIES[name].spec.__module__].__doc__ or "")
    assert number is None or not known or number[1] in known
