"""The families of networks, by name, and the one way from a spec to a graph."""

import dataclasses
from collections.abc import Iterator, Mapping, MutableMapping
from importlib import import_module
from typing import Any

from zoo.errors import SpecError, did_you_mean
from zoo.graph import Graph, Shape
from zoo.lowering import Family, lower_stages
from zoo.models.pruned import PrunedSpec, narrowed, pruned_spec
from zoo.specs import Spec, field_types
from zoo.text import one_line

OURS = (
    "espnet",
    "espnetv2",
    "espnetv2-classifier",
    "espnetv2-ssd",
    "enet",
    "erfnet",
    "segnet",
    "sqnet",
    "fcn",
    "deeplab",
    "pspnet",
    "vgg",
    "resnet",
    "fpenet",
    "cgnet",
    "cfpnet",
    "dabnet",
    "edanet",
    "fddwnet",
    "fast-scnn",
    "lednet",
    "ddrnet",
    "pidnet",
    # Reference networks: devices are calibrated on their published times. zoo.yaml names none of them.
    "alexnet",
    "densenet",
    "googlenet",
    "mixnet",
    "mobilenetv2",
    "mobilenetv3",
    "shufflenetv2",
    "squeezenet",
    "yolox",
)
"""Families, each a module of `zoo.models` with a FAMILY."""


class _Families(MutableMapping[str, Family]):
    """Families by name. One of ours is imported when it is asked for first: all take longer than many a command."""

    def __init__(self) -> None:
        self._known: dict[str, Family | None] = dict.fromkeys(OURS)

    def __getitem__(self, name: str) -> Family:
        known = self._known[name]
        if known is None:
            known = self._known[name] = import_module(f"zoo.models.{name.replace('-', '_')}").FAMILY
        return known

    def __setitem__(self, name: str, family: Family) -> None:
        self._known[name] = family

    def __delitem__(self, name: str) -> None:
        del self._known[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._known)

    def __len__(self) -> int:
        return len(self._known)

    def __contains__(self, name: object) -> bool:
        return name in self._known


FAMILIES: MutableMapping[str, Family] = _Families()

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
