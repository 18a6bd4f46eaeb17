"""A language model on disk: safetensors, and JSON of its spec and vocabulary; nothing in it is run."""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load, save

from zoo._version import version
from zoo.errors import ZooError, did_you_mean
from zoo.files import atomic
from zoo.language.corpus import MAX_VOCABULARY, UNKNOWN, Unit
from zoo.language.model import LanguageModel, LanguageSpec
from zoo.reading import read_bytes, read_json
from zoo.text import shown
from zoo.weights_file import header_of, ordered

WEIGHTS, ABOUT = ".safetensors", ".json"

MAX_ABOUT = 2**26
"""Bytes of the JSON beside the weights."""


@dataclasses.dataclass(frozen=True, slots=True)
class Kept:
    """A model and what its outputs mean."""

    model: LanguageModel
    unit: Unit
    vocabulary: tuple[str, ...]


def save_model(
    path: Path, model: LanguageModel, unit: Unit, vocabulary: tuple[str, ...], about: Mapping[str, Any]
) -> None:
    """Write NAME.safetensors and, beside it, NAME.json, each whole or not at all."""
    document = {"spec": dataclasses.asdict(model.spec), "unit": unit, "vocabulary": vocabulary, **about}
    with atomic(path.with_suffix(ABOUT)) as partial:
        partial.write_text(json.dumps(document, ensure_ascii=False) + "\n", encoding="utf-8")
    with atomic(path.with_suffix(WEIGHTS)) as partial:
        partial.write_bytes(ordered(save(dict(model.state_dict()), {"zoo_version": version()})))


def load_model(path: Path) -> Kept:
    """What `save_model` wrote. Raises ZooError for files that are damaged or do not belong together."""
    if path.suffix != WEIGHTS:
        raise ZooError(f"{shown(path)}: is no model; give the NAME{WEIGHTS} that `zoo text train` wrote")
    beside = path.with_suffix(ABOUT)
    document = read_json(beside, ZooError, MAX_ABOUT)
    if not isinstance(document, dict) or document.get("unit") not in ("char", "word"):
        raise ZooError(f"{shown(beside)}: is not what `zoo text train` wrote; train the model anew")
    vocabulary = document.get("vocabulary")
    is_vocabulary = isinstance(vocabulary, list) and all(isinstance(token, str) for token in vocabulary)
    if not is_vocabulary or not 1 <= len(vocabulary) <= MAX_VOCABULARY or vocabulary[0] != UNKNOWN:  # type: ignore[arg-type,index]
        raise ZooError(f"{shown(beside)}: vocabulary must be at most {MAX_VOCABULARY} texts, {UNKNOWN} first")
    spec = _spec(document.get("spec"), beside, len(vocabulary))  # type: ignore[arg-type]
    _check_size(spec, path.with_suffix(WEIGHTS))
    model = LanguageModel(spec)
    _fill(model, path)
    return Kept(model.eval(), document["unit"], tuple(vocabulary))  # type: ignore[arg-type]


def _spec(values: Any, path: Path, vocabulary: int) -> LanguageSpec:
    names = [field.name for field in dataclasses.fields(LanguageSpec)]
    if not isinstance(values, dict) or values.get("vocabulary") != vocabulary:
        raise ZooError(f"{shown(path)}: spec must be a mapping whose vocabulary is {vocabulary}; train the model anew")
    for key in values:
        if key not in names:
            raise ZooError(f"{shown(path)}: spec.{key}: unknown key ({did_you_mean(str(key), names)})")
    try:
        return LanguageSpec(**values)
    except ZooError as error:
        raise ZooError(f"{shown(path)}: spec: {error}") from None


def _check_size(spec: LanguageSpec, weights: Path) -> None:
    """Before a model of that size is built."""
    header_of(weights)
    if weights.stat().st_size < 4 * spec.params:
        raise ZooError(f"{shown(weights)}: does not fit its {ABOUT} ({spec.params:,} parameters); train the model anew")


def _fill(model: LanguageModel, path: Path) -> None:
    weights = path.with_suffix(WEIGHTS)
    try:
        state = load(read_bytes(weights, ZooError, 2**31))
        model.load_state_dict(state)
    except (SafetensorError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[-1].strip().rstrip(".")
        raise ZooError(f"{shown(weights)}: does not fit its {ABOUT} ({reason}); train the model anew") from None
    if not all(value.isfinite().all() for value in state.values()):
        raise ZooError(f"{shown(weights)}: holds values that are not finite; train the model anew")
