"""Overhead of a trial: of the samplers alone, of a whole study with its journal on disk, and of Ray."""

import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks.machine import Others
from benchmarks.page import Section
from benchmarks.side_by_side import MAX_OTHERS, duration, markdown
from benchmarks.truths import drawn, known_before, optunas, ours, problem, query
from search.study.feasible import FeasibleSet
from zoo.errors import ZooError

OURS, OPTUNAS = ("ehvi", "tpe", "nsga2", "random"), ("tpe", "nsga2", "random")
TRIALS, LAST = 200, 20
AIM_S = 0.05
RAY_TRIALS = 36


def alone(feasible: FeasibleSet, rounds: int) -> dict[str, list[float]]:
    """Seconds of each proposal, the samplers taking turns: the median over the rounds."""
    own, truth = known_before(feasible), drawn(feasible, 0)
    runs: dict[str, list[list[float]]] = {}
    for _ in range(rounds):
        for name in OURS:
            runs.setdefault(f"`{name}`", []).append(ours(name, feasible, own, truth, 0, TRIALS)[1])
        for name in OPTUNAS:
            runs.setdefault(f"Optuna's {name}", []).append(optunas(name, feasible, truth, 0, TRIALS)[1])
        print(f"samplers, round of {rounds} done", file=sys.stderr, flush=True)
    return {name: [median(times) for times in zip(*rounds_of, strict=True)] for name, rounds_of in runs.items()}


def study(sampler: str) -> float:
    """Seconds of a trial of a study that evaluates nothing, the last 50 of 200, told to the journal on disk."""
    from search.study.config import StudyConfig
    from search.study.study import start

    with tempfile.TemporaryDirectory() as name:
        times = start_and_time(start, query(), StudyConfig(trials=TRIALS, sampler=sampler), Path(name))
    return float(median(np.diff(times)[-50:]))


def start_and_time(start: Callable[..., Any], *arguments: Any, **engine: Any) -> list[float]:
    """When each trial was told."""
    events: list[tuple[str, float]] = []
    start(*arguments, say=lambda text: events.append((text, time.perf_counter())), **engine)
    return [moment for text, moment in events if text.startswith("search ")]


def on_workers() -> dict[str, Any]:
    """Trials that cost nothing on Ray's workers of this machine: seconds each, once all workers have started."""
    import ray

    from benchmarks.truths import LIMITS
    from search.study.config import StudyConfig
    from search.study.engines.ray_cluster import on_ray
    from search.study.study import start

    engine = on_ray()
    try:
        with tempfile.TemporaryDirectory() as name:
            config = StudyConfig(trials=RAY_TRIALS, sampler="random")
            times = start_and_time(start, query("default", LIMITS), config, Path(name), engine=engine)
        workers = int(ray.cluster_resources()["CPU"])  # type: ignore[no-untyped-call]
    finally:
        ray.shutdown()
    return {"seconds": float(np.mean(np.diff(times)[-20:])), "workers": workers}


def run(full: bool) -> Section:
    """A Markdown section."""
    warnings.simplefilter("ignore")
    load = Others()
    feasible = problem()
    times = alone(feasible, rounds=3 if full else 1)
    studies = {f"`{name}`": study(name) for name in OURS}
    ray, busy = _ray(), load.share()
    worst = max(median(times[f"`{name}`"][-LAST:]) for name in OURS)
    noisy = " The machine was too noisy to tell." if busy is not None and busy > MAX_OTHERS else ""
    rows = [
        (
            name,
            duration(median(seconds[:LAST])),
            duration(median(seconds[-LAST:])),
            duration(max(seconds)),
            duration(studies[name]) if name in studies else "–",
        )
        for name, seconds in times.items()
    ]
    head = ("sampler", f"trials 1 to {LAST}", f"{TRIALS - LAST + 1} to {TRIALS}", "longest", "a trial of a study")
    text = f"""\
## Overhead of a trial

Seconds of a proposal among {len(feasible):,} candidates, as in the section on sampling but timed on its own, one
process, samplers in turn; and of a whole trial of `zoo search --trials {TRIALS}` whose evaluation costs nothing, trials
151 to {TRIALS}, told to the journal on disk. The aim is {1e3 * AIM_S:.0f} ms at {TRIALS} trials:
{"met" if worst <= AIM_S else "missed"}, with {duration(worst)} at worst of ours.{noisy}

{markdown([head, *rows])}

{ray["text"]}
"""
    return Section(text, {"proposals": times, "studies": studies, "ray": ray, "others_": busy})


def _ray() -> dict[str, Any]:
    try:
        result = on_workers()
    except ModuleNotFoundError:
        return {"text": "Ray is not installed here."}
    except ZooError as error:
        return {"text": f"Ray's overhead was not measured: {error}."}
    per_trial = duration(result["seconds"])
    text = (
        f"Through `--engine ray`, evaluation at no cost: {per_trial} a trial with {result['workers']} workers on this "
        f"machine, the last 20 of {RAY_TRIALS} trials."
    )
    return result | {"text": text}
