"""Any text as numbers: characters or words, those of its training part known, in three parts."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from zoo.errors import ZooError

Unit = Literal["char", "word"]
Tokens = NDArray[np.int64]

UNKNOWN, END = "<unk>", "<eos>"
"""What stands for a token that the training part has not, and, among words, for the end of a line."""

MAX_VOCABULARY = 50_000
"""Most tokens that are known; the rarest of more are unknown."""

SHARES = (0.9, 0.05)
"""Of the tokens, in order: training and val; the rest is test."""

LEAST = 200
"""Tokens of a text that is trained on."""


@dataclass(frozen=True, slots=True)
class Corpus:
    """A text's parts as indices into `vocabulary`, whose first entry stands for what is unknown."""

    unit: Unit
    vocabulary: tuple[str, ...]
    train: Tokens
    val: Tokens
    test: Tokens


def split_text(text: str, unit: Unit) -> list[str]:
    r"""Tokens of a text: its characters, or its words and ends of lines.

    >>> split_text("to be\nor", "word")
    ['to', 'be', '<eos>', 'or']
    """
    if unit == "char":
        return list(text)
    lines = text.split("\n")
    return [word for i, line in enumerate(lines) for word in [*line.split(), *([END] * (i < len(lines) - 1))]]


def corpus_of(text: str, unit: Unit) -> Corpus:
    """A text in three parts. Raises ZooError for one that is too short."""
    tokens = split_text(text, unit)
    if len(tokens) < LEAST:
        raise ZooError(f"the text has {len(tokens)} {unit}s, and at least {LEAST} are needed; give a longer one")
    first, second = (round(len(tokens) * share) for share in (SHARES[0], sum(SHARES)))
    common = Counter(tokens[:first]).most_common(MAX_VOCABULARY - 1)
    vocabulary = (UNKNOWN, *sorted(token for token, _ in common if token != UNKNOWN))
    train, val, test = (indices(part, vocabulary) for part in (tokens[:first], tokens[first:second], tokens[second:]))
    return Corpus(unit, vocabulary, train, val, test)


def indices(tokens: Sequence[str], vocabulary: Sequence[str]) -> Tokens:
    """Places of tokens in a vocabulary, 0 where they are not in it."""
    places = {token: place for place, token in enumerate(vocabulary)}
    return np.array([places.get(token, 0) for token in tokens], np.int64)
