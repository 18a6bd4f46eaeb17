"""Where caches and devices are kept, with and without ZOO_HOME."""

import shutil
from pathlib import Path

import pytest

from hw_models.device import SHIPPED, device_folders, home, load_device
from zoo.errors import ZooError
from zoo.folders import APP, cache_home, data_home


@pytest.fixture
def user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's empty home folder, without any variable that names another folder."""
    for name in ("ZOO_HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def test_zoo_home_is_both_folders_and_expands_the_users(user: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZOO_HOME", "~/zoo")
    assert cache_home() == data_home() == user / "zoo"
    assert home() == user / "zoo" / "devices"


def test_data_is_not_kept_in_the_cache(user: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cache_home() == user / ".cache" / APP
    assert data_home() == user / ".local" / "share" / APP
    monkeypatch.setenv("XDG_CACHE_HOME", str(user / "c"))
    monkeypatch.setenv("XDG_DATA_HOME", str(user / "d"))
    assert (cache_home(), data_home()) == (user / "c" / APP, user / "d" / APP)


def test_an_unknown_home_folder_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZOO_HOME", "~nobody-has-this-name/zoo")
    with pytest.raises(ZooError, match="set ZOO_HOME to a folder"):
        data_home()


def test_devices_of_version_0_1_are_found_until_the_user_has_one_of_that_name(user: Path) -> None:
    old = Path(shutil.copytree(SHIPPED / "titanx", user / ".cache" / APP / "devices" / "mine"))
    assert load_device("mine").folder == old
    new = Path(shutil.copytree(SHIPPED / "titanx", home() / "mine"))
    assert device_folders()["mine"] == new


def test_without_a_home_folder_the_shipped_devices_remain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZOO_HOME", "~nobody-has-this-name/zoo")
    assert {"tx2", "titanx"} <= set(device_folders())
