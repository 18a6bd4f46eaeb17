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
    """The spec that a name of zoo.yaml stands for, with fields changed.

    Args:
        model: a name of zoo.yaml, with or without the tag of its weights; `RUN#RANK`; a file of weights; or a spec.
        changes: fields of the spec with their new values.

    Returns:
        The spec, frozen and checked.

    Raises:
        ConfigError: the name is unknown; the message has the nearest one.
        SpecError: a field is unknown, or the values describe no network.

    >>> spec("espnet-c", alpha3=3).alpha3
    3
    """
    from search.model_ref import resolve
    from zoo.config import load_config

    chosen = model if isinstance(model, Spec) else resolve(model, load_config()).spec
    return with_changes(chosen, **changes)


def models(pattern: str = "*", *, pretrained: bool | None = None) -> tuple[str, ...]:
    """Names of models in zoo.yaml.

    Args:
        pattern: as a shell's, such as `espnet*`; case does not matter.
        pretrained: True for models with weights, False for those without, None for all.

    Returns:
        The names in the order of zoo.yaml.

    >>> models("espnet-c-?", pretrained=True)
    ('espnet-c-3', 'espnet-c-5', 'espnet-c-8')
    """
    from pretrained import weights_of
    from zoo.config import load_config

    fitting = load_config().models_like(pattern)
    return tuple(
        name for name, entry in fitting.items() if pretrained in (None, bool(weights_of(entry.alias_of or name)))
    )


def lower(model: str | Spec, size: tuple[int, int] = (512, 1024)) -> "Graph":
    """The graph of a spec: every layer with its shapes, parameters and MACs; no torch is needed.

    Args:
        model: a spec, or what `spec` takes.
        size: (height, width) of the image in pixels.

    Returns:
        The graph. One MAC is one multiply and one add; shapes leave out the batch.

    Raises:
        ConfigError: the name is unknown.
        SpecError: the network cannot take the size; the message has one that it can.

    >>> graph = lower("espnet", (256, 512))
    >>> graph.params, [str(shape) for shape in graph.output_shapes]
    (364569, ['20x256x512'])
    """
    return _lower(spec(model), size)


def build(model: str | Spec, **changes: Any) -> "torch.nn.Module":
    """An untrained torch module, in training mode: (N, 3, H, W) float32 -> (N, classes, H', W').

    H' and W' are those of the graph's output: an eighth of the image for ESPNet-A, B and C, the image's
    own for ESPNet.

    Args:
        model: a spec, or what `spec` takes.
        changes: fields of the spec with their new values.

    Returns:
        The module; its weights follow `torch.manual_seed`. `module.graph` is its graph, `module.spec` its spec.

    Raises:
        ConfigError: the name is unknown.
        SpecError: the values describe no network.

    >>> import torch
    >>> tuple(build("espnet-c", alpha3=1).eval()(torch.zeros(1, 3, 64, 96)).shape)
    (1, 20, 8, 12)
    """
    from zoo.network import build as build_spec

    return build_spec(spec(model, **changes))


def load(model: str) -> "torch.nn.Module":
    """A module with weights, in evaluation mode.

    A released file is downloaded on first use, and its hash is checked.

    Args:
        model: a name such as `espnet-c.cityscapes`, without a tag for the default weights; a run of `zoo train` or its
            weights; or `RUN#RANK`, a candidate that a study trained.

    Returns:
        The module. It expects the input that `module.preprocessing` makes; called with an image, it makes it.

    Raises:
        ZooError: there is no such model, it has no weights, or they cannot be had or differ from what was released.

    >>> load("espnet-c.imagenet")
    Traceback (most recent call last):
    ...
    zoo.errors.ZooError: espnet-c-8 has no weights with the tag 'imagenet'; known: camvid, cityscapes
    """
    from search.model_ref import resolve
    from search.opening import open_model
    from zoo.config import load_config

    module: torch.nn.Module = open_model(resolve(model, load_config())).module
    return module
