"""Tables of spaces in the user's cache: named by what they rest on, checked when read, bounded in all.

A file is the SHA-256 of an .npz of plain arrays, and the .npz. Whatever is wrong with a file, the table is made
anew; where nothing can be written, nothing is kept.
"""

import io
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zoo.errors import ZooError
from zoo.files import atomic, make_folder
from zoo.folders import cache_home
from zoo.own_families import OWN
from zoo.reading import is_file, read_bytes

Arrays = Mapping[str, NDArray[Any]]

LARGEST = 256 * 2**20
"""Bytes of one file."""

MOST = 512 * 2**20
"""Bytes of all files; beyond it the ones that were used longest ago are removed."""


@dataclass(frozen=True)
class TableFiles:
    """Files in a folder, made when the first is written."""

    folder: Path
    most: int = MOST

    def read(self, name: str) -> Arrays | None:
        """Arrays by name; None where there is no such file, or it is not what was written."""
        path = self.folder / f"{name}.table"
        try:
            if not is_file(path) or path.is_symlink():
                return None
            content = memoryview(read_bytes(path, limit=LARGEST))
            digest, body = bytes(content[:32]), content[32:]
            if sha256(body).digest() != digest:
                return None
            path.touch()
            with np.load(io.BytesIO(body), allow_pickle=False) as arrays:
                return {key: arrays[key] for key in arrays.files}
        except (ZooError, OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile):
            return None

    def write(self, name: str, arrays: Arrays) -> None:
        """Keep arrays under a name, and make room for them."""
        buffer = io.BytesIO(bytes(32))
        buffer.seek(32)
        np.savez(buffer, **arrays)  # type: ignore[arg-type]
        content = buffer.getbuffer()
        if len(content) > min(LARGEST, self.most):
            return
        content[:32] = sha256(content[32:]).digest()
        try:
            make_folder(self.folder)
            self._make_room(len(content))
            with atomic(self.folder / f"{name}.table") as partial:
                partial.write_bytes(content)
        except (ZooError, OSError):
            return

    def _make_room(self, needed: int) -> None:
        files = [(path, path.lstat()) for path in self.folder.glob("*.table")]
        total = sum(stat.st_size for _, stat in files)
        for path, stat in sorted(files, key=lambda item: item[1].st_mtime):
            if total + needed <= self.most:
                return
            path.unlink(missing_ok=True)
            total -= stat.st_size


def table_files() -> TableFiles:
    """The user's own; see `zoo.folders`."""
    return TableFiles(cache_home() / "tables")


def table_files_of(families: Iterable[str]) -> TableFiles | None:
    """The user's own files; None where a family is a module of the user's own, whose code no name of a file covers."""
    return None if OWN.keys() & set(families) else table_files()
