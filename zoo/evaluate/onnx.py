"""An ONNX file as a network to be scored; what it expects is read from its metadata, as `zoo export` writes it.

The file may be anybody's: its input and its output are checked when it is opened, and every answer for numbers
that are none. Inputs of half precision, of bytes, of a fixed batch and with the channels last are served.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from zoo.data.classes import LabelSet, labels_from
from zoo.errors import ZooError
from zoo.evaluate.segmentation import Scored, sha256_of
from zoo.inference.preprocess import Preprocessing
from zoo.memory import refuse_beyond
from zoo.reading import exists, parse_json, read_bytes
from zoo.text import one_line, shown

MAX_BYTES = 2**31
"""Largest file that is read; ONNX files end at 2 GB."""

SILENT = 4
"""onnxruntime's level of logging at which it prints nothing: its lines hold escape codes and foreign names."""

KINDS: Mapping[str, type[np.generic]] = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(uint8)": np.uint8,
}
"""Types of inputs that are served."""

MAX_BATCH = 64
"""Largest fixed batch that is served; the image is repeated in it."""

Answer = Callable[[NDArray[Any]], NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Input:
    """The one input of a file. size: (height, width) where it is fixed. last: whether channels are."""

    name: str
    kind: type[np.generic]
    batch: int
    size: tuple[int, int] | None
    last: bool

    def of(self, x: Tensor) -> NDArray[Any]:
        """An image (1, 3, h, w) as the file takes it."""
        values = x.numpy()
        if self.kind is np.uint8:
            values = values.round().clip(0, 255)
        values = np.repeat(values.astype(self.kind), self.batch, 0)
        return np.ascontiguousarray(values.transpose(0, 2, 3, 1) if self.last else values)


def onnx_scored(path: Path) -> Scored:
    """Open an ONNX file with onnxruntime, on the CPU. Raises ZooError for a file that does not say what it expects."""
    session = _session(path)
    about = session.get_modelmeta().custom_metadata_map
    missing = [key for key in ("preprocessing", "labels") if key not in about]
    if missing:
        raise ZooError(
            f"{shown(path)}: its metadata lacks {' and '.join(missing)}; export it with weights by `zoo export`"
        )
    entry = _input(session, path)
    gives_labels = _check_output(session, path)
    labels, preprocessing = _labels(about, path), _preprocessing(about["preprocessing"], path, entry)

    def logits(x: Tensor) -> Tensor:
        refuse_beyond(
            8 * x.numel() * entry.batch, f"{shown(path)} at {x.shape[3]}x{x.shape[2]}", "give a smaller --size"
        )
        return _logits(session, entry, x, labels, path)

    return Scored(
        str(path),
        logits,
        preprocessing,
        labels,
        sha256_of(path),
        entry.size,
        "onnxruntime",
        gives_labels=gives_labels,
    )


def _session(path: Path) -> Any:
    import onnxruntime

    if not exists(path):
        raise ZooError(f"{shown(path)}: there is no such file; write one with `zoo export`")
    data = read_bytes(path, ZooError, MAX_BYTES)
    _refuse_outside_data(data, path)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = SILENT
    try:
        return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's errors share no base class
        raise ZooError(f"{shown(path)}: onnxruntime cannot read it ({_first(error)}); export it anew") from None


def _refuse_outside_data(data: bytes, path: Path) -> None:
    """Raise ZooError for a file whose tensors lie in other files, which it could name anywhere on this machine."""
    import onnx
    from onnx.external_data_helper import _get_all_tensors, uses_external_data

    try:
        model = onnx.load_model_from_string(data)
        outside = any(uses_external_data(tensor) for tensor in _get_all_tensors(model))
    except Exception as error:  # protobuf's errors share no base class with onnx's
        raise ZooError(f"{shown(path)}: onnxruntime cannot read it ({_first(error)}); export it anew") from None
    if outside:
        raise ZooError(f"{shown(path)}: keeps tensors in other files; save it as one file")


def _input(session: Any, path: Path) -> Input:
    inputs = session.get_inputs()
    if len(inputs) != 1:
        names = one_line(", ".join(entry.name for entry in inputs), 80) or "none"
        raise ZooError(f"{shown(path)}: must have one input, an image, but has {len(inputs)} ({names}); export it anew")
    entry = inputs[0]
    shape = list(entry.shape or [])
    description = one_line(f"{entry.name} of type {entry.type}, shape {shape}", 120)
    if entry.type not in KINDS or len(shape) != 4:
        raise ZooError(
            f"{shown(path)}: its input must be images (N, 3, H, W) of float, float16 or uint8, but is {description}; "
            "export it anew"
        )
    last = shape[1] != 3 and shape[3] == 3
    channels, height, width = (shape[3], shape[1], shape[2]) if last else (shape[1], shape[2], shape[3])
    if isinstance(channels, int) and channels != 3:
        raise ZooError(f"{shown(path)}: its input must have 3 channels, but is {description}; export it anew")
    batch = shape[0] if isinstance(shape[0], int) and shape[0] > 0 else 1
    if batch > MAX_BATCH:
        raise ZooError(f"{shown(path)}: takes {batch} images at once, more than {MAX_BATCH}; export it for one")
    fixed = (height, width) if isinstance(height, int) and isinstance(width, int) else None
    return Input(entry.name, KINDS[entry.type], batch, fixed, last)


def _check_output(session: Any, path: Path) -> bool:
    """Whether a file gives labels and not logits. Raises ZooError where it gives neither."""
    outputs = session.get_outputs()
    shape = list(outputs[0].shape or []) if outputs else []
    labels = bool(outputs) and outputs[0].type == "tensor(uint8)" and len(shape) == 3
    if not outputs or (shape and len(shape) != 4 and not labels):
        raise ZooError(
            f"{shown(path)}: its first output must be logits (N, classes, h, w) or labels (N, h, w) in bytes, but is "
            f"of shape {one_line(shape, 60)}; export it anew"
        )
    return labels


def _labels(about: Mapping[str, str], path: Path) -> LabelSet:
    """The label set of a file: whole where it is one's own, else by its name."""
    whole = about.get("label_set")
    try:
        return labels_from(parse_json(whole, "label_set", ZooError) if whole else about["labels"])
    except ZooError as error:
        raise ZooError(f"{shown(path)}: {error}") from None


def _preprocessing(text: str, path: Path, entry: Input) -> Preprocessing:
    preprocessing = Preprocessing.from_dict(parse_json(text, f"{shown(path)}: its metadata preprocessing", ZooError))
    if entry.kind is np.uint8:  # a network of bytes does the arithmetic itself
        return replace(preprocessing, channels="RGB", maximum=255.0, mean=(0.0,) * 3, std=(1.0,) * 3, divisor=1.0)
    return preprocessing


def _logits(session: Any, entry: Input, x: Tensor, labels: LabelSet, path: Path) -> Tensor:
    """Logits (classes, h, w) of an image (1, 3, h, w), checked. Raises ZooError."""
    try:
        answer = np.asarray(session.run(None, {entry.name: entry.of(x)})[0])
    except Exception as error:  # onnxruntime's errors share no base class
        raise ZooError(f"{shown(path)}: onnxruntime cannot run it ({_first(error)}); export it anew") from None
    classes = len(labels.classes)
    if answer.ndim == 3 and answer.dtype == np.uint8:
        return one_hot(torch.from_numpy(answer[0]), classes + 1)
    if answer.ndim != 4 or answer.dtype.kind != "f":
        raise ZooError(
            f"{shown(path)}: must answer logits (N, classes, h, w), but answers {answer.dtype} of shape "
            f"{answer.shape}; export it anew"
        )
    first = answer[0].astype(np.float32)
    if first.shape[0] not in (classes, classes + 1) and first.shape[2] in (classes, classes + 1):
        first = np.ascontiguousarray(first.transpose(2, 0, 1))
    if first.shape[0] not in (classes, classes + 1):
        raise ZooError(
            f"{shown(path)}: answers {first.shape[0]} classes a pixel, and {labels.name} has {classes} (and void); "
            "give a file with these outputs"
        )
    if not np.isfinite(first).all():
        raise ZooError(f"{shown(path)}: answers values that are not finite, which cannot be scored; export it anew")
    return torch.from_numpy(first)


def one_hot(labels: Tensor, classes: int) -> Tensor:
    """Labels (H, W) as logits (classes, H, W): 1 for the label and 0 elsewhere; the last class is whatever is void."""
    clamped = labels.clamp(max=classes - 1)
    return (clamped[None] == torch.arange(classes, dtype=labels.dtype)[:, None, None]).float()


def _first(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return one_line(lines[0], 160) if lines else type(error).__name__
