"""Finds the trained weights of a study's candidates in its run folder."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from search.runs.folder import read_json
from zoo.errors import ConfigError
from zoo.reading import is_file
from zoo.text import shown

BEST = "best.safetensors"


@dataclass(frozen=True, slots=True)
class TrainedWeights:
    """A file of weights, checked against the run's hash. name: run, rank and trial."""

    path: Path
    sha256: str
    name: str


def described(folder: Path, run: Path) -> dict[str, str] | None:
    """What front.json keeps of the weights in a trial's folder, relative to the run's; None where there are none."""
    path = folder / BEST
    if not path.is_file() or not path.resolve().is_relative_to(run.resolve()):
        return None
    relative = path.resolve().relative_to(run.resolve()).as_posix()
    return {"path": relative, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}


def trained_weights(text: str) -> TrainedWeights | None:
    """The weights of `RUN#RANK`; None where the candidate was not trained.

    Raises ConfigError where they are missing, or others than those that the run kept.
    """
    folder, _, rank = text.rpartition("#")
    front = read_json(Path(folder) / "front.json").get("front", [])
    if not rank.isdecimal() or not 1 <= int(rank) <= len(front):
        raise ConfigError(f"{text}: the rank must be from 1 to {len(front)}, but is {rank!r}")
    entry = front[int(rank) - 1]
    recorded = entry.get("weights")
    return None if recorded is None else _checked(Path(folder), recorded, text)


def _checked(folder: Path, recorded: Any, text: str) -> TrainedWeights:
    try:
        path, digest = folder / recorded["path"], str(recorded["sha256"])
        outside = not path.resolve().is_relative_to(folder.resolve())
    except (KeyError, TypeError, OSError, RuntimeError, ValueError):
        raise ConfigError(f"{text}: what front.json says of its weights is damaged; run the search again") from None
    if outside:
        raise ConfigError(f"{text}: its weights, {shown(path)}, lie outside of the run; run the search again")
    if not is_file(path):
        raise ConfigError(f"{text}: its weights, {shown(path)}, are missing; put them back, or export its spec alone")
    if hashlib.sha256(path.read_bytes()).hexdigest() != digest:
        raise ConfigError(f"{text}: its weights, {path}, are not those that the search trained; run the search again")
    return TrainedWeights(path, digest, f"{text}, trained in {Path(recorded['path']).parent.as_posix()}")
