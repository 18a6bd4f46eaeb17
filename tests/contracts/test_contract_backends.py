"""Every backend, held to the contract that ships."""

import pytest

pytest.importorskip("torch")

from zoo.backends.choice import EXTRAS
from zoo.backends.session import Engine
from zoo.testing import BackendContract


@pytest.fixture(autouse=True)
def installed(request):
    """Skips a backend that is not installed."""
    package = request.cls.backend
    pytest.importorskip(package, reason=f"{package} is not installed; pip install 'edgeseg-zoo[{EXTRAS[package]}]'")


for _name in EXTRAS:

    def _make(self, network):
        return Engine(network, self.backend, 1)

    _members = {"make": _make, "backend": _name, "__module__": __name__}
    globals()[f"Test_{_name}"] = type(f"Test_{_name}", (BackendContract,), _members)
