"""Text from files, names and servers, made safe to print, to put into a table, and to paste into a shell."""

import re
import shlex
from pathlib import Path

LONGEST = 200
"""Characters of a foreign text that a message quotes."""

_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufeff]")
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def printable(text: str) -> str:
    r"""The text with control characters as escapes; line breaks and tabs stay.

    >>> printable("a\x1b[31mb")
    'a\\x1b[31mb'
    """
    return _CONTROL.sub(lambda match: _escape(match[0]), text)


def one_line(text: object, longest: int | None = None) -> str:
    r"""A message as one printable line, cut in the middle where it is longer than `longest`.

    >>> one_line("a\nb"), one_line("x" * 30, 21)
    ('a b', 'xxxxxxxx…(30)…xxxxxxxx')
    """
    line = printable(" ".join(str(text).split("\n")).strip())
    if longest is None or len(line) <= longest:
        return line
    half = max(8, (longest - 5) // 2)
    return f"{line[:half]}…({len(line)})…{line[-half:]}"


def shown(path: Path | str) -> str:
    """A path in a message: printable, and not longer than `LONGEST`."""
    return one_line(path, LONGEST)


def csv_cell(value: object) -> object:
    """A cell that no spreadsheet takes for a formula: text that begins like one gets an apostrophe.

    >>> csv_cell("=1+1"), csv_cell(-1.5), csv_cell("-1.5")
    ("'=1+1", -1.5, '-1.5')
    """
    if not isinstance(value, str) or not value.startswith(_FORMULA) or _is_number(value):
        return value
    return f"'{value}"


def quoted(argument: object) -> str:
    """An argument of a suggested command, quoted for a POSIX shell where it must be.

    >>> quoted("runs/a b#1"), quoted("runs/t1#1")
    ("'runs/a b#1'", 'runs/t1#1')
    """
    text = printable(str(argument))
    return text if re.fullmatch(r"[\w@%+=:,./][\w@%+=:,./#-]*", text, re.ASCII) else shlex.quote(text)


def length_of_time(seconds: float) -> str:
    """A length of time in the unit that people would say it in.

    >>> [length_of_time(s) for s in (0.4, 18.3, 100, 5400)]
    ['1 second', '18 seconds', '2 minutes', '1.5 hours']
    """
    if seconds < 90:
        count, unit = str(max(1, round(seconds))), "second"
    elif seconds < 5400:
        count, unit = str(round(seconds / 60)), "minute"
    else:
        count, unit = f"{seconds / 3600:.1f}", "hour"
    return f"{count} {unit}{'' if count == '1' else 's'}"


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _escape(character: str) -> str:
    code = ord(character)
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"
