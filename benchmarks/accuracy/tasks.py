"""What is to be trained: one network under one protocol with one seed, in the order of the queue."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

from benchmarks.accuracy.protocols import PROTOCOLS
from search.trainable import trained_spec
from zoo.models.espnet import ESPNetSpec
from zoo.specs import as_dict


@dataclass(frozen=True, slots=True)
class Task:
    """One training. spec: as the search has it; what is trained is `stand_in`."""

    protocol: str
    spec: ESPNetSpec
    seed: int = 0

    @property
    def stand_in(self) -> Any:
        """The spec that is trained: its decoder as wide as that of the candidate."""
        return trained_spec(self.spec)

    @property
    def encoder(self) -> "Task | None":
        """The training of the encoder that a decoder's starts from; None for a network without decoder."""
        if self.spec.variant != "ESPNet":
            return None
        seen: Literal["B", "C"] = "B" if self.spec.image_path == "none" else "C"
        return replace(self, spec=replace(self.spec, variant=seen, decoder_sees_image=False))

    @property
    def name(self) -> str:
        """Names the task's files: what it is, and a hash of all of it."""
        text = json.dumps([self.protocol, as_dict(self.spec), self.seed], sort_keys=True)
        kind = f"{self.spec.variant}-k{self.spec.k}-{self.spec.alpha2}-{self.spec.alpha3}"
        return f"{self.protocol}-{kind}-s{self.seed}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


YARDSTICK = tuple(ESPNetSpec(variant=variant, alpha3=alpha3) for alpha3 in (8, 3, 5) for variant in ("C", "ESPNet"))
"""The six networks with released weights."""


CANDIDATES = ("half-size-distilled", "half-size", "third-distilled")
"""Protocols of which one becomes that of the labels, the likeliest first."""


def yardstick() -> Iterator[Task]:
    """The six networks under every candidate for the labels and under the truth, two of them with a second seed."""
    assert {"truth", *CANDIDATES} <= PROTOCOLS.keys()
    for protocol in (CANDIDATES[0], "truth", *CANDIDATES[1:]):
        yield from (Task(protocol, spec) for spec in YARDSTICK)
    yield from (Task("truth", spec, 1) for spec in YARDSTICK[:2])
