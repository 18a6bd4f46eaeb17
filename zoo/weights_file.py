"""Files of weights: the same tensors give the same bytes, and a header is bounded before a tensor is read."""

import json
from pathlib import Path
from typing import Any

from zoo.errors import ZooError
from zoo.reading import opened, parse_json
from zoo.text import shown

MAX_HEADER_BYTES = 16 * 2**20
"""Longest header of a safetensors file."""

MAX_BYTES = 2**33
"""Largest file of weights."""


def ordered(data: bytes) -> bytes:
    """The same safetensors file with its header's keys in order, which the library writes as they come.

    A file starts with the header's length in 8 bytes, little-endian; the header is JSON, padded with blanks
    to a multiple of 8.
    """
    end = 8 + int.from_bytes(data[:8], "little")
    header = json.dumps(json.loads(data[8:end]), sort_keys=True, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    return len(header).to_bytes(8, "little") + header + data[end:]


def _damaged(path: Path) -> ZooError:
    return ZooError(
        f"{shown(path)}: cannot be read as weights (it is no such file, or cut off or damaged); "
        "give a file that `zoo train` wrote"
    )


def header_of(path: Path) -> dict[str, Any]:
    """The header of a safetensors file: `__metadata__`, and an entry a tensor. Raises ZooError.

    The tensors fit into the file: none of them claims what is not there.
    """
    with opened(path, ZooError) as file:
        size = file.seek(0, 2)
        file.seek(0)
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or not 2 <= length <= min(MAX_HEADER_BYTES, size - 8) or size > MAX_BYTES:
            raise _damaged(path)
        text = file.read(length)
    try:
        header = parse_json(text.decode("utf-8"), f"{shown(path)}: header", ZooError)
    except UnicodeDecodeError:
        header = None
    if not isinstance(header, dict) or not all(isinstance(entry, dict) for entry in header.values()):
        raise _damaged(path)
    return header
