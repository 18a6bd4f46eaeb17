"""Trials of one stage of a study, kept in an Optuna study: ask, report, tell.

A trial comes into being with everything that defines it in one record, and ends with one record, so that a
process may die between any two. What it was evaluating then belongs to nobody and is taken over by the
next process that asks, under the same number and seed.
"""

import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from search.study.engines.local import Outcome, Task
from search.study.feasible import Candidates
from search.study.storage import FolderLock, reachable
from search.study.workers import Sight, Worker, seen
from zoo.errors import ConfigError
from zoo.specs import as_dict


@dataclass(frozen=True, slots=True)
class Entry:
    """A trial. state: running, complete, stopped or failed. reports: mIOU after each epoch, in percent."""

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

    @property
    def ended(self) -> bool:
        """Whether it was told."""
        return self.state != "running"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to evaluate next."""

    index: int
    seed: int
    notes: Mapping[str, Any]


Propose = Callable[[list[Entry]], Wanted | None]
"""From all trials so far, in the order of their numbers, to the next; None for no more."""


class Ledger:
    """One Optuna study; `shared` says that processes without this folder's lock may use it too."""

    def __init__(
        self,
        storage: Any,
        name: str,
        found: Candidates,
        asked: Mapping[str, Any],
        *,
        lock: FolderLock,
        worker: Worker,
        shared: bool,
        limit_s: float | None,
    ) -> None:
        import optuna

        self.found, self.lock, self.worker, self.shared, self.limit_s = found, lock, worker, shared, limit_s
        self.storage, self.name, self.mine = storage, name, dict[int, int]()
        with self._held():
            self.study = optuna.create_study(
                storage=storage,
                study_name=name,
                directions=["maximize" if sign < 0 else "minimize" for _, _, sign in found.query.axes()],
                load_if_exists=True,
            )
            saved = self.study.user_attrs.get("asked")
            if saved is None:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # that Optuna calls metric names experimental
                    self.study.set_metric_names(metric_names(found))
            elif saved != asked and (_search(saved) != _search(asked) or self.study.get_trials(deepcopy=False)):
                raise ConfigError(
                    f"study {name!r}: was made for another search: {difference(saved, asked)}; go on with its own "
                    "options, or start another with -o"
                )
            if saved != asked:
                self.study.set_user_attr("asked", dict(asked))
        self._distributions: dict[str, Any] = {
            field: optuna.distributions.IntDistribution(0, len(found.query.one_space.choices.values[field]) - 1)
            for field in found.codes
        }

    @contextmanager
    def _held(self) -> Iterator[None]:
        with self.lock(), reachable(self.name):
            yield

    def entries(self) -> list[Entry]:
        """All trials in the order of their numbers."""
        with reachable(self.name):
            return [self._entry(trial) for trial in self.study.get_trials(deepcopy=False)]

    def _entry(self, trial: Any) -> Entry:
        attrs = trial.user_attrs
        states = {"RUNNING": "running", "WAITING": "running", "COMPLETE": "complete", "PRUNED": "stopped"}
        state, reports = states.get(trial.state.name, "failed"), dict(trial.intermediate_values)
        miou = trial.values[self.found.miou_axis] if state == "complete" else max(reports.values(), default=None)
        outcome = attrs.get("outcome", {})
        return Entry(
            number=trial.number,
            state=state,
            index=self.found.index(attrs["row"]),
            seed=attrs["seed"],
            miou=miou if state in ("complete", "stopped") else None,
            reports=reports,
            notes=attrs["notes"],
            seconds=float(outcome.get("seconds", 0.0)),
            error=outcome.get("error"),
            worker=attrs["worker"],
            age_s=time.time() - attrs["since"],
            void=bool(outcome.get("void", False)),
        )

    def ask(self, propose: Propose, most: int | None = None) -> Task | None:
        """The next trial: one that lost its process, or what is proposed; None where there is none.

        most: how many trials there may be; what other machines ask at the same time is seen only afterwards.
        """
        with self._held():
            entries = self.entries()
            for entry in entries:
                if not entry.ended and entry.number not in self.mine and self._gone(entry):
                    return self._take_over(entry)
            while True:
                wanted = propose(entries)
                if wanted is None:
                    return None
                task = self._create(wanted)
                entries = self.entries()
                if not self.shared or _first(entries, task.number, most):
                    return task
                void = Outcome("failed", None, 0.0, "asked by another process at the same time")
                self._end(task.number, void, void=True)

    def _gone(self, entry: Entry) -> bool:
        return self._seen(entry).gone

    def _seen(self, entry: Entry) -> Sight:
        return seen(entry.worker, self.worker.folder, entry.age_s, self.limit_s)

    def waiting(self) -> list[tuple[int, Sight]]:
        """Trials that other processes evaluate, with what is seen of these."""
        return [(e.number, self._seen(e)) for e in self.entries() if not e.ended and e.number not in self.mine]

    def _task(self, number: int, index: int, seed: int) -> Task:
        return Task(number, self.found.query.space.spec(int(self.found.rows[index])), seed)

    def _take_over(self, entry: Entry) -> Task:
        trial_id = self.study.get_trials(deepcopy=False)[entry.number]._trial_id
        self.storage.set_trial_user_attr(trial_id, "worker", self.worker.name)
        self.storage.set_trial_user_attr(trial_id, "since", time.time())
        self.mine[entry.number] = trial_id
        return self._task(entry.number, entry.index, entry.seed)

    def _create(self, wanted: Wanted) -> Task:
        import optuna

        found, index = self.found, wanted.index
        row = int(found.rows[index])
        template = optuna.trial.create_trial(
            state=optuna.trial.TrialState.RUNNING,
            params={field: int(code[index]) for field, code in found.codes.items()},
            distributions=self._distributions,
            constraints=constraints(found, index),
            user_attrs={
                "row": row,
                "spec": as_dict(found.query.space.spec(row)),
                **{f"spec.{field}": plain_value(found, field, int(code[index])) for field, code in found.codes.items()},
                "seed": wanted.seed,
                "notes": dict(wanted.notes),
                "worker": self.worker.name,
                "since": time.time(),
            },
        )
        trial_id = self.storage.create_new_trial(self.study._study_id, template_trial=template)
        number = int(self.storage.get_trial(trial_id).number)
        self.mine[number] = trial_id
        return self._task(number, index, wanted.seed)

    def report(self, number: int, epoch: int, miou: float) -> None:
        """Keep the mIOU after an epoch."""
        with self._held():
            self.storage.set_trial_intermediate_value(self.mine[number], epoch, miou)

    def tell(self, number: int, outcome: Outcome) -> None:
        """End a trial; it counts once, whoever told it first."""
        with self._held():
            self._end(number, outcome)

    def _end(self, number: int, outcome: Outcome, *, void: bool = False) -> None:
        import optuna

        trial_id = self.mine.pop(number)
        if self.storage.get_trial(trial_id).state.is_finished():
            return
        about = {"seconds": outcome.seconds, "error": outcome.error} | ({"void": True} if void else {})
        self.storage.set_trial_user_attr(trial_id, "outcome", about)
        entry = self.found.index(self.storage.get_trial(trial_id).user_attrs["row"])
        values = None
        if outcome.state == "complete":
            signs = [sign for _, _, sign in self.found.query.axes()]
            values = [sign * v for sign, v in zip(signs, self.found.points(entry, outcome.miou), strict=True)]
        states = optuna.trial.TrialState
        state = {"complete": states.COMPLETE, "stopped": states.PRUNED, "failed": states.FAIL}[outcome.state]
        self.storage.set_trial_state_values(trial_id, state, values=values)


def plain_value(found: Candidates, field: str, code: int) -> Any:
    """The value of a field that a code stands for, as optuna-dashboard shows it."""
    value = found.query.one_space.choices.values[field][code]
    return list(value) if isinstance(value, tuple) else value


def _search(asked: Mapping[str, Any]) -> dict[str, Any]:
    """Without the protocol of the follow-up, which may change before anything trained by it."""
    return {key: value for key, value in asked.items() if key != "follow_up"}


def _first(entries: list[Entry], number: int, most: int | None) -> bool:
    """Whether no earlier trial has the same candidate and seed, and the trial is among the first `most`."""
    own, earlier = entries[number], [e for e in entries[:number] if not e.void]
    same = any((e.index, e.seed) == (own.index, own.seed) for e in earlier)
    return not same and (most is None or len(earlier) < most)


def metric_names(found: Candidates) -> list[str]:
    """Names of the objectives, with the device where there are several."""
    query = found.query
    several = len(query.devices) > 1
    return [m if d is None or not several else f"{m}@{query.devices[d]}" for m, d, _ in query.axes()]


def constraints(found: Candidates, index: int) -> dict[str, float]:
    """The probability of passing each limit over what is allowed for all, less 1; below zero is within."""
    out, allowed = {}, 1 - found.query.confidence
    for bound, value in zip(found.query.bounds(), found.failures[index], strict=True):
        where = "" if bound.device is None else f"@{found.query.devices[bound.device]}"
        out[f"{bound.limit}{where}"] = float(value / allowed - 1)
    return out


def difference(saved: Any, wanted: Any, where: str = "") -> str:
    """The first thing in which two documents differ.

    >>> difference({"seed": 1, "space": {"k": [2]}}, {"seed": 1, "space": {"k": [3]}})
    'space.k is [2] there and [3] here'
    """
    if isinstance(saved, Mapping) and isinstance(wanted, Mapping):
        for key in {**saved, **wanted}:
            if saved.get(key) != wanted.get(key):
                return difference(saved.get(key), wanted.get(key), f"{where}.{key}".lstrip("."))
    return f"{where} is {saved!r} there and {wanted!r} here"
