"""What a run keeps on disk: the state to go on from, and the weights."""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from zoo.errors import ZooError
from zoo.files import atomic

STATE = "last.pt"
"""Everything that the next epoch depends on."""

State = dict[str, Any]


def save_state(run: Path, state: State) -> None:
    """Write the state of a run, whole or not at all."""
    with atomic(run / STATE) as partial:
        _written(partial, lambda: torch.save(state, partial))


def load_state(run: Path, identity: Mapping[str, Any]) -> State:
    """The state of a run. Raises ZooError where there is none, or where it is of another spec, recipe or data set."""
    path = run / STATE
    if not path.is_file():
        raise ZooError(f"{path}: there is no checkpoint to resume; leave out --resume, or give the run's folder with -o")
    try:
        state: State = torch.load(path, map_location="cpu", weights_only=True)
        saved = json.loads(state["identity"])
    except Exception as error:
        raise ZooError(f"{path}: is no checkpoint of a run ({type(error).__name__}); train anew in another folder") from None
    wanted = json.loads(json.dumps(identity))
    for key in wanted:
        if saved.get(key) != wanted[key]:
            raise ZooError(
                f"{path}: its {key} is {_brief(saved.get(key), wanted[key])}; resume with the run's own options, "
                "or train in another folder with -o"
            )
    return state


def _brief(saved: Any, wanted: Any) -> str:
    """Saved and wanted values, only where they differ."""
    if isinstance(saved, dict) and isinstance(wanted, dict):
        keys = [k for k in {**saved, **wanted} if saved.get(k) != wanted.get(k)]
        return f"{ {k: saved.get(k) for k in keys} } and not { {k: wanted.get(k) for k in keys} }"
    return f"{saved!r} and not {wanted!r}"


def save_weights(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, Any]) -> None:
    """Write tensors as safetensors with JSON metadata, whole or not at all."""
    plain = {k: v.detach().to("cpu", copy=True).contiguous() for k, v in tensors.items()}
    with atomic(path) as partial:
        text = {key: json.dumps(value) for key, value in metadata.items()}
        _written(partial, lambda: save_file(plain, partial, metadata=text))


def _written(path: Path, write: Any) -> None:
    """Call `write`; what torch and safetensors raise where a disk is full becomes an OSError, which `atomic` words."""
    try:
        write()
    except OSError:
        raise
    except Exception as error:
        raise OSError(28, f"{error}".splitlines()[0], str(path)) from None


def load_weights(path: Path) -> dict[str, Tensor]:
    """Tensors of a safetensors file."""
    return load_file(path)


def plain(value: Any) -> Any:
    """Dataclasses and tuples as JSON values."""
    return json.loads(json.dumps(dataclasses.asdict(value)))
