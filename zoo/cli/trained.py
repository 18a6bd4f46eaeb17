"""Weights as `zoo train` and `zoo eval` are given them: by name, a run's folder, a file, or an ONNX file."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.cli.command import Arguments, config_of, note
from zoo.errors import ZooError

if TYPE_CHECKING:
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


def scored_of(args: Arguments) -> "Scored":
    """The network that MODEL of `zoo eval` names. Raises ZooError."""
    from zoo.evaluate.segmentation import module_scored

    if args.model.endswith(".onnx"):
        from zoo.evaluate.onnx import onnx_scored

        if args.backend not in (None, "auto", "onnxruntime"):
            raise ZooError(f"an ONNX file is scored in onnxruntime, not in {args.backend}; leave out --backend")
        return onnx_scored(Path(args.model))
    name = args.model
    if weights_file(name) is None:
        from zoo.resolve import resolve

        model = resolve(name, config_of(args))
        name = f"{model.canonical}.{model.tag}" if model.tag else model.canonical
    module, labels, digest = module_of(name)
    if args.backend in (None, "torch"):
        return module_scored(args.model, module, labels, digest)
    from zoo.backends.session import Engine

    engine = Engine(module, args.backend, args.threads or None, say=lambda message: note(f"zoo: {message}"))
    if size := args.size or module.preprocessing.size:
        engine.at(size)  # `auto` may fall back, and the protocol says to what
    return module_scored(args.model, module, labels, digest, run=engine, backend=engine.backend)
