"""What is to be trained: one network under one protocol with one seed, in the order of the queue."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from benchmarks.accuracy.protocols import PROTOCOLS
from search.trainable import trained_spec
from zoo.models.espnet import ESPNetSpec
from zoo.registry import family
from zoo.specs import Spec, as_dict


@dataclass(frozen=True, slots=True)
class Task:
    """One training. spec: as the search has it; what is trained is `stand_in`."""

    protocol: str
    spec: Spec
    seed: int = 0

    @property
    def stand_in(self) -> Any:
        """The spec that is trained: its decoder as wide as that of the candidate."""
        return trained_spec(self.spec)

    @property
    def encoder(self) -> "Task | None":
        """The training of the encoder that a decoder's starts from; None for a network without decoder."""
        if not isinstance(self.spec, ESPNetSpec) or self.spec.variant != "ESPNet":
            return None
        variant: Literal["B", "C"] = "B" if self.spec.image_path == "none" else "C"
        return replace(self, spec=replace(self.spec, variant=variant, decoder_sees_image=False))

    @property
    def name(self) -> str:
        """Names the task's files: what it is, and a hash of all of it."""
        text = json.dumps([self.protocol, as_dict(self.spec), self.seed], sort_keys=True)
        kind = self.spec.family
        if isinstance(self.spec, ESPNetSpec):
            kind = f"{self.spec.variant}-k{self.spec.k}-{self.spec.alpha2}-{self.spec.alpha3}"
        return f"{self.protocol}-{kind}-s{self.seed}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


RESULTS = Path(__file__).with_name("results")
"""Rows and weights of finished trainings."""

YARDSTICK = tuple(ESPNetSpec(variant=variant, alpha3=alpha3) for alpha3 in (8, 3, 5) for variant in ("C", "ESPNet"))
"""The six networks with released weights."""


PEERS = ("fpenet", "enet")
"""Families of at most 0.4 M parameters whose default network is trained under the truth protocol too."""

CANDIDATES = ("half-size-distilled-brief", "half-size-distilled", "third-distilled", "half-size")
"""Protocols of which one becomes that of the labels, the cheapest of the likely ones first.

At half the size alpha3 = 3 is ahead of alpha3 = 8, and so it is under the truth (`candidates`): in 60 epochs from
random weights the deeper encoder ends with the larger training loss.
"""


def yardstick() -> Iterator[Task]:
    """The six networks under the truth and the likeliest candidate by turns, two with a second seed; then the others.

    Encoders of different depth come first: their pairs tell earliest whether a candidate ranks depth rightly.
    """
    assert {"truth", *CANDIDATES} <= PROTOCOLS.keys()
    order = sorted(YARDSTICK, key=lambda spec: (spec.alpha3 == 5, spec.variant == "ESPNet"))
    for spec in order:
        yield from (Task(protocol, spec) for protocol in ("truth", CANDIDATES[0]))
    yield from (Task("truth", spec, 1) for spec in YARDSTICK[:2])
    for protocol in CANDIDATES[1:]:
        yield from (Task(protocol, spec) for spec in order)


def peers() -> list[Task]:
    """What an engineer would take instead, under the protocol of the yardstick."""
    return [Task("truth", family(name).spec()) for name in PEERS]
