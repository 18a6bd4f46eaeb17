"""What files of weights and ONNX files say of themselves, read without their tensors."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from zoo.errors import ConfigError


def weights_about(path: Path) -> dict[str, Any]:
    """What a safetensors file says of itself; no tensor is read. Raises ConfigError."""
    from safetensors import safe_open

    if not path.is_file():
        raise ConfigError(f"{path}: there is no such file; `zoo train` writes best.safetensors into its folder")
    try:
        with safe_open(path, "np") as file:
            return parsed(file.metadata() or {})
    except Exception as error:  # safetensors' own errors share no base with OSError and ValueError
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ConfigError(f"{path}: cannot be read as weights ({reason}); give a file that `zoo train` wrote") from None


def onnx_about(path: Path) -> dict[str, Any]:
    """What an ONNX file says of itself. Raises ConfigError."""
    import onnx

    if not path.is_file():
        raise ConfigError(f"{path}: there is no such file; write one with `zoo export`")
    try:
        model = onnx.load(path, load_external_data=False)
    except Exception as error:  # protobuf's errors are of no useful base
        raise ConfigError(f"{path}: cannot be read as an ONNX file ({type(error).__name__}); export it anew") from None
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
