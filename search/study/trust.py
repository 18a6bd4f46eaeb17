"""Which studies began here: only of them is an address that the folder names followed without being given again.

A folder may come from anybody, and its `study.json` may name any database and any folder of data.
"""

import hashlib
import json
from contextlib import suppress
from pathlib import Path

from search.study.config import StudyConfig
from zoo.errors import ZooError
from zoo.files import atomic
from zoo.folders import data_home
from zoo.reading import exists


def remember(folder: Path, config: StudyConfig) -> None:
    """Keep in mind that the user gave this study's storage and data; without a home folder nothing is kept."""
    if config.storage is None and config.data is None:
        return
    with suppress(ZooError, OSError), atomic(_mark(folder, config)) as partial:
        partial.write_text("begun or resumed here\n", encoding="utf-8")


def is_trusted(folder: Path, config: StudyConfig) -> bool:
    """Whether nothing outside the folder is named, or the user gave it here before."""
    if config.storage is None and config.data is None:
        return True
    try:
        return exists(_mark(folder, config))
    except (ZooError, OSError):
        return False


def _mark(folder: Path, config: StudyConfig) -> Path:
    identity = [str(folder.resolve()), config.document()["storage"], config.data]
    return data_home() / "studies" / hashlib.sha256(json.dumps(identity).encode()).hexdigest()
