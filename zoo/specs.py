"""What every spec is: a frozen dataclass that is valid from birth.

A family's spec declares its fields with plain types (`int` with bounds, `bool`, `Literal`, fixed-length
tuples) and, for what one field alone cannot say, `rules`: functions that read a spec and return the
sentence that is wrong with it, or None. A rule may read fields only, so that a whole search space is
checked by evaluating each rule once for each distinct combination of the fields it reads.
"""

import dataclasses
import re
from collections.abc import Callable, Mapping
from types import NoneType, UnionType
from typing import Annotated, Any, ClassVar, Literal, Union, get_args, get_origin, get_type_hints

from annotated_types import Interval

from zoo.errors import SpecError, did_you_mean
from zoo.text import one_line

Rule = Callable[[Any], str | None]

Count = Annotated[int, Interval(ge=1, le=4096)]
"""Channels or classes: 1 to 4096."""


@dataclasses.dataclass(frozen=True, slots=True)
class Pattern:
    """What a text must match as a whole: a regular expression, and what it says in words."""

    regex: str
    words: str


class Spec:
    """Base of all specs: a frozen dataclass of a family's fields, checked when it is made.

    Raises SpecError for a value or a combination that describes no network.

    >>> from zoo.models.espnet import ESPNetSpec
    >>> ESPNetSpec(alpha3=-1)
    Traceback (most recent call last):
    ...
    zoo.errors.SpecError: espnet.alpha3: ...
    """

    __slots__ = ()
    family: ClassVar[str]
    rules: ClassVar[tuple[Rule, ...]] = ()

    def __post_init__(self) -> None:
        for name, fits in _checks(type(self)):
            value = getattr(self, name)
            if not fits(value):
                raise SpecError(f"{self.family}.{name}: {mismatch(value, field_types(type(self))[name])}")
        for rule in self.rules:
            wrong = rule(self)
            if wrong:
                raise SpecError(f"{self.family}: {wrong}")


_FIELD_TYPES: dict[type[Spec], Mapping[str, Any]] = {}


def field_types(spec: type[Spec]) -> Mapping[str, Any]:
    """Field names and their types, in the order of declaration."""
    if spec not in _FIELD_TYPES:
        hints = get_type_hints(spec, include_extras=True)
        _FIELD_TYPES[spec] = {field.name: hints[field.name] for field in dataclasses.fields(spec)}  # type: ignore[arg-type]
    return _FIELD_TYPES[spec]


_CHECKS: dict[type[Spec], tuple[tuple[str, Callable[[Any], bool]], ...]] = {}


def _checks(spec: type[Spec]) -> tuple[tuple[str, Callable[[Any], bool]], ...]:
    """For each field whether a value fits it; `mismatch` says why one does not, and is too slow for whole spaces."""
    if spec not in _CHECKS:
        _CHECKS[spec] = tuple((name, _fits(hint)) for name, hint in field_types(spec).items())
    return _CHECKS[spec]


def _fits(hint: Any) -> Callable[[Any], bool]:
    origin, args = get_origin(hint), get_args(hint)
    if origin is Annotated:
        inner, limits = _fits(args[0]), [limit for limit in args[1:] if isinstance(limit, Interval)]
        return lambda value: inner(value) and all(limit.ge <= value <= limit.le for limit in limits)
    if origin is Literal:
        return lambda value: value in args and type(value) is type(args[0])
    if origin is tuple and args[-1] is Ellipsis:
        item = _fits(args[0])
        return lambda value: isinstance(value, tuple) and all(map(item, value))
    if origin is tuple:
        items = [_fits(arg) for arg in args]
        return lambda value: (
            isinstance(value, tuple)
            and len(value) == len(items)
            and all(fits(item) for fits, item in zip(items, value, strict=True))
        )
    if origin in (Union, UnionType):
        kinds = [_fits(arg) for arg in args]
        return lambda value: any(fits(value) for fits in kinds)
    # bool is an int to Python, never to a spec.
    return lambda value: type(value) is hint or (hint is float and type(value) is int)


def mismatch(value: object, hint: Any) -> str | None:
    """Why `value` is not of type `hint`, or None.

    >>> mismatch(9, Annotated[int, Interval(ge=1, le=8)])
    'must be an integer from 1 to 8, but is 9'
    """
    origin = get_origin(hint)
    if origin is Annotated:
        base, *limits = get_args(hint)
        wrong = mismatch(value, base)
        for limit in limits:
            if isinstance(limit, Pattern) and not wrong and not re.fullmatch(limit.regex, str(value)):
                return f"must be {limit.words}, but is {_shown(value)}"
            if isinstance(limit, Interval) and (wrong or not limit.ge <= value <= limit.le):  # type: ignore[operator]
                noun = "an integer" if base is int else "a number"
                return f"must be {noun} from {limit.ge} to {limit.le}, but is {_shown(value)}"
        return wrong
    if origin is Literal:
        if value in get_args(hint) and type(value) is type(get_args(hint)[0]):
            return None
        choices = [str(choice) for choice in get_args(hint)]
        return f"must be one of {', '.join(choices)}, but is {_shown(value)}; {did_you_mean(str(value), choices)}"
    if origin is tuple:
        items = get_args(hint)
        if isinstance(value, tuple) and items[-1] is Ellipsis:
            items = items[:1] * len(value)
        if not isinstance(value, tuple) or len(value) != len(items):
            noun = "a list of values" if items[-1] is Ellipsis else f"{len(items)} values"
            return f"must be {noun}, but is {_shown(value)}"
        return next((w for item, kind in zip(value, items, strict=True) if (w := mismatch(item, kind))), None)
    if origin in (Union, UnionType):
        kinds = get_args(hint)
        if any(mismatch(value, kind) is None for kind in kinds):
            return None
        return mismatch(value, next(kind for kind in kinds if kind is not NoneType))
    # bool is an int to Python, never to a spec.
    if type(value) is hint or (hint is float and type(value) is int):
        return None
    if isinstance(hint, type) and hint not in (int, float) and isinstance(value, hint):
        return None
    return f"must be of type {getattr(hint, '__name__', hint)}, but is {_shown(value)}"


def _shown(value: object) -> str:
    return one_line(repr(value), 80)


def as_dict(spec: Spec) -> dict[str, Any]:
    """Family and fields as plain values for JSON and YAML; `registry.spec_from_dict` reads them back."""
    values = {field.name: getattr(spec, field.name) for field in dataclasses.fields(spec)}  # type: ignore[arg-type]
    return {"family": spec.family} | {name: _plain(value) for name, value in values.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, Spec):
        return as_dict(value)
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value
