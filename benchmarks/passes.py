"""What each pass of `zoo.passes` gains, one after the other, in onnxruntime and in OpenVINO."""

import sys
from collections.abc import Callable
from itertools import accumulate
from typing import Any

import onnx
import torch
from torch import Tensor

from benchmarks.inference import SIZES, differences, eager, fast, network_of, street
from benchmarks.page import Section
from benchmarks.side_by_side import markdown, side_by_side
from zoo.backends.choice import available_cores, installed
from zoo.backends.compiled import OPSET, onnxruntime_run, onnxruntime_session, openvino_model, openvino_run
from zoo.export import INPUT, traced
from zoo.network import Network
from zoo.passes import PASSES, optimize
from zoo.passes.rewrite import at_size

NETWORKS = ("espnet-8", "espnet-c-8", "espnetv2-2.0")
Run = Callable[[Tensor], Tensor]


def as_traced(model: bytes) -> bytes:
    """The file as torch's exporter writes it, with slopes (C, 1, 1) where `zoo.export` has (1, C, 1, 1)."""
    proto = onnx.load_from_string(model)
    slopes = {node.input[1] for node in proto.graph.node if node.op_type == "PRelu"}
    for tensor in proto.graph.initializer:
        if tensor.name in slopes and len(tensor.dims) == 4:
            del tensor.dims[0]
    data: bytes = proto.SerializeToString()
    return data


def in_onnxruntime(model: bytes, threads: int) -> Run:
    session = onnxruntime_session(model, threads)
    return lambda x: torch.from_numpy(session.run(None, {INPUT: x.numpy()})[0])


def in_openvino(model: bytes, threads: int) -> Run:
    request = openvino_model(model, threads).create_infer_request()

    def run(x: Tensor) -> Tensor:
        request.infer([x.numpy()], share_inputs=True, share_outputs=True)
        return torch.from_numpy(request.get_output_tensor(0).data)

    return run


def steps(network: Network, x: Tensor) -> dict[str, Callable[[], Tensor]]:
    """Eager torch, then each runtime with one more change at a time."""
    threads = available_cores()
    torch.set_num_threads(threads)
    graph = at_size(network.graph, (x.shape[2], x.shape[3]))
    model = traced(network, graph, OPSET, dynamic=False)
    functions: dict[str, Callable[[], Tensor]] = {"eager": eager(network, x)}
    runtimes: tuple[tuple[str, Any, Any], ...] = (
        ("onnxruntime", in_onnxruntime, onnxruntime_run),
        ("openvino", in_openvino, openvino_run),
    )
    for name, plain, backend in runtimes:
        if not installed(name):
            continue
        functions[f"{name}: as torch exports it"] = fast(plain(as_traced(model), threads), x)
        if name == "openvino":
            functions[f"{name}: + slopes of four axes"] = fast(plain(model, threads), x)
            functions[f"{name}: + logits channels last"] = fast(backend(network, graph, threads, 1), x)
        for passes in accumulate(((name,) for name in PASSES), lambda earlier, added: (*earlier, *added)):
            optimised = optimize(network, passes)
            run = backend(optimised, at_size(optimised.graph, (x.shape[2], x.shape[3])), threads, 1)
            functions[f"{name}: + {passes[-1]}"] = fast(run, x)
    return functions


def run(full: bool) -> Section:
    """A Markdown section."""
    tables, data = [], dict[str, Any]()
    height, width = SIZES[0]
    for name in NETWORKS if full else NETWORKS[:1]:
        network, weights, _ = network_of(name, (height, width))
        x = street(network, (height, width))
        functions = steps(network, x)
        print(f"{name}: {len(functions)} steps", file=sys.stderr, flush=True)
        wrong = differences(functions)
        comparison = side_by_side(functions, rounds=9 if full else 7, least_s=0.0, limit_s=60 if full else 20)
        head = (f"`{name}` at {width}x{height}, {weights}", "median", "spread", "times as fast", "logits differ by")
        rows = [(*row, f"{wrong[row[0]][0]:.1g}") for row in comparison.rows()]
        tables.append(f"{markdown([head, *rows])}\n\n{comparison.verdict()}")
        data[name] = comparison.document() | {"differences": wrong, "weights": weights}
    text = f"""\
## Inference, step by step

What each step of the fast path gains ([what they are](fast-path.md)): each row has the changes of the rows above it,
up to the runtime's first. {available_cores()} threads, single precision.

{(chr(10) * 2).join(tables)}
"""
    return Section(text, data)
