"""Our samplers, accuracy models, evaluators and engines, held to the contracts that ship."""

from pathlib import Path

import pytest

pytest.importorskip("optuna", reason="optuna is not installed; pip install 'edgeseg-zoo[optuna]'")

from search.accuracy import MODELS
from search.study.engines.local import Inline, Processes
from search.study.evaluators import Published, Train
from search.study.samplers import SAMPLERS
from zoo.testing import AccuracyModelContract, EngineContract, EvaluatorContract, SamplerContract

for _name, _make in SAMPLERS.items():
    _members = {"make": lambda self, setting, make=_make: make(setting), "__module__": __name__}
    globals()[f"TestSampler_{_name}"] = type(f"TestSampler_{_name}", (SamplerContract,), _members)

for _name, _model in MODELS.items():
    _members = {"make": lambda self, make=_model: make(), "__module__": __name__}
    globals()[f"TestAccuracy_{_name}"] = type(f"TestAccuracy_{_name}", (AccuracyModelContract,), _members)


class TestPublished(EvaluatorContract):
    def make(self):
        return Published()


@pytest.mark.slow
class TestTrain(EvaluatorContract):
    @pytest.fixture(autouse=True)
    def folder(self, tmp_path: Path) -> None:
        pytest.importorskip("torch", reason="training needs torch")
        self.runs = iter([tmp_path / str(i) for i in range(9)])

    def make(self):
        return Train("scenes", None, 1, (32, 48), next(self.runs), changes={"batch": 8}, isolated=False)


class TestInline(EngineContract):
    def make(self, evaluator, decide):
        return Inline(evaluator, decide)


@pytest.mark.slow
class TestProcesses(EngineContract):
    @pytest.fixture(autouse=True)
    def folder(self, tmp_path: Path) -> None:
        self.logs = tmp_path

    def make(self, evaluator, decide):
        return Processes(evaluator, decide, self.logs, slots=2)
