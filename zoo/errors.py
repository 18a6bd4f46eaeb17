"""The errors a user can put right.

Every message is one sentence that names the thing, the rule, the value and the way out; the command
line prints it without a traceback and exits with 1.
"""

import difflib
from collections.abc import Iterable


class ZooError(Exception):
    """Base of all errors whose message is meant for the user (exit code 1)."""


class SpecError(ZooError, ValueError):
    """A spec, or a combination of a spec and an input size, that describes no network."""


class ConfigError(ZooError, ValueError):
    """A configuration file that does not say what it must, with the path to the key."""


class NegativeAnswer(ZooError):
    """A valid question with a negative answer, such as nothing feasible (exit code 3)."""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """The way out for a misspelt word.

    >>> did_you_mean("alfa2", ["alpha2", "alpha3", "k"])
    "did you mean 'alpha2'?"
    >>> did_you_mean("zzz", ["a", "b"])
    'known: a, b'
    """
    names = sorted(known)
    close = difflib.get_close_matches(word, names, n=1, cutoff=0.6)
    return f"did you mean {close[0]!r}?" if close else f"known: {', '.join(names)}"
