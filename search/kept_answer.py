"""The files of an answer in the user's cache: found once for one query, named by all that they rest on."""

from collections.abc import Mapping

import numpy as np

from hw_models.device import load_device
from search.digests import TABLE_SOURCES, code_digest, folder_digest
from search.query import Query
from search.space import digest
from search.table_files import TableFiles

FORMAT = 1
"""Of what is kept."""

ANSWER_FILES = ("front.json", "front.csv", "sample.csv", "certificate.json")
"""Files of an answer in the order in which they are written."""

ANSWER_SOURCES = (*TABLE_SOURCES, "zoo/*.py", "zoo/*.csv", "search/**/*.py", "search/**/*.csv")
"""Files that decide what an answer is and how it is written and drawn."""


def kept_answer(query: Query, files: TableFiles | None) -> dict[str, str] | None:
    """Text by name of the files that answer a query (ANSWER_FILES); None where they are not kept."""
    arrays = files.read(_name(query)) if files else None
    try:
        return {name: arrays[name].tobytes().decode() for name in ANSWER_FILES} if arrays else None
    except (KeyError, UnicodeDecodeError):
        return None


def keep_answer(query: Query, texts: Mapping[str, str], files: TableFiles | None) -> None:
    """Keep the files that answer a query."""
    if files:
        files.write(_name(query), {name: np.frombuffer(text.encode(), np.uint8) for name, text in texts.items()})


def _name(query: Query) -> str:
    devices = {device.name: folder_digest(load_device(device.name).folder) for device in query.devices}
    return digest(["answer", FORMAT, code_digest(ANSWER_SOURCES), query.describe(), devices])
