"""Runs trials on this machine: at once in this process, or each in a process of its own.

A trial that raises, hangs, or takes its process down is an outcome like any other.
"""

import multiprocessing
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, Literal, Protocol

from filelock import FileLock

from search.study.evaluators import Evaluator, Stopped, checked
from zoo.own_families import add_family_of
from zoo.specs import Spec

Decide = Callable[[int, int, float], bool]
"""Is told a trial's number, epoch and mIOU; says whether it goes on."""


@dataclass(frozen=True, slots=True)
class Task:
    """One evaluation."""

    number: int
    spec: Spec
    seed: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an evaluation ended. miou: in percent, None where it failed. error: why, and the end of its log."""

    state: Literal["complete", "stopped", "failed"]
    miou: float | None
    seconds: float
    error: str | None = None
    log: str | None = None


class Engine(Protocol):
    """Runs up to `slots` evaluations at a time. Made from an evaluator and `Decide`, which may stop a trial early.

    >>> from search.study.evaluators import Published
    >>> from zoo import spec
    >>> engine = Inline(Published(), decide=lambda number, epoch, miou: True)
    >>> engine.start(Task(number=0, spec=spec("espnet-c"), seed=0))
    >>> [(task.number, outcome.state) for task, outcome in engine.finished(timeout_s=1.0)]
    [(0, 'complete')]
    >>> engine.close()
    """

    evaluator: Evaluator

    @property
    def slots(self) -> int:
        """How many at a time; may change."""

    def start(self, task: Task) -> None:
        """Begin one."""

    def finished(self, timeout_s: float) -> list[tuple[Task, Outcome]]:
        """Those that ended; waits for one, but no longer than this. Answers reports meanwhile."""

    def close(self) -> None:
        """End everything that runs."""


def attempt(evaluator: Evaluator, task: Task, report: Callable[[int, float], bool]) -> Outcome:
    """Evaluate; whatever is raised is a failure of this trial."""
    started, last = time.monotonic(), [float("nan")]
    add_family_of(task.spec)

    def told(epoch: int, miou: float) -> None:
        last.append(checked(miou))
        if not report(epoch, miou):
            raise Stopped

    try:
        miou = checked(evaluator.evaluate(task.spec, task.number, task.seed, told))
    except Stopped:
        return Outcome("stopped", max(last[1:]), time.monotonic() - started)
    except Exception as error:  # also MemoryError: the study outlives its trials
        text = f"{type(error).__name__}: {error}"
        return Outcome("failed", None, time.monotonic() - started, text, traceback.format_exc())
    return Outcome("complete", miou, time.monotonic() - started)


class Inline:
    """In this process, one at a time: for evaluators that neither hang nor crash."""

    slots = 1

    def __init__(self, evaluator: Evaluator, decide: Decide) -> None:
        self.evaluator, self.decide = evaluator, decide
        self._ended: list[tuple[Task, Outcome]] = []

    def start(self, task: Task) -> None:
        """Evaluate now."""
        outcome = attempt(self.evaluator, task, lambda epoch, miou: self.decide(task.number, epoch, miou))
        self._ended.append((task, outcome))

    def finished(self, timeout_s: float) -> list[tuple[Task, Outcome]]:
        """What `start` evaluated."""
        ended, self._ended = self._ended, []
        return ended

    def close(self) -> None:
        """Nothing runs."""


@dataclass
class _Running:
    task: Task
    process: Any
    pipe: Connection
    started: float
    log: Path


class Processes:
    """Each evaluation in a fresh process with its own log and time limit."""

    def __init__(
        self, evaluator: Evaluator, decide: Decide, logs: Path, *, slots: int = 1, limit_s: float | None = None
    ) -> None:
        self.evaluator, self.decide, self.logs = evaluator, decide, logs
        self.slots, self.limit_s = slots, limit_s
        self._running: list[_Running] = []
        self._context = multiprocessing.get_context("spawn")

    def start(self, task: Task) -> None:
        """Start a process."""
        self.logs.mkdir(parents=True, exist_ok=True)
        log = self.logs / f"{task.number:04}.log"
        parent_end, child_end = self._context.Pipe()
        process = self._context.Process(target=_child, args=(self.evaluator, task, child_end, str(log)), daemon=True)
        process.start()
        child_end.close()
        self._running.append(_Running(task, process, parent_end, time.monotonic(), log))

    def finished(self, timeout_s: float) -> list[tuple[Task, Outcome]]:
        """Outcomes of the processes that ended, were ended, or died."""
        if not self._running:
            return []
        wait([running.pipe for running in self._running], self._patience(timeout_s))
        ended = [(running, outcome) for running in self._running if (outcome := self._outcome(running)) is not None]
        for running, _ in ended:
            self._running.remove(running)
            _end(running)
        return [(running.task, outcome) for running, outcome in ended]

    def close(self) -> None:
        """Kill what runs; its trials stay open and are evaluated again."""
        for running in self._running:
            _end(running)
        self._running = []

    def _patience(self, timeout_s: float) -> float:
        if self.limit_s is None:
            return timeout_s
        left = min(self.limit_s - (time.monotonic() - running.started) for running in self._running)
        return max(0.0, min(timeout_s, left))

    def _outcome(self, running: _Running) -> Outcome | None:
        seconds = time.monotonic() - running.started
        try:
            while running.pipe.poll():
                message = running.pipe.recv()
                if isinstance(message, Outcome):
                    return message
                running.pipe.send(self.decide(running.task.number, *message))
        except (EOFError, OSError):
            running.process.join(5)
            return Outcome("failed", None, seconds, died(running.process.exitcode), tail(running.log))
        if self.limit_s is not None and seconds > self.limit_s:
            text = f"took longer than the time limit of {self.limit_s:g} s and was ended"
            return Outcome("failed", None, seconds, text, tail(running.log))
        return None


def _end(running: _Running) -> None:
    running.process.join(0.2)
    if running.process.is_alive():
        running.process.kill()
        running.process.join()
    running.pipe.close()


def _child(evaluator: Evaluator, task: Task, pipe: Connection, log: str) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends its children
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    # A trial that is evaluated again waits until what is left of its first process is gone.
    with FileLock(f"{log}.lock", timeout=60), Path(log).open("a", encoding="utf-8") as file:
        os.dup2(file.fileno(), sys.stdout.fileno() if _has_descriptor(sys.stdout) else 1)
        os.dup2(file.fileno(), sys.stderr.fileno() if _has_descriptor(sys.stderr) else 2)

        def report(epoch: int, miou: float) -> bool:
            pipe.send((epoch, miou))
            return bool(pipe.recv())

        try:
            pipe.send(attempt(evaluator, task, report))
        except (EOFError, OSError):  # the parent is gone: nobody waits for this trial any more
            os._exit(1)


def _end_with(parent: int) -> None:
    """End this process when its parent has ended, whatever killed that."""
    while os.getppid() == parent:
        time.sleep(0.2)
    os._exit(1)


def _has_descriptor(stream: Any) -> bool:
    try:
        return int(stream.fileno()) >= 0
    except (AttributeError, OSError, ValueError):
        return False


def died(code: int | None) -> str:
    """Why a process ended without an answer.

    >>> died(-9)
    'the process was killed (SIGKILL), as a system without free memory does'
    """
    if code is not None and code < 0:
        name = signal.Signals(-code).name
        why = ", as a system without free memory does" if name == "SIGKILL" else ""
        return f"the process was killed ({name}){why}"
    return f"the process ended with exit code {code} and no answer"


def tail(path: Path, characters: int = 4000) -> str:
    """The end of a log; empty where there is none."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")[-characters:]
    except OSError:
        return ""
