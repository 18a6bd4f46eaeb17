"""The contract of an engine: every trial that was started ends once, as complete, stopped or failed."""

import time
from dataclasses import dataclass

from search.study.engines.local import Decide, Engine, Outcome, Task
from search.study.evaluators import Evaluator, Published, Report
from zoo.models.espnet import ESPNetSpec
from zoo.specs import Spec


@dataclass(frozen=True)
class Scripted(Published):
    """Reports 10, 20 and 30 and measures 40 + number; raises for the trial `fails`."""

    fails: int = -1
    epochs: int = 3

    def evaluate(self, spec: Spec, number: int, seed: int, report: Report) -> float:
        """The mIOU of the script."""
        for epoch in (1, 2, 3):
            report(epoch, 10.0 * epoch)
        if number == self.fails:
            raise ValueError("no such layer")
        return 40.0 + number


class EngineContract:
    """What holds for every engine. `make` returns one; it may be slow to start a trial, up to `patience_s`.

    >>> from search.study.engines.local import Inline
    >>> class TestInline(EngineContract):
    ...     def make(self, evaluator, decide):
    ...         return Inline(evaluator, decide)
    >>> TestInline().test_a_trial_that_raises_fails_alone()  # pytest runs all of them
    """

    patience_s = 120.0

    def make(self, evaluator: Evaluator, decide: Decide) -> Engine:
        """An engine that measures by `evaluator`."""
        raise NotImplementedError

    def outcomes(self, evaluator: Evaluator, decide: Decide, count: int = 3) -> dict[int, Outcome]:
        """Run trials as a study does: as many at a time as there are slots."""
        engine = self.make(evaluator, decide)
        waiting = [Task(number, ESPNetSpec(variant="C", alpha3=1), seed=number) for number in range(count)]
        running, out = 0, dict[int, Outcome]()
        limit = time.monotonic() + self.patience_s
        try:
            assert engine.slots >= 1
            while len(out) < count:
                assert time.monotonic() < limit, f"only {sorted(out)} of {count} trials ended"
                while waiting and running < engine.slots:
                    engine.start(waiting.pop(0))
                    running += 1
                for task, outcome in engine.finished(1.0):
                    assert task.number not in out, "a trial must end once"
                    out[task.number], running = outcome, running - 1
            assert engine.finished(0.0) == []
        finally:
            engine.close()
            engine.close()  # a second time does nothing
        return out

    def test_every_trial_ends_with_its_own_miou(self) -> None:
        reports: set[tuple[int, int, float]] = set()

        def decide(number: int, epoch: int, miou: float) -> bool:
            reports.add((number, epoch, miou))
            return True

        outcomes = self.outcomes(Scripted(), decide)
        assert {n: (o.state, o.miou) for n, o in outcomes.items()} == {n: ("complete", 40.0 + n) for n in range(3)}
        assert reports == {(number, epoch, 10.0 * epoch) for number in range(3) for epoch in (1, 2, 3)}

    def test_a_trial_that_raises_fails_alone(self) -> None:
        outcomes = self.outcomes(Scripted(fails=1), lambda number, epoch, miou: True)
        assert [outcomes[n].state for n in range(3)] == ["complete", "failed", "complete"]
        assert outcomes[1].miou is None and "no such layer" in str(outcomes[1].error)

    def test_a_trial_is_stopped_with_the_best_that_it_reached(self) -> None:
        outcomes = self.outcomes(Scripted(), lambda number, epoch, miou: (number, epoch) != (2, 2))
        assert [outcomes[n].state for n in range(3)] == ["complete", "complete", "stopped"]
        assert outcomes[2].miou == 20.0

    def test_what_runs_ends_with_the_engine(self) -> None:
        engine = self.make(Scripted(), lambda number, epoch, miou: True)
        engine.start(Task(0, ESPNetSpec(variant="C", alpha3=1), seed=0))
        engine.close()
