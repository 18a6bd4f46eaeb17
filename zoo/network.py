"""The torch module of a graph: each layer becomes a submodule under its own dotted name.

The parameters' names are therefore the layers' names, which are those of the released checkpoints.
Nothing about a network is decided here: `zoo.op_modules.MODULES` says once what each op is in torch, and the forward
pass runs the graph's layers in order. No size is baked in, so a module takes any size its graph allows.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from zoo import graph as ops
from zoo.errors import ZooError
from zoo.graph import Graph, Layer
from zoo.op_modules import FIXED_SIZES, MODULES, Linear, averaging
from zoo.registry import lower
from zoo.specs import Spec

__all__ = [
    "FIXED_SIZES",
    "MODULES",
    "Linear",
    "Network",
    "Step",
    "averaging",
    "build",
    "flush_subnormals_",
    "module_from_graph",
    "module_of",
    "place",
    "steps",
]

INDICES = ":indices"
"""Suffix of the tensor that holds the positions a max pooling took its values from."""

RECTIFIERS = (ops.PReLU, ops.ReLU, ops.ELU, ops.ReLU6, ops.HardSwish, ops.SiLU)
"""Activations that halve the variance of what they are given."""


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a forward pass: run the submodule at `path`, then let go of `done`."""

    path: tuple[str, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    done: tuple[str, ...]


class Network(nn.Module):
    """A graph as a torch module.

    Takes one float32 tensor (N, 3, H, W) for each of the graph's inputs. Returns the output (N, C, H', W'),
    or a tuple of them where the graph has several; `graph.output_shapes` are their shapes at its own size.
    `get_submodule(layer.name)` is the module of a layer.
    """

    def __init__(self, graph: Graph, spec: Spec | None = None) -> None:
        super().__init__()
        self.graph = graph
        self.spec = spec
        self._entries = tuple(x.name for x in graph.layers if isinstance(x.op, ops.Input))
        self._steps = steps(graph)
        remembered = {x.inputs[1] for x in graph.layers if isinstance(x.op, ops.MaxUnpool)}
        rectified = {x.inputs[0] for x in graph.layers if isinstance(x.op, RECTIFIERS)}
        for layer in graph.layers:
            if not isinstance(layer.op, ops.Input):
                module = module_of(layer, remember=layer.name in remembered, rectified=layer.name in rectified)
                place(self, layer.name, module)

    def forward(self, *images: Tensor) -> Tensor | tuple[Tensor, ...]:
        """Run the layers in order; each tensor is freed after its last use."""
        values = dict(zip(self._entries, images, strict=True))
        for step in self._steps:
            # Found by name in every pass: a replica, or a swapped submodule, must be the one that runs.
            module: Any = self
            for name in step.path:
                module = getattr(module, name)
            result = module(*[values[name] for name in step.inputs])
            results = (result,) if len(step.outputs) == 1 else result
            values.update(zip(step.outputs, results, strict=True))
            del result, results
            for name in step.done:
                del values[name]
        outputs = tuple(values[name] for name in self.graph.outputs)
        return outputs[0] if len(outputs) == 1 else outputs


def steps(graph: Graph) -> tuple[Step, ...]:
    """Order of work: who reads what, and what may be forgotten when."""
    reads, writes = [], []
    layers = [x for x in graph.layers if not isinstance(x.op, ops.Input)]
    remembered = {x.inputs[1] for x in layers if isinstance(x.op, ops.MaxUnpool)}
    for layer in layers:
        inputs = layer.inputs
        if isinstance(layer.op, ops.MaxUnpool):
            inputs = (inputs[0], inputs[1] + INDICES, inputs[2])
        reads.append(inputs)
        writes.append((layer.name, layer.name + INDICES) if layer.name in remembered else (layer.name,))
    last = {name: i for i in range(len(layers)) for name in (*reads[i], *writes[i])}
    last |= dict.fromkeys(graph.outputs, len(layers))
    return tuple(
        Step(
            path=tuple(layer.name.split(".")),
            inputs=reads[i],
            outputs=writes[i],
            done=tuple(name for name in dict.fromkeys((*reads[i], *writes[i])) if last[name] == i),
        )
        for i, layer in enumerate(layers)
    )


def module_of(layer: Layer, *, remember: bool = False, rectified: bool = False) -> nn.Module:
    """Make the module of one layer, initialised; a MaxPool that has to `remember` also returns its positions.

    Weights are normal with variance 1 / fan-in, and 2 / fan-in where a rectifier follows (He et al.,
    arXiv:1502.01852, section 2.2); the fan-in is the MACs for one output value. Biases are zero. Raises
    ZooError for an op that torch does not have here.
    """
    make = MODULES.get(type(layer.op))
    if make is None:
        raise ZooError(f"{layer.name}: {layer.kind} has no torch module; add it to zoo.network.MODULES")
    module = make(layer.op, *layer.in_shapes)
    if isinstance(module, nn.MaxPool2d):
        module.return_indices = remember
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
        nn.init.normal_(module.weight, std=math.sqrt((1 + rectified) * layer.out_shape.elements / layer.macs))
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    return module


def place(root: nn.Module, path: str, module: nn.Module) -> None:
    """Make `module` the submodule of `root` at a dotted path, with plain modules in between."""
    *parents, leaf = path.split(".")
    for name in parents:
        if name not in root._modules:
            root.add_module(name, nn.Module())
        root = root.get_submodule(name)
    for name, child in root._modules.get(leaf, nn.Module()).named_children():  # type: ignore[union-attr]
        module.add_module(name, child)
    root.add_module(leaf, module)


def module_from_graph(graph: Graph) -> Network:
    """Torch module of a graph, initialised from torch's random generator, in training mode."""
    return Network(graph)


def build(source: Spec | Graph, size: tuple[int, int] = (512, 1024)) -> Network:
    """Torch module of a spec or a graph, initialised from torch's random generator, in training mode.

    `size` = (height, width) is where a spec is lowered for `module.graph`; the module takes other sizes too.
    Raises SpecError where the size does not suit the network.

    >>> from zoo.models.espnet import ESPNetSpec
    >>> module = build(ESPNetSpec(variant="C", alpha3=3)).eval()
    >>> sum(p.numel() for p in module.parameters()) == module.graph.params
    True
    >>> tuple(module(torch.zeros(1, 3, 64, 128)).shape)
    (1, 20, 8, 16)
    """
    return Network(source) if isinstance(source, Graph) else Network(lower(source, size), source)


State = TypeVar("State", nn.Module, Mapping[str, Tensor])


def flush_subnormals_(state: State) -> State:
    """Set values below the smallest normal float32 to zero, in place; returns its argument.

    Weight decay leaves such values in checkpoints; they slow a CPU several times and change no prediction.
    """
    tensors = state.state_dict() if isinstance(state, nn.Module) else state
    for tensor in tensors.values():
        if tensor.is_floating_point():
            tensor.masked_fill_(tensor.abs() < torch.finfo(torch.float32).tiny, 0.0)
    return state
