"""Runs both stages of a study until their trials or the budget are used up."""

import time
from collections.abc import Callable
from pathlib import Path

from search.study.config import StudyConfig
from search.study.engines.local import Engine, Inline, Outcome, Processes, Task
from search.study.evaluators import Evaluator
from search.study.measured_latency import time_candidate
from search.study.open_study import OpenStudy
from search.study.progress import StudyProgress, Watch
from search.study.samplers import SAMPLERS
from search.study.trials import Propose, Trials
from zoo.errors import ZooError
from zoo.files import atomic

FOLLOW_SHARE = 0.4
"""Share of a time budget that is kept for the follow-up."""

SHOWN_EVERY_S = 0.5
"""Seconds between two looks at a study that runs."""

Say = Callable[[str], None]

MakeEngine = Callable[[Evaluator, Callable[[int, int, float], bool], Path, StudyConfig], Engine]


def local(evaluator: Evaluator, decide: Callable[[int, int, float], bool], logs: Path, config: StudyConfig) -> Engine:
    """One trial at a time on this machine."""
    if not evaluator.isolated:
        return Inline(evaluator, decide)
    return Processes(evaluator, decide, logs, limit_s=config.limit_s)


class Course:
    """Both stages of a study on their way: how much of the budget is left, and who watches."""

    def __init__(self, study: OpenStudy, search: Trials, follow: Trials, say: Say, watch: Watch | None) -> None:
        self.study, self.search, self.follow, self.say, self.watch = study, search, follow, say, watch
        self._before = float(search.study.attrs.get("spent_s", 0.0))
        self._said: set[tuple[str, int]] = set()
        self._started = self._shown = time.monotonic()

    def left_s(self, stage: Trials | None = None) -> float:
        """Seconds of the budget left, for one of the stages or for both."""
        config = self.study.config
        if config.budget_s is None:
            return float("inf")
        reserved = FOLLOW_SHARE if stage is self.search and config.promote and config.accuracy == "train" else 0.0
        return (1 - reserved) * config.budget_s - self._before - (time.monotonic() - self._started)

    def keep(self) -> None:
        """Keep in the storage how much of the budget is used up."""
        if self.study.config.budget_s is not None:
            spent = self._before + time.monotonic() - self._started
            self.search.study.keep("spent_s", spent)

    def say_waiting(self, trials: Trials) -> None:
        """Say once of each trial that another process evaluates for whom this one waits, and until when."""
        for number, sight in trials.waiting():
            if (trials.name, number) in self._said:
                continue
            self._said.add((trials.name, number))
            if sight.left_s is None:
                until = "as long as that process lives"
            else:
                until = (
                    f"until {time.strftime('%d %b %H:%M', time.localtime(time.time() + sight.left_s))} at the latest"
                )
            self.say(
                f"{trials.name} {number + 1}: waiting for a worker on {sight.host}, {until}; then it is measured here"
            )

    def show(self, slots: int) -> None:
        """Let the watcher see how the study stands."""
        if self.watch is None or time.monotonic() - self._shown < SHOWN_EVERY_S:
            return
        study, left = self.study, self.left_s()
        budget = None if study.config.budget_s is None else left
        trials = self.search.all(), self.follow.all()
        self.watch(StudyProgress(study.feasible, study.config, *trials, slots, budget))
        self._shown = time.monotonic()


def run(course: Course, engine: MakeEngine) -> None:
    """Run the search and then, where candidates are trained, the follow-up."""
    study, search = course.study, course.search
    sampler = SAMPLERS[study.sampler_name](study.setting)
    try:
        _stage(course, search, study.short, study.propose(sampler), engine)
        if study.config.accuracy == "train":
            _stage(course, course.follow, study.long, study.follow(search.all), engine)
    finally:
        course.keep()


def _stage(course: Course, trials: Trials, evaluator: Evaluator, propose: Propose, engine: MakeEngine) -> None:
    """Run the trials of a stage, by what the budget leaves. A round fills the engine's slots and takes what has ended.

    The stage is over where this process runs nothing, nothing new may be asked, and no other process runs anything that
    it might leave undone; until then this one waits for the others.
    """
    study = course.study
    most = study.config.trials if trials is course.search else None
    runner = engine(evaluator, _decide(course, trials, evaluator), study.folder / "logs" / trials.name, study.config)
    running = 0
    try:
        while (left := course.left_s(trials)) > 0:
            ended_before = _ended(trials) if not running else None
            while running < runner.slots and (task := trials.ask(propose, most)) is not None:
                runner.start(task)
                running += 1
            if not running:
                if _is_over(ended_before, _ended(trials)):
                    return
                course.say_waiting(trials)
                time.sleep(OTHERS_S)
            course.show(runner.slots)
            for task, outcome in runner.finished(min(1.0, left)):
                running -= 1
                _tell(course, trials, runner.evaluator, task, outcome)
                course.keep()
        course.say(f"{trials.name}: the time is used up")
    finally:
        runner.close()


OTHERS_S = 0.2
"""Seconds between two looks at the trials of other processes; any of these may yet die."""


def _ended(trials: Trials) -> list[bool]:
    """Of every trial, whether it has ended."""
    return [trial.ended for trial in trials.all()]


def _is_over(before: list[bool] | None, after: list[bool]) -> bool:
    """Whether all trials had ended before nothing new was asked, and none has come since.

    Without a common lock another process may ask between the two looks.

    >>> _is_over([True, True], [True, True]), _is_over([True, False], [True, True]), _is_over([True], [True, False])
    (True, False, False)
    """
    return before is not None and all(before) and before == after


def _decide(course: Course, trials: Trials, evaluator: Evaluator) -> Callable[[int, int, float], bool]:
    """Which trials go on: those that successive halving keeps, in the search; elsewhere all."""
    halved = evaluator is course.study.short and course.study.halving.rungs
    return course.study.goes_on(trials) if halved else _reports(trials)


def _reports(trials: Trials) -> Callable[[int, int, float], bool]:
    def decide(number: int, epoch: int, miou: float) -> bool:
        trials.report(number, epoch, miou)
        return True

    return decide


def _tell(course: Course, trials: Trials, evaluator: Evaluator, task: Task, outcome: Outcome) -> None:
    """Tell an outcome; but where nothing can be measured any more, leave the trial open and say why."""
    study, number = course.study, task.number
    if outcome.state == "failed":
        _keep_log(study.folder / "logs" / trials.name / f"{number:04}.failed.log", outcome)
        try:
            evaluator.check()
        except ZooError as unusable:
            raise ZooError(
                f"trial {number}: {unusable}; what was told is kept: go on with --resume {study.folder}"
            ) from None
    latency, timing_note = None, ""
    if study.config.measure_latency and trials is course.search and outcome.state == "complete":
        latency, timing_note = time_candidate(task.spec, study.feasible.query)
    trials.tell(number, outcome, latency)
    result = {"complete": f"mIOU {outcome.miou} %", "stopped": f"stopped at mIOU {outcome.miou} %"}.get(
        outcome.state, f"failed: {outcome.error}"
    )
    event = ", ".join(filter(None, (_short(outcome, result), timing_note)))
    course.say(f"{trials.name} {number + 1}: {event} after {outcome.seconds:.1f} s")


def _short(outcome: Outcome, result: str) -> str:
    return result if outcome.miou is None else result.replace(str(outcome.miou), f"{outcome.miou:.2f}")


def _keep_log(path: Path, outcome: Outcome) -> None:
    with atomic(path) as partial:
        partial.write_text(f"{outcome.error}\n\n{outcome.log or ''}", encoding="utf-8")
