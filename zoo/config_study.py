"""Options of a study, declared once: the command line, the section `study` of zoo.yaml and run folders read them.

A field of `StudyOptions` is an option of `zoo search` and a key of the section. Its kind says how the text of a
person becomes its value, and how the value is written as an option again.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import Field, dataclass, field, fields, make_dataclass
from typing import Any

from zoo.errors import ConfigError

SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}

MOST = 2**32 - 1
"""Largest whole number of an option."""

LEAST = {"count": 1, "whole": 0}
"""Kinds of whole numbers, with the least that each may be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """How a field is set. kind: text, choice, count (from 1), whole (from 0), duration, size, flag or settings.

    name: on the command line, with `_` for `-`, where it is not the field's. metavar, help: of the command's help.
    training: whether only `--accuracy train` has it. changeable: whether it may differ when a study goes on.
    about_machine: whether no result depends on it, so that a command that repeats the study leaves it out.
    """

    kind: str
    help: str
    name: str = ""
    metavar: str | None = None
    training: bool = False
    changeable: bool = False
    about_machine: bool = False


def _field(default: Any, kind: str, help_text: str, **option: Any) -> Any:
    return field(default=default, metadata={"option": Option(kind=kind, help=help_text, **option)})


@dataclass(frozen=True, kw_only=True)
class StudyOptions:
    """How a study goes about its question; plain values, which the run's folder keeps.

    trials: of the search. budget_s: seconds for everything. limit_s: for one trial. promote: how many train by
    the long protocol. repeats: with how many other seeds the front's members train again. storage: URL of an
    Optuna storage, None for a journal in the folder. measure_latency: whether each network is timed on this
    machine once it is measured. epochs, long_epochs, size (height, width), recipe, changes (of the recipe's
    fields), train_on, threads: of the training.
    """

    accuracy: str = "published"
    sampler: str = _field("auto", "text", "auto (default), ehvi, gp, tpe, nsga2, nsga3, random", metavar="S")
    trials: int = _field(30, "count", "candidates to measure (default 30)", changeable=True)
    seed: int = _field(0, "whole", "all randomness follows from it (default 0)")
    budget_s: float | None = _field(
        None, "duration", "time for everything, as 2h", name="budget", metavar="T", changeable=True
    )
    limit_s: float | None = _field(
        None,
        "duration",
        "time for one trial; a longer one has failed",
        name="time_limit",
        metavar="T",
        changeable=True,
    )
    storage: str | None = _field(
        None,
        "text",
        "any Optuna storage (default: a journal in the run's folder)",
        metavar="URL",
        changeable=True,
        about_machine=True,
    )
    measure_latency: bool = _field(
        False, "flag", "time each measured network on this machine; limits and front take that latency"
    )
    dataset: str | None = _field(
        None, "text", "camvid, cityscapes, …, or scenes, which is generated", metavar="D", training=True
    )
    data: str | None = _field(None, "text", "folder of the data set", metavar="DIR", training=True, changeable=True)
    epochs: int = _field(10, "count", "of the short protocol (default 10)", training=True)
    long_epochs: int = _field(40, "count", "of the long protocol (default 40)", training=True, changeable=True)
    size: tuple[int, int] = _field(
        (360, 480), "size", "images in training (default 480x360)", name="train_size", training=True
    )
    promote: int = _field(
        4, "whole", "candidates trained by the long protocol (default 4)", training=True, changeable=True
    )
    repeats: int = _field(
        2, "whole", "other seeds that the front's members train with (default 2)", training=True, changeable=True
    )
    halving: bool = _field(True, "flag", "stop what lags (default)", training=True)
    recipe: str = _field("zoo", "text", "zoo (default) or authors", metavar="NAME", training=True)
    changes: Mapping[str, Any] | None = _field(
        None, "settings", "change a field of the recipe, as lr=2e-3; repeatable", name="train_set", training=True
    )
    train_on: str = _field(
        "cpu",
        "text",
        "cpu (default) or cuda",
        metavar="DEVICE",
        training=True,
        changeable=True,
        about_machine=True,
    )
    threads: int = _field(
        1, "count", "CPU threads a trial (default 1)", training=True, changeable=True, about_machine=True
    )

    def __post_init__(self) -> None:
        for own, option in options():
            value, least = getattr(self, own.name), LEAST.get(option.kind)
            if least is not None and (type(value) is not int or not least <= value <= MOST):
                raise ConfigError(f"{own.name} must be at least {least} and at most {MOST}, but is {value!r}")


def options() -> Iterator[tuple["Field[Any]", Option]]:
    """Every field that is an option, with the option under its full name, in the order of the help."""
    for own in fields(StudyOptions):
        if option := own.metadata.get("option"):
            yield own, option


def option_name(own: "Field[Any]") -> str:
    """The option's name with `_` for `-`, which is also its key in zoo.yaml."""
    return str(own.metadata["option"].name or own.name)


def seconds(text: str) -> float:
    """A duration with its unit. Raises ValueError.

    >>> seconds("2h"), seconds("90s"), seconds("1.5m")
    (7200.0, 90.0, 90.0)
    """
    try:
        duration_s = float(text[:-1]) * SECONDS[text[-1:]]
    except (KeyError, ValueError):
        duration_s = 0.0
    if not 0 < duration_s < float("inf"):
        raise ValueError(f"must be a duration such as 90s, 30m or 2h, but is {text!r}")
    return duration_s


def setting(text: str) -> dict[str, Any]:
    """Key and value of KEY=VALUE; values are as in JSON, or else text. Raises ValueError.

    >>> setting("lr=2e-3"), setting("schedule=poly")
    ({'lr': 0.002}, {'schedule': 'poly'})
    """
    key, equals, value = text.partition("=")
    if not key or not equals:
        raise ValueError(f"must be KEY=VALUE, as lr=2e-3, but is {text!r}")
    try:
        return {key: json.loads(value)}
    except ValueError:
        return {key: value}


def words(values: Mapping[str, Any]) -> Iterator[str]:
    """The command-line options that make a study, from the values of its fields.

    >>> list(words({"trials": 8, "budget_s": None, "halving": False, "changes": {"lr": 0.002}}))
    ['--trials', '8', '--no-halving', '--train-set', 'lr=0.002']
    """
    if values.get("accuracy"):
        yield from ("--accuracy", str(values["accuracy"]))
    for own, option in options():
        value, name = values.get(own.name), option_name(own).replace("_", "-")
        if value is None or option.about_machine or (option.kind == "flag" and value == own.default):
            continue
        for text in SPELT.get(option.kind, _plain)(value):
            yield from (f"--{name}", text) if text else (f"--{name}" if value else f"--no-{name}",)


def _plain(value: Any) -> list[str]:
    return [str(value)]


SPELT: Mapping[str, Callable[[Any], list[str]]] = {
    "flag": lambda value: [""],
    "duration": lambda value: [f"{value:g}s"],
    "size": lambda value: [f"{value[1]}x{value[0]}"],
    "settings": lambda value: [
        f"{key}={part if isinstance(part, str) else json.dumps(part)}" for key, part in value.items()
    ],
}
"""Kind -> the texts of a value, an option each; an empty one for an option without a value."""


def _keys() -> Iterator[tuple[str, Any, Any]]:
    """Keys of the section with their types; sizes are two keys, and what is left out is as on the command line."""
    types = {"count": int, "whole": int, "flag": bool}
    for own, option in options():
        if option.kind == "size":
            yield from ((name, int | None, field(default=None)) for name in ("width", "height"))
        elif option.kind == "settings":
            yield option_name(own), tuple[str, ...], field(default=())
        else:
            yield option_name(own), types.get(option.kind, str) | None, field(default=None)


class _Section:
    """The section `study` of a named search: options under their names on the command line.

    budget, time_limit: durations with their unit, as 2h. width, height: of images in training. train_set: fields
    of the recipe as KEY=VALUE.
    """

    def __post_init__(self) -> None:
        self.given()
        if (getattr(self, "width", None) is None) != (getattr(self, "height", None) is None):
            raise ConfigError("width: and height belong together; give both, or neither for 480x360")

    def given(self) -> dict[str, Any]:
        """Values of `StudyOptions` that the section sets. Raises ConfigError, which begins with the key."""
        out: dict[str, Any] = {}
        for own, option in options():
            key = "width" if option.kind == "size" else option_name(own)
            value = getattr(self, key)
            if value in (None, ()):
                continue
            try:
                out[own.name] = self._read(option.kind, value)
            except ValueError as error:
                raise ConfigError(f"{key}: {error}") from None
        return out

    def _read(self, kind: str, value: Any) -> Any:
        if kind == "size":
            height = getattr(self, "height")  # noqa: B009  # a field that make_dataclass adds
            return (_whole(height or 1, 1), _whole(value, 1))
        if kind == "duration":
            return seconds(value)
        if kind == "settings":
            return {key: part for text in value for key, part in setting(text).items()}
        return _whole(value, LEAST[kind]) if kind in LEAST else value


def _whole(value: int, least: int) -> int:
    if not least <= value <= MOST:
        raise ValueError(f"must be from {least} to {MOST}, but is {value}")
    return value


StudySection: Any = make_dataclass("StudySection", _keys(), bases=(_Section,), frozen=True, kw_only=True)
StudySection.__doc__, StudySection.__module__ = _Section.__doc__, __name__
