"""Channels that change nothing, removed: the network computes what it did, and is smaller.

A channel goes where nobody needs it, or where it holds a constant that its readers take in as a bias: 1x1
convolutions always, larger ones only where the constant is zero, because zero padding is no constant. A channel that
is added to one that varies stays, and so do the channels of grouped convolutions.
"""

import copy
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from zoo import graph as ops
from zoo.errors import ZooError
from zoo.graph import Graph, Layer
from zoo.inference.preprocess import network_input
from zoo.models.pruned import WEIGHTED, PrunedSpec, is_depthwise, is_fixed, required
from zoo.network import Network, build
from zoo.passes import CARRIED
from zoo.passes.constants import absorbed, constants, dead_channels, read_channels, taps
from zoo.passes.rewrite import State
from zoo.specs import Spec

NEAR_ZERO = (1e-6, 1e-8, 1e-10, 0.0)
"""BN scales, and constants, that count as zero: the first at which the outputs stay within `TOLERANCE`."""

TOLERANCE = 1e-5
"""Largest difference between the outputs before and after."""

WORTH_A_COPY = 0.6
"""A residual sum gets a copy of its input's needed channels where they are at most this share of all."""

WORTH: Mapping[type[Any], float] = {ops.BatchNorm: 1.0, ops.Concat: 1.0, ops.Add: WORTH_A_COPY}
"""Share of an input's channels up to which an op gets a copy of those it needs; other ops never do."""

Masks = dict[str, Tensor]
"""For each layer whether each output channel is needed, (C,) bool."""


@dataclass(frozen=True, slots=True)
class Dead:
    """Dead channels of one batch normalisation: how many were removed, and how many stay, by reason."""

    name: str
    channels: int
    dead: int
    removed: int
    stayed: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Pruned:
    """A network without dead channels, and what became of each batch normalisation that has some.

    near_zero: largest scale that counts as zero. max_abs_diff: largest difference between the outputs of both on
    random pixels in double precision, which leaves out what the order of summation does. rounding: the same in
    single precision.
    """

    network: Network
    layers: tuple[Dead, ...]
    near_zero: float
    max_abs_diff: float
    rounding: float

    @property
    def spec(self) -> PrunedSpec:
        """The spec that makes the network again."""
        assert isinstance(self.network.spec, PrunedSpec)
        return self.network.spec

    @property
    def dead(self) -> int:
        """Dead channels."""
        return sum(layer.dead for layer in self.layers)

    @property
    def removed(self) -> int:
        """Dead channels that were removed."""
        return sum(layer.removed for layer in self.layers)

    @property
    def stayed(self) -> dict[str, int]:
        """Dead channels that stay, by reason."""
        total: Counter[str] = Counter()
        for layer in self.layers:
            total.update(layer.stayed)
        return dict(total)


def prune(network: Network, near_zero: float | None = None, *, only_faster: bool = False) -> Pruned:
    """A new network without the channels that change nothing; `network` is left alone.

    Its spec is a `PrunedSpec`, from which `zoo.build` makes it again. near_zero: the BN scales that count as zero,
    by default the first of `NEAR_ZERO` that leaves the outputs within `TOLERANCE`. only_faster: keep dead channels
    where a copy of the others would move more bytes than it saves. Raises ZooError for a network without a
    spec, for one that is pruned already, and where the outputs differ by more.
    """
    if network.spec is None or isinstance(network.spec, PrunedSpec):
        raise ZooError("only a whole network with a spec can be pruned; give the one that this network is made of")
    for scale in NEAR_ZERO if near_zero is None else (near_zero,):
        pruned = _pruned(network, network.spec, scale, WORTH_A_COPY if only_faster else 1.0)
        if pruned.max_abs_diff <= TOLERANCE:
            return pruned
    raise ZooError(f"without the channels the outputs differ by {pruned.max_abs_diff:g}, more than {TOLERANCE:g}")


@torch.no_grad()
def _pruned(network: Network, whole: Spec, near_zero: float, worth: float) -> Pruned:
    graph, state = network.graph, {name: value.detach().cpu() for name, value in network.state_dict().items()}
    constant_values = constants(graph, state, near_zero)
    masks = needed(graph, state, constant_values, worth)
    removed = tuple((name, tuple((~mask).nonzero()[:, 0].tolist())) for name, mask in masks.items() if not mask.all())
    biases = {
        layer.name: bias
        for layer in graph.layers
        if (bias := _folded(layer, state, constant_values, masks)) is not None
    }
    narrow = build(PrunedSpec(whole, removed, tuple(biases)), (graph.input_shape.height, graph.input_shape.width))
    narrow.load_state_dict(_narrow_state(graph, narrow.graph, state, masks, biases))
    for attribute in (*CARRIED, "label_set"):
        if hasattr(network, attribute):
            setattr(narrow, attribute, getattr(network, attribute))
    image = _image(network)
    report = tuple(dead_layers(graph, state, constant_values, masks, near_zero))
    return Pruned(
        narrow.eval(), report, near_zero, _apart(network, narrow, image.double()), _apart(network, narrow, image)
    )


def _image(network: Network) -> Tensor:
    """Random pixels as the network's preprocessing makes them, or normal numbers; the same every time."""
    shape = network.graph.input_shape
    rng = np.random.default_rng(0)
    preprocessing = getattr(network, "preprocessing", None)
    if preprocessing is None:
        return torch.from_numpy(rng.standard_normal((1, shape.channels, shape.height, shape.width), np.float32))
    pixels = rng.integers(0, 256, (shape.height, shape.width, 3), dtype=np.uint8)
    return network_input(pixels, preprocessing, (shape.height, shape.width))


def _apart(before: Network, after: Network, image: Tensor) -> float:
    """Largest absolute difference between the outputs of two networks, computed in the precision of `image`."""
    outputs = [copy.deepcopy(network).cpu().eval().to(image.dtype)(image) for network in (before, after)]
    pairs = zip(*((x,) if isinstance(x, Tensor) else x for x in outputs), strict=True)
    return max(float((a - b).abs().max()) for a, b in pairs)


def needed(graph: Graph, state: State, constant_values: Mapping[str, Tensor], worth: float = 1.0) -> Masks:
    """The channels that must remain, so that each layer gets those it reads; at least one of each layer.

    A batch normalisation or a concatenation gets a copy of the channels that it needs where they are less than the
    share `worth` of its input's; otherwise it takes them all. Masks only grow, from the outputs to the image, until no
    layer asks for more.
    """
    masks = {layer.name: torch.zeros(layer.out_shape.channels, dtype=torch.bool) for layer in graph.layers}
    for name in graph.outputs:
        masks[name][:] = True
    before = -1
    while (count := sum(int(mask.sum()) for mask in masks.values())) != before:
        before = count
        for layer in reversed(graph.layers):
            _ask(layer, masks, state, constant_values)
        for layer in reversed(graph.layers):
            _widen(layer, masks, worth)
    return masks


def _ask(layer: Layer, masks: Masks, state: State, constant_values: Mapping[str, Tensor]) -> None:
    """Mark what a layer needs of its inputs, for the output channels that are needed of it."""
    mask = masks[layer.name]
    if is_fixed(layer) or isinstance(layer.op, ops.Input):
        mask[:] = True
    if not mask.any():
        mask[0] = True
    for name, needs in zip(layer.inputs, required(layer, mask.nonzero()[:, 0].tolist()), strict=True):
        if needs is not None:
            masks[name][list(needs)] = True
        elif isinstance(layer.op, WEIGHTED):
            masks[name] |= _read(layer, state, constant_values[name], mask)


def _read(layer: Layer, state: State, values: Tensor, mask: Tensor) -> Tensor:
    """Input channels that a dense layer reads for its needed outputs and that no bias can stand for."""
    read = read_channels(state[f"{layer.name}.weight"], layer)[mask].any(0)
    return read & absorbed(values, layer).isnan()


def _widen(layer: Layer, masks: Masks, worth: float) -> None:
    """Let a layer take all of what its inputs hold where a copy of the needed channels does not pay."""
    if isinstance(layer.op, WEIGHTED) and not is_depthwise(layer):
        return
    mask = masks[layer.name]
    limit = WORTH.get(type(layer.op), 0.0) if worth == 1.0 else min(worth, WORTH.get(type(layer.op), 0.0))
    for i, (name, needs) in enumerate(zip(layer.inputs, required(layer, mask.nonzero()[:, 0].tolist()), strict=True)):
        if needs is not None and len(needs) > limit * masks[name].sum():
            start = _offset(layer, i)
            mask[start : start + len(masks[name])] |= masks[name]


def _folded(layer: Layer, state: State, constant_values: Mapping[str, Tensor], masks: Masks) -> Tensor | None:
    """What the removed constant channels of a dense layer's input added to each output, (out,); None for nothing."""
    if not isinstance(layer.op, WEIGHTED) or is_fixed(layer) or is_depthwise(layer):
        return None
    (name,) = layer.inputs
    removed = ~masks[name] & (constant_values[name].nan_to_num() != 0)
    share = taps(state[f"{layer.name}.weight"], layer).sum(2)[:, removed] @ constant_values[name][removed]
    return share if bool((share[masks[layer.name]] != 0).any()) else None


def _narrow_state(
    graph: Graph, narrow: Graph, state: State, masks: Masks, biases: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    present = {layer.name for layer in narrow.layers}
    tensors: dict[str, Tensor] = {}
    for layer in graph.layers:
        if layer.name in present:
            own = {key: value for key, value in state.items() if key.rpartition(".")[0] == layer.name}
            if layer.name in biases:
                bias = own.get(f"{layer.name}.bias", torch.zeros(layer.out_shape.channels))
                own[f"{layer.name}.bias"] = (bias.double() + biases[layer.name]).to(bias)
            tensors |= {key: _cut(layer, value, masks) for key, value in own.items()}
    return tensors


def _cut(layer: Layer, tensor: Tensor, masks: Masks) -> Tensor:
    out = masks[layer.name]
    if tensor.dim() == 0:
        return tensor
    if tensor.dim() == 1 or is_fixed(layer) or is_depthwise(layer):
        return tensor[out]
    entry = masks[layer.inputs[0]]
    if isinstance(layer.op, ops.ConvTranspose):
        return tensor[entry][:, out]
    if isinstance(layer.op, ops.Linear):
        return tensor[out].reshape(int(out.sum()), len(entry), -1)[:, entry].flatten(1)
    return tensor[out][:, entry]


REASONS: Mapping[str, str] = {
    "borders": "a window reads its constant, which is not zero, beside zero padding",
    "sum": "it is added to a channel that varies",
    "fixed": "a grouped convolution or a shuffle fixes the number of channels",
    "output": "it is an output",
    "shared": "the channels beside it stay, and a copy of them costs more than it",
}
"""Why a dead channel stays."""


def dead_layers(
    graph: Graph, state: State, constant_values: Mapping[str, Tensor], masks: Masks, tolerance: float
) -> Iterator[Dead]:
    """What became of the dead channels of each batch normalisation that has some."""
    readers: dict[str, list[Layer]] = {}
    for layer in graph.layers:
        for name in dict.fromkeys(layer.inputs):
            readers.setdefault(name, []).append(layer)
    for name, dead in dead_channels(graph, state, tolerance).items():
        stays = (dead & masks[name]).nonzero()[:, 0].tolist()
        why = Counter(_reason(name, i, graph, readers, state, constant_values, masks) for i in stays)
        if dead.any():
            yield Dead(name, len(dead), int(dead.sum()), int(dead.sum()) - len(stays), dict(why))


def _reason(
    name: str,
    channel: int,
    graph: Graph,
    readers: Mapping[str, list[Layer]],
    state: State,
    constant_values: Mapping[str, Tensor],
    masks: Masks,
) -> str:
    """Follow a constant channel to the first reader that needs it."""
    if name in graph.outputs:
        return "output"
    for layer in readers.get(name, []):
        if is_fixed(layer):
            return "fixed"
        if isinstance(layer.op, WEIGHTED) and not is_depthwise(layer):
            if _read(layer, state, constant_values[name], masks[layer.name])[channel]:
                return "borders"
            continue
        at = channel + _offset(layer, layer.inputs.index(name))
        if not masks[layer.name][at]:
            continue
        if constant_values[layer.name][at].isnan():
            return "sum"
        reason = _reason(layer.name, at, graph, readers, state, constant_values, masks)
        if reason != "shared":
            return reason
    return "shared"


def _offset(layer: Layer, i: int) -> int:
    """Where the channels of input `i` begin in the output."""
    return sum(shape.channels for shape in layer.in_shapes[:i]) if isinstance(layer.op, ops.Concat) else 0
