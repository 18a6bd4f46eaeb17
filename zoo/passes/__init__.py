"""Rewrites of a network that leave what it computes alone and make it faster to run.

Each pass is a small function from a graph and its parameters to another graph and its parameters; the
network stays a `zoo.network.Network`, so that everything that reads graphs reads the result too.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from zoo.errors import ZooError, did_you_mean
from zoo.network import Network
from zoo.passes.activation import prelu_as_maximum
from zoo.passes.fold import drop_identities, fold_batchnorm
from zoo.passes.pool import pool_as_conv
from zoo.passes.rewrite import Pass, State

PASSES: Mapping[str, Pass] = {
    "drop-identities": drop_identities,
    "pool-as-conv": pool_as_conv,
    "fold-batchnorm": fold_batchnorm,
    "prelu-as-maximum": prelu_as_maximum,
}
"""Passes by name, in the order in which `optimize` runs them."""

CARRIED = ("preprocessing", "labels", "weights")
"""What a network with weights says of itself, and its rewritten form too."""


class Rewritten(NamedTuple):
    """A rewritten network, and the passes that changed anything."""

    network: Network
    passes: tuple[str, ...]


def optimize(network: Network, names: Iterable[str] | None = None) -> Network:
    """A new network in evaluation mode that computes the same outputs within 1e-3, by the passes of `names` or all.

    Its `graph` is what it computes; it has no `spec`, because no spec lowers to that graph. `network` is left
    alone and shares no memory with the result. Raises ZooError for a pass that is not known.

    >>> from zoo.models.espnet import ESPNetSpec
    >>> from zoo.network import build
    >>> network = build(ESPNetSpec(alpha3=1), (64, 64))
    >>> len(network.graph.layers), len(optimize(network, ["fold-batchnorm"]).graph.layers)
    (79, 78)
    """
    return rewritten(network, names).network


def rewritten(network: Network, names: Iterable[str] | None = None) -> Rewritten:
    """As `optimize`, with the names of the passes that changed the graph."""
    graph, applied = network.graph, []
    state: State = {name: value.detach().clone() for name, value in network.state_dict().items()}
    for name in PASSES if names is None else names:
        if name not in PASSES:
            raise ZooError(f"pass {name!r} is unknown; {did_you_mean(name, PASSES)}")
        before = graph
        graph, state = PASSES[name](graph, state)
        if graph != before:
            applied.append(name)
    rewritten_network = Network(graph)
    rewritten_network.load_state_dict(state)
    for attribute in CARRIED:
        if hasattr(network, attribute):
            setattr(rewritten_network, attribute, getattr(network, attribute))
    return Rewritten(rewritten_network.to(next(network.parameters()).device).eval(), tuple(applied))


__all__ = ["PASSES", "Rewritten", "optimize", "rewritten"]
