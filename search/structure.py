"""What makes two graphs the same network, whatever their specs and the names of their layers."""

from collections.abc import Hashable

from zoo.graph import Graph


def structure(graph: Graph) -> Hashable:
    """Ops with their shapes and wiring, and the outputs: equal for graphs that compute the same.

    >>> from zoo.models.espnet import ESPNetSpec
    >>> from zoo.registry import lower
    >>> one, other = (lower(ESPNetSpec(variant="C", decoder_k=k)) for k in (2, 3))
    >>> structure(one) == structure(other)
    True
    """
    place = {layer.name: i for i, layer in enumerate(graph.layers)}
    layers = tuple(
        (layer.op, tuple(place[name] for name in layer.inputs), layer.in_shapes, layer.out_shape)
        for layer in graph.layers
    )
    return layers, tuple(place[name] for name in graph.outputs)
