"""Rewrites of a network that leave its logits alone and make it faster to run.

Each pass is a small function from a graph and its parameters to another graph and its parameters; the
network stays one of `zoo.network.Network`, so that everything that reads graphs reads the result too.
"""

from collections.abc import Iterable, Mapping

from torch import Tensor

from zoo.errors import ZooError, did_you_mean
from zoo.network import Network
from zoo.passes.activation import prelu_as_maximum
from zoo.passes.fold import drop_identities, fold_batchnorm
from zoo.passes.pool import pool_as_conv
from zoo.passes.rewrite import Pass, State

PASSES: Mapping[str, Pass] = {
    "drop-identities": drop_identities,
    "fold-batchnorm": fold_batchnorm,
    "pool-as-conv": pool_as_conv,
    "prelu-as-maximum": prelu_as_maximum,
}
"""Passes by name, in the order in which `optimize` runs them."""

CARRIED = ("preprocessing", "labels", "weights")
"""What a network with weights says of itself, and its rewritten form too."""


def optimize(network: Network, names: Iterable[str] | None = None) -> Network:
    """A new network in evaluation mode that computes the same outputs within 1e-3, by the passes of `names` or all.

    Its `graph` is what it computes; it has no `spec`, because no spec lowers to that graph. `network` is left
    alone and shares no memory with the result. Raises ZooError for a pass that is not known.
    """
    graph, state = network.graph, _copied(network.state_dict())
    for name in PASSES if names is None else names:
        if name not in PASSES:
            raise ZooError(f"pass {name!r} is unknown; {did_you_mean(name, PASSES)}")
        graph, state = PASSES[name](graph, state)
    done = Network(graph)
    done.load_state_dict(state)
    for attribute in CARRIED:
        if hasattr(network, attribute):
            setattr(done, attribute, getattr(network, attribute))
    return done.to(next(network.parameters()).device).eval()


def _copied(state: Mapping[str, Tensor]) -> State:
    return {name: value.detach().clone() for name, value in state.items()}


__all__ = ["PASSES", "optimize"]
