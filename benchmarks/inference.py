"""Inference: one image in eager torch, in other runtimes, and rewritten; folders of images.

Released weights are taken where they are at hand (see `zoo get`), else untrained ones.
"""

import copy
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from benchmarks.apart import Apart
from benchmarks.page import Section
from benchmarks.side_by_side import markdown, side_by_side
from hw_models.measure.runtimes import entries_of, settled
from pretrained import find, load
from pretrained.download import obtain
from pretrained.weights import parse
from zoo import spec as spec_of
from zoo.allocator import keep_freed_memory
from zoo.backends.choice import available_cores, installed
from zoo.backends.compiled import onnxruntime_run, openvino_run, torch_run
from zoo.backends.session import Engine
from zoo.data.classes import label_set
from zoo.data.synthetic import Scenes
from zoo.errors import ZooError
from zoo.inference.overlay import legend, save_labels
from zoo.inference.pipeline import WAITING, in_order
from zoo.inference.preprocess import network_input
from zoo.inference.segment import Run, Settings, segment_file
from zoo.network import Network, build
from zoo.passes import PASSES, optimize
from zoo.passes.rewrite import at_size

Size = tuple[int, int]
Functions = dict[str, Callable[[], object]]

NETWORKS = ("espnet-8", "espnet-c-8", "espnetv2-2.0")
SIZES: tuple[Size, ...] = ((512, 1024), (360, 480))
AIM = 3.5
KEPT = "eager, freed memory kept"
PRODUCED, PRODUCT = "product", 1024
EAGER, SUBNORMAL, COMPILE, PASSED = "eager", "subnormal", "torch.compile, channels last", ", passes"
COMPILED = {"onnxruntime": onnxruntime_run, "openvino": openvino_run}

STREAM_MODEL, STREAM_IMAGES = "espnet-8.camvid", 12
KINDS = ("png", "jpeg")


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
        network.load_state_dict(state, strict=False)
    return trained, "released weights", network if tiny else None


def _subnormal(x: Tensor) -> bool:
    return x.is_floating_point() and bool(((x != 0) & (x.abs() < torch.finfo(x.dtype).tiny)).any())


def eager(network: torch.nn.Module, x: Tensor) -> Callable[[], Tensor]:
    def run() -> Tensor:
        with torch.inference_mode():
            output: Tensor = network(x)
            return output

    return run


def street(network: Any, size: Size) -> Tensor:
    """A generated street as the network's weights expect it, or what an untrained network takes."""
    if not hasattr(network, "preprocessing"):
        return entries_of(at_size(network.graph, size), 1)[0]
    return network_input(Scenes("val", size, 1).load(0)[0], network.preprocessing, size)


def fast(run: Callable[[Tensor], Tensor], x: Tensor) -> Callable[[], Tensor]:
    return lambda: run(x)


def ways(network: Network, x: Tensor, *, compiles: bool) -> Functions:
    """What is compared, by name; the first is the base."""
    threads, size = available_cores(), (x.shape[2], x.shape[3])
    torch.set_num_threads(threads)
    functions: Functions = {EAGER: eager(network, x)}
    for label, module in (("", network), (PASSED, optimize(network))):
        if label:
            functions[f"{EAGER}{label}"] = eager(module, x)
        functions[f"channels last{label}"] = fast(torch_run(module, threads), x)
        if compiles:
            last = copy.deepcopy(module).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
            compiled: Any = torch.compile(last)
            functions[f"{COMPILE}{label}"] = eager(compiled, x.contiguous(memory_format=torch.channels_last))
        for name, make in COMPILED.items():
            if installed(name):
                functions[f"{name}{label}"] = fast(make(module, at_size(module.graph, size), threads, 1), x)
    return functions


def differences(functions: Mapping[str, Callable[[], object]]) -> dict[str, tuple[float, float]]:
    """Largest difference from the first, of logits, and share of pixels with another arg-max."""
    expected: Any = functions[EAGER]()
    out = {}
    for name, function in functions.items():
        logits: Any = function()
        difference = (logits[:1] - expected).abs().max()
        changed = (logits[:1].argmax(1) != expected.argmax(1)).double().mean()
        out[name] = (float(difference), float(changed))
    return out


def product() -> Callable[[], Tensor]:
    """A product of two square matrices, `PRODUCT` wide: a measure of what is left to gain."""
    a, b = torch.rand(PRODUCT, PRODUCT), torch.rand(PRODUCT, PRODUCT)
    return lambda: a @ b


def compared(name: str, size: Size, *, full: bool) -> tuple[str, dict[str, Any]]:
    """A table of one network at one size."""
    network, weights, subnormal = network_of(name, size)
    x = street(network, size)
    functions = ways(network, x, compiles=full and name == NETWORKS[0] and size == SIZES[0])
    print(f"{name} at {size[1]}x{size[0]}: {len(functions)} ways", file=sys.stderr, flush=True)
    wrong = differences(functions)
    every = side_by_side(
        functions | {PRODUCED: product()},
        rounds=21 if full else 9,
        least_s=0.3 if full else 0.03,
        limit_s=60 if full else 12,
    )
    comparison = every.without(PRODUCED)
    macs = at_size(network.graph, size).macs
    speed = 2 * PRODUCT**3 / every.median_s(PRODUCED)
    head = (
        f"`{name}` at {size[1]}x{size[0]}, {weights}",
        "median",
        "spread",
        "times as fast",
        "of a product",
        "logits differ by",
        "labels",
    )
    rows = [
        (*row, f"{2 * macs / comparison.median_s(row[0]) / speed:.0%}", *_agreement(row[0], *wrong[row[0]]))
        for row in comparison.rows()
    ]
    reached = speed * comparison.median_s(EAGER) / (2 * macs)
    speed_text = (
        f" {macs / 1e9:.2f} GMAC; a product runs at {speed / 1e9:.0f} GFLOP/s, at which speed the network would be "
    )
    speed_text += f"{reached:.1f} times as fast as eager."
    document = comparison.document() | {"differences": wrong, "weights": weights, "macs": macs, "product_flop_s": speed}
    if subnormal is not None and name == NETWORKS[0] and size == SIZES[0]:
        slow = side_by_side({SUBNORMAL: eager(subnormal, x), EAGER: functions[EAGER]}, rounds=3, least_s=0.0)
        speed_text += f" With the subnormal weights that were released, eager takes {slow.told(EAGER)} as long."
        document["subnormal"] = slow.document()
    return f"{markdown([head, *rows])}\n\n{comparison.verdict()}{speed_text}", document


def alone(name: str, size: Size, way: str) -> Callable[[], object]:
    """One way, in the process that it has for itself."""
    if way == KEPT:
        keep_freed_memory()
    network, _, _ = network_of(name, size)
    x, threads = street(network, size), available_cores()
    torch.set_num_threads(threads)
    if way in (EAGER, KEPT):
        return nothing(eager(network, x))
    best = optimize(network)
    return nothing(fast(openvino_run(best, at_size(best.graph, size), threads, 1), x))


def nothing(function: Callable[[], object]) -> Callable[[], None]:
    """The function without its result, which would be sent from process to process."""

    def run() -> None:
        function()

    return run


def kept(name: str, size: Size, *, full: bool) -> tuple[str, dict[str, Any]]:
    """Eager torch with and without keeping freed memory, each in a process of its own."""
    ways = [EAGER, KEPT, *([f"openvino{PASSED}"] if installed("openvino") else [])]
    with ExitStack() as stack:
        functions = {way: stack.enter_context(Apart(alone, name, size, way)) for way in ways}
        for function in functions.values():
            function()
        comparison = side_by_side(functions, rounds=15, least_s=0.3 if full else 0.03, limit_s=40 if full else 6)
    return (
        f"{comparison.table(head_text=f'`{name}` at {size[1]}x{size[0]}')}\n\n{comparison.verdict()}",
        comparison.document(),
    )


def _agreement(name: str, difference: float, share: float) -> tuple[str, str]:
    if name == EAGER:
        return "", ""
    return f"{difference:.1g}", f"{1e6 * share:.1f} ppm" if share else "the same"


def pictures(folder: Path, count: int, kind: str, size: Size) -> list[Path]:
    """Generated street scenes as PNG or JPEG files."""
    scenes = Scenes("val", size, count)
    paths = []
    for i in range(count):
        paths.append(folder / f"{i:03}.{kind}")
        Image.fromarray(scenes.load(i)[0]).save(paths[-1])
    return paths


def streams(size: Size, *, full: bool) -> tuple[str, dict[str, Any]]:
    """A folder of images from file to file, beside the network alone and beside all but the network."""
    module = load(STREAM_MODEL)
    key = legend(label_set(module.labels), module.graph.output_shapes[0].channels)
    cores, settings = available_cores(), Settings(size=size)
    x = street(module, size)
    single = Engine(module, "auto", cores)
    logits = single(x).clone()

    def files(paths: list[Path], workers: int, network: Run | None = None) -> Callable[[], None]:
        threads = max(1, cores // workers)
        engine = network or Engine(module, "auto", threads, streams=workers, preprocessing=module.preprocessing)

        def work(path: Path) -> None:
            torch.set_num_threads(threads)
            _, labels = segment_file(module, path, settings, run=engine, workers=workers)
            save_labels(path.with_suffix(".labels.png"), labels, key)

        def run() -> None:
            for _, outcome in in_order(paths, work, workers + WAITING):
                if outcome is not None:
                    raise outcome

        return run

    def network_alone() -> None:
        for _ in range(STREAM_IMAGES):
            single(x)

    with tempfile.TemporaryDirectory() as place:
        functions: Functions = {"the network alone, one image after the other": network_alone}
        for kind in KINDS:
            (Path(place) / kind).mkdir()
            paths = pictures(Path(place) / kind, STREAM_IMAGES, kind, size)
            for workers in sorted({1, cores}):
                functions[f"{kind.upper()} files, {workers} at once"] = files(paths, workers)
            functions[f"{kind.upper()} files, {cores} at once, all but the network"] = files(
                paths, cores, lambda image: logits
            )
        tables, data = [], {}
        for clock, measure in ((time.perf_counter, "time"), (time.process_time, "CPU time")):
            comparison = side_by_side(
                functions, rounds=13 if full else 5, least_s=0.0, limit_s=60 if full else 20, clock=clock
            )
            head = f"`{STREAM_MODEL}`, {size[1]}x{size[0]}, {single.backend}, {measure}"
            tables.append(f"{comparison.table(STREAM_IMAGES, head)}\n\n{comparison.verdict()}")
            data[measure] = comparison.document()
    return "\n\n".join(tables), data


def folders_of(*, full: bool) -> tuple[str, dict[str, Any]]:
    """Folders at each size."""
    by_size = {f"{size[1]}x{size[0]}": streams(size, full=full) for size in SIZES}
    return "\n\n".join(table for table, _ in by_size.values()), {name: data for name, (_, data) in by_size.items()}


def run(full: bool) -> Section:
    """A Markdown section."""
    tables, data = [], dict[str, Any]()
    for name in NETWORKS if full else NETWORKS[:1]:
        for size in SIZES:
            table, data[f"{name} {size[1]}x{size[0]}"] = compared(name, size, full=full)
            tables.append(table)
    memory = []
    for size in SIZES if full else SIZES[:1]:
        table, data[f"memory {size[1]}x{size[0]}"] = kept(NETWORKS[0], size, full=full)
        memory.append(table)
    folders, data["streams"] = folders_of(full=full)
    text = f"""\
## Inference

One image at a time, single precision, {available_cores()} threads, from a tensor of the image to logits; the input is
a generated street (noise with the spectrum of photographs, where weights are untrained). "Eager" is plain torch,
weights flushed of subnormals; "passes" are those of
`zoo.passes` ({", ".join(PASSES)}), which `zoo export --optimize` writes and `zoo segment --backend onnxruntime` and
`openvino` run. OpenVINO is told to compute in float32: where a CPU can, it would otherwise use bfloat16. Logits are
compared with eager torch's, labels too. "Of a product" counts the network's multiplications and additions against the
speed of torch's product of two matrices of {PRODUCT} by {PRODUCT} in the same rounds: how much is left to gain without
fewer operations. The aim is {AIM:g} times as fast as eager.

{(chr(10) * 2).join(tables)}

### What eager torch loses to the allocator

glibc gives large blocks back to the system when they are freed, so that eager torch takes a page fault for every 4 KiB
of each large tensor, each time. "Freed memory kept" is the same network in a process that keeps them (two calls of
mallopt, `zoo.allocator`); runtimes that plan their memory gain nothing by it. Each way has a process of its own.

{(chr(10) * 2).join(memory)}

### Folders of images

Images a second: the network alone on an image that lies ready, and what `zoo segment DIR` does with each file: decode,
resize and normalise, run the network, resize and label, encode the label map. With N at once, each has 1/N of the
threads. The aim is 0.9 times the network alone. Cores that the network keeps busy leave nothing to hide the other work
behind: what can be reached is 1 / (1 / network + 1 / all but the network), in images a second.

{folders}
"""
    return Section(text, data)
