"""Which networks are labelled: encoders spread over the default space by rule, each without and with its decoder.

`python -m benchmarks.accuracy.design` writes the list anew (minutes); the queue reads the file.
"""

import json
import sys
from functools import cache
from itertools import product
from math import log2
from pathlib import Path

import numpy as np

from benchmarks.accuracy.tasks import YARDSTICK, Task
from search.accuracy.bench.design import support
from search.space import space_of
from zoo.config import load_config
from zoo.models.espnet import ESPNetSpec
from zoo.registry import lower, spec_from_dict
from zoo.specs import as_dict

LIST = Path(__file__).with_name("labelled.json")

SIZE = (512, 1024)
MAX_MACS = 8e9
"""At 1024x512, with decoder: 1.7 times espnet-8's. Candidates beyond it are beyond the evidence."""

POOL, SEED = 1500, 2026
ENCODERS, OTHERS, REPEATS = 24, 4, 6

CATEGORY = 0.35
"""Distance between two values of a choice that is no number, against the whole range of one that is."""


def position(spec: ESPNetSpec) -> list[float]:
    """A spec's place: depths, widths, K and MACs by their logarithm, each over about 0 to 1."""
    place = [log2(spec.k / 2) / 2, log2(spec.alpha2) / 2.33, log2(spec.alpha3) / 3.6]
    place += [log2(width / low) / 2 for width, low in zip(spec.widths, (8, 32, 64), strict=True)]
    place.append(log2(lower(spec, SIZE).macs / 4e8) / 4.3)
    chosen = (spec.activation == "relu", spec.reduce == "3x3", spec.image_path == "none")
    return [*place, *(CATEGORY * float(value) for value in chosen)]


def _pool(variants: tuple[str, ...]) -> list[ESPNetSpec]:
    """Random specs of the default space with these variants and no more than MAX_MACS."""
    space = space_of(load_config().space("default"), SIZE)
    rng, out = np.random.default_rng((SEED, len(variants))), []
    for row in space.sample(rng, 40 * POOL):
        spec = space.spec(int(row))
        assert isinstance(spec, ESPNetSpec)
        if spec.variant in variants and lower(spec, SIZE).macs <= MAX_MACS:
            out.append(spec)
        if len(out) == POOL:
            break
    return out


@cache
def encoders() -> tuple[ESPNetSpec, ...]:
    """The encoders of the pairs as networks with decoder: the yardstick's three, then support points of the space."""
    yardstick = [spec for spec in YARDSTICK if spec.variant == "ESPNet"]
    pool = [*yardstick, *_pool(("ESPNet",))]
    chosen = support(np.array([position(spec) for spec in pool]), len(yardstick), ENCODERS)
    return tuple(pool[i] for i in chosen)


@cache
def others() -> tuple[ESPNetSpec, ...]:
    """Networks A and B, which are no encoder of a pair."""
    pool = _pool(("A", "B"))
    rows = support(np.array([position(spec) for spec in pool]), 0, 4 * OTHERS)
    by_variant = {v: [pool[i] for i in rows if pool[i].variant == v] for v in ("A", "B")}
    return tuple(by_variant[v][i] for i, v in product(range(OTHERS // 2), ("A", "B")))


def design() -> dict[str, list[ESPNetSpec]]:
    """The networks with decoder whose encoders are trained too, and the others, as the file has them."""
    document = json.loads(LIST.read_text(encoding="utf-8"))
    specs = {key: [spec_from_dict(entry) for entry in document[key]] for key in ("pairs", "others")}
    return {key: [spec for spec in members if isinstance(spec, ESPNetSpec)] for key, members in specs.items()}


def labels(protocol: str) -> list[Task]:
    """The tasks of the label set in their order; every eighth pair has a second seed."""
    out: list[Task] = []
    for i, spec in enumerate(design()["pairs"]):
        for seed in (0, 1) if i % (ENCODERS * 2 // REPEATS) == 0 else (0,):
            pair = Task(protocol, spec, seed)
            assert pair.encoder is not None
            out += [pair.encoder, pair]
    out += [Task(protocol, spec) for spec in design()["others"]]
    return out


def held_out_pool() -> list[ESPNetSpec]:
    """Specs of the space from which held-out networks may be drawn: none that is labelled, nor its pair."""
    pairs, single = design()["pairs"], design()["others"]
    encoders_ = {task.spec for spec in pairs if (task := Task("", spec).encoder)}
    labelled = {*pairs, *single, *encoders_}
    return [spec for spec in _pool(("A", "B", "C", "ESPNet")) if spec not in labelled]


def main() -> int:
    """Write the list."""
    document = {"pairs": [as_dict(spec) for spec in encoders()], "others": [as_dict(spec) for spec in others()]}
    LIST.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
