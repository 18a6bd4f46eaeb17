"""Reads a run's folder back for charts and reports: checked files, axes, published networks.

Nothing here draws. A run folder may come from anybody: numbers must be finite numbers and specs valid
specs, or the run is said to be damaged.
"""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import isfinite
from pathlib import Path
from typing import Any

from hw_models.predictors import Predictor, predictor
from search.accuracy import MODELS, published_points
from search.device_at import DeviceAt
from search.exact import PARTS
from search.query import DEVICE_METRICS, EXACT_METRICS, Query
from search.runs.folder import read_json
from search.runs.writer import query_from
from zoo.bulk.choices import Choices
from zoo.errors import ConfigError, ZooError, did_you_mean
from zoo.graph import Graph
from zoo.quantities import QUANTITIES
from zoo.reading import csv_reader, exists
from zoo.registry import lower, spec_from_dict
from zoo.specs import Spec


@dataclass(frozen=True, slots=True)
class Axis:
    """What is drawn along an axis: the metric, its name, its unit, SI units in one of those, and the better side.

    better: 1 where less is better, -1 where more is. device: of a device metric, or None for the first.
    """

    name: str
    metric: str
    title: str
    unit: str
    scale: float
    better: int = 1
    device: str | None = None

    @property
    def label(self) -> str:
        """Title and unit."""
        return f"{self.title}, {self.unit}" if self.unit else self.title


AXES: Mapping[str, Axis] = {
    q.name: Axis(q.name, q.key, q.title, q.unit, q.scale, q.direction)
    for q in sorted(QUANTITIES, key=lambda q: q.kind != "accuracy")
}
"""What a chart may show, mIOU first."""


@dataclass(frozen=True)
class Run:
    """A finished search: its folder, its query, its front by rank, a sample of the feasible, its certificate.

    Of a study the front was measured, `predicted` is the front that its trials lead one to expect, and `tried`
    what was measured without coming to the front, some of it by a shorter protocol; its `certificate` is empty,
    as of every folder that has none.
    """

    folder: Path
    query: Query
    front: list[dict[str, Any]]
    sample: list[dict[str, str]]
    predicted: list[dict[str, Any]]
    tried: list[dict[str, Any]]
    chosen: int
    document: Mapping[str, Any]
    certificate: Mapping[str, Any]

    @cached_property
    def published(self) -> list[dict[str, Any]]:
        """See the function `published`."""
        return _published(self)

    @property
    def name(self) -> str:
        """Name of the folder."""
        return self.folder.resolve().name

    @property
    def knows_miou(self) -> bool:
        """Whether its candidates have an mIOU, which a search without mIOU among its objectives may lack."""
        return all(entry["miou"] is not None for entry in self.front)

    @property
    def devices(self) -> tuple[str, ...]:
        """Devices with their clocks, as the front names them."""
        return tuple(map(str, self.query.devices))

    @property
    def enumerable(self) -> bool:
        """Whether every candidate's mIOU can be computed, so that the whole space can be asked again."""
        return not self.study and self.query.accuracy in MODELS

    @property
    def study(self) -> bool:
        """Whether candidates were measured one by one."""
        return self.document.get("kind") == "study"

    @property
    def plan(self) -> Mapping[str, Any] | None:
        """How a study went about its question, as plain values."""
        plan = self.document.get("plan")
        return plan if self.study and isinstance(plan, Mapping) else None

    def setting(self, rank: int) -> tuple[DeviceAt, ...]:
        """The devices at the clocks of a rank, which differ where the search left a clock open."""
        entry = self.front[rank - 1]
        clocks = [entry["devices"][label].get("clock_mhz") for label in self.devices]
        return tuple(
            DeviceAt(device.name, device.clock_mhz or clock)
            for device, clock in zip(self.query.devices, clocks, strict=True)
        )

    def spec(self, rank: int) -> Spec:
        """The spec of a rank. Raises ConfigError where the front has no such rank."""
        if not 1 <= rank <= len(self.front):
            raise ConfigError(f"{self.folder}#{rank}: the rank must be from 1 to {len(self.front)}, but is {rank}")
        return spec_from_dict(self.front[rank - 1]["spec"], f"{self.folder}#{rank}")


def load_run(folder: Path) -> Run:
    """Read the folder of a search. Raises ConfigError where it is none, or damaged."""
    document = read_json(folder / "front.json")
    try:
        query = query_from(document["query"])
        front, predicted, tried = (list(document.get(name, [])) for name in ("front", "predicted", "tried"))
        chosen = int(document["chosen"])
        if not front:
            raise ValueError("its front is empty")
        for entries in (front, predicted, tried):
            _check_entries(entries, [str(device) for device in query.devices])
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        reason = f"{type(error).__name__}: {error}" if isinstance(error, KeyError) else str(error)
        raise ConfigError(f"{folder / 'front.json'}: is damaged ({reason}); run the search again") from None
    if not 1 <= chosen <= len(front):
        raise ConfigError(f"{folder / 'front.json'}: is damaged (chosen: {chosen}); run the search again")
    certificate_path = folder / "certificate.json"
    certificate = read_json(certificate_path) if exists(certificate_path) else {}
    sample = _sample(folder / "sample.csv")
    return Run(folder, query, front, sample, predicted, tried, chosen, document, certificate)


def shortlisted(run: Run) -> list[dict[str, Any]]:
    """The shortlist of a run: ranks with what is said of them; empty for runs that have none. Raises ConfigError."""
    out = []
    for row in [] if run.study else run.document.get("shortlist") or []:
        try:
            entry = {
                "rank": int(row["rank"]),
                "p_best": float(row["p_best"]),
                "indistinguishable": int(row["indistinguishable"]),
                "cheaper": int(row["cheaper"]),
                "knee": bool(row["knee"]),
                "gain": float((row.get("training") or {}).get("expected_gain", 0.0)),
            }
        except (KeyError, TypeError, ValueError):
            raise ConfigError(f"{run.folder / 'front.json'}: is damaged (shortlist); run the search again") from None
        if not all(1 <= entry[key] <= len(run.front) for key in ("rank", "cheaper")) or not isfinite(entry["p_best"]):
            raise ConfigError(f"{run.folder / 'front.json'}: is damaged (shortlist); run the search again")
        out.append(entry)
    return out


@dataclass(frozen=True, slots=True)
class Conditions:
    """Under what a candidate of a run was priced: devices with their clocks, and the input's (height, width)."""

    devices: tuple[DeviceAt, ...]
    size: tuple[int, int]


def conditions_of(text: str) -> Conditions:
    """The clocks and the size of `RUN#RANK`, so that other commands keep them. Raises ConfigError."""
    folder, _, rank = text.rpartition("#")
    run = load_run(Path(folder))
    if not rank.isdecimal() or not 1 <= int(rank) <= len(run.front):
        raise ConfigError(f"{text}: the rank must be from 1 to {len(run.front)}, but is {rank!r}")
    return Conditions(run.setting(int(rank)), run.query.space.size)


def _check_entries(entries: Sequence[Mapping[str, Any]], devices: Sequence[str]) -> None:
    for i, entry in enumerate(entries):
        if entry["rank"] != i + 1:
            raise ValueError(f"rank {entry['rank']!r} in place {i + 1}")
        spec_from_dict(entry["spec"], f"[{i}].spec")
        miou = entry["miou"]
        numbers = [] if miou is None else [miou[part] for part in PARTS]
        numbers += [entry[metric] for metric in EXACT_METRICS]
        numbers += [entry["devices"][d][metric][part] for d in devices for metric in DEVICE_METRICS for part in PARTS]
        for number in numbers:
            if isinstance(number, bool) or not isinstance(number, (int, float)) or not isfinite(number):
                raise ValueError(f"[{i}]: {number!r} where a number must be")
        for d in devices:
            clock = entry["devices"][d].get("clock_mhz", 1.0)
            if clock is not None and not (isinstance(clock, (int, float)) and 0 < clock < 1e6):
                raise ValueError(f"[{i}].devices.{d}.clock_mhz: {clock!r} where a clock must be")


def _sample(path: Path) -> list[dict[str, str]]:
    try:
        return list(csv_reader(path))
    except (ConfigError, csv.Error):
        return []


def axis(name: str, runs: Sequence[Run]) -> Axis:
    """An axis by name; `latency@titanx` is that of one device of several. Raises ConfigError."""
    base, _, device = name.partition("@")
    if base not in AXES:
        raise ConfigError(f"axis {name!r} is unknown; {did_you_mean(base, AXES)}")
    quantity = AXES[base]
    if not device:
        return quantity
    if quantity.metric not in DEVICE_METRICS:
        raise ConfigError(f"axis {name!r}: {base} does not depend on a device; write {base}")
    for run in runs:
        device_of(run, replace(quantity, device=device))
    return replace(quantity, device=device)


def device_of(run: Run, along: Axis) -> int:
    """Which of a run's devices an axis shows. Raises ConfigError where the run has no such device."""
    if along.device is None:
        return 0
    for i, device in enumerate(run.query.devices):
        if along.device in (device.name, str(device)):
            return i
    hint = did_you_mean(along.device, [device.name for device in run.query.devices])
    raise ConfigError(f"axis {along.name}@{along.device}: {run.folder} has no such device; {hint}")


def values(run: Run, entry: Mapping[str, Any], along: Axis) -> tuple[float, float, float]:
    """Central estimate, low and high of one entry of the front, in the axis' unit; counts are exact."""
    metrics = entry["devices"][run.devices[device_of(run, along)]] if along.metric in DEVICE_METRICS else entry
    value = metrics[along.metric]
    mean, low, high = (float(value[part] if isinstance(value, Mapping) else value) / along.scale for part in PARTS)
    return mean, low, high


def sampled(run: Run, row: Mapping[str, str], along: Axis) -> float:
    """The same of a row of the sample: the central estimate. Raises ConfigError for a damaged row."""
    return sampled_si(run, row, along.metric, device_of(run, along)) / along.scale


def sampled_si(run: Run, row: Mapping[str, str], metric: str, device: int, part: str = "mean") -> float:
    """One number of a row of sample.csv, in SI units. Raises ConfigError for a damaged row."""
    name = metric if metric in EXACT_METRICS else f"{metric}.{part}"
    if metric in DEVICE_METRICS and len(run.devices) > 1:
        name = f"{run.devices[device]}.{name}"
    try:
        number = float(row[name])
    except (KeyError, TypeError, ValueError):
        number = float("nan")
    if not isfinite(number):
        raise ConfigError(f"{run.folder / 'sample.csv'}: is damaged; run the search again")
    return number


def _kin(spec: Spec, choices: Choices) -> bool:
    """Whether a network is of the family and built of units that a space has; others would only stretch the charts."""
    if spec.family != choices.family:
        return False
    values = choices.values
    defaults = choices.spec_values(dict.fromkeys(values, 0))
    return "block" not in defaults or getattr(spec, "block", None) in values.get("block", (defaults["block"],))


def published(run: Run) -> list[dict[str, Any]]:
    """The published networks of the run's families as entries of a front, with `name` and `source`.

    mIOU is the published one; the cost is predicted. Networks that were published at another image size than the
    query's are left out; there are none where mIOU comes from elsewhere, under another protocol.
    """
    return list(run.published)


def _published(run: Run) -> list[dict[str, Any]]:
    out: list[dict[str, Any]] = []
    query = run.query
    if not run.enumerable or query.accuracy != "published":
        return out
    prices = {str(at): predictor(at.name, at.clock_mhz) for at in query.devices}
    for point in published_points():
        if point.size != query.space.size or not any(_kin(point.spec, m.choices) for m in query.space.members):
            continue
        try:
            graph = lower(point.spec, query.space.size)
        except ZooError:
            continue
        out.append(
            {
                "name": point.name,
                "source": point.source,
                "miou": dict.fromkeys(PARTS, point.miou),
                "params": graph.params,
                "macs": graph.macs,
                "weight_bytes": graph.weight_bytes,
                "memory_bytes": graph.weight_bytes + graph.peak_activation_bytes,
                "devices": {at: _cost(prices[at], graph, query.confidence) for at in prices},
            }
        )
    return out


def _cost(prices: Predictor, graph: Graph, confidence: float) -> dict[str, dict[str, float]]:
    """Predictions for a network, by metric and part."""
    costs = prices.finish(prices.terms(graph.layers), confidence)
    return {metric: {part: float(getattr(costs, f"{metric}_{part}")) for part in PARTS} for metric in DEVICE_METRICS}
