"""Where a run starts: a network for the data's classes, with the weights it is given."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from zoo import spec as with_changes
from zoo.build import Network, build
from zoo.data.labels import LabelSet, label_set
from zoo.preprocess import Preprocessing
from zoo.spec import Spec
from zoo.train.transfer import Transfer, class_sources, transfer_

SCRATCH = Preprocessing(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
"""What a network that starts without weights expects: the channel statistics of ImageNet."""


@dataclass(frozen=True, slots=True)
class Start:
    """Weights to start from: their name, tensors, number of outputs, label set, and preprocessing."""

    name: str
    state: Mapping[str, Tensor]
    outputs: int
    labels: str
    preprocessing: Preprocessing


@dataclass(frozen=True, slots=True)
class Begun:
    """A network ready to be trained, and what became of its tensors; None where it starts from random ones."""

    module: Network
    spec: Spec
    preprocessing: Preprocessing
    transfer: Transfer | None


def begin(spec: Spec, labels: LabelSet, size: tuple[int, int], seed: int, start: Start | None = None) -> Begun:
    """A network of `spec` for the classes of `labels`; random weights come from `seed`.

    Raises SpecError where the size does not suit the network, ZooError where no tensor of `start` fits.
    """
    spec = with_changes(spec, classes=len(labels.classes))
    torch.manual_seed(seed)
    module = build(spec, size)
    if start is None:
        return Begun(module, spec, _at(SCRATCH, size), None)
    classes = (start.outputs, len(labels.classes))
    done = transfer_(module, start.state, classes, class_sources(label_set(start.labels), labels))
    return Begun(module, spec, _at(start.preprocessing, size), done)


def _at(preprocessing: Preprocessing, size: tuple[int, int]) -> Preprocessing:
    fields: dict[str, Any] = preprocessing.to_dict() | {"size": list(size)}
    return Preprocessing.from_dict(fields)
