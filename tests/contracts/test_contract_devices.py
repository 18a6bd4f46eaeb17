"""Our predictors, held to the contract that ships: shipped devices, and one measured block by block."""

from pathlib import Path

from hw_models.device import SHIPPED, load_device, read_device
from hw_models.predictors import predictor
from zoo.testing import PredictorContract

OLD = Path(__file__).resolve().parents[1] / "data" / "v0.1" / "old"


def contract(name: str) -> type:
    """The contract for a shipped device."""
    clocks = load_device(name).clocks

    def make(self, clock_mhz=None, batch=1):
        return predictor(name, clock_mhz, batch)

    members = {"make": make, "clocks_mhz": tuple(sorted({clocks.low_mhz, clocks.high_mhz})), "__module__": __name__}
    return type(f"Test_{name}", (PredictorContract,), members)


for _name in sorted(path.name for path in SHIPPED.iterdir()):
    globals()[f"Test_{_name}"] = contract(_name)


class TestMeasured(PredictorContract):
    metrics = ("latency_s",)  # no power was read

    def make(self, clock_mhz=None, batch=1):
        return predictor(read_device(OLD), clock_mhz, batch)
