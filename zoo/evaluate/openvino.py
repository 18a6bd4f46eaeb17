"""A network in OpenVINO's format as a network to be scored; what it expects is in its `rt_info`."""

from pathlib import Path

import torch
from torch import Tensor

from zoo.backends.compiled import openvino_core
from zoo.compress.quantise import openvino_about
from zoo.data.classes import labels_from
from zoo.errors import ZooError
from zoo.evaluate.segmentation import Scored, sha256_of
from zoo.inference.preprocess import Preprocessing
from zoo.metadata import parsed


def openvino_scored(path: Path) -> Scored:
    """Open an .xml file that `zoo export --int8` wrote, on the CPU. Raises ZooError for any other."""
    if not path.is_file():
        raise ZooError(f"{path}: there is no such file; write one with `zoo export --int8`")
    try:
        model = openvino_core().read_model(path)
        about = parsed(openvino_about(model))
        compiled = openvino_core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    except Exception as error:  # OpenVINO's own exceptions share no useful base
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ZooError(f"{path}: OpenVINO cannot read it ({reason}); export it anew") from None
    missing = [key for key in ("preprocessing", "labels") if key not in about]
    if missing:
        raise ZooError(f"{path}: its metadata lacks {' and '.join(missing)}; export it with weights by `zoo export`")
    _, _, height, width = model.input(0).shape

    def logits(x: Tensor) -> Tensor:
        return torch.from_numpy(compiled([x.numpy()])[0][0])

    labels = labels_from(about.get("label_set", about["labels"]))
    preprocessing = Preprocessing.from_dict(about["preprocessing"])
    return Scored(str(path), logits, preprocessing, labels, sha256_of(path), (height, width), "openvino")
