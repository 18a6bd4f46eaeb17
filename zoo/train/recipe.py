"""Recipes: everything that a training run depends on beside the network and the data."""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_type_hints

from zoo.data.augment import Augmentation
from zoo.errors import ZooError, did_you_mean
from zoo.registry import MAX_SIDE
from zoo.specs import mismatch
from zoo.train.amp import Amp
from zoo.train.schedules import cyclic

Schedule = Literal["constant", "step", "poly", "cosine", "cyclic"]

RANGES: Mapping[str, tuple[float, float]] = {
    "warmup": (0, 1e6),
    "weight_decay": (0, 1e3),
    "lr": (1e-12, 1e3),
    "jaccard": (0, 1e6),
    "colour": (0, 0.999),
    "seed": (0, 2**32 - 1),
    "epochs": (1, 1e6),
    "batch": (1, 65_536),
}
"""Fields and their least and largest values, which numpy and torch can take."""


MAX_LR = 10.0
"""Largest learning rate that is tried: beyond it every optimiser here diverges in its first steps."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a network is trained.

    size: (height, width) of what the network sees. batch: images a step; `accumulate` of them are split
    off and summed before each step. lr is the peak; it rises linearly over `warmup` epochs and then
    follows `schedule`. loss_at: "image" up-samples the logits to the labels, "network" down-samples the
    labels to the logits (as published for the encoder). jaccard: weight of the soft Jaccard loss beside
    the cross-entropy. class_weights: 1 / ln(1.10 + frequency). ema: decay of the weights' running mean,
    which is what is scored and kept; 0 for none. amp: bfloat16 autocast; with "auto" where the processor has
    instructions for it. encoder_lr: factor on the learning rate of a network's encoder, which may be trained already.
    Raises ZooError for values that cannot be.

    >>> short = Recipe(epochs=10, batch=4)
    >>> short.optimizer, short.size
    ('adamw', (360, 480))
    >>> Recipe(batch=0)
    Traceback (most recent call last):
    zoo.errors.ZooError: ...
    """

    epochs: int = 60
    size: tuple[int, int] = (360, 480)
    batch: int = 8
    accumulate: int = 1
    optimizer: Literal["adam", "adamw", "sgd"] = "adamw"
    lr: float = 1e-3
    weight_decay: float = 1e-2
    schedule: Schedule = "cosine"
    warmup: float = 1.0
    halve_every: int = 100
    loss_at: Literal["image", "network"] = "image"
    class_weights: bool = True
    jaccard: float = 0.5
    ema: float = 0.995
    scale: tuple[float, float] = (0.6, 1.8)
    flip: float = 0.5
    colour: float = 0.3
    amp: Amp = "auto"
    encoder_lr: float = 1.0
    channels_last: bool = True
    compile: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        for name, hint in get_type_hints(type(self)).items():
            wrong = mismatch(getattr(self, name), hint)
            if wrong:
                raise ZooError(f"recipe.{name}: {wrong}")
        self._check_ranges()

    def _check_ranges(self) -> None:
        for name in ("epochs", "batch", "accumulate", "halve_every"):
            if getattr(self, name) < 1:
                raise ZooError(f"recipe.{name} must be at least 1, but is {getattr(self, name)}")
        if not all(1 <= side <= MAX_SIDE for side in self.size):
            raise ZooError(f"recipe.size: each side must be from 1 to {MAX_SIDE} pixels, but it is {self.size}")
        if self.batch % self.accumulate:
            raise ZooError(f"recipe.accumulate ({self.accumulate}) must divide recipe.batch ({self.batch})")
        if not (self.encoder_lr >= 0 and math.isfinite(self.encoder_lr)):
            raise ZooError(f"recipe.encoder_lr must be a number from 0, but is {self.encoder_lr}")
        if not 0 < self.lr <= MAX_LR or not 0 <= self.ema < 1 or self.jaccard < 0:
            values = f"lr {self.lr}, ema {self.ema}, jaccard {self.jaccard}"
            rule = f"lr must be above 0 and at most {MAX_LR:g}, ema from 0 up to 1, jaccard at least 0"
            raise ZooError(f"recipe: {values}: {rule}")
        for name, (low, high) in RANGES.items():
            if not low <= getattr(self, name) <= high:
                raise ZooError(f"recipe.{name} must be from {low:g} to {high:g}, but is {getattr(self, name)}")

    @property
    def augmentation(self) -> Augmentation:
        """The random changes of each sample."""
        return Augmentation(self.scale, self.flip, self.colour)


RECIPES: Mapping[str, Recipe] = {
    "zoo": Recipe(),
    "authors": Recipe(
        epochs=300,
        batch=12,
        optimizer="adam",
        lr=5e-4,
        weight_decay=5e-4,
        schedule="step",
        warmup=0.0,
        loss_at="network",
        jaccard=0.0,
        ema=0.0,
        scale=(0.5, 2.0),
        colour=0.0,
    ),
    "classifier": Recipe(
        epochs=300,
        size=(224, 224),
        batch=256,
        optimizer="sgd",
        lr=0.5,
        weight_decay=4e-5,
        schedule="cyclic",
        warmup=0.0,
        class_weights=False,
        jaccard=0.0,
        ema=0.0,
        scale=(0.2, 1.0),
        colour=0.0,
    ),
}
"""`zoo` is what scores best here. `authors` is the one published (arXiv:1803.06815, section 4.1).

`classifier` is ESPNetv2's on ImageNet (arXiv:1811.11431, section 4.1); its batch and its range of crops, as shares
of the area, are ours.
"""


def recipe(name: str, **changes: Any) -> Recipe:
    """A recipe by name with fields changed. Raises ZooError with the nearest name."""
    if name not in RECIPES:
        raise ZooError(f"recipe {name!r} is unknown; {did_you_mean(name, RECIPES)}")
    return dataclasses.replace(RECIPES[name], **changes)


def recipe_from(values: Mapping[str, Any], **changes: Any) -> Recipe:
    """A recipe from the plain values that a run keeps, with fields changed. Raises ZooError for unknown fields."""
    names = {field.name for field in dataclasses.fields(Recipe)}
    for name in values:
        if name not in names:
            raise ZooError(f"recipe.{name}: unknown field; the run is of another version of zoo, so train anew")
    plain: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
    return Recipe(**plain | changes)


def learning_rate(plan: Recipe, epoch: float) -> float:
    """Learning rate after `epoch` (fractional) epochs.

    >>> learning_rate(Recipe(epochs=10, lr=1.0, warmup=0.0), 5.0)
    0.5
    """
    if epoch < plan.warmup:
        return plan.lr * max(epoch, 0.02 * plan.warmup) / plan.warmup
    progress = min(1.0, (epoch - plan.warmup) / max(plan.epochs - plan.warmup, 1e-9))
    match plan.schedule:
        case "constant":
            return plan.lr
        case "step":
            return plan.lr * 0.5 ** (int(epoch) // plan.halve_every)
        case "poly":
            return float(plan.lr * (1 - progress) ** 0.9)
        case "cyclic":
            return plan.lr * cyclic(int(epoch)) / cyclic(0)
        case "cosine":
            return plan.lr * (1 + math.cos(math.pi * progress)) / 2
