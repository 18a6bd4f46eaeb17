"""YAML without its traps: plain values with the path to every mistake.

Read with PyYAML's safe loader, and refuse what it would misread in silence: duplicate keys (the last
would win), `yes`, `no`, `on`, `off` as booleans, `1e12` as text, `1:30` and `010` as other numbers, dates.
"""

import math
import re
from pathlib import Path
from typing import Any

import yaml

from zoo.errors import ConfigError
from zoo.reading import MAX_DEPTH, MAX_INTEGER, read_text
from zoo.text import one_line, shown

MAX_VALUES = 100_000
"""Values in one document: a few aliases of aliases would stand for billions."""

MAX_DIGITS = 400
"""Longest number."""

MAX_BYTES = 4 * 2**20
"""Longest file that is parsed, which takes PyYAML about a minute."""

_NUMBER = re.compile(r"[-+]?(\d[\d_]*)?\.?\d+[eE][-+]?\d+")
_OTHER_BASE = re.compile(r"[-+]?(0[0-9_]+|0[bBoOxX].*|\d+(:\d+)+(\.\d*)?)")


def read_yaml(path: Path) -> Any:
    """Parse a file. Raises ConfigError with the file and the path to the key."""
    return parse_yaml(read_text(path, limit=MAX_BYTES), shown(path))


def parse_yaml(text: str, source: str) -> Any:
    """Parse text; `source` names it in errors.

    >>> parse_yaml("a: [1, 2.5, true]", "x")
    {'a': [1, 2.5, True]}
    """
    try:
        node = _composed(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        location = f", line {mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or "it cannot be parsed"
        raise ConfigError(f"{source}{location}: not valid YAML: {one_line(problem, 120)}") from None
    except RecursionError:
        raise ConfigError(f"{source}: nested too deeply to be read; flatten it") from None
    if node is None:
        return None
    if _depth(node) > MAX_DEPTH:
        raise ConfigError(f"{source}: nested too deeply to be read; flatten it")
    if _size(node, {}) > MAX_VALUES:
        raise ConfigError(f"{source}: its aliases stand for more than {MAX_VALUES:,} values; write fewer")
    return _plain(node, source, "", frozenset())


def _composed(text: str) -> yaml.Node | None:
    """The document's nodes, by libyaml where PyYAML has it, ten times as fast; what that refuses PyYAML explains."""
    if yaml.__with_libyaml__:
        try:
            return yaml.compose(text, Loader=yaml.CSafeLoader)
        except (yaml.YAMLError, RecursionError, UnicodeError):
            pass
    return yaml.compose(text, Loader=yaml.SafeLoader)


def _depth(node: yaml.Node) -> int:
    """Levels of collections inside one another, aliases written out; `MAX_DEPTH` + 1 for whatever is deeper."""
    level, depth = {id(node): node}, 0
    while level and depth <= MAX_DEPTH + 1:
        depth += 1
        level = {id(inner): inner for outer in level.values() for inner in _inner(outer)}
    return 1 if depth > MAX_DEPTH + 1 and _is_loop(node) else depth - 1


def _is_loop(node: yaml.Node) -> bool:
    """Whether a collection contains itself by an alias, which has a message of its own."""
    state: dict[int, bool] = {}
    stack = [(node, False)]
    while stack:
        current, left = stack.pop()
        if left:
            state[id(current)] = False
            continue
        if state.get(id(current)) is not None:
            if state[id(current)]:
                return True
            continue
        state[id(current)] = True
        stack.append((current, True))
        stack += [(inner, False) for inner in _inner(current)]
    return False


def _inner(node: yaml.Node) -> list[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        return [value for _, value in node.value]
    return list(node.value) if isinstance(node, yaml.SequenceNode) else []


def _size(node: yaml.Node, sizes: dict[int, int]) -> int:
    """Values that a node stands for, its aliases written out; only counted once, however often it is named."""
    if id(node) not in sizes:
        sizes[id(node)] = 1  # for an alias inside of itself, which is refused later
        if isinstance(node, yaml.MappingNode):
            sizes[id(node)] += sum(_size(value, sizes) for _, value in node.value)
        elif isinstance(node, yaml.SequenceNode):
            sizes[id(node)] += sum(_size(item, sizes) for item in node.value)
    return sizes[id(node)]


def _plain(node: yaml.Node, source: str, path: str, above: frozenset[int]) -> Any:
    location = f"{source}: {path}" if path else source
    if id(node) in above:
        raise ConfigError(f"{location}: an alias must not contain itself; write the value out")
    above = above | {id(node)}
    if isinstance(node, yaml.MappingNode):
        return _mapping(node, source, path, above)
    if isinstance(node, yaml.SequenceNode):
        return [_plain(item, source, f"{path}[{i}]", above) for i, item in enumerate(node.value)]
    return _scalar(node, location)


def _mapping(node: yaml.MappingNode, source: str, path: str, above: frozenset[int]) -> dict[str, Any]:
    out: dict[str, Any] = {}
    merged: dict[str, Any] = {}
    for key_node, value in node.value:
        if key_node.tag == MERGE:
            merged |= {key: item for key, item in _merged(value, source, path, above).items() if key not in merged}
            continue
        if not isinstance(key_node, yaml.ScalarNode):
            raise ConfigError(
                f"{source}, line {key_node.start_mark.line + 1}: a key must be a plain word, not a collection"
            )
        key = str(key_node.value)
        inner = f"{path}.{key}" if path else key
        if key in out:
            raise ConfigError(f"{source}: {inner}: duplicate key on line {key_node.start_mark.line + 1}; keep one")
        out[key] = _plain(value, source, inner, above)
    return {**{key: item for key, item in merged.items() if key not in out}, **out}


MERGE = "tag:yaml.org,2002:merge"
"""Tag of the key `<<`, whose mappings fill in what a mapping does not say itself (yaml.org/type/merge)."""


def _merged(node: yaml.Node, source: str, path: str, above: frozenset[int]) -> dict[str, Any]:
    """What `<<` adds: a mapping, or a list of them of which the earlier ones count."""
    value = _plain(node, source, f"{path}.<<" if path else "<<", above)
    out: dict[str, Any] = {}
    for mapping in value if isinstance(value, list) else [value]:
        if not isinstance(mapping, dict):
            raise ConfigError(f"{source}: {path}.<<: must be a mapping or a list of them, but is {mapping!r}")
        out |= {key: item for key, item in mapping.items() if key not in out}
    return out


def _scalar(node: yaml.Node, location: str) -> Any:
    text, tag, quoted = str(node.value), node.tag.rpartition(":")[2], getattr(node, "style", None) in ("'", '"')
    if quoted or (tag == "str" and not _NUMBER.fullmatch(text)):
        return text
    if tag == "str":
        raise ConfigError(
            f"{location}: YAML reads {text} as text; write a number with a point and a signed exponent, as 1.0e+12"
        )
    if tag == "null":
        return None
    if tag == "bool":
        if text.lower() in ("true", "false"):
            return text.lower() == "true"
        raise ConfigError(f"{location}: YAML reads {text} as a boolean; write true or false, or quote it")
    if tag in ("int", "float"):
        if _OTHER_BASE.fullmatch(text):
            raise ConfigError(f"{location}: YAML reads {text} in another base; write a decimal number, or quote it")
        return _number(int if tag == "int" else float, text, location)
    raise ConfigError(f"{location}: YAML reads {text} as {tag}; quote it")


def _number(kind: type[int] | type[float], text: str, location: str) -> int | float:
    try:
        value: int | float = kind(text.replace("_", "")) if len(text) < MAX_DIGITS else math.inf
    except ValueError:
        value = math.nan
    if isinstance(value, float) and not math.isfinite(value):
        raise ConfigError(f"{location}: {one_line(text, 30)} is not a finite number; write one")
    if abs(value) > MAX_INTEGER and isinstance(value, int):
        raise ConfigError(f"{location}: {one_line(text, 30)} has more than 64 bits; write a smaller number")
    return value
