"""Runs a study: proposes candidates within the limits, measures them, records results, until the budget is spent.

Stages: `search` (short protocol, by the sampler, with successive halving), then `follow-up`, where the best train
by the long protocol, and the members of the front again with other seeds. Everything is told to a storage
before anything rests on it; the same command continues a study that was interrupted at any moment.
"""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from hw_models.predictors import predictor
from search.digests import folder_digest
from search.query import Query
from search.runs.writer import query_from, read_json
from search.space import digest
from search.study.config import PLAN, Plan, plan_from
from search.study.engines.local import Engine, Inline, Outcome, Processes
from search.study.evaluators import Evaluator
from search.study.feasible import Candidates, Progress, candidates
from search.study.halving import Halving, rungs
from search.study.observations import history
from search.study.progress import Outlook, Watch
from search.study.promotion import follow_ups
from search.study.samplers import SAMPLERS, Exhausted, Sampler, Setting, choose
from search.study.storage import JOURNAL, FolderLock, open_storage
from search.study.surrogate import Prior, Scale, prior
from search.study.trials import Entry, Ledger, Wanted, difference
from search.study.trust import remember
from search.study.workers import Worker
from zoo import claims
from zoo.errors import ConfigError, ZooError
from zoo.files import atomic, make_folder
from zoo.reading import exists
from zoo.text import quoted, shown

SEARCH, FOLLOW_UP = "search", "follow-up"
FOLLOW_SHARE = 0.4
"""Share of a time budget that is kept for the follow-up."""

SHOWN_EVERY_S = 0.5
"""Seconds between two looks at a study that runs."""

Say = Callable[[str], None]

MakeEngine = Callable[[Evaluator, Callable[[int, int, float], bool], Path, Plan], Engine]


def local(evaluator: Evaluator, decide: Callable[[int, int, float], bool], logs: Path, plan: Plan) -> Engine:
    """One trial at a time on this machine."""
    if not evaluator.isolated:
        return Inline(evaluator, decide)
    return Processes(evaluator, decide, logs, limit_s=plan.limit_s)


@dataclass(frozen=True)
class Studied:
    """What a study has come to: the trials of both stages, and what was believed at the start and why."""

    found: Candidates
    plan: Plan
    sampler: str
    why: str
    searched: list[Entry]
    followed: list[Entry]
    own_prior: Prior
    evaluators: tuple[Evaluator, Evaluator]


class Study:
    """A study in a folder, open in this process."""

    def __init__(self, query: Query, plan: Plan, folder: Path, *, progress: Progress | None = None) -> None:
        self.plan, self.folder = plan, make_folder(folder)
        self.found = candidates(query, progress)
        self.short, self.long = plan.evaluators(folder)
        self.sampler_name, self.why = self._sampler_name()
        self.halving = Halving(rungs(self.short.epochs) if plan.halving else ())
        self.prior = prior(self.found, same_protocol=self.short.same_protocol)
        self.scale = Scale()
        self._setting = Setting(self.found, self.prior, self.scale, plan.seed, plan.trials)

    def _sampler_name(self) -> tuple[str, str]:
        if self.plan.sampler == "auto":
            return choose(self.plan.trials, len(self.found))
        return self.plan.sampler, "as asked"

    def asked(self) -> dict[str, Any]:
        """What must be the same for two processes to share the search; on the follow-up it does not depend."""
        found = self.found
        devices = {str(d): folder_digest(predictor(d.name).device.folder) for d in found.query.devices}
        asked = {
            **found.query.describe(),
            "evaluator": self.short.describe(),
            "sampler": self.sampler_name,
            "seed": self.plan.seed,
            "halving": list(self.halving.rungs),
            "devices_sha256": devices,
            "candidates_sha256": sha256(found.rows.tobytes()).hexdigest(),
        }
        plain: dict[str, Any] = json.loads(json.dumps(asked))
        return plain

    @contextmanager
    def opened(self) -> Iterator[tuple[Ledger, Ledger]]:
        """Ledgers of both stages, while this process is known as a worker."""
        url, asked = self.plan.storage, self.asked()
        lock = FolderLock(self.folder)
        storage = open_storage(self.folder, url, lock)
        prefix = "" if url is None else f"zoo-{digest(asked)[:12]}-"
        worker = Worker(self.folder)
        both = {SEARCH: asked, FOLLOW_UP: asked | {"follow_up": self.long.describe()}}
        try:
            search, follow = (
                Ledger(
                    storage,
                    f"{prefix}{stage}",
                    self.found,
                    about,
                    lock=lock,
                    worker=worker,
                    shared=url is not None,
                    limit_s=self.plan.limit_s,
                )
                for stage, about in both.items()
            )
            yield search, follow
        finally:
            worker.close()

    def propose(self, sampler: Sampler) -> Callable[[list[Entry]], Wanted | None]:
        """The sampler as the ledger wants it."""

        def wanted(entries: list[Entry]) -> Wanted | None:
            if sum(not e.void for e in entries) >= self.plan.trials:
                return None
            number = len(entries)
            try:
                proposal = sampler(history(entries), number)
            except Exhausted:
                return None
            seed = int(np.random.default_rng([self.plan.seed, number, 1]).integers(2**31))
            return Wanted(proposal.index, seed, proposal.notes)

        return wanted

    def follow(self, searched: Callable[[], list[Entry]]) -> Callable[[list[Entry]], Wanted | None]:
        """The follow-up as the ledger wants it."""

        def wanted(entries: list[Entry]) -> Wanted | None:
            done = {(e.index, e.seed) for e in entries if not e.void}
            for index, seed in follow_ups(self.found, searched(), entries, self.plan):
                if (index, seed) not in done:
                    return Wanted(index, seed, {})
            return None

        return wanted

    def goes_on(self, ledger: Ledger) -> Callable[[int, int, float], bool]:
        """Keeps reports, and says at each rung whether a trial goes on."""

        def decide(number: int, epoch: int, miou: float) -> bool:
            ledger.report(number, epoch, miou)
            if epoch not in self.halving.rungs:
                return True
            reached = [e for e in ledger.entries() if epoch in e.reports]
            at = next(i for i, e in enumerate(reached) if e.number == number)
            index = np.array([e.index for e in reached])
            return self.halving.goes_on(self.found.points(index, [e.reports[epoch] for e in reached]), at)

        return decide


def start(
    query: Query,
    plan: Plan,
    folder: Path,
    *,
    engine: MakeEngine = local,
    say: Say = lambda text: None,
    progress: Progress | None = None,
    watch: Watch | None = None,
    resume: bool = False,
) -> Studied:
    """Run a study to its end, or go on with one. Raises ZooError, and NothingFeasible with a report.

    say: is told every event. watch: is shown how the study stands, about once a second. Whatever stops it, every
    trial that was told is kept, and `resume` continues where it was.
    """
    if not resume and exists(folder / PLAN):
        raise ZooError(
            f"{folder}: holds a study already; go on with it by --resume {quoted(folder)}, or choose another with -o"
        )
    study = Study(query, plan, folder, progress=progress)
    study.short.check()
    if resume:
        _same_study(folder, study.asked())
        _check_journal(folder, plan)
        claims.refuse_other_kinds(folder, claims.STUDY)
        _keep_plan(study)
    else:
        with claims.claimed(folder, claims.STUDY):
            _keep_plan(study)
    remember(folder, plan)
    say(f"{len(study.found):,} of {study.found.enumerated:,} candidates are within the limits")
    say(f"sampler {study.sampler_name}: {study.why}")
    with study.opened() as (search, follow):
        _run(_Course(study, search, follow, say, watch), engine)
        searched, followed = search.entries(), follow.entries()
    _check_any(searched, plan, folder)
    return _studied(study, searched, followed)


def _keep_plan(study: Study) -> None:
    with atomic(study.folder / PLAN) as partial:
        query = study.found.query.describe()
        document = {"query": query, "plan": study.plan.document(), "asked": study.asked()}
        partial.write_text(json.dumps(document, indent=1, allow_nan=False) + "\n", encoding="utf-8")


def _check_journal(folder: Path, plan: Plan) -> None:
    """Raise ConfigError where there are results without their journal: all would begin anew over them."""
    if plan.storage is not None or exists(folder / JOURNAL):
        return
    results = [name for name in ("trials.csv", "front.json", "trained") if exists(folder / name)]
    if results:
        raise ConfigError(
            f"{shown(folder)}: its journal {JOURNAL} is missing, and {results[0]} is there; put the journal back, "
            "or start another study with -o, so that nothing is measured over these results"
        )


def so_far(query: Query, plan: Plan, folder: Path) -> Studied:
    """What a study has come to that was interrupted, or that another process goes on with; nothing is evaluated.

    Raises ZooError where nothing was told yet, or the study is another.
    """
    _check_journal(folder, plan)
    study = Study(query, plan, folder)
    with study.opened() as (search, follow):
        searched, followed = search.entries(), follow.entries()
    if all(e.miou is None for e in searched):
        raise ZooError(f"{folder}: no trial of the study in it has ended yet; go on with --resume {folder}")
    return _studied(study, searched, followed)


def _studied(study: Study, searched: list[Entry], followed: list[Entry]) -> Studied:
    evaluators = (study.short, study.long)
    return Studied(study.found, study.plan, study.sampler_name, study.why, searched, followed, study.prior, evaluators)


def _same_study(folder: Path, asked: Mapping[str, Any]) -> None:
    saved = read_json(folder / PLAN).get("asked")
    if saved != asked:
        raise ConfigError(
            f"{folder}: the study in it was made for another search: {difference(saved, asked)}; go on with its own "
            "options and files, or start another with -o"
        )


class _Course:
    """Both stages of a study on their way: how much of the budget is left, and who watches."""

    def __init__(self, study: Study, search: Ledger, follow: Ledger, say: Say, watch: Watch | None) -> None:
        self.study, self.search, self.follow, self.say, self.watch = study, search, follow, say, watch
        self._before = float(search.study.user_attrs.get("spent_s", 0.0))
        self._said: set[tuple[str, int]] = set()
        self._started = self._shown = time.monotonic()

    def left_s(self, ledger: Ledger | None = None) -> float:
        """Seconds of the budget left, for one of the stages or for both."""
        plan = self.study.plan
        if plan.budget_s is None:
            return float("inf")
        kept = FOLLOW_SHARE if ledger is self.search and plan.promote and plan.accuracy == "train" else 0.0
        return (1 - kept) * plan.budget_s - self._before - (time.monotonic() - self._started)

    def keep(self) -> None:
        """Keep in the storage how much of the budget is used up."""
        if self.study.plan.budget_s is not None:
            spent = self._before + time.monotonic() - self._started
            self.search.storage.set_study_user_attr(self.search.study._study_id, "spent_s", spent)

    def say_waiting(self, ledger: Ledger) -> None:
        """Say once of each trial that another process evaluates for whom this one waits, and until when."""
        for number, sight in ledger.waiting():
            if (ledger.name, number) in self._said:
                continue
            self._said.add((ledger.name, number))
            if sight.left_s is None:
                until = "as long as that process lives"
            else:
                until = (
                    f"until {time.strftime('%d %b %H:%M', time.localtime(time.time() + sight.left_s))} at the latest"
                )
            self.say(
                f"{ledger.name} {number + 1}: waiting for a worker on {sight.host}, {until}; then it is measured here"
            )

    def show(self, slots: int) -> None:
        """Let the watcher see how the study stands."""
        if self.watch is None or time.monotonic() - self._shown < SHOWN_EVERY_S:
            return
        study, left = self.study, self.left_s()
        budget = None if study.plan.budget_s is None else left
        trials = self.search.entries(), self.follow.entries()
        self.watch(Outlook(study.found, study.plan, *trials, slots, budget))
        self._shown = time.monotonic()


def _run(course: _Course, engine: MakeEngine) -> None:
    study, search = course.study, course.search
    sampler = SAMPLERS[study.sampler_name](study._setting)
    try:
        _stage(course, search, study.short, study.propose(sampler), engine)
        if study.plan.accuracy == "train":
            _stage(course, course.follow, study.long, study.follow(search.entries), engine)
    finally:
        course.keep()


def _stage(
    course: _Course,
    ledger: Ledger,
    evaluator: Evaluator,
    propose: Callable[[list[Entry]], Wanted | None],
    engine: MakeEngine,
) -> None:
    study = course.study
    most = study.plan.trials if ledger is course.search else None
    halved = evaluator is study.short and study.halving.rungs
    keep = study.goes_on(ledger) if halved else _reports(ledger)
    runner = engine(evaluator, keep, study.folder / "logs" / ledger.name, study.plan)
    running = 0
    try:
        while (left := course.left_s(ledger)) > 0:
            before = [e.ended for e in ledger.entries()] if not running else [False]
            while running < runner.slots and (task := ledger.ask(propose, most)) is not None:
                runner.start(task)
                running += 1
            # Without a common lock, others may ask between a look and the next: nothing may have come in between.
            if not running and all(before) and [e.ended for e in ledger.entries()] == before:
                return
            if not running:
                course.say_waiting(ledger)
                time.sleep(0.2)  # another process evaluates the last trials; it may yet die
            course.show(runner.slots)
            for task, outcome in runner.finished(min(1.0, left)):
                running -= 1
                _tell(study, ledger, runner.evaluator, task.number, outcome, course.say)
                course.keep()
        course.say(f"{ledger.name}: the time is used up")
    finally:
        runner.close()


def _reports(ledger: Ledger) -> Callable[[int, int, float], bool]:
    def decide(number: int, epoch: int, miou: float) -> bool:
        ledger.report(number, epoch, miou)
        return True

    return decide


def _tell(study: Study, ledger: Ledger, evaluator: Evaluator, number: int, outcome: Outcome, say: Say) -> None:
    """Tell an outcome; but where nothing can be measured any more, leave the trial open and say why."""
    if outcome.state == "failed":
        _keep_log(study.folder / "logs" / ledger.name / f"{number:04}.failed.log", outcome)
        try:
            evaluator.check()
        except ZooError as gone:
            raise ZooError(
                f"trial {number}: {gone}; what was told is kept: go on with --resume {study.folder}"
            ) from None
    ledger.tell(number, outcome)
    result = {"complete": f"mIOU {outcome.miou} %", "stopped": f"stopped at mIOU {outcome.miou} %"}.get(
        outcome.state, f"failed: {outcome.error}"
    )
    say(f"{ledger.name} {number + 1}: {_short(outcome, result)} after {outcome.seconds:.1f} s")


def _short(outcome: Outcome, result: str) -> str:
    return result if outcome.miou is None else result.replace(str(outcome.miou), f"{outcome.miou:.2f}")


def _keep_log(path: Path, outcome: Outcome) -> None:
    with atomic(path) as partial:
        partial.write_text(f"{outcome.error}\n\n{outcome.log or ''}", encoding="utf-8")


def _check_any(searched: list[Entry], plan: Plan, folder: Path) -> None:
    if any(e.miou is not None for e in searched):
        return
    failed = [e for e in searched if e.state == "failed"]
    if failed:
        raise ZooError(
            f"{folder}: all {len(failed)} trials failed, the last with: {failed[-1].error}; see {folder}/logs, put it "
            "right, and start another study with -o"
        )
    raise ZooError(
        f"a budget of {plan.budget_s:g} s is too small for one trial; give more --budget, and go on with "
        f"--resume {folder}, or fewer --epochs"
    )


def resumed(folder: Path) -> tuple[Query, Plan]:
    """Query and plan of the study in a folder. Raises ConfigError where there is none."""
    if not exists(folder / PLAN):
        raise ConfigError(
            f"{shown(folder)}: holds no study to resume ({PLAN} is missing); an exact search is simply run again"
        )
    document = read_json(folder / PLAN)
    return query_from(document.get("query", {})), plan_from(document.get("plan", {}))
