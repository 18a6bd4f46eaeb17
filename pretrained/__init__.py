"""Weights: a manifest of released files, their download and verification, and networks with weights."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pretrained.manifest import Weights
    from pretrained.weights import PretrainedNetwork

__all__ = ["find", "load", "weights_of"]


def load(name: str, **options: Any) -> "PretrainedNetwork":
    """Load a network with weights, in evaluation mode: `espnet-c-3.cityscapes`, or a model for its default.

    `module.preprocessing`, `module.labels` and `module.weights` say what it expects, what its outputs mean
    and where it comes from. Arguments are those of `download.obtain`. Raises ZooError.
    """
    from pretrained.weights import load as load_network

    return load_network(name, **options)


def find(name: str, tag: str | None = None) -> "Weights":
    """Find the manifest's entry of a name with or without a tag. Raises ZooError with the nearest name.

    >>> find("espnet-c").name, find("espnetv2-1.0.pascal").spec.classes
    ('espnet-c-8.camvid', 21)
    """
    from pretrained.manifest import manifest

    return manifest().find(name, tag)


def weights_of(model: str) -> list[dict[str, Any]]:
    """List a model's weights as plain values: tag, miou (percent, or None), dataset, bundled.

    >>> weights_of("espnet-c-5")
    [{'tag': 'cityscapes', 'miou': 51.2, 'dataset': 'cityscapes', 'bundled': False}]
    """
    from pretrained.manifest import manifest

    return [
        {
            "tag": entry.tag,
            "miou": entry.miou.value if entry.miou else None,
            "dataset": entry.miou.dataset if entry.miou else entry.labels,
            "bundled": entry.bundled,
        }
        for entry in manifest().of(model)
    ]
