"""The errors a user can put right.

Every message is one sentence that names the thing, the rule, the value and the way out; the command
line prints it without a traceback and exits with 1.
"""

from collections.abc import Iterable


class ZooError(Exception):
    """Base of all errors whose message is meant for the user (exit code 1)."""


class SpecError(ZooError, ValueError):
    """A spec, or a combination of a spec and an input size, that describes no network."""


class ConfigError(ZooError, ValueError):
    """A configuration file that does not say what it must, with the path to the key."""


class NegativeAnswer(ZooError):
    """A valid question with a negative answer, such as nothing feasible (exit code 3)."""


NEAREST = 3
"""Names that a misspelt word is answered with."""

SHORT_LIST = 12
"""Known names up to which all are listed where none is near."""


def did_you_mean(word: str, candidates: Iterable[str], list_command: str | None = None) -> str:
    """The way out for a misspelt word: the nearest names, or all of a few; `list_command` says where a long list is.

    >>> did_you_mean("alfa2", ["alpha2", "alpha3", "k"])
    "did you mean 'alpha2'?"
    >>> did_you_mean("espnet-9", ["espnet-3", "espnet-5", "espnet-8", "espnet-c-8", "enet"])
    "did you mean 'espnet-3', 'espnet-5' or 'espnet-8'?"
    >>> did_you_mean("zzz", ["a", "b"])
    'known: a, b'
    """
    names = sorted(candidates)
    close = nearest(word, names)
    if close:
        quoted = [repr(name) for name in close]
        return f"did you mean {' or '.join(filter(None, (', '.join(quoted[:-1]), quoted[-1])))}?"
    if list_command and len(names) > SHORT_LIST:
        return list_command
    return f"known: {', '.join(names)}"


def nearest(word: str, candidates: Iterable[str]) -> list[str]:
    """At most `NEAREST` names that `word` may be a misspelling or the beginning of, the likeliest first.

    A name is near within one edit for every three letters (Damerau's edits: a letter added, left out, replaced,
    or swapped with its neighbour); one edit only where the first letters differ, because few misspell those.

    >>> nearest("ESPnet-cc", ["espnet-c", "enet"]), nearest("resnet50", ["espnet-5"]), nearest("unet", ["enet"])
    (['espnet-c'], [], [])
    """
    folded, names = word.casefold(), list(candidates)
    if exact := [name for name in names if name.casefold() == folded]:
        return exact[:1]
    if begun := [name for name in names if len(word) >= 3 and name.casefold().startswith(folded)]:
        return sorted(begun, key=lambda name: (len(name), name))[:NEAREST]
    scored = [(_distance(folded, name.casefold()), name) for name in names]
    close = [(edits, name) for edits, name in sorted(scored) if edits <= _allowed(folded, name.casefold())]
    most = 2 * close[0][0] - 1 if close else 0  # beside one at a single edit, names at two are noise
    return [name for edits, name in close if edits <= most][:NEAREST]


def _allowed(word: str, name: str) -> int:
    """Edits up to which `name` is near `word`."""
    if word[:1] != name[:1]:
        return 1 if len(word) > 4 else 0
    return max(1, -(-len(word) // 3))


def _distance(a: str, b: str) -> int:
    """Edits from `a` to `b`: optimal string alignment (Damerau 1964)."""
    if len(a) > MAX_WORD:
        return len(a)
    before: list[int] = []
    row = list(range(len(b) + 1))
    for i, letter in enumerate(a, start=1):
        last, row_before = row, before
        row = [i]
        for j, letter_b in enumerate(b, start=1):
            cost = min(last[j] + 1, row[j - 1] + 1, last[j - 1] + (letter != letter_b))
            if i > 1 and j > 1 and letter == b[j - 2] and a[i - 2] == letter_b:
                cost = min(cost, row_before[j - 2] + 1)
            row.append(cost)
        before = last
    return row[-1]


MAX_WORD = 64
"""Letters of a word beyond which it is nobody's misspelling."""
