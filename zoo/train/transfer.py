"""Weights of one network into another whose shapes, or whose classes, only partly agree."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from zoo.data.labels import LABEL_MAPS, LabelSet
from zoo.errors import ZooError

ENCODER = "encoder."
"""Prefix of the encoder's names inside a network with a decoder."""

State = Mapping[str, Tensor]


@dataclass(frozen=True, slots=True)
class Transfer:
    """What became of a network's tensors: copied whole, copied class by class, or left as they were."""

    copied: tuple[str, ...]
    by_class: tuple[str, ...]
    fresh: tuple[str, ...]

    def __str__(self) -> str:
        return f"{len(self.copied)} tensors copied, {len(self.by_class)} by class, {len(self.fresh)} fresh"


def class_sources(source: LabelSet, target: LabelSet) -> tuple[int | None, ...]:
    """For each class of `target` the class of `source` to start from: the first mapped to it, else its namesake."""
    declared = LABEL_MAPS.get(f"{source.name}-{target.name}")
    onto = declared.indices if declared else [target.classes.index(c) if c in target.classes else None for c in source.classes]
    return tuple(next((i for i, t in enumerate(onto) if t == j), None) for j in range(len(target.classes)))


def transfer_(
    module: nn.Module, state: State, classes: tuple[int, int] | None = None, sources: Sequence[int | None] = ()
) -> Transfer:
    """Copy what fits from `state` into `module`, in place.

    Names match exactly or up to the encoder's prefix. With `classes` = (source, target) outputs, an axis of
    these lengths is copied class by class after `sources`, the source class of each target class. Raises
    ZooError where nothing fits.
    """
    own = {k: v for k, v in module.state_dict().items() if not k.endswith("num_batches_tracked")}
    state = _renamed(state, own)
    kinds: dict[str, list[str]] = {"copied": [], "by_class": [], "fresh": []}
    with torch.no_grad():
        for name, tensor in own.items():
            kinds[_copy(tensor, state.get(name), classes, sources)].append(name)
    if not kinds["copied"]:
        raise ZooError("--init: no tensor of these weights fits the network; choose weights of the same family")
    return Transfer(*(tuple(kinds[key]) for key in ("copied", "by_class", "fresh")))


def _renamed(state: State, own: State) -> State:
    """The state under the names of the network, the encoder's prefix added or removed where that fits more of them."""
    added = {ENCODER + k: v for k, v in state.items()}
    removed = {k.removeprefix(ENCODER): v for k, v in state.items() if k.startswith(ENCODER)}
    return max((state, added, removed), key=lambda names: len(own.keys() & names.keys()))


def _copy(
    target: Tensor, source: Tensor | None, classes: tuple[int, int] | None, sources: Sequence[int | None]
) -> str:
    if source is None or source.dim() != target.dim():
        return "fresh"
    if source.shape == target.shape and (classes is None or classes[0] == classes[1]):
        target.copy_(source)
        return "copied"
    pairs = list(zip(source.shape, target.shape, strict=True))
    if source.shape == target.shape:
        target.copy_(source)
        return "copied"
    if classes is None or any(s != t and (s, t) != classes for s, t in pairs):
        return "fresh"
    known = [j for j, i in enumerate(sources) if i is not None]
    from_ = [i for i in sources if i is not None]
    for axis, (s, t) in enumerate(pairs):
        if s != t:
            source = source.index_select(axis, torch.tensor(from_))
    index = [torch.tensor(known) if s != t else torch.arange(t) for s, t in pairs]
    target[torch.meshgrid(*index, indexing="ij")] = source
    return "by_class"
