"""How a network is put together: stages that pass named tensors on.

A stage is a function `(g, s, t)` that appends layers to the builder `g`, reading the spec `s` and the
named tensors `t`, and names what it leaves for later stages. A repeated stage is called once for each
index with `(g, s, t, index)`; it must leave shapes as it found them.

Because a stage sees nothing but `s` and `t`, its layers are a function of the fields and the tensor
shapes that it reads: `zoo.bulk.lower` lowers each distinct piece of a search space once.
"""

from collections.abc import Callable, MutableMapping
from dataclasses import dataclass
from typing import Any

from zoo.graph import Graph, GraphBuilder, Shape
from zoo.specs import Spec

Tensors = MutableMapping[str, str]
"""Name given by a stage -> name of the layer that makes the tensor."""

IMAGE = "image"
"""The tensor that every network starts from."""


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage; with `repeat`, as many copies as that spec field says."""

    run: Callable[..., None]
    repeat: str | None = None


@dataclass(frozen=True, slots=True)
class Family:
    """A family of networks: its spec, its stages, and what a size must satisfy.

    `outputs(spec)` names the tensors that the network returns. `check_size(spec, height, width)` returns
    the sentence that is wrong with an input size, or None.
    """

    spec: type[Spec]
    stages: tuple[Stage, ...]
    bn_eps: float = 1e-5
    outputs: Callable[[Any], tuple[str, ...]] = lambda spec: ("logits",)
    check_size: Callable[[Any, int, int], str | None] = lambda spec, height, width: None


def lower_stages(family: Family, spec: Spec, image: Shape) -> Graph:
    """Lower a spec for one image shape. Raises SpecError, naming the layer, where shapes do not fit."""
    g = GraphBuilder(family.bn_eps)
    t: Tensors = {IMAGE: g.input(IMAGE, image)}
    for stage in family.stages:
        if stage.repeat is None:
            stage.run(g, spec, t)
        else:
            for index in range(getattr(spec, stage.repeat)):
                stage.run(g, spec, t, index)
    return g.graph(*(t[name] for name in family.outputs(spec)))


def off_grid(layer: str, step: int, height: int, width: int) -> str | None:
    """Say that `layer`, which joins tensors that went down and up again by `step`, cannot take this size; or None.

    >>> off_grid("up.cat", 8, 360, 485)
    'up.cat needs a width and a height that are multiples of 8, but the size is 485x360; use 488x360'
    """
    if height % step == 0 and width % step == 0:
        return None
    near = "x".join(str(max(step, (side + step // 2) // step * step)) for side in (width, height))
    return (
        f"{layer} needs a width and a height that are multiples of {step}, but the size is {width}x{height}; use {near}"
    )
