"""What a user would pick instead, beside ours: CPU time of one thread, so that a busy machine can be measured too."""

import copy
import time
from collections.abc import Callable, Iterator, Mapping
from statistics import median
from typing import Any

from zoo.markdown import table

SIZE = (360, 480)
"""Height and width."""

COMPILED, RUNTIME, OPENVINO, OURS = (
    "torch.compile, channels last",
    "onnxruntime as it comes",
    "OpenVINO as it comes",
    "OpenVINO after our passes (`zoo segment`)",
)

SAMPLERS = ("tpe", "nsga2")
TRIALS = 300

Value = tuple[str, float]


def networks() -> Iterator[Value]:
    """Name and how many times as fast as eager torch, of each way to run `espnet-8`."""
    import torch

    from benchmarks.inference import NETWORKS, eager, fast, network_of, street
    from zoo.backends.compiled import onnxruntime_run, openvino_run
    from zoo.passes import optimize
    from zoo.passes.rewrite import at_size

    torch.set_num_threads(1)
    network, _, _ = network_of(NETWORKS[0], SIZE)
    x, best = street(network, SIZE), optimize(network)
    base = eager(network, x)
    yield RUNTIME, _ratio(base, fast(onnxruntime_run(network, at_size(network.graph, SIZE), 1, 1), x))
    yield OPENVINO, _ratio(base, fast(openvino_run(network, at_size(network.graph, SIZE), 1, 1), x))
    yield OURS, _ratio(base, fast(openvino_run(best, at_size(best.graph, SIZE), 1, 1), x))
    last = copy.deepcopy(network).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    compiled: Any = torch.compile(last)
    yield COMPILED, _ratio(base, eager(compiled, x.contiguous(memory_format=torch.channels_last)))


def _ratio(base: Callable[[], object], other: Callable[[], object]) -> float:
    from benchmarks.side_by_side import side_by_side

    functions = {"base": base, "other": other}
    return side_by_side(functions, rounds=9, least_s=0.0, clock=time.process_time).ratio("other").value


def samplers() -> Iterator[Value]:
    """Share of the exact hypervolume that Optuna's samplers reach, and their CPU time over that of the exact search."""
    import numpy as np

    from benchmarks.truths import Score, optunas, problem, query
    from search.exact import search

    exact_s = median(_seconds(lambda: search(query())) for _ in range(3))
    feasible = problem()
    truth = feasible.miou[:, 1]
    score = Score(feasible.points(np.arange(len(feasible)), truth))
    for name in SAMPLERS:
        rows: list[int] = []
        seconds = _seconds(lambda name=name, rows=rows: rows.extend(optunas(name, feasible, truth, 0, TRIALS)[0]))  # type: ignore[misc]
        yield f"{name}, share", score(rows)
        yield f"{name}, time", seconds / exact_s


def _seconds(function: Callable[[], object]) -> float:
    start = time.process_time()
    function()
    return time.process_time() - start


def markdown(by_kind: Mapping[str, Mapping[str, float]]) -> str:
    """The tables, a column a kind of machine; empty where nothing was measured."""
    kinds = [kind for kind, values in by_kind.items() if values]
    if not kinds:
        return ""
    size = f"{SIZE[1]}x{SIZE[0]}"
    rows = [
        (f"{name}, beside eager torch", *(_cell(by_kind[kind], name, "{:.2f} ×") for kind in kinds))
        for name in (COMPILED, RUNTIME, OPENVINO, OURS)
    ]
    for name in SAMPLERS:
        rows += [
            (
                f"Optuna's {name}, {TRIALS} trials: share of the exact hypervolume",
                *(_cell(by_kind[kind], f"{name}, share", "{:.3f}") for kind in kinds),
            ),
            (
                f"Optuna's {name}: CPU time of its proposals over that of the exact search",
                *(_cell(by_kind[kind], f"{name}, time", "{:.1f} ×") for kind in kinds),
            ),
        ]
    head = (f"what one would pick instead; `espnet-8` at {size}, CPU time of one thread", *kinds)
    return table(head, rows, len(kinds))


def _cell(values: Mapping[str, float], name: str, form: str) -> str:
    return form.format(values[name]) if name in values else ""
