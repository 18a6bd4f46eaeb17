"""The user's folders: a cache of what can be had again, and data that can not.

`ZOO_HOME` names both. Without it they are where the platform keeps such things (XDG, macOS, Windows).
"""

import os
from pathlib import Path

import platformdirs

from zoo.errors import ZooError

APP = "edgeseg-zoo"


def cache_home() -> Path:
    """Folder of everything that can be had again: `ZOO_HOME`, or the platform's cache. Raises ZooError without one."""
    return _named() or _absolute(platformdirs.user_cache_dir(APP, appauthor=False, opinion=False))


def data_home() -> Path:
    """Folder of what the user made: `ZOO_HOME`, or the platform's folder of data. Raises ZooError without one."""
    return _named() or _absolute(platformdirs.user_data_dir(APP, appauthor=False))


def old_data_home() -> Path | None:
    """Where version 0.1 kept what the user made; None where `ZOO_HOME` names the folder, as it did then."""
    return None if _named() else _absolute("~/.cache") / APP


def _named() -> Path | None:
    home = os.environ.get("ZOO_HOME")
    return _absolute(home) if home else None


def _absolute(text: str) -> Path:
    try:
        path = Path(text).expanduser().absolute()
    except (RuntimeError, OSError):  # no home folder, an unknown ~user, a working directory that is gone
        path = None
    if path is None:
        raise ZooError(f"the home folder is unknown, so {text} has no place; set ZOO_HOME to a folder")
    return path
