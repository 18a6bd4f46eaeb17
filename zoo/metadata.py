"""What files of weights and ONNX files say of themselves, read without their tensors."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from zoo.errors import ConfigError
from zoo.reading import is_file, read_bytes
from zoo.text import shown
from zoo.weights_file import header_of

MAX_ONNX = 2**31
"""Largest ONNX file that is read; they end at 2 GB."""


def weights_about(path: Path) -> dict[str, Any]:
    """What a safetensors file says of itself; no tensor is read. Raises ConfigError."""
    if not is_file(path):
        raise ConfigError(f"{shown(path)}: there is no such file; `zoo train` writes best.safetensors into its folder")
    return parsed(header_of(path).get("__metadata__", {}))


def onnx_about(path: Path) -> dict[str, Any]:
    """What an ONNX file says of itself. Raises ConfigError."""
    import onnx

    data = read_bytes(path, ConfigError, MAX_ONNX)
    try:
        model = onnx.load_model_from_string(data)
    except Exception as error:  # protobuf's errors are of no useful base
        raise ConfigError(
            f"{shown(path)}: cannot be read as an ONNX file ({type(error).__name__}); export it anew"
        ) from None
    return parsed({entry.key: entry.value for entry in model.metadata_props})


def parsed(texts: Mapping[str, str]) -> dict[str, Any]:
    """Metadata with its JSON values read; names are text and stay so.

    >>> parsed({"labels": "camvid", "epoch": "3"})
    {'labels': 'camvid', 'epoch': 3}
    """
    return {key: _parsed(text) for key, text in texts.items()}


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text
