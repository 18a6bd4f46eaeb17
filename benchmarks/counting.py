"""Counting: our graph, a whole space, and fvcore, on the same networks in the same run."""

import time
from collections.abc import Callable
from statistics import median

from search.space import space_of
from zoo.bulk import BulkLowering
from zoo.config import load_config
from zoo.counters import count_with
from zoo.graph import Shape
from zoo.registry import lower

SIZE = (512, 1024)


def seconds(function: Callable[[], object], repeats: int) -> float:
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return median(times)


def whole_space() -> tuple[int, float]:
    """Valid candidates of the default space and the seconds to count them all, nothing cached before."""
    start = time.perf_counter()
    space = space_of(load_config().space("default"), SIZE)
    lowering, count = BulkLowering(space.choices, Shape(3, *SIZE)), 0
    for rows in space.chunks():
        bulk = lowering.lower(space.choices.codes(rows))
        assert len(bulk.params) == len(bulk.macs) == len(bulk.peak_activation_bytes) == len(rows)
        count += len(rows)
    return count, time.perf_counter() - start


def run() -> str:
    """A Markdown section."""
    config = load_config()
    rows = []
    runs = [whole_space() for _ in range(3)]
    count = runs[0][0]
    each = median(run[1] for run in runs) / count
    for name in ("espnet-c-3", "espnet-8"):
        spec = config.model(name).spec

        def ours(spec: object = spec) -> object:
            graph = lower(spec, SIZE)  # type: ignore[arg-type]
            return graph.params, graph.macs, graph.peak_activation_bytes

        one, fvcore = seconds(ours, 9), seconds(lambda spec=spec: count_with("fvcore", spec, SIZE), 3)
        rows.append(
            f"| `{name}` | {1e3 * fvcore:.0f} ms | {1e3 * one:.2f} ms | {fvcore / one:,.0f}× "
            f"| {1e6 * each:.1f} µs | {fvcore / each:,.0f}× |"
        )
    head = (
        "| network | fvcore, one trace | one candidate | ratio | one of a space | ratio |\n"
        "| --- | --: | --: | --: | --: | --: |\n"
    )
    protocol = (
        "Parameters, MACs and peak memory at 1024x512; medians; fvcore traces a module, building it included. "
        f"The space is `default` of zoo.yaml: {count:,} valid specs, from nothing cached to the last count in "
        f"{median(run[1] for run in runs):.2f} s.\n\n"
    )
    return "## Counting\n\n" + protocol + head + "\n".join(rows) + "\n"
