"""What MODEL means, the same to every command and in Python.

* a name from zoo.yaml, whatever its case, optionally with a weight tag: `espnet-c.cityscapes`;
* a spec in YAML: `net.yaml`;
* a file of weights that says what network it is of: `best.safetensors`, as `zoo train` and `zoo get` write it;
* the folder of a run of `zoo train`, which stands for its best weights, or its last while none were scored;
* `RUN#RANK`: a candidate on the front of a search or a study, with the weights that a study trained;
* an ONNX file of `zoo export`.

A text that ends like a file is a file; a name of zoo.yaml comes before a folder of that name (`./NAME`).
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from pretrained import find
from search.device_at import DeviceAt
from zoo.config import Config, override
from zoo.errors import ConfigError, did_you_mean, nearest
from zoo.metadata import onnx_about, weights_about
from zoo.registry import spec_from_dict
from zoo.specs import Spec
from zoo.yaml_strict import read_yaml

Kind = Literal["name", "spec", "weights", "run", "candidate", "onnx"]

BEST, LAST = "best.safetensors", "last.safetensors"
"""Weights in the folder of a run of `zoo train`."""

FRONT = "front.json"
"""The file that makes a folder the run of a search."""

Size = tuple[int, int]
"""Height and width in pixels."""


@dataclass(frozen=True, slots=True)
class Conditions:
    """What a model was searched or trained for: devices at their clocks, and (height, width); empty where unknown."""

    devices: tuple[DeviceAt, ...] = ()
    size: Size | None = None


@dataclass(frozen=True, slots=True)
class Model:
    """A resolved model: how it was called, its canonical name, its spec, and its weight tag if one was named.

    With a tag the spec is that of the weights, which may have other classes than the model in zoo.yaml. file: of
    the weights, the spec or the ONNX network, where one was named. settings: fields changed by --set, which no
    weights fit.
    """

    name: str
    canonical: str
    spec: Spec
    tag: str | None = None
    kind: Kind = "name"
    file: Path | None = None
    conditions: Conditions = Conditions()
    settings: tuple[str, ...] = ()


def resolve(text: str, config: Config, settings: Iterable[str] = ()) -> Model:
    """The model that `text` names, with `key=value` settings applied. Raises ConfigError or SpecError."""
    model = _model(text, config)
    changes = list(settings)
    if not changes:
        return model
    return replace(model, spec=override(model.spec, changes), settings=tuple(changes))


def split_tag(text: str, names: Iterable[str]) -> tuple[str, str | None] | None:
    """Name and tag, where the longest name wins; None where no name fits. Case does not matter.

    >>> split_tag("ESPNetv2-1.0.pascal", ["espnetv2-1.0", "espnetv2-1"])
    ('espnetv2-1.0', 'pascal')
    """
    folded = text.casefold()
    fitting = [name for name in names if folded == name.casefold() or folded.startswith(f"{name.casefold()}.")]
    if not fitting:
        return None
    name = next((name for name in fitting if text == name), max(fitting, key=len))
    return name, text[len(name) + 1 :] or None


def _model(text: str, config: Config) -> Model:
    if "://" in text:
        raise ConfigError(f"model {text!r}: a URL is not fetched; save the file and give its path")
    path = Path(text)
    if reader := READERS.get(path.suffix.lower()):
        return reader(text, path)
    if "#" in text and not _there(path):
        return _candidate(text)
    split = split_tag(text, config.models)
    if split:
        return _named(text, *split, config)
    if _there(path) and path.is_dir():
        return _run(text, path)
    if _there(path):
        raise ConfigError(f"{text}: is no model; give a spec (.yaml), weights (.safetensors) or an ONNX file (.onnx)")
    if "/" in text or "\\" in text:
        raise ConfigError(f"{text}: there is no such file or folder; `zoo list` prints the names of models")
    name = text if nearest(text, config.models) else text.rpartition(".")[0] or text  # without a tag, perhaps
    raise ConfigError(f"model {text!r} is unknown; {did_you_mean(name, config.models, '`zoo list` prints all names')}")


def _there(path: Path) -> bool:
    """Whether a path leads anywhere; one that no file system takes does not."""
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def _named(text: str, name: str, tag: str | None, config: Config) -> Model:
    entry = config.model(name)
    canonical = entry.alias_of or name
    if tag is None:
        return Model(name, canonical, entry.spec)
    weights = find(canonical, tag.casefold())
    return Model(name, canonical, weights.spec, weights.tag, conditions=Conditions(size=weights.preprocessing.size))


def _spec_file(text: str, path: Path) -> Model:
    entry = read_yaml(path)
    if not isinstance(entry, dict):
        raise ConfigError(f"{path}: must be a mapping with the fields of a spec, as `zoo export RUN#1` writes it")
    return Model(path.stem, path.stem, spec_from_dict(entry, str(path)), kind="spec", file=path)


def _weights_file(text: str, path: Path) -> Model:
    about = weights_about(path)
    return Model(text, path.stem, _spec_of(about, path), kind="weights", file=path, conditions=_trained_for(about))


def _run(text: str, folder: Path) -> Model:
    file = next((folder / name for name in (BEST, LAST) if (folder / name).is_file()), None)
    if file is None:
        raise ConfigError(f"{text}: {_no_weights(folder)}")
    about = weights_about(file)
    name = folder.resolve().name
    return Model(text, name, _spec_of(about, file), kind="run", file=file, conditions=_trained_for(about))


def _no_weights(folder: Path) -> str:
    if (folder / FRONT).is_file():
        return f"is the run of a search; name one of its candidates, as {folder}#1"
    return f"is no run of `zoo train`, for it holds neither {BEST} nor {LAST}; give a run's folder, a name or a file"


def _onnx_file(text: str, path: Path) -> Model:
    about = onnx_about(path)
    return Model(
        text,
        path.stem,
        _spec_of(about, path),
        kind="onnx",
        file=path,
        conditions=Conditions(size=_size(about.get("size"))),
    )


def _candidate(text: str) -> Model:
    document, entry = front_entry(text)
    spec = spec_from_dict(entry["spec"], text)
    return Model(text, text, spec, kind="candidate", conditions=_searched_for(document))


def candidate(text: str) -> Spec:
    """The spec of `RUN#RANK`. Raises ConfigError."""
    return spec_from_dict(front_entry(text)[1]["spec"], text)


def front_entry(text: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The document of a run's front, and the entry that `RUN#RANK` names. Raises ConfigError."""
    folder, _, rank = text.rpartition("#")
    from search.runs.folder import read_json

    document = read_json(Path(folder) / FRONT)
    front = document.get("front", [])
    if not isinstance(front, list):
        raise ConfigError(f"{Path(folder) / FRONT}: is damaged; run the search again")
    if not rank.isdecimal() or not 1 <= int(rank) <= len(front):
        raise ConfigError(f"{text}: the rank must be from 1 to {len(front)}, but is {rank!r}")
    entry = front[int(rank) - 1]
    if not isinstance(entry, dict) or not isinstance(entry.get("spec"), dict):
        raise ConfigError(f"{Path(folder) / FRONT}: is damaged; run the search again")
    return document, entry


def _spec_of(about: Mapping[str, Any], path: Path) -> Spec:
    spec = about.get("spec")
    if not isinstance(spec, dict):
        raise ConfigError(
            f"{path}: does not say which network it is of; give one that `zoo train`, `get` or `export` wrote"
        )
    return spec_from_dict(spec, f"{path}: spec")


def _trained_for(about: Mapping[str, Any]) -> Conditions:
    preprocessing = about.get("preprocessing")
    size = preprocessing.get("size") if isinstance(preprocessing, dict) else None
    sides = isinstance(size, list) and len(size) == 2 and all(type(side) is int for side in size)
    return Conditions(size=(size[0], size[1]) if size and sides else None)


def _searched_for(document: Mapping[str, Any]) -> Conditions:
    """Device, clock and size of a run's query; nothing where it cannot be read."""
    try:
        query = document["query"]
        devices = tuple(DeviceAt(str(d["name"]), d["clock_mhz"] and float(d["clock_mhz"])) for d in query["devices"])
        return Conditions(devices, _size(query["space"]["size"]))
    except (KeyError, TypeError, ValueError):
        return Conditions()


def _size(text: Any) -> Size | None:
    """`WIDTHxHEIGHT` as (height, width); None for anything else."""
    width, _, height = str(text).partition("x")
    return (int(height), int(width)) if width.isdecimal() and height.isdecimal() else None


def _bare(text: str, path: Path) -> Model:
    raise ConfigError(
        f"{text}: holds tensors and not the network that they are of; give the safetensors file, as `zoo train` and "
        "`zoo get --format safetensors` write it"
    )


def _compiled(text: str, path: Path) -> Model:
    raise ConfigError(
        f"{text}: {path.suffix} is made for one runtime and says nothing of its network; give the ONNX file"
    )


READERS: Mapping[str, Callable[[str, Path], Model]] = {
    ".yaml": _spec_file,
    ".yml": _spec_file,
    ".safetensors": _weights_file,
    ".onnx": _onnx_file,
    **dict.fromkeys((".pth", ".pt", ".ckpt", ".bin"), _bare),
    **dict.fromkeys((".engine", ".plan", ".trt", ".tflite"), _compiled),
}
"""How a file of each ending is read."""
