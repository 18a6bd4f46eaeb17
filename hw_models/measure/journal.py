"""Journal of a measurement's visits, from which an interrupted one continues.

Each visit is a line, written before the next begins. Lines made under other conditions, or for another
plan, are refused.
"""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from hw_models.device import NOT_MEASURED
from hw_models.device_writer import checked_name
from hw_models.measure.environment import Conditions, from_document, refuse_mixture
from hw_models.measure.timing import Timing
from zoo.errors import ZooError
from zoo.files import make_folder
from zoo.folders import data_home
from zoo.locks import held
from zoo.reading import exists, read_bytes, read_lines
from zoo.text import one_line


@dataclass
class Visits:
    """Timings so far, by block text or network number, and those of the reference; seconds are of all visits."""

    blocks: dict[str, list[Timing]] = field(default_factory=dict)
    networks: dict[int, list[Timing]] = field(default_factory=dict)
    reference: list[float] = field(default_factory=list)
    watts: list[float] = field(default_factory=list)
    idle_w: float | None = None
    covers: str = NOT_MEASURED
    seconds: float = 0.0

    def add(self, entry: Mapping[str, Any]) -> None:
        """Take in one line of the journal. Raises ValueError for values that no measurement gives."""
        if "seconds" in entry:
            self.seconds += _number(entry, "seconds", zero=True)
        if "watts" in entry:
            self.watts.append(_number(entry, "watts"))
        if "idle_w" in entry:
            self.idle_w, self.covers = _number(entry, "idle_w", zero=True), str(entry.get("covers"))
        if "reference" in entry:
            self.reference.append(_number(entry, "reference"))
        if "block" in entry:
            self.blocks.setdefault(str(entry["block"]), []).append(_timing(entry.get("timing")))
        if "network" in entry:
            self.networks.setdefault(int(_number(entry, "network", zero=True)), []).append(_timing(entry.get("timing")))

    @property
    def drift(self) -> float:
        """How far the reference's slowest quarter is above its fastest visit, relative."""
        if len(self.reference) < 2:
            return 0.0
        return float(np.quantile(self.reference, 0.75)) / min(self.reference) - 1.0


LONGEST_S = 1e7
"""Bound of every time and power in a journal."""


def _number(entry: Mapping[str, Any], name: str, *, zero: bool = False) -> float:
    value = entry.get(name)
    good = isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= LONGEST_S
    if not good or (value == 0 and not zero):
        raise ValueError(f"{name} must be a positive number, but is {one_line(repr(value), 60)}")
    return float(value)  # type: ignore[arg-type]


def _timing(entry: Any) -> Timing:
    names = tuple(Timing.__dataclass_fields__)
    if not isinstance(entry, dict) or set(entry) != set(names):
        raise ValueError(f"timing must have {', '.join(names)}, but is {one_line(repr(entry), 60)}")
    median, low, high = (_number(entry, name) for name in ("median_s", "low_s", "high_s"))
    if not low <= median <= high:
        raise ValueError("timing must have low_s <= median_s <= high_s")
    return Timing(
        median, low, high, _number(entry, "spread", zero=True), entry["settled"] is True, int(_number(entry, "n"))
    )


class Journal:
    """A file of lines of JSON: the conditions first, then one line a visit; a torn last line is left out."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the journal as its only writer. Raises ZooError, which says who holds it, where another process does."""
        make_folder(self.path.parent)
        lock = self.path.with_name(f".{self.path.name}.lock")
        with held(lock, f"a measurement of {self.path.stem}", remedy="wait for it, or name another --device"):
            yield

    def open(self, conditions: Conditions, recipe: Mapping[str, Any], resume: bool) -> Visits:
        """Begin, or continue. Raises ZooError where the conditions, or what is to be measured, differ."""
        visits = Visits()
        head = {"conditions": conditions.document(), "recipe": dict(recipe)}
        if not resume or not exists(self.path):
            if exists(self.path):
                raise ZooError(f"{self.path}: an unfinished measurement; continue it with --resume, or remove the file")
            make_folder(self.path.parent)
            self.append(head)
            return visits
        lines = self._lines()
        if not lines:
            raise ZooError(f"{self.path}: is not the journal of a measurement; remove it and start anew")
        first = lines[0][1]
        refuse_mixture(from_document(first.get("conditions", {}), str(self.path)), conditions, str(self.path))
        if first.get("recipe") != json.loads(json.dumps(recipe)):
            raise ZooError(f"{self.path}: was begun for {_recipe(first)}; give the same, or remove the file")
        for number, entry in lines[1:]:
            try:
                visits.add(entry)
            except ValueError as error:
                raise ZooError(
                    f"{self.path}: line {number}: {error}; remove the line, and its block is timed again"
                ) from None
        return visits

    def append(self, entry: Mapping[str, Any]) -> None:
        """Add a line and have it on the disk."""
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry, separators=(",", ":")) + "\n")
            file.flush()
            os.fsync(file.fileno())

    def _lines(self) -> list[tuple[int, dict[str, Any]]]:
        data = read_bytes(self.path, ZooError)
        whole = data.rfind(b"\n") + 1
        if whole != len(data):
            # The line that an interruption tore is taken off, so that the next one starts on its own.
            with self.path.open("r+b") as file:
                file.truncate(whole)
        return read_lines(self.path, ZooError)


def _recipe(head: Mapping[str, Any]) -> str:
    recipe = head.get("recipe") or {}
    if not isinstance(recipe, Mapping):
        return "something else"
    return ", ".join(f"{name} {value}" for name, value in recipe.items()) or "something else"


def journal_path(name: str) -> Path:
    """Where the journal of a device's measurement lies."""
    return data_home() / "measuring" / f"{checked_name(name)}.jsonl"


AGREE = 0.05
"""Relative difference up to which two visits agree; otherwise there is another."""


def difference(timings: Sequence[Timing]) -> float:
    """Relative difference of the two quietest visits."""
    quietest = sorted(timing.median_s for timing in timings)
    return quietest[1] / quietest[0] - 1.0 if len(quietest) > 1 else float("inf")


def combined(timings: Sequence[Timing]) -> Timing:
    """The quietest visit, its interval widened by how far the second quietest lies away."""
    best = min(timings, key=lambda timing: timing.median_s)
    gap = difference(timings) if len(timings) > 1 else best.spread
    high = max(best.high_s, best.median_s * (1 + gap))
    return replace(best, low_s=min(best.low_s, best.median_s / (1 + gap)), high_s=high, n=sum(t.n for t in timings))
