"""Weights in memory: read a verified file without running anything in it, and fit it to its network."""

import io
import pickle
import re
import warnings
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pretrained.download import check_bytes, obtain
from pretrained.manifest import Weights, manifest
from zoo.errors import ZooError
from zoo.inference.preprocess import Preprocessing
from zoo.network import Network, flush_subnormals_
from zoo.reading import read_bytes
from zoo.registry import lower

State = dict[str, Tensor]
"""Tensors by their dotted names."""

MAX_BYTES = 2**31
"""Largest file of weights that is read."""

LARGEST_RATIO = 4
"""Times the size of its file that the tensors of a state dict may have: tied ones are stored once."""

COUNTER = "num_batches_tracked"
"""Last part of the name of a BN counter, which old files lack and evaluation does not need."""


class PretrainedNetwork(Network):
    """A network with weights, in evaluation mode.

    preprocessing: what its input must be. labels: name of the label set of its outputs. weights: the
    manifest's entry, with licence, hash and scores.
    """

    preprocessing: Preprocessing
    labels: str
    weights: Weights

    def __init__(self, entry: Weights) -> None:
        super().__init__(lower(entry.spec, entry.preprocessing.size or (512, 1024)), entry.spec)
        self.preprocessing = entry.preprocessing
        self.labels = entry.labels
        self.weights = entry


def load(name: str | Weights, **options: Any) -> PretrainedNetwork:
    """Load a network by name, `espnet-c-3.cityscapes`, or without a tag with its default weights.

    Further arguments are those of `download.obtain`. Raises ZooError for an unknown name and wherever the
    file cannot be had or does not fit.
    """
    entry = manifest().find(name) if isinstance(name, str) else name
    network = PretrainedNetwork(entry)
    fit(network, load_state(entry, **options), entry.name)
    return network.eval()


def load_state(source: Weights | Path | str, **options: Any) -> State:
    """Tensors of a manifest entry, or of any file of weights (safetensors, or a state dict of torch.save).

    Subnormal numbers are flushed to zero. From an entry's file its unused keys are dropped, and only they.
    Nothing in a file is run. Raises ZooError for a file that is not what it should be.
    """
    if isinstance(source, Weights):
        path = obtain(source, **options).path
        data = _read(path)
        check_bytes(data, path, source)  # what is parsed, not what lay there a moment ago
        state: State = _without(parse(data, str(path)), source.unused_keys, source.name)
    else:
        path = Path(source)
        state = parse(_read(path), str(path))
    flush_subnormals_(state)
    return state


def _read(path: Path) -> bytes:
    return read_bytes(path, ZooError, MAX_BYTES)


def _without(state: State, keys: Iterable[str], name: str) -> State:
    absent = [key for key in keys if key not in state]
    if absent:
        raise ZooError(f"{name}: the file lacks {absent[0]}, which the manifest calls unused; correct the manifest")
    return {key: value for key, value in state.items() if key not in set(keys)}


def parse(data: bytes, location: str) -> State:
    """Tensors of a file's bytes; `location` names it in errors.

    Safetensors hold nothing but tensors. A pickle is read by torch's weights-only reader, which refuses
    whatever is not a tensor or a plain container. Raises ZooError.
    """
    read = _safetensors if data[8:9] == b"{" else _pickled
    state = read(data, location)
    _refuse_bomb(state, len(data), location)
    if not isinstance(state, Mapping) or not state:
        raise ZooError(
            f"{location}: holds a {type(state).__name__} where tensors by name are needed; save a state dict"
        )
    for key, value in state.items():
        if not isinstance(key, str) or not isinstance(value, Tensor):
            raise ZooError(f"{location}: {key!r} is a {type(value).__name__}, not a tensor; save the state dict alone")
        if value.is_floating_point() and not value.isfinite().all():
            raise ZooError(f"{location}: {key} holds values that are not finite; train again from the last good state")
    return dict(state)


def _refuse_bomb(state: Any, size: int, location: str) -> None:
    """Raise ZooError where tensors stand for far more memory than their file has bytes, before any is looked at."""
    if not isinstance(state, Mapping):
        return
    claimed = sum(x.numel() * x.element_size() for x in state.values() if isinstance(x, Tensor))
    if claimed > LARGEST_RATIO * size + 2**20:
        raise ZooError(
            f"{location}: its tensors stand for {claimed:,} bytes in a file of {size:,}; save them as they are"
        )


def _refuse_packed(data: bytes, location: str) -> None:
    """Raise ZooError for a zip archive whose members are packed, which torch never writes: a few bytes may be many."""
    if not data.startswith(b"PK"):
        return
    try:
        members = zipfile.ZipFile(io.BytesIO(data)).infolist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return  # torch will say what is wrong with it
    if any(x.compress_type != zipfile.ZIP_STORED for x in members) or sum(x.file_size for x in members) > 2 * len(data):
        raise ZooError(
            f"{location}: is a packed archive, which no file of weights is; save the state dict by torch.save"
        )


def _safetensors(data: bytes, location: str) -> Any:
    from safetensors import SafetensorError
    from safetensors.torch import load as load_safetensors

    try:
        return load_safetensors(data)
    except SafetensorError as error:
        raise _damaged(location, str(error)) from None


def _pickled(data: bytes, location: str) -> Any:
    _refuse_packed(data, location)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        # torch's own text goes on to explain how to load the file all the same.
        called = re.search(r"GLOBAL ([\w.]+)", str(error))
        if called is None:
            raise _damaged(location, "torch's weights-only reader refuses it") from None
        raise ZooError(
            f"{location}: refers to {called[1].rstrip('.')}, which could run code on loading, and is refused; "
            "use a file of tensors alone"
        ) from None
    except Exception as error:  # a damaged pickle may raise nearly anything
        raise _damaged(location, str(error) or type(error).__name__) from None


def _damaged(location: str, reason: str) -> ZooError:
    reason = reason.strip().splitlines()[0].rstrip(".:")
    return ZooError(f"{location}: is not a file of weights, or is cut off or damaged ({reason}); fetch it again")


def fit(network: Network, state: Mapping[str, Tensor], name: str) -> None:
    """Copy `state` into the network, key for key. Raises ZooError, with the keys or shapes, unless all fit."""
    expected = network.state_dict()
    missing = [key for key in expected if key not in state and not key.endswith(f".{COUNTER}")]
    unexpected = [key for key in state if key not in expected]
    differing = [
        f"{key} is {_shape(state[key])} and not {_shape(expected[key])}"
        for key in expected
        if key in state and state[key].shape != expected[key].shape
    ]
    wrong = [
        f"{len(keys)} {fault} ({', '.join(keys[:3])}{', …' if len(keys) > 3 else ''})"
        for fault, keys in (("missing", missing), ("unexpected", unexpected), ("of another shape", differing))
        if keys
    ]
    if wrong:
        raise ZooError(f"{name}: the weights do not fit the network: {'; '.join(wrong)}; give its own weights or spec")
    network.load_state_dict({key: state.get(key, value) for key, value in expected.items()}, strict=True)


def _shape(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "a number"
