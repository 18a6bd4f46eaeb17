"""The section `study` of a named search in zoo.yaml: how its candidates are measured."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from zoo.errors import ConfigError

SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


WHOLE = {
    **dict.fromkeys(("trials", "epochs", "long_epochs", "width", "height", "threads"), 1),
    **dict.fromkeys(("seed", "promote", "repeats"), 0),
}
"""Whole numbers with the least that each may be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyConfig:
    """Options of `zoo search` under their names there; what is left out is as on the command line.

    budget, time_limit: durations with their unit, as 2h. width, height: of images in training. train_set: fields
    of the recipe as KEY=VALUE.
    """

    dataset: str | None = None
    data: str | None = None
    trials: int | None = None
    sampler: str | None = None
    seed: int | None = None
    budget: str | None = None
    time_limit: str | None = None
    storage: str | None = None
    epochs: int | None = None
    long_epochs: int | None = None
    width: int | None = None
    height: int | None = None
    recipe: str | None = None
    train_set: tuple[str, ...] = ()
    promote: int | None = None
    repeats: int | None = None
    halving: bool | None = None
    train_on: str | None = None
    threads: int | None = None

    def __post_init__(self) -> None:
        for name in ("budget", "time_limit"):
            value = getattr(self, name)
            if value is not None:
                try:
                    seconds(value)
                except ValueError as error:
                    raise ConfigError(f"{name}: {error}") from None
        for name, value in ((n, getattr(self, n)) for n in WHOLE):
            if value is not None and not WHOLE[name] <= value <= 2**32 - 1:
                raise ConfigError(f"{name}: must be from {WHOLE[name]} to {2**32 - 1}, but is {value}")
        if (self.width is None) != (self.height is None):
            raise ConfigError("width: and height belong together; give both, or neither for 480x360")
        for setting in self.train_set:
            if "=" not in setting:
                raise ConfigError(f"train_set: must list KEY=VALUE, as lr=2e-3, but has {setting!r}")

    def given(self) -> Mapping[str, Any]:
        """Options of the command that the section sets, with durations as they are written."""
        own = {f.name: value for f in fields(self) if (value := getattr(self, f.name)) not in (None, ())}
        if self.width and self.height:
            own["train_size"] = (own.pop("height"), own.pop("width"))
        return own


def seconds(text: str) -> float:
    """A duration with its unit. Raises ValueError.

    >>> seconds("2h"), seconds("90s"), seconds("1.5m")
    (7200.0, 90.0, 90.0)
    """
    try:
        found = float(text[:-1]) * SECONDS[text[-1:]]
    except (KeyError, ValueError):
        found = 0.0
    if not 0 < found < float("inf"):
        raise ValueError(f"must be a duration such as 90s, 30m or 2h, but is {text!r}")
    return found
