"""Evaluators that misbehave, for tests of studies; importable by the processes that run them."""

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from search.study.evaluators import Published
from zoo.errors import ZooError
from zoo.registry import lower


@dataclass(frozen=True)
class Steady(Published):
    """The accuracy model's estimate after a moment, with reports that rise to it."""

    pause_s: float = 0.0
    epochs: int = 0

    def evaluate(self, spec, number, seed, report):
        final = super().evaluate(spec, number, seed, report)
        for epoch in range(1, self.epochs + 1):
            report(epoch, final * epoch / self.epochs)
        time.sleep(self.pause_s)
        return final


@dataclass(frozen=True)
class Lowers(Published):
    """As many percent as the network has layers, of a family that this process need not have heard of."""

    def evaluate(self, spec, number, seed, report):
        return len(lower(spec, (32, 32)).layers)


@dataclass(frozen=True)
class Bad(Steady):
    """Fails in some way in every second trial."""

    way: str = "raise"
    isolated: bool = True

    def evaluate(self, spec, number, seed, report):
        print("evaluating", number, flush=True)
        if number % 2:
            if self.way == "raise":
                raise ValueError("no such layer")
            if self.way == "memory":
                raise MemoryError("no memory left")
            if self.way == "nan":
                return float("nan")
            if self.way == "hang":
                time.sleep(600)
            if self.way == "killed":
                os.kill(os.getpid(), signal.SIGKILL)
            if self.way == "exit":
                os._exit(3)
        return super().evaluate(spec, number, seed, report)


@dataclass(frozen=True)
class NeedsFile(Steady):
    """Cannot measure without a file."""

    path: str = ""

    def check(self):
        if not Path(self.path).exists():
            raise ZooError(f"{self.path}: there is no such data set")

    def evaluate(self, spec, number, seed, report):
        if number == 2:
            Path(self.path).unlink(missing_ok=True)
        self.check()
        return super().evaluate(spec, number, seed, report)


@dataclass(frozen=True)
class KillsItsWorkerOnce(Steady):
    """Takes its process down, the first time that one of these trials is evaluated or every time."""

    marks: str = ""
    number: int = -1
    always: bool = False

    def evaluate(self, spec, number, seed, report):
        (Path(self.marks) / f"{number}-{time.monotonic_ns()}").write_text(os.environ.get("STUDY_NODE", ""))
        if number == self.number and (self.always or len(list(Path(self.marks).glob(f"{number}-*"))) == 1):
            os.kill(os.getpid(), signal.SIGKILL)
        return super().evaluate(spec, number, seed, report)


@dataclass(frozen=True)
class Writes(Steady):
    """Leaves weights in a folder of each trial, as training does."""

    folder: Path = Path()

    def evaluate(self, spec, number, seed, report):
        own = self.folder / f"{number:04}"
        own.mkdir(parents=True)
        (own / "best.safetensors").write_bytes(b"weights")
        (own / "last.pt").write_bytes(b"state")
        return super().evaluate(spec, number, seed, report)
