"""Exact search: enumerate the space at every clock, keep what the limits admit, and return the complete front."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from search.accuracy import SCALES, AccuracyModel, assumptions_of
from search.clocks import Setting, settings_of, settled
from search.infeasible import Nearest, NothingFeasible
from search.pareto import Floats, levels, nondominated
from search.pricing import Columns, Evaluator, accuracy_of, join
from search.query import CLOCK_TRADED, DEVICE_METRICS, Query
from search.structure import structure
from search.tables import Tables, UnionTables
from zoo.bulk.choices import Ints
from zoo.errors import ConfigError, ZooError
from zoo.registry import lower
from zoo.specs import Spec, as_dict

__all__ = ["NothingFeasible", "Result", "answer", "entries", "entry", "nothing_feasible", "objectives", "search"]

Progress = Callable[[int, int], None]

PARTS = ("mean", "low", "high")

SAMPLE = 1500
"""Feasible candidates kept, spread evenly over the enumeration, to show what the front dominates."""


@dataclass(frozen=True)
class Result:
    """A complete answer: every candidate of the front, best first in the order of the objectives.

    A candidate is a network at a setting of the clocks.

    Args:
        query: what was asked, with its clocks filled in where one setting was tried.
        settings: of the clocks, that were tried.
        enumerated: valid specs in the space.
        feasible: those within all limits, with the probability asked for, at some setting.
        columns: values of the front, by rank.
        sample: values of some feasible candidates, to show what the front dominates.
        aliases: how many feasible specs are the same network, by rank.

    >>> from search.device_at import DeviceAt
    >>> from search.space import SearchSpace
    >>> from zoo.bulk.choices import Choices
    >>> space = SearchSpace(Choices("espnet", {"variant": ("C",), "alpha3": (3, 5, 8)}), (512, 1024))
    >>> result = answer(Query(space=space, devices=(DeviceAt("tx2"),)))
    >>> result.enumerated, result.feasible, [spec.alpha3 for spec in result.specs]
    (3, 3, [8, 5, 3])
    >>> result.front[0]["rank"], result.front[0]["spec"]["alpha3"]
    (1, 8)
    """

    query: Query
    settings: tuple[Setting, ...]
    enumerated: int
    feasible: int
    columns: Columns
    sample: Columns
    aliases: tuple[int, ...]

    @property
    def specs(self) -> tuple[Spec, ...]:
        """Specs of the front, by rank."""
        return tuple(self.query.space.spec(int(row)) for row in self.columns.rows)

    @property
    def clocks(self) -> tuple[Setting, ...]:
        """Devices with their clocks, by rank."""
        return tuple(self.settings[i] for i in self.columns.setting)

    @property
    def front(self) -> tuple[dict[str, Any], ...]:
        """The front as plain values, by rank: see `entries`."""
        return tuple(entries(self))


def entries(result: Result) -> Iterator[dict[str, Any]]:
    """The front as plain values, by rank."""
    accuracy = accuracy_of(result.query)
    for i, (spec, at) in enumerate(zip(result.specs, result.clocks, strict=True)):
        yield entry(result.query, result.columns, i, spec, at, accuracy) | {"aliases": result.aliases[i]}


def entry(
    query: Query, columns: Columns, i: int, spec: Spec, at: Setting | None = None, accuracy: AccuracyModel | None = None
) -> dict[str, Any]:
    """One candidate: rank (from 1), spec, miou, counts, and cost; the cost of the first device also on top.

    at: the devices with their clocks, by default those of the query. accuracy: the query's model of mIOU, which takes
    time to find where there are several families; by default it is found for each entry. `miou` is None where
    no model knows it; `miou_assumes` names what its prediction takes for granted, since no evidence varies it.
    """
    setting = at or query.devices
    devices: list[dict[str, Any]] = [
        {"clock_mhz": setting[d].clock_mhz}
        | {metric: {part: float(columns.devices[d][metric][part][i]) for part in PARTS} for metric in DEVICE_METRICS}
        for d in range(len(query.devices))
    ]
    for cost in devices:
        cost["fps"] = 1.0 / cost["latency_s"]["mean"]
    miou = {part: float(columns.miou[part][i]) for part in PARTS}
    return {
        "rank": i + 1,
        "at": [str(device) for device in setting],
        "spec": as_dict(spec),
        "miou": None if np.isnan(miou["mean"]) else miou,
        "miou_source": "unknown" if np.isnan(miou["mean"]) else _source(query),
        "miou_assumes": [] if np.isnan(miou["mean"]) else list(assumptions_of(accuracy or accuracy_of(query), spec)),
        **{name: int(column[i]) for name, column in columns.counts.items()},
        **devices[0],
        "devices": dict(zip(map(str, query.devices), devices, strict=True)),
    }


def _source(query: Query) -> str:
    """Where mIOU comes from; of other data than the published figures', on which data."""
    return f"predicted ({query.accuracy}{'' if query.accuracy == 'published' else ': ' + SCALES[query.accuracy]})"


def answer(query: Query, progress: Progress | None = None, tables: Tables | UnionTables | None = None) -> Result:
    """Search at the clocks asked for and, where a clock is left open, at every one that may help.

    tables: where lowered and priced candidates come from; by default they are made here. Raises NothingFeasible
    with a report, and ConfigError for an empty space.
    """
    return search(query, progress, Evaluator(query, tables) if tables else None)


def search(query: Query, progress: Progress | None = None, evaluator: Evaluator | None = None) -> Result:
    """Enumerate, filter, and keep what nobody dominates. Raises NothingFeasible; ConfigError for an empty space."""
    walk = _Walk.of(query, progress, evaluator)
    if not walk.feasible:
        raise walk.nothing()
    return walk.result()


def nothing_feasible(query: Query) -> ZooError:
    """The error of a query that no candidate meets: NothingFeasible with a report, ConfigError for an empty space."""
    return _Walk.of(query).nothing()


class _Walk:
    """An enumeration: what it has counted and kept so far."""

    def __init__(self, query: Query, settings: tuple[Setting, ...], evaluators: list[Evaluator]) -> None:
        self.query, self.settings, self.evaluators = query, settings, evaluators
        self.enumerated = self.feasible = 0
        self.parts: list[Columns] = []
        self.clouds: list[Columns] = []
        self.nearest = Nearest(query, settings)

    @classmethod
    def of(cls, open_query: Query, progress: Progress | None = None, evaluator: Evaluator | None = None) -> "_Walk":
        """The whole space, at every clock that may help."""
        settings = settings_of(open_query)
        query = settled(open_query, settings)
        walk = cls(query, settings, (evaluator or Evaluator(query)).at(query).at_settings(settings))
        for rows in query.space.chunks():
            walk.see(rows)
            if progress:
                progress(int(rows[-1]) + 1, query.space.combinations)
        return walk

    def see(self, rows: Ints) -> None:
        """Take some combinations into account at every setting; what a slower clock cannot help is left out of it."""
        left = np.flatnonzero(self.evaluators[0].countable(rows))
        admitted = np.zeros(len(rows), dtype=bool)
        fastest = None
        for setting, evaluator in enumerate(self.evaluators):
            if not len(left):
                break
            priced = evaluator.price_some(rows, left, fastest)
            admitted[left[priced.within]] = True
            if priced.within.any():
                self._keep(evaluator.columns(priced, np.flatnonzero(priced.within), setting))
            fastest = fastest or priced
            decided = fastest.hopeless | (priced.within if self._fastest_is_best else False)
            left, fastest = left[~decided], fastest.take(np.flatnonzero(~decided))
        self.enumerated, self.feasible = self.enumerated + len(rows), self.feasible + int(admitted.sum())

    def _keep(self, inside: Columns) -> None:
        self.parts.append(inside.take(nondominated(levels(objectives(self.query, inside)))))
        self.clouds.append(_thinned(inside))

    @property
    def _fastest_is_best(self) -> bool:
        """Whether a network that is within the limits at a clock gains nothing from a slower one."""
        open_clocks = sum(len(set(column)) > 1 for column in zip(*self.settings, strict=True))
        return open_clocks <= 1 and not any(metric in CLOCK_TRADED for metric, _, _ in self.query.axes())

    def result(self) -> Result:
        """The front, each network once, best first."""
        front = join(self.parts)
        front = front.take(nondominated(levels(objectives(self.query, front))))
        front, aliases = distinct_networks(self.query, front)
        order = _order(self.query, front)
        counts = tuple(int(n) for n in aliases[order])
        cloud = _thinned(join(self.clouds))
        return Result(self.query, self.settings, self.enumerated, self.feasible, front.take(order), cloud, counts)

    def nothing(self) -> ZooError:
        """What to say where nothing is feasible: every candidate at every setting is looked at again."""
        if not self.enumerated:
            return ConfigError("the space has no valid spec at this size; widen its choices")
        for rows in self.query.space.chunks():
            for setting, evaluator in enumerate(self.evaluators):
                self.nearest.see(evaluator.price(rows), setting)
        _, row, setting, _ = self.nearest.together
        spec = self.query.space.spec(row)
        nearest = entry(self.query, self.evaluators[setting](np.array([row])), 0, spec, self.settings[setting])
        return self.nearest.error(self.enumerated, nearest)


def _thinned(columns: Columns) -> Columns:
    return columns.take(np.arange(0, len(columns.rows), 1 + len(columns.rows) // SAMPLE))


def _order(query: Query, columns: Columns) -> Ints:
    """Rows by the objectives in their order, then by setting and number."""
    ranks = levels(objectives(query, columns))
    return np.lexsort((columns.rows, columns.setting, *ranks.T[::-1]))


def distinct_networks(query: Query, columns: Columns) -> tuple[Columns, Ints]:
    """Every network once, where rows agree in all objectives; and how many specs of `columns` each is.

    Specs whose differing fields touch no layer lower to the same graph; the first in the space stands for all,
    at the fastest of the settings that cost the same.
    """
    ranks = levels(objectives(query, columns))
    members = networks(query, columns.rows, columns.setting, ranks)
    index = np.array([i for i, _ in members], dtype=np.int64)
    return columns.take(index), np.array([len(rows) for _, rows in members], dtype=np.int64)


def networks(query: Query, rows: Ints, setting: Ints, ranks: Floats) -> list[tuple[int, set[int]]]:
    """The place of the first of each network among candidates that agree in all `ranks` (N, K), and all its rows.

    First is the first in the space, and of one spec the fastest setting.
    """
    _, group = np.unique(ranks, axis=0, return_inverse=True)
    group = group.ravel()
    sizes = np.bincount(group)
    graphs: dict[int, Any] = {}
    members: dict[tuple[int, Any], tuple[int, set[int]]] = {}
    for i in np.lexsort((setting, rows, group)).tolist():
        own, row = int(group[i]), int(rows[i])
        if sizes[own] > 1 and row not in graphs:
            graphs[row] = structure(lower(query.space.spec(row), query.space.size))
        members.setdefault((own, graphs[row] if sizes[own] > 1 else None), (i, set()))[1].add(row)
    return list(members.values())


def objectives(query: Query, columns: Columns) -> Floats:
    """Objectives of each row, all to be minimised."""
    columns_of = [sign * columns.metric(name, device) for name, device, sign in query.axes()]
    return np.stack(columns_of, axis=1).astype(np.float64)
