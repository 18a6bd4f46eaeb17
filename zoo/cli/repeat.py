"""The command line that repeats a measurement, which stands beside what it measured."""

import shlex
from collections.abc import Mapping, Sequence
from typing import Any


def command_line(name: str, words: Sequence[str], options: Mapping[str, Any]) -> str:
    """`zoo NAME WORDS` with options that were given; a size is (height, width).

    None, False and empty lists are options that were not given; lists are options that repeat.

    >>> command_line("bench", ["a b"], {"size": (32, 64), "set": ["k=4"], "threads": None, "optimize": True})
    "zoo bench 'a b' --size 64x32 --set k=4 --optimize"
    """
    out = ["zoo", name, *words]
    for key, value in options.items():
        for item in value if isinstance(value, list) else [value]:
            if item is not None and item is not False:
                out += [f"--{key.replace('_', '-')}", *([] if item is True else [_text(item)])]
    return shlex.join(out)


def _text(value: Any) -> str:
    return f"{value[1]}x{value[0]}" if isinstance(value, tuple) else str(value)
