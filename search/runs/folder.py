"""The folder of a search: its name, its one writer, its files as texts. It needs no accuracy model and no device."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from search.query import Query
from search.space import digest
from zoo import claims, reading
from zoo.errors import ConfigError, ZooError
from zoo.files import atomic
from zoo.reading import exists
from zoo.text import shown

MAX_BYTES = 512 * 2**20
"""Longest document of a run that is read."""


def default_folder(query: Query) -> Path:
    """runs/ and the query's own name, so that the same question goes to the same folder."""
    return Path("runs") / f"search-{digest(query.describe())[:10]}"


@contextmanager
def claimed(folder: Path, query: Query) -> Iterator[None]:
    """Hold a folder for writing. Raises ZooError where another run holds it or where it answers another query."""
    with claims.claimed(folder, claims.SEARCH):
        certificate = folder / "certificate.json"
        if exists(certificate) and read_json(certificate).get("asked") != query.describe():
            raise ZooError(
                f"{shown(folder)}: holds the answer to another search; choose another folder with -o, or remove it"
            )
        yield


def write_texts(texts: Mapping[str, str], folder: Path) -> dict[str, Any]:
    """Write the files of an answer in their order. Returns the document of front.json."""
    for name, text in texts.items():
        write_text(folder / name, text)
    document: dict[str, Any] = json.loads(texts["front.json"])
    return document


def write_text(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    with atomic(path) as partial:
        partial.write_text(text, encoding="utf-8")


def read_json(path: Path) -> dict[str, Any]:
    """A JSON file of a run. Raises ZooError, naming the file, where it is missing or damaged."""
    if not exists(path):
        raise ConfigError(f"{shown(path)}: does not exist; {shown(path.parent)} is not the folder of a finished search")
    try:
        document = reading.read_json(path, limit=MAX_BYTES)
    except ConfigError as error:
        why = str(error).removeprefix(f"{shown(path)}: ")
        raise ConfigError(f"{shown(path)}: is damaged or cannot be read ({why}); run the search again") from None
    if not isinstance(document, dict):
        raise ConfigError(f"{path}: is not the document of a search; run the search again")
    return document
