"""The families of networks, by name, and the one way from a spec to a graph."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from zoo.errors import SpecError, did_you_mean
from zoo.graph import Graph, Shape
from zoo.lowering import Family, lower_stages
from zoo.models import (
    alexnet,
    cfpnet,
    cgnet,
    dabnet,
    ddrnet,
    deeplab,
    densenet,
    edanet,
    enet,
    erfnet,
    espnet,
    espnetv2,
    espnetv2_classifier,
    espnetv2_ssd,
    fast_scnn,
    fcn,
    fddwnet,
    fpenet,
    googlenet,
    lednet,
    mixnet,
    mobilenetv2,
    mobilenetv3,
    pidnet,
    pspnet,
    resnet,
    segnet,
    shufflenetv2,
    sqnet,
    squeezenet,
    vgg,
    yolox,
)
from zoo.models.pruned import PrunedSpec, narrowed, pruned_spec
from zoo.specs import Spec, field_types
from zoo.text import one_line

FAMILIES: Mapping[str, Family] = {
    "espnet": espnet.FAMILY,
    "espnetv2": espnetv2.FAMILY,
    "espnetv2-classifier": espnetv2_classifier.FAMILY,
    "espnetv2-ssd": espnetv2_ssd.FAMILY,
    "enet": enet.FAMILY,
    "erfnet": erfnet.FAMILY,
    "segnet": segnet.FAMILY,
    "sqnet": sqnet.FAMILY,
    "fcn": fcn.FAMILY,
    "deeplab": deeplab.FAMILY,
    "pspnet": pspnet.FAMILY,
    "vgg": vgg.FAMILY,
    "resnet": resnet.FAMILY,
    "fpenet": fpenet.FAMILY,
    "cgnet": cgnet.FAMILY,
    "cfpnet": cfpnet.FAMILY,
    "dabnet": dabnet.FAMILY,
    "edanet": edanet.FAMILY,
    "fddwnet": fddwnet.FAMILY,
    "fast-scnn": fast_scnn.FAMILY,
    "lednet": lednet.FAMILY,
    "ddrnet": ddrnet.FAMILY,
    "pidnet": pidnet.FAMILY,
    # Reference networks: devices are calibrated on their published times. zoo.yaml names none of them.
    "alexnet": alexnet.FAMILY,
    "densenet": densenet.FAMILY,
    "googlenet": googlenet.FAMILY,
    "mixnet": mixnet.FAMILY,
    "mobilenetv2": mobilenetv2.FAMILY,
    "mobilenetv3": mobilenetv3.FAMILY,
    "shufflenetv2": shufflenetv2.FAMILY,
    "squeezenet": squeezenet.FAMILY,
    "yolox": yolox.FAMILY,
}

MAX_SIDE = 65_536
"""Longest side of an image in pixels."""


def family(name: str) -> Family:
    """A family by name; SpecError with the nearest name where there is none."""
    if name not in FAMILIES:
        raise SpecError(f"family {name!r} is unknown; {did_you_mean(name, FAMILIES)}")
    return FAMILIES[name]


def lower(spec: Spec, size: tuple[int, int] = (512, 1024)) -> Graph:
    """Lower a spec to its graph for an image of `size` = (height, width).

    Raises SpecError where the size does not suit the network.

    >>> from zoo.models.espnet import ESPNetSpec
    >>> graph = lower(ESPNetSpec(variant="C", alpha3=8), size=(512, 1024))
    >>> graph.params, graph.macs
    (349449, 3470155776)
    """
    if isinstance(spec, PrunedSpec):
        return narrowed(lower(spec.of, size), spec)
    height, width = size
    if not all(1 <= side <= MAX_SIDE for side in size):
        raise SpecError(f"size {width}x{height}: each side must be from 1 to {MAX_SIDE} pixels")
    chosen = family(spec.family)
    wrong = chosen.check_size(spec, height, width)
    if wrong:
        raise SpecError(f"{spec.family}: {wrong}")
    return lower_stages(chosen, spec, Shape(3, height, width))


def with_changes(spec: Spec, **changes: Any) -> Spec:
    """A spec with fields changed, lists taken for tuples. Raises SpecError for an unknown field or a wrong value."""
    if isinstance(spec, PrunedSpec):
        raise SpecError("pruned: the fields of a pruned network cannot be changed; change the whole one, prune it anew")
    types = field_types(type(spec))
    for key in changes:
        if key not in types:
            raise SpecError(f"{spec.family}.{key}: unknown key ({did_you_mean(key, types)})")
    values = {key: tuple(value) if isinstance(value, list) else value for key, value in changes.items()}
    return dataclasses.replace(spec, **values)  # type: ignore[type-var]


def spec_from_dict(entry: Mapping[str, Any], location: str = "spec") -> Spec:
    """A spec from plain values (lists for tuples), as `spec.as_dict` writes it; errors start with `location`.

    >>> spec_from_dict({"family": "espnet", "variant": "C", "alpha3": 3}).alpha3
    3
    """
    if not isinstance(entry, Mapping):
        raise SpecError(f"{location}: must be a mapping with the fields of a spec, but is {one_line(repr(entry), 80)}")
    if "family" not in entry:
        raise SpecError(f"{location}: the key 'family' is missing; add one of {', '.join(FAMILIES)}")
    if entry["family"] == PrunedSpec.family:
        whole = entry.get("of")
        if not isinstance(whole, Mapping):
            raise SpecError(f"{location}.of: must be the spec of the network that was pruned")
        return pruned_spec(spec_from_dict(whole, f"{location}.of"), entry, location)
    try:
        kind = family(str(entry["family"])).spec
    except SpecError as error:
        raise SpecError(f"{location}.family: {error}") from None
    types = field_types(kind)
    for key in entry:
        if key != "family" and key not in types:
            raise SpecError(f"{location}.{key}: unknown key ({did_you_mean(key, types)})")
    values = {key: tuple(v) if isinstance(v, list) else v for key, v in entry.items() if key != "family"}
    try:
        return kind(**values)
    except SpecError as error:
        raise SpecError(f"{location}: {error}") from None
