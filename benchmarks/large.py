"""One large image in tiles: the memory of `zoo segment`, a process for each backend."""

import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.machine import fresh
from benchmarks.page import Section
from benchmarks.side_by_side import duration, markdown
from zoo.backends.choice import BACKENDS, installed
from zoo.data.synthetic import Scenes

SIZE = (10_000, 12_000)
SCENE = (360, 480)
MODEL, TILE = "espnet-c-3.camvid", 1024
GIB = 2**30
AIM_BYTES = 2 * GIB


def picture(path: str) -> None:
    """A large picture that repeats; written by a process that ends, so that no later one is charged for it."""
    scene = Scenes("val", SCENE, 1).load(0)[0]
    times = (-(-SIZE[0] // SCENE[0]), -(-SIZE[1] // SCENE[1]), 1)
    Image.fromarray(np.tile(scene, times)[: SIZE[0], : SIZE[1]]).save(path, compress_level=1)


def run(full: bool) -> Section:
    """A Markdown section."""
    rows, data = [("backend", "time", "peak memory of the process")], dict[str, Any]()
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "large.png"
        fresh("benchmarks.large", str(path))
        for name in (name for name in BACKENDS if installed(name)):
            command = ("segment", str(path), "--model", MODEL, "--tile", str(TILE), "--backend", name)
            start = time.perf_counter()
            (row,) = json.loads(fresh("zoo", *command, "-o", place, "--json"))
            seconds, peak = time.perf_counter() - start, row["peak_memory_bytes"]
            data[name] = {"seconds": seconds, "peak_bytes": peak}
            rows.append((name, duration(seconds), f"{peak / GIB:.2f} GiB"))
            print(f"{SIZE[1]}x{SIZE[0]} in {name}: {seconds:.0f} s", file=sys.stderr, flush=True)
    text = f"""\
## Large images

`zoo segment` of one PNG of {SIZE[1]}x{SIZE[0]} by `{MODEL}` in tiles of {TILE} pixels that share a quarter, from start
to end of the process; no more than {AIM_BYTES / GIB:g} GiB are wanted. Each was run once, so times are rough.

{markdown(rows)}
"""
    return Section(text, data)


if __name__ == "__main__":
    picture(*sys.argv[1:])
