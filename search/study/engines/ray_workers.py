"""What runs on the machines of a Ray cluster: a mailbox beside the study, and workers that evaluate trials."""

import socket
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from search.study.engines.local import Outcome, Task, attempt
from search.study.evaluators import Evaluator


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

    def here(self) -> str:
        """The machine it is on: an answer says that it has begun."""
        return socket.gethostname()

    def run(self, task: Task) -> tuple[Outcome, dict[str, bytes]]:
        """The outcome, and the files that it left on a machine that does not share the study's folder."""
        import ray

        def report(epoch: int, miou: float) -> bool:
            return bool(ray.get(self.mailbox.report.remote(task.number, epoch, miou)))

        evaluator, scratch = self.evaluator, None
        folder = getattr(evaluator, "folder", None)
        if folder is not None and not Path(folder).parent.parent.is_dir():
            scratch = tempfile.TemporaryDirectory(prefix="zoo-trial-")
            evaluator = replace(evaluator, folder=Path(scratch.name))  # type: ignore[type-var]
        outcome = attempt(evaluator, task, report)
        return outcome, {} if scratch is None else _files(Path(scratch.name))


KEPT = ("best.safetensors", "log.csv")


def _files(folder: Path) -> dict[str, bytes]:
    paths = (path for path in folder.rglob("*") if path.name in KEPT)
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}
