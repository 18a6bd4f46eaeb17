"""A row of `zoo bench` measured again: whether it came out alike, and which condition differs where it did not."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hw_models.measure.environment import CLOCK_TOLERANCE
from zoo.errors import ZooError
from zoo.reading import read_json
from zoo.text import one_line

NOT_CONDITIONS = frozenset({"runs", "spread", "others_load", "power_covers"})
"""Entries of a protocol that are outcomes."""

NEEDED = ("backend", "threads", "batch", "network", "weights")


@dataclass(frozen=True, slots=True)
class Row:
    """A stored row. size: (height, width). protocol: as `Bench.document` writes it."""

    text: str
    model: str
    spec: Mapping[str, Any]
    size: tuple[int, int]
    low_s: float
    median_s: float
    high_s: float
    protocol: Mapping[str, Any]

    @property
    def trained(self) -> bool:
        """Whether the network had trained weights."""
        return str(self.protocol["weights"]).startswith("trained")

    @property
    def spread(self) -> float:
        """Relative spread of its runs."""
        return float(self.protocol.get("spread") or 0.0)


@dataclass(frozen=True, slots=True)
class Reproduction:
    """ratio: the new median to the stored one. differs: condition -> (then, now)."""

    ok: bool
    ratio: float
    differs: Mapping[str, tuple[Any, Any]]

    def document(self, row: str) -> dict[str, Any]:
        """Plain values."""
        changed = [{"condition": key, "then": old, "now": new} for key, (old, new) in self.differs.items()]
        return {"row": row, "ok": self.ok, "ratio": self.ratio, "differs": changed}


def read_row(text: str) -> Row:
    """The row that FILE, of one row, or FILE#N, counted from 1, names. Raises ZooError."""
    name, mark, number = text.rpartition("#")
    path = Path(name if mark and number.isdecimal() else text)
    rows = read_json(path, ZooError)
    if not isinstance(rows, list) or not rows or not all(isinstance(row, dict) for row in rows):
        raise ZooError(f"{path}: is no list of measurements; give a file that zoo bench -o wrote")
    if path == Path(text) and len(rows) > 1:
        raise ZooError(f"{path}: holds {len(rows)} rows; name one, as {path}#1")
    index = 1 if path == Path(text) else int(number)
    if not 1 <= index <= len(rows):
        raise ZooError(f"{text}: the row must be from 1 to {len(rows)}")
    return _row(text, rows[index - 1])


def _row(text: str, entry: Mapping[str, Any]) -> Row:
    try:
        latency, protocol = entry["latency_s"], dict(entry["protocol"])
        width, height = (int(side) for side in str(entry["size"]).split("x"))
        low, median, high = (float(latency[key]) for key in ("low", "median", "high"))
        spec = dict(entry["spec"])
        if not 0 < low <= median <= high < math.inf or not all(key in protocol for key in NEEDED):
            raise ValueError
        protocol |= {key: int(protocol[key]) for key in ("threads", "batch")}
    except (KeyError, TypeError, ValueError):
        raise ZooError(f"{one_line(text, 200)}: is no row of zoo bench; give a file that zoo bench -o wrote") from None
    return Row(text, str(entry.get("model")), spec, (height, width), low, median, high, protocol)


def reproduced(row: Row, document: Mapping[str, Any]) -> Reproduction:
    """Compare a row with the document of the same measurement made now.

    Alike are intervals that overlap, and medians no farther apart than the runs of either scattered.
    """
    latency, now_protocol = document["latency_s"], document["protocol"]
    ratio = latency["median"] / row.median_s
    overlap = latency["low"] <= row.high_s and row.low_s <= latency["high"]
    scatter = 1 + max(row.spread, float(now_protocol.get("spread") or 0.0))
    return Reproduction(
        overlap or 1 / scatter <= ratio <= scatter, ratio, dict(_differences(row.protocol, now_protocol))
    )


def _differences(
    old_protocol: Mapping[str, Any], new_protocol: Mapping[str, Any], within: str = ""
) -> Iterator[tuple[str, Any]]:
    for key in dict.fromkeys((*old_protocol, *new_protocol)):
        old, new = old_protocol.get(key), new_protocol.get(key)
        if key in NOT_CONDITIONS or old == new or (key == "clock_mhz" and _near(old, new)):
            continue
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            yield from _differences(old, new, f"{key}.")
        else:
            yield f"{within}{key}", (old, new)


def _near(old: Any, new: Any) -> bool:
    """Whether two clocks count as the same."""
    numbers = all(isinstance(value, (int, float)) and value > 0 for value in (old, new))
    return numbers and abs(new / old - 1) <= CLOCK_TOLERANCE
