"""A model opened: a network with the weights that belong to it, a start or a teacher of a training."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from search.lacking import lacks_weights
from search.model_ref import Model, resolve
from zoo.config import Config
from zoo.errors import ZooError

if TYPE_CHECKING:
    from torch import Tensor

    from pretrained.manifest import Calibrated
    from zoo.data.classes import LabelSet
    from zoo.evaluate.segmentation import Scored
    from zoo.graph import Graph
    from zoo.inference.preprocess import Preprocessing
    from zoo.specs import Spec
    from zoo.train.start import Start


@dataclass(frozen=True, slots=True)
class Taken:
    """Which weights were taken: their name and hash, and the mIOU in percent that they have on a data set.

    source: where their file is from. tag: of the manifest, None for a file or a run. calibration: of their class
    probabilities, where that was measured.
    """

    name: str
    sha256: str
    tag: str | None = None
    dataset: str | None = None
    split: str | None = None
    miou: float | None = None
    source: str | None = None
    calibration: "Calibrated | None" = None

    def __str__(self) -> str:
        if self.miou is None:
            return f"{self.name} ({self.dataset})" if self.dataset else self.name
        split_name = " ".join(filter(None, (self.dataset, self.split)))
        return f"{self.name} ({self.miou:.4g} mIOU on {split_name})"

    def document(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "weights": self.name,
            "weights_tag": self.tag,
            "weights_sha256": self.sha256,
            "weights_dataset": self.dataset,
            "weights_miou": self.miou,
        }


@dataclass(frozen=True, slots=True)
class Opened:
    """A network in evaluation mode, what its outputs mean, and its weights.

    module has `preprocessing`, `labels` (the set's name) and `label_set`. run: what gives its logits where it is
    not the module itself, as of an ONNX file. gives_labels: whether it gives the class alone of each pixel.
    """

    module: Any
    labels: "LabelSet"
    taken: Taken
    run: "Callable[[Tensor], Any] | None" = None
    gives_labels: bool = False


def open_model(model: Model) -> Opened:
    """The network that MODEL names with its weights; a name without a tag has its default ones.

    Raises ZooError where it has none, with ways to get some, where --set changed the network, and for an ONNX
    file, which torch does not run.
    """
    check_unchanged(model)
    if model.kind == "onnx":
        raise ZooError(f"{model.name}: holds a network for onnxruntime, which torch does not run; give its weights")
    if model.kind == "name":
        return _pretrained(model)
    file = weights_file(model)
    if file is None:
        raise lacks_weights(model)
    return _own(file, taken_from(model))


def check_unchanged(model: Model) -> None:
    """Raise ZooError where --set made another network of a model that is asked for its weights."""
    if model.settings:
        raise ZooError(f"--set makes {model.name} another network, which its weights do not fit; leave out one of them")


def has_weights(model: Model) -> bool:
    """Whether weights belong to what was named: a tag, a file, a run, a candidate that a study trained."""
    if model.kind == "name":
        return model.tag is not None
    return model.kind != "onnx" and weights_file(model) is not None


def weights_file(model: Model) -> Path | None:
    """The file of the model's own weights, a candidate's checked against its run; None for a name and a spec."""
    if model.kind == "candidate":
        from search.runs.weights import trained_weights

        trained = trained_weights(model.name)
        return None if trained is None else trained.path
    return model.file if model.kind in ("weights", "run") else None


def taken_from(model: Model) -> Taken:
    """Which weights belong to a model. Raises ZooError where none do."""
    if model.kind == "name":
        return _manifest_taken(model)
    file = weights_file(model)
    if file is None:
        raise lacks_weights(model)
    from zoo.evaluate.segmentation import sha256_of
    from zoo.metadata import weights_about

    about = weights_about(file)
    miou, dataset = about.get("miou"), about.get("dataset")
    return Taken(
        _name(model, file),
        sha256_of(file),
        dataset=str(dataset) if dataset else None,
        split="val" if "epoch" in about else None,
        miou=float(miou) if isinstance(miou, (int, float)) else None,
        source=str(file),
    )


def _name(model: Model, file: Path) -> str:
    if model.kind == "candidate":
        from search.runs.weights import trained_weights

        trained = trained_weights(model.name)
        return trained.name if trained else model.name
    return f"{model.name}, {file.name}" if model.kind == "run" else model.name


def _manifest_taken(model: Model) -> Taken:
    from pretrained.manifest import manifest

    if model.tag is None and not manifest().of(model.canonical):
        raise lacks_weights(model)
    entry = manifest().find(model.canonical, model.tag)
    score = entry.miou
    return Taken(
        entry.name,
        entry.sha256,
        entry.tag,
        score.dataset if score else entry.labels,
        score.split if score else None,
        score.value if score else None,
        entry.origin,
        entry.calibration,
    )


def _pretrained(model: Model) -> Opened:
    from pretrained import load
    from zoo.data.classes import label_set

    source = _manifest_taken(model)
    module: Any = load(source.name)
    module.label_set = label_set(module.labels)
    return Opened(module, module.label_set, source)


def _own(path: Path, source: Taken) -> Opened:
    from pretrained.weights import fit
    from zoo.network import build
    from zoo.train.checkpoint import read_weights

    saved = read_weights(path)
    module: Any = build(saved.spec, saved.preprocessing.size or (512, 1024))
    fit(module, saved.state, str(path))
    module.preprocessing, module.label_set, module.labels = saved.preprocessing, saved.labels, saved.labels.name
    return Opened(module.eval(), saved.labels, source)


@dataclass(frozen=True, slots=True)
class OnnxNetwork:
    """What segmenting needs of a network that onnxruntime runs."""

    spec: "Spec"
    graph: "Graph"
    preprocessing: "Preprocessing"
    labels: str
    training: bool = False


def open_onnx(model: Model) -> Opened:
    """An ONNX file that `zoo export` wrote, run by onnxruntime on the CPU. Raises ZooError."""
    from zoo.evaluate.onnx import onnx_scored
    from zoo.registry import lower

    check_unchanged(model)
    scored = onnx_scored(Path(model.name))
    size = scored.fixed_size or scored.preprocessing.size or (512, 1024)
    preprocessing = replace(scored.preprocessing, size=scored.fixed_size or scored.preprocessing.size)
    network = OnnxNetwork(model.spec, lower(model.spec, size), preprocessing, scored.labels.name)
    source = Taken(model.name, scored.sha256 or "")
    return Opened(network, scored.labels, source, lambda x: scored.logits(x)[None], scored.gives_labels)


def start_from(model: Model) -> "Start":
    """Weights to start a run from. Raises ZooError."""
    from zoo.train.checkpoint import read_weights
    from zoo.train.start import Start

    check_unchanged(model)
    file = weights_file(model)
    if file is None:
        return _start_from_manifest(model)
    weights = read_weights(file)
    return Start(weights.state, weights.outputs, weights.labels, weights.preprocessing, weights.spec)


def _start_from_manifest(model: Model) -> "Start":
    from pretrained import find
    from pretrained.weights import load_state
    from zoo.data.classes import label_set
    from zoo.registry import lower
    from zoo.train.start import Start

    if model.kind == "onnx":
        raise ZooError(f"{model.name}: an ONNX file's tensors have other names; start from the weights it is made of")
    if model.kind != "name":
        raise lacks_weights(model)
    entry = find(_manifest_taken(model).name)
    channels = lower(entry.spec, entry.preprocessing.size or (512, 1024)).output_shapes[0].channels
    return Start(load_state(entry), channels, label_set(entry.labels), entry.preprocessing, entry.spec)


def teacher_of(model: Model, classes: int) -> Any:
    """A network to distil from. Raises ZooError where its classes are not as many."""
    from zoo.train.distil import Teacher

    opened = open_model(model)
    count = len(opened.labels.classes)
    if count != classes:
        raise ZooError(f"--teacher {model.name}: has {count} classes and the data {classes}; both must agree")
    return Teacher(opened.module, opened.module.preprocessing, classes)


def scored_of(
    name: str,
    config: Config,
    backend: str | None = None,
    *,
    threads: int | None = None,
    size: tuple[int, int] | None = None,
    device: str = "cpu",
    say: Callable[[str], None] = lambda message: None,
) -> "Scored":
    """The network that MODEL of `zoo eval` names, run by `backend` on `device`. Raises ZooError.

    size: (height, width) of the input, where the preprocessing does not say. say: is told what `auto` chose.
    """
    from zoo.evaluate.segmentation import module_scored

    if Path(name).suffix.lower() == ".xml":
        from zoo.evaluate.openvino import openvino_scored

        if backend not in (None, "auto", "openvino"):
            raise ZooError(f"an OpenVINO file is scored in OpenVINO, not in {backend}; leave out --backend")
        return openvino_scored(Path(name))
    model = resolve(name, config)
    if model.kind == "onnx":
        from zoo.evaluate.onnx import onnx_scored

        if backend not in (None, "auto", "onnxruntime"):
            raise ZooError(f"an ONNX file is scored in onnxruntime, not in {backend}; leave out --backend")
        return onnx_scored(Path(name))
    opened = open_model(model)
    module, digest = opened.module, opened.taken.sha256
    if backend in (None, "torch"):
        return module_scored(name, module.to(device), opened.labels, digest, backend=_backend(device))
    from zoo.backends.session import Engine

    engine = Engine(module, backend, threads, say=say)
    if fixed := size or module.preprocessing.size:
        engine.at(fixed)  # `auto` may fall back, and the protocol says to what
    return module_scored(name, module, opened.labels, digest, run=engine, backend=engine.backend)


def _backend(device: str) -> str:
    return "torch" if device == "cpu" else f"torch on {device}"


def torch_device(text: str) -> str:
    """`cpu`, `cuda` or `cuda:N`, where torch has it. Raises ZooError, in one sentence, where it has not."""
    import torch

    kind, _, number = text.partition(":")
    if kind not in ("cpu", "cuda") or (number and not number.isdecimal()) or (kind == "cpu" and number):
        raise ZooError(f"--device {text}: must be cpu, cuda or cuda:N")
    count = torch.cuda.device_count() if kind == "cuda" and torch.cuda.is_available() else 0
    if kind == "cuda" and not count:
        raise ZooError(f"--device {text}: torch finds no CUDA device here; use --device cpu")
    if number and int(number) >= count:
        raise ZooError(f"--device {text}: this machine has {count} CUDA devices, counted from 0; give one of them")
    return text
