"""The same trials on many workers, through Ray.

Ray only evaluates: proposing, telling and resuming stay with the study in this process. Each slot is an actor that
is used again, so that packages are imported and data are fetched once a worker. Data are read here, put once
into Ray's object store, and reach each machine once. Reports go through one more actor, which holds a worker's
call until the study has decided. All actors end with this process.
"""

import logging
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from search.study.engines.local import Decide, Outcome, Task
from search.study.engines.ray_workers import Mailbox, Slot
from search.study.evaluators import Evaluator
from zoo.errors import ZooError
from zoo.text import one_line

if TYPE_CHECKING:
    from search.study.config import StudyConfig
    from search.study.course import MakeEngine

RETRIES = 1
"""How often a trial whose worker was lost is evaluated again."""

LOOK_S = 2.0
"""Seconds between two looks at how many machines there are."""

GONE_S = 60.0
"""A worker that does not answer for so many seconds is lost."""

SILENT_S = 20.0
"""A cluster that does not answer for so many seconds is lost; after 60 s Ray would end this process itself."""

STORE_BYTES = 500 * 10**6
"""Object store of a cluster of our own, where the environment says nothing else."""


@dataclass
class _Running:
    task: Task
    actor: Any
    here: Any
    call: Any
    started: float
    tries: int


class OnRay:
    """Up to `slots` trials at a time on the workers of a cluster, which may come and go.

    cpus, gpus: of one trial.
    """

    def __init__(
        self, evaluator: Evaluator, decide: Decide, *, cpus: float, gpus: float, limit_s: float | None
    ) -> None:
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        self.evaluator, self.decide, self.limit_s = evaluator.portable(), decide, limit_s
        self.cpus, self.gpus = cpus, gpus
        self._room, self._looked = room(cpus, gpus), time.monotonic()
        self._head = ray.get_runtime_context().gcs_address
        this_node = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        mailbox = ray.remote(Mailbox).options(num_cpus=0, max_concurrency=1000, scheduling_strategy=this_node)
        self._mailbox: Any = mailbox.remote()
        self._data = ray.put(self.evaluator)
        self._free: list[Any] = []
        self._running: list[_Running] = []
        self._waiting: list[tuple[Task, int]] = []

    @property
    def slots(self) -> int:
        """Trials that the cluster has room for now; one where it has none, which then waits for a worker."""
        if time.monotonic() - self._looked > LOOK_S:
            self._look()
        return max(1, self._room)

    def _look(self) -> None:
        """See whether the cluster answers, and how much room it has. Raises ZooError where it is lost."""
        try:
            _answers(self._head)
        except OSError as error:
            if time.monotonic() - self._looked > SILENT_S:
                raise _lost(error) from None
            return
        with _cluster():
            self._room = room(self.cpus, self.gpus)
        self._looked = time.monotonic()

    def start(self, task: Task) -> None:
        """Give a trial to a free worker, or to a new one."""
        self._waiting.append((task, 0))
        with _cluster():
            self._dispatch()

    def _dispatch(self) -> None:
        """Begin what waits, as far as there is room."""
        self._call_back()
        while self._waiting:
            actor = self._living() or self._new()
            if actor is None:
                return
            task, tries = self._waiting.pop(0)
            node, call = actor.here.remote(), actor.run.remote(task)
            self._running.append(_Running(task, actor, node, call, time.monotonic(), tries))

    def _living(self) -> Any:
        """A worker that is used again; those whose machine was lost meanwhile are forgotten."""
        import ray

        while self._free:
            actor = self._free.pop()
            try:
                ray.get(actor.here.remote(), timeout=GONE_S)
            except ray.exceptions.RayError:
                ray.kill(actor)
                continue
            return actor
        return None

    def _new(self) -> Any:
        """Another worker, where there is room for one."""
        import ray

        if len(self._running) >= self.slots:
            return None
        # Ray restarts no lost actor: a new one goes wherever there is room, once its trial is to run again.
        slot = ray.remote(Slot).options(max_restarts=0, max_task_retries=0, num_cpus=self.cpus, num_gpus=self.gpus)
        return slot.remote(self._data, self._mailbox)

    def _call_back(self) -> None:
        """Trials whose worker found no room any more, because a machine was lost, wait for another worker."""
        import ray

        pending = [running for running in self._running if not ray.wait([running.here], timeout=0)[0]]
        for running in pending[: max(0, len(self._running) + len(self._free) - self.slots)]:
            self._running.remove(running)
            ray.kill(running.actor)
            self._waiting.insert(0, (running.task, running.tries))

    def finished(self, timeout_s: float) -> list[tuple[Task, Outcome]]:
        """Outcomes of what ended; a trial whose worker was lost is first evaluated once more."""
        until = time.monotonic() + timeout_s
        while self._running or self._waiting:
            if time.monotonic() - self._looked > LOOK_S:
                self._look()
            with _cluster():
                outcomes = self._ended()
            if outcomes or time.monotonic() >= until:
                return outcomes
        return []

    def _ended(self) -> list[tuple[Task, Outcome]]:
        """What has ended within a tenth of a second."""
        import ray

        self._answer()
        self._dispatch()
        calls = [running.call for running in self._running]
        ready, _ = ray.wait(calls, num_returns=1, timeout=0.1) if calls else ([], [])
        ended = [running for running in self._running if running.call in ready or self._late(running)]
        return [(running.task, outcome) for running in ended if (outcome := self._end(running)) is not None]

    def _answer(self) -> None:
        import ray

        current = {running.task.number for running in self._running}
        for number, epoch, miou in ray.get(self._mailbox.waiting.remote(), timeout=SILENT_S):
            goes_on = number in current and self.decide(number, epoch, miou)
            ray.get(self._mailbox.answer.remote(number, goes_on), timeout=SILENT_S)

    def _late(self, running: _Running) -> bool:
        return self.limit_s is not None and time.monotonic() - running.started > self.limit_s

    def _end(self, running: _Running) -> Outcome | None:
        import ray

        self._running.remove(running)
        seconds = time.monotonic() - running.started
        outcome: Outcome
        try:
            outcome, files = ray.get(running.call, timeout=0)
        except ray.exceptions.GetTimeoutError:
            ray.kill(running.actor)
            text = f"took longer than the time limit of {self.limit_s:g} s and was ended"
            return Outcome("failed", None, seconds, text, "its log is in Ray's session folder on the worker")
        except ray.exceptions.RayError as lost:
            ray.kill(running.actor)
            if running.tries < RETRIES:
                self._waiting.append((running.task, running.tries + 1))
                return None
            why = f"its worker was lost {running.tries + 1} times"
            return Outcome("failed", None, seconds, why, f"{type(lost).__name__}: {lost}")
        self._free.append(running.actor)
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

        for actor in [*self._free, *(running.actor for running in self._running), self._mailbox]:
            with suppress(*_losses()):
                ray.kill(actor)
        self._free, self._running, self._waiting = [], [], []


def _losses() -> tuple[type[Exception], ...]:
    """What Ray raises where its cluster does not answer: its own, and what its parts raise."""
    import ray

    return (ray.exceptions.RayError, ray.exceptions.RpcError, OSError, RuntimeError)


@contextmanager
def _cluster() -> Iterator[None]:
    """Calls of Ray, which raise ZooError where the cluster is lost."""
    try:
        yield
    except ZooError:
        raise
    except _losses() as error:
        raise _lost(error) from None


def _lost(error: Exception) -> ZooError:
    why = one_line(error, 80) or type(error).__name__
    return ZooError(f"the Ray cluster is lost ({why}); what was told is kept: go on with --resume")


def room(cpus: float, gpus: float) -> int:
    """How many trials the cluster has room for, by all that its living machines have."""
    import ray

    total = ray.cluster_resources()  # type: ignore[no-untyped-call]
    return int(min(total.get("CPU", 0.0) // cpus, total.get("GPU", 0.0) // gpus if gpus else float("inf")))


def on_ray(*, address: str | None = None, gpus_per_trial: float = 0.0) -> "MakeEngine":
    """Engines on a cluster: one of our own on this machine, or the one at `address`.

    Raises ZooError where Ray is not installed or the cluster cannot be reached, or has no worker for a trial.
    """
    connect(address)

    def make(
        evaluator: Evaluator, decide: Callable[[int, int, float], bool], logs: Path, config: "StudyConfig"
    ) -> OnRay:
        import ray

        cpus, gpus = float(config.threads), gpus_per_trial
        if room(cpus, gpus) < 1:
            total = ray.cluster_resources()  # type: ignore[no-untyped-call]
            raise ZooError(
                f"a trial needs {cpus:g} CPUs and {gpus:g} GPUs, and the Ray cluster has {total.get('CPU', 0):g} and "
                f"{total.get('GPU', 0):g}; lower --threads or --gpus-per-trial, or add workers"
            )
        return OnRay(evaluator, decide, cpus=cpus, gpus=gpus, limit_s=config.limit_s)

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
        cluster = address or "on this machine"
        text = (str(error).splitlines() or [type(error).__name__])[0]
        raise ZooError(
            f"Ray {cluster}: cannot be reached ({text}); start it with `ray start --head`, or correct --address"
        ) from None


def _answers(address: str | None) -> None:
    """Raises OSError where nobody listens at HOST:PORT; Ray itself would try for minutes."""
    host, _, port = (address or "").rpartition(":")
    if host and "/" not in host and port.isdecimal():
        socket.create_connection((host, int(port)), timeout=10).close()
