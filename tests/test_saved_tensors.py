"""Memory that autograd keeps, against what torch itself packs for the backward pass."""

import pytest
import torch

import zoo
from hw_models.saved_tensors import saved_bytes
from zoo.graph import Graph
from zoo.network import module_from_graph
from zoo.registry import lower


def packed_bytes(graph: Graph, batch: int) -> int:
    """Bytes of all storages that autograd packs in one forward pass, parameters and running statistics apart."""
    module = module_from_graph(graph).eval()
    constants = {tensor.untyped_storage().data_ptr() for tensor in (*module.parameters(), *module.buffers())}
    kept: dict[int, torch.Tensor] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        kept.setdefault(tensor.untyped_storage().data_ptr(), tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        module(torch.randn(batch, 3, graph.input_shape.height, graph.input_shape.width))
    return sum(tensor.untyped_storage().nbytes() for place, tensor in kept.items() if place not in constants)


FAST = ("espnet", "espnetv2-1.0", "enet", "fast-scnn", "cgnet", "fpenet", "pidnet-s")
"""Networks that between them have every op whose tensors are kept in another way."""

SLOW = ("espnet-c", "erfnet", "ddrnet-23-slim", "segnet", "espnetv2-classifier-1.0")


@pytest.mark.parametrize("model", [*FAST, *(pytest.param(model, marks=pytest.mark.slow) for model in SLOW)])
def test_autograd_keeps_as_much(model: str) -> None:
    graph, batch = lower(zoo.spec(model), (64, 128)), 2
    assert saved_bytes(graph, batch) == packed_bytes(graph, batch)
