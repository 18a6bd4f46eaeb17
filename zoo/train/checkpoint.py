"""What a run keeps on disk: the state to go on from, and the weights."""

import dataclasses
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from zoo.data.classes import LABEL_SETS, LabelSet
from zoo.errors import ZooError
from zoo.files import atomic
from zoo.inference.preprocess import Preprocessing
from zoo.network import flush_subnormals_
from zoo.registry import spec_from_dict
from zoo.specs import Spec
from zoo.train.recipe import Recipe

STATE = "last.pt"
"""Everything that the next epoch depends on."""

BEST, LAST = "best.safetensors", "last.safetensors"
"""The weights that scored best, and those of the last epoch."""

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
    if not path.is_file():
        raise ZooError(
            f"{path}: there is no checkpoint to resume; leave out --resume, or give the run's folder with -o"
        )
    try:
        state: State = torch.load(path, map_location="cpu", weights_only=True)
        saved: dict[str, Any] = json.loads(state["identity"])
    except Exception as error:  # a damaged file may raise nearly anything
        kind = type(error).__name__
        raise ZooError(f"{path}: is no checkpoint of a run ({kind}); train anew in another folder") from None
    # A field that a later version added had its default before.
    if isinstance(saved.get("recipe"), dict):
        saved["recipe"] = {**plain(Recipe()), **saved["recipe"]}
    return state, saved


def _differing(saved: Any, wanted: Any) -> str:
    """Saved and wanted values; of mappings only the entries that differ."""
    if isinstance(saved, dict) and isinstance(wanted, dict):
        keys = [key for key in {**saved, **wanted} if saved.get(key) != wanted.get(key)]
        return ", ".join(f"{key} {saved.get(key)!r} and not {wanted.get(key)!r}" for key in keys)
    return f"{saved!r} and not {wanted!r}"


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
        _written(partial, lambda: save_file(plain, partial, metadata=text))


def read_weights(path: Path) -> Kept:
    """Weights that `save_weights` wrote. Raises ZooError for a file that does not say what it is."""
    try:
        with safe_open(path, "pt") as file:
            about = {key: json.loads(value) for key, value in (file.metadata() or {}).items()}
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except Exception as error:  # safetensors' own errors share no base with OSError and ValueError
        raise ZooError(f"{path}: cannot be read as weights ({error}); give a file that `zoo train` wrote") from None
    missing = [key for key in ("spec", "labels", "preprocessing") if key not in about]
    if missing:
        raise ZooError(f"{path}: its metadata lacks {', '.join(missing)}; give a file that `zoo train` wrote")
    preprocessing = Preprocessing.from_dict(about["preprocessing"])
    spec = spec_from_dict(about["spec"], f"{path}: spec")
    return Kept(state, spec, labels_from(about["labels"]), preprocessing, about)


def labels_about(labels: LabelSet) -> Any:
    """A label set for metadata: its name where it is declared, else all of it."""
    return labels.name if LABEL_SETS.get(labels.name) == labels else dataclasses.asdict(labels)


def labels_from(about: Any) -> LabelSet:
    """The label set that `labels_about` wrote. Raises ZooError where it is none."""
    if isinstance(about, str) and about in LABEL_SETS:
        return LABEL_SETS[about]
    try:
        colours = tuple((int(r), int(g), int(b)) for r, g, b in about["colours"])
        return LabelSet(str(about["name"]), tuple(map(str, about["classes"])), colours, tuple(about.get("groups", ())))
    except (TypeError, KeyError, ValueError):
        raise ZooError(
            f"labels: must be one of {', '.join(LABEL_SETS)} or a whole label set, but is {about!r}"
        ) from None


def _written(path: Path, write: Callable[[], None]) -> None:
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
