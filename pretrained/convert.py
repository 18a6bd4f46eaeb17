"""Ready files: verified weights in the format that a user wants, with everything about them inside."""

import io
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pretrained.download import REMEDY, obtain, sha256_of
from pretrained.manifest import Weights
from zoo.errors import ZooError, did_you_mean
from zoo.files import atomic
from zoo.folders import cache_home
from zoo.specs import as_dict
from zoo.weights_file import ordered


@dataclass(frozen=True, slots=True)
class Ready:
    """A ready file, and where its weights were taken from this time; `sha256` and `bytes` are those of `path`."""

    entry: Weights
    path: Path
    sha256: str
    bytes: int
    taken_from: str

    def document(self) -> dict[str, Any]:
        """Plain values for JSON; `source` is the address upstream, wherever the file was taken from."""
        entry = self.entry
        return {
            "model": entry.model,
            "tag": entry.tag,
            "path": str(self.path),
            "sha256": self.sha256,
            "bytes": self.bytes,
            "source": entry.origin,
            "source_sha256": entry.sha256,
            "source_bytes": entry.bytes,
            "source_title": entry.source.title,
            "taken_from": self.taken_from,
            "license": entry.source.license,
            "copyright": entry.source.holder,
            "labels": entry.labels,
            "preprocessing": entry.preprocessing.to_dict(),
            "metrics": [asdict(metric) for metric in entry.metrics],
            "note": entry.note,
        }


def ready(entry: Weights, fmt: str = "safetensors", out: Path | None = None, **options: Any) -> Ready:
    """Fetch and convert; arguments and errors are those of `convert`."""
    fetched = obtain(entry, **options)
    path = convert(entry, fmt, out, **options | {"from_file": None})
    return Ready(entry, path, sha256_of(path), path.stat().st_size, fetched.taken_from)


def convert(entry: Weights, fmt: str = "safetensors", out: Path | None = None, **options: Any) -> Path:
    """Write weights to `out`, or to the cache, as `MODEL.TAG.FORMAT`; returns the path.

    safetensors: tensors under the authors' names, with `metadata(entry)`. pth: the same tensors as a plain
    state dict. onnx: the network at the size of its preprocessing, checked against torch. The weights were
    fitted to their network first; further arguments are those of `download.obtain`. The same weights give
    the same bytes in the first two formats. Raises ZooError.
    """
    if fmt not in WRITERS:
        raise ZooError(f"format {fmt!r} is unknown; {did_you_mean(fmt, WRITERS)}")
    folder, remedy = (cache_home() / "ready", REMEDY) if out is None else (out, "choose another folder with -o")
    path = folder / f"{entry.name}.{fmt}"
    WRITERS[fmt](entry, path, remedy, options)
    return path


def metadata(entry: Weights) -> dict[str, str]:
    """What a file says of itself; the values that are not names are JSON."""
    return {
        "model": entry.model,
        "tag": entry.tag,
        "spec": json.dumps(as_dict(entry.spec)),
        "preprocessing": json.dumps(entry.preprocessing.to_dict()),
        "labels": entry.labels,
        "source": entry.origin,
        "source_sha256": entry.sha256,
        "license": entry.source.license,
        "copyright": entry.source.holder,
    }


def _fitted(entry: Weights, options: Mapping[str, Any]) -> dict[str, Any]:
    """The file's tensors, once they are known to fit their network."""
    from pretrained.weights import PretrainedNetwork, fit, load_state

    state = load_state(entry, **options)
    fit(PretrainedNetwork(entry), state, entry.name)
    return {key: tensor.contiguous() for key, tensor in state.items()}


def _write(path: Path, data: bytes, remedy: str) -> None:
    with atomic(path, remedy) as partial:
        partial.write_bytes(data)


def _safetensors(entry: Weights, path: Path, remedy: str, options: Mapping[str, Any]) -> None:
    from safetensors.torch import save

    data = save(_fitted(entry, options), metadata={"format": "pt"} | metadata(entry))
    _write(path, ordered(data), remedy)


def _pth(entry: Weights, path: Path, remedy: str, options: Mapping[str, Any]) -> None:
    import torch

    buffer = io.BytesIO()
    torch.save(_fitted(entry, options), buffer)
    _write(path, buffer.getvalue(), remedy)


def _onnx(entry: Weights, path: Path, remedy: str, options: Mapping[str, Any]) -> None:
    from pretrained.weights import load
    from zoo.export import export_onnx

    export_onnx(load(entry, **options), path, metadata=metadata(entry))


WRITERS: Mapping[str, Callable[[Weights, Path, str, Mapping[str, Any]], None]] = {
    "safetensors": _safetensors,
    "pth": _pth,
    "onnx": _onnx,
}
