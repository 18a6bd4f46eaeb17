"""Inference: one image in eager torch, in other runtimes, and rewritten; folders of images; large ones.

Released weights are taken where they are at hand (see `zoo get`), else untrained ones.
"""

import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from benchmarks.machine import fresh
from benchmarks.page import Section
from benchmarks.side_by_side import duration, markdown, side_by_side
from hw_models.runtimes import entries_of, settled
from pretrained import find, load
from pretrained.download import obtain
from pretrained.weights import parse
from zoo import spec as spec_of
from zoo.backends.choice import BACKENDS, available_cores, installed
from zoo.backends.compiled import onnxruntime_run, openvino_run, torch_run
from zoo.backends.engine import Engine
from zoo.data.labels import label_set
from zoo.data.scenes import Scenes
from zoo.errors import ZooError
from zoo.network import Network, build
from zoo.overlay import legend, save_labels
from zoo.passes import PASSES, optimize
from zoo.passes.rewrite import at_size
from zoo.segment import Settings, segment_file
from zoo.streams import in_order

Size = tuple[int, int]
Functions = dict[str, Callable[[], object]]

NETWORKS = ("espnet-8", "espnet-c-8", "espnetv2-2.0")
SIZES: tuple[Size, ...] = ((512, 1024), (360, 480))
AIM = 3.5
TOLERANCE = 1e-3
EAGER, SUBNORMAL, COMPILE = "eager", "eager, subnormal weights as released", "torch.compile, channels last"
COMPILED = {"onnxruntime": onnxruntime_run, "openvino": openvino_run}

STREAM_MODEL, STREAM_SIZE, STREAM_IMAGES = "espnet-8.camvid", (360, 480), 24
BATCH = 4
LARGE, LARGE_MODEL = (10_000, 12_000), "espnet-c-3.camvid"
TILE = 1024
GIB = 2**30


def network_of(name: str, size: Size) -> tuple[Network, str, Network | None]:
    """A network, where its weights are from, and the same with the subnormal ones that were released."""
    network = build(spec_of(name), size).eval()
    try:
        entry = find(f"{name}.cityscapes")
        path = obtain(entry, progress=False).path
    except ZooError as error:
        print(f"{name}: {error}; untrained instead", file=sys.stderr)
        torch.manual_seed(0)
        module = build(spec_of(name), size)
        return settled(module, entries_of(module.graph, 1)), "untrained weights", None
    trained: Any = load(entry.name)
    state = parse(path.read_bytes(), str(path))
    tiny = any(_subnormal(x) for x in state.values())
    if tiny:
        network.load_state_dict({key: state[key] for key in network.state_dict()})
    return trained, "released weights", network if tiny else None


def _subnormal(x: Tensor) -> bool:
    return x.is_floating_point() and bool(((x != 0) & (x.abs() < torch.finfo(x.dtype).tiny)).any())


def eager(network: Network, x: Tensor) -> Callable[[], Tensor]:
    def run() -> Tensor:
        with torch.inference_mode():
            found: Tensor = network(x)
            return found

    return run


def fast(run: Callable[[Tensor], Tensor], x: Tensor) -> Callable[[], Tensor]:
    return lambda: run(x)


def ways(network: Network, subnormal: Network | None, x: Tensor, *, full: bool) -> Functions:
    """What is compared, by name; the first is the base."""
    threads, size = available_cores(), (x.shape[2], x.shape[3])
    torch.set_num_threads(threads)
    rewritten = optimize(network)
    found: Functions = {EAGER: eager(network, x)}
    if subnormal is not None:
        found[SUBNORMAL] = eager(subnormal, x)
    for label, module in (("", network), (", passes", rewritten)):
        if module is rewritten:
            found[f"eager{label}"] = eager(module, x)
        found[f"channels last{label}"] = fast(torch_run(module, threads), x)
        if full:
            compiled = torch.compile(module.to(memory_format=torch.channels_last))  # type: ignore[call-overload]
            found[f"{COMPILE}{label}"] = eager(compiled, x.contiguous(memory_format=torch.channels_last))
        for name, make in COMPILED.items():
            if installed(name):
                run = make(module, at_size(module.graph, size), threads, 1)
                found[f"{name}{label}"] = fast(run, x)
    if full and installed("openvino"):
        engine = Engine(network, "openvino", threads)
        many = torch.cat([x] * BATCH)
        found[f"openvino, passes, {BATCH} in turn"] = fast(engine, many)
    return found


def differences(functions: Functions) -> dict[str, tuple[float, float]]:
    """Largest difference from the first, of logits, and share of pixels with another arg-max."""
    expected: Any = functions[EAGER]()
    found = {}
    for name, function in functions.items():
        logits: Any = function()
        difference = (logits[:1] - expected).abs().max()
        other = (logits[:1].argmax(1) != expected.argmax(1)).double().mean()
        found[name] = (float(difference), float(other))
    return found


def compared(name: str, size: Size, *, full: bool) -> tuple[str, dict[str, Any]]:
    """A table of one network at one size."""
    network, weights, subnormal = network_of(name, size)
    graph = at_size(network.graph, size)
    x = entries_of(graph, 1)[0]
    torch.set_flush_denormal(False)
    functions = ways(network, subnormal if size == SIZES[0] else None, x, full=full)
    print(f"{name} at {size[1]}x{size[0]}: {len(functions)} ways", file=sys.stderr, flush=True)
    wrong = differences(functions)
    found = side_by_side(functions, rounds=9 if full else 5, least_s=0.0, limit_s=120 if full else 12)
    head = ("", "median", "spread", "times as fast", "logits differ by", "other arg-max")
    rows = [
        (
            *row,
            f"{wrong[row[0]][0]:.1g}" if row[0] != EAGER else "",
            _share(wrong[row[0]][1]) if row[0] != EAGER else "",
        )
        for row in found.rows()
    ]
    title = f"`{name}` at {size[1]}x{size[0]}, {weights}"
    table = markdown([(title, *head[1:]), *rows])
    return f"{table}\n\n{found.verdict()}", found.document() | {"differences": wrong, "weights": weights}


def _share(value: float) -> str:
    return "none" if value == 0 else f"{1e6 * value:.1f} ppm"


def pictures(folder: Path, count: int) -> list[Path]:
    """Generated street scenes as PNG files."""
    scenes = Scenes("val", STREAM_SIZE, count)
    paths = []
    for i in range(count):
        paths.append(folder / f"{i:03}.png")
        Image.fromarray(scenes.load(i)[0]).save(paths[-1])
    return paths


def streams(*, full: bool) -> tuple[str, dict[str, Any]]:
    """A folder of images from file to file, beside the network alone."""
    module = load(STREAM_MODEL)
    key = legend(label_set(module.labels), module.graph.output_shapes[0].channels)
    cores = available_cores()
    with tempfile.TemporaryDirectory() as place:
        paths = pictures(Path(place), STREAM_IMAGES)
        x = entries_of(at_size(module.graph, STREAM_SIZE), 1)[0]
        alone = Engine(module, "auto", cores)

        def network_alone() -> None:
            for _ in paths:
                alone(x)

        def files(workers: int) -> Callable[[], None]:
            engine = Engine(module, "auto", max(1, cores // workers), streams=workers)

            def work(path: Path) -> None:
                torch.set_num_threads(engine.threads)
                _, labels = segment_file(module, path, Settings(), run=engine, workers=workers)
                save_labels(path.with_suffix(".labels.png"), labels, key)

            def run() -> None:
                for _, outcome in in_order(paths, work, workers):
                    if outcome is not None:
                        raise outcome

            return run

        functions: Functions = {"the network alone, one image after the other": network_alone}
        for workers in sorted({1, cores}):
            functions[f"`zoo segment`'s work from file to file, {workers} at once"] = files(workers)
        found = side_by_side(functions, rounds=9 if full else 5, least_s=0.0, limit_s=60)
        table = found.table(STREAM_IMAGES, f"`{STREAM_MODEL}`, {STREAM_SIZE[1]}x{STREAM_SIZE[0]}, {alone.backend}")
    return f"{table}\n\n{found.verdict()}", found.document()


def large() -> tuple[str, dict[str, Any]]:
    """`zoo segment` of one large image in each backend, each in a process of its own."""
    height, width = LARGE
    rows, data = [("backend", "time", "peak memory of the process")], {}
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "large.png"
        fresh("benchmarks.inference", str(path), str(height), str(width))
        for name in (name for name in BACKENDS if installed(name)):
            command = ("segment", str(path), "--model", LARGE_MODEL, "--tile", str(TILE), "--backend", name)
            start = time.perf_counter()
            (row,) = json.loads(fresh("zoo", *command, "-o", place, "--json"))
            seconds, peak = time.perf_counter() - start, row["peak_memory_bytes"]
            data[name] = {"seconds": seconds, "peak_bytes": peak}
            rows.append((name, duration(seconds), f"{peak / GIB:.2f} GiB"))
            print(f"{width}x{height} in {name}: {seconds:.0f} s", file=sys.stderr, flush=True)
    text = f"""
### Large images

`zoo segment` of one PNG of {width}x{height} by `{LARGE_MODEL}` in tiles of {TILE} pixels, from start to end of the
process; no more than 2 GiB are wanted.

{markdown(rows)}
"""
    return text, data


def large_picture(path: str, height: str, width: str) -> None:
    """A picture that repeats, written by a process that ends."""
    scene = Scenes("val", STREAM_SIZE, 1).load(0)[0]
    times = (-(-int(height) // scene.shape[0]), -(-int(width) // scene.shape[1]), 1)
    Image.fromarray(np.tile(scene, times)[: int(height), : int(width)]).save(path, compress_level=1)


def run(full: bool) -> Section:
    """A Markdown section."""
    tables, data = [], dict[str, Any]()
    for name in NETWORKS if full else NETWORKS[:1]:
        for size in SIZES:
            table, data[f"{name} {size[1]}x{size[0]}"] = compared(name, size, full=full)
            tables.append(table)
    stream, data["streams"] = streams(full=full)
    tiled, data["large"] = large() if full else ("", {})
    text = f"""\
## Inference

One image at a time, single precision, {available_cores()} threads, from a tensor of the image to logits; the input is
noise with the spectrum of photographs. "Eager" is plain torch, weights flushed of subnormals; "passes" are those of
`zoo.passes` ({", ".join(PASSES)}), which `zoo export --optimize` writes and `zoo segment --backend onnxruntime` and
`openvino` run. OpenVINO is told to compute in float32: where a CPU can, it would otherwise use bfloat16. Logits are
compared with eager torch's; they are as large as 10 to 100. The aim is {AIM:g} times as fast as eager.

{(chr(10) * 2).join(tables)}

### Folders of images

Images a second: the network alone on an image that lies ready, and what `zoo segment DIR` does with each file: decode,
resize and normalise, run the network, resize and label, encode the label map. With N at once, each has 1/N of the
threads.

{stream}
{tiled}"""
    return Section(text, data)


if __name__ == "__main__":
    large_picture(*sys.argv[2:])
