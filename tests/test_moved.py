"""Modules that moved keep their old names, with a warning."""

import importlib
import importlib.machinery
import importlib.util
import subprocess
import sys

import pytest

from zoo.moved import MOVED


@pytest.mark.parametrize("old", MOVED)
def test_the_old_name_is_the_new_module(old: str) -> None:
    new = importlib.import_module(MOVED[old])
    before = new.__spec__
    sys.modules.pop(old, None)
    with pytest.warns(DeprecationWarning, match=f"{old} is {MOVED[old]} now"):
        assert importlib.import_module(old) is new
    assert new.__spec__ is before and new.__name__ == MOVED[old]


def test_no_old_name_hides_a_module_of_today() -> None:
    for old in MOVED:
        parent, _, name = old.rpartition(".")
        if parent in MOVED:
            continue
        folder = importlib.import_module(parent).__path__[0]
        assert importlib.machinery.PathFinder.find_spec(old, [folder]) is None, name


def test_an_old_import_works_in_a_fresh_process() -> None:
    code = "from hw_models.timing import *; import search.samplers; from zoo.preprocess import Preprocessing"
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True)


def test_an_unknown_name_is_still_unknown() -> None:
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("zoo.never_was")


def test_a_samplers_old_names_still_read():
    import numpy as np

    from search.study.samplers import History, Setting
    from search.study.surrogate import NO_OBSERVATIONS, Scale

    none = np.empty(0, np.int64)
    history = History(tried=(), observations=NO_OBSERVATIONS, running=none, taken=none)
    with pytest.warns(DeprecationWarning, match=r"is called history\.observations"):
        assert history.told is history.observations
    setting = Setting(feasible=object(), prior=object(), scale=Scale(), seed=0, trials=1)
    with pytest.warns(DeprecationWarning, match=r"is called setting\.feasible"):
        assert setting.found is setting.feasible
