"""One image (1, 3, H, W) through a network in each of the backends.

What is returned may be memory of the backend, which the calling thread's next run overwrites.
"""

import copy
import threading
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor

from zoo.errors import ZooError
from zoo.export import INPUT, traced
from zoo.graph import Graph
from zoo.inference.preprocess import Preprocessing
from zoo.network import Network, flush_subnormals_

Run = Callable[[Tensor], Tensor]

OPSET = 13


def torch_run(network: Network, threads: int) -> Run:
    """In eager torch, channels last: on CPUs 1.3 to 2 times as fast as torch's own order. Takes every size."""
    device = next(network.parameters()).device
    module = flush_subnormals_(copy.deepcopy(network)).to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def run(x: Tensor) -> Tensor:
        torch.set_num_threads(threads)  # of the calling thread
        with torch.inference_mode():
            return first(module(x.to(device, memory_format=torch.channels_last)))

    return run


def first(out: Any) -> Tensor:
    """The output of a network, or the first of several."""
    output: Tensor = out if isinstance(out, Tensor) else out[0]
    return output


def onnxruntime_run(network: Network, graph: Graph, threads: int, streams: int) -> Run:
    """In onnxruntime on the CPU; a session may run in several threads at once."""
    session = onnxruntime_session(traced(network, graph, OPSET, dynamic=False), threads)
    names = [session.get_outputs()[0].name]
    return lambda x: torch.from_numpy(session.run(names, {INPUT: x.contiguous().numpy()})[0])


def onnxruntime_session(model: bytes, threads: int) -> Any:
    """A session that flushes subnormals. Raises ZooError where onnxruntime refuses the model."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    options.add_session_config_entry("session.set_denormal_as_zero", "1")
    try:
        return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's own exceptions share no useful base
        raise refused("onnxruntime", error) from None


def openvino_run(
    network: Network, graph: Graph, threads: int, streams: int, preprocessing: Preprocessing | None = None
) -> Run:
    """In OpenVINO on the CPU, in single precision; each calling thread has a request of its own.

    With `preprocessing` it takes pixels (1, H, W, 3), float32 from 0 to 255 in RGB, at the network's size.
    """
    model = traced(network, graph, OPSET, dynamic=False)
    compiled = openvino_model(model, threads, streams, channels_last=True, preprocessing=preprocessing)
    own = threading.local()

    def run(x: Tensor) -> Tensor:
        if not hasattr(own, "request"):
            own.request = compiled.create_infer_request()
        own.request.infer([x.contiguous().numpy()], share_inputs=True, share_outputs=True)
        return torch.from_numpy(own.request.get_output_tensor(0).data).permute(0, 3, 1, 2)

    return run


def openvino_model(
    model: bytes,
    threads: int,
    streams: int = 1,
    *,
    shapes: Sequence[tuple[int, ...]] | None = None,
    channels_last: bool = False,
    preprocessing: Preprocessing | None = None,
) -> Any:
    """A model compiled by OpenVINO, for inputs of `shapes` if they are free. Raises ZooError where it is refused.

    With `channels_last` the first output is (N, H, W, C), as OpenVINO's convolutions leave it: bringing
    ESPNet's logits into torch's order takes a quarter of its time. `preprocessing`: as in `openvino_run`.
    """
    settings = {
        # CPUs that compute in bfloat16 would do so unasked.
        "INFERENCE_PRECISION_HINT": "f32",
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": threads * streams,
        "NUM_STREAMS": streams,
    }
    try:
        read = openvino_core().read_model(model)
        if shapes:
            read.reshape({entry: list(shape) for entry, shape in zip(read.inputs, shapes, strict=True)})
        if channels_last or preprocessing:
            read = _around(read, channels_last=channels_last, preprocessing=preprocessing)
        return openvino_core().compile_model(read, "CPU", settings)
    except Exception as error:  # OpenVINO's own exceptions share no useful base
        raise refused("openvino", error) from None


def _around(model: Any, *, channels_last: bool, preprocessing: Preprocessing | None) -> Any:
    """The model with what goes before and after it."""
    from openvino import Layout
    from openvino.preprocess import PrePostProcessor

    steps = PrePostProcessor(model)
    sides = ([steps.input()] if preprocessing else []) + ([steps.output(0)] if channels_last else [])
    for side in sides:
        side.model().set_layout(Layout("NCHW"))
        side.tensor().set_layout(Layout("NHWC"))
    if preprocessing:
        steps_before = steps.input().preprocess()
        if preprocessing.channels == "BGR":
            steps_before.reverse_channels()
        steps_before.scale(255 / preprocessing.maximum).mean(list(preprocessing.mean))
        steps_before.scale([std * preprocessing.divisor for std in preprocessing.std])
    return steps.build()


@cache
def openvino_core() -> Any:
    """OpenVINO, with its devices found once."""
    import openvino

    return openvino.Core()


def refused(backend: str, error: Exception) -> ZooError:
    """What to say where a backend does not take a network."""
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
    return ZooError(f"{backend} refuses the network ({reason}); use --backend torch")
