"""A zoo of ESPNet-family segmentation networks: specs, graphs, torch modules, weights.

>>> import zoo
>>> zoo.lower(zoo.spec("espnet-c", alpha3=3)).params
187529
"""

from typing import TYPE_CHECKING, Any

from zoo.registry import lower as _lower
from zoo.specs import Spec

if TYPE_CHECKING:
    import torch

    from zoo.graph import Graph

__all__ = ["Spec", "build", "load", "lower", "spec"]
__version__ = "0.1.0"


def spec(model: str | Spec, **changes: Any) -> Spec:
    """The spec that a name of zoo.yaml stands for, with fields changed. Raises ConfigError or SpecError."""
    import dataclasses

    from zoo.config import load_config
    from zoo.resolve import resolve

    found = model if isinstance(model, Spec) else resolve(model, load_config()).spec
    plain = {key: tuple(value) if isinstance(value, list) else value for key, value in changes.items()}
    unknown = [key for key in plain if key not in found.__dataclass_fields__]  # type: ignore[attr-defined]
    if unknown:
        from zoo.errors import SpecError, did_you_mean

        known = did_you_mean(unknown[0], found.__dataclass_fields__)  # type: ignore[attr-defined]
        raise SpecError(f"{found.family}.{unknown[0]}: unknown key ({known})")
    return dataclasses.replace(found, **plain)  # type: ignore[type-var]


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

    It expects the input that `module.preprocessing` makes. Downloads the file on first use and checks its
    hash. Raises ZooError.
    """
    from pretrained import load as load_weights
    from zoo.config import load_config
    from zoo.resolve import resolve

    found = resolve(model, load_config())
    return load_weights(found.canonical if found.tag is None else f"{found.canonical}.{found.tag}")
