"""Trials of one stage of a study, kept in an Optuna study: ask, report, tell.

    ask ──→ running ──tell──→ complete | stopped | failed
              │ ↑
              └─┘ taken over by the next process that asks, where the process that evaluates it is gone

A trial comes into being with everything that defines it in one record, and ends with one record, so that a process may
die between any two: it leaves no trial half made, and one that runs for nobody until it is taken over, under the same
number and seed. For example, a process dies in trial 3 of a study with 5 trials; the next `ask` of any process returns
trial 3 again, and the one after that creates trial 5.

A trial's parameters are the fields that its space varies; of several spaces, `space` and `label.field`, so that trials
of different spaces have different ones.

What a record holds stands in the user attributes of Optuna's trial: `row` (the candidate's number in the space),
`seed`, `notes` (of the sampler), `worker` and `since` (who evaluates it, from when), and once it has ended `outcome`
and `latency_s`. `search.study.optuna_study` is the only module that reaches into Optuna's storage.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

from hw_models.cost import Interval
from search.study.engines.local import Outcome, Task
from search.study.feasible import SPACE, FeasibleSet
from search.study.measured_latency import failures, latency_from
from search.study.optuna_study import OptunaStudy
from search.study.proposals import Proposal
from search.study.storage import FolderLock, reachable
from search.study.workers import Sight, Worker, seen
from zoo.errors import ConfigError
from zoo.specs import as_dict


@dataclass(frozen=True, slots=True)
class Trial:
    """A trial as it stands now.

    number: in the study, from 0. state: running, complete, stopped or failed. index: of the candidate in the feasible
    set. miou: in percent, as told of a complete trial, the best of a stopped one, else None. reports: mIOU after each
    epoch. notes: what the sampler noted. seconds: of evaluation. error: why it failed. worker: who evaluates it, as
    `search.study.workers` names it. age_s: seconds since it began. void: it counts for nothing, since another process
    asked for the same at the same time. latency: as this machine runs the network, where it was timed.
    """

    number: int
    state: str
    index: int
    seed: int
    miou: float | None
    reports: Mapping[int, float]
    notes: Mapping[str, Any]
    seconds: float
    error: str | None
    worker: Any
    age_s: float
    void: bool
    latency: Interval | None = None

    @property
    def ended(self) -> bool:
        """Whether it was told."""
        return self.state != "running"


Propose = Callable[[list[Trial]], Proposal | None]
"""From all trials so far, in the order of their numbers, to the next, with its seed; None for no more."""


class Trials:
    """The trials of one stage, of all processes; `ask`, `report` and `tell` each hold the folder's lock.

    shared: whether processes without that lock use the study too, as on other machines through a database. Then two
    may create the same trial between a look and the next; `ask` looks again, and the later of the two is void.
    limit_s: after about twice that many seconds a trial on another machine counts as lost.
    Raises ConfigError where the study was made for another search than `search`.
    """

    def __init__(
        self,
        storage: Any,
        name: str,
        feasible: FeasibleSet,
        search: Mapping[str, Any],
        *,
        lock: FolderLock,
        worker: Worker,
        shared: bool,
        limit_s: float | None,
    ) -> None:
        import optuna

        self.feasible, self.lock, self.worker, self.shared, self.limit_s = feasible, lock, worker, shared, limit_s
        self.name, self._running_here = name, set[int]()
        directions = ["maximize" if sign < 0 else "minimize" for _, _, sign in feasible.query.axes()]
        with self._held():
            self.study = OptunaStudy(storage, name, directions)
            saved = self.study.attrs.get("asked")
            if saved is None:
                self.study.name_metrics(metric_names(feasible))
            elif saved != search and (_search(saved) != _search(search) or self.study.trials()):
                raise ConfigError(
                    f"study {name!r}: was made for another search: {difference(saved, search)}; go on with its own "
                    "options, or start another with -o"
                )
            if saved != search:
                self.study.keep("asked", dict(search))
        self._distributions: dict[str, Any] = {
            name: optuna.distributions.IntDistribution(0, count - 1) for name, count in feasible.counts.items()
        }
        self._distributions[SPACE] = optuna.distributions.CategoricalDistribution(feasible.query.space.labels)

    @contextmanager
    def _held(self) -> Iterator[None]:
        """The lock of the folder, with errors of the storage as one sentence."""
        with self.lock(), reachable(self.name):
            yield

    def all(self) -> list[Trial]:
        """All trials in the order of their numbers."""
        return [self._trial(frozen) for frozen in self.study.trials()]

    def _trial(self, trial: Any) -> Trial:
        attrs = trial.user_attrs
        states = {"RUNNING": "running", "WAITING": "running", "COMPLETE": "complete", "PRUNED": "stopped"}
        state, reports = states.get(trial.state.name, "failed"), dict(trial.intermediate_values)
        miou = trial.values[self.feasible.miou_axis] if state == "complete" else max(reports.values(), default=None)
        outcome = attrs.get("outcome", {})
        return Trial(
            number=trial.number,
            state=state,
            index=self.feasible.index(attrs["row"]),
            seed=attrs["seed"],
            miou=miou if state in ("complete", "stopped") else None,
            reports=reports,
            notes=attrs["notes"],
            seconds=float(outcome.get("seconds", 0.0)),
            error=outcome.get("error"),
            worker=attrs["worker"],
            age_s=time.time() - attrs["since"],
            void=bool(outcome.get("void", False)),
            latency=latency_from(attrs.get("latency_s")),
        )

    def ask(self, propose: Propose, most: int | None = None) -> Task | None:
        """The next trial: one that lost its process, or what is proposed; None where there is none.

        most: how many trials there may be; what other machines ask at the same time is seen only afterwards.
        """
        with self._held():
            trials = self.all()
            lost = next((trial for trial in trials if self._is_lost(trial)), None)
            return self._propose(trials, propose, most) if lost is None else self._take_over(lost)

    def _propose(self, trials: list[Trial], propose: Propose, most: int | None) -> Task | None:
        """Create what is proposed, again and again where another machine was first; None for no proposal."""
        while proposal := propose(trials):
            task = self._create(proposal)
            trials = self.all()
            if not self.shared or _first(trials, task.number, most):
                return task
            void = Outcome("failed", None, 0.0, "asked by another process at the same time")
            self._end(task.number, void, void=True)
        return None

    def _is_lost(self, trial: Trial) -> bool:
        """Whether it runs, and neither here nor in any other process."""
        return not trial.ended and trial.number not in self._running_here and self._seen(trial).gone

    def _seen(self, trial: Trial) -> Sight:
        return seen(trial.worker, self.worker.folder, trial.age_s, self.limit_s)

    def waiting(self) -> list[tuple[int, Sight]]:
        """Trials that other processes evaluate, with what is seen of these."""
        return [(e.number, self._seen(e)) for e in self.all() if not e.ended and e.number not in self._running_here]

    def _task(self, number: int, index: int, seed: int) -> Task:
        return Task(number, self.feasible.query.space.spec(int(self.feasible.rows[index])), seed)

    def _take_over(self, trial: Trial) -> Task:
        self.study.set_attr(trial.number, "worker", self.worker.name)
        self.study.set_attr(trial.number, "since", time.time())
        self._running_here.add(trial.number)
        return self._task(trial.number, trial.index, trial.seed)

    def _create(self, proposal: Proposal) -> Task:
        feasible, index = self.feasible, proposal.index
        row = int(feasible.rows[index])
        assert proposal.seed is not None
        params = feasible.params(index)
        number = self.study.create(
            params=params,
            distributions={name: self._distributions[name] for name in params},
            constraints=constraints(feasible, feasible.failures[index]),
            user_attrs={
                "row": row,
                "spec": as_dict(feasible.query.space.spec(row)),
                **{f"spec.{field}": value for field, value in feasible.values(index).items()},
                "seed": proposal.seed,
                "notes": dict(proposal.notes),
                "worker": self.worker.name,
                "since": time.time(),
            },
        )
        self._running_here.add(number)
        return self._task(number, index, proposal.seed)

    def report(self, number: int, epoch: int, miou: float) -> None:
        """Keep the mIOU after an epoch."""
        with self._held():
            self.study.report(number, epoch, miou)

    def tell(self, number: int, outcome: Outcome, latency: Interval | None = None) -> None:
        """End a trial, with the latency of its network where it was timed; it counts once, whoever told it first."""
        with self._held():
            self._end(number, outcome, latency=latency)

    def _end(self, number: int, outcome: Outcome, *, latency: Interval | None = None, void: bool = False) -> None:
        self._running_here.remove(number)
        if self.study.finished(number):
            return
        index = self.feasible.index(self.study.attrs_of(number)["row"])
        if latency is not None:
            self.study.set_attr(number, "latency_s", asdict(latency))
            chances = failures(self.feasible.query, self.feasible.failures[index], latency)
            for name, value in constraints(self.feasible, chances).items():
                self.study.set_constraint(number, name, value)
        about = {"seconds": outcome.seconds, "error": outcome.error} | ({"void": True} if void else {})
        self.study.set_attr(number, "outcome", about)
        values = None
        if outcome.state == "complete":
            signs = [sign for _, _, sign in self.feasible.query.axes()]
            costs = self.feasible.points(index, outcome.miou, latency and latency.mean)
            values = [sign * v for sign, v in zip(signs, costs, strict=True)]
        self.study.finish(number, outcome.state, values)


def _search(identity: Mapping[str, Any]) -> dict[str, Any]:
    """Without the protocol of the follow-up, which may change before anything trained by it."""
    return {key: value for key, value in identity.items() if key != "follow_up"}


def _first(trials: list[Trial], number: int, most: int | None) -> bool:
    """Whether no earlier trial has the same candidate and seed, and the trial is among the first `most`."""
    own, earlier = trials[number], [e for e in trials[:number] if not e.void]
    repeated = any((e.index, e.seed) == (own.index, own.seed) for e in earlier)
    return not repeated and (most is None or len(earlier) < most)


def metric_names(feasible: FeasibleSet) -> list[str]:
    """Names of the objectives, with the device where there are several."""
    query = feasible.query
    several = len(query.devices) > 1
    return [m if d is None or not several else f"{m}@{query.devices[d]}" for m, d, _ in query.axes()]


def constraints(feasible: FeasibleSet, failures: Any) -> dict[str, float]:
    """A candidate's probability of passing each limit, (limits,), over what is allowed for all, less 1.

    Below zero is within.
    """
    out, allowed = {}, 1 - feasible.query.confidence
    for bound, value in zip(feasible.query.bounds(), failures, strict=True):
        at_device = "" if bound.device is None else f"@{feasible.query.devices[bound.device]}"
        out[f"{bound.limit}{at_device}"] = float(value / allowed - 1)
    return out


def difference(saved: Any, expected: Any, path: str = "") -> str:
    """The first thing in which two documents differ.

    >>> difference({"seed": 1, "space": {"k": [2]}}, {"seed": 1, "space": {"k": [3]}})
    'space.k is [2] there and [3] here'
    """
    if isinstance(saved, Mapping) and isinstance(expected, Mapping):
        for key in {**saved, **expected}:
            if saved.get(key) != expected.get(key):
                return difference(saved.get(key), expected.get(key), f"{path}.{key}".lstrip("."))
    return f"{path} is {saved!r} there and {expected!r} here"
