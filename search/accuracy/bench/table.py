"""What the bench's table says: networks with their runs, the noise of one run, and questions to the rows."""

import math
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
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

    @cached_property
    def counts(self) -> tuple[int, int]:
        """Parameters and MACs at 1024x512 of the spec as it was asked for."""
        graph = lower(self.spec, SIZE)
        return graph.params, graph.macs


@dataclass(frozen=True, slots=True)
class Noise:
    """Standard deviation of one run, pooled over the networks with several, and its degrees of freedom."""

    sd: float
    freedom: int


def measured(runs: Sequence[Run], protocol: str = PROTOCOL) -> tuple[Measured, ...]:
    """The networks of a table in the order of their first runs; no run of another protocol."""
    found: dict[Spec, list[Run]] = {}
    for run in runs:
        if run.protocol == protocol:
            found.setdefault(run.network, []).append(run)
    return tuple(Measured(spec, tuple(same)) for spec, same in found.items())


def noise(networks: Sequence[Measured], of: Callable[[Any], Any] = float) -> Noise | None:
    """Pooled standard deviation of `of(mIOU)`; None where no network ran twice."""
    found = pooled_sd([of(run.miou) for run in one.runs] for one in networks)
    return Noise(*found) if found else None


def noise_sd(networks: Sequence[Measured]) -> float:
    """Standard deviation of one run in points, from the repeats and what is assumed before any.

    Together as the mean of an inverse-gamma posterior would be for many repeats: sums of squares are added.
    """
    found = noise(networks, points)
    squares = ASSUMED_WORTH * ASSUMED_SD**2 + (found.freedom * found.sd**2 if found else 0.0)
    return math.sqrt(squares / (ASSUMED_WORTH + (found.freedom if found else 0)))


SAID = ("variant", "k", "alpha2", "alpha3", "widths", "block", "hff", "activation", "reduce", "image_path")


def title(spec: Any) -> str:
    """A spec in a few words: what it is, and where else it differs from its family's defaults.

    >>> from zoo.models.espnet import ESPNetSpec
    >>> title(ESPNetSpec(variant="ESPNet", k=4, hff=False))
    'ESPNet k=4 α2=2 α3=8 16,64,128 no hff'
    """
    words = _espnet(spec) if spec.family == "espnet" else [spec.family]
    said = SAID if spec.family == "espnet" else ()
    own = [f.name for f in fields(spec) if f.name not in said and getattr(spec, f.name) != f.default]
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
    params, macs = Measured(run.network, (run,)).counts
    own = {name: getattr(run, name) for name in COLUMNS if name not in ("params", "macs")}
    spec = {name: tuple(v) if isinstance(v, list) else v for name, v in run.spec.items()}
    return {**own, "params": params, "macs": macs, **spec}


def where(runs: Sequence[Run], conditions: Sequence[str]) -> tuple[Run, ...]:
    """The rows that fulfil all of `FIELD=VALUE`, also with !=, <, <=, > and >=. Raises ConfigError."""
    rows = [(run, values(run)) for run in runs]
    known = set(COLUMNS).union(*(row for _, row in rows))
    for text in conditions:
        name, relation, wanted = _condition(text, known)
        rows = [(run, row) for run, row in rows if name in row and _holds(row[name], relation, wanted, text)]
    return tuple(run for run, _ in rows)


def _condition(text: str, known: set[str]) -> tuple[str, str, str]:
    found = re.fullmatch(r"\s*(\w+)\s*(<=|>=|!=|=|<|>)\s*(.+?)\s*", text)
    if not found:
        raise ConfigError(f"condition {text!r}: must be FIELD=VALUE, or with !=, <, <=, >, >=, such as alpha3>=5")
    name, relation, wanted = found.groups()
    return _column(name, known), relation, wanted


def _column(name: str, known: set[str]) -> str:
    if name not in known:
        raise ConfigError(f"field {name!r} is unknown; {did_you_mean(name, known)}")
    return name


def _holds(value: Any, relation: str, wanted: str, text: str) -> bool:
    if isinstance(value, (bool, str, tuple)):
        if relation not in ("=", "!="):
            raise ConfigError(f"condition {text!r}: only numbers are compared by {relation}; write = or !=")
        return RELATIONS[relation](_plain(value), wanted.lower().replace(" ", ""))
    scale = {"k": 1e3, "m": 1e6, "g": 1e9}.get(wanted[-1].lower(), 1.0)
    try:
        number = float(wanted[:-1] if scale > 1 else wanted) * scale
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


def varying(networks: Sequence[Measured]) -> tuple[str, ...]:
    """Fields of the specs that differ among networks, in the order of declaration."""
    if not networks:
        return ()
    names = [field.name for field in fields(type(networks[0].spec))]  # type: ignore[arg-type]
    return tuple(name for name in names if len({getattr(one.spec, name, None) for one in networks}) > 1)
