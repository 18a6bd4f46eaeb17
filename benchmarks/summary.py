"""`python -m benchmarks.summary`: the aims of the project beside what this kind of machine reaches, in CPU time.

What is measured is kept in summary.json by kind of machine; one kind never overwrites another. CPU time, user and
system, counts, so that a machine that others use can be measured too; what others took stands beside it.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks import peers
from benchmarks.machine import Others, installed_environment, kind, machine, now
from zoo.markdown import table

KEPT = Path(__file__).resolve().with_name("summary.json")

SEARCH = ("search", "--device", "tx2", "--max-latency-ms", "150", "--max-power-w", "2", "--max-params", "400k")
"""README's search."""

PACKAGES = ("torch", "onnxruntime", "openvino", "numpy")

Runs = Callable[[], dict[str, float]]


def cpu_s(*argv: str, home: Path) -> float:
    """CPU seconds, user and system, of one command in a process of its own. Raises RuntimeError where it fails."""
    out = os.open(os.devnull, os.O_WRONLY)
    environment = installed_environment() | {"ZOO_HOME": str(home)}
    actions = [(os.POSIX_SPAWN_DUP2, out, number) for number in (1, 2)]
    command = [sys.executable, "-m", "zoo", *argv]
    _, status, usage = os.wait4(os.posix_spawn(sys.executable, command, environment, file_actions=actions), 0)
    os.close(out)
    if status:
        raise RuntimeError(f"zoo {' '.join(argv)} failed")
    return usage.ru_utime + usage.ru_stime


def commands() -> dict[str, float]:
    """CPU seconds of the commands, the least of three; a cold search has an empty cache, but compiled modules."""
    with tempfile.TemporaryDirectory() as folder:
        home, run = Path(folder) / "home", str(Path(folder) / "run")
        cpu_s(*SEARCH, "-o", str(Path(folder) / "compiles"), home=Path(folder) / "other")
        seconds = {
            "search, cold": cpu_s(*SEARCH, "-o", run, home=home),
            "search, warm": min(cpu_s(*SEARCH, "-o", run, home=home) for _ in range(2)),
            "verify": cpu_s("verify", run, home=home),
        }
        for name, words in (
            ("list", ("list",)),
            ("show", ("show", "espnet")),
            ("predict", ("predict", "espnet", "--device", "tx2")),
        ):
            seconds[name] = min(cpu_s(*words, home=home) for _ in range(3))
    return seconds


def inference() -> dict[str, float]:
    """How many times as fast as eager torch OpenVINO with passes is, in CPU time of one thread."""
    import torch

    from benchmarks.inference import NETWORKS, SIZES, eager, fast, network_of, street
    from benchmarks.side_by_side import side_by_side
    from zoo.backends.compiled import openvino_run
    from zoo.passes import optimize
    from zoo.passes.rewrite import at_size

    torch.set_num_threads(1)
    ratios = {}
    for size in SIZES:
        network, _, _ = network_of(NETWORKS[0], size)
        x, best = street(network, size), optimize(network)
        functions = {
            "eager": eager(network, x),
            "openvino": fast(openvino_run(best, at_size(best.graph, size), 1, 1), x),
        }
        ratio = side_by_side(functions, rounds=7, least_s=0.0, clock=time.process_time).ratio("openvino")
        ratios[f"inference {size[1]}x{size[0]}"] = ratio.value
    return ratios


def folders() -> dict[str, float]:
    """Folders as a share of the network alone, in CPU time, by kind of file and size."""
    from benchmarks.inference import KINDS, SIZES, streams
    from zoo.backends.choice import available_cores

    shares = {}
    for size in SIZES:
        rounds = streams(size, full=False)[1]["CPU time"]["ratios"]
        for name in KINDS:
            ratio = rounds[f"{name.upper()} files, {available_cores()} at once"]
            shares[f"{name} {size[1]}x{size[0]}"] = ratio["value"]
    return shares


PARTS: Mapping[str, Runs] = {"commands": commands, "inference": inference, "folders": folders}

PEERS: Mapping[str, Callable[[], Iterator[peers.Value]]] = {"networks": peers.networks, "samplers": peers.samplers}
"""Parts whose values are kept one by one, as each takes minutes."""

AIMS: Mapping[str, tuple[str, str, str]] = {
    "search, cold": ("README's search with its chart, first time", "≤ 3 s", "{:.1f} s"),
    "search, warm": ("the same, second time", "≤ 1 s", "{:.1f} s"),
    "verify": ("`zoo verify` of it", "≤ 2 × cold search", "{:.1f} s"),
    "list": ("`zoo list`", "≤ 0.4 s", "{:.2f} s"),
    "show": ("`zoo show`", "≤ 0.4 s", "{:.2f} s"),
    "predict": ("`zoo predict`", "≤ 0.4 s", "{:.2f} s"),
    "inference 1024x512": ("`espnet-8` at 1024x512 beside eager torch", "≥ 3.5 ×", "{:.2f} ×"),
    "inference 480x360": ("`espnet-8` at 480x360 beside eager torch", "≥ 3.5 ×", "{:.2f} ×"),
    "jpeg 1024x512": ("folder of JPEG at 1024x512 beside the network alone", "≥ 0.9", "{:.2f}"),
    "png 1024x512": ("folder of PNG at 1024x512", "≥ 0.9", "{:.2f}"),
    "jpeg 480x360": ("folder of JPEG at 480x360", "≥ 0.9", "{:.2f}"),
    "png 480x360": ("folder of PNG at 480x360", "≥ 0.9", "{:.2f}"),
    "training": ("`zoo train --amp --compile` beside a plain loop, `espnet-c-3`", "≥ 2 ×, 3 × with BF16", "{:.2f} ×"),
}
"""What is measured -> in words, the aim, and how a figure is written."""


TRIED = (
    "Folders, of 94 ms of CPU time that `espnet-8.camvid` takes at 480x360 (AVX2, one thread, under load, medians of 7 "
    "rounds in one process). Taken: preprocessing in OpenVINO's graph (2.1 ms, now nothing that can be told), label "
    "maps compressed by runs (3.5 ms, now 1.3), one copy less of the decoded image (0.8 ms, now 0.2). Not taken: the "
    "arg-max in OpenVINO's graph (8 ms more, where torch needs 5). What is left is the arg-max, and decoding PNG: 7.9 "
    "ms in Pillow, 2.5 of them zlib; libspng and FFmpeg need 4.3 and OpenCV 6.4, which is not worth another decoder.",
    "Search, second time: the files of an answer and its chart are kept in the cache, under the hash of all that they "
    "rest on. What is left is Python, numpy and our modules, and the hash of the code.",
    "Search, first time: PNG and SVG are one figure, drawn once and written by two processes; the published networks "
    "in it share one predictor; the shortlist is found in a process beside the rows; a device's rows are fitted once "
    "for all its clocks. Lowering, pricing and comparing remain, and the chart, for which matplotlib is imported "
    "meanwhile. Not taken: lowering the next part of the space while one is compared: no gain on two cores.",
    "Commands: a family is imported when it is asked for, and so are filelock and the bench's accuracy model. What is "
    "left is numpy, our classes, and what readings of the device say of a network.",
    "Inference: the passes of [the fast path](fast-path.md), of which each one's gain is below. On AVX2 the distance "
    "to the aim is open.",
)
"""What was done for the aims, and what was left."""


def kept() -> dict[str, Any]:
    """Kind of machine -> what was measured on it."""
    document: dict[str, Any] = json.loads(KEPT.read_text(encoding="utf-8")) if KEPT.exists() else {}
    return document


def markdown(document: Mapping[str, Any]) -> str:
    """The table of aims, a column a kind of machine, and how each column came to be."""
    kinds = list(document)
    rows = []
    for name, (title, aim, form) in AIMS.items():
        cells = [
            form.format(value) if (value := document[machine_kind]["values"].get(name)) is not None else ""
            for machine_kind in kinds
        ]
        rows.append((title, aim, *cells))
    notes = [
        f"{machine_kind}: {document[machine_kind]['how']} {document[machine_kind].get('note', '')}".strip()
        for machine_kind in kinds
    ]
    lists = "\n\n".join("\n".join(f"* {item}" for item in items) for items in (notes, TRIED))
    beside = peers.markdown({machine_kind: document[machine_kind].get("peers", {}) for machine_kind in kinds})
    return "\n\n".join(part for part in (table(("", "aim", *kinds), rows, 1 + len(kinds)), beside, lists) if part)


def measure(names: Sequence[str]) -> None:
    """Measure some parts on this machine, and keep each as soon as it is there."""
    for name in names:
        if name in PEERS:
            measure_peers(name)
            continue
        other_load = Others()
        values = PARTS[name]()
        document = kept()
        column = document.setdefault(kind(), {"values": {}, "loads": {}, "how": ""})
        column["values"] |= values
        column["loads"][name] = other_load.share()
        column["how"] = how(column["loads"])
        KEPT.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def how(loads: Mapping[str, float | None]) -> str:
    """How the values of this machine came to be; loads: share of the CPUs that others took, by part."""
    shares = [f"{load:.0%} ({name})" for name, load in loads.items() if load is not None]
    busy = f", while other processes took of the CPUs: {', '.join(shares)}" if shares else ""
    return f"CPU time, user and system, the last measured on {now()}{busy}; {machine(PACKAGES)}."


def measure_peers(name: str) -> None:
    """Measure what one would pick instead on this machine, and keep each value as soon as it is there."""
    for key, value in PEERS[name]():
        document = kept()
        document.setdefault(kind(), {"values": {}, "loads": {}, "how": ""}).setdefault("peers", {})[key] = value
        KEPT.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.summary", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join([*PARTS, *PEERS])} (default: all)")
    names = parser.parse_args(argv).parts or [*PARTS, *PEERS]
    measure(names)
    from benchmarks.page import rewritten

    rewritten()
    return 0


if __name__ == "__main__":
    sys.exit(main())
