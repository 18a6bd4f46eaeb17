"""What to do about a network that has no weights: the nearest that ship, and how to train it."""

import shlex
from dataclasses import fields
from typing import TYPE_CHECKING

from pretrained.manifest import Weights, manifest
from search.model_ref import Model
from zoo.errors import ZooError
from zoo.registry import lower
from zoo.specs import Spec

if TYPE_CHECKING:
    from collections.abc import Iterable


class LacksWeights(ZooError):
    """A model that has no weights of its own."""


def lacks_weights(model: Model) -> LacksWeights:
    """The error for a model without weights, with the command that makes some."""
    near = nearest_weights(model.spec)
    name = shlex.quote(model.name)
    begun = f" --init {near.name}" if near else ""
    why = "was not trained by its search" if model.kind == "candidate" else "has no weights"
    ships = f"; nearest to it ships {near.name}" if near else ""
    return LacksWeights(
        f"{model.name} {why}{ships}; train it: zoo train {name} --dataset camvid --data DIR{begun} -o RUN"
    )


def nearest_weights(spec: Spec) -> Weights | None:
    """The weights of the same family whose spec differs in the fewest fields, then least in parameters; or None.

    >>> from zoo.models.espnet import ESPNetSpec
    >>> nearest_weights(ESPNetSpec(variant="C", alpha3=9)).model
    'espnet-c-8'
    """
    kin = [entry for entry in manifest().weights if entry.spec.family == spec.family]
    return min(kin, key=lambda entry: _distance(entry, spec), default=None)


def _distance(entry: Weights, spec: Spec) -> tuple[int, int, bool]:
    names: Iterable[str] = (field.name for field in fields(spec) if field.name != "classes")  # type: ignore[arg-type]
    differing = sum(getattr(entry.spec, name) != getattr(spec, name) for name in names)
    return differing, abs(lower(entry.spec).params - lower(spec).params), not entry.bundled
