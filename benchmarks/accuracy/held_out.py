"""The networks on which the accuracy model is judged: fixed, with a hash, before the model's form is chosen.

Four of the front that the README's search predicts, four at random, and four whose predicted latency is within a
twentieth of espnet-8's, all of the default space, none a label nor the encoder of one. They are trained under the
truth protocol, predicted once, and all of them are published. `python -m benchmarks.accuracy.held_out` wrote the list.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.accuracy.design import SIZE, held_out_pool, labels, position
from benchmarks.accuracy.tasks import Task
from hw_models.predictors import predictor
from search.accuracy.bench.design import support
from search.device_at import DeviceAt
from search.exact import answer
from search.query import Query
from search.space import digest, space_of
from zoo.config import Limits, load_config
from zoo.models.espnet import ESPNetSpec
from zoo.registry import lower, spec_from_dict
from zoo.specs import as_dict

LIST = Path(__file__).with_name("held_out.json")

SHA256 = "e48e6f374a203337e616d5ea4610a357207ad441d79598d1245b69f37843808d"
"""Of the list, as `search.space.digest` has it."""

EACH, SEED, BAND = 4, 2027, 0.05


def held_out() -> dict[str, list[ESPNetSpec]]:
    """The list by why a network is on it. Raises ValueError where it is not the one that was fixed."""
    document = json.loads(LIST.read_text(encoding="utf-8"))
    if digest(document) != SHA256:
        raise ValueError(f"{LIST.name} is not the list that was fixed: its hash is {digest(document)}")
    return {why: [spec for entry in rows if (spec := _espnet(entry))] for why, rows in document.items()}


def truths() -> list[Task]:
    """The trainings that the held-out networks need, encoders before the networks with decoder on them."""
    out: list[Task] = []
    for task in (Task("truth", spec) for specs in held_out().values() for spec in specs):
        out += [task] if task.encoder is None else [task.encoder, task]
    return list(dict.fromkeys(out))


def _espnet(entry: Mapping[str, Any]) -> ESPNetSpec | None:
    spec = spec_from_dict(entry)
    return spec if isinstance(spec, ESPNetSpec) else None


def _front() -> list[ESPNetSpec]:
    """Of the front of the README's search, those at evenly spaced ranks that may be held out."""
    limits = Limits(max_latency_ms=150.0, max_power_w=2.0, max_params=400_000)
    space = space_of(load_config().space("default"), SIZE)
    front = answer(Query(space=space, devices=(DeviceAt("tx2"),), limits=limits)).specs
    labelled = {task.spec for task in labels("truth")}
    free = [spec for spec in front if isinstance(spec, ESPNetSpec) and spec not in labelled]
    return [free[round((2 * i + 1) * (len(free) - 1) / (2 * EACH))] for i in range(EACH)]


def _band(pool: Sequence[ESPNetSpec]) -> list[ESPNetSpec]:
    """Of those within a twentieth of espnet-8's latency on a TX2, the ones that best cover them."""
    prices = predictor("tx2")

    def seconds(spec: ESPNetSpec) -> float:
        return float(prices.finish(prices.terms(lower(spec, SIZE).layers)).latency_s_mean)

    middle = seconds(ESPNetSpec(variant="ESPNet", alpha3=8))
    inside = [spec for spec in pool if abs(seconds(spec) / middle - 1) <= BAND]
    chosen = support(np.array([position(spec) for spec in inside]), 0, EACH)
    return [inside[i] for i in chosen]


def main() -> int:
    """Write the list and print its hash; a list that is there was fixed, and stays."""
    if LIST.exists():
        print(f"{LIST.name} was fixed with the hash {SHA256}; it is not written again", file=sys.stderr)
        return 1
    pool = held_out_pool()
    front = _front()
    remaining = [spec for spec in pool if spec not in front]
    order = np.random.default_rng(SEED).permutation(len(remaining))
    at_random = [remaining[i] for i in order[:EACH]]
    band = _band([spec for spec in remaining if spec not in at_random])
    document = {
        "front": [as_dict(spec) for spec in front],
        "random": [as_dict(spec) for spec in at_random],
        "band": [as_dict(spec) for spec in band],
    }
    LIST.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    print(digest(document))
    return 0


if __name__ == "__main__":
    sys.exit(main())
