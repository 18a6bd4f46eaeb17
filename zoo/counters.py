"""What other counters say of a network: fvcore, ptflops, and torch's own.

All three agree with `Graph.macs` on convolutions and linear layers, and each adds something of its own
to the total it reports. `EXTRAS` says what, so that the totals can be predicted from the graph to the unit.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from torch import nn

from zoo import graph as ops
from zoo.errors import ZooError, did_you_mean
from zoo.graph import Graph, Layer
from zoo.network import Network, build
from zoo.op_modules import Linear
from zoo.specs import Spec


class Opinion(NamedTuple):
    """What `tool` counts: MACs of convolutions and linear layers, and the total that it reports in its own unit."""

    tool: str
    macs: int
    total: int
    note: str


def _read(layer: Layer) -> int:
    return layer.in_shapes[0].elements


def _written(layer: Layer) -> int:
    return layer.out_shape.elements


def _bias(layer: Layer) -> int:
    return _written(layer) if getattr(layer.op, "bias", False) else 0


def _interpolation(layer: Layer) -> int:
    return _written(layer) * (4 if getattr(layer.op, "mode", "") == "bilinear" else 1)


EXTRAS: Mapping[str, Mapping[type[Any], Callable[[Layer], int]]] = {
    "torch": {},
    "fvcore": {
        ops.BatchNorm: lambda layer: 2 * _read(layer),
        ops.Resize: _interpolation,
        ops.AdaptiveAvgPool: _read,
    },
    "ptflops": {
        ops.Conv: _bias,
        ops.ConvTranspose: _bias,
        ops.Linear: _bias,
        ops.BatchNorm: lambda layer: 2 * _read(layer),
        # The module and the function that it calls are both hooked: these count twice.
        ops.PReLU: lambda layer: 2 * _written(layer),
        ops.ReLU: lambda layer: 2 * _written(layer),
        ops.ELU: lambda layer: 2 * _written(layer),
        ops.ReLU6: _written,
        ops.SiLU: _written,
        ops.AvgPool: lambda layer: 2 * _read(layer),
        ops.MaxPool: lambda layer: 2 * _read(layer),
        ops.AdaptiveAvgPool: _read,
        ops.Resize: _written,
    },
}
"""For each tool, what a layer of that op adds to the tool's total beyond the layer's MACs."""

NOTES: Mapping[str, str] = {
    "torch": "the total is in FLOPs, two for each MAC, of convolutions and matrix products alone",
    "fvcore": "the total adds 2 for each value of a batch normalisation, 4 (bilinear) or 1 of a resize, "
    "1 of an adaptive pooling's input; activations, additions and other poolings are left out",
    "ptflops": "the total adds biases, 2 for each value of a batch normalisation, 2 of an activation and of a "
    "pooling's input (the module and its function are both counted; of SiLU and ReLU6 one), 1 of a resize; additions "
    "and hard sigmoids are left out",
}


def extras(tool: str, graph: Graph) -> dict[str, int]:
    """Predict what `tool` adds, by the kind of op: its total is the MACs (torch: twice the MACs) and these.

    >>> from zoo.models.espnet import ESPNetSpec
    >>> from zoo.registry import lower
    >>> extras("fvcore", lower(ESPNetSpec(), (64, 64)))
    {'BatchNorm': 417280}
    """
    table = EXTRAS[tool]
    added: Counter[str] = Counter()
    for layer in graph.layers:
        if type(layer.op) in table:
            added[layer.kind] += table[type(layer.op)](layer)
    return {kind: count for kind, count in added.items() if count}


def count_with(tool: str, source: Spec | Graph, size: tuple[int, int] = (512, 1024)) -> Opinion:
    """Count a network for an image of `size` = (height, width) with `fvcore`, `ptflops` or `torch`.

    Raises ZooError for a tool that is not known, and
    SpecError for a size that does not suit the network.

    >>> from zoo.models.espnet import ESPNetSpec
    >>> count_with("torch", ESPNetSpec(), (64, 64))[:3]
    ('torch', 27110592, 54221184)
    """
    if tool not in TOOLS:
        raise ZooError(f"counter {tool!r} is unknown; {did_you_mean(tool, TOOLS)}")
    # The meta device holds shapes without numbers: nothing is allocated or computed.
    with torch.device("meta"):
        network = build(source, size).eval()
    if tool != "torch":  # fvcore traces, and ptflops would also count what the meta device does
        network = network.to_empty(device="cpu")
    image = torch.zeros(1, *_dims(network.graph), device=next(network.parameters()).device)
    with torch.inference_mode():
        macs, total = TOOLS[tool](network, image)
    return Opinion(tool, macs, total, NOTES[tool])


def _dims(graph: Graph) -> tuple[int, int, int]:
    shape = graph.input_shape
    return shape.channels, shape.height, shape.width


def _with_torch(network: Network, image: torch.Tensor) -> tuple[int, int]:
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        network(image)
    total = int(counter.get_total_flops())
    return total // 2, total


def _with_fvcore(network: Network, image: torch.Tensor) -> tuple[int, int]:
    from fvcore.nn import FlopCountAnalysis

    analysis = FlopCountAnalysis(network, image).unsupported_ops_warnings(False).uncalled_modules_warnings(False)
    by_operator = analysis.by_operator()
    return int(by_operator["conv"] + by_operator["linear"] + by_operator["addmm"]), int(analysis.total())


def _with_ptflops(network: Network, image: torch.Tensor) -> tuple[int, int]:
    from ptflops import get_model_complexity_info
    from ptflops.pytorch_ops import MODULES_MAPPING

    def run(**options: Any) -> int:
        hooks = {Linear: _count_linear}
        count, _ = get_model_complexity_info(
            network,
            tuple(image.shape[1:]),
            as_strings=False,
            print_per_layer_stat=False,
            custom_modules_hooks=hooks,
            **options,
        )
        if count is None:
            raise ZooError("ptflops could not count this network; use --count-with fvcore or torch")
        return int(count)

    multiplying = (nn.Conv2d, nn.ConvTranspose2d)
    other_kinds = [kind for kind in MODULES_MAPPING if kind not in multiplying]
    biases = sum(_bias(layer) for layer in network.graph.layers)
    convolutions = run(ignore_modules=other_kinds, backend_specific_config={"count_functional": False})
    return convolutions - biases, run()


def _count_linear(module: Any, inputs: Any, output: torch.Tensor) -> None:
    module.__flops__ += module.weight.numel() + (0 if module.bias is None else output.numel())


TOOLS: Mapping[str, Callable[[Network, torch.Tensor], tuple[int, int]]] = {
    "fvcore": _with_fvcore,
    "ptflops": _with_ptflops,
    "torch": _with_torch,
}
"""Each counter by its name: MACs of convolutions and linear layers, and the reported total."""
