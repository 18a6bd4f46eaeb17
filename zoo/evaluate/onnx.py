"""An ONNX file as a network to be scored; what it expects is read from its metadata, as `zoo export` writes it."""

from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from zoo.data.classes import labels_from
from zoo.errors import ZooError
from zoo.evaluate.segmentation import Scored, sha256_of
from zoo.inference.preprocess import Preprocessing
from zoo.metadata import parsed


def onnx_scored(path: Path) -> Scored:
    """Open an ONNX file with onnxruntime, on the CPU. Raises ZooError for a file that does not say what it expects."""
    import onnxruntime

    if not path.is_file():
        raise ZooError(f"{path}: there is no such file; write one with `zoo export`")
    try:
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's errors share no base class
        raise ZooError(f"{path}: onnxruntime cannot read it ({str(error).splitlines()[0]}); export it anew") from None
    about = session.get_modelmeta().custom_metadata_map
    missing = [key for key in ("preprocessing", "labels") if key not in about]
    if missing:
        raise ZooError(f"{path}: its metadata lacks {' and '.join(missing)}; export it with weights by `zoo export`")
    entry = session.get_inputs()[0]
    layout = about.get("input_layout", "NCHW")
    height, width = entry.shape[1:3] if layout == "NHWC" else entry.shape[2:]
    fixed = (height, width) if isinstance(height, int) and isinstance(width, int) else None
    takes_pixels, gives_labels = "uint8" in entry.type, "uint8" in session.get_outputs()[0].type

    def logits(x: Tensor) -> Tensor:
        image = x.round().to(torch.uint8) if takes_pixels else x
        image = image.permute(0, 2, 3, 1).contiguous() if layout == "NHWC" else image
        output = torch.from_numpy(session.run(None, {entry.name: image.numpy()})[0][0])
        return one_hot(output, outputs) if gives_labels else output

    said = parsed(about)
    try:
        labels = labels_from(said.get("label_set", said["labels"]))
    except ZooError as error:
        raise ZooError(f"{path}: {error}") from None
    preprocessing = Preprocessing.from_dict(said["preprocessing"])
    if takes_pixels:
        preprocessing = replace(PIXELS, antialias=preprocessing.antialias)
    outputs = len(said["classes"]) if "classes" in said else len(labels.classes)
    return Scored(str(path), logits, preprocessing, labels, sha256_of(path), fixed, "onnxruntime")


PIXELS = Preprocessing(maximum=255.0)
"""The preprocessing of a file that takes 8-bit RGB pixels."""


def one_hot(labels: Tensor, classes: int) -> Tensor:
    """Labels (H, W) as logits (classes, H, W): 1 for the label and 0 elsewhere."""
    return (labels[None] == torch.arange(classes, dtype=labels.dtype)[:, None, None]).float()
