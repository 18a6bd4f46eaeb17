"""A model by name, run, file or `RUN#RANK`, opened: a network with weights, a start or a teacher of a training."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from search.model_ref import resolve
from zoo.config import Config
from zoo.errors import ZooError

if TYPE_CHECKING:
    from search.runs.weights import TrainedWeights
    from zoo.evaluate.segmentation import Scored
    from zoo.train.start import Start


def weights_file(text: str) -> Path | None:
    """The file of weights that a text names: a file, a run's best, a study's `RUN#RANK`; None for a name."""
    from search.runs.weights import trained_weights
    from zoo.train.checkpoint import BEST

    if "#" in text and not Path(text).exists():
        kept = trained_weights(text)
        return None if kept is None else kept.path
    path = Path(text)
    if path.is_dir():
        return path / BEST
    return path if path.suffix == ".safetensors" else None


def start_from(text: str) -> "Start":
    """Weights to start a run from. Raises ZooError."""
    from pretrained import find
    from pretrained.weights import load_state
    from zoo.data.classes import label_set
    from zoo.registry import lower
    from zoo.train.checkpoint import read_weights
    from zoo.train.start import Start

    path = weights_file(text)
    if path:
        kept = read_weights(path)
        return Start(kept.state, kept.outputs, kept.labels, kept.preprocessing)
    entry = find(text)
    channels = lower(entry.spec, entry.preprocessing.size or (512, 1024)).output_shapes[0].channels
    return Start(load_state(entry), channels, label_set(entry.labels), entry.preprocessing)


def module_of(text: str) -> tuple[Any, Any, str | None]:
    """A network with weights, its label set, and the hash of its file."""
    from zoo.data.classes import label_set

    path = weights_file(text)
    if path is None:
        from pretrained import load

        named = load(text)
        return named, label_set(named.labels), named.weights.sha256
    from pretrained.weights import fit
    from zoo.evaluate.segmentation import sha256_of
    from zoo.network import build
    from zoo.train.checkpoint import read_weights

    kept = read_weights(path)
    module: Any = build(kept.spec, kept.preprocessing.size or (512, 1024))
    fit(module, kept.state, str(path))
    module.preprocessing = kept.preprocessing
    return module.eval(), kept.labels, sha256_of(path)


def teacher_of(text: str, classes: int) -> Any:
    """A network to distil from. Raises ZooError where its classes are not as many."""
    from zoo.train.distil import Teacher

    module, labels, _ = module_of(text)
    if len(labels.classes) != classes:
        raise ZooError(f"--teacher {text}: has {len(labels.classes)} classes and the data {classes}; both must agree")
    return Teacher(module, module.preprocessing, classes)


def scored_of(
    name: str,
    config: Config,
    backend: str | None = None,
    *,
    threads: int | None = None,
    size: tuple[int, int] | None = None,
    say: Callable[[str], None] = lambda message: None,
) -> "Scored":
    """The network that MODEL of `zoo eval` names, run by `backend`. Raises ZooError.

    size: (height, width) of the input, where the preprocessing does not say. say: is told what `auto` chose.
    """
    from zoo.evaluate.segmentation import module_scored

    if name.endswith(".onnx"):
        from zoo.evaluate.onnx import onnx_scored

        if backend not in (None, "auto", "onnxruntime"):
            raise ZooError(f"an ONNX file is scored in onnxruntime, not in {backend}; leave out --backend")
        return onnx_scored(Path(name))
    canonical = name
    if weights_file(name) is None:
        model = resolve(name, config)
        canonical = f"{model.canonical}.{model.tag}" if model.tag else model.canonical
    module, labels, digest = module_of(canonical)
    if backend in (None, "torch"):
        return module_scored(name, module, labels, digest)
    from zoo.backends.session import Engine

    engine = Engine(module, backend, threads, say=say)
    if fixed := size or module.preprocessing.size:
        engine.at(fixed)  # `auto` may fall back, and the protocol says to what
    return module_scored(name, module, labels, digest, run=engine, backend=engine.backend)


def candidate_of(text: str) -> "tuple[Any, TrainedWeights] | None":
    """The candidate's network and where its weights are from; None where its search trained none.

    Raises ConfigError where the weights are missing or others than those that were trained.
    """
    from search.runs.weights import trained_weights

    weights = trained_weights(text)
    if weights is None:
        return None
    module, labels, _ = module_of(str(weights.path))
    module.labels = labels.name
    return module, weights
