"""`python -m benchmarks [PART…]`: measure, print, and write the sections of docs/benchmarks.md.

A part is a module with `run(full)`, which returns a Section. Each section is written as soon as it is there, so that
Ctrl-C costs only the part that runs.
"""

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module

from benchmarks import plots
from benchmarks.machine import Others, kind, machine, now
from benchmarks.page import PAGE, Measured, Section, write


@dataclass(frozen=True)
class Part:
    """module: in this package. minutes: of a quick run, about. packages: whose versions the section names."""

    module: str
    what: str
    minutes: float
    packages: tuple[str, ...] = ("numpy",)
    quick: bool = True


PARTS = {
    "inference": Part(
        "inference", "one image: eager, fused and other runtimes", 1.5, ("torch", "onnxruntime", "openvino")
    ),
    "passes": Part(
        "passes", "one image: what each pass gains in each runtime", 0.7, ("torch", "onnxruntime", "openvino")
    ),
    "large": Part(
        "large", "memory of an image of 120 megapixels", 3, ("torch", "onnxruntime", "openvino"), quick=False
    ),
    "training": Part("training", "`zoo train` beside a plain loop", 1, ("torch",)),
    "counting": Part(
        "counting", "parameters, MACs and memory beside fvcore, ptflops, torch", 0.5, ("torch", "fvcore", "ptflops")
    ),
    "scaling": Part("scaling", "exact search of 1,000 to 1,000,000 specs: time and memory", 0.5),
    "optimisers": Part(
        "optimisers", "exact search beside Optuna's samplers: time to one hypervolume", 1, ("numpy", "optuna")
    ),
    "commands": Part("commands", "start-up of the commands", 0.5),
    "overhead": Part("overhead", "overhead of a trial: samplers, journal, Ray", 2, ("optuna", "ray"), quick=False),
    "sampling": Part(
        "sampling", "share of the front's volume after N trials, by sampler", 5, ("optuna", "ray"), quick=False
    ),
    "own_device": Part(
        "own_device", "a device measured by `zoo measure` (writes docs/measuring.md)", 12, ("onnxruntime",), quick=False
    ),
}
"""In the order of the page."""


def main(argv: Sequence[str] | None = None) -> int:
    args = _parser().parse_args(argv)
    if args.list:
        for name, part in PARTS.items():
            condition = "" if part.quick else " (only by name or with --full)"
            print(f"{name:<11} {part.minutes:>4g} min  {part.what}{condition}")
        return 0
    names = args.parts or [name for name, part in PARTS.items() if part.quick or (args.full and name != "own_device")]
    for name in names:
        if name not in PARTS:
            print(f"part {name!r} is unknown; there are {', '.join(PARTS)}", file=sys.stderr)
            return 2
    if args.no_write:
        plots.leave_alone()
    try:
        for name in names:
            _run(name, args)
    except KeyboardInterrupt:
        print("interrupted; the sections that were done are kept", file=sys.stderr)
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help="which to run (default: the quick ones)")
    parser.add_argument(
        "--full", action="store_true", help="all parts but own_device, more rounds, more networks, longer runs"
    )
    parser.add_argument("--json", action="store_true", help="print a JSON document a part")
    parser.add_argument("--list", action="store_true", help="list the parts")
    parser.add_argument("--no-write", action="store_true", help=f"leave {PAGE.name} and its plots as they are")
    return parser


def _run(name: str, args: argparse.Namespace) -> None:
    part = PARTS[name]
    print(f"{name}: about {part.minutes:g} min{' or more' if args.full else ''}", file=sys.stderr, flush=True)
    load, start, started = Others(), time.monotonic(), now()
    module = import_module(f"benchmarks.{part.module}")
    if name == "own_device":
        module.main(write=not args.no_write)  # has a page of its own
        return
    section: Section = module.run(args.full)
    measured = Measured(name, section, machine(part.packages), started, time.monotonic() - start, load.share(), kind())
    if not args.no_write:
        write([measured], list(PARTS))
    print(json.dumps(measured.document(), allow_nan=False) if args.json else measured.markdown(), flush=True)


if __name__ == "__main__":
    sys.exit(main())
