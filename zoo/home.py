"""Where a user's own things live: weights that were fetched, devices, measurements that go on."""

import os
import sys
from pathlib import Path

from zoo.errors import ZooError

APP = "edgeseg-zoo"


def home_folder() -> Path:
    """`ZOO_HOME`, or the platform's cache folder. Raises ZooError where neither is known."""
    named = os.environ.get("ZOO_HOME")
    try:
        return Path(named).expanduser().absolute() if named else _platform_cache() / APP
    except (RuntimeError, OSError):  # no home folder; ~USER unknown; a working directory that is gone
        raise ZooError("the home folder is unknown, so the cache has no place; set ZOO_HOME to a folder") from None


def _platform_cache() -> Path:
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData/Local")
    if sys.platform == "darwin":
        return Path.home() / "Library/Caches"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
