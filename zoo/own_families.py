"""Families of the user's own: modules that zoo.yaml names, with a FAMILY each. They run as the user's code."""

import importlib
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from zoo.claims import MARKS
from zoo.errors import ConfigError
from zoo.lowering import Family
from zoo.models.pruned import PrunedSpec
from zoo.reading import exists, is_file
from zoo.registry import FAMILIES
from zoo.specs import Spec
from zoo.text import one_line, shown

ATTRIBUTE = "FAMILY"
"""What a module must define: a `zoo.lowering.Family`."""

OWN: dict[str, str] = {}
"""Families added here -> the module that each is of."""


def add_families(names: Any, source: Path) -> tuple[str, ...]:
    """Import the modules that `families:` of zoo.yaml names, and add their families to the registry; returns names.

    A module is a file beside zoo.yaml, or anything that python can import. Raises ConfigError for what is no list
    of modules, cannot be imported, or has no family of a name of its own, and for a zoo.yaml in the folder of a
    run, which is data.
    """
    location = f"{source.name}: families"
    if not isinstance(names, list):
        raise ConfigError(f"{location}: must be a list of modules, as [my_module], but is {one_line(repr(names), 80)}")
    for mark in MARKS.values() if names else ():
        if exists(source.parent / mark):
            raise ConfigError(
                f"{location}: {shown(source.parent)} holds a run, whose code is not run; move zoo.yaml and its modules"
                " to a folder of their own"
            )
    return tuple(_add(name, source, f"{location}[{i}]") for i, name in enumerate(names))


def add_family_of(spec: Spec) -> None:
    """Add the family of a spec that another process sent, where it is of a module of the user's own."""
    module = sys.modules.get(type(spec).__module__)
    family = getattr(module, ATTRIBUTE, None)
    if spec.family not in FAMILIES and isinstance(family, Family) and family.spec is type(spec):
        FAMILIES[spec.family] = family
        OWN[spec.family] = type(spec).__module__


def _add(name: Any, source: Path, location: str) -> str:
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*", name, re.ASCII):
        raise ConfigError(
            f"{location}: must be the name of a module, as my_module for my_module.py, "
            f"but is {one_line(repr(name), 80)}"
        )
    family = getattr(_module(name, source, location), ATTRIBUTE, None)
    if not isinstance(family, Family) or not issubclass(family.spec, Spec):
        raise ConfigError(
            f"{location}: module {name} has no {ATTRIBUTE}, a zoo.lowering.Family; see docs/adding-a-family.md"
        )
    kind = family.spec.family
    if kind in (*FAMILIES, PrunedSpec.family) and OWN.get(kind) != name:
        raise ConfigError(
            f"{location}: family {kind!r} of module {name} has the name of another; rename it in its spec"
        )
    FAMILIES[kind] = family
    OWN[kind] = name
    return kind


def _module(name: str, source: Path, location: str) -> ModuleType:
    """The module, of the file beside zoo.yaml where there is one. Its folder is searched last, so hides nothing."""
    folder = str(source.parent.resolve())
    beside = source.parent.joinpath(*name.split(".")).with_suffix(".py")
    if is_file(beside) and folder not in sys.path:
        sys.path.append(folder)  # workers of a study are given this path, too
        importlib.invalidate_caches()
    try:
        module = importlib.import_module(name)
    except Exception as error:
        why = f"{type(error).__name__}: {one_line(error, 200)}"
        raise ConfigError(
            f"{location}: module {name} cannot be imported ({why}); put {name}.py beside zoo.yaml, or correct it"
        ) from error
    module_file = getattr(module, "__file__", None)
    if is_file(beside) and (module_file is None or Path(module_file).resolve() != beside.resolve()):
        raise ConfigError(f"{location}: python has another module {name}, so that {shown(beside)} is not it; rename it")
    return module
