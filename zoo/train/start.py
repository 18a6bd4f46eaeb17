"""Where a run starts: a network for the data's classes, with the weights it is given."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from zoo.data.class_folders import Folders
from zoo.data.classes import LabelSet
from zoo.data.split import Split
from zoo.errors import ZooError
from zoo.inference.preprocess import Preprocessing, network_input
from zoo.memory import refuse_beyond, training_bytes
from zoo.network import Network, build
from zoo.registry import lower, with_changes
from zoo.specs import Spec
from zoo.train.recipe import Recipe
from zoo.train.slicing import Slice, settle_statistics_, sliced
from zoo.train.transfer import ENCODER, Transfer, classes_between, transfer_

SCRATCH = Preprocessing(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225), antialias=True)
"""What a network that starts without weights expects: the channel statistics of ImageNet."""

PICTURES = 32
"""Training images that the BN statistics of a sliced network are made from, one at a time."""

SMALL = 64
"""Images with a shorter side than this may shrink to one answer in a network that segments."""


@dataclass(frozen=True, slots=True)
class Start:
    """Weights to start from: tensors, number of outputs, classes, preprocessing, and the network that they fit."""

    state: Mapping[str, Tensor]
    outputs: int
    labels: LabelSet
    preprocessing: Preprocessing
    spec: Spec | None = None


@dataclass(frozen=True, slots=True)
class Begun:
    """A network ready to be trained, and what became of its tensors; None where it starts from random ones.

    cut: what was sliced out of a larger network.
    """

    module: Network
    spec: Spec
    preprocessing: Preprocessing
    transfer: Transfer | None
    cut: Slice | None = None


def begin(spec: Spec, labels: LabelSet, size: tuple[int, int], seed: int, start: Start | None = None) -> Begun:
    """A network of `spec` for the classes of `labels` and images of `size`; random weights come from `seed`.

    Raises SpecError where the size does not suit the network, ZooError where no tensor of `start` fits.
    """
    spec = with_changes(spec, classes=len(labels.classes))
    graph = lower(spec, size)
    refuse_beyond(5 * graph.weight_bytes, f"a network of {graph.params:,} parameters", "train a smaller one")
    torch.manual_seed(seed)
    module = build(spec, size)
    if start is None:
        return Begun(module, spec, replace(SCRATCH, size=size), None)
    transferred = transfer_(module, start.state, classes_between(start.labels, start.outputs, labels))
    return Begun(module, spec, replace(start.preprocessing, size=size, antialias=True), transferred)


def begin_sliced(
    spec: Spec, data: Split, size: tuple[int, int], seed: int, start: Start, pictures: int = PICTURES
) -> Begun:
    """The same with weights cut out of a wider or deeper network; its BN statistics are made again from `pictures`.

    Raises ZooError where the source is no network of the same family and K that has every layer and channel.
    """
    if start.spec is None:
        raise ZooError("the --init weights don't say of which network they are; leave out --slice")
    narrow = with_changes(spec, classes=start.outputs)
    source, state = _like(narrow, with_changes(start.spec, classes=start.outputs), start.state)
    cut = sliced(narrow, source, state, size)
    begun = begin(spec, data.labels, size, seed, replace(start, state=cut.state))
    places = [int(i * len(data) / pictures) for i in range(min(pictures, len(data)))]
    inputs = (network_input(data.load(i)[0], begun.preprocessing, size) for i in places)
    settle_statistics_(begun.module, inputs)
    return replace(begun, cut=cut)


def _like(target: Spec, source: Spec, state: Mapping[str, Tensor]) -> tuple[Spec, Mapping[str, Tensor]]:
    """The encoder of an ESPNet where the target is an encoder, else the source as it is."""
    variants = getattr(target, "variant", None), getattr(source, "variant", None)
    if target.family != "espnet" or variants != ("C", "ESPNet"):
        return source, state
    own = {name.removeprefix(ENCODER): tensor for name, tensor in state.items() if name.startswith(ENCODER)}
    return with_changes(source, variant="C"), own


def check_task(module: Network, data: Split, recipe: Recipe) -> None:
    """Raise ZooError where one of network, data and recipe is for whole images and another for pixels."""
    batch = recipe.batch // recipe.accumulate
    refuse_beyond(
        training_bytes(module.graph, batch),
        f"training on {batch} images of {recipe.size[1]}x{recipe.size[0]} at once",
        "give a smaller --size or --batch, or a larger --accumulate",
    )
    out = module.graph.output_shapes[0]
    whole = (out.height, out.width) == (1, 1)
    if isinstance(data, Folders):
        if not whole:
            raise ZooError(
                f"the network gives a map of {out.height}x{out.width} and {data.name} a class an image; train a "
                "classifier, such as espnetv2-classifier-0.5"
            )
        if recipe.jaccard or recipe.class_weights:
            raise ZooError("the recipe's loss is for maps (jaccard, class weights); use --recipe classifier")
    elif whole and min(recipe.size) >= SMALL:
        raise ZooError(
            f"the network gives one answer for the whole image and {data.name} has a class a pixel; train one that "
            "segments, or give --dataset folders, with a folder of images for each class"
        )
