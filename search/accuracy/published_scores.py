"""Published mIOU on Cityscapes val with the spec of each, as data for the accuracy models."""

from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any

from search.accuracy.image_size import PUBLISHED_SIZE
from search.accuracy.linear import Evidence
from zoo.errors import ZooError
from zoo.models.espnet import ESPNetSpec
from zoo.models.espnetv2 import ESPNetv2Spec
from zoo.published import Figure, figures
from zoo.specs import Spec

FULL = "300 epochs"
SHORT = "100 epochs"
LARGE = "1024x512 input"


@cache
def evidence(family: str) -> tuple[Evidence, ...]:
    """All figures of a family, each run once. Raises ZooError where there are none."""
    if family not in READERS:
        raise ZooError(
            f"accuracy 'published' knows no Cityscapes val figures of the family {family!r}; "
            f"search one of {', '.join(READERS)}, measure candidates with --accuracy train, or leave mIOU out with "
            "--objective latency,size"
        )
    scores = [f for f in figures() if f.dataset == "cityscapes" and f.split == "val"]
    return tuple(READERS[family](scores))


def _espnet(scores: list[Figure]) -> Iterator[Evidence]:
    yielded: set[tuple[Spec, str]] = set()
    for figure in (f for f in scores if f.metric == "miou" and f.variant is not None):
        # The poster and the figure of the blocks repeat, rounded, the 300-epoch table.
        protocol = SHORT if figure.epochs == 100 else FULL
        spec = _espnet_spec(figure)
        if (spec, protocol) not in yielded:
            yielded.add((spec, protocol))
            yield _evidence(f"{figure.network} α3={figure.alpha3}", spec, None, protocol, figure)
    for figure in (f for f in scores if f.metric == "miou_change"):
        before, after = _ends(figure)
        # What two known figures say already is not said again.
        if not {(before, SHORT), (after, SHORT)} <= yielded:
            name = "{0}: {2} instead of {1}".format(*figure.change or ())
            yield _evidence(name, after, before, SHORT, figure)


def _espnetv2(scores: list[Figure]) -> Iterator[Evidence]:
    for figure in (f for f in scores if f.network == "ESPNetv2" and f.size == PUBLISHED_SIZE):
        scale = float((figure.model or "").removeprefix("espnetv2-"))
        yield _evidence(f"ESPNetv2 s={scale:g}", ESPNetv2Spec(scale=scale), None, LARGE, figure)


def smaller() -> Iterator[tuple[Evidence, tuple[int, int]]]:
    """Figures on Cityscapes val of networks at another input size than the usual, with that size (height, width)."""
    for figure in (f for f in figures() if (f.network, f.dataset, f.split) == ("ESPNetv2", "cityscapes", "val")):
        if figure.size and figure.size != PUBLISHED_SIZE:
            scale = float((figure.model or "").removeprefix("espnetv2-"))
            yield _evidence(f"ESPNetv2 s={scale:g}", ESPNetv2Spec(scale=scale), None, LARGE, figure), figure.size


READERS: Mapping[str, Callable[[list[Figure]], Iterator[Evidence]]] = {"espnet": _espnet, "espnetv2": _espnetv2}

PROTOCOLS: Mapping[str, str] = {"espnet": FULL, "espnetv2": LARGE}
"""Family -> the protocol that predictions are for."""


def _evidence(name: str, spec: Spec, against: Spec | None, protocol: str, figure: Figure) -> Evidence:
    resolution = 0.5 if figure.value == round(figure.value) else 0.05
    return Evidence(name, spec, against, protocol, figure.value, resolution, figure.source)


def _espnet_spec(figure: Figure, **changes: Any) -> ESPNetSpec:
    """Blocks other than ESP were compared with strided convolutions."""
    values = {"variant": figure.variant, "k": figure.k, "alpha2": figure.alpha2, "alpha3": figure.alpha3} | changes
    settings: dict[str, Any] = {name: value for name, value in values.items() if value is not None}
    if settings.get("variant") in ("A", "B"):
        settings["image_path"] = "none"
    if figure.module not in (None, "esp"):
        settings |= {"block": figure.module, "downsample": "conv"}
    return ESPNetSpec(**settings)


def _ends(figure: Figure) -> tuple[ESPNetSpec, ESPNetSpec]:
    """The networks before and after a change."""
    field, *texts = figure.change or ("", "", "")
    kind = type(getattr(ESPNetSpec(), field))
    values = [text == "true" if kind is bool else kind(text) for text in texts]
    before, after = (_espnet_spec(figure, **{field: value}) for value in values)
    return before, after
