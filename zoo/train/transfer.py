"""Weights of one network into another whose shapes, or whose classes, only partly agree."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from zoo.data.classes import LABEL_MAPS, LabelSet
from zoo.errors import ZooError

ENCODER = "encoder."
"""Prefix of the encoder's names inside a network with a decoder."""

COUNTER = "num_batches_tracked"
"""Last part of the names of BN counters, which are no weights."""

State = Mapping[str, Tensor]


@dataclass(frozen=True, slots=True)
class Classes:
    """Outputs before and after, and for each output after, the one before that it starts from, if any."""

    before: int
    after: int
    sources: tuple[int | None, ...]


@dataclass(frozen=True, slots=True)
class Transfer:
    """What became of a network's tensors: copied whole, copied class by class, or left as they were."""

    copied: tuple[str, ...]
    by_class: tuple[str, ...]
    fresh: tuple[str, ...]

    def __str__(self) -> str:
        return f"{len(self.copied)} tensors copied, {len(self.by_class)} by class, {len(self.fresh)} fresh"


def classes_between(source: LabelSet, outputs: int, target: LabelSet) -> Classes:
    """For each class of `target` the class of `source` to start from: the first one mapped to it, else its namesake."""
    declared = LABEL_MAPS.get(f"{source.name}-{target.name}")
    onto = declared.indices if declared else tuple(_namesake(name, target) for name in source.classes)
    sources = tuple(next((i for i, t in enumerate(onto) if t == j), None) for j in range(len(target.classes)))
    return Classes(outputs, len(target.classes), sources)


def _namesake(name: str, target: LabelSet) -> int | None:
    return target.classes.index(name) if name in target.classes else None


def transfer_(module: nn.Module, state: State, classes: Classes | None = None) -> Transfer:
    """Copy what fits from `state` into `module`, in place.

    Names match exactly or up to the encoder's prefix. Where shapes differ only in axes that count the
    classes, those are copied class by class. Raises ZooError where nothing fits.
    """
    own = {name: tensor for name, tensor in module.state_dict().items() if not name.endswith(COUNTER)}
    renamed = _renamed(state, own)
    kinds: dict[str, list[str]] = {"copied": [], "by_class": [], "fresh": []}
    with torch.no_grad():
        for name, tensor in own.items():
            kinds[_copy(tensor, renamed.get(name), classes)].append(name)
    if not kinds["copied"]:
        raise ZooError("no tensor of these weights fits the network; give --init weights of the same family")
    return Transfer(tuple(kinds["copied"]), tuple(kinds["by_class"]), tuple(kinds["fresh"]))


def _renamed(state: State, own: State) -> State:
    """The state with the encoder's prefix added or removed, where more names then are the network's."""
    added = {ENCODER + name: tensor for name, tensor in state.items()}
    removed = {name.removeprefix(ENCODER): tensor for name, tensor in state.items() if name.startswith(ENCODER)}
    return max((state, added, removed), key=lambda names: len(own.keys() & names.keys()))


def _copy(target: Tensor, source: Tensor | None, classes: Classes | None) -> str:
    if source is None or source.dim() != target.dim():
        return "fresh"
    if source.shape == target.shape:
        target.copy_(source)
        return "copied"
    changed = [axis for axis in range(target.dim()) if source.shape[axis] != target.shape[axis]]
    if classes is None or any((source.shape[a], target.shape[a]) != (classes.before, classes.after) for a in changed):
        return "fresh"
    pairs = [(i, j) for j, i in enumerate(classes.sources) if i is not None]
    for axis in changed:
        source = source.index_select(axis, torch.tensor([i for i, _ in pairs]))
    target[_grid(target, changed, [j for _, j in pairs])] = source
    return "by_class"


def _grid(target: Tensor, axes: Sequence[int], chosen: Sequence[int]) -> tuple[Tensor, ...]:
    """Indices of the `chosen` places of some axes and all of the others."""
    index = [torch.tensor(chosen) if a in axes else torch.arange(target.shape[a]) for a in range(target.dim())]
    return torch.meshgrid(*index, indexing="ij")
