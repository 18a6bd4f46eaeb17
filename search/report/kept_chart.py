"""The chart of a run in the user's cache: named by the run's files, by what draws them and by the user's settings.

Reading it takes no matplotlib. A user who has settings of matplotlib's own (`matplotlibrc`) gets a chart drawn anew.
"""

import os
from collections.abc import Sequence
from hashlib import sha256
from importlib import metadata
from pathlib import Path

import numpy as np

from hw_models.device import load_device
from search.digests import code_digest, folder_digest
from search.kept_answer import ANSWER_SOURCES
from search.query import Query
from search.space import digest
from search.table_files import TableFiles
from zoo.errors import ZooError
from zoo.files import atomic
from zoo.reading import exists, read_bytes

DRAWN = ("front.json", "sample.csv", "certificate.json")
"""Files of a run that a chart is drawn from (`search.runs.reader.load_run`)."""

PACKAGES = ("matplotlib", "pillow", "kiwisolver", "numpy")
"""Distributions whose version decides how a chart looks."""

FORMAT = 1


def kept_chart(folder: Path, query: Query, outputs: Sequence[Path], files: TableFiles | None) -> bool:
    """Write the chart of a run to `outputs` as it was drawn before; False where it is not kept."""
    name = _name(folder, query, outputs) if files else None
    arrays = files.read(name) if files and name else None
    if arrays is None or set(arrays) != {output.name for output in outputs}:
        return False
    for output in outputs:
        with atomic(output) as partial:
            partial.write_bytes(arrays[output.name].tobytes())
    return True


def keep_chart(folder: Path, query: Query, outputs: Sequence[Path], files: TableFiles | None) -> None:
    """Keep a chart that was drawn; nothing where it was not."""
    name = _name(folder, query, outputs) if files and all(map(exists, outputs)) else None
    if files and name:
        files.write(name, {output.name: np.frombuffer(read_bytes(output), np.uint8) for output in outputs})


def _name(folder: Path, query: Query, outputs: Sequence[Path]) -> str | None:
    """The name of a chart; None where it cannot be told what it would be drawn with."""
    try:
        versions = [metadata.version(package) for package in PACKAGES]
        drawn = {name: sha256(read_bytes(folder / name)).hexdigest() for name in DRAWN}
    except (metadata.PackageNotFoundError, ZooError):
        return None
    if _own_settings():
        return None
    devices = {device.name: folder_digest(load_device(device.name).folder) for device in query.devices}
    return digest(
        ["chart", FORMAT, code_digest(ANSWER_SOURCES), versions, drawn, devices, [output.name for output in outputs]]
    )


def _own_settings() -> bool:
    """Whether matplotlib may find settings of the user's, in the places that it documents."""
    named = os.environ.get("MPLCONFIGDIR")
    base = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    folders = [Path(), Path(named) if named else base / "matplotlib", Path.home() / ".matplotlib"]
    return bool(os.environ.get("MATPLOTLIBRC")) or any(exists(folder / "matplotlibrc") for folder in folders)
