"""An ONNX file as a network to be scored; what it expects is read from its metadata, as `zoo export` writes it."""

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
    height, width = entry.shape[2:]
    fixed = (height, width) if isinstance(height, int) and isinstance(width, int) else None

    def logits(x: Tensor) -> Tensor:
        return torch.from_numpy(session.run(None, {entry.name: x.numpy()})[0][0])

    said = parsed(about)
    try:
        labels = labels_from(said.get("label_set", said["labels"]))
    except ZooError as error:
        raise ZooError(f"{path}: {error}") from None
    preprocessing = Preprocessing.from_dict(said["preprocessing"])
    return Scored(str(path), logits, preprocessing, labels, sha256_of(path), fixed, "onnxruntime")
