"""Published figures of networks, each with its source, beside which our own counts can be put.

They are the comparisons, tables and ablations of the ESPNet paper, the released ESPNetv2
segmentation networks, and the light networks of today. Figures of devices (frames a second, power) are with the
devices.
"""

import csv
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Literal, get_args

from zoo.errors import ZooError

Metric = Literal[
    "params_m",
    "size_mb",
    "miou",
    "retrained_miou",
    "category_miou",
    "class_average",
    "miou_change",
    "params_change_m",
    "params_change_percent",
    "size_change_mb",
]
"""Parameters in millions; size in MB as printed; the others in percent.

`miou` is the mean intersection over union of classes as a network's authors have it, `retrained_miou` that of a
public re-training of many networks by one recipe, `category_miou` that of the data set's coarser categories,
`class_average` the mean accuracy of classes. The `_change` metrics say what `Figure.change` adds to a network.
"""


@dataclass(frozen=True, slots=True)
class Figure:
    """One published number.

    `network` is its printed name and `model` its name in zoo.yaml, None where we do not have it. `variant`,
    `module` (the block), `k`, `alpha2` and `alpha3` describe an ESPNet as far as the source says. `change`
    is a field of its spec with the values before and after, in an ablation. `size` is (height, width) of the
    network's input. What the source leaves open is None.
    """

    network: str
    model: str | None
    variant: str | None
    module: str | None
    k: int | None
    alpha2: int | None
    alpha3: int | None
    change: tuple[str, str, str] | None
    metric: Metric
    value: float
    dataset: str | None
    split: str | None
    epochs: int | None
    size: tuple[int, int] | None
    source: str

    @property
    def decoder(self) -> bool | None:
        """Whether the network has ESPNet's decoder; None where it is no ESPNet or the source does not say."""
        return None if self.variant is None else self.variant == "ESPNet"


@dataclass(frozen=True, slots=True)
class Comparison:
    """A network's published figures beside our count of its parameters.

    `published_params` is the first that is listed, the one that our network is to meet; None where none is
    published. `params` is None where we do not have the network.
    """

    network: str
    model: str | None
    published_params: int | None
    params: int | None
    figures: tuple[Figure, ...]

    @property
    def difference(self) -> float | None:
        """Our count over the published one, less 1; None where either is missing."""
        if self.published_params is None or self.params is None:
            return None
        return self.params / self.published_params - 1


@cache
def figures() -> tuple[Figure, ...]:
    """Every published figure, in the order of the tables. Raises ZooError for a line that cannot be read.

    >>> next(f.value for f in figures() if f.network == "PSPNet" and f.metric == "params_m")
    65.7
    """
    text = files("zoo").joinpath("published.csv").read_text(encoding="utf-8")
    return read_figures(text, "published.csv")


def read_figures(text: str, name: str) -> tuple[Figure, ...]:
    """Figures from a CSV with the fields of `Figure`. Raises ZooError, naming the line, for one that is wrong."""
    lines = csv.DictReader(text.splitlines())
    rows_read = []
    for number, row in enumerate(lines, start=2):
        try:
            rows_read.append(_figure(row))
        except (KeyError, ValueError) as error:
            raise ZooError(f"{name}: line {number}: {error}; compare with the lines around it") from None
    return tuple(rows_read)


def compare(count: Callable[[str], int | None]) -> tuple[Comparison, ...]:
    """Put our counts beside the published ones, network by network; ablations, which are changes, are left out.

    `count(model)` returns the parameters of a name in zoo.yaml, None where there is no such network.
    """
    groups: dict[tuple[str, str | None], list[Figure]] = {}
    for figure in figures():
        if figure.change is None:
            groups.setdefault((figure.network, figure.model), []).append(figure)
    return tuple(
        Comparison(
            network, model, _params(group_figures), None if model is None else count(model), tuple(group_figures)
        )
        for (network, model), group_figures in groups.items()
    )


def _params(figures_: list[Figure]) -> int | None:
    return next((round(f.value * 1e6) for f in figures_ if f.metric == "params_m"), None)


def _figure(row: dict[str, str]) -> Figure:
    metric = row["metric"]
    if metric not in get_args(Metric):
        raise ValueError(f"metric {metric!r} is not one of {', '.join(get_args(Metric))}")
    if not row["network"] or not row["source"]:
        raise ValueError("network and source must be given")
    return Figure(
        network=row["network"],
        model=row["model"] or None,
        variant=row["variant"] or None,
        module=row["module"] or None,
        k=_int(row["k"]),
        alpha2=_int(row["alpha2"]),
        alpha3=_int(row["alpha3"]),
        change=_change(row["change"]),
        metric=metric,  # type: ignore[arg-type]
        value=float(row["value"]),
        dataset=row["dataset"] or None,
        split=row["split"] or None,
        epochs=_int(row["epochs"]),
        size=_size(row["size"]),
        source=row["source"],
    )


def _int(text: str) -> int | None:
    return int(text) if text else None


def _size(text: str) -> tuple[int, int] | None:
    if not text:
        return None
    width, height = text.split("x")
    return int(height), int(width)


def _change(text: str) -> tuple[str, str, str] | None:
    """`activation=relu->prelu` as field, before, after."""
    if not text:
        return None
    field, values = text.split("=")
    before, after = values.split("->")
    return field, before, after
