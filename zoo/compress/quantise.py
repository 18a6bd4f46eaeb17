"""A network in 8-bit integers, by NNCF: QDQ ONNX and OpenVINO's own format.

Ranges come from calibration images. Layers go back to float, the one whose quantisation costs most first, until the
labels agree with the float network's on other images (NNCF's accuracy control); no truth is needed for that, and
`zoo eval` says what it means in mIOU.
"""

import contextlib
import io
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from zoo.compress.variants import preprocessing_of, session_of
from zoo.errors import ZooError
from zoo.files import atomic
from zoo.inference.images import read_image
from zoo.inference.pipeline import images_in
from zoo.inference.preprocess import network_input

Array = NDArray[Any]

CALIBRATION, VALIDATION = 64, 16
"""Images from which ranges are taken, and images on which agreement is measured."""

RANKED = 4
"""Of those, the images that change most rank the layers: every layer is tried on each of them."""

MAX_DISAGREEMENT = 0.01
"""Share of pixels whose label may differ from the float network's before a layer goes back to float."""

OPSET = 13
"""First opset with a scale for each channel."""

PREFIX = "zoo"
"""Where OpenVINO's format keeps our metadata: `rt_info/zoo`."""


@dataclass(frozen=True, slots=True)
class Quantised:
    """One file in 8 bits.

    agreement: share of the validation images' pixels whose label is the float network's. float_layers:
    convolutions that stayed in float. allowed: share of pixels that may get another label.
    """

    path: Path
    bytes: int
    agreement: float
    float_layers: tuple[str, ...]
    allowed: float = MAX_DISAGREEMENT

    @property
    def loses(self) -> bool:
        """Whether it disagrees more than was allowed, although layers went back to float."""
        return 1 - self.agreement > self.allowed

    def document(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "path": str(self.path),
            "bytes": self.bytes,
            "agreement": self.agreement,
            "loses": self.loses,
            "float_layers": list(self.float_layers),
        }


@dataclass(frozen=True, slots=True)
class Calibration:
    """Inputs of the network (1, 3, H, W): those that ranges are taken from, and those on which labels are compared."""

    images: tuple[Path, ...]
    ranges: tuple[Array, ...]
    validation: tuple[Array, ...]


def calibration(model: Path, folder: Path, count: int = CALIBRATION) -> Calibration:
    """Images of a folder as inputs of an exported float network, evenly spaced by name.

    Validation takes other images where there are any. Raises ZooError for a folder without images.
    """
    loaded = onnx.load(model)
    about = {entry.key: entry.value for entry in loaded.metadata_props}
    preprocessing = preprocessing_of(about, model)
    height, width = (axis.dim_value for axis in loaded.graph.input[0].type.tensor_type.shape.dim[2:])
    if not height or not width:
        raise ZooError("8 bits are for one input size; leave out --dynamic")
    if not folder.is_dir():
        raise ZooError(f"{folder}: is no folder of images to calibrate with; give one with --calibrate DIR")
    images = images_in([folder])
    chosen = spaced(images, count)
    other_images = [image for image in images if image not in set(chosen)] or images

    def inputs(paths: Iterable[Path]) -> tuple[Array, ...]:
        return tuple(network_input(read_image(path), preprocessing, (height, width)).numpy() for path in paths)

    return Calibration(tuple(chosen), inputs(chosen), inputs(spaced(other_images, VALIDATION)))


def spaced(items: Sequence[Path], count: int) -> list[Path]:
    """At most `count` items, evenly spaced.

    >>> spaced([Path(name) for name in "abcdef"], 3)
    [PosixPath('a'), PosixPath('c'), PosixPath('e')]
    """
    count = min(count, len(items))
    return [items[i * len(items) // count] for i in range(count)]


def quantise_onnx(model: Path, data: Calibration, out: Path, allowed: float = MAX_DISAGREEMENT) -> Quantised:
    """Write an exported float network as ONNX with QuantizeLinear and DequantizeLinear. Raises ZooError."""
    before = onnx.load(model)
    about = {entry.key: entry.value for entry in before.metadata_props}
    name = before.graph.input[0].name
    after = _controlled(
        before, data, [{name: x} for x in data.ranges], _onnx_labels, _labels_before(model, data), allowed
    )
    metadata = about | described(data)
    onnx.helper.set_model_props(after, metadata)
    with atomic(out) as partial:
        partial.write_bytes(after.SerializeToString())
    return Quantised(
        out, out.stat().st_size, _agreement(_onnx_labels(after), model, data), onnx_float_layers(after), allowed
    )


def quantise_openvino(model: Path, data: Calibration, out: Path, allowed: float = MAX_DISAGREEMENT) -> Quantised:
    """Write an exported float network in OpenVINO's format, out.xml and out.bin beside it. Raises ZooError."""
    import openvino

    core = openvino.Core()
    about = {entry.key: entry.value for entry in onnx.load(model).metadata_props}
    expected = _labels_before(model, data)
    after = _controlled(core.read_model(model), data, list(data.ranges), _openvino_labels, expected, allowed)
    for key, value in (about | described(data)).items():
        after.set_rt_info(value, [PREFIX, key])
    openvino.save_model(after, out, compress_to_fp16=False)
    size = out.stat().st_size + out.with_suffix(".bin").stat().st_size
    agreement = _agreement(_openvino_labels(core.compile_model(after, "CPU")), model, data)
    return Quantised(out, size, agreement, openvino_float_layers(after), allowed)


def described(data: Calibration) -> dict[str, str]:
    """Metadata of a file in 8 bits."""
    names = [image.name for image in data.images]
    return {"precision": "int8", "calibration": f"{len(names)} images: {', '.join(names)}"}


Labels = Callable[[Array], Array]
"""From an input (1, 3, H, W) to labels (h, w) at the logits' size."""


def _controlled(
    model: Any,
    data: Calibration,
    ranges: Sequence[Any],
    labels_by: Callable[[Any], Labels],
    expected: Sequence[Array],
    allowed: float,
) -> Any:
    """NNCF's quantisation with accuracy control; what it prints is swallowed. Raises ZooError where it fails."""
    import nncf

    def agree(candidate: Any, items: Iterable[int]) -> tuple[float, list[float]]:
        labels = labels_by(candidate)
        shares = [float((labels(data.validation[i]) == expected[i]).mean()) for i in items]
        return float(np.mean(shares)), shares

    with _quietly():
        try:
            return nncf.quantize_with_accuracy_control(
                model,
                nncf.Dataset(list(ranges)),
                nncf.Dataset(list(range(len(data.validation)))),
                agree,
                max_drop=allowed,
                preset=nncf.QuantizationPreset.MIXED,  # activations of PReLU are not symmetric
                subset_size=len(ranges),
                advanced_accuracy_restorer_parameters=nncf.AdvancedAccuracyRestorerParameters(
                    ranking_subset_size=RANKED,
                    num_ranking_workers=1,  # more would compile at once what the cores then run slower
                ),
            )
        except Exception as error:  # NNCF and its backends raise many kinds
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
            raise ZooError(f"NNCF cannot quantise the network ({reason}); export it with --half") from None


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    import nncf

    nncf.set_log_level(logging.ERROR)
    with contextlib.redirect_stdout(io.StringIO()):
        yield


def _onnx_labels(model: Any) -> Labels:
    session = session_of(model.SerializeToString())
    name = session.get_inputs()[0].name
    return lambda x: np.asarray(session.run(None, {name: x})[0][0].argmax(0))


def _openvino_labels(compiled: Any) -> Labels:
    return lambda x: np.asarray(compiled([x])[0][0].argmax(0))


def _labels_before(model: Path, data: Calibration) -> list[Array]:
    labels = _onnx_labels(onnx.load(model))
    return [labels(x) for x in data.validation]


def _agreement(labels: Labels, model: Path, data: Calibration) -> float:
    pairs = zip(data.validation, _labels_before(model, data), strict=True)
    return float(np.mean([(labels(x) == expected).mean() for x, expected in pairs]))


CONVOLUTIONS = ("Conv", "ConvTranspose")


def onnx_float_layers(model: Any) -> tuple[str, ...]:
    """Convolutions of an ONNX model whose input is not made of 8-bit integers."""
    makers = {name: node.op_type for node in model.graph.node for name in node.output}
    return tuple(
        node.name
        for node in model.graph.node
        if node.op_type in CONVOLUTIONS and makers.get(node.input[0]) != "DequantizeLinear"
    )


def openvino_float_layers(model: Any) -> tuple[str, ...]:
    """Convolutions of an OpenVINO model whose input is not rounded to 8 bits."""
    kinds = ("Convolution", "GroupConvolution", "ConvolutionBackpropData", "GroupConvolutionBackpropData")
    return tuple(
        node.get_friendly_name()
        for node in model.get_ops()
        if node.get_type_name() in kinds and node.input_value(0).get_node().get_type_name() != "FakeQuantize"
    )


def openvino_about(model: Any) -> Mapping[str, str]:
    """The metadata that `quantise_openvino` wrote into a model; empty where there is none."""
    if not model.has_rt_info([PREFIX]):
        return {}
    return {key: str(getattr(value, "value", value)) for key, value in model.get_rt_info([PREFIX]).value.items()}
