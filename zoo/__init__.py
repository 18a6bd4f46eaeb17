"""A zoo of ESPNet-family segmentation networks: specs, graphs, torch modules, weights.

>>> import zoo
>>> zoo.lower(zoo.spec("espnet-c", alpha3=3)).params
187529
"""

from typing import TYPE_CHECKING, Any

from zoo.moved import install as _install
from zoo.registry import lower as _lower
from zoo.registry import with_changes
from zoo.specs import Spec

if TYPE_CHECKING:
    import torch

    from zoo.graph import Graph

_install()

__all__ = ["Spec", "build", "load", "lower", "models", "spec"]


def __getattr__(name: str) -> str:
    if name == "__version__":
        from zoo._version import version

        return version()
    raise AttributeError(f"module 'zoo' has no attribute {name!r}")


def spec(model: str | Spec, **changes: Any) -> Spec:
    """The spec that a name of zoo.yaml stands for, with fields changed. Raises ConfigError or SpecError."""
    from search.model_ref import resolve
    from zoo.config import load_config

    chosen = model if isinstance(model, Spec) else resolve(model, load_config()).spec
    return with_changes(chosen, **changes)


def models(pattern: str = "*", *, pretrained: bool | None = None) -> tuple[str, ...]:
    """Names of zoo.yaml that a shell's pattern fits, whatever their case; with weights, or without, or all.

    >>> models("espnet-c-?", pretrained=True)
    ('espnet-c-3', 'espnet-c-5', 'espnet-c-8')
    """
    from fnmatch import fnmatch

    from pretrained import weights_of
    from zoo.config import load_config

    known = load_config().models
    return tuple(
        name
        for name, entry in known.items()
        if fnmatch(name.casefold(), pattern.casefold())
        and pretrained in (None, bool(weights_of(entry.alias_of or name)))
    )


def lower(model: str | Spec, size: tuple[int, int] = (512, 1024)) -> "Graph":
    """The graph of a spec, or of a name, for an image of `size` = (height, width). Raises SpecError."""
    return _lower(spec(model), size)


def build(model: str | Spec, **changes: Any) -> "torch.nn.Module":
    """An untrained module: (N, 3, H, W) float32 -> (N, classes, H', W'), in training mode.

    H' and W' are those of the graph's output: an eighth of the image for ESPNet-A, B and C, the image's
    own for ESPNet.
    """
    from zoo.network import build as build_spec

    return build_spec(spec(model, **changes))


def load(model: str) -> "torch.nn.Module":
    """A module with weights, in evaluation mode: `load("espnet-c.cityscapes")`; without a tag the default weights.

    A run of `zoo train`, its weights, and a candidate that a study trained are models as well. The module expects the
    input that `module.preprocessing` makes; called with an image, it makes it. Downloads a released file on first use
    and checks its hash. Raises ZooError.
    """
    from search.model_ref import resolve
    from search.opening import open_model
    from zoo.config import load_config

    module: torch.nn.Module = open_model(resolve(model, load_config())).module
    return module
