"""What a run keeps on disk: the state to go on from, and the weights."""

import dataclasses
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor

from zoo.data.classes import LabelSet, labels_from
from zoo.errors import ZooError
from zoo.files import atomic
from zoo.inference.preprocess import Preprocessing
from zoo.network import flush_subnormals_
from zoo.reading import exists, opened, parse_json
from zoo.registry import lower, spec_from_dict
from zoo.specs import Spec
from zoo.text import one_line, shown
from zoo.train.recipe import Recipe
from zoo.weights_file import header_of, ordered

STATE = "last.pt"
"""Everything that the next epoch depends on."""

BEST, LAST = "best.safetensors", "last.safetensors"
"""The weights that scored best, and those of the last epoch."""

MAX_CLASSES = 4096
"""Most classes of a label set in a file."""

NO_SPACE = 28
"""errno of a full disk."""

State = dict[str, Any]


def save_state(run: Path, state: State) -> None:
    """Write the state of a run, whole or not at all."""
    with atomic(run / STATE) as partial:
        _written(partial, lambda: torch.save(state, partial))


def load_state(run: Path, identity: Mapping[str, Any]) -> State:
    """The state of a run. Raises ZooError where there is none, or where it is of another spec, recipe or data set."""
    state, saved = _read_state(run)
    recipe, epochs = dict(saved.get("recipe", {})), identity.get("recipe", {}).get("epochs")
    if isinstance(epochs, int) and epochs > state["epoch"]:
        saved = saved | {"recipe": recipe | {"epochs": epochs}}  # a run may be made longer, or end earlier
    for key, value in json.loads(json.dumps(identity)).items():
        if saved.get(key) != value:
            raise ZooError(
                f"{run / STATE}: its {key} is {_differing(saved.get(key), value)}; resume with the run's own options, "
                "or train in another folder with -o"
            )
    return state


def identity_of(run: Path) -> dict[str, Any]:
    """What the run in a folder is: spec, recipe, data set, where it started. Raises ZooError where there is none."""
    return _read_state(run)[1]


def _read_state(run: Path) -> tuple[State, dict[str, Any]]:
    path = run / STATE
    if not exists(path):
        raise ZooError(
            f"{path}: there is no checkpoint to resume; leave out --resume, or give the run's folder with -o"
        )
    try:
        with opened(path, ZooError) as file:
            state: State = torch.load(file, map_location="cpu", weights_only=True)
        _check_state(state)
        saved = parse_json(state["identity"], f"{path}: identity")
        if not isinstance(saved, dict) or not isinstance(saved.get("recipe", {}), dict):
            raise TypeError("its identity is no mapping")
    except Exception as error:  # a damaged file may raise nearly anything
        kind = type(error).__name__
        raise _no_checkpoint(path, kind) from None
    # A field that a later version added had its default before.
    if "recipe" in saved:
        saved["recipe"] = {**plain(Recipe()), **saved["recipe"]}
    return state, saved


def _no_checkpoint(path: Path, why: str) -> ZooError:
    return ZooError(f"{path}: is no checkpoint of a run ({one_line(why, 100)}); train anew in another folder")


STATE_TYPES: Mapping[str, type] = {
    **{"identity": str, "module": dict, "mean": dict, "optimizer": dict, "rng": Tensor, "epoch": int, "step": int},
    "rows": str,
}
"""What a checkpoint holds."""


def _check_state(state: Any) -> None:
    """Raise TypeError or ValueError for a state that no trainer wrote."""
    if not isinstance(state, dict) or set(state) != set(STATE_TYPES):
        raise TypeError("its parts are others")
    for name, kind in STATE_TYPES.items():
        if not isinstance(state[name], kind) or isinstance(state[name], bool):
            raise TypeError(f"its {name} is another kind of value")
    if min(state["epoch"], state["step"]) < 0 or not {"state", "param_groups"} <= set(state["optimizer"]):
        raise ValueError("its values cannot be")


@contextmanager
def restoring(run: Path) -> Iterator[None]:
    """Around what takes a checkpoint apart; whatever does not fit is one sentence. Raises ZooError."""
    try:
        yield
    except ZooError:
        raise
    except Exception as error:  # torch raises nearly anything for tensors and groups that do not fit
        raise _no_checkpoint(run / STATE, f"{type(error).__name__}: {error}") from None


def _differing(saved: Any, expected: Any) -> str:
    """Saved and wanted values; of mappings only the entries that differ."""
    if isinstance(saved, dict) and isinstance(expected, dict):
        keys = [key for key in {**saved, **expected} if saved.get(key) != expected.get(key)]
        return ", ".join(f"{key} {saved.get(key)!r} and not {expected.get(key)!r}" for key in keys)
    return f"{saved!r} and not {expected!r}"


@dataclass(frozen=True, slots=True)
class Kept:
    """Weights with what their file says of them."""

    state: Mapping[str, Tensor]
    spec: Spec
    labels: LabelSet
    preprocessing: Preprocessing
    about: Mapping[str, Any]

    @property
    def outputs(self) -> int:
        """Outputs of the network."""
        return int(getattr(self.spec, "classes", len(self.labels.classes)))


def save_weights(path: Path, tensors: Mapping[str, Tensor], about: Mapping[str, Any]) -> None:
    """Write tensors as safetensors, with `about` as metadata in JSON, whole or not at all; subnormals become zero."""
    plain = {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in tensors.items()}
    flush_subnormals_(plain)
    text = {key: json.dumps(value) for key, value in about.items()}
    with atomic(path) as partial:
        _written(partial, lambda: partial.write_bytes(ordered(save(plain, metadata=text))))


def read_weights(path: Path) -> Kept:
    """Weights that `save_weights` or `zoo get` wrote. Raises ZooError for a file that does not say what it is."""
    texts = header_of(path).get("__metadata__", {})
    about = {key: _value(key, str(text), f"{shown(path)}: its metadata {key}") for key, text in texts.items()}
    try:
        with safe_open(path, "pt") as file:
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except Exception as error:  # safetensors' own errors share no base with OSError and ValueError
        raise ZooError(
            f"{path}: cannot be read as weights ({one_line(error, 120)}); give a file that `zoo train` wrote"
        ) from None
    missing = [key for key in ("spec", "labels", "preprocessing") if key not in about]
    if missing:
        raise ZooError(f"{path}: its metadata lacks {', '.join(missing)}; give a file that `zoo train` wrote")
    preprocessing = Preprocessing.from_dict(about["preprocessing"])
    spec = spec_from_dict(about["spec"], f"{path}: spec")
    refuse_bomb(path, spec, preprocessing, state)
    return Kept(state, spec, labels_from(about["labels"]), preprocessing, about)


MUST_BE_JSON = ("spec", "preprocessing")
"""Metadata that are read; of the others, `zoo get` writes names as they are."""


def _value(key: str, text: str, source: str) -> Any:
    """A value of metadata: JSON, or the text where it need not be. Raises ZooError."""
    try:
        return parse_json(text, source, ZooError)
    except ZooError:
        if key in MUST_BE_JSON:
            raise
        return text


def refuse_bomb(path: Path, spec: Spec, preprocessing: Preprocessing, state: Mapping[str, Tensor]) -> None:
    """Raise ZooError where the network of a file would take far more memory than the file has weights."""
    params = lower(spec, preprocessing.size or (512, 1024)).params
    value_count = sum(tensor.numel() for tensor in state.values())
    if params > 4 * value_count + 1_000_000:
        raise ZooError(
            f"{path}: its spec is a network of {params:,} parameters, and it holds {value_count:,} values; "
            "give weights that fit"
        )


def _written(path: Path, write: Callable[[], object]) -> None:
    """Call `write`; what torch and safetensors raise on a full disk becomes an OSError, which `atomic` words."""
    try:
        write()
    except OSError:
        raise
    except Exception as error:
        raise OSError(NO_SPACE, str(error).splitlines()[0], str(path)) from None


def plain(value: Any) -> Any:
    """A dataclass as JSON values."""
    return json.loads(json.dumps(dataclasses.asdict(value)))
