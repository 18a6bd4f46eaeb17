"""Test classes for extensions: inherit one, say how the extension is made, and run pytest.

```python
from zoo.testing import SamplerContract


class TestMine(SamplerContract):
    def make(self, setting):
        return Mine(setting)
```

Contracts are loaded when they are named, so that a sampler's tests need no torch. pytest must be installed.
"""

import sys
from importlib import import_module
from typing import Any

CONTRACTS = {
    "AccuracyModelContract": "accuracy_model",
    "BackendContract": "backend",
    "DataSetContract": "data_set",
    "EngineContract": "engine",
    "EvaluatorContract": "evaluator",
    "FamilyContract": "family",
    "PredictorContract": "predictor",
    "SamplerContract": "sampler",
}
"""Contract -> its module in this package."""

__all__ = list(CONTRACTS)

if "pytest" in sys.modules:
    for _module in CONTRACTS.values():  # so that a failed assert shows its values
        sys.modules["pytest"].register_assert_rewrite(f"{__name__}.{_module}")


def __getattr__(name: str) -> Any:
    """A contract, by name."""
    if name not in CONTRACTS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{CONTRACTS[name]}"), name)
