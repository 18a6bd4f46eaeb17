"""Where a run starts: a network for the data's classes, with the weights it is given."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from zoo import spec as with_changes
from zoo.data.labels import LabelSet
from zoo.network import Network, build
from zoo.preprocess import Preprocessing
from zoo.spec import Spec
from zoo.train.transfer import Transfer, classes_between, transfer_

SCRATCH = Preprocessing(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
"""What a network that starts without weights expects: the channel statistics of ImageNet."""


@dataclass(frozen=True, slots=True)
class Start:
    """Weights to start from: their tensors, number of outputs, classes, and preprocessing."""

    state: Mapping[str, Tensor]
    outputs: int
    labels: LabelSet
    preprocessing: Preprocessing


@dataclass(frozen=True, slots=True)
class Begun:
    """A network ready to be trained, and what became of its tensors; None where it starts from random ones."""

    module: Network
    spec: Spec
    preprocessing: Preprocessing
    transfer: Transfer | None


def begin(spec: Spec, labels: LabelSet, size: tuple[int, int], seed: int, start: Start | None = None) -> Begun:
    """A network of `spec` for the classes of `labels` and images of `size`; random weights come from `seed`.

    Raises SpecError where the size does not suit the network, ZooError where no tensor of `start` fits.
    """
    spec = with_changes(spec, classes=len(labels.classes))
    torch.manual_seed(seed)
    module = build(spec, size)
    if start is None:
        return Begun(module, spec, replace(SCRATCH, size=size), None)
    done = transfer_(module, start.state, classes_between(start.labels, start.outputs, labels))
    return Begun(module, spec, replace(start.preprocessing, size=size), done)
