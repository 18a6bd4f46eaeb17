"""The contract of an evaluator: a mIOU in percent, reports in order, and pickles that describe the same."""

import json
import pickle

from search.study.evaluators import Evaluator, Stopped, checked
from zoo.models.espnet import ESPNetSpec
from zoo.specs import Spec


class EvaluatorContract:
    """What holds for every evaluator of candidates. `make` returns one that can measure `spec`.

    deterministic: the same spec, number and seed give the same mIOU.

    >>> from search.study.evaluators import Published
    >>> class TestPublished(EvaluatorContract):
    ...     def make(self):
    ...         return Published()
    >>> TestPublished().test_it_travels_to_other_processes()  # pytest runs all of them
    """

    spec: Spec = ESPNetSpec(variant="C", alpha2=1, alpha3=1, widths=(4, 8, 8), k=2)
    deterministic = True

    def make(self) -> Evaluator:
        """An evaluator."""
        raise NotImplementedError

    def test_it_describes_itself_in_plain_values(self) -> None:
        first, second = self.make(), self.make()
        assert first.name and isinstance(first.isolated, bool) and isinstance(first.same_protocol, bool)
        assert json.loads(json.dumps(first.describe(), allow_nan=False)) == first.describe() == second.describe()

    def test_it_travels_to_other_processes(self) -> None:
        evaluator = self.make()
        for copied in (pickle.loads(pickle.dumps(evaluator)), pickle.loads(pickle.dumps(evaluator.portable()))):
            assert copied.describe() == evaluator.describe() and copied.epochs == evaluator.epochs

    def test_it_measures_a_miou_and_reports_epochs_in_order(self) -> None:
        evaluator = self.make()
        evaluator.check()
        reports: list[int] = []

        def report(epoch: int, miou: float) -> None:
            checked(miou)
            reports.append(epoch)

        checked(evaluator.evaluate(self.spec, 0, 1, report))
        assert reports == sorted(set(reports)) and all(1 <= epoch <= evaluator.epochs for epoch in reports)

    def test_it_measures_the_same_again(self) -> None:
        if self.deterministic:
            results = [self.make().evaluate(self.spec, number, 1, lambda epoch, miou: None) for number in (0, 1)]
            assert results[0] == results[1]

    def test_it_stops_where_a_report_says_so(self) -> None:
        import pytest

        evaluator = self.make()

        def stop(epoch: int, miou: float) -> None:
            raise Stopped

        if evaluator.epochs:
            with pytest.raises(Stopped):
                evaluator.evaluate(self.spec, 0, 1, stop)
