"""Scores of a network on a split: one pooled confusion matrix at the labels' own resolution."""

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from zoo.data.classes import LabelMap, LabelSet
from zoo.data.split import Pixels, Split
from zoo.errors import ZooError, did_you_mean
from zoo.evaluate.calibration import Calibration
from zoo.evaluate.metrics import VOID, Labels, Matrix, Scores, confusion, merged, near_boundary
from zoo.inference.label_map import labels_of
from zoo.inference.preprocess import Preprocessing, network_input
from zoo.inference.segment import Run, logits_of, plain
from zoo.memory import inference_bytes, refuse_beyond
from zoo.reading import opened
from zoo.registry import lower

Size = tuple[int, int]
Scoring = Literal["zoo", "authors"]

INPUT_BYTES = 36
"""Memory for each pixel of a network's input while it is made: three floats, three times."""

BOUNDARY_PIXELS = 3
"""Half width of the band along the truth's boundaries in which the boundary score is taken."""


@dataclass(frozen=True, slots=True)
class Scored:
    """A network to be scored.

    logits: (1, 3, h, w) -> (outputs, h', w'), which the next call may overwrite. labels: the classes of its
    first outputs; one more output is void. fixed_size: (height, width) where it takes no other. memory: bytes that
    it needs at (height, width), where that is known. gives_labels: whether `logits` are but 1 for the class that it
    took and 0 for the others, as of a file with the arg-max inside.
    """

    name: str
    logits: Callable[[Tensor], Tensor]
    preprocessing: Preprocessing
    labels: LabelSet
    sha256: str | None = None
    fixed_size: Size | None = None
    backend: str = "torch"
    memory: Callable[[Size], int] | None = None
    gives_labels: bool = False


@dataclass(frozen=True, slots=True)
class Protocol:
    """How it is scored.

    size: (height, width) of the network's input, instead of its preprocessing's. mapping: from the network's
    classes to the data set's. scoring: "zoo" leaves void pixels out and takes the arg-max over the classes;
    "authors" counts void as one more class, as the released ESPNet code does, and means the others' IOUs.
    flip: the mean of the logits of the image and of its mirror image. boundary: also score the pixels
    near a boundary. calibration: also how far the probabilities can be believed (`zoo.evaluate.calibration`).
    """

    size: Size | None = None
    mapping: LabelMap | None = None
    scoring: Scoring = "zoo"
    flip: bool = False
    boundary: bool = False
    calibration: bool = False

    def __post_init__(self) -> None:
        if self.calibration and (self.mapping or self.scoring != "zoo"):
            raise ZooError(
                "calibration is of the network's own classes without void; leave out --map and --protocol authors, "
                "or --calibration"
            )


DEFAULT = Protocol()


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Scores in percent, and everything that they depend on."""

    labels: LabelSet
    scores: Scores
    boundary: Scores | None
    images: int
    protocol: dict[str, Any] = field(default_factory=dict)
    calibration: dict[str, Any] | None = None

    @property
    def category_miou(self) -> float | None:
        """Mean IOU of the coarser categories; None where the label set has none."""
        if not self.labels.groups:
            return None
        names = self.labels.categories
        groups: list[int | None] = [names.index(group) for group in self.labels.groups]
        groups += [None] * (len(self.scores.matrix) - len(groups))
        return Scores(merged(self.scores.matrix, groups)).miou

    def document(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "miou": self.scores.miou,
            "class_average": self.scores.class_average,
            "pixel_accuracy": self.scores.pixel_accuracy,
            "per_class_iou": dict(zip(self.labels.classes, self.scores.per_class_iou, strict=True)),
            "category_miou": self.category_miou,
            "boundary_miou": self.boundary.miou if self.boundary else None,
            "calibration": self.calibration,
            "images": self.images,
            "protocol": self.protocol,
        }


Visit = Callable[[int, Pixels, Labels, Labels], None]
"""Is shown each sample: index, image, truth, prediction."""


def evaluate(
    network: Scored, data: Split, protocol: Protocol = DEFAULT, *, visit: Visit = lambda *sample: None
) -> Evaluation:
    """Score a network on every sample of a split.

    Raises ZooError where the network's classes are not the data set's and no mapping is given.
    """
    chosen, groups = outputs(network.labels, data.labels, protocol)
    classes = len(data.labels.classes)
    count = classes + (protocol.scoring == "authors")
    size = network.fixed_size or protocol.size or network.preprocessing.size
    if size:
        _check_memory(network, size)
    believed = Calibration() if protocol.calibration else None
    total, edges = np.zeros((count, count), np.int64), np.zeros((count, count), np.int64)
    with torch.inference_mode():
        for index in range(len(data)):
            image, truth = data.load(index)
            logits = _logits(network, image, size, flip=protocol.flip)
            class_logits = logits[
                [i for i in chosen if i < len(logits)]
            ]  # networks without an output for void have one less
            predicted = groups[labels_of(class_logits, (truth.shape[0], truth.shape[1]))]
            visit(index, image, truth, predicted)
            if believed:
                believed.see(index, class_logits, truth)
            if protocol.scoring == "authors":
                truth = np.where(truth == VOID, classes, truth)
            total += confusion(truth, predicted, count)
            if protocol.boundary:
                near = near_boundary(truth, BOUNDARY_PIXELS)
                edges += confusion(np.where(near, truth, VOID), predicted, count)
    boundary = Scores(edges, classes) if protocol.boundary else None
    description = _said(network, data, protocol, size)
    calibration = believed.document() if believed else None
    return Evaluation(data.labels, Scores(total, classes), boundary, len(data), description, calibration)


def _check_memory(network: Scored, size: Size) -> None:
    """Raise ZooError where memory does not suffice for the input and the network."""
    needed = INPUT_BYTES * size[0] * size[1] + (network.memory(size) if network.memory else 0)
    refuse_beyond(needed, f"{network.name} at {size[1]}x{size[0]}", "give a smaller --size")


def outputs(source: LabelSet, target: LabelSet, protocol: Protocol) -> tuple[list[int], Labels]:
    """Which outputs take part in the arg-max, and the class of `target` that each of them stands for."""
    if protocol.mapping is None:
        if source.classes != target.classes:
            raise ZooError(
                f"the network's classes are {source.name}'s and the data's {target.name}'s; "
                f"give --map {source.name}-{target.name}, or another declared one"
            )
        count = len(target.classes) + (protocol.scoring == "authors")
        return list(range(count)), np.arange(count, dtype=np.uint8)
    if (protocol.mapping.source.name, protocol.mapping.target.name) != (source.name, target.name):
        raise ZooError(
            f"the map {protocol.mapping.name} does not lead from the network's classes ({source.name}) to the data's "
            f"({target.name}); {did_you_mean(f'{source.name}-{target.name}', [protocol.mapping.name])}"
        )
    pairs = [(i, j) for i, j in enumerate(protocol.mapping.indices) if j is not None]
    return [i for i, _ in pairs], np.array([j for _, j in pairs], np.uint8)


def _logits(network: Scored, image: Pixels, size: Size | None, *, flip: bool) -> Tensor:
    x = network_input(image, network.preprocessing, size or (image.shape[0], image.shape[1]))
    if not flip:
        return network.logits(x)
    return (network.logits(x).clone() + network.logits(x.flip(3)).flip(2)) / 2


def _said(network: Scored, data: Split, protocol: Protocol, size: Size | None) -> dict[str, Any]:
    return {
        "network": network.name,
        "weights_sha256": network.sha256,
        "backend": network.backend,
        "dataset": data.name,
        "split": data.split,
        "labels": data.labels.name,
        "map": protocol.mapping.name if protocol.mapping else None,
        "input_size": f"{size[1]}x{size[0]}" if size else "the image's own",
        "labels_at": "their own resolution",
        "upsampling": "logits bilinear, half-pixel centres, before the arg-max",
        "argmax_over": "classes and void" if protocol.scoring == "authors" else "classes",
        "void": "counted as a class, not in the mean" if protocol.scoring == "authors" else "ignored",
        "pooling": "one confusion matrix over the split",
        "flip": protocol.flip,
        "boundary_pixels": BOUNDARY_PIXELS if protocol.boundary else None,
        "scoring": protocol.scoring,
    }


def module_scored(
    name: str,
    module: Any,
    labels: LabelSet,
    sha256: str | None = None,
    *,
    run: Run | None = None,
    backend: str = "torch",
) -> Scored:
    """A module with weights and `module.preprocessing`, in evaluation mode; `run` of a `backend` may run it."""
    chosen = run or plain(module)
    spec = getattr(module, "spec", None)
    memory = None if spec is None else lambda size: inference_bytes(lower(spec, size))
    return Scored(
        name, lambda x: logits_of(chosen, x), module.preprocessing, labels, sha256, backend=backend, memory=memory
    )


def sha256_of(path: Path) -> str:
    """Hash of a file."""
    digest = hashlib.sha256()
    with opened(path, ZooError) as file:
        while block := file.read(2**20):
            digest.update(block)
    return digest.hexdigest()


def pooled(
    logits: Callable[[Tensor], Tensor],
    load: Callable[[int], tuple[Pixels, Pixels]],
    indices: Iterable[int],
    classes: int,
) -> Matrix:
    """Confusion matrix over samples, void left out, arg-max over the first `classes` outputs.

    logits: (1, H, W, 3) uint8 -> (outputs, h, w).
    """
    total = np.zeros((classes, classes), np.int64)
    with torch.inference_mode():
        for index in indices:
            image, truth = load(index)
            predicted = labels_of(logits(torch.from_numpy(image)[None])[:classes], (truth.shape[0], truth.shape[1]))
            total += confusion(truth, predicted, classes)
    return total
