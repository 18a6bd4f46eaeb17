"""A study: candidates within the limits are proposed, measured and told, until the trials or the time are used up.

Stages: `search` (short protocol, by the sampler, with successive halving), then `follow-up`, where the best train
by the long protocol, and the members of the front again with other seeds. Everything is told to a storage
before anything rests on it; the same command continues a study that was interrupted at any moment.
"""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from hw_models.predict import predictor
from search.additive import points
from search.belief import Prior, Scale, Told, prior, told_of
from search.candidates import Candidates, Progress, candidates
from search.certificate import folder_digest
from search.engine import Engine, Inline, Outcome, Processes
from search.evaluators import Evaluator, Published, Train
from search.fidelity import Halving, ranks, rungs
from search.journal import FolderLock, masked, open_storage
from search.ledger import Entry, Ledger, Wanted, Worker, difference
from search.pareto import nondominated
from search.query import Query
from search.runs import query_from, read_json
from search.samplers import SAMPLERS, Exhausted, History, Sampler, Setting, Tried, check_sampler, choose
from search.space import digest
from zoo.errors import ConfigError, ZooError
from zoo.files import atomic, make_folder

SEARCH, FOLLOW_UP = "search", "follow-up"
PLAN = "study.json"
FOLLOW_SHARE = 0.4
"""Share of a time budget that is kept for the follow-up."""

MEASURED = ("published", "train")
"""Where the mIOU of a trial may come from."""

Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How a study goes about its question; plain values, which the run's folder keeps.

    trials: of the search. budget_s: seconds for everything. limit_s: for one trial. promote: how many train by
    the long protocol. repeats: with how many other seeds the front's members train again. storage: URL of an
    Optuna storage, None for a journal in the folder. epochs, long_epochs, size (height, width), recipe, changes,
    train_on, threads: of the training.
    """

    sampler: str = "auto"
    trials: int = 30
    seed: int = 0
    budget_s: float | None = None
    limit_s: float | None = None
    storage: str | None = None
    accuracy: str = "published"
    dataset: str | None = None
    data: str | None = None
    epochs: int = 10
    long_epochs: int = 40
    size: tuple[int, int] = (360, 480)
    recipe: str = "zoo"
    changes: Mapping[str, Any] | None = None
    train_on: str = "cpu"
    threads: int = 1
    halving: bool = True
    promote: int = 4
    repeats: int = 2

    def __post_init__(self) -> None:
        check_sampler(self.sampler)
        if self.accuracy not in MEASURED:
            raise ConfigError(f"accuracy {self.accuracy!r}: a study measures by one of {', '.join(MEASURED)}")
        if self.accuracy == "train" and not self.dataset:
            raise ConfigError("--accuracy train needs a data set; name it with --dataset (and --data)")
        low = {"trials": 1, "epochs": 1, "long_epochs": 1, "seed": 0, "promote": 0, "repeats": 0, "threads": 1}
        for name, least in low.items():
            if getattr(self, name) < least:
                raise ConfigError(f"{name} must be at least {least}, but is {getattr(self, name)}")

    def evaluators(self, folder: Path) -> tuple[Evaluator, Evaluator]:
        """Short and long protocol."""
        if self.accuracy == "published":
            return Published(), Published()
        short = Train(
            dataset=self.dataset or "",
            data=self.data,
            epochs=self.epochs,
            size=self.size,
            folder=(folder / "trained" / "short").resolve(),
            recipe=self.recipe,
            changes=self.changes,
            device=self.train_on,
            threads=self.threads,
        )
        return short, replace(short, epochs=self.long_epochs, folder=(folder / "trained" / "long").resolve())

    def document(self) -> dict[str, Any]:
        """Plain values for JSON, without the storage's password."""
        return asdict(self) | {"size": list(self.size), "storage": self.storage and masked(self.storage)}


def plan_from(document: Mapping[str, Any]) -> Plan:
    """The plan that `Plan.document` described. Raises ConfigError for a damaged one."""
    try:
        return Plan(**{**document, "size": tuple(document["size"])})
    except (KeyError, TypeError) as error:
        raise ConfigError(f"{PLAN}: is damaged ({error}); start the study again in another folder") from None


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
        """What must be the same for two processes to share the study."""
        found = self.found
        devices = {str(d): folder_digest(predictor(d.name).device.folder) for d in found.query.devices}
        asked = {
            **found.query.describe(),
            "evaluator": self.short.describe(),
            "follow_up": self.long.describe(),
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
        try:
            search, follow = (
                Ledger(
                    storage,
                    f"{prefix}{stage}",
                    self.found,
                    asked,
                    lock=lock,
                    worker=worker,
                    shared=url is not None,
                    limit_s=self.plan.limit_s,
                )
                for stage in (SEARCH, FOLLOW_UP)
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


def history(entries: list[Entry]) -> History:
    """What samplers see of the trials."""
    tried = tuple(Tried(e.index, e.miou, e.notes) for e in entries if e.state == "complete" and e.miou is not None)
    return History(
        tried=tried,
        told=evidence(entries),
        running=np.array([e.index for e in entries if e.state == "running"], np.int64),
        taken=np.array([e.index for e in entries], np.int64),
    )


def evidence(entries: list[Entry]) -> Told:
    """Complete trials, and stopped ones raised by what complete ones gained after the same epoch.

    A stopped trial tells nothing before three complete ones have shown what is gained.
    """
    complete = [e for e in entries if e.state == "complete"]
    out: list[tuple[int, float, float]] = []
    for entry in entries:
        if entry.miou is None:
            continue
        if entry.state == "complete":
            out.append((entry.index, entry.miou, 0.0))
            continue
        last = max(entry.reports)
        gains = [
            _points(e.miou) - _points(_best(e, last)) for e in complete if last in e.reports and e.miou is not None
        ]
        if len(gains) >= 3:
            raised = _points(entry.miou) + float(np.mean(gains))
            out.append((entry.index, 100 / (1 + float(np.exp((50 - raised) / 25))), float(np.var(gains)) + 0.25))
    return told_of(out)


def _best(entry: Entry, epoch: int) -> float:
    return max(miou for at, miou in entry.reports.items() if at <= epoch)


def _points(miou: float) -> float:
    return float(points(min(max(miou, 0.05), 99.95)))


def follow_ups(found: Candidates, searched: list[Entry], done: list[Entry], plan: Plan) -> list[tuple[int, int]]:
    """(candidate, seed) of every training by the long protocol that is due, in order.

    First the best of the search, spread over their front; when those have ended, the members of the front
    of the long protocol again with other seeds.
    """
    if plan.promote == 0:
        return []
    first = [(index, plan.seed) for index in promoted(found, searched, plan.promote)]
    ended = {(e.index, e.seed): e for e in done if e.ended and not e.void}
    if not first or not all(key in ended for key in first):
        return first
    kept = [e for key in first if (e := ended[key]).miou is not None]
    if not kept:
        return first
    on_front = nondominated(found.points(np.array([e.index for e in kept]), [e.miou for e in kept]))
    members = [e.index for e, member in zip(kept, on_front, strict=True) if member]
    return first + [(index, plan.seed + 1 + r) for r in range(plan.repeats) for index in members]


def promoted(found: Candidates, searched: list[Entry], count: int) -> list[int]:
    """The candidates that train by the long protocol: by rank, and within the last rank spread evenly by mIOU."""
    trials = [e for e in searched if e.state == "complete" and e.miou is not None]
    if not trials:
        return []
    rank = ranks(found.points(np.array([e.index for e in trials]), [e.miou for e in trials]))
    out: list[int] = []
    for level in range(int(rank.max()) + 1):
        same = sorted((e for e, r in zip(trials, rank, strict=True) if r == level), key=lambda e: -(e.miou or 0))
        left = count - len(out)
        if len(same) > left:
            same = [same[i] for i in np.unique(np.linspace(0, len(same) - 1, left).round().astype(int))] if left else []
        out += [e.index for e in same]
    return out


def start(
    query: Query,
    plan: Plan,
    folder: Path,
    *,
    engine: MakeEngine = local,
    say: Say = lambda text: None,
    progress: Progress | None = None,
    resume: bool = False,
) -> Studied:
    """Run a study to its end, or go on with one. Raises ZooError, and NothingFeasible with a report.

    Whatever stops it, every trial that was told is kept, and `resume` continues where it was.
    """
    if not resume and (folder / PLAN).exists():
        raise ZooError(
            f"{folder}: holds a study already; go on with it by --resume {folder}, or choose another with -o"
        )
    study = Study(query, plan, folder, progress=progress)
    study.short.check()
    if resume:
        _same_study(folder, study.asked())
    with atomic(folder / PLAN) as partial:
        document = {"query": query.describe(), "plan": plan.document(), "asked": study.asked()}
        partial.write_text(json.dumps(document, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    say(f"{len(study.found):,} of {study.found.enumerated:,} candidates are within the limits")
    say(f"sampler {study.sampler_name}: {study.why}")
    with study.opened() as (search, follow):
        _run(study, search, follow, engine, say)
        searched, followed = search.entries(), follow.entries()
    _check_any(searched, plan, folder)
    return Studied(
        study.found, plan, study.sampler_name, study.why, searched, followed, study.prior, (study.short, study.long)
    )


def _same_study(folder: Path, asked: Mapping[str, Any]) -> None:
    saved = read_json(folder / PLAN).get("asked")
    if saved != asked:
        raise ConfigError(
            f"{folder}: the study in it was made for another search: {difference(saved, asked)}; go on with its own "
            "options and files, or start another with -o"
        )


def _run(study: Study, search: Ledger, follow: Ledger, engine: MakeEngine, say: Say) -> None:
    plan = study.plan
    spent = float(search.study.user_attrs.get("spent_s", 0.0))
    end = None if plan.budget_s is None else time.monotonic() + plan.budget_s - spent
    reserved = FOLLOW_SHARE * plan.budget_s if plan.budget_s and plan.promote and plan.accuracy == "train" else 0.0
    sampler = SAMPLERS[study.sampler_name](study._setting)
    started = time.monotonic()
    try:
        _stage(study, search, study.short, study.propose(sampler), engine, say, None if end is None else end - reserved)
        if plan.accuracy == "train":
            _stage(study, follow, study.long, study.follow(search.entries), engine, say, end)
    finally:
        if plan.budget_s is not None:
            search.storage.set_study_user_attr(search.study._study_id, "spent_s", spent + time.monotonic() - started)


def _stage(
    study: Study,
    ledger: Ledger,
    evaluator: Evaluator,
    propose: Callable[[list[Entry]], Wanted | None],
    engine: MakeEngine,
    say: Say,
    end: float | None,
) -> None:
    most = study.plan.trials if ledger.name.endswith(SEARCH) else None
    halved = evaluator is study.short and study.halving.rungs
    keep = study.goes_on(ledger) if halved else _reports(ledger)
    runner = engine(evaluator, keep, study.folder / "logs" / ledger.name, study.plan)
    running = 0
    try:
        while end is None or time.monotonic() < end:
            before = [e.ended for e in ledger.entries()] if not running else [False]
            while running < runner.slots and (task := ledger.ask(propose, most)) is not None:
                runner.start(task)
                running += 1
            # Without a common lock, others may ask between a look and the next: nothing may have come in between.
            if not running and all(before) and [e.ended for e in ledger.entries()] == before:
                return
            if not running:
                time.sleep(0.2)  # another process evaluates the last trials; it may yet die
            left = 1.0 if end is None else max(0.0, min(1.0, end - time.monotonic()))
            for task, outcome in runner.finished(left):
                running -= 1
                _tell(study, ledger, runner.evaluator, task.number, outcome, say)
        say(f"{ledger.name}: the time is used up")
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
    if not (folder / PLAN).is_file():
        raise ConfigError(
            f"{folder}: holds no study to resume ({PLAN} is missing); an exact search is simply run again"
        )
    document = read_json(folder / PLAN)
    return query_from(document.get("query", {})), plan_from(document.get("plan", {}))
