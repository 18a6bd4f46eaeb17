"""An ONNX file as a network to be scored; what it expects is read from its metadata, as `zoo export` writes it."""

import json
from pathlib import Path

import torch
from torch import Tensor

from zoo.data.classes import LABEL_SETS, label_set
from zoo.errors import ZooError
from zoo.evaluate.segmentation import Scored, sha256_of
from zoo.inference.preprocess import Preprocessing


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

    if about["labels"] not in LABEL_SETS:
        raise ZooError(f"{path}: its label set {about['labels']!r} is unknown here; known: {', '.join(LABEL_SETS)}")
    preprocessing = Preprocessing.from_dict(json.loads(about["preprocessing"]))
    return Scored(str(path), logits, preprocessing, label_set(about["labels"]), sha256_of(path), fixed, "onnxruntime")
