"""The visits of a measurement, and the journal that lets an interrupted one go on where it stopped.

Each visit is a line, written before the next begins. Lines made under other conditions, or for another
plan, are refused.
"""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from hw_models.device_writer import NOT_MEASURED, checked_name
from hw_models.measure.environment import Conditions, from_document, refuse_mixture
from hw_models.measure.timing import Timing
from zoo.errors import ZooError
from zoo.files import make_folder
from zoo.folders import data_home


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
        """Take in one line of the journal."""
        self.seconds += float(entry.get("seconds", 0.0))
        if "watts" in entry:
            self.watts.append(float(entry["watts"]))
        if "idle_w" in entry:
            self.idle_w, self.covers = float(entry["idle_w"]), str(entry["covers"])
        if "reference" in entry:
            self.reference.append(float(entry["reference"]))
        if "block" in entry:
            self.blocks.setdefault(entry["block"], []).append(Timing(**entry["timing"]))
        if "network" in entry:
            self.networks.setdefault(int(entry["network"]), []).append(Timing(**entry["timing"]))

    @property
    def drift(self) -> float:
        """How far the reference's slowest quarter is above its fastest visit, relative."""
        if len(self.reference) < 2:
            return 0.0
        return float(np.quantile(self.reference, 0.75)) / min(self.reference) - 1.0


class Journal:
    """A file of lines of JSON: the conditions first, then one line a visit; a torn last line is left out."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def open(self, conditions: Conditions, recipe: Mapping[str, Any], resume: bool) -> Visits:
        """Begin, or continue. Raises ZooError where the conditions, or what is to be measured, differ."""
        visits = Visits()
        head = {"conditions": conditions.document(), "recipe": dict(recipe)}
        if not resume or not self.path.exists():
            if self.path.exists():
                raise ZooError(f"{self.path}: an unfinished measurement; continue it with --resume, or remove the file")
            make_folder(self.path.parent)
            self.append(head)
            return visits
        lines = self._lines()
        if not lines:
            raise ZooError(f"{self.path}: is not the journal of a measurement; remove it and start anew")
        refuse_mixture(from_document(lines[0].get("conditions", {}), str(self.path)), conditions, str(self.path))
        if lines[0].get("recipe") != json.loads(json.dumps(recipe)):
            raise ZooError(f"{self.path}: was begun for {_recipe(lines[0])}; give the same, or remove the file")
        for entry in lines[1:]:
            visits.add(entry)
        return visits

    def append(self, entry: Mapping[str, Any]) -> None:
        """Add a line and have it on the disk."""
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry, separators=(",", ":")) + "\n")
            file.flush()
            os.fsync(file.fileno())

    def _lines(self) -> list[dict[str, Any]]:
        text = self.path.read_text(encoding="utf-8")
        whole = text[: text.rfind("\n") + 1]
        if whole != text:
            # The line that an interruption tore is taken off, so that the next one starts on its own.
            with self.path.open("w", encoding="utf-8") as file:
                file.write(whole)
        try:
            return [json.loads(line) for line in whole.splitlines()]
        except ValueError:
            raise ZooError(f"{self.path}: is damaged; remove it and start anew") from None


def _recipe(head: Mapping[str, Any]) -> str:
    recipe = head.get("recipe") or {}
    return ", ".join(f"{name} {value}" for name, value in recipe.items()) or "something else"


def journal_path(name: str) -> Path:
    """Where the journal of a device's measurement lies."""
    return data_home() / "measuring" / f"{checked_name(name)}.jsonl"


def difference(found: Sequence[Timing]) -> float:
    """Relative difference of the two quietest visits."""
    quietest = sorted(timing.median_s for timing in found)
    return quietest[1] / quietest[0] - 1.0 if len(quietest) > 1 else float("inf")


def combined(found: Sequence[Timing]) -> Timing:
    """The quietest visit, its interval widened by how far the second quietest lies away."""
    best = min(found, key=lambda timing: timing.median_s)
    apart = difference(found) if len(found) > 1 else best.spread
    high = max(best.high_s, best.median_s * (1 + apart))
    return replace(best, low_s=min(best.low_s, best.median_s / (1 + apart)), high_s=high, n=sum(t.n for t in found))
