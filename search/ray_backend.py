"""The same trials on many workers, through Ray.

Ray only evaluates: proposing, telling and resuming stay with the study in this process. Each slot is an actor that
is used again, so that packages are imported and data are fetched once a worker. Data are read here, put once
into Ray's object store, and reach each machine once. Reports go through one more actor, which holds a worker's
call until the study has decided. All actors end with this process.
"""

import logging
import os
import socket
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from search.engine import Decide, Outcome, Task, attempt
from search.evaluators import Evaluator
from zoo.errors import ZooError

if TYPE_CHECKING:
    from search.plan import Plan
    from search.study import MakeEngine

RETRIES = 1
"""How often a trial whose worker was lost is evaluated again."""

GONE_S = 60.0
"""A cluster that does not answer for so many seconds is lost."""

STORE_BYTES = 500 * 10**6
"""Object store of a cluster of our own, where the environment says nothing else."""


class Mailbox:
    """Reports of the workers, each waiting for its answer. Runs as an actor."""

    def __init__(self) -> None:
        self._waiting: dict[int, tuple[int, float, Any]] = {}

    async def report(self, number: int, epoch: int, miou: float) -> bool:
        """Called by a worker: whether the trial goes on."""
        import asyncio

        answer = asyncio.get_running_loop().create_future()
        self._waiting[number] = (epoch, miou, answer)
        return bool(await answer)

    async def waiting(self) -> list[tuple[int, int, float]]:
        """Called by the study: number, epoch and mIOU of each report."""
        return [(number, epoch, miou) for number, (epoch, miou, _) in self._waiting.items()]

    async def answer(self, number: int, goes_on: bool) -> None:
        """Called by the study."""
        _, _, future = self._waiting.pop(number)
        if not future.done():
            future.set_result(goes_on)


class Slot:
    """Evaluates one trial after the other. Runs as an actor."""

    def __init__(self, evaluator: Evaluator, mailbox: Any) -> None:
        self.evaluator, self.mailbox = evaluator, mailbox

    def run(self, task: Task) -> tuple[Outcome, dict[str, bytes]]:
        """The outcome, and the files that it left on a machine that does not share the study's folder."""
        import ray

        def report(epoch: int, miou: float) -> bool:
            return bool(ray.get(self.mailbox.report.remote(task.number, epoch, miou)))

        evaluator, here = self.evaluator, None
        folder = getattr(evaluator, "folder", None)
        if folder is not None and not Path(folder).parent.parent.is_dir():
            here = tempfile.TemporaryDirectory(prefix="zoo-trial-")
            evaluator = replace(evaluator, folder=Path(here.name))  # type: ignore[type-var]
        outcome = attempt(evaluator, task, report)
        return outcome, {} if here is None else _files(Path(here.name))


KEPT = ("best.safetensors", "log.csv")


def _files(folder: Path) -> dict[str, bytes]:
    found = (path for path in folder.rglob("*") if path.name in KEPT)
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


@dataclass
class _Running:
    task: Task
    actor: Any
    call: Any
    started: float
    tries: int


class OnRay:
    """Up to `slots` trials at a time on the workers of a cluster."""

    def __init__(
        self, evaluator: Evaluator, decide: Decide, *, cpus: float, gpus: float, limit_s: float | None, slots: int
    ) -> None:
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        self.evaluator, self.decide, self.limit_s, self.slots = evaluator.portable(), decide, limit_s, slots
        self._resources = {"num_cpus": cpus, "num_gpus": gpus}
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        mailbox = ray.remote(Mailbox).options(num_cpus=0, max_concurrency=1000, scheduling_strategy=here)
        self._mailbox: Any = mailbox.remote()
        self._data = ray.put(self.evaluator)
        self._free: list[Any] = []
        self._running: list[_Running] = []

    def start(self, task: Task) -> None:
        """Give a trial to a free worker, or to a new one."""
        self._begin(task, 0)

    def _begin(self, task: Task, tries: int) -> None:
        import ray

        if not self._free:
            # Ray restarts no lost actor: a new one goes wherever there is room, once its trial is to run again.
            slot = ray.remote(Slot).options(max_restarts=0, max_task_retries=0, **self._resources)
            self._free.append(slot.remote(self._data, self._mailbox))
        actor = self._free.pop()
        self._running.append(_Running(task, actor, actor.run.remote(task), time.monotonic(), tries))

    def finished(self, timeout_s: float) -> list[tuple[Task, Outcome]]:
        """Outcomes of what ended; a trial whose worker was lost is first evaluated once more."""
        import ray

        until = time.monotonic() + timeout_s
        while self._running:
            self._answer()
            ready, _ = ray.wait([one.call for one in self._running], num_returns=1, timeout=0.1)
            ended = [one for one in self._running if one.call in ready or self._late(one)]
            outcomes = [(one.task, outcome) for one in ended if (outcome := self._end(one)) is not None]
            if outcomes or time.monotonic() >= until:
                return outcomes
        return []

    def _answer(self) -> None:
        import ray

        current = {one.task.number for one in self._running}
        try:
            for number, epoch, miou in ray.get(self._mailbox.waiting.remote(), timeout=GONE_S):
                goes_on = number in current and self.decide(number, epoch, miou)
                ray.get(self._mailbox.answer.remote(number, goes_on))
        except ray.exceptions.RayError as error:
            raise ZooError(
                f"the Ray cluster is lost ({type(error).__name__}); what was told is kept: go on with --resume"
            ) from None

    def _late(self, one: _Running) -> bool:
        return self.limit_s is not None and time.monotonic() - one.started > self.limit_s

    def _end(self, one: _Running) -> Outcome | None:
        import ray

        self._running.remove(one)
        seconds = time.monotonic() - one.started
        outcome: Outcome
        try:
            outcome, files = ray.get(one.call, timeout=0)
        except ray.exceptions.GetTimeoutError:
            ray.kill(one.actor)
            text = f"took longer than the time limit of {self.limit_s:g} s and was ended"
            return Outcome("failed", None, seconds, text, "its log is in Ray's session folder on the worker")
        except ray.exceptions.RayError as lost:
            ray.kill(one.actor)
            if one.tries < RETRIES:
                self._begin(one.task, one.tries + 1)
                return None
            why = f"its worker was lost {one.tries + 1} times"
            return Outcome("failed", None, seconds, why, f"{type(lost).__name__}: {lost}")
        self._free.append(one.actor)
        self._write(files)
        return outcome

    def _write(self, files: dict[str, bytes]) -> None:
        folder = getattr(self.evaluator, "folder", None)
        for name, content in files.items():
            path = Path(folder) / name if folder else None
            if path and path.resolve().is_relative_to(Path(folder).resolve()):  # type: ignore[arg-type]
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)

    def close(self) -> None:
        """End all workers; their trials stay open and are evaluated again."""
        import ray

        for actor in [*self._free, *(one.actor for one in self._running), self._mailbox]:
            ray.kill(actor)
        self._free, self._running = [], []


def on_ray(*, address: str | None = None, gpus_per_trial: float = 0.0) -> "MakeEngine":
    """Engines on a cluster: one of our own on this machine, or the one at `address`.

    Raises ZooError where Ray is not installed or the cluster cannot be reached, or has no worker for a trial.
    """
    connect(address)

    def make(evaluator: Evaluator, decide: Callable[[int, int, float], bool], logs: Path, plan: "Plan") -> OnRay:
        import ray

        cpus, gpus = float(plan.threads), gpus_per_trial
        total = ray.cluster_resources()  # type: ignore[no-untyped-call]
        slots = int(min(total.get("CPU", 0.0) // cpus, total.get("GPU", 0.0) // gpus if gpus else float("inf")))
        if slots < 1:
            raise ZooError(
                f"a trial needs {cpus:g} CPUs and {gpus:g} GPUs, and the Ray cluster has {total.get('CPU', 0):g} and "
                f"{total.get('GPU', 0):g}; lower --threads or --gpus-per-trial, or add workers"
            )
        return OnRay(evaluator, decide, cpus=cpus, gpus=gpus, limit_s=plan.limit_s, slots=slots)

    return make


def connect(address: str | None) -> None:
    """Connect to a cluster, or start one on this machine. Raises ZooError."""
    # A trial without GPUs of its own may still see those of its machine, as it does without Ray.
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    import ray

    if ray.is_initialized():
        return
    own: dict[str, Any] = {} if address else {"object_store_memory": STORE_BYTES, "include_dashboard": False}
    try:
        _answers(address)
        ray.init(address=address or "local", log_to_driver=False, logging_level=logging.ERROR, **own)
    except Exception as error:  # Ray raises what its parts raise
        where = address or "on this machine"
        text = (str(error).splitlines() or [type(error).__name__])[0]
        raise ZooError(
            f"Ray {where}: cannot be reached ({text}); start it with `ray start --head`, or correct --address"
        ) from None


def _answers(address: str | None) -> None:
    """Raises OSError where nobody listens at HOST:PORT; Ray itself would try for minutes."""
    host, _, port = (address or "").rpartition(":")
    if host and "/" not in host and port.isdecimal():
        socket.create_connection((host, int(port)), timeout=10).close()
