"""Counting: our graph, a whole space at once, fvcore, ptflops and torch's counter, on the same networks in turn."""

import json
import sys
import time
from collections.abc import Callable
from functools import partial
from statistics import median
from typing import Any

from benchmarks.machine import MIB, fresh, peak_bytes
from benchmarks.page import Section
from benchmarks.side_by_side import Comparison, duration, markdown, side_by_side
from zoo.config import load_config
from zoo.graph import Shape
from zoo.registry import lower
from zoo.specs import Spec

SIZE = (512, 1024)
NETWORKS = ("espnet-c-3", "espnet-8", "espnetv2-1.0")
BLANK = "\n\n"
SPACE = "one of the space `default`"


def whole_space() -> int:
    """Count all valid candidates of the default space, nothing cached before; returns their number."""
    from search.space import space_of
    from zoo.bulk.lower import BulkLowering

    space = space_of(load_config().space("default"), SIZE)
    lowering, count = BulkLowering(space.choices, Shape(3, *SIZE)), 0
    for rows in space.chunks():
        bulk = lowering.lower(space.choices.codes(rows))
        assert len(bulk.params) == len(bulk.macs) == len(bulk.peak_activation_bytes) == len(rows)
        count += len(rows)
    return count


def ours(spec: Spec) -> tuple[int, int, int]:
    graph = lower(spec, SIZE)
    return graph.params, graph.macs, graph.peak_activation_bytes


def with_fvcore(spec: Spec) -> tuple[int, int]:
    from fvcore.nn import FlopCountAnalysis, parameter_count

    network, image = _network(spec, "cpu")
    analysis = FlopCountAnalysis(network, image).unsupported_ops_warnings(False).uncalled_modules_warnings(False)
    return parameter_count(network)[""], int(analysis.total())


def with_ptflops(spec: Spec) -> tuple[int, int]:
    from ptflops import get_model_complexity_info

    network, _ = _network(spec, "cpu")
    macs, params = get_model_complexity_info(network, (3, *SIZE), as_strings=False, print_per_layer_stat=False)
    return int(params), int(macs)


def with_torch(spec: Spec) -> tuple[int, int]:
    """On the meta device, where nothing is computed."""
    from torch.utils.flop_counter import FlopCounterMode

    network, image = _network(spec, "meta")
    with FlopCounterMode(display=False) as counter:
        network(image)
    return sum(p.numel() for p in network.parameters()), int(counter.get_total_flops())


def _network(spec: Spec, device: str) -> Any:
    import torch

    from zoo.network import build

    torch.set_grad_enabled(False)
    with torch.device(device):
        return build(spec, SIZE).eval(), torch.zeros(1, 3, *SIZE)


COUNTERS: dict[str, Callable[[Spec], tuple[int, ...]]] = {
    "fvcore": with_fvcore,
    "ptflops": with_ptflops,
    "torch's counter": with_torch,
    "our graph, one network": ours,
}


def run(full: bool) -> Section:
    """A Markdown section."""
    names = NETWORKS if full else NETWORKS[:2]
    count = whole_space()
    tables, data = [], {}
    for name in names:
        comparison = compared(load_config().model(name).spec, count, rounds=9 if full else 5)
        tables.append(comparison.table(head_text=f"`{name}`") + f"\n\n{comparison.verdict()}")
        data[name] = comparison.document()
    memory = {counter: [child(counter, names[-1]) for _ in range(3)] for counter in COUNTERS}
    text = f"""\
## Counting

Parameters, MACs and, ours only, peak memory of a network at 1024x512. The others count modules, so that building
one belongs to it (torch's counter on the meta device, where nothing is computed, the others on the CPU). The space
has {count:,} valid specs; all of them are counted from nothing, in {duration(_space_s(data, count))}.

{BLANK.join(tables)}

A fresh process that counts `{names[-1]}` alone, start and imports included, median of 3:

{markdown([("", "time", "peak memory"), *(_memory_row(counter, runs) for counter, runs in memory.items())])}
"""
    return Section(text, {"networks": data, "fresh": memory})


def compared(spec: Spec, size: int, rounds: int) -> Comparison:
    """All counters on one network in turn, and the whole space, as seconds a network."""
    functions: dict[str, Callable[[], object]] = {name: partial(count, spec) for name, count in COUNTERS.items()}
    comparison = side_by_side({**functions, SPACE: whole_space}, rounds=rounds, limit_s=60)
    per_network = {
        name: tuple(s / (size if name == SPACE else 1) for s in values) for name, values in comparison.seconds.items()
    }
    return Comparison(per_network, comparison.others)


def _space_s(data: dict[str, Any], count: int) -> float:
    return float(median(s * count for comparison in data.values() for s in comparison["seconds"][SPACE]))


def child(counter: str, name: str) -> dict[str, float]:
    """Seconds and peak memory of a fresh process that counts one network."""
    start = time.perf_counter()
    peak = json.loads(fresh("benchmarks.counting", counter, name))
    return {"seconds": time.perf_counter() - start, "peak_bytes": peak}


def _memory_row(counter: str, runs: list[dict[str, float]]) -> tuple[str, str, str]:
    peak = max(process_run["peak_bytes"] for process_run in runs)
    return counter, duration(median(process_run["seconds"] for process_run in runs)), f"{peak / MIB:,.0f} MiB"


if __name__ == "__main__":
    COUNTERS[sys.argv[1]](load_config().model(sys.argv[2]).spec)
    print(peak_bytes())
