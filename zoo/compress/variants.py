"""What an exported network takes in and gives out, and with how many bits: forms of the file that `zoo export` wrote.

Each starts from the float32 file, which was checked against torch, is compared with it, and replaces it.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from zoo.errors import ZooError
from zoo.files import atomic
from zoo.inference.label_map import labels_of
from zoo.inference.preprocess import Preprocessing, network_input

Size = tuple[int, int]
"""Height and width in pixels."""

Layout = Literal["NHWC", "NCHW"]

HALF_TOLERANCE = 0.05
"""Largest difference of a float16 file from the float32 one, as a share of the largest output."""

FLOAT_TOLERANCE = 1e-4
"""The same for a file that only takes its input differently."""

DIFFERING_LABELS = 1e-3
"""Share of pixels whose label may differ from the arg-max of the float32 file: ties, and neighbours of ties."""

DIFFERING_HALF = 0.05
"""The same for float16."""

INPUT, OUTPUT = "image", "labels"


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """Which form: float16 inside, 8-bit RGB pixels in, labels out.

    preprocessing: layout of the pixels (1, height, width, 3) or (1, 3, height, width), uint8, at the network's
    size. argmax: (height, width) of the labels, uint8, (1, height, width); the logits are resized to it first,
    bilinearly with half-pixel centres.
    """

    half: bool = False
    preprocessing: Layout | None = None
    argmax: Size | None = None

    @property
    def plain(self) -> bool:
        """Whether the file is to stay as it is."""
        return not self.half and self.preprocessing is None and self.argmax is None


@dataclass(frozen=True, slots=True)
class Written:
    """A rewritten file: its metadata, and its difference from the float32 file on random pixels.

    max_abs_diff: of the logits. differing_labels: share of pixels, where it gives labels.
    """

    about: Mapping[str, str]
    max_abs_diff: float | None
    differing_labels: float | None = None


def write_variant(path: Path, variant: Variant, out: Path | None = None) -> Written:
    """Rewrite an exported file, or write `out`. Raises ZooError where it has no preprocessing, or differs too much.

    Its inputs, outputs and precision are in the metadata: `precision`, `input`, `output`.
    """
    model = onnx.load(path)
    about = {entry.key: entry.value for entry in model.metadata_props}
    height, width = _fixed_size(model, path)
    before = model.SerializeToString()
    if variant.half:
        model = as_half(model)
    if variant.preprocessing:
        pixels_in(model, preprocessing_of(about, path), variant.preprocessing)
    if variant.argmax:
        labels_out(model, variant.argmax)
    metadata = about | describe(variant, (height, width))
    metadata["precision"] = about.get("precision", metadata["precision"])
    helper.set_model_props(model, metadata)
    onnx.checker.check_model(model)
    data = model.SerializeToString()
    differences = _compared(before, data, variant, about, (height, width))
    with atomic(out or path) as partial:
        partial.write_bytes(data)
    return Written(metadata, *differences)


def describe(variant: Variant, size: Size) -> dict[str, str]:
    """Metadata of a form: precision, input, output."""
    height, width = size
    shapes = {"NHWC": f"1x{height}x{width}x3", "NCHW": f"1x3x{height}x{width}"}
    layout = variant.preprocessing
    pixels = f"uint8 {shapes[layout]} {layout} RGB, 0 to 255" if layout else f"float32 {shapes['NCHW']} preprocessed"
    labels = variant.argmax
    return {
        "precision": "float16" if variant.half else "float32",
        "input": pixels,
        "input_layout": layout or "NCHW",
        "output": f"uint8 labels 1x{labels[0]}x{labels[1]}" if labels else "float32 logits",
    }


def preprocessing_of(about: Mapping[str, str], path: Path) -> Preprocessing:
    """What a file's network expects. Raises ZooError where the file does not say."""
    if "preprocessing" not in about:
        raise ZooError(f"{path}: its network has no weights, so its preprocessing is unknown; name a weight tag")
    return Preprocessing.from_dict(json.loads(about["preprocessing"]))


def _fixed_size(model: Any, path: Path) -> Size:
    sides = [axis.dim_value for axis in model.graph.input[0].type.tensor_type.shape.dim[2:]]
    if not all(sides):
        raise ZooError(f"{path}: this form has one input size; leave out --dynamic")
    return sides[0], sides[1]


def as_half(model: Any) -> Any:
    """The model computing in float16; inputs and outputs stay float32."""
    import warnings

    from onnxruntime.transformers.float16 import convert_float_to_float16

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # numbers below float16's smallest become it
        half = convert_float_to_float16(model, keep_io_types=True)
    _sort(half.graph)
    return half


def _sort(graph: Any) -> None:
    """Put the nodes in an order of execution, in place; the converter appends its casts at the end."""
    tensors_ready = {x.name for x in (*graph.input, *graph.initializer)} | {""}
    waiting, ordered = list(graph.node), []
    while waiting:
        ready = [node for node in waiting if tensors_ready.issuperset(node.input)]
        if not ready:
            raise ZooError("the float16 form reads a tensor that nothing makes; export it without --half")
        tensors_ready.update(name for node in ready for name in node.output)
        ordered += ready
        waiting = [node for node in waiting if not tensors_ready.issuperset(node.output)]
    del graph.node[:]
    graph.node.extend(ordered)


def pixels_in(model: Any, preprocessing: Preprocessing, layout: Layout) -> None:
    """Make the model, in place, take 8-bit RGB pixels at its own size.

    The steps of `Preprocessing` are one factor and one summand a channel: (p * maximum / 255 - mean) / std / divisor.
    """
    graph, entry = model.graph, model.graph.input[0]
    _, channels, height, width = (axis.dim_value for axis in entry.type.tensor_type.shape.dim)
    inner = f"{entry.name}_preprocessed"
    for node in graph.node:
        node.input[:] = [inner if name == entry.name else name for name in node.input]
    deviation = np.array(preprocessing.std) * preprocessing.divisor
    factor = preprocessing.maximum / 255 / deviation
    summand = -np.array(preprocessing.mean) / deviation
    values = {
        "pixels_factor": factor.astype(np.float32).reshape(1, -1, 1, 1),
        "pixels_summand": summand.astype(np.float32).reshape(1, -1, 1, 1),
        "pixels_order": np.array([2, 1, 0]),
    }
    steps: list[tuple[str, list[str], dict[str, Any]]] = [("Cast", [], {"to": TensorProto.FLOAT})]
    if layout == "NHWC":
        steps.append(("Transpose", [], {"perm": [0, 3, 1, 2]}))
    if preprocessing.channels == "BGR":
        steps.append(("Gather", ["pixels_order"], {"axis": 1}))
    steps += [("Mul", ["pixels_factor"], {}), ("Add", ["pixels_summand"], {})]
    names = [entry.name, *(f"pixels_{i}" for i in range(len(steps) - 1)), inner]
    nodes = [
        helper.make_node(op, [names[i], *parameters], [names[i + 1]], **settings)
        for i, (op, parameters, settings) in enumerate(steps)
    ]
    used = {name for node in nodes for name in node.input}
    graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in values.items() if name in used)
    shape = [1, height, width, channels] if layout == "NHWC" else [1, channels, height, width]
    graph.input[0].CopyFrom(helper.make_tensor_value_info(entry.name, TensorProto.UINT8, shape))
    _prepend(graph, nodes)


def labels_out(model: Any, size: Size) -> None:
    """Make the model, in place, give the index of the largest logit at `size`, resized first, as its only output."""
    graph, logits = model.graph, model.graph.output[0]
    channels = logits.type.tensor_type.shape.dim[1].dim_value
    sizes = numpy_helper.from_array(np.array([1, channels, *size], np.int64), "labels_size")
    no_scales = numpy_helper.from_array(np.zeros(0, np.float32), "labels_nothing")
    graph.initializer.extend([sizes, no_scales])
    graph.node.extend(
        [
            helper.make_node(
                "Resize",
                [logits.name, "labels_nothing", "labels_nothing", "labels_size"],
                ["labels_logits"],
                mode="linear",
                coordinate_transformation_mode="half_pixel",
            ),
            helper.make_node("ArgMax", ["labels_logits"], ["labels_index"], axis=1, keepdims=0),
            helper.make_node("Cast", ["labels_index"], [OUTPUT], to=TensorProto.UINT8),
        ]
    )
    del graph.output[:]
    graph.output.append(helper.make_tensor_value_info(OUTPUT, TensorProto.UINT8, [1, *size]))


def _prepend(graph: Any, nodes: list[Any]) -> None:
    old_nodes = list(graph.node)
    del graph.node[:]
    graph.node.extend([*nodes, *old_nodes])


def _compared(
    before: bytes, after: bytes, variant: Variant, about: Mapping[str, str], size: Size
) -> tuple[float | None, float | None]:
    """Difference of the logits, or share of differing labels, on random pixels. Raises ZooError where it is large."""
    pixels = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    preparing = Preprocessing.from_dict(json.loads(about.get("preprocessing", "{}")))
    image = network_input(pixels, preparing, size).numpy()
    expected = run(before, image)
    outputs = run(after, laid_out(pixels, variant.preprocessing) if variant.preprocessing else image)
    if variant.argmax:
        expected_labels = labels_of(torch.from_numpy(expected[0]), variant.argmax)
        share = float((expected_labels != outputs[0]).mean())
        _check(share, DIFFERING_HALF if variant.half else DIFFERING_LABELS, "labels of a share of the pixels")
        return None, share
    largest = max(1.0, float(np.abs(expected).max()))
    difference = float(np.abs(expected - outputs).max())
    _check(difference / largest, HALF_TOLERANCE if variant.half else FLOAT_TOLERANCE, "share of the largest logit")
    return difference, None


def _check(value: float, limit: float, measure: str) -> None:
    if not value <= limit:
        raise ZooError(
            f"this form of the file differs from the float32 one by {value:.2g} ({measure}), above {limit:g}"
        )


def laid_out(pixels: NDArray[np.uint8], layout: Layout) -> NDArray[np.uint8]:
    """An image (H, W, 3) as a batch in a layout."""
    return np.ascontiguousarray(pixels[None] if layout == "NHWC" else pixels.transpose(2, 0, 1)[None])


def run(model: bytes, image: NDArray[Any]) -> NDArray[Any]:
    """The first output of a model in onnxruntime. Raises ZooError where onnxruntime refuses it."""
    session = session_of(model)
    output: NDArray[Any] = session.run(None, {session.get_inputs()[0].name: image})[0]
    return output


def session_of(model: bytes) -> Any:
    """A session on the CPU. Raises ZooError where onnxruntime refuses the model."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's own exceptions share no useful base
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ZooError(f"onnxruntime does not run this form of the file ({reason}); try another opset") from None
