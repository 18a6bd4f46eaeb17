"""Inputs of ill will, and the rule that all of them keep: one sentence, no traceback, nothing written elsewhere."""

import json
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

DEEP = 100_000
LONG = "a" * 5000
NAMES = {
    "markup": "[/x]",
    "markup-open": "[bold red]x",
    "esc": "a\x1b]0;pwned\x07b\x1b[31m",
    "c1": "a\x9b31mb",
    "newline": "a\nzoo: all is well",
    "bidi": "a\u202egnp.exe",
    "long": LONG,
    "long-parts": "/".join(["a" * 200] * 30),
    "emoji-name": ":smile:",
    "formula": "=cmd|' /C calc'!A0",
    "nul": "a\0b",
    "dots": "../../../../etc/passwd",
    "percent": "%s%n%d",
    "braces": "{0.__class__}",
    "surrogate": "a\udcff",
    "dash": "-x",
    "empty": "",
    "space": " ",
    "tilde": "~nobody-here/x",
    "dev": "/dev/zero",
}
"""Texts where a name belongs."""

VALUES: Mapping[str, Any] = {
    "null": None,
    "true": True,
    "int": 7,
    "zero": 0,
    "negative": -1,
    "huge": 10**15,
    "huger": 2**63,
    "float": 0.5,
    "tiny": 1e-320,
    "large": 1e308,
    "text": "x",
    "empty-text": "",
    "esc": NAMES["esc"],
    "markup": "[/x]",
    "long": LONG,
    "list": [],
    "list-int": [1, [2, [3]]],
    "list-null": [None],
    "mapping": {},
    "mapping-text": {"x": "y"},
    "outside": "../../../etc/passwd",
    "absolute": "/etc/passwd",
    "device": "/dev/zero",
}
"""Values of every type where one belongs."""

BYTES: Mapping[str, bytes] = {
    "empty": b"",
    "nul": b"\0" * 100,
    "binary": bytes(range(256)) * 4,
    "utf16": "models: {}".encode("utf-16"),
    "latin1": "é: 1".encode("latin-1"),
    "cut": b'{"a": [1, 2',
    "deep-list": b"[" * DEEP,
    "deep-closed": b"[" * 500 + b"]" * 500,
    "deep-mapping": b'{"a":' * DEEP,
    "nan": b"NaN",
    "infinity": b"[1e999]",
    "digits": b"9" * 5000,
    "int": b"7",
    "text": b'"x"',
    "null": b"null",
    "list": b"[1, 2, 3]",
    "lines": b"\n\n\n{}\n\n",
    "esc": b'{"\x1b[31mred": 1}',
    "esc-escaped": b'{"\\u001b[31mred": 1}',
    "bom": b"\xef\xbb\xbf{}",
    "script": b"#!/bin/sh\nrm -rf /\n",
    "pickle": b"cos\nsystem\n(S'touch pwned'\ntR.",
    "zip": b"PK\x03\x04" + b"\0" * 40,
    "alias-bomb": b"a: &a [x, x]\n" + b"".join(f"b{i}: &b{i} [*a, *a]\n".encode() for i in range(20)),
}
"""Contents of files of any kind."""


def alias_chain(length: int = 2000) -> bytes:
    """YAML whose aliases are nested deeper than the text."""
    lines = ["a0: &a0 [x]"] + [f"a{i}: &a{i} [*a{i - 1}]" for i in range(1, length)]
    return "\n".join(lines).encode()


SPECIAL = ("missing", "directory", "fifo", "zero", "loop", "dangling", "long-name", "under-a-file")


def special(kind: str, folder: Path) -> Path:
    """A path that is no ordinary file."""
    path = folder / f"special-{kind}"
    if kind == "directory":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "zero":
        path.symlink_to("/dev/zero")
    elif kind == "loop":
        path.symlink_to(path)
    elif kind == "dangling":
        path.symlink_to(folder / "nowhere")
    elif kind == "long-name":
        return folder / LONG
    elif kind == "under-a-file":
        path.write_text("x")
        return path / "below"
    return path


def hostile_files(folder: Path) -> Iterator[tuple[str, Path]]:
    """Files of every content and kind, by name."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in {**BYTES, "alias-chain": alias_chain()}.items():
        path = folder / f"content-{name}"
        path.write_bytes(data)
        yield name, path
    for kind in SPECIAL:
        yield kind, special(kind, folder)


def put(kind: str, path: Path) -> None:
    """Put a hostile file of a kind in place of the file at `path`."""
    path.unlink(missing_ok=True)
    if kind == "alias-chain":
        path.write_bytes(alias_chain())
    elif kind in BYTES:
        path.write_bytes(BYTES[kind])
    elif kind == "directory":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "zero":
        path.symlink_to("/dev/zero")
    elif kind == "loop":
        path.symlink_to(path)
    elif kind == "dangling":
        path.symlink_to(path.parent / "nowhere")


KINDS = (*BYTES, "alias-chain", "missing", "directory", "fifo", "zero", "loop", "dangling")
"""What `put` puts."""


def places(document: Any, path: tuple[Any, ...] = (), most: int = 3) -> Iterator[tuple[Any, ...]]:
    """Paths to the values of a document, the first `most` of each list."""
    if path:
        yield path
    if isinstance(document, dict):
        for key in document:
            yield from places(document[key], (*path, key), most)
    elif isinstance(document, list):
        for i in range(min(most, len(document))):
            yield from places(document[i], (*path, i), most)


def replaced(document: Any, path: tuple[Any, ...], value: Any) -> Any:
    """A copy of a document with another value at a path."""
    copy = json.loads(json.dumps(document))
    at = copy
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = value
    return copy


Call = Callable[[], object]
