"""Writes a network as an ONNX file, checked against torch, with metadata (preprocessing, labels, source).

The exporter is the one that traces (`dynamo=False`): the newer one writes opset 18 whatever it is asked,
and old Jetsons (JetPack 4.6, TensorRT 8.2) read at most 13.
"""

import contextlib
import io
import json
import logging
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import Tensor

from zoo._version import version
from zoo.data.classes import LABEL_SETS, LabelSet, labels_about
from zoo.errors import SpecError, ZooError
from zoo.files import atomic
from zoo.graph import Graph
from zoo.inference.preprocess import network_input
from zoo.memory import inference_bytes, refuse_beyond
from zoo.network import Network
from zoo.op_modules import FIXED_SIZES
from zoo.passes import rewritten
from zoo.registry import lower
from zoo.specs import as_dict

Size = tuple[int, int]
"""Height and width in pixels."""

OPSETS = range(11, 21)
"""Opsets that can be written: resizing and scattering need 11, and the tracing exporter ends at 20."""

TOLERANCE = 1e-4
"""Largest difference from torch, as a share of the largest output, that a file may have."""

INPUT = "image"
"""Name of the file's input."""


class Export(NamedTuple):
    """A written file, its opset as read back from it, and its largest absolute difference from torch.

    passes: those of `zoo.passes` that changed the network before it was written. about: the file's metadata.
    """

    path: Path
    opset: int
    max_abs_diff: float
    passes: tuple[str, ...] = ()
    about: Mapping[str, str] = {}


def export_onnx(
    module: Network,
    path: Path,
    *,
    size: Size | None = None,
    opset: int = 13,
    dynamic: bool = False,
    optimize: bool = False,
    metadata: Mapping[str, str] | None = None,
) -> Export:
    """Write a network for images of `size` = (height, width), by default that of its preprocessing.

    The input is `image`, (1, 3, height, width), float32, preprocessed; the outputs are `module.graph.outputs`. The file
    is checked by onnxruntime against torch before it is written. The module is left in evaluation mode.

    Args:
        module: the network.
        path: the file.
        size: (height, width); by default that of its preprocessing.
        opset: of ONNX.
        dynamic: leave batch, height and width free; then a second size is checked too.
        optimize: write the network as `zoo.passes` rewrites it, checked against the network as it is.
        metadata: added to what the file says of itself (see `papers`).

    Returns:
        The path, the opset, the largest difference of a logit, the passes, and what the file says of itself.

    Raises:
        ZooError: the opset or the size cannot be, the network cannot be exported, or onnxruntime's output differs from
            torch's by more than `TOLERANCE`; nothing is written then.

    >>> from zoo import build
    >>> export = export_onnx(build("espnet-c"), Path("network.onnx"), size=(64, 96))
    >>> export.opset, export.max_abs_diff < 1e-3, export.path.exists()
    (13, True, True)
    """
    if opset not in OPSETS:
        raise ZooError(f"opset {opset} cannot be written; choose one from {OPSETS[0]} to {OPSETS[-1]}, such as 13")
    size = size or getattr(getattr(module, "preprocessing", None), "size", None)
    if size is None:
        raise ZooError("the network has no size of its own; give --size WxH")
    graph = _lowered(module, size)
    refuse_beyond(inference_bytes(graph), f"a network input of {size[1]}x{size[0]}", "give a smaller --size")
    network = module.eval()
    exported, passes = rewritten(network) if optimize else (network, ())
    model = onnx.load_from_string(traced(exported, graph, opset, dynamic))
    opset_written = next(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx"))
    if opset_written != opset:
        raise ZooError(f"the exporter wrote opset {opset_written} where {opset} was asked for; choose another opset")
    about = papers(network, size) | ({"passes": json.dumps(passes)} if optimize else {}) | dict(metadata or {})
    onnx.helper.set_model_props(model, about)
    data = model.SerializeToString()
    difference = max(_difference(network, data, *shape) for shape in _trials(network, graph, dynamic))
    with atomic(path) as partial:
        partial.write_bytes(data)
    return Export(path, opset_written, difference, tuple(passes), about)


def papers(module: Network, size: Size) -> dict[str, str]:
    """What a file says of its network: names, and JSON; what nobody knows is left out."""
    labels = _labels(module)
    weights = getattr(module, "weights", None)
    preprocessing = getattr(module, "preprocessing", None)
    facts = {
        "zoo_version": version(),
        "spec": json.dumps(as_dict(module.spec)) if module.spec else None,
        "size": f"{size[1]}x{size[0]}",
        "preprocessing": json.dumps(preprocessing.to_dict()) if preprocessing else None,
        "labels": labels.name if labels else None,
        "label_set": json.dumps(asdict(labels)) if labels and labels_about(labels) != labels.name else None,
        "classes": json.dumps(_channel_names(labels, module.graph.output_shapes[0].channels)) if labels else None,
        "colours": json.dumps(labels.colours) if labels else None,
        "weights": getattr(weights, "name", None) or "none: untrained",
        "weights_miou": _score(weights),
        "warning": None if preprocessing else UNTRAINED,
        "weights_sha256": getattr(weights, "sha256", None),
        "source": getattr(weights, "origin", None),
        "license": getattr(getattr(weights, "source", None), "license", None),
        "copyright": getattr(getattr(weights, "source", None), "holder", None),
    }
    return {key: value for key, value in facts.items() if value is not None}


UNTRAINED = "random weights, for timing only: what the network answers means nothing"
"""The warning in a file without trained weights."""


def _labels(module: Network) -> LabelSet | None:
    """What the outputs mean: a label set of its own, or a declared one by name."""
    own: LabelSet | None = getattr(module, "label_set", None)
    return own or LABEL_SETS.get(getattr(module, "labels", ""))


def _channel_names(labels: LabelSet, channels: int) -> list[str]:
    """A name for each channel; those beyond the classes are void."""
    return [*labels.classes, *["void"] * (channels - len(labels.classes))]


def _score(weights: Any) -> str | None:
    metric = getattr(weights, "miou", None)
    return f"{metric.value:g} % on {metric.dataset} {metric.split}" if metric else None


def _lowered(module: Network, size: Size) -> Graph:
    """The module's graph at `size`; a bare graph has one size only."""
    if module.spec is not None:
        return lower(module.spec, size)
    own = module.graph.input_shape
    if size != (own.height, own.width):
        raise ZooError(f"a network without a spec is exported at its graph's size, {own.width}x{own.height}")
    return module.graph


def traced(network: Network, graph: Graph, opset: int, dynamic: bool) -> bytes:
    """The exporter's file for a batch of one, unchecked. Raises ZooError for what the opset cannot hold."""
    shape = graph.input_shape
    fixed = FIXED_SIZES.set(not dynamic)
    names = [name.replace(".", "_") for name in graph.outputs]
    axes = {0: "batch", 2: "height", 3: "width"}
    free = {INPUT: axes} | {name: {0: "batch", 2: f"{name}_height", 3: f"{name}_width"} for name in names}
    buffer = io.BytesIO()
    image = torch.zeros(1, shape.channels, shape.height, shape.width, device=next(network.parameters()).device)
    try:
        with _quiet(), torch.no_grad():
            torch.onnx.export(
                network,
                (image,),
                buffer,  # type: ignore[arg-type]
                opset_version=opset,
                dynamo=False,
                input_names=[INPUT],
                output_names=names,
                dynamic_axes=free if dynamic else None,
            )
    except Exception as error:  # the exporter has many ways to fail, few of them typed
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
        raise ZooError(f"opset {opset} cannot hold this network ({reason}); try a higher opset") from None
    finally:
        FIXED_SIZES.reset(fixed)
    model = onnx.load_from_string(buffer.getvalue())
    _slopes_with_a_batch_axis(model)
    data: bytes = model.SerializeToString()
    return data


def _slopes_with_a_batch_axis(model: Any) -> None:
    """Give PReLU slopes the shape (1, C, 1, 1), in place, where the exporter writes (C, 1, 1).

    Both mean the same, but OpenVINO runs an op whose inputs have different ranks in planar order only, and
    then reorders before and after: ESPNet takes half the time with four axes. Equal slopes are written once
    and passed on by `Identity` nodes, which go.
    """
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    passed = {x.output[0]: x for x in model.graph.node if x.op_type == "Identity" and x.input[0] in tensors}
    for node in (x for x in model.graph.node if x.op_type == "PRelu"):
        slopes = node.input[1]
        node.input[1] = passed[slopes].input[0] if slopes in passed else slopes
    read = {(name, node.op_type, i) for node in model.graph.node for i, name in enumerate(node.input)}
    names = {name for name, _, _ in read}
    for output, node in passed.items():
        if output not in names and output not in {x.name for x in model.graph.output}:
            model.graph.node.remove(node)
            read.discard((node.input[0], "Identity", 0))
    for name, tensor in tensors.items():
        if len(tensor.dims) == 3 and {use[1:] for use in read if use[0] == name} == {("PRelu", 1)}:
            tensor.dims.insert(0, 1)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """The tracing exporter advertises its successor, and remarks on every size it sees."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        logger.setLevel(logging.CRITICAL)
        try:
            yield
        finally:
            logger.setLevel(level)


def _trials(network: Network, graph: Graph, dynamic: bool) -> Iterator[tuple[int, Size]]:
    """Batches and sizes at which the file must agree with torch."""
    height, width = graph.input_shape.height, graph.input_shape.width
    yield 1, (height, width)
    if dynamic:
        yield 2, _another_size(network, (height, width))


def _another_size(network: Network, size: Size) -> Size:
    """The nearest larger size that suits the network and whose sides grow differently."""
    if network.spec is None:
        return size
    for step in (8, 32, 64, 128):
        larger = (size[0] + step, size[1] + 2 * step)
        with contextlib.suppress(SpecError):
            lower(network.spec, larger)
            return larger
    raise ZooError(f"the network takes no other size near {size[1]}x{size[0]}; export it without --dynamic")


@torch.inference_mode()
def _difference(network: Network, data: bytes, batch: int, size: Size) -> float:
    """Largest absolute difference between onnxruntime's output and torch's on random input. Raises ZooError."""
    image = _random_input(network, batch, size)
    out = network(image.to(next(network.parameters()).device))
    expected = [x.cpu().numpy() for x in ((out,) if isinstance(out, Tensor) else out)]
    actual = _run(data, image.numpy())
    largest = 0.0
    for file_output, torch_output in zip(actual, expected, strict=True):
        if file_output.shape != torch_output.shape:
            raise ZooError(
                f"at {size[1]}x{size[0]} the file gives {file_output.shape} where torch gives {torch_output.shape}"
            )
        difference = float(np.abs(file_output - torch_output).max())
        if not difference <= TOLERANCE * max(1.0, float(np.abs(torch_output).max())):
            raise ZooError(
                f"at {size[1]}x{size[0]} the file differs from torch by {difference:g}; try another opset"
                " or export without --dynamic"
            )
        largest = max(largest, difference)
    return largest


def _random_input(network: Network, batch: int, size: Size) -> Tensor:
    """Random pixels as the network's preprocessing makes them, or normal numbers; the same every time."""
    rng = np.random.default_rng(0)
    preprocessing = getattr(network, "preprocessing", None)
    if preprocessing is None:
        return torch.from_numpy(rng.standard_normal((batch, 3, *size), dtype=np.float32))
    pixels = [rng.integers(0, 256, (*size, 3), dtype=np.uint8) for _ in range(batch)]
    return torch.cat([network_input(x, preprocessing, size) for x in pixels])


def _run(data: bytes, image: NDArray[np.float32]) -> list[NDArray[Any]]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        outputs: list[NDArray[Any]] = session.run(None, {INPUT: image})
    except Exception as error:  # onnxruntime's own exceptions share no useful base
        reason = str(error).strip().splitlines()[0]
        raise ZooError(f"onnxruntime does not run the file ({reason}); try another opset") from None
    return outputs
