"""The bench's table: networks with their runs, the noise of one run, filters and orders of rows."""

import math
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cache
from typing import Any

import numpy as np

from search.accuracy.bench.protocol import PROTOCOL, Run
from search.accuracy.linear import points
from zoo.errors import ConfigError, did_you_mean
from zoo.registry import lower
from zoo.specs import Spec
from zoo.statistics import pooled_sd

SIZE = (512, 1024)
"""(height, width) that MACs are counted at."""

ASSUMED_SD, ASSUMED_WORTH = 1.0, 2
"""Standard deviation of one run in points, assumed before any repeat, and how many repeats that is worth."""


@dataclass(frozen=True)
class Measured:
    """A network, and its runs under one protocol."""

    spec: Spec
    runs: tuple[Run, ...]

    @property
    def mean(self) -> float:
        """Mean mIOU in percent."""
        return float(np.mean([run.miou for run in self.runs]))

    @property
    def sd(self) -> float | None:
        """Standard deviation of one run in percent; None of a single run."""
        return float(np.std([run.miou for run in self.runs], ddof=1)) if len(self.runs) > 1 else None

    @property
    def counts(self) -> tuple[int, int]:
        """Parameters and MACs at 1024x512 of the spec as it was asked for."""
        return counts_of(self.spec)


@cache
def counts_of(spec: Spec) -> tuple[int, int]:
    """Parameters and MACs at 1024x512; a table has several runs of a network and is read many times."""
    graph = lower(spec, SIZE)
    return graph.params, graph.macs


@dataclass(frozen=True, slots=True)
class Noise:
    """Standard deviation of one run, pooled over the networks with several, and its degrees of freedom."""

    sd: float
    freedom: int


def measured(runs: Sequence[Run], protocol: str = PROTOCOL) -> tuple[Measured, ...]:
    """The networks of a table in the order of their first runs; no run of another protocol."""
    by_spec: dict[Spec, list[Run]] = {}
    for run in runs:
        if run.protocol == protocol:
            by_spec.setdefault(run.network, []).append(run)
    return tuple(Measured(spec, tuple(spec_runs)) for spec, spec_runs in by_spec.items())


def noise(networks: Sequence[Measured], of: Callable[[Any], Any] = float) -> Noise | None:
    """Pooled standard deviation of `of(mIOU)`; None where no network ran twice."""
    pooled = pooled_sd([of(run.miou) for run in network.runs] for network in networks)
    return Noise(*pooled) if pooled else None


def noise_sd(networks: Sequence[Measured]) -> float:
    """Standard deviation of one run in points, from the repeats and what is assumed before any.

    Together as the mean of an inverse-gamma posterior would be for many repeats: sums of squares are added.
    """
    pooled = noise(networks, points)
    squares = ASSUMED_WORTH * ASSUMED_SD**2 + (pooled.freedom * pooled.sd**2 if pooled else 0.0)
    return math.sqrt(squares / (ASSUMED_WORTH + (pooled.freedom if pooled else 0)))


SAID = ("variant", "k", "alpha2", "alpha3", "widths", "block", "hff", "activation", "reduce", "image_path")


def title(spec: Any) -> str:
    """A spec in a few words: what it is, and where else it differs from its family's defaults.

    >>> from zoo.models.espnet import ESPNetSpec
    >>> title(ESPNetSpec(variant="ESPNet", k=4, hff=False))
    'ESPNet k=4 α2=2 α3=8 16,64,128 no hff'
    """
    words = _espnet(spec) if spec.family == "espnet" else [spec.family]
    named_fields = SAID if spec.family == "espnet" else ()
    own = [f.name for f in fields(spec) if f.name not in named_fields and getattr(spec, f.name) != f.default]
    return " ".join([*words, *(f"{name}={_plain(getattr(spec, name))}" for name in own)])


def _espnet(spec: Any) -> list[str]:
    words = [spec.variant, f"k={spec.k}", f"α2={spec.alpha2}", f"α3={spec.alpha3}", _plain(spec.widths)]
    words += [] if spec.block == "esp" else [spec.block]
    words += [] if spec.hff else ["no hff"]
    words += [] if spec.activation == "prelu" else [spec.activation]
    words += [] if spec.reduce == "pointwise" else [f"reduce {spec.reduce}"]
    words += ["no image"] if spec.variant in ("C", "ESPNet") and spec.image_path == "none" else []
    return [*words, "fusion"] if spec.image_path == "fusion" else words


COLUMNS = ("protocol", "seed", "params", "macs", "miou", "epochs", "seconds", "cpu_seconds", "threads", "torch")
"""What a row has beside the fields of its spec. `params` and `macs` are of the spec as it was asked for."""

RELATIONS: Mapping[str, Callable[[Any, Any], bool]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "!=": operator.ne,
    "=": operator.eq,
    "<": operator.lt,
    ">": operator.gt,
}


def values(run: Run) -> dict[str, Any]:
    """Everything that rows are filtered and sorted by: the columns, then the fields of the spec."""
    params, macs = counts_of(run.network)
    own = {name: getattr(run, name) for name in COLUMNS if name not in ("params", "macs")}
    spec = {name: tuple(v) if isinstance(v, list) else v for name, v in run.spec.items()}
    return {**own, "params": params, "macs": macs, **spec}


def where(runs: Sequence[Run], conditions: Sequence[str]) -> tuple[Run, ...]:
    """The rows that fulfil all of `FIELD=VALUE`, also with !=, <, <=, > and >=. Raises ConfigError."""
    rows = [(run, values(run)) for run in runs]
    column_names = set(COLUMNS).union(*(row for _, row in rows))
    for text in conditions:
        name, relation, value_text = _condition(text, column_names)
        rows = [(run, row) for run, row in rows if name in row and _holds(row[name], relation, value_text, text)]
    return tuple(run for run, _ in rows)


def _condition(text: str, column_names: set[str]) -> tuple[str, str, str]:
    match = re.fullmatch(r"\s*(\w+)\s*(<=|>=|!=|=|<|>)\s*(.+?)\s*", text)
    if not match:
        raise ConfigError(f"condition {text!r}: must be FIELD=VALUE, or with !=, <, <=, >, >=, such as alpha3>=5")
    name, relation, value_text = match.groups()
    return _column(name, column_names), relation, value_text


def _column(name: str, column_names: set[str]) -> str:
    if name not in column_names:
        raise ConfigError(f"field {name!r} is unknown; {did_you_mean(name, column_names)}")
    return name


def _holds(value: Any, relation: str, value_text: str, text: str) -> bool:
    if isinstance(value, (bool, str, tuple)):
        if relation not in ("=", "!="):
            raise ConfigError(f"condition {text!r}: only numbers are compared by {relation}; write = or !=")
        return RELATIONS[relation](_plain(value), value_text.lower().replace(" ", ""))
    scale = {"k": 1e3, "m": 1e6, "g": 1e9}.get(value_text[-1].lower(), 1.0)
    try:
        number = float(value_text[:-1] if scale > 1 else value_text) * scale
    except ValueError:
        raise ConfigError(f"condition {text!r}: must compare with a number, such as 200k") from None
    return RELATIONS[relation](value, number)


def _plain(value: Any) -> str:
    """A value as it is written in a condition: lists by commas, in small letters."""
    return (",".join(map(str, value)) if isinstance(value, tuple) else str(value)).lower()


def ordered(runs: Sequence[Run], by: str) -> tuple[Run, ...]:
    """Rows by a field, ascending, or as `FIELD:desc` descending; equal ones stay as they are. Raises ConfigError."""
    name, _, direction = by.partition(":")
    if direction not in ("", "asc", "desc"):
        raise ConfigError(f"order {by!r}: must be FIELD, FIELD:asc or FIELD:desc")
    rows = [(run, values(run)) for run in runs]
    _column(name, set(COLUMNS).union(*(row for _, row in rows)))
    with_it = sorted((row for row in rows if name in row[1]), key=lambda row: row[1][name], reverse=direction == "desc")
    return tuple(run for run, _ in with_it) + tuple(run for run, row in rows if name not in row)
